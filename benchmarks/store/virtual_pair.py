"""Kit and command post over one link in virtual time, with what went over the wire counted from outside."""

import random
from dataclasses import dataclass, field

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, FlowOrder, Origin, Precedence
from edge_agent.core.limits import LinkLimits
from edge_agent.core.report import NodeSettings
from edge_agent.security.link_keys import DeploymentKeys
from edge_agent.security.secret_file import SECRET_BYTES
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World
from link_sim.profiles import UDP_IPV4_OVERHEAD_BYTES

KIT, POST, LINK = "kit-1", "command-1", "a"
MET_S = 5.0  # both know each other and have keys by then
CREATED_AT_MS = 1_767_225_600_000  # as long on the wire as today's


def udp_profile(rate_bps: int, delay_s: float) -> LinkProfile:
    """A link with 200 ms of queue, at least ten frames."""
    queue_bytes = max(15_000, round(rate_bps / 8 * 0.2))
    return LinkProfile(
        rate_bps=rate_bps, delay_s=delay_s, queue_bytes=queue_bytes, overhead_bytes=UDP_IPV4_OVERHEAD_BYTES
    )


@dataclass(slots=True)
class Sent:
    """Frames of one direction by when they were offered."""

    overhead_bytes: int
    frames: list[tuple[float, int]] = field(default_factory=list)

    def note(self, now_ns: int, frame_bytes: int, frame: object, verdict: object) -> None:
        """An observer of a line."""
        self.frames.append((now_ns / 1e9, frame_bytes))

    def wire_bytes(self, since_s: float, least_bytes: int = 0) -> int:
        """Bytes with the headers of IP and UDP from ``since_s``, of frames of at least ``least_bytes``."""
        return sum(size + self.overhead_bytes for t_s, size in self.frames if t_s >= since_s and size >= least_bytes)


@dataclass(slots=True)
class VirtualPair:
    """``kit-1`` and ``command-1`` with AES-GCM keys; they have met, and the link is unplugged at the kit since then."""

    profile: LinkProfile
    limits: LinkLimits | None = None
    seed: int = 5
    met_s: float = MET_S
    kit: str = KIT
    world: World = field(init=False)
    up: Sent = field(init=False)
    down: Sent = field(init=False)
    plugged_s: float = 0.0
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        keys = DeploymentKeys({0: bytes(SECRET_BYTES)})
        self.rng = random.Random(self.seed)
        self.world = World(self.seed)
        self.world.add_node(NodeSettings(node_id=KIT), keys=keys)
        self.world.add_node(NodeSettings(node_id=POST, role="command"), keys=keys)
        self.world.connect(LINK, KIT, POST, self.profile, limits=self.limits)
        overhead_bytes = self.profile.overhead_bytes
        self.up, self.down = Sent(overhead_bytes), Sent(overhead_bytes)
        lines = self.world.lines()
        lines[f"{KIT}/{LINK}/up"].observe(self.up.note)
        lines[f"{KIT}/{LINK}/down"].observe(self.down.note)
        self.world.run_until(self.met_s)
        self.world.unplug(LINK, KIT)

    def submit(self, header: BundleHeader, precedence: Precedence, size: int) -> BundleId:
        """A bundle of random bytes at the kit, now."""
        return self.world.submit(KIT, header, precedence, self.rng.randbytes(size))

    def plug(self) -> None:
        """The outage is over, and the transport says so."""
        self.plugged_s = self.world.now_s
        self.world.plug(LINK, KIT)

    def run_until_empty(self, latest_s: float) -> float:
        """Seconds from ``plug`` to the last delivery; raises AssertionError when bundles wait at ``latest_s``."""
        world = self.world
        while world.ledger.tally().waiting:
            if world.now_s > latest_s:
                raise AssertionError(f"{world.ledger.tally().waiting} bundles wait at {world.now_s} s")
            world.run_until(world.now_s + 1.0)
        return world.deliveries[-1].t_s - self.plugged_s


def header(
    flow: str, *, order: FlowOrder = FlowOrder.FIFO, origin: Origin = Origin.MACHINE, created_ms: int = CREATED_AT_MS
) -> BundleHeader:
    """A header for command."""
    return BundleHeader(destination=COMMAND, flow=flow, order=order, origin=origin, created_at_ms=created_ms)
