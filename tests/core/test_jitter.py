"""A link whose delay varies widely is not taken for a slow one: what it was given is no measure of what it carries."""

import random

import pytest

from edge_agent.core.arq import SentFrame
from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.link_queue import LinkQueue
from edge_agent.core.pacing import RateController
from edge_agent.core.report import NodeSettings
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World

JITTERY = LinkProfile(rate_bps=800_000, delay_s=0.3, jitter_s=0.12, queue_bytes=50_000, overhead_bytes=28)
TRICKLE_HZ = 25
SIZES_BYTES = (20, 200, 200, 1500)
SPAN_S = 150.0


def left_of_a_trickle(seed: int) -> int:
    """Bundles that wait after 150 s in which a tenth of the link was asked for."""
    world, rng = World(seed), random.Random(seed)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    world.add_node(NodeSettings(node_id="kit-1"))
    world.connect("link", "kit-1", COMMAND, JITTERY)
    header = BundleHeader(destination=COMMAND, flow="trickle")

    def submit() -> None:
        precedence = rng.choice((Precedence.ROUTINE, Precedence.PRIORITY))
        world.submit("kit-1", header, precedence, rng.randbytes(rng.choice(SIZES_BYTES)))

    world.every(1 / TRICKLE_HZ, submit, start_s=0.0, until_s=SPAN_S)
    world.run_until(SPAN_S)
    return len(world.ledger.waiting())


@pytest.mark.slow
def test_a_trickle_is_carried_by_a_jittery_link() -> None:
    assert max(left_of_a_trickle(seed) for seed in (2, 3, 4)) <= 2 * TRICKLE_HZ, "what two seconds made"


@pytest.mark.slow
def test_a_capacity_learnt_from_what_was_given_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: in a queue, whatever came through counts as all that can."""
    monkeypatch.setattr(RateController, "_fell_behind", lambda self: True)
    assert max(left_of_a_trickle(seed) for seed in (2, 3, 4)) > 2 * TRICKLE_HZ


def longest_wait_s(*, is_alone: bool) -> float:
    """Of frames of many sizes over an empty 800 kbit/s, told by a queue that believes in 700 bit/s."""
    queue, rng, sent_bytes, longest_s = LinkQueue(), random.Random(5), 0, 0.0
    for number in range(50):
        wire_bytes, sent_s = rng.randint(60, 200), 2.0 * number
        sent_bytes += wire_bytes
        frame = SentFrame(number, sent_s, wire_bytes, sent_bytes, False, (), (), False, is_alone=is_alone)
        arrived_s = sent_s + 0.3 + wire_bytes * 8 / 800_000
        assert queue.take(frame, arrived_s, sent_s + 0.6, 8 / 700, 0.01)
        longest_s = max(longest_s, queue.wait_s)
    return longest_s


def test_a_frame_that_was_alone_in_the_link_waited_for_none_of_ours() -> None:
    assert longest_wait_s(is_alone=True) == 0.0


def test_a_wrong_capacity_makes_a_queue_of_sizes_where_that_is_not_known() -> None:
    """What the test above would miss otherwise: the same frames, not known to be alone."""
    assert longest_wait_s(is_alone=False) > 0.5
