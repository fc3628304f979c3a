"""First light in virtual time: FLASH behind a picture on the radio, two links as one, and what an hour costs in CPU.

The core and the link model are real, frame keys are AES-GCM but where a row says otherwise, a commit takes 2 ms.
"""

import random
import time
from dataclasses import dataclass

from benchmarks.percentiles import p99
from benchmarks.rows import Bench, Figure
from benchmarks.tapped_keys import FlashFrames, TappedKeys
from benchmarks.yardstick import yardstick_cpu_s
from edge_agent.core.bundle import BundleHeader, BundleId, Origin, Precedence
from edge_agent.core.limits import LinkLimits, LinkShape
from edge_agent.core.report import NodeSettings
from edge_agent.core.stream_framing import StreamFramer
from edge_agent.security.link_keys import DeploymentKeys
from edge_agent.security.secret_file import SECRET_BYTES
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World
from link_sim.profiles import UDP_IPV4_OVERHEAD_BYTES, serial_profile, serial_rate_bps
from transports.serial_radio.transport import default_mtu_bytes

BAUD_RATE = 9600
BYTE_S = 1 / 960  # 9600 baud 8N1
FRAGMENT_S = 0.25  # the one fragment that may be on the wire when FLASH comes
FLASH_BYTES = 200
PICTURE_BYTES = 5_000_000
ALARM_LAPSED_S = (62.0, 66.0)
"""Between two tries: the core halves its fragments for 60 s after a FLASH, and each try shall meet the long ones."""

LINK_BPS = 5_000_000
LINK_SUM_MBPS = 10.0
LINK_DELAY_S = 0.020  # RTT 40 ms
BULK_BYTES = 20_000_000
_KIT, _COMMAND = "kit-1", "command-1"


def radio_limits() -> LinkLimits:
    """What transports/serial_radio says of a port with 9600 baud."""
    mtu_bytes = default_mtu_bytes(serial_rate_bps(BAUD_RATE))
    return LinkLimits(
        shape=LinkShape.STREAM,
        mtu_bytes=mtu_bytes,
        overhead_bytes=StreamFramer(mtu_bytes=mtu_bytes).overhead_bytes,
        rate_bps=serial_rate_bps(BAUD_RATE),
        rate_is_ceiling=True,
    )


def udp_profile() -> LinkProfile:
    """One of the two links; 100 ms of queue, as an access router has."""
    return LinkProfile(
        rate_bps=LINK_BPS, delay_s=LINK_DELAY_S, queue_bytes=62_500, overhead_bytes=UDP_IPV4_OVERHEAD_BYTES
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashTry:
    """One FLASH behind the picture: submit to consumer, and the wire time of the frames that carried it."""

    latency_s: float
    wire_s: float


def flash_tries(tries: int, *, apart_s: tuple[float, float]) -> list[FlashTry]:
    """FLASH bundles raised at random moments behind one picture, ``apart_s`` seconds one after another."""
    limits, frames, rng = radio_limits(), FlashFrames(), random.Random(7)
    keys = DeploymentKeys({0: bytes(SECRET_BYTES)})
    world = World(7)
    world.add_node(NodeSettings(node_id=_KIT), keys=TappedKeys(keys, frames))
    world.add_node(NodeSettings(node_id=_COMMAND, role="command"), keys=keys)
    profile = serial_profile(BAUD_RATE, overhead_bytes=limits.overhead_bytes)
    world.connect("radio", _KIT, _COMMAND, profile, limits=limits)
    world.run_until(5)
    created_at_ms = 1_767_225_600_000  # as long on the wire as today's
    picture = BundleHeader(destination="command", flow="picture", created_at_ms=created_at_ms)
    sos = BundleHeader(destination="command", flow="sos", origin=Origin.PERSON, created_at_ms=created_at_ms)
    world.submit(_KIT, picture, Precedence.ROUTINE, bytes(PICTURE_BYTES))
    raised: dict[BundleId, float] = {}

    def raise_sos() -> None:
        raised[world.submit(_KIT, sos, Precedence.FLASH, rng.randbytes(FLASH_BYTES))] = world.now_s

    t_s = 20.0
    for _ in range(tries):
        world.at(t_s, raise_sos)
        t_s += rng.uniform(*apart_s)
    world.run_until(t_s)
    arrived = {delivery.bundle: delivery.t_s for delivery in world.deliveries}
    if any(delivery.record.header.flow == "picture" for delivery in world.deliveries):
        raise AssertionError("the picture was through before the last FLASH was raised")
    return [
        FlashTry(
            latency_s=arrived[bundle] - at_s,
            wire_s=frames.wire_bytes(bundle.sequence, limits.overhead_bytes) * BYTE_S,
        )
        for bundle, at_s in raised.items()
    ]


def _flash_behind_picture(tries: int) -> Figure:
    flashes = flash_tries(tries, apart_s=ALARM_LAPSED_S)
    excess_s = [flash.latency_s - flash.wire_s - FRAGMENT_S for flash in flashes]
    return Figure(value=p99(excess_s), reference=p99([flash.latency_s for flash in flashes]))


def _two_links() -> Figure:
    """Goodput of one bundle over both links as a share of their sum; nobody tells the nodes a rate."""
    keys, world = DeploymentKeys({0: bytes(SECRET_BYTES)}), World(1)
    world.add_node(NodeSettings(node_id=_KIT), keys=keys)
    world.add_node(NodeSettings(node_id=_COMMAND, role="command"), keys=keys)
    for link in ("a", "b"):
        world.connect(link, _KIT, _COMMAND, udp_profile())
    world.run_until(2)
    header = BundleHeader(destination="command", flow="bulk")
    world.submit(_KIT, header, Precedence.ROUTINE, random.Random(1).randbytes(BULK_BYTES))
    world.run_until(120)
    if not world.deliveries:
        return Figure(value=0.0, reference=LINK_SUM_MBPS)
    goodput_mbps = BULK_BYTES * 8 / (world.deliveries[0].t_s - 2) / 1e6
    return Figure(value=goodput_mbps / LINK_SUM_MBPS, reference=LINK_SUM_MBPS)


def _hour_cpu(simulated_s: int) -> Figure:
    """CPU seconds of an hour, from ``simulated_s`` of it; the reference is the yardstick of the same run."""
    world = World(1)
    world.add_node(NodeSettings(node_id=_KIT, fast_liveness=False))
    world.add_node(NodeSettings(node_id=_COMMAND, role="command", fast_liveness=False))
    for link in ("a", "b"):
        world.connect(link, _KIT, _COMMAND, udp_profile())
    header, payload = BundleHeader(destination="command", flow="reading"), bytes(64)
    world.every(
        0.05, lambda: world.submit(_KIT, header, Precedence.ROUTINE, payload), start_s=1.0, until_s=simulated_s + 1.0
    )
    before_s = time.process_time()
    world.run_until(simulated_s + 5.0)
    cpu_s = time.process_time() - before_s
    yardstick_s = yardstick_cpu_s()
    world.audit()
    if world.ledger.tally().waiting:
        raise AssertionError(f"{world.ledger.tally().waiting} bundles still wait")
    return Figure(value=cpu_s * 3600 / simulated_s, reference=yardstick_s)


def rows(quick: bool) -> list[Bench]:
    """Three rows; quick: 20 tries, and ten minutes in place of the hour."""
    return [
        Bench(
            name="flash_behind_picture_virtual",
            group="first-light",
            unit="s beyond wire time and one fragment",
            goal="<= 0.1",
            measure=lambda: _flash_behind_picture(20 if quick else 100),
        ),
        Bench(
            name="two_links_goodput_virtual",
            group="first-light",
            unit="of the sum (Mbit/s)",
            goal=">= 0.85",
            measure=_two_links,
        ),
        Bench(
            name="virtual_hour_cpu",
            group="first-light",
            unit="CPU s an hour (yardstick s)",
            goal="<= 20",
            measure=lambda: _hour_cpu(600 if quick else 3600),
        ),
    ]
