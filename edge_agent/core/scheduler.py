"""Which bundle goes next on a link: strict by precedence with shares, people first, then fair among sources and flows.

Links pull: ``pick`` is asked by a link that may send now. Inside one precedence and origin the queues of all sources
and flows take turns by bytes (deficit round robin with one frame as quantum; source: Shreedhar and Varghese 1996).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from edge_agent.core.bundle import FlowOrder, Origin, Precedence
from edge_agent.core.effects import QueueKey
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.queue import Queue
from edge_agent.core.report import no_flow

QUANTUM_BYTES = 1500
STARVED_S = 60.0
"""A class that had work and got nothing for this long goes before everything, FLASH included."""
FLASH_LULL_S = 10.0
"""FLASH that nothing of was sent for this long was not there without end: a frame takes two seconds at 300 bit/s."""
CREDIT_CAP_BYTES = QUANTUM_BYTES + 500
"""One turn, and what is earned until it comes. What a class could not use on this link, for FLASH waited or a faster
link took it, must not make it more than its share later: on a slow link every kilobyte is a second of IMMEDIATE."""
_FLASH, _IMMEDIATE = Precedence.FLASH, Precedence.IMMEDIATE  # a member of an enum is slow to look up
_PRECEDENCES = tuple(Precedence)
_CLASSES_OF = tuple([each for each in Precedence if classes >> each & 1] for classes in range(1 << len(Precedence)))
"""The classes that a set of bits means, highest first."""
DEPTH_SCAN_MAX = 256
"""Entries looked at for a slow link that shall take a piece from the depth of the queue."""


class Reserve(NamedTuple):
    """The class that earns for live flows while IMMEDIATE waits, and what it earns of each byte of the others."""

    precedence: Precedence
    earned_ratio: float


@dataclass(slots=True)
class ShareAccount:
    """One link's bookkeeping of the shares guaranteed to lower classes."""

    credit_bytes: list[float] = field(default_factory=lambda: [0.0] * len(Precedence))
    waiting_since_s: list[float | None] = field(default_factory=lambda: [None] * len(Precedence))
    is_contended: bool = False
    now_s: float = 0.0
    flash_since_s: float | None = None
    """Since when FLASH has been sent without a lull, while others waited."""
    last_flash_s: float = -FLASH_LULL_S
    was_lower: bool = False
    """Whether the last frame began with something below FLASH."""

    def forget(self) -> None:
        """Only one class has work: nobody is owed anything."""
        self.credit_bytes = [0.0] * len(Precedence)
        self.waiting_since_s = [None] * len(Precedence)
        self.is_contended = self.was_lower = False
        self.flash_since_s = None

    def note_served(self, classes: Iterable[Precedence]) -> None:
        """These classes got something, here or on another link to the same node: they do not starve."""
        for precedence in classes:
            self.waiting_since_s[precedence] = None

    def charge(
        self,
        served: Precedence,
        sent_bytes: int,
        waiting: Iterable[Precedence],
        share_ratio: float,
        reserve: Reserve | None = None,
    ) -> None:
        """``served`` got ``sent_bytes``; every class in ``waiting`` that did not gains its share of them."""
        if not self.is_contended:
            return
        self.was_lower = served is not _FLASH
        if not self.was_lower:
            self.last_flash_s = self.now_s
            if self.flash_since_s is None:
                self.flash_since_s = self.now_s
        self.credit_bytes[served] = max(0.0, self.credit_bytes[served] - sent_bytes)
        self.waiting_since_s[served] = None
        for precedence in waiting:
            if precedence != served:
                is_reserved = reserve is not None and precedence is reserve.precedence and self.was_lower
                earned = sent_bytes * (reserve.earned_ratio if reserve is not None and is_reserved else share_ratio)
                self.credit_bytes[precedence] = min(CREDIT_CAP_BYTES, self.credit_bytes[precedence] + earned)

    def before_flash(self, starved: list[Precedence], owed: list[Precedence]) -> list[Precedence]:
        """What goes before FLASH that waits, for one frame: the first of these that the peer takes anything of.

        FLASH that has lasted for ``STARVED_S`` leaves the shares of the others (DESIGN section 4), a frame at a time.
        """
        if self.last_flash_s <= self.now_s - FLASH_LULL_S:
            self.flash_since_s = None
        if self.was_lower:
            return []
        lasts = self.flash_since_s is not None and self.now_s - self.flash_since_s >= STARVED_S
        return starved or (owed if lasts else [])


class Scheduler:
    """All queues, and the order of service among them."""

    def __init__(
        self, share_ratio: float, reserve_ratio: float = 0.3, is_protected: Callable[[str], bool] = no_flow
    ) -> None:
        self.share_ratio = share_ratio
        self.reserve_ratio = reserve_ratio
        self._is_protected = is_protected
        self.queues: dict[QueueKey, Queue] = {}
        self.has_history = False
        """Whether anything was ever served with another class than its own: then links look at each bundle's own."""
        self.version = 0
        """Counts changes that may give an idle link work."""
        self.has_urgent = False
        """Whether FLASH has got something to send since a link last asked."""
        self._ringed = 0
        self._rings: dict[str, list[deque[Queue]]] = {}  # by destination; index 2 x precedence, + 1 for machines
        self._holders: dict[str, list[int]] = {}  # by destination, queues in each class that hold the reserve
        self._classes: dict[str, int] = {}  # by destination, a bit for each class with a queue in its rings

    def queue(self, key: QueueKey, order: FlowOrder, origin: Origin) -> Queue:
        """The queue of this key, made on first use."""
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = Queue.with_past(key, order, origin)
            queue.is_protected = queue.holds_reserve = self._is_protected(key.flow)
        return queue

    def wake(self, queue: Queue) -> None:
        """The queue has something to send (again)."""
        self.version += 1
        if queue.service is _FLASH:
            self.has_urgent = True
        if not queue.is_ringed and queue.entries:
            queue.is_ringed = True
            self._ringed += 1
            destination = queue.key.destination
            rings = self._rings.get(destination)
            if rings is None:
                rings = self._rings[destination] = [deque() for _ in range(2 * len(Precedence))]
            rings[_ring_of(queue)].append(queue)
            self._classes[destination] = self._classes.get(destination, 0) | 1 << queue.service
            if queue.holds_reserve:
                self._count_holders(queue, 1)
            self.has_history = self.has_history or queue.service is not queue.key.precedence

    def _count_holders(self, queue: Queue, change: int) -> None:
        self._holders.setdefault(queue.key.destination, [0] * len(Precedence))[queue.service] += change

    def reserve(self, waiting: list[Precedence], destinations: tuple[str, ...]) -> Reserve | None:
        """What is held for live flows while IMMEDIATE would take all; the highest class that has such holds it.

        Protected flows and perishable bundles are live: where a unit is must not wait for pictures of an event.
        """
        if not self._holders or _IMMEDIATE not in waiting:
            return None
        counts = [self._holders[each] for each in destinations if each in self._holders]
        for precedence in waiting:
            if precedence > _IMMEDIATE and any(count[precedence] for count in counts):
                return Reserve(precedence, self.reserve_ratio / (1 - self.reserve_ratio))
        return None

    def turn_to(self, queue: Queue) -> None:
        """It is this queue's turn now, whatever it took before. O(queues of its class)."""
        if queue.is_ringed:
            ring = self._rings[queue.key.destination][_ring_of(queue)]
            ring.remove(queue)
            ring.appendleft(queue)
            queue.turn_bytes = 0

    @property
    def has_work(self) -> bool:
        """Whether any queue may have something to send, to whomever."""
        return self._ringed > 0

    def waiting(self, destinations: tuple[str, ...]) -> list[Precedence]:
        """The classes that have something queued for these destinations, highest first; not to be changed."""
        classes = 0
        for destination in destinations:
            classes |= self._classes.get(destination, 0)
        return _CLASSES_OF[classes]

    def order_of_service(self, waiting: list[Precedence], account: ShareAccount, now_s: float) -> list[Precedence]:
        """``waiting`` in the order this link should serve it: by precedence, but owed shares first."""
        if len(waiting) < 2:
            if account.is_contended:
                account.forget()
            return waiting
        account.is_contended, account.now_s = True, now_s
        account.note_served([precedence for precedence in _PRECEDENCES if precedence not in waiting])
        starved: list[Precedence] = []
        owed: list[Precedence] = []
        for precedence in waiting[1:]:
            since_s = account.waiting_since_s[precedence]
            if since_s is None:
                account.waiting_since_s[precedence] = now_s
            elif now_s - since_s >= STARVED_S:
                starved.append(precedence)
            if account.credit_bytes[precedence] >= QUANTUM_BYTES:
                owed.append(precedence)
        if waiting[0] is _FLASH:
            first = account.before_flash(starved, owed)
        else:
            account.flash_since_s = None
            first = starved or owed
        if not first:
            return waiting
        return first + [precedence for precedence in waiting if precedence not in first]

    def pick(
        self,
        precedence: Precedence,
        destinations: Iterable[str],
        fits: Callable[[Outgoing], bool],
        depth_bytes: Callable[[], int],
        *,
        may_begin: bool = True,
    ) -> tuple[Queue, Outgoing, int] | None:
        """The next bundle of this class that ``fits``, ``depth_bytes`` deep; with how far into it to start.

        The depth is asked for once something fits. Queues found empty on the way leave their ring. ``may_begin``
        False: no large bundle that is not begun; queues with nothing else pass their turn.
        """
        skip_bytes = -1
        for at in (2 * precedence, 2 * precedence + 1):
            for destination in destinations:
                rings = self._rings.get(destination)
                if rings is None or not rings[at]:
                    continue
                ring = rings[at]
                for queue, outgoing in self._candidates(ring, may_begin=may_begin):
                    if not fits(outgoing):
                        continue
                    if skip_bytes < 0:
                        skip_bytes = depth_bytes()
                    waiting_bytes = outgoing.unsent.total
                    if not waiting_bytes:  # a second copy: ``fits`` knows which link takes it
                        return queue, outgoing, 0
                    if skip_bytes >= waiting_bytes:
                        skip_bytes -= waiting_bytes
                        continue
                    if not may_begin:
                        ring.rotate(-ring.index(queue))
                    return queue, outgoing, skip_bytes
        return None

    def _candidates(self, ring: deque[Queue], *, may_begin: bool) -> Iterator[tuple[Queue, Outgoing]]:
        """Entries in order of service: the queue whose turn it is, then the others."""
        while ring[0].turn_bytes >= QUANTUM_BYTES:
            ring[0].turn_bytes -= QUANTUM_BYTES  # what its last piece took too much comes off its next turn
            ring.rotate(-1)
        for queue in tuple(ring):
            entries = queue.entries
            if queue.first_waiting() is None:
                ring.remove(queue)
                self._unring(queue)
                continue
            for outgoing in islice(entries, DEPTH_SCAN_MAX):
                if not may_begin and outgoing.is_large and outgoing.peer is None:
                    continue
                if not outgoing.is_closed and (outgoing.unsent.total or outgoing.second.total):
                    yield queue, outgoing

    def _unring(self, queue: Queue) -> None:
        """The queue has left its ring: it has nothing to send."""
        queue.is_ringed = False
        queue.turn_bytes = 0
        self._ringed -= 1
        destination, service = queue.key.destination, queue.service
        rings = self._rings[destination]
        if not rings[2 * service] and not rings[2 * service + 1]:
            self._classes[destination] &= ~(1 << service)
        if queue.holds_reserve:
            self._count_holders(queue, -1)


def _ring_of(queue: Queue) -> int:
    return 2 * queue.service + queue.is_machine
