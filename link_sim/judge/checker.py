"""Checker: what the nodes of a world have promised, checked after every step; each breach is raised where it happens.

The ledger has what a bundle is promised (nothing lost, nothing twice). Here are the promises of the way: FLASH first,
shares of the classes, budgets, largest bundles, frames within the MTU, no word of custody before the commit, bounded
memory. A step costs O(links, queues of the node); sizes are looked at every ``BOUNDS_STEPS`` steps, the whole state is
compared every ``AUDIT_STEPS`` steps.

The worlds must run with keys that leave bodies readable: ``NullKeys``, or ``OpenKeys`` where frames are damaged.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from edge_agent.core.arrivals import PARTIALS_MAX
from edge_agent.core.blocks import Ack, Brief, Control, Fragment, Stored
from edge_agent.core.brief import PROFILE_KIND, ProfileReader
from edge_agent.core.bundle import BundleId, MalformedError, Precedence
from edge_agent.core.contact import Contact
from edge_agent.core.contacts import HELD_EARLY_BYTES
from edge_agent.core.custody import SUBMITTING_MAX
from edge_agent.core.effects import BundleAccepted, BundleClosed, BundlesForwarded, Event, LinkChanged, Transmit
from edge_agent.core.envelope import FrameClass, read_envelope
from edge_agent.core.node import Node
from edge_agent.core.pacing import TRAIN_FRAMES
from edge_agent.core.payload_cache import CHUNK_BYTES, FETCHED_BYTES
from edge_agent.core.peer import REPLIES_MAX
from edge_agent.core.scheduler import FLASH_LULL_S, STARVED_S
from edge_agent.core.session import Session
from edge_agent.core.window import LEAST_ENTRIES, LOAD_STEP, QUEUES_MAX, WINDOW_ENTRIES_MAX
from link_sim.judge.bodies import Bodies
from link_sim.judge.contention import carried_classes, find_contact, is_alone, ready_classes, service_of
from link_sim.judge.shares import ExcessJudge, NeglectJudge
from link_sim.nodes.ledger import BrokenPromiseError
from link_sim.nodes.seat import Port, Seat
from link_sim.nodes.watch import NoWatch
from link_sim.nodes.world import World

AUDIT_STEPS = 1000
BOUNDS_STEPS = 7  # odd, so that it meets each node: what is beyond its bound stays there for many steps
FLASH_FRAMES = 4  # beyond the window (DESIGN, section 4: ACK and FLASH may exceed it by 4 frames)
_HELD_MAX = WINDOW_ENTRIES_MAX + LEAST_ENTRIES * QUEUES_MAX
"""Bundles in memory: the budget of all queues, and what it is exceeded by until the next sweep takes it back."""
_SALT = bytes(16)
_CLASSES, _FLASH = tuple(Precedence), Precedence.FLASH  # looked up once: each frame asks many times
_UNKNOWN = FrameClass.UNKNOWN


@dataclass(slots=True)
class _ContactAccount:
    """What is known of one contact from its frames."""

    excess: ExcessJudge
    quiet_since_s: list[float]
    """For each class, when this contact last served it, or was first seen."""
    flash_since_s: float = math.inf
    """Since when FLASH has left here without a lull."""
    was_lower: bool = False
    """Whether the last frame was begun by something below FLASH."""

    def may_go_before_flash(self, led_by: Precedence, waiting_since_s: float, now_s: float) -> bool:
        """A class that starved, or any once FLASH has lasted as long; one frame, then FLASH again."""
        waits_s = now_s - max(self.quiet_since_s[led_by], waiting_since_s)
        has_lull = now_s - self.quiet_since_s[_FLASH] >= FLASH_LULL_S
        lasts = not has_lull and now_s - self.flash_since_s >= STARVED_S
        return not self.was_lower and (waits_s >= STARVED_S or lasts)

    def note(self, led_by: Precedence, class_bytes: list[int], now_s: float) -> None:
        """A frame leaves."""
        if class_bytes[_FLASH]:
            has_lull = now_s - self.quiet_since_s[_FLASH] >= FLASH_LULL_S
            if has_lull or self.flash_since_s == math.inf:
                self.flash_since_s = now_s
        for precedence, its_bytes in enumerate(class_bytes):
            if its_bytes:
                self.quiet_since_s[precedence] = now_s
        self.was_lower = led_by is not _FLASH


@dataclass(slots=True)
class _SeatAccount:
    """What is known of one start of one node."""

    node: Node
    tag_bytes: int
    waiting: list[int]
    waiting_since_s: list[float]
    contacts: dict[Contact, _ContactAccount] = field(default_factory=dict)
    peers: dict[str, NeglectJudge] = field(default_factory=dict)
    day_bytes: dict[str, int] = field(default_factory=dict)
    profiles: dict[tuple[str, object, int], ProfileReader] = field(default_factory=dict)
    """By link, address and receive id: what the reader of those frames holds."""

    def profiles_read(self, transmit: Transmit, receive_id: int) -> ProfileReader:
        """What the reader of this frame holds."""
        reader = (transmit.link, transmit.to, receive_id)
        profiles = self.profiles.get(reader)
        if profiles is None:
            profiles = self.profiles[reader] = ProfileReader()
        return profiles


class Checker(NoWatch):
    """A watch for one world (``nodes.watch.Watch``). Raises BrokenPromiseError with seed, time, node and bundle."""

    def __init__(self, *, audit_steps: int = AUDIT_STEPS) -> None:
        self.steps = 0
        self.frames = 0
        self.pieces = 0
        """Frames with a piece of a bundle."""
        self._audit_steps = audit_steps
        self._world: World | None = None
        self._accounts: dict[str, _SeatAccount] = {}
        self._seats: dict[str, Seat] = {}
        self._bodies = Bodies()

    def join(self, world: World) -> None:
        """Take the world whose steps are checked; one checker serves one."""
        assert self._world is None, "one checker serves one world"
        self._world = world

    def started(self, seat: Seat) -> None:
        """A node begins with empty accounts; the budgets of its links count from here, as the node itself does."""
        name = seat.settings.node_id
        self._seats[name] = seat
        self._accounts.pop(name, None)
        if isinstance(seat.node, Node):
            seat.node.intake.read_body = self._bodies.take
            early = seat.keys.early(_SALT, seat.keys.suite, seat.keys.epoch)
            self._accounts[name] = _SeatAccount(
                node=seat.node,
                tag_bytes=early.overhead_bytes if early is not None else 0,
                waiting=[0] * len(_CLASSES),
                waiting_since_s=[self._now_s] * len(_CLASSES),
            )
            for key, count in seat.disk.waiting().items():
                self._accounts[name].waiting[key.precedence] += count

    def noted(self, seat: Seat, event: Event) -> None:
        """Keep how many bundles of each class wait at a node, and since when there are any."""
        account = self._accounts.get(seat.settings.node_id)
        if account is None:
            return
        if isinstance(event, BundleAccepted):
            precedence = event.bundle.precedence
            if account.waiting[precedence] == 0:
                account.waiting_since_s[precedence] = self._now_s
            account.waiting[precedence] += 1
        elif isinstance(event, BundlesForwarded):
            for bundle in event.bundles:
                account.waiting[bundle.precedence] -= 1
        elif isinstance(event, BundleClosed):
            account.waiting[event.bundle.precedence] -= 1
        elif isinstance(event, LinkChanged) and event.peer in account.peers:
            contacts = account.node.contacts.peers[event.peer].contacts
            if not any(contact.is_usable for contact in contacts):
                account.peers[event.peer].forget()

    def transmitted(self, seat: Seat, transmit: Transmit) -> None:
        """Judge one frame that leaves a node."""
        account = self._accounts.get(seat.settings.node_id)
        if account is None:
            return
        self.frames += 1
        port, frame = seat.ports[transmit.link], transmit.frame
        if len(frame) > port.limits.mtu_bytes:
            self._complain(seat, f"frame of {len(frame)} bytes on {transmit.link!r}, MTU {port.limits.mtu_bytes}")
        fragments = self._fragments_of(seat, account, transmit)
        day_bytes = account.day_bytes.get(transmit.link, 0)
        account.day_bytes[transmit.link] = day_bytes + len(frame) + port.limits.overhead_bytes
        if fragments:
            self.pieces += 1
            self._check_policy(seat, port, transmit.link, fragments, day_bytes)
            contact = find_contact(account.node, transmit.link, transmit.to)
            if contact is not None and not contact.limits.is_burst:
                self._check_order(seat, account, contact, fragments)

    def _fragments_of(self, seat: Seat, account: _SeatAccount, transmit: Transmit) -> list[Fragment]:
        """The pieces of bundles in a frame, those in short form as what they stand for."""
        fragments: list[Fragment] = []
        frame = transmit.frame
        envelope = read_envelope(frame)
        if envelope.frame_class is _UNKNOWN:
            return fragments
        try:
            for block in self._bodies.read(frame[envelope.length : len(frame) - account.tag_bytes]):
                if isinstance(block, Ack):  # in most frames, and read is all that it has to be
                    continue
                if isinstance(block, Fragment):
                    fragments.append(block)
                elif isinstance(block, Stored):
                    self._check_stored(seat, account, transmit, block)
                elif isinstance(block, Brief):
                    rebuilt = account.profiles_read(transmit, envelope.receive_id).rebuild(block, self.frames)
                    if rebuilt is None:
                        self._complain(seat, f"a brief of a profile never told leaves on {transmit.link!r}")
                    else:
                        fragments.append(rebuilt)
                elif isinstance(block, Control) and block.fields[0] == PROFILE_KIND:
                    account.profiles_read(transmit, envelope.receive_id).learn(block.fields, self.frames)
        except MalformedError as error:
            self._complain(seat, f"a frame that no peer can read leaves on {transmit.link!r}: {error}")
        return fragments

    def stepped(self, seat: Seat) -> None:
        """The node asks for nothing more: its memory is within bounds, now and then so is everything else."""
        node = seat.node
        if self.steps % BOUNDS_STEPS == 0 and isinstance(node, Node):
            self._check_bounds(seat, node)
        self.steps += 1
        if self.steps % self._audit_steps == 0:
            self.audit()

    def audit(self) -> None:
        """Compare every promise with every disk, and every node's counts with its disk. O(everything)."""
        world = self._world
        assert world is not None
        world.audit()
        for name, account in self._accounts.items():
            seat = self._seats[name]
            if seat.node is account.node and not seat.committing and not seat.queued:
                self._compare_counts(seat, account)

    @property
    def _now_s(self) -> float:
        return self._world.now_s if self._world is not None else 0.0

    def _check_stored(self, seat: Seat, account: _SeatAccount, transmit: Transmit, block: Stored) -> None:
        """Word of custody follows the commit: what is said to be stored is or was on this disk."""
        world = self._world
        assert world is not None
        if block.source is not None:
            source, incarnation = block.source
        else:
            contact = find_contact(account.node, transmit.link, transmit.to)
            if contact is None or contact.peer is None:
                self._complain(seat, f"word of custody on {transmit.link!r} to nobody")
            source, incarnation = contact.peer.node_id, contact.peer.incarnation
        for start, end in block.ranges:
            for sequence in range(start, end):
                bundle = BundleId(source, incarnation, block.precedence, sequence)
                if world.ledger.has_expired(bundle, world.now_s):
                    continue  # what is too old when it comes is stored nowhere, and its sender let go
                if not world.ledger.has_stored(bundle, seat.settings.node_id):
                    self._complain(seat, f"bundle {bundle}: told to be in custody and never on disk")

    def _check_policy(self, seat: Seat, port: Port, link: str, fragments: list[Fragment], day_bytes: int) -> None:
        """What a link may carry, the largest of its bundles, and its budgets, which FLASH alone may overspend.

        Days and months have the same bytes here: no world lasts longer than a day.
        """
        policy = port.policy
        budgets = ("day", policy.bytes_per_day), ("month", policy.bytes_per_month)
        spent = [f"the {name} has {most}" for name, most in budgets if most is not None and day_bytes >= most]
        for fragment in fragments:
            precedence = fragment.precedence
            is_allowed = precedence in policy.precedences and precedence not in policy.held_back
            if not is_allowed or (policy.metered is None and precedence > Precedence.PRIORITY):
                self._complain(
                    seat, f"{precedence.name} {fragment.sequence} leaves on {link!r}, which may not carry it"
                )
            if precedence is _FLASH:
                continue
            named = f"{precedence.name} {fragment.sequence}"
            if spent:
                self._complain(seat, f"{named} leaves on {link!r} after {day_bytes} bytes; {spent[0]}")
            largest_bytes = policy.largest_bundle_bytes
            if largest_bytes is not None and fragment.total_bytes > largest_bytes:
                self._complain(
                    seat, f"{named} of {fragment.total_bytes} bytes leaves on {link!r}, which takes {largest_bytes}"
                )

    def _check_order(self, seat: Seat, account: _SeatAccount, contact: Contact, fragments: list[Fragment]) -> None:
        """FLASH first, and the shares of the others."""
        now_s, node = self._now_s, account.node
        known = account.contacts.get(contact)
        if known is None:
            judge = ExcessJudge(node.settings.class_share_ratio)
            known = account.contacts[contact] = _ContactAccount(judge, [now_s] * len(_CLASSES))
        class_bytes = [0] * len(_CLASSES)
        services = [service_of(node, fragment) for fragment in fragments]
        for service, fragment in zip(services, fragments, strict=True):
            class_bytes[service] += len(fragment.payload) or 1
        led_by = services[0]
        carried = carried_classes(contact)
        ready = ready_classes(node, contact, carried, now_s)
        must_wait = ready[_FLASH] and not class_bytes[_FLASH]
        if must_wait and not known.may_go_before_flash(led_by, account.waiting_since_s[led_by], now_s):
            self._complain(
                seat, f"{led_by.name} {fragments[0].sequence} starts on {contact.link.name!r} while FLASH waits"
            )
        known.note(led_by, class_bytes, now_s)
        session = contact.session
        if session is None or not session.is_keyed:
            return
        self._check_window(seat, contact, session, led_by)
        self._check_shares(seat, account, contact, known.excess, led_by, class_bytes, ready, carried)

    def _check_shares(
        self,
        seat: Seat,
        account: _SeatAccount,
        contact: Contact,
        excess: ExcessJudge,
        led_by: Precedence,
        class_bytes: list[int],
        ready: list[bool],
        carried: Sequence[Precedence],
    ) -> None:
        """Too much is judged where one link works alone: what a slow one takes may be left by a faster one."""
        node, now_s, mtu_bytes = account.node, self._now_s, contact.limits.mtu_bytes
        alone, peer = is_alone(node, contact), contact.peer
        wrong = excess.note(now_s, led_by, sum(class_bytes), ready, mtu_bytes) if alone else ""
        if not wrong and peer is not None:
            neglect = account.peers.get(peer.node_id)
            if neglect is None:
                neglect = account.peers[peer.node_id] = NeglectJudge(node.settings.class_share_ratio)
            wrong = neglect.note(now_s, class_bytes, ready, carried, mtu_bytes, is_alone=alone)
        if wrong:
            self._complain(seat, f"link {contact.link.name!r}: {wrong}")

    def _check_window(self, seat: Seat, contact: Contact, session: Session, led_by: Precedence) -> None:
        """Bytes in flight, once the frame that was let go is counted among them."""
        newest, frame_bytes = next(reversed(session.arq.in_flight.values()), None), contact.frame_wire_bytes()
        longest_bytes = contact.limits.mtu_bytes + contact.limits.overhead_bytes
        if newest is not None and newest.wire_bytes > frame_bytes:  # it tried a longer path, and was let go by that
            frame_bytes = longest_bytes
        window_bytes = max(contact.controller.window_bytes(contact.rtt, frame_bytes), TRAIN_FRAMES * frame_bytes)
        beyond_frames = FLASH_FRAMES if led_by is _FLASH else 0
        limit_bytes = window_bytes + beyond_frames * frame_bytes + longest_bytes
        if session.arq.in_flight_bytes > limit_bytes:
            self._complain(
                seat, f"link {contact.link.name!r}: {session.arq.in_flight_bytes} bytes in flight, room {limit_bytes}"
            )

    def _check_bounds(self, seat: Seat, node: Node) -> None:
        """Sizes that have a bound in the core; each is a length, none is counted."""
        settings, custody = seat.settings, node.custody
        bundles_max = settings.window_entries + LOAD_STEP
        if len(custody.bundles) > bundles_max or len(custody.expiries) > 2 * bundles_max:
            self._check_entries(seat, node, bundles_max)
        cached_bytes, cached_max_bytes = node.cache.held_bytes, settings.payload_cache_bytes + FETCHED_BYTES
        if cached_bytes > cached_max_bytes + CHUNK_BYTES:
            self._complain(seat, f"{cached_bytes} cached bytes, bound {cached_max_bytes}")
        if len(node.outputs.effects) > SUBMITTING_MAX:
            self._complain(seat, f"{len(node.outputs.effects)} effects under way, bound {SUBMITTING_MAX}")
        contacts = node.contacts
        for peer in contacts.peers.values():
            if peer.opened_bytes < 0 or len(peer.replies) > REPLIES_MAX:
                self._complain(
                    seat, f"{peer.opened_bytes} bytes open towards {peer.node_id}, {len(peer.replies)} replies owed"
                )
        for contact in contacts.contacts:
            if contact.held_early and sum(map(len, contact.held_early)) > HELD_EARLY_BYTES:
                self._complain(seat, f"link {contact.link.name!r} holds more than {HELD_EARLY_BYTES} early bytes")

    def _check_entries(self, seat: Seat, node: Node, bundles_max: int) -> None:
        """Bundles in memory, and their times of expiry: more than one queue may hold."""
        bundles, expiries, queues = len(node.custody.bundles), len(node.custody.expiries), len(node.scheduler.queues)
        if bundles > bundles_max and bundles > min(bundles_max * queues, _HELD_MAX):
            self._complain(seat, f"{bundles} bundles in memory, bound {bundles_max} a queue, {_HELD_MAX} in all")
        if expiries > 2 * bundles_max * max(1, queues):
            self._complain(seat, f"{expiries} times of expiry kept for {bundles} bundles")

    def _compare_counts(self, seat: Seat, account: _SeatAccount) -> None:
        """Nothing is being written: what the node counts and what its disk has is the same."""
        node, stored = account.node, seat.disk.waiting()
        counted = {key: queue.bundles for key, queue in node.scheduler.queues.items() if queue.bundles}
        counted |= {queue.key: queue.bundles for queue in node.custody.windows.dormant}
        if counted != stored:
            self._complain(seat, f"counts {counted} waiting bundles and has {stored} on disk")
        for queue in node.scheduler.queues.values():
            if queue.held > seat.settings.window_entries + LOAD_STEP or queue.held < len(queue.latest):
                self._complain(seat, f"queue {queue.key} holds {queue.held} in memory")
        partials = node.arrivals.joining()
        if partials > PARTIALS_MAX * max(1, len(node.contacts.peers)):
            self._complain(seat, f"{partials} bundles arriving, bound {PARTIALS_MAX} a peer")

    def _complain(self, seat: Seat, what: str) -> NoReturn:
        world = self._world
        seed = world.seed if world is not None else 0
        raise BrokenPromiseError(f"seed {seed}, t {self._now_s:.9f} s, node {seat.settings.node_id}: {what}")
