"""A bench of real nodes with a wire between them that a test may cut, copy, delay, redirect and read.

``link_sim.World`` judges frames by physics; here the test itself decides the fate of each one.
"""

import heapq
import math
import random
from collections.abc import Callable, Hashable
from copy import deepcopy
from dataclasses import dataclass, field

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Precedence
from edge_agent.core.effects import BundleDelivered, Effect, Event
from edge_agent.core.frame import LinkKeys
from edge_agent.core.limits import LinkLimits, LinkPolicy, LinkShape
from edge_agent.core.node import Node
from edge_agent.core.report import NodeSettings
from edge_agent.security.link_keys import DeploymentKeys
from link_sim.nodes.disk import MemoryDisk

SECRET = bytes(range(32))
DATAGRAM = LinkLimits(shape=LinkShape.DATAGRAM, mtu_bytes=1400, overhead_bytes=28, rate_bps=1e6)
STREAM = LinkLimits(shape=LinkShape.STREAM, mtu_bytes=512, overhead_bytes=8, rate_bps=1e6)
FREE = LinkPolicy(metered=False)
SPINS_MAX = 10_000


def secret_keys() -> LinkKeys:
    """The keys of one deployment, made anew for each process."""
    return DeploymentKeys({0: SECRET})


@dataclass(slots=True, eq=False)
class Flight:
    """One frame on the wire. ``source`` is what a listening receiver is told, ``to`` where the sender sent it."""

    t_s: float
    sender: str
    receiver: str
    link: str
    source: Hashable | None
    to: Hashable | None
    frame: bytes
    receiver_start: int
    """Which start of the receiver it was sent to."""
    is_received: bool = False
    """Whether that very process got it and did not wave it away unread (a HELLO that crossed its own)."""


@dataclass(slots=True, eq=False)
class End:
    """One link as one node has it."""

    far: str
    limits: LinkLimits
    is_listener: bool
    policy: LinkPolicy = FREE
    is_plugged: bool = False


@dataclass(slots=True, eq=False)
class Place:
    """One node with its disk; ``node`` None while it is crashed."""

    settings: NodeSettings
    disk: MemoryDisk
    node: Node | None = None
    ends: dict[str, End] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    starts: int = 0

    @property
    def running(self) -> Node:
        """The node, which must run."""
        assert self.node is not None, f"{self.settings.node_id} is crashed"
        return self.node

    def delivered(self) -> list[BundleDelivered]:
        """What reached its destination here."""
        return [event for event in self.events if isinstance(event, BundleDelivered)]

    def drops(self) -> dict[str, int]:
        """Counters of the process that runs now."""
        return dict(self.running.outputs.drops)


class Bench:
    """Nodes, wires of ``delay_s`` between them, and a clock that starts at 100 s."""

    def __init__(
        self, *, seed: int = 1, make_keys: Callable[[], LinkKeys] = secret_keys, delay_s: float = 0.01
    ) -> None:
        self.seed = seed
        self.now_s = 100.0
        self.delay_s = delay_s
        self.places: dict[str, Place] = {}
        self.history: list[Flight] = []
        self.passes: Callable[[Flight], bool] = lambda flight: True
        """Whether a frame gets onto the wire; it is in ``history`` in any case."""
        self.disk_works: Callable[[Place, Effect], bool] = lambda place, effect: True
        """Whether an effect is carried out now; else it stays open for ever."""
        self._make_keys = make_keys
        self._wire: list[tuple[float, int, Flight]] = []
        self._order = 0

    def add(self, node_id: str, *, role: str = "kit", **settings: int | Callable[[str], bool]) -> Place:
        """Start a node with an empty disk."""
        disk = MemoryDisk(node_id=node_id, role=role, incarnation=1000 + len(self.places))
        chosen = NodeSettings(node_id=node_id, role=role, **settings)  # type: ignore[arg-type]  # by name
        place = self.places[node_id] = Place(chosen, disk)
        self.start(node_id)
        return place

    def start(self, node_id: str) -> Node:
        """Start the process of a node from its disk, with randomness no process had before."""
        place = self.places[node_id]
        place.starts += 1
        rng = random.Random(f"{self.seed} {node_id} {place.starts}")
        place.node = Node(place.settings, self._make_keys(), rng, place.disk.start(self.now_s), self.now_s)
        for link in place.ends:
            self.plug(node_id, link)
        self.pump(place)
        return place.node

    def crash(self, node_id: str) -> None:
        """The process is gone, its disk stays."""
        self.places[node_id].node = None

    def copy_disk(self, node_id: str) -> MemoryDisk:
        """The data directory of a node as it is now."""
        return deepcopy(self.places[node_id].disk)

    def join(
        self,
        link: str,
        near: str,
        far: str,
        limits: LinkLimits = DATAGRAM,
        *,
        far_listens: bool = True,
        policy: LinkPolicy = FREE,
    ) -> None:
        """Connect two nodes. ``far_listens`` False: both ends speak first, as on a serial line."""
        self.places[near].ends[link] = End(far, limits, False, policy)
        self.places[far].ends.setdefault(link, End(near, limits, far_listens, policy))
        for node_id in (far, near):
            self.plug(node_id, link)

    def plug(self, node_id: str, link: str) -> None:
        """The transport of a link is there."""
        place = self.places[node_id]
        end = place.ends[link]
        end.is_plugged = True
        place.running.set_link(link, self.now_s, limits=end.limits, policy=end.policy, is_listener=end.is_listener)
        self.pump(place)

    def unplug(self, node_id: str, link: str) -> None:
        """The transport of a link is gone."""
        place = self.places[node_id]
        place.ends[link].is_plugged = False
        place.running.set_link(link, self.now_s, limits=None, reason="unplugged")
        self.pump(place)

    def submit(
        self,
        node_id: str,
        payload: bytes,
        precedence: Precedence = Precedence.ROUTINE,
        header: BundleHeader | None = None,
    ) -> BundleId:
        """Hand a bundle for command to a node."""
        place = self.places[node_id]
        header = header or BundleHeader(destination=COMMAND, flow="text")
        bundle = place.running.submit(header, precedence, payload, self.now_s)
        self.pump(place)
        return bundle

    def inject(self, receiver: str, link: str, frame: bytes, source: Hashable | None = None) -> None:
        """Put a frame of the test's own in front of a node."""
        place = self.places[receiver]
        place.running.receive(link, source, frame, self.now_s)
        self.pump(place)

    def run(self, span_s: float) -> None:
        """Let time pass; every wake-up of every node must make progress."""
        end_s = self.now_s + span_s
        spins = 0
        while True:
            due_s = min([at_s for at_s, _, _ in self._wire[:1]] + self._wakeups(), default=math.inf)
            if due_s > end_s:
                break
            spins = spins + 1 if due_s <= self.now_s else 0
            assert spins < SPINS_MAX, f"time stands still at {self.now_s} s"
            self.now_s = max(self.now_s, due_s)
            self._step()
        self.now_s = end_s

    def _wakeups(self) -> list[float]:
        nodes = [place.node for place in self.places.values() if place.node is not None]
        return [wake_s for node in nodes if (wake_s := node.next_wakeup()) is not None]

    def _step(self) -> None:
        while self._wire and self._wire[0][0] <= self.now_s:
            flight = heapq.heappop(self._wire)[2]
            place = self.places[flight.receiver]
            if place.node is not None:
                crossed = place.node.outputs.drops["hello_crossed"]
                place.node.receive(flight.link, flight.source, flight.frame, self.now_s)
                was_looked_at = crossed == place.node.outputs.drops["hello_crossed"]
                is_due = flight.receiver_start == place.starts and place.ends[flight.link].is_plugged
                flight.is_received = is_due and was_looked_at
                self.pump(place)
        for place in self.places.values():
            if place.node is None:
                continue
            wake_s = place.node.next_wakeup()
            if wake_s is not None and wake_s <= self.now_s:
                place.node.handle_timeout(self.now_s)
                self.pump(place)
                later_s = place.node.next_wakeup()
                assert later_s is None or later_s > self.now_s, f"{place.settings.node_id}: {later_s} at {self.now_s}"

    def pump(self, place: Place) -> None:
        """Do all a node asks for."""
        node = place.node
        is_busy = node is not None
        while is_busy and node is not None:
            is_busy = False
            while (transmit := node.poll_transmit(self.now_s)) is not None:
                self._send(place, transmit.link, transmit.to, transmit.frame)
            while (effect := node.poll_effect()) is not None:
                place.effects.append(effect)
                if self.disk_works(place, effect):
                    node.complete(effect.effect_id, place.disk.execute(effect), self.now_s)
                    is_busy = True
            while (event := node.poll_event()) is not None:
                place.events.append(event)

    def _send(self, place: Place, link: str, to: Hashable | None, frame: bytes) -> None:
        sender, end = place.settings.node_id, place.ends[link]
        assert len(frame) <= end.limits.mtu_bytes, f"frame of {len(frame)} bytes on a link of {end.limits.mtu_bytes}"
        receiver = str(to) if to is not None and str(to) in self.places else end.far
        source = sender if self.places[receiver].ends[link].is_listener else None
        starts = self.places[receiver].starts
        flight = Flight(self.now_s, sender, receiver, link, source, to, frame, starts)
        self.history.append(flight)
        if self.passes(flight):
            self._order += 1
            heapq.heappush(self._wire, (self.now_s + self.delay_s, self._order, flight))
