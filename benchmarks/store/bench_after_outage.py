"""What happens when a link comes back, in virtual time: how soon, in which order, at how many bytes and which pace."""

from itertools import pairwise

from benchmarks.percentiles import p99
from benchmarks.rows import Bench, Figure
from benchmarks.store.virtual_pair import CREATED_AT_MS, VirtualPair, header, udp_profile
from edge_agent.core.bundle import BundleId, FlowOrder, Origin, Precedence
from edge_agent.core.queue import LIVE_S

BODY_BYTES = 100
RECORD_BYTES = 30
NARROW_BPS = 64_000
SOS_BYTES = 100
SOS_FRAME_BYTES = 200
FRAGMENT_S = 1428 * 8 / NARROW_BPS
LOWER_SHARE = 0.05  # guaranteed to each lower class over any 10 s (DESIGN section 4)
_CLASSES = list(Precedence)


def _first_bundle() -> Figure:
    """Seconds beyond one RTT from the transport's word to the first delivery; the reference is the RTT."""
    delay_s = 0.05
    pair = VirtualPair(udp_profile(2_000_000, delay_s))
    for _ in range(1_000):
        pair.submit(header("reading"), Precedence.ROUTINE, BODY_BYTES)
    pair.world.run_until(100.0)
    pair.plug()
    pair.world.run_until(110.0)
    first_s = pair.world.deliveries[0].t_s - pair.plugged_s if pair.world.deliveries else 10.0
    return Figure(value=first_s - 2 * delay_s, reference=2 * delay_s)


def _newest_position(records: int) -> Figure:
    """Seconds beyond one RTT until the newest position is there; the reference is how many were behind it."""
    delay_s = 0.3
    pair = VirtualPair(udp_profile(NARROW_BPS, delay_s))
    track = header("position", order=FlowOrder.NEWEST)
    for number in range(records):
        newest = pair.submit(track, Precedence.PRIORITY, RECORD_BYTES)
        if number % 1_000 == 999:
            pair.world.run_until(pair.world.now_s + 0.1)
    pair.world.run_until(pair.world.now_s + 100.0)
    pair.plug()
    pair.world.run_until(pair.plugged_s + 30.0)
    arrived = {each.bundle: each.t_s for each in pair.world.deliveries}
    return Figure(value=arrived.get(newest, pair.world.now_s) - pair.plugged_s - 2 * delay_s, reference=records)


def _drained(rate_bps: int, delay_s: float, bundles: int) -> tuple[VirtualPair, float]:
    """A backlog of 100-byte bundles that drained, and in how many seconds."""
    pair = VirtualPair(udp_profile(rate_bps, delay_s))
    created_ms = CREATED_AT_MS
    for number in range(bundles):
        created_ms += pair.rng.randrange(500, 1_500)
        pair.submit(header("reading", created_ms=created_ms), Precedence.ROUTINE, BODY_BYTES)
        if number % 1_000 == 999:
            pair.world.run_until(pair.world.now_s + 0.1)
    pair.world.run_until(pair.world.now_s + 5.0)
    pair.plug()
    return pair, pair.run_until_empty(pair.plugged_s + 10 * bundles * BODY_BYTES * 8 / rate_bps)


def _bytes_a_bundle(bundles: int) -> Figure:
    """All bytes both ways with IP and UDP, for each bundle; the reference is those from command alone."""
    pair, _ = _drained(2_000_000, 0.030, bundles)
    down_bytes = pair.down.wire_bytes(pair.plugged_s)
    return Figure(value=(pair.up.wire_bytes(pair.plugged_s) + down_bytes) / bundles, reference=down_bytes / bundles)


def _paced(bundles: int) -> Figure:
    """The worst of two links: bits on the wire as a share of what it carries from ``plug`` to the last delivery."""
    shares = []
    for rate_bps, delay_s, number in ((NARROW_BPS, 0.3, bundles // 4), (2_000_000, 0.030, bundles * 2)):
        pair, seconds = _drained(rate_bps, delay_s, number)
        shares.append(pair.up.wire_bytes(pair.plugged_s) * 8 / (rate_bps * (seconds - delay_s)))
    return Figure(value=min(shares), reference=max(shares))


def _urgent(tries: int) -> Figure:
    """p99 beyond delay, wire time and one fragment; the reference is p99 of the latency."""
    delay_s = 0.020
    pair = VirtualPair(udp_profile(NARROW_BPS, delay_s))
    for number in range(10_000):
        pair.submit(header("reading"), Precedence.ROUTINE, BODY_BYTES)
        if number % 1_000 == 999:
            pair.world.run_until(pair.world.now_s + 0.1)
    pair.plug()
    raised: dict[BundleId, float] = {}
    sos = header("sos", origin=Origin.PERSON)
    t_s = pair.plugged_s + 10.0
    for _ in range(tries):
        pair.world.run_until(t_s)
        raised[pair.submit(sos, Precedence.FLASH, SOS_BYTES)] = t_s
        t_s += pair.rng.uniform(0.7, 1.3)
    pair.world.run_until(t_s + 10.0)
    arrived = {each.bundle: each.t_s for each in pair.world.deliveries}
    latency_s = p99([arrived[bundle] - at_s for bundle, at_s in raised.items()])
    allowed_s = delay_s + SOS_FRAME_BYTES * 8 / NARROW_BPS + FRAGMENT_S
    return Figure(value=latency_s - allowed_s, reference=latency_s)


def _order() -> Figure:
    """How many promises of the order after an outage are broken; the reference is how many are looked at."""
    pair = VirtualPair(udp_profile(NARROW_BPS, 0.3))
    sos = header("sos", origin=Origin.PERSON)
    track = header("position", order=FlowOrder.NEWEST)
    positions = []
    for number in range(400):
        pair.submit(header("history"), Precedence.DEFERRED, 200)
        pair.submit(header("reading"), Precedence.ROUTINE, 200)
        positions.append(pair.submit(track, Precedence.PRIORITY, RECORD_BYTES))
        if number % 4 == 0:
            pair.submit(header("alarm", origin=Origin.PERSON), Precedence.IMMEDIATE, 200)
        if number % 20 == 0:
            pair.submit(sos, Precedence.FLASH, 200)
        pair.world.run_until(pair.world.now_s + 1.0)
    pair.plug()
    pair.run_until_empty(pair.plugged_s + 600.0)
    deliveries = [each for each in pair.world.deliveries if each.t_s > pair.plugged_s]
    # Where the unit was is history, served with DEFERRED (docs/adr/0014-history.md). What was made in the 20 s
    # before it became history does so while urgent bundles leave.
    past, live = set(positions[: -int(LIVE_S) - 2]), set(positions[-int(LIVE_S) + 18 :])
    passing = set(positions) - live
    served = [Precedence.DEFERRED if each.bundle in passing else each.bundle.precedence for each in deliveries]
    broken = []
    for precedence in _CLASSES[:3]:  # until the last of a class is there, the lower ones have had their shares at most
        last = max(at for at, each in enumerate(served) if each is precedence)
        until = [each for each in deliveries[: last + 1] if each.bundle.precedence >= precedence]
        lower = sum(
            each.record.payload_bytes for at, each in enumerate(deliveries[: last + 1]) if served[at] > precedence
        )
        whole = sum(each.record.payload_bytes for each in until)
        broken.append(lower > 2 * LOWER_SHARE * (len(_CLASSES) - 1 - precedence) * whole + 1_400)
    order = [each.bundle for each in deliveries if each.record.header.flow == "position"]
    broken.append(positions[-1] not in order[:10])
    track_back = [bundle.sequence for bundle in order if bundle in past]
    broken.append(any(later < earlier for earlier, later in pairwise(track_back)))  # filled in as it happened
    for flow in ("reading", "history"):
        numbers = [each.bundle.sequence for each in deliveries if each.record.header.flow == flow]
        broken.append(numbers != sorted(numbers))
    first_history_s = next(each.t_s for each in deliveries if each.record.header.flow == "history")
    broken.append(first_history_s - pair.plugged_s > 60.0)
    return Figure(value=sum(broken), reference=len(broken))


def rows(quick: bool) -> list[Bench]:
    """Six rows; quick: fewer bundles, the 100,000 stay."""
    bundles = 5_000 if quick else 20_000

    return [
        Bench(
            name="link_up_first_bundle",
            group="store",
            unit="s beyond one RTT (RTT s)",
            goal="<= 0.05",
            measure=_first_bundle,
        ),
        Bench(
            name="link_up_newest_position",
            group="store",
            unit="s beyond one RTT (records behind)",
            goal="<= 1",
            measure=lambda: _newest_position(100_000),
        ),
        Bench(
            name="order_after_outage",
            group="store",
            unit="rules broken (of)",
            goal="== 0",
            measure=_order,
        ),
        Bench(
            name="bytes_per_bundle",
            group="store",
            unit="bytes for 100 (from command)",
            goal="<= 115",
            measure=lambda: _bytes_a_bundle(bundles),
        ),
        Bench(
            name="drain_paced",
            group="store",
            unit="of the link, the worse of two (better)",
            goal=">= 0.95",
            measure=lambda: _paced(bundles),
        ),
        Bench(
            name="urgent_behind_10k_virtual",
            group="store",
            unit="s p99 beyond the link's own (latency s)",
            goal="<= 0.05",
            measure=lambda: _urgent(50 if quick else 200),
        ),
    ]
