"""Silence is noticed where live data flow: a message is on another link a few frames later, and nothing is lost."""

import random
from itertools import pairwise
from math import inf

import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Precedence
from edge_agent.core.pulse import LASTS_S, PULSE_LEAST_S, Pulse, RareGap
from edge_agent.core.report import NodeSettings
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World

PLAIN = LinkProfile(rate_bps=5_000_000, delay_s=0.02, queue_bytes=62_500, overhead_bytes=28)
LIVE = BundleHeader(destination=COMMAND, flow="live")
EVERY_S = 0.02
CUT_S, END_S = 8.0, 12.0


class Live:
    """A kit with ``links`` alike and an IMMEDIATE message of 200 bytes each 20 ms from 3 s to 12 s."""

    def __init__(self, *, links: int = 2, fast_liveness: bool = True, seed: int = 1) -> None:
        self.world = World(seed)
        self.world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND, fast_liveness=fast_liveness))
        self.world.add_node(NodeSettings(node_id="kit-1", fast_liveness=fast_liveness))
        self.links = [f"link-{number}" for number in range(links)]
        for link in self.links:
            self.world.connect(link, "kit-1", COMMAND, PLAIN)
        self.made: dict[BundleId, float] = {}
        self.world.every(EVERY_S, self._submit, start_s=3.0, until_s=END_S)

    def _submit(self) -> None:
        self.made[self.world.submit("kit-1", LIVE, Precedence.IMMEDIATE, bytes(200))] = self.world.now_s

    def sent_bytes(self) -> dict[str, int]:
        """Of the kit, by link."""
        return {each.link: each.sent_bytes for each in self.world.report("kit-1").links}

    def carrying(self) -> str:
        """The link that carried the most in a second from now."""
        before = self.sent_bytes()
        self.world.run_until(self.world.now_s + 1.0)
        return max(self.links, key=lambda link: self.sent_bytes()[link] - before[link])

    def longest_gap_s(self, start_s: float) -> float:
        """Between two new messages at command, from ``start_s`` to the end."""
        arrived = [each.t_s for each in self.world.deliveries if each.t_s >= start_s]
        return max(later - sooner for sooner, later in pairwise(arrived))


def gap_of_a_silent_cut_s(*, fast_liveness: bool = True) -> float:
    live = Live(fast_liveness=fast_liveness)
    live.world.run_until(CUT_S - 1.0)
    live.world.cut(live.carrying())
    live.world.run_until(END_S + 3.0)
    live.world.audit()
    assert len(live.world.deliveries) == len(live.made) == len({each.bundle for each in live.world.deliveries})
    return live.longest_gap_s(CUT_S - 0.1)


@pytest.mark.slow
def test_messages_are_on_another_link_80_ms_after_theirs_went_silent() -> None:
    assert gap_of_a_silent_cut_s() <= 0.08 + 1e-6


@pytest.mark.slow
def test_a_link_without_pulse_is_missed_later() -> None:
    """The planted fault of the test above: missing acknowledgements alone."""
    assert gap_of_a_silent_cut_s(fast_liveness=False) > 0.12


def pulses_of(links: int, *, stop_s: float = END_S) -> tuple[int, int]:
    """Frames from command while live data flow, and in the second that begins LASTS_S after they ended."""
    live = Live(links=links)
    sent = 0

    def note(now_ns: int, size: int, frame: bytes, verdict: object) -> None:
        nonlocal sent
        sent += 1

    for link in live.links:
        live.world.lines()[f"kit-1/{link}/down"].observe(note)
    live.world.run_until(5.0)
    sent = 0
    live.world.run_until(6.0)
    flowing, _ = sent, live.world.run_until(stop_s + LASTS_S + 0.3)
    sent = 0
    live.world.run_until(stop_s + LASTS_S + 1.3)
    return flowing, sent


@pytest.mark.slow
def test_the_peer_is_heard_each_14_ms_and_no_longer_than_live_data_flow() -> None:
    flowing, after = pulses_of(2)
    assert 1 / PULSE_LEAST_S <= flowing <= 2.1 / EVERY_S
    assert after <= 4


@pytest.mark.slow
def test_where_no_other_link_could_take_over_nobody_is_asked() -> None:
    flowing, _ = pulses_of(1)
    assert flowing <= 1.1 / EVERY_S, "an acknowledgement for each message"


def test_a_gap_of_one_in_a_thousand_is_learnt() -> None:
    rng, rare = random.Random(1), RareGap()
    gaps_s = [rng.expovariate(1 / 0.01) for _ in range(60_000)]
    for gap_s in gaps_s:
        rare.note(gap_s)
    beyond = sum(gap_s > rare.gap_s for gap_s in gaps_s[-20_000:])
    assert 2 <= beyond <= 200, "of 20 expected"


def pulse_that_hears(now_s: float) -> Pulse:
    """Asked at 0 and heard each 10 ms until ``now_s``, over a round trip of 40 ms."""
    pulse = Pulse()
    for number in range(5):
        pulse.note_data(number * 0.001, is_live=True)
    assert pulse.ask(0.004, 0.04, 5e6) == PULSE_LEAST_S
    for step in range(1, round(now_s / 0.01) + 1):
        pulse.note_heard(step * 0.01, 0.04)
    return pulse


def test_three_intervals_of_silence_are_a_doubt_and_nine_a_conviction() -> None:
    pulse = pulse_that_hears(0.2)
    doubt_s = pulse.doubt_at_s()
    assert 0.2 + 3 * PULSE_LEAST_S <= doubt_s <= 0.2 + 3 * PULSE_LEAST_S + 0.01
    pulse.doubt()
    assert pulse.doubt_at_s() == inf, "it is said once"
    dead_s = pulse.dead_at_s(0.04)
    assert 0.2 + 9 * PULSE_LEAST_S <= dead_s <= 0.34
    assert pulse.note_heard(0.3, 0.04)
    assert pulse.dead_at_s(0.04) == inf


def test_what_this_process_slept_through_is_nobodys_silence() -> None:
    pulse = pulse_that_hears(0.2)
    before_s = pulse.doubt_at_s()
    pulse.forgive(0.1)
    after_s = pulse.doubt_at_s()
    assert before_s < inf
    assert abs(after_s - before_s - 0.1) < 1e-9


def test_a_long_or_slow_link_is_not_asked() -> None:
    for rtt_s, rate_bps in ((0.6, 5e6), (0.04, 9_600.0), (None, 5e6)):
        pulse = Pulse()
        for number in range(5):
            pulse.note_data(number * 0.001, is_live=True)
        assert pulse.ask(0.01, rtt_s, rate_bps) is None
