"""World: core nodes, links and disks in virtual time, on a bare heap of events.

An hour passes as fast as the nodes can be stepped; equal seeds and calls give equal digests. Only nodes that were
touched are polled, a link has one event in the heap, and a ledger checks every step.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

from edge_agent.core.bundle import BundleHeader, BundleId, Precedence
from edge_agent.core.effects import (
    ArrivalExpired,
    BundleAccepted,
    BundleDelivered,
    BundleRefused,
    Effect,
    Event,
    Fetch,
    IdentityMismatch,
    LinkChanged,
    LoadBundle,
    LoadWindow,
    Transmit,
)
from edge_agent.core.errors import EdgeAgentError
from edge_agent.core.frame import LinkKeys, NullKeys
from edge_agent.core.limits import LinkLimits, LinkPolicy, LinkShape
from edge_agent.core.node import Node
from edge_agent.core.report import NodeReport, NodeSettings
from link_sim.link.line import Line
from link_sim.link.link_profile import LinkProfile
from link_sim.link.media import Medium
from link_sim.link.model import Outage, spoiled
from link_sim.link.services import NS_PER_S
from link_sim.link.streams import derived_seed
from link_sim.nodes.collector import seldom_collecting
from link_sim.nodes.disk import DiskMaker, NodeDisk, make_memory_disk
from link_sim.nodes.door import NodeDoor, NodeMaker
from link_sim.nodes.ledger import Delivery, Ledger
from link_sim.nodes.seat import Address, Joint, Port, Seat, Way
from link_sim.nodes.watch import UNWATCHED, Watch
from link_sim.profiles import PathProfile, profile_from

DEFAULT_MTU_BYTES = 1400  # fits the 1,500 of Ethernet under IPv6, UDP and a tunnel
DEFAULT_COMMIT_S = 0.002  # one sync of a small flash disk
SPINS_MAX = 1000  # wake-ups of one node at one instant; more is a deadline that makes no progress


ResultT = TypeVar("ResultT")


class WorldError(EdgeAgentError):
    """A node or a caller did what no world allows; the message says who, what and when."""


class World:
    """Nodes and links that share one virtual clock, which starts at 0."""

    def __init__(
        self,
        seed: int,
        *,
        make_node: NodeMaker = Node,
        watch: Watch = UNWATCHED,
        make_disk: DiskMaker = make_memory_disk,
    ) -> None:
        self.seed = seed
        self.ledger = Ledger(seed)
        self._watch = watch
        watch.join(self)
        self.deliveries: list[Delivery] = []
        self.link_changes: list[tuple[float, LinkChanged]] = []
        self.counts: Counter[str] = Counter()
        self.now_s = 0.0
        self._now_ns = 0
        self._make_node = make_node
        self._make_disk = make_disk
        self._seats: dict[str, Seat] = {}
        self._joints: list[Joint] = []
        self._heap: list[tuple[int, int, Callable[[Any], object], Any]] = []  # Any: what the callable takes
        self._order = count()
        self._hash = blake2b(digest_size=16)

    def add_node(
        self,
        settings: NodeSettings,
        *,
        keys: LinkKeys | None = None,
        commit_s: float = DEFAULT_COMMIT_S,
        sync_bps: float | None = None,
    ) -> None:
        """Start a node with an empty disk whose commits take ``commit_s``, and longer where it syncs ``sync_bps``.

        ``sync_bps`` is payload bits a second; the node is told of it, and a commit has no more than 25 ms of it.
        """
        node_id = settings.node_id
        if node_id in self._seats:
            raise WorldError(f"node {node_id!r} is there already")
        incarnation = derived_seed(self.seed, "incarnation", node_id)
        disk = self._make_disk(node_id=node_id, role=settings.role, incarnation=incarnation, now_s=lambda: self.now_s)
        seat = Seat(settings=settings, disk=disk, keys=keys or NullKeys(), commit_ns=_ns(commit_s), sync_bps=sync_bps)
        self._seats[node_id] = seat
        self._start_node(seat)

    def connect(
        self,
        link: str,
        remote: str,
        listener: str,
        profile: PathProfile | LinkProfile,
        *,
        limits: LinkLimits | None = None,
        policy: LinkPolicy | None = None,
        listener_link: str | None = None,
        medium: Medium | None = None,
    ) -> None:
        """Join ``link`` of node ``remote`` with a listening link of node ``listener`` that may serve many.

        The listening link has the same name unless ``listener_link`` says another. ``limits`` None: a datagram link
        that knows nothing of its rate. ``medium``: both directions sit on it, with those of other links on it.
        """
        up, down = (profile, profile) if isinstance(profile, LinkProfile) else (profile.up, profile.down)
        limits = limits or LinkLimits(
            shape=LinkShape.DATAGRAM, mtu_bytes=DEFAULT_MTU_BYTES, overhead_bytes=up.overhead_bytes
        )
        far_link = listener_link or link
        near, far = self._seat(remote), self._seat(listener)
        if link in near.ports:
            raise WorldError(f"node {remote!r} has a link {link!r} already")
        address = Address(remote, link)
        ways = [
            Way(
                name=f"{remote}/{link}/{name}",
                line=Line(numbers, derived_seed(self.seed, remote, link, name), medium=medium, spoil=spoiled),
                to=to,
                link=to_link,
                source=source,
            )
            for name, numbers, to, to_link, source in (
                ("up", up, far, far_link, address),
                ("down", down, near, link, None),
            )
        ]
        self._joints.append(Joint(name=link, remote=remote, up=ways[0], down=ways[1]))
        for way in ways:
            self._watch.laid(way)
        policy = policy or LinkPolicy(metered=False)
        near.ports[link] = Port(limits=limits, policy=policy, is_listener=False, ways={None: ways[0]})
        self._set_link(near, link)
        is_new = far_link not in far.ports
        far.ports.setdefault(far_link, Port(limits=limits, policy=policy, is_listener=True)).ways[address] = ways[1]
        if is_new:
            self._set_link(far, far_link)

    def share(self, link: str) -> None:
        """Make one of the links of that name: in each direction one rate and one queue. Raises ProfileError."""
        for direction in ("up", "down"):
            first, *others = self._ways(link, None, direction)
            for way in others:
                way.line.share(first.line)

    def submit(self, node_id: str, header: BundleHeader, precedence: Precedence, payload: bytes) -> BundleId:
        """Hand a bundle to a node now. Raises RefusedError as the node does."""
        seat = self._seat(node_id)
        bundle = self._running(seat).submit(header, precedence, payload, self.now_s)
        self.ledger.submitted(bundle, node_id, payload, self.now_s, header.lifetime_s)
        self._pump(seat)
        return bundle

    def ask(self, node_id: str, act: Callable[[NodeDoor, float], ResultT]) -> ResultT:
        """Call any verb of a node now; gives back what ``act`` does."""
        seat = self._seat(node_id)
        result = act(self._running(seat), self.now_s)
        self._pump(seat)
        return result

    def node(self, node_id: str) -> NodeDoor:
        """The running process of a node, to look at; whoever wants something of it calls ``ask``."""
        return self._running(self._seat(node_id))

    def report(self, node_id: str) -> NodeReport:
        """What a node says of itself now."""
        return self._running(self._seat(node_id)).report(self.now_s)

    def is_running(self, node_id: str) -> bool:
        """Whether a node is not crashed."""
        return self._seat(node_id).node is not None

    def disk(self, node_id: str) -> NodeDisk:
        """The disk of a node, crashed or not."""
        return self._seat(node_id).disk

    def at(self, t_s: float, action: Callable[[], object]) -> None:
        """Call ``action`` when the clock shows ``t_s``; in the past raises WorldError."""
        t_ns = _ns(t_s)
        if t_ns < self._now_ns:
            raise WorldError(f"at {t_s} s: the clock shows {self.now_s} s already")
        self._push(t_ns, lambda _: action(), None)

    def every(self, interval_s: float, action: Callable[[], object], *, start_s: float, until_s: float) -> None:
        """Call ``action`` at ``start_s`` and each ``interval_s`` after it, before ``until_s``."""

        def step(number: int) -> None:
            action()
            later_s = start_s + (number + 1) * interval_s
            if later_s < until_s:
                self._push(_ns(later_s), step, number + 1)

        self._push(_ns(start_s), step, 0)

    def run_until(self, t_s: float) -> None:
        """Let virtual time pass up to and including ``t_s``."""
        end_ns, heap = _ns(t_s), self._heap
        with seldom_collecting():
            while heap and heap[0][0] <= end_ns:
                self._now_ns, _, action, argument = heappop(heap)
                self.now_s = self._now_ns / NS_PER_S
                action(argument)
        self._now_ns = max(self._now_ns, end_ns)
        self.now_s = self._now_ns / NS_PER_S

    def next_event_s(self) -> float | None:
        """When something happens next; None when nothing ever will."""
        return self._heap[0][0] / NS_PER_S if self._heap else None

    def cut(
        self,
        link: str,
        *,
        node: str | None = None,
        direction: str | None = None,
        outage: Outage = Outage.DROP,
        kills_in_flight: bool = False,
    ) -> None:
        """Silence a link at every node or at ``node``'s end of it, both ways or "up" or "down"; nobody is told."""
        for way in self._ways(link, node, direction):
            way.line.cut(self._now_ns, outage, kills_in_flight=kills_in_flight)

    def restore(self, link: str, *, node: str | None = None, direction: str | None = None) -> None:
        """End the outage of a link and bring back its first numbers."""
        for way in self._ways(link, node, direction):
            way.line.restore(self._now_ns)
            self._arm_way(way)

    def mend(self, link: str, *, node: str | None = None, direction: str | None = None) -> None:
        """End the outage of a link and keep its other numbers."""
        for way in self._ways(link, node, direction):
            way.line.mend(self._now_ns)
            self._arm_way(way)

    def set(
        self, link: str, *, node: str | None = None, direction: str | None = None, **changes: float | bool | None
    ) -> None:
        """Change numbers, named as in LinkProfile, of both directions or of one. Raises ProfileError."""
        for way in self._ways(link, node, direction):
            where = f"link {way.name}"
            way.line.set(self._now_ns, profile_from(where, changes, way.line.profile, way=way.side))
            self._arm_way(way)

    def unplug(self, link: str, node: str, *, reason: str = "unplugged") -> None:
        """The transport of a link at one node is gone, and the node is told so."""
        seat = self._seat(node)
        seat.ports[link].is_plugged = False
        self._set_link(seat, link, reason)

    def plug(self, link: str, node: str) -> None:
        """The transport is back."""
        seat = self._seat(node)
        seat.ports[link].is_plugged = True
        self._set_link(seat, link)

    def policy(self, link: str, node: str) -> LinkPolicy:
        """What a link may carry now at one node."""
        return self._seat(node).ports[link].policy

    def set_policy(self, link: str, node: str, policy: LinkPolicy) -> None:
        """What a link may carry from now on at one node, which is told so."""
        seat = self._seat(node)
        seat.ports[link].policy = policy
        if isinstance(seat.node, Node):
            seat.node.set_terms(link, self.now_s, policy=policy)
            self._pump(seat)

    def move(self, link: str, node: str) -> None:
        """A remote node's address changes, as behind a NAT: it is heard from a new one, and the old one is nobody's."""
        for joint in self._joints:
            if (joint.name, joint.remote) == (link, node):
                port = next(port for port in joint.up.to.ports.values() if joint.up.source in port.ways)
                old = joint.up.source
                new = Address(node, f"{link}+{len(port.left) + 1}")
                port.ways[new], joint.up.source = port.ways.pop(old), new
                port.left.add(old)

    def set_busy(self, link: str, node: str, *, is_busy: bool) -> None:
        """Whether the medium of a link takes no frame at one node, which is told so."""
        seat = self._seat(node)
        seat.ports[link].is_busy = is_busy
        if seat.node is not None:
            seat.node.set_busy(link, self.now_s, is_busy=is_busy)
            self._pump(seat)

    def set_commit(self, node: str, commit_s: float) -> None:
        """How long commits of a node take from the next one on; above 0, for what waits counts on a commit to come."""
        seat = self._seat(node)
        if commit_s <= 0 or seat.commit_ns == 0:
            raise WorldError(f"commit_s {commit_s} of node {node!r}: allowed is above 0, for a node that had such")
        seat.commit_ns = _ns(commit_s)

    def crash(self, node_id: str) -> None:
        """Stop a node at once; what had not committed is lost, its disk stays."""
        seat = self._seat(node_id)
        self._running(seat)
        seat.forget()

    def restart(self, node_id: str) -> None:
        """Start a crashed node from its disk."""
        seat = self._seat(node_id)
        if seat.node is not None:
            raise WorldError(f"node {node_id!r} runs at {self.now_s} s")
        self._start_node(seat)

    def audit(self) -> None:
        """Compare the ledger with every disk. Raises BrokenPromiseError. O(everything)."""
        self.ledger.audit((seat.disk for seat in self._seats.values()), self.now_s)

    def digest(self) -> str:
        """Hash of every verdict of every link and of every delivery with its time."""
        whole = self._hash.copy()
        for joint in self._joints:
            for way in (joint.up, joint.down):
                whole.update(f"{way.name} {way.line.model.digest()}\n".encode())
        return whole.hexdigest()

    def lines(self) -> dict[str, Line[bytes]]:
        """Every direction by its name, "node/link/up" or "node/link/down"."""
        return {way.name: way.line for joint in self._joints for way in (joint.up, joint.down)}

    def frames(self) -> dict[str, dict[str, int]]:
        """Frames by fate, for each direction "node/link/up" and "node/link/down"."""
        return {way.name: way.line.model.counts() for joint in self._joints for way in (joint.up, joint.down)}

    def _seat(self, node_id: str) -> Seat:
        seat = self._seats.get(node_id)
        if seat is None:
            raise WorldError(f"node {node_id!r} is not known; there are {', '.join(self._seats) or 'none'}")
        return seat

    def _running(self, seat: Seat) -> NodeDoor:
        if seat.node is None:
            raise WorldError(f"node {seat.settings.node_id!r} is crashed at {self.now_s} s")
        return seat.node

    def _ways(self, link: str, node: str | None, direction: str | None = None) -> Iterator[Way]:
        if direction not in (None, "up", "down"):
            raise WorldError(f"direction {direction!r}: allowed is up, down, or none for both")
        joints = [each for each in self._joints if each.name == link and node in (None, each.remote)]
        if not joints:
            known = ", ".join(f"{each.name} of {each.remote}" for each in self._joints)
            raise WorldError(f"link {link!r} of {node or 'any node'} is not known; there are {known or 'none'}")
        for joint in joints:
            if direction != "down":
                yield joint.up
            if direction != "up":
                yield joint.down

    def _push(self, t_ns: int, action: Callable[[Any], object], argument: object) -> None:  # Any: what it takes
        heappush(self._heap, (t_ns, next(self._order), action, argument))

    def _start_node(self, seat: Seat) -> None:
        seat.starts += 1
        rng = random.Random(derived_seed(self.seed, "node", seat.settings.node_id, str(seat.starts)))
        seat.node = self._make_node(seat.settings, seat.keys, rng, seat.disk.start(self.now_s), self.now_s)
        if seat.sync_bps is not None:
            seat.node.set_store_rate(seat.sync_bps)
        self._watch.started(seat)
        self._pump(seat)
        for link in seat.ports:
            self._set_link(seat, link)

    def _set_link(self, seat: Seat, link: str, reason: str = "") -> None:
        port = seat.ports[link]
        if seat.node is not None:
            limits = port.limits if port.is_plugged else None
            seat.node.set_link(
                link, self.now_s, limits=limits, policy=port.policy, is_listener=port.is_listener, reason=reason
            )
            if port.is_busy:
                seat.node.set_busy(link, self.now_s, is_busy=True)
            self._pump(seat)

    def _arm_way(self, way: Way) -> None:
        due_ns = way.line.next_due_ns()
        if due_ns is not None and (way.armed_ns is None or due_ns < way.armed_ns):
            way.armed_ns = max(due_ns, self._now_ns)
            self._push(way.armed_ns, self._arrive, way)

    def _arrive(self, way: Way) -> None:
        """Frames of a way may be due: hand them over."""
        if way.armed_ns != self._now_ns:  # a line that was changed has another event
            return
        way.armed_ns = None
        seat = way.to
        node = seat.node
        while (frame := way.line.take(self._now_ns)) is not None:
            if node is None:
                self.counts["frames_to_crashed_node"] += 1
            elif not seat.ports[way.link].is_plugged:
                self.counts["frames_to_unplugged_link"] += 1
            else:
                node.receive(way.link, way.source, frame, self.now_s)
        self._arm_way(way)
        if node is not None:
            self._pump(seat)

    def _wake(self, seat: Seat) -> None:
        """A deadline of a node may have come."""
        if seat.armed_ns != self._now_ns or seat.node is None:
            return
        seat.armed_ns = None
        if seat.wake_ns is not None and seat.wake_ns <= self._now_ns:
            if seat.spun_at_ns != self._now_ns:
                seat.spun_at_ns, seat.spins = self._now_ns, 0
            seat.spins += 1
            if seat.spins > SPINS_MAX:
                name = seat.settings.node_id
                raise WorldError(f"seed {self.seed}: node {name!r} wakes for ever at {self.now_s} s: {seat.wake_s}")
            seat.node.handle_timeout(self.now_s)
            self._pump(seat)
        self._arm_seat(seat)

    def _arm_seat(self, seat: Seat) -> None:
        wake_ns = seat.wake_ns
        if wake_ns is not None and (seat.armed_ns is None or wake_ns < seat.armed_ns):
            seat.armed_ns = max(wake_ns, self._now_ns)
            self._push(seat.armed_ns, self._wake, seat)

    def _pump(self, seat: Seat) -> None:
        """Do all that a touched node asks for, until it asks for nothing."""
        node, now_s = seat.node, self.now_s
        if node is None:
            return
        is_busy = True
        while is_busy:
            is_busy = False
            while (transmit := node.poll_transmit(now_s)) is not None:
                self._send(seat, transmit)
            while (effect := node.poll_effect()) is not None:
                is_busy |= self._begin(seat, node, effect)
            while (event := node.poll_event()) is not None:
                self._note(seat, event)
        wake_s = node.next_wakeup()
        if wake_s != seat.wake_s:
            seat.wake_s = wake_s
            seat.wake_ns = None if wake_s is None else _ns(wake_s)
            self._arm_seat(seat)
        self._watch.stepped(seat)

    def _send(self, seat: Seat, transmit: Transmit) -> None:
        port = seat.ports.get(transmit.link)
        way = port.ways.get(transmit.to) if port else None
        if port is not None and way is None and transmit.to in port.left:
            self._watch.transmitted(seat, transmit)
            self.counts["frames_to_old_address"] += 1
            return
        if port is None or way is None:
            raise WorldError(
                f"node {seat.settings.node_id!r} sends on {transmit.link!r} to {transmit.to!r}: no such way"
            )
        frame = transmit.frame
        self._watch.transmitted(seat, transmit)
        if not port.is_plugged or len(frame) > port.limits.mtu_bytes:
            self.counts["frames_oversize" if port.is_plugged else "frames_on_unplugged_link"] += 1
            return
        way.line.carry(self._now_ns, len(frame), frame)
        if way.armed_ns is None:
            self._arm_way(way)

    def _begin(self, seat: Seat, node: NodeDoor, effect: Effect) -> bool:
        """Start an effect; whether it ended at once. Reads do; writes commit together, one commit after the other."""
        if seat.commit_ns == 0 or isinstance(effect, (Fetch, LoadWindow, LoadBundle)):
            self._finish(seat, node, effect)
            return True
        seat.queue(effect)
        if not seat.is_committing:
            self._start_commit(seat, node)
        return False

    def _start_commit(self, seat: Seat, node: NodeDoor) -> None:
        span_ns = seat.start_commit()
        seat.is_committing = span_ns is not None
        if span_ns is not None:
            self._push(self._now_ns + span_ns, self._commit, (seat, node))

    def _commit(self, ticket: tuple[Seat, NodeDoor]) -> None:
        seat, node = ticket
        if seat.node is not node:  # it crashed in the meantime
            return
        done, seat.committing = seat.committing, []
        self._start_commit(seat, node)
        for effect in done:
            self._finish(seat, node, effect)
        self._pump(seat)

    def _finish(self, seat: Seat, node: NodeDoor, effect: Effect) -> None:
        outcome = self.ledger.watch(effect, seat.settings.node_id, seat.disk, self.now_s)
        node.complete(effect.effect_id, outcome, self.now_s)

    def _note(self, seat: Seat, event: Event) -> None:
        name, now_s = seat.settings.node_id, self.now_s
        self._watch.noted(seat, event)
        if isinstance(event, BundleDelivered):
            self.ledger.delivered(event, name, seat.disk, now_s)
            record, via = event.record, event.via
            self.deliveries.append(Delivery(t_s=now_s, node=name, record=record, payload=event.payload, via=via))
            self._hash.update(f"{self._now_ns} {name} {record.id} {','.join(via)}\n".encode())
        elif isinstance(event, BundleAccepted):
            self.ledger.accepted(event.bundle, name, seat.disk, now_s)
        elif isinstance(event, ArrivalExpired):
            self.ledger.called_expired(event.record.id, name, now_s)
        elif isinstance(event, LinkChanged):
            self.link_changes.append((now_s, event))
        elif isinstance(event, BundleRefused):
            self.counts[f"refused_{event.reason.value}"] += 1
        elif isinstance(event, IdentityMismatch):
            raise WorldError(f"node {name!r} saw bundle {event.bundle} with two headers at {now_s} s")


def _ns(t_s: float) -> int:
    """The first nanosecond that shows ``t_s`` or later."""
    t_ns = math.ceil(t_s * NS_PER_S)
    return t_ns if t_ns / NS_PER_S >= t_s else t_ns + 1
