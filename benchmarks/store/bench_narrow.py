"""Latest-only on the narrowest link: 1 Hz positions at 300 bit/s, and how old the last known one is at command."""

from benchmarks.rows import Bench, Figure
from benchmarks.store.virtual_pair import CREATED_AT_MS, VirtualPair, header
from edge_agent.core.bundle import FlowOrder, Precedence
from edge_agent.core.limits import LinkLimits, LinkShape
from edge_agent.telemetry.payloads import Position
from link_sim.link.link_profile import LinkProfile
from link_sim.profiles import SERIAL_FRAMING_BYTES

RATE_BPS = 300
DELAY_S = 0.05
MTU_BYTES = 222  # as transports/serial_radio says of a slow port
SETTLED_S = 60.0  # after the link is there
STEP_S = 1.0


def _position(number: int) -> bytes:
    """A walk of about 1 m a second, as drivers/gnss gives it where the links carry little."""
    return Position(
        lat_deg=30.5728123 + number * 9e-6,
        lon_deg=104.0668456 - number * 7e-6,
        captured_at_ms=CREATED_AT_MS + number * 1_000,
        alt_m=512.4,
        speed_mps=1.3,
        track_deg=321.5,
        accuracy_m=2.5,
        satellites=17,
        system="GN",
    ).pack_narrow(is_bare=True)


def _worst_age(seconds: int) -> Figure:
    """Age of what command knows, at its worst once settled; the reference is bytes on the wire for each that came."""
    profile = LinkProfile(rate_bps=RATE_BPS, delay_s=DELAY_S, queue_bytes=512, overhead_bytes=SERIAL_FRAMING_BYTES)
    limits = LinkLimits(
        shape=LinkShape.STREAM,
        mtu_bytes=MTU_BYTES,
        overhead_bytes=SERIAL_FRAMING_BYTES,
        rate_bps=RATE_BPS,
        rate_is_ceiling=True,
    )
    pair = VirtualPair(profile, limits, met_s=30.0)
    world, captured_s = pair.world, dict[object, float]()
    pair.plug()
    for number in range(seconds):
        made = header("position", order=FlowOrder.LATEST, created_ms=CREATED_AT_MS + number * 1_000)
        captured_s[world.submit(pair.kit, made, Precedence.PRIORITY, _position(number))] = world.now_s
        world.run_until(world.now_s + STEP_S)
    settled_s = pair.plugged_s + SETTLED_S
    worst_s, newest_s = 0.0, pair.plugged_s
    for delivery in world.deliveries:
        if delivery.t_s > settled_s:
            worst_s = max(worst_s, delivery.t_s - newest_s)
        newest_s = max(newest_s, captured_s[delivery.bundle])
    worst_s = max(worst_s, world.now_s - newest_s)
    came = max(1, sum(delivery.t_s > settled_s for delivery in world.deliveries))
    return Figure(value=worst_s, reference=pair.up.wire_bytes(settled_s) / came)


def rows(quick: bool) -> list[Bench]:
    """One row; quick: five minutes in place of an hour."""
    return [
        Bench(
            name="latest_position_age",
            group="store",
            unit="s at worst (bytes a position)",
            goal="<= 3",
            measure=lambda: _worst_age(300 if quick else 3600),
        ),
    ]
