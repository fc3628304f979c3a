"""Pacing and rate: a link is filled without a standing queue, and every change of it is followed."""

from collections.abc import Callable

import pytest
from hypothesis import strategies as st

from edge_agent.core.arq import SentFrame
from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.limits import LinkLimits, LinkShape
from edge_agent.core.link_queue import LinkQueue, WindowedMinimum
from edge_agent.core.pacing import CATCH_UP_S, MIN_RATE_BPS, Pacer, RateController, RttEstimate
from edge_agent.core.report import NodeSettings
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Outage
from link_sim.link.services import NS_PER_S
from link_sim.nodes.world import World
from link_sim.profiles import profile
from tests.core.planted import finds, holds

RATE_BPS = 5_000_000
FIVE_MBIT = LinkProfile(rate_bps=RATE_BPS, delay_s=0.02, queue_bytes=250_000, overhead_bytes=28)
BUNDLE_BYTES = 65_536
BULK = BundleHeader(destination=COMMAND, flow="bulk")


def bulk_world(link: LinkProfile, *, hint_bps: float | None = None, bundles: int = 400) -> World:
    """A kit with more to send than the test lasts, over one link nobody described (or with a hint)."""
    world = World(seed=3)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    world.add_node(NodeSettings(node_id="kit-1"))
    limits = LinkLimits(shape=LinkShape.DATAGRAM, mtu_bytes=1400, overhead_bytes=link.overhead_bytes, rate_bps=hint_bps)
    world.connect("link", "kit-1", COMMAND, link, limits=limits)
    world.run_until(1.0)
    for _ in range(bundles):
        world.submit("kit-1", BULK, Precedence.ROUTINE, bytes(BUNDLE_BYTES))
    return world


def goodput_bps(world: World, start_s: float, end_s: float) -> float:
    """Bytes of whole bundles delivered between two moments."""
    done = sum(each.record.payload_bytes for each in world.deliveries if start_s < each.t_s <= end_s)
    return done * 8 / (end_s - start_s)


def queues_s(world: World, start_s: float, end_s: float) -> list[float]:
    """What stands in the link's own queue, sampled each 20 ms, as time."""
    (joint,) = world._joints
    samples = []
    world.run_until(start_s)
    while world.now_s < end_s:
        world.run_until(world.now_s + 0.02)
        rate_bps = joint.up.line.profile.rate_bps
        assert rate_bps is not None
        samples.append(joint.up.line.model.waiting_bytes(round(world.now_s * NS_PER_S)) * 8 / rate_bps)
    return sorted(samples)


@pytest.mark.slow
@pytest.mark.parametrize("hint_bps", [None, 1_000_000.0, 8_000_000.0])
def test_a_link_is_filled_and_its_queue_stays_short(hint_bps: float | None) -> None:
    world = bulk_world(FIVE_MBIT, hint_bps=hint_bps)
    samples = queues_s(world, 5.0, 20.0)
    assert goodput_bps(world, 5.0, 20.0) >= 0.94 * RATE_BPS
    assert samples[len(samples) * 95 // 100] <= 0.015, "p95 of the queue, in seconds"


def carried_ratio(world: World, start_s: float, end_s: float, rate_bps: int) -> float:
    """Wire bytes that the link brought over between two moments, of what it could."""
    (joint,) = world._joints
    world.run_until(start_s)
    before = joint.up.line.model.waiting_bytes(round(start_s * NS_PER_S))
    sent_bytes = -world.report("kit-1").links[0].sent_bytes
    world.run_until(end_s)
    sent_bytes += world.report("kit-1").links[0].sent_bytes
    left = joint.up.line.model.waiting_bytes(round(end_s * NS_PER_S))
    assert world.frames()["kit-1/link/up"]["queue_full"] == 0
    return (sent_bytes + before - left) * 8 / rate_bps / (end_s - start_s)


PACED = [(64_000, 0.2, 30.0, 240.0, 60), (2_000_000, 0.06, 2.0, 22.0, 120), (5_000_000, 0.04, 2.0, 12.0, 140)]


@pytest.mark.slow
@pytest.mark.parametrize("hint_ratio", [None, 1.0])
@pytest.mark.parametrize(("rate_bps", "rtt_s", "start_s", "end_s", "bundles"), PACED)
def test_a_saturated_sender_uses_what_the_link_carries(
    rate_bps: int, rtt_s: float, start_s: float, end_s: float, bundles: int, hint_ratio: float | None
) -> None:
    """From soon after the start on: a HELLO is the first frame of each link, and shorter than all that follow."""
    link = LinkProfile(rate_bps=rate_bps, delay_s=rtt_s / 2, queue_bytes=250_000, overhead_bytes=28)
    world = bulk_world(link, hint_bps=hint_ratio and hint_ratio * rate_bps, bundles=bundles)
    ratio = carried_ratio(world, start_s, end_s, rate_bps)
    print(f"{rate_bps} bit/s, {rtt_s} s, hint {hint_ratio}: {ratio:.3f} of the link")
    assert ratio >= 0.97
    assert world.report("kit-1").queues, "there was more to send at the end"


@pytest.mark.slow
def test_a_sender_that_takes_short_frames_for_a_base_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: the first HELLO's delay counts as that of a full frame."""
    take = LinkQueue.take

    def size_blind(
        self: LinkQueue, frame: SentFrame, arrived_s: float, now_s: float, s_per_byte: float, idle_s: float
    ) -> bool:
        return take(self, frame, arrived_s, now_s, 0.0, idle_s)

    monkeypatch.setattr(LinkQueue, "take", size_blind)
    link = LinkProfile(rate_bps=64_000, delay_s=0.1, queue_bytes=250_000, overhead_bytes=28)
    assert carried_ratio(bulk_world(link, bundles=60), 30.0, 120.0, 64_000) < 0.97


@pytest.mark.slow
def test_half_the_queue_is_found_by_a_rate_that_never_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: the queue is not looked at."""
    monkeypatch.setattr(WindowedMinimum, "add", lambda self, now_s, value: 0.0)
    world = bulk_world(FIVE_MBIT)
    samples = queues_s(world, 5.0, 15.0)
    assert samples[len(samples) * 95 // 100] > 0.015


@pytest.mark.slow
def test_a_rate_that_falls_to_a_tenth_is_followed() -> None:
    world = bulk_world(FIVE_MBIT)
    world.at(8.0, lambda: world.set("link", rate_bps=RATE_BPS // 10))
    samples = queues_s(world, 9.0, 45.0)
    assert samples[len(samples) * 95 // 100] <= 0.09, "four frames"
    assert goodput_bps(world, 9.0, 45.0) >= 0.93 * RATE_BPS / 10


def test_a_window_allows_for_clumps_but_not_for_what_stands_in_the_link() -> None:
    controller, rtt = RateController(512_000.0, is_ceiling=False), RttEstimate()
    rtt.update(0.6)
    controller._is_ramping, rtt.smoothed_s, rtt.deviation_s = False, 0.65, 0.05
    clumps_bytes = controller.window_bytes(rtt, 1428)
    assert clumps_bytes == 512_000 / 8 * 0.75 + 3 * 1428
    controller.queue.wait_s = 0.2  # a rate that fell to a tenth: the same times, and the receiver's tell why
    assert controller.window_bytes(rtt, 1428) <= 512_000 / 8 * 0.64 + 3 * 1428


@pytest.mark.slow
def test_a_rate_that_rises_is_used() -> None:
    slow = LinkProfile(rate_bps=RATE_BPS // 10, delay_s=0.02, queue_bytes=250_000, overhead_bytes=28)
    world = bulk_world(slow)
    world.at(8.0, lambda: world.set("link", rate_bps=RATE_BPS))
    world.run_until(30.0)
    assert goodput_bps(world, 15.0, 30.0) >= 0.9 * RATE_BPS


@pytest.mark.slow
def test_a_link_that_holds_for_twelve_seconds_goes_on_where_it_was() -> None:
    world = bulk_world(FIVE_MBIT)
    world.at(8.0, lambda: world.cut("link", outage=Outage.HOLD))
    world.at(20.0, lambda: world.restore("link"))
    world.run_until(40.0)
    assert goodput_bps(world, 25.0, 40.0) >= 0.9 * RATE_BPS
    counts = world.frames()["kit-1/link/up"]
    assert counts["held"] * 1400 < 400_000, "what is sent into a silent link is bounded"
    world.audit()


@pytest.mark.slow
@pytest.mark.parametrize("loss_ratio", [0.01, 0.05])
def test_losses_are_not_taken_for_a_slower_link(loss_ratio: float) -> None:
    lossy = LinkProfile(rate_bps=RATE_BPS, delay_s=0.02, queue_bytes=250_000, overhead_bytes=28, loss_ratio=loss_ratio)
    world = bulk_world(lossy)
    world.run_until(20.0)
    assert goodput_bps(world, 5.0, 20.0) >= 0.9 * RATE_BPS * (1 - loss_ratio)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vsat", "radio9600"])
def test_slow_links_of_the_demo_are_filled(name: str) -> None:
    """Nobody told their rate; whole bundles only are counted, and a radio carries two of them in that time."""
    path = profile(name)
    world = bulk_world(path.up, bundles=200)
    world.run_until(120.0)
    rate_bps = path.up.rate_bps
    assert rate_bps is not None
    delivered = sum(each.record.payload_bytes for each in world.deliveries)
    (report,) = world.report("kit-1").links
    assert report.rate_bps is not None
    assert 0.7 * rate_bps <= report.rate_bps <= 1.3 * rate_bps
    assert delivered * 8 >= 0.6 * rate_bps * 100


FRAMES = st.lists(st.tuples(st.integers(20, 1500), st.floats(0, 0.5)), min_size=1, max_size=60)


def stays_within_rate_and_burst(pacer: Pacer) -> Callable[[list[tuple[int, float]]], None]:
    """However late its caller is, a pacer lets no more through than the rate, two milliseconds of it and a frame."""

    def check(steps: list[tuple[int, float]]) -> None:
        paced, rate_bps, now_s, sent_bytes = type(pacer)(), 100_000.0, 10.0, 0
        paced.next_s = now_s
        for wire_bytes, gap_s in steps:
            now_s += gap_s
            while paced.is_open(now_s):
                paced.charge(now_s, wire_bytes, rate_bps)
                sent_bytes += wire_bytes
            assert sent_bytes <= (now_s - 10.0 + CATCH_UP_S) * rate_bps / 8 + 1500

    return check


class SavesUp(Pacer):
    """The planted fault: a pause is made up for without limit."""

    def charge(self, now_s: float, wire_bytes: int, rate_bps: float) -> None:
        self.next_s += wire_bytes * 8 / rate_bps - 0.001


def test_a_pacer_stays_within_rate_and_burst() -> None:
    holds(stays_within_rate_and_burst(Pacer()), FRAMES)
    finds(stays_within_rate_and_burst(SavesUp()), FRAMES)


SAMPLES = st.lists(st.tuples(st.floats(0, 5), st.floats(-10, 10)), min_size=1, max_size=40)


def test_a_window_in_which_all_was_lost_leaves_a_rate() -> None:
    """More bytes count as lost in it than left in it: they left before or after, and what came tells the rate."""
    controller = RateController(hint_bps=None, is_ceiling=False)
    controller._samples.extend((at / 10, 1_000 * at, 0.02, 4_000 * at) for at in range(1, 10))
    assert controller._measure_capacity(0.5, 0.1)
    assert controller.capacity_bps == pytest.approx(80_000, rel=0.01)
    controller.resume(2.0, 0.1)
    assert controller.rate_bps >= MIN_RATE_BPS


@pytest.mark.parametrize(("frame_s", "is_slower"), [(0.02, True), (0.18, False)])
def test_a_queue_shorter_than_a_frame_does_not_overflow(frame_s: float, is_slower: bool) -> None:
    """Half of a window is lost while frames wait 0.05 s: behind a queue, or an outage beside the end of one frame."""
    controller = RateController(hint_bps=None, is_ceiling=False)
    controller.capacity_bps, controller.queue.wait_s = 64_000.0, 0.05
    controller._samples.extend((at / 10, 800 * at, 0.02, 400 * at) for at in range(1, 10))
    assert controller._measure_capacity(0.5, frame_s)
    assert (controller.capacity_bps < 40_000.0) is is_slower


def is_the_minimum(window: WindowedMinimum) -> Callable[[list[tuple[float, float]]], None]:
    """The smallest of the samples that are at most as old as the window."""

    def check(steps: list[tuple[float, float]]) -> None:
        kept, now_s = type(window)(window.window_s), 0.0
        seen: list[tuple[float, float]] = []
        for gap_s, value in steps:
            now_s += gap_s
            seen.append((now_s, value))
            least = min(value for at_s, value in seen if at_s >= now_s - window.window_s)
            assert kept.add(now_s, value) == least

    return check


class NeverForgets(WindowedMinimum):
    """The planted fault: a minimum holds for ever."""

    def add(self, now_s: float, value: float) -> float:
        return super().add(0.0, value)


def test_a_windowed_minimum_is_that_of_its_window() -> None:
    holds(is_the_minimum(WindowedMinimum(6.0)), SAMPLES)
    finds(is_the_minimum(NeverForgets(6.0)), SAMPLES)
