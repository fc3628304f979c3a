"""One seed of the explorer: a random world with its traffic, faults and restarts, watched by a checker throughout."""

import random
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate

from edge_agent.core.bundle import COMMAND, BundleHeader, FlowOrder, Origin, Precedence
from edge_agent.core.errors import RefusedError
from edge_agent.core.limits import LinkLimits, LinkPolicy, LinkShape
from edge_agent.core.node import Node
from edge_agent.core.report import NodeSettings
from link_sim.judge.checker import Checker
from link_sim.judge.faults import USUAL_COMMIT_S, Fault, draw_fault
from link_sim.judge.link_faults import LinkFault
from link_sim.judge.open_keys import OpenKeys
from link_sim.judge.wishes import Wishes
from link_sim.link.link_profile import LinkProfile
from link_sim.link.streams import derived_seed
from link_sim.nodes.disk import DiskMaker, make_memory_disk
from link_sim.nodes.door import NodeMaker
from link_sim.nodes.ledger import BrokenPromiseError, Tally
from link_sim.nodes.world import World
from link_sim.profiles import SERIAL_FRAMING_BYTES, UDP_IPV4_OVERHEAD_BYTES, PathProfile, profile

BUNDLES_HZ = 5.0
"""Submitted in the whole world, all nodes together, while there is traffic."""
LEAST_DELIVERED_HZ = 1.5
"""Deliveries for each second of the trial; with fewer it proved nothing. Some are superseded, expired or refused."""
WISH_INTERVAL_S = 0.5
"""How often somebody asks something of a single bundle: to cancel it, to pull it forward."""
SURGE_BUNDLES = 150
LEAST_FAULTS = 10
MOST_FAULTS = 25
TRAFFIC_RATIO = 0.9
FAULTS_RATIO = 0.92
SETTLE_S = 600.0
"""After the trial's span, with every link whole again, all that waits must be through."""
URGENT = frozenset((Precedence.FLASH, Precedence.IMMEDIATE, Precedence.PRIORITY))
RADIO_LIMITS = LinkLimits(
    shape=LinkShape.STREAM, mtu_bytes=222, overhead_bytes=SERIAL_FRAMING_BYTES, rate_bps=7680, rate_is_ceiling=True
)
"""What transports/serial_radio says of a port with 9600 baud."""
_ORIGINS, _CLASSES = tuple(Origin), tuple(Precedence)
_SIZES_BYTES = (0, 20, 200, 200, 1500, 5000)
_LARGE_BYTES = (60_000, 200_000)
_ORDERS = (FlowOrder.FIFO, FlowOrder.FIFO, FlowOrder.NEWEST, FlowOrder.LATEST)
_LIFETIMES_S = (86_400.0, 86_400.0, 86_400.0, 20.0)
WINDOW_ENTRIES = (4096, 4096, 40, 12)
"""Bundles of one queue in memory: with few of them, surges and outages are read from the disk page by page."""
_WEIGHTS = tuple(accumulate((1, 3, 3, 5, 3)))  # of the precedences: most of what is said is not urgent


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """What one seed came to; no breach was found."""

    seed: int
    span_s: float
    digest: str
    tally: Tally
    steps: int
    frames: int
    faults: int
    restarts: int

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.tally.delivered} of {self.tally.accepted} delivered, {self.frames} frames, "
            f"{self.steps} steps, {self.faults} faults, {self.restarts} restarts, digest {self.digest}"
        )


@dataclass(slots=True)
class Trial:
    """A world made from ``seed`` and ``span_s`` alone; ``make_node`` takes a copy of the core with a fault in it.

    ``make_disk`` gives each node its disk: in memory, or the agent's own store (``StoreFolder``).
    """

    seed: int
    span_s: float = 600.0
    make_node: NodeMaker = Node
    make_disk: DiskMaker = make_memory_disk
    checker: Checker = field(default_factory=Checker)
    world: World = field(init=False)
    kits: list[str] = field(init=False)
    links: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Fault | LinkFault] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)

    _wishes: Wishes = field(init=False)

    def __post_init__(self) -> None:
        self.world = World(self.seed, make_node=self.make_node, watch=self.checker, make_disk=self.make_disk)
        self._wishes = Wishes(self.world, self._stream("wishes"))
        self._build(self._stream("topology"))
        self._plan_traffic(self._stream("traffic"))
        self._plan_faults(self._stream("faults"))

    def run(self) -> TrialResult:
        """Let it all happen. Raises BrokenPromiseError, also for a world that stood still or never settles."""
        world = self.world
        world.run_until(self.span_s)
        self._settle()
        self.checker.audit()
        tally = world.ledger.tally()
        waiting = world.ledger.waiting()
        if waiting:
            stuck = ", ".join(str(bundle) for bundle in waiting[:5])
            raise BrokenPromiseError(
                f"seed {self.seed}, t {world.now_s:.9f} s: {len(waiting)} bundles still wait: {stuck}"
            )
        if tally.delivered < LEAST_DELIVERED_HZ * self.span_s:
            raise BrokenPromiseError(
                f"seed {self.seed}: {tally.delivered} deliveries in {self.span_s:g} s prove nothing; "
                f"at least {LEAST_DELIVERED_HZ * self.span_s:g} are wanted"
            )
        return TrialResult(
            seed=self.seed,
            span_s=self.span_s,
            digest=world.digest(),
            tally=tally,
            steps=self.checker.steps,
            frames=self.checker.frames,
            faults=len(self.faults),
            restarts=len(self.restarts),
        )

    def _settle(self) -> None:
        """Every link is whole again: let time pass until nothing waits, or for too long."""
        world, end_s = self.world, self.span_s
        while world.ledger.waiting() and end_s < self.span_s + SETTLE_S:
            end_s += 10.0
            world.run_until(end_s)

    def story(self) -> list[str]:
        """What was planned, a line each, for whoever looks into a failing seed."""
        lines = [f"{node}/{link}" for node, link in self.links]
        return [f"links: {', '.join(lines)}", *(str(fault) for fault in self.faults), *self.restarts]

    def _stream(self, matter: str) -> random.Random:
        """Draws for one matter: one fault more does not move the traffic."""
        return random.Random(derived_seed(self.seed, "trial", matter))

    def _build(self, rng: random.Random) -> None:
        world, keys, memory = self.world, OpenKeys(), self._stream("memory")
        world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND), keys=keys, commit_s=USUAL_COMMIT_S)
        self.kits = [f"kit-{number}" for number in range(1, rng.choice((3, 3, 3, 4)))]
        for kit in self.kits:
            settings = NodeSettings(node_id=kit, window_entries=memory.choice(WINDOW_ENTRIES))
            world.add_node(settings, keys=keys, commit_s=USUAL_COMMIT_S)
            # One link takes everything at any time, so that a world that is whole again can settle.
            main = profile(rng.choice(("4g", "4g", "vsat"))) if rng.random() < 0.5 else drawn_profile(rng, 64_000)
            world.connect("main", kit, COMMAND, main)
            self.links.append((kit, "main"))
            for number in range(rng.choice((1, 1, 2))):
                link = f"side-{number}"
                side, limits = _drawn_side(rng)
                world.connect(
                    link,
                    kit,
                    COMMAND,
                    side,
                    limits=limits,
                    policy=_drawn_policy(rng),
                    listener_link=f"{link}-{kit}",
                )
                self.links.append((kit, link))

    def _plan_traffic(self, rng: random.Random) -> None:
        """Each kit makes its part of the bundles for command, command one in ten for a kit."""

        def submit() -> None:
            kit = rng.choice(self.kits)
            source, destination = (COMMAND, kit) if rng.random() < 0.1 else (kit, COMMAND)
            self._submit(rng, source, destination)

        until_s = TRAFFIC_RATIO * self.span_s
        self.world.every(WISH_INTERVAL_S, self._wishes.wish, start_s=1.0, until_s=until_s)
        self.world.every(1 / BUNDLES_HZ, submit, start_s=0.0, until_s=until_s)
        for _ in range(rng.choice((0, 0, 1, 2))):
            surge = partial(self._surge, rng, rng.choice(self.kits))
            self.world.at(rng.uniform(1.0, until_s), surge)

    def _surge(self, rng: random.Random, kit: str) -> None:
        """Much at once, so that every class has work for a while."""
        for _ in range(SURGE_BUNDLES):
            self._submit(rng, kit, COMMAND)

    def _submit(self, rng: random.Random, source: str, destination: str) -> None:
        order, origin = rng.choice(_ORDERS), rng.choice(_ORIGINS)
        header = BundleHeader(
            destination=destination,
            flow=f"{order.value}-{origin.value}",
            order=order,
            origin=origin,
            key=rng.choice(("position", "battery")) if order is FlowOrder.LATEST else "",
            lifetime_s=rng.choice(_LIFETIMES_S),
        )
        precedence = rng.choices(_CLASSES, cum_weights=_WEIGHTS)[0]
        is_large = rng.random() < 0.01
        payload = rng.randbytes(rng.choice(_LARGE_BYTES if is_large else _SIZES_BYTES))
        world = self.world
        if not world.is_running(source):
            world.counts["submissions_to_crashed_node"] += 1
            return
        try:
            self._wishes.note(source, world.submit(source, header, precedence, payload))
        except RefusedError:
            world.counts["submissions_refused"] += 1

    def _plan_faults(self, rng: random.Random) -> None:
        latest_s = FAULTS_RATIO * self.span_s
        nodes = [COMMAND, *self.kits]
        for _ in range(rng.randint(LEAST_FAULTS, MOST_FAULTS)):
            fault = draw_fault(rng, self.links, nodes, latest_s)
            fault.plan(self.world)
            self.faults.append(fault)
        self._plan_restarts(rng, latest_s, most=3)

    def _plan_restarts(self, rng: random.Random, latest_s: float, *, most: int) -> None:
        """Some nodes are killed and start again, each once."""
        nodes = [COMMAND, *self.kits]
        for node in rng.sample(nodes, min(most, rng.choice((1, 1, 2, 3)))):
            start_s = rng.uniform(1.0, 0.95 * latest_s)
            end_s = min(latest_s, start_s + rng.choice((0.1, 1.0, 5.0, 20.0)))
            self.world.at(start_s, partial(self.world.crash, node))
            self.world.at(end_s, partial(self.world.restart, node))
            self.restarts.append(f"{start_s:.3f} to {end_s:.3f} s: {node} is down and restarts")


def drawn_profile(rng: random.Random, least_bps: int) -> LinkProfile:
    """Any packet link between ``least_bps`` and some 30 times that."""
    rate_bps = int(least_bps * 2 ** rng.uniform(0, 5))
    delay_s = rng.choice((0.002, 0.02, 0.06, 0.3))
    return LinkProfile(
        rate_bps=rate_bps,
        delay_s=delay_s,
        jitter_s=rng.choice((0.0, 0.0, 0.1, 0.4)) * delay_s,
        loss_ratio=rng.choice((0.0, 0.0, 0.002, 0.02)),
        queue_bytes=max(6000, int(rate_bps / 8 * rng.choice((0.1, 0.3, 1.0)))),
        overhead_bytes=UDP_IPV4_OVERHEAD_BYTES,
    )


def _drawn_side(rng: random.Random) -> tuple[PathProfile | LinkProfile, LinkLimits | None]:
    """A second way: a radio, a satellite, or any slow packet link."""
    name = rng.choice(("radio9600", "vsat", "4g", ""))
    return profile(name) if name else drawn_profile(rng, 20_000), RADIO_LIMITS if name == "radio9600" else None


def _drawn_policy(rng: random.Random) -> LinkPolicy:
    """Free, or with a budget of a day that a trial may use up, or for urgent bundles only, or undescribed."""
    kind = rng.choice(("free", "free", "budget", "urgent", "undescribed"))
    if kind == "budget":
        return LinkPolicy(metered=True, bytes_per_day=rng.choice((20_000, 100_000, 400_000)))
    if kind == "urgent":
        return LinkPolicy(metered=False, precedences=URGENT)
    return LinkPolicy(metered=None if kind == "undescribed" else False)
