"""What stands in a link is known and short, its capacity is used, and an SOS finds nothing in front of it."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import strategies as st

from edge_agent.core.arq import SentFrame
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Origin, Precedence
from edge_agent.core.link_queue import LinkQueue
from edge_agent.core.node import Node
from edge_agent.core.pacing import MIN_RATE_BPS
from link_sim.link.link_profile import LinkProfile
from link_sim.link.services import NS_PER_S
from link_sim.nodes.world import World
from tests.core.planted import finds, holds
from tests.core.test_pacing import bulk_world

SOS = BundleHeader(destination=COMMAND, flow="sos", origin=Origin.PERSON)
NARROW = LinkProfile(rate_bps=64_000, delay_s=0.02, queue_bytes=32_000, overhead_bytes=28)
RADIO = replace(NARROW, rate_bps=9_600, delay_s=0.05)
GEO = replace(NARROW, rate_bps=512_000, delay_s=0.3, queue_bytes=51_200)
LEO = LinkProfile(
    rate_bps=1_000_000, delay_s=0.03, jitter_s=0.002, step_period_s=15, step_spread_s=0.02, queue_bytes=125_000
)
JITTERY = LinkProfile(rate_bps=2_000_000, delay_s=0.03, jitter_s=0.008, queue_bytes=125_000, overhead_bytes=28)
JITTERY_GEO = replace(GEO, jitter_s=0.025)
LOSSY = replace(JITTERY, jitter_s=0.0, loss_ratio=0.05)


def waits_s(world: World, link: LinkProfile, start_s: float, end_s: float) -> tuple[list[float], float]:
    """How long frames offered between two moments waited before their first bit left, and what the link was used."""
    line = world.lines()["kit-1/link/up"]
    waits, wire_bytes = list[float](), 0
    rate_bps = link.rate_bps
    assert rate_bps is not None

    def note(now_ns: int, size: int, frame: bytes, verdict: object) -> None:
        nonlocal wire_bytes
        wire = size + link.overhead_bytes
        if now_ns > start_s * NS_PER_S:
            waits.append((line.model.waiting_bytes(now_ns) - wire) * 8 / rate_bps)
            wire_bytes += wire

    line.observe(note)
    world.run_until(end_s)
    return sorted(waits), wire_bytes * 8 / rate_bps / (end_s - start_s)


KINDS = {
    "64 kbit/s": (NARROW, 20.0, 80.0, 0.98, 0.02),
    "64 kbit/s, 300 ms": (replace(NARROW, delay_s=0.3), 20.0, 80.0, 0.98, 0.03),
    "9600 bit/s": (RADIO, 40.0, 240.0, 0.97, 0.1),
    "GEO": (GEO, 10.0, 40.0, 0.98, 0.02),
    "GEO, jitter 25 ms": (JITTERY_GEO, 10.0, 70.0, 0.93, 0.12),
    "LEO, a step each 15 s": (LEO, 5.0, 65.0, 0.97, 0.02),
    "jitter 8 ms": (JITTERY, 3.0, 18.0, 0.97, 0.04),
    "5 % lost": (LOSSY, 3.0, 13.0, 0.97, 0.02),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_saturated_link_is_used_and_its_queue_is_short(kind: str) -> None:
    link, start_s, end_s, least_ratio, p99_max_s = KINDS[kind]
    waits, used_ratio = waits_s(bulk_world(link, bundles=150), link, start_s, end_s)
    p99_s = waits[len(waits) * 99 // 100]
    print(f"{kind}: {used_ratio:.3f} of the link, queue p99 {p99_s * 1e3:.1f} ms")
    assert used_ratio >= least_ratio
    assert p99_s <= p99_max_s


@pytest.mark.slow
def test_a_link_that_is_never_emptied_to_see_its_delay_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: after each step up, the longer delay is a queue for ever."""
    monkeypatch.setattr(LinkQueue, "begin_pause", lambda self, sent_bytes_total, now_s, margin_s: None)
    _, used_ratio = waits_s(bulk_world(LEO, bundles=150), LEO, 5.0, 65.0)
    assert used_ratio < 0.97


def sos_waits_s(link: LinkProfile, tries: int) -> float:
    """The longest time from SOS to delivery, less delay and the wire time of what carried it, behind endless bulk."""
    world, rng, raised = bulk_world(link, bundles=20), random.Random(3), dict[BundleId, float]()
    t_s = 10.0
    for _ in range(tries):
        world.run_until(t_s)
        raised[world.submit("kit-1", SOS, Precedence.FLASH, rng.randbytes(100))] = t_s
        t_s += rng.uniform(0.7, 1.3)
    world.run_until(t_s + 5.0)
    arrived = {each.bundle: each.t_s for each in world.deliveries}
    rate_bps = link.rate_bps
    assert rate_bps is not None
    return max(arrived[bundle] - at_s for bundle, at_s in raised.items()) - link.delay_s - 200 * 8 / rate_bps


FRAME_S = 1428 * 8 / 64_000


@pytest.mark.slow
def test_an_sos_waits_for_the_one_frame_on_the_wire() -> None:
    """And 20 ms at most beside it."""
    assert sos_waits_s(NARROW, 30) <= FRAME_S + 0.02


@pytest.mark.slow
def test_bulk_that_rides_with_an_sos_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: the frame of an SOS is filled up with what waits below it."""
    monkeypatch.setattr("edge_agent.core.builder.FLASH_ALONE_S", 10.0)
    assert sos_waits_s(NARROW, 30) > FRAME_S + 0.02


S_PER_BYTE = 8 / 64_000
MARGIN_S = 0.01


def tells_the_wait_after_a_pause(make: Callable[[], LinkQueue]) -> Callable[..., None]:
    """What stood in the link when it was first seen passes for delay, until a pause: then the true waits are told."""

    def check(hidden_s: float, steps: list[tuple[int, float]]) -> None:
        queue, free_s, now_s, sent_bytes = make(), hidden_s, 0.0, 0

        def send(wire_bytes: int) -> float:
            """A frame goes through a line of 100 ms and a clock 5 s ahead, and is acknowledged at once."""
            nonlocal free_s, sent_bytes
            waited_s = max(0.0, free_s - now_s)
            free_s, sent_bytes = now_s + waited_s + wire_bytes * S_PER_BYTE, sent_bytes + wire_bytes
            frame = SentFrame(sent_bytes, now_s, wire_bytes, sent_bytes, False, (), (), False)
            assert queue.take(frame, free_s + 5.1, now_s, S_PER_BYTE, 0.0)
            return waited_s

        for wire_bytes, ahead_s in steps:
            send(wire_bytes)
            now_s = max(now_s, free_s - ahead_s)
        for _ in range(12):  # each pause that finds more than was known is followed by one twice as long
            queue.begin_pause(sent_bytes, now_s, MARGIN_S)
            now_s = queue.pause_until_s(queue.empty_at_s(sent_bytes, S_PER_BYTE), now_s, 0.1)
            send(1428)
        now_s += 0.05
        waited_s = send(500)
        assert abs(queue.wait_s - waited_s) < 1e-6

    return check


class LooksOn(LinkQueue):
    """The planted fault: what a frame after a pause says of the link is not believed."""

    def _end_pause(self, is_empty: bool, wait_s: float, now_s: float) -> bool:
        return False


HIDDEN = st.floats(0.0, 1.0)
STEPS = st.lists(st.tuples(st.integers(100, 1428), st.floats(0.0, 0.2)), min_size=1, max_size=20)


def test_the_wait_told_is_the_wait_there_was() -> None:
    holds(tells_the_wait_after_a_pause(LinkQueue), HIDDEN, STEPS)
    finds(tells_the_wait_after_a_pause(LooksOn), HIDDEN, STEPS)


@pytest.mark.slow
def test_a_rate_that_fell_to_nothing_comes_back() -> None:
    """Few frames of all sizes, at a rate far below the link's: none of them may take its own time for a queue."""
    link = LinkProfile(rate_bps=10_000_000, delay_s=0.025, queue_bytes=250_000, overhead_bytes=28)
    world = bulk_world(link, bundles=0)
    reading = BundleHeader(destination=COMMAND, flow="reading")
    rng = random.Random(7)

    def submit() -> None:
        world.submit("kit-1", reading, Precedence.ROUTINE, rng.randbytes(rng.choice((0, 20, 200, 1500, 5000))))

    world.every(0.2, submit, start_s=1.0, until_s=60.0)
    world.at(5.0, lambda: world.set("link", rate_bps=20_000))
    world.at(15.0, lambda: world.restore("link"))
    world.run_until(40.0)
    assert world.ledger.tally().waiting <= 1
    (report,) = world.report("kit-1").links
    assert report.rate_bps is not None
    assert report.rate_bps > 50_000


def rate_from_least_bps(link: LinkProfile, span_s: float) -> float:
    """The rate of a saturated link ``span_s`` after it was believed to carry next to nothing."""
    world = bulk_world(link, bundles=40)
    world.run_until(2.0)
    node = world.node("kit-1")
    assert isinstance(node, Node)
    (contact,) = node.contacts.contacts
    controller = contact.controller
    controller.rate_bps = controller.capacity_bps = MIN_RATE_BPS
    controller._is_ramping = False
    world.run_until(2.0 + span_s)
    return controller.rate_bps


@pytest.mark.slow
def test_the_least_rate_of_all_is_left_though_every_frame_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 300 bit/s the delay of the empty link was looked at anew before anything was measured (links, seed 11)."""
    link = replace(NARROW, rate_bps=500_000)
    assert rate_from_least_bps(link, 120.0) > 100_000
    monkeypatch.setattr("edge_agent.core.link_queue.LOOK_AGAIN_FRAMES", 0)
    assert rate_from_least_bps(link, 120.0) == MIN_RATE_BPS
