"""The beds A, B and C in virtual time: a kit and a command post over links that nobody described to them.

Source of all figures: ``traces/bench-abc/README.md`` of the shared data, on which the peers were measured; the
4G traces of B are read from there. Loss comes after the server: what is lost has used capacity.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from benchmarks import run_number
from benchmarks.tapped_keys import FlashFrames, TappedKeys
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Origin, Precedence
from edge_agent.core.limits import LinkLimits, LinkPolicy
from edge_agent.core.report import NodeSettings
from edge_agent.security.link_keys import DeploymentKeys
from edge_agent.security.secret_file import SECRET_BYTES
from link_sim.link.link_profile import LinkProfile
from link_sim.link.services import NS_PER_S
from link_sim.nodes.world import World
from link_sim.profiles import UDP_IPV4_OVERHEAD_BYTES, PathProfile
from link_sim.traces.files import read_mahimahi

TRACES = Path(__file__).parents[3] / "shared/traces/bench-abc"
TRACE_NUMBERS = (1, 2, 3, 4, 5)
CHANCE_BYTES = 1500  # of a mahimahi trace
HOLE_S = 0.1
KIT = "kit-1"
MET_S = 1.0
BULK = BundleHeader(destination=COMMAND, flow="bulk")
LIVE = BundleHeader(destination=COMMAND, flow="live", lifetime_s=60.0)
SOS = BundleHeader(destination=COMMAND, flow="sos", origin=Origin.PERSON)
PROTECTED = BundleHeader(destination=COMMAND, flow="protected", lifetime_s=60.0)


@dataclass(frozen=True, slots=True)
class BedLink:
    """One link of a bed. ``own_bps`` is what its queue is measured with, for a trace its mean."""

    profile: PathProfile
    own_bps: float

    @property
    def name(self) -> str:
        return self.profile.name

    def holes_s(self, start_s: float, end_s: float) -> set[int]:
        """Seconds between two moments in which one way has no chance for more than HOLE_S; none without a trace."""
        seconds: set[int] = set()
        for trace in (self.profile.up.trace, self.profile.down.trace):
            if trace is None:
                continue
            length_s, chances_s = trace.length_ns / NS_PER_S, [at_ns / NS_PER_S for at_ns in trace.opportunities_ns]
            for lap in range(int(start_s // length_s), int(end_s // length_s) + 1):
                around_s = [chances_s[-1] - length_s, *chances_s, chances_s[0] + length_s]
                for sooner_s, later_s in pairwise(around_s):
                    if later_s - sooner_s > HOLE_S:
                        seconds.update(range(int(lap * length_s + sooner_s), int(lap * length_s + later_s) + 1))
        return {second for second in seconds if start_s <= second < end_s}

    def capacity_bytes(self, start_s: float, end_s: float) -> float:
        """IP bytes that the way up could have carried between two moments."""
        trace = self.profile.up.trace
        if trace is None:
            assert self.profile.up.rate_bps is not None
            return self.profile.up.rate_bps / 8 * (end_s - start_s)
        start_ns, end_ns, length_ns = start_s * NS_PER_S, end_s * NS_PER_S, trace.length_ns
        rounds = range(int(start_ns // length_ns), int(end_ns // length_ns) + 1)
        chances = (number * length_ns + at_ns for number in rounds for at_ns in trace.opportunities_ns)
        return CHANCE_BYTES * sum(start_ns <= at_ns < end_ns for at_ns in chances)


def _alike(name: str, profile: LinkProfile, own_bps: float) -> BedLink:
    return BedLink(PathProfile(name=name, up=profile, down=profile), own_bps)


def plain(name: str) -> BedLink:
    """5 Mbit/s, 20 ms, 100 ms of queue."""
    rate_bps = 5_000_000
    profile = LinkProfile(
        rate_bps=rate_bps, delay_s=0.02, queue_bytes=rate_bps // 80, overhead_bytes=UDP_IPV4_OVERHEAD_BYTES
    )
    return _alike(name, profile, rate_bps)


def _unlike(
    name: str, up_bps: int, down_bps: int, queue_s: float, profile: Callable[[int, int], LinkProfile]
) -> BedLink:
    ways = [profile(rate_bps, round(rate_bps / 8 * queue_s)) for rate_bps in (up_bps, down_bps)]
    return BedLink(PathProfile(name=name, up=ways[0], down=ways[1]), up_bps)


def good_4g() -> BedLink:
    """10 Mbit/s up, 30 down, 25 ms with 3 ms of jitter, 200 ms of queue."""

    def profile(rate_bps: int, queue_bytes: int) -> LinkProfile:
        return LinkProfile(
            rate_bps=rate_bps,
            delay_s=0.025,
            jitter_s=0.003,
            loss_ratio=0.0001,
            queue_bytes=queue_bytes,
            overhead_bytes=UDP_IPV4_OVERHEAD_BYTES,
        )

    return _unlike("4g", 10_000_000, 30_000_000, 0.2, profile)


def geo() -> BedLink:
    """512 kbit/s up, 2 Mbit/s down, 300 ms with 4 ms of jitter, 800 ms of queue."""

    def profile(rate_bps: int, queue_bytes: int) -> LinkProfile:
        return LinkProfile(
            rate_bps=rate_bps,
            delay_s=0.3,
            jitter_s=0.004,
            loss_ratio=0.0005,
            queue_bytes=queue_bytes,
            overhead_bytes=UDP_IPV4_OVERHEAD_BYTES,
        )

    return _unlike("geo", 512_000, 2_000_000, 0.8, profile)


def moving_4g(number: int) -> BedLink:
    """A seeded walk between 0.3 and 12 Mbit/s with holes of 0.3 to 1.5 s. Raises OSError without the shared data."""
    ways = []
    for way in ("up", "down"):
        trace = read_mahimahi(TRACES / f"4g-mobile-{number}.{way}")
        ways.append(
            LinkProfile(
                trace=trace,
                delay_s=0.03,
                jitter_s=0.008,
                loss_ratio=0.002,
                queue_bytes=250_000,
                overhead_bytes=UDP_IPV4_OVERHEAD_BYTES,
            )
        )
    up = ways[0].trace
    assert up is not None
    mean_bps = len(up.opportunities_ns) * CHANCE_BYTES * 8 * NS_PER_S / up.length_ns
    return BedLink(PathProfile(name="4g", up=ways[0], down=ways[1]), mean_bps)


def narrow() -> BedLink:
    """9,600 bit/s, 300 ms, 2 s of queue: a satellite telephone in packets."""
    rate_bps = 9_600
    profile = LinkProfile(
        rate_bps=rate_bps, delay_s=0.3, queue_bytes=rate_bps // 4, overhead_bytes=UDP_IPV4_OVERHEAD_BYTES
    )
    return _alike("narrow", profile, rate_bps)


def mesh() -> BedLink:
    """2.5 Mbit/s over three hops, 15 ms with 8 ms of jitter; 800 ms good with 0.3 % lost, 60 ms bad with half.

    Both in frames of 1,452 bytes at the link's rate, as the simulator counts them.
    """
    rate_bps = 2_500_000
    frames_hz = rate_bps / 8 / 1452
    profile = LinkProfile(
        rate_bps=rate_bps,
        delay_s=0.015,
        jitter_s=0.008,
        loss_ratio=0.003,
        burst_enter_ratio=1 / (0.8 * frames_hz),
        burst_leave_ratio=1 / (0.06 * frames_hz),
        burst_loss_ratio=0.5,
        queue_bytes=round(rate_bps / 8 * 0.15),
        overhead_bytes=UDP_IPV4_OVERHEAD_BYTES,
    )
    return _alike("mesh", profile, rate_bps)


def links_of(bed: str, trace: int = 1) -> list[BedLink]:
    """The links of bed "A", "B" (with one of its five traces) or "C"."""
    match bed:
        case "A":
            return [good_4g(), geo()]
        case "B":
            return [moving_4g(trace), mesh(), geo()]
        case _:
            return [plain("one"), plain("two")]


@dataclass(slots=True)
class BedRun:
    """One world of a bed; the nodes have met. ``flashes`` are the frames of the kit that carried FLASH."""

    links: list[BedLink]
    seed: int = field(default_factory=run_number.seed)
    world: World = field(init=False)
    made: dict[BundleId, float] = field(default_factory=dict)
    flashes: FlashFrames = field(default_factory=FlashFrames)
    limits: LinkLimits | None = None
    policy: LinkPolicy | None = None
    """Of every link, at both ends."""
    taps: bool = False
    """Whether ``flashes`` are noted, which costs time."""

    def __post_init__(self) -> None:
        keys, self.world = DeploymentKeys({0: bytes(SECRET_BYTES)}), World(self.seed)
        self.world.add_node(
            NodeSettings(node_id=KIT, is_protected=lambda flow: flow == PROTECTED.flow),
            keys=TappedKeys(keys, self.flashes) if self.taps else keys,
        )
        self.world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND), keys=keys)
        for link in self.links:
            self.world.connect(link.name, KIT, COMMAND, link.profile, limits=self.limits, policy=self.policy)
        self.world.run_until(MET_S)

    def submit(self, header: BundleHeader, precedence: Precedence, payload_bytes: int) -> None:
        """One bundle, now."""
        payload = random.Random(len(self.made)).randbytes(payload_bytes)
        self.made[self.world.submit(KIT, header, precedence, payload)] = self.world.now_s

    def fill(self, until_s: float, bundle_bytes: int = 65_536, flows: int = 1) -> None:
        """More bulk than the links carry until then, over so many flows by turns."""
        most_bytes = sum(max(link.own_bps / 8 * until_s, link.capacity_bytes(0, until_s)) for link in self.links)
        for number in range(int(1.1 * most_bytes / bundle_bytes) + 20):
            header = BundleHeader(destination=COMMAND, flow=f"bulk-{number % flows}")
            self.submit(header, Precedence.ROUTINE, bundle_bytes)

    def sent_bytes(self) -> dict[str, int]:
        """Wire bytes of the kit, by link."""
        return {each.link: each.sent_bytes for each in self.world.report(KIT).links}

    def all_bytes(self) -> int:
        """Wire bytes of both nodes over all links."""
        return sum(each.sent_bytes for node in (KIT, COMMAND) for each in self.world.report(node).links)

    def carrying(self, span_s: float) -> BedLink:
        """The link that carries the most in a time from now on, which passes."""
        before = self.sent_bytes()
        self.world.run_until(self.world.now_s + span_s)
        after = self.sent_bytes()
        return max(self.links, key=lambda link: after[link.name] - before[link.name])

    def arrivals(self) -> dict[BundleId, float]:
        """When each bundle was delivered at command."""
        return {each.bundle: each.t_s for each in self.world.deliveries}
