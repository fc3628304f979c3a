"""One queue of waiting bundles: what of it is in memory, in its order of service, and how much waits in all."""

from collections import deque
from dataclasses import dataclass, field

from edge_agent.core.bundle import BundleId, BundleRecord, FlowOrder, Origin, Precedence
from edge_agent.core.effects import QueueKey
from edge_agent.core.outgoing import Outgoing

_FIFO, _NEWEST = FlowOrder.FIFO, FlowOrder.NEWEST  # a member of an enum is slow to look up
LIVE_S = 60.0
"""Until this age what a machine tells newest first is live: where a unit is. Then it is history: where it was."""


@dataclass(slots=True, eq=False)
class Queue:
    """Bundles of one destination, precedence, source and flow, in the order they are served.

    ``entries`` hold those in memory with something left to send; ``held`` counts all in memory, ``bundles`` and
    ``payload_bytes`` also what is only in the store. ``past`` is where a flow that machines fill newest first keeps its
    history: a queue of entries alone, oldest first, served with DEFERRED once all that is live has left.
    """

    key: QueueKey
    order: FlowOrder
    origin: Origin
    entries: deque[Outgoing] = field(default_factory=deque)
    latest: dict[str, Outgoing] = field(default_factory=dict)
    held: int = 0
    bundles: int = 0
    payload_bytes: int = 0
    oldest_as_of_s: float = 0.0
    has_more_stored: bool = False
    was_left_stored: bool = False
    """Whether a bundle stayed in the store only since the last window was asked for."""
    after: BundleId | None = None
    """How far the store was read; None: from the end that is served first."""
    left_lowest: BundleId | None = None
    """The lowest bundle that stayed in the store only while a window was being read."""
    must_rewind: bool = False
    is_loading: bool = False
    ended_while_loading: set[BundleId] = field(default_factory=set)
    """Bundles whose custody ended since the window was asked for: it may have been read before."""
    was_served: bool = False
    """Whether custody of one of its bundles has ended since it got its window."""
    is_ringed: bool = False
    turn_bytes: int = 0
    service: Precedence = field(init=False)
    past: "Queue | None" = None
    is_protected: bool = False
    """Whether what is in it leaves on two links that fail independently."""
    holds_reserve: bool = False
    """Whether it holds a part of each link against IMMEDIATE: protected flows and perishable bundles do."""
    is_live_read: bool = False
    """Whether all that is live was read from the store: the other rows are read from their oldest end."""

    def __post_init__(self) -> None:
        self.service = self.key.precedence

    @classmethod
    def with_past(cls, key: QueueKey, order: FlowOrder, origin: Origin) -> "Queue":
        """A queue, with room for its history where its flow has such."""
        queue = cls(key, order, origin)
        if order is FlowOrder.NEWEST and origin is Origin.MACHINE and key.precedence > Precedence.IMMEDIATE:
            queue.past = cls(key, FlowOrder.FIFO, origin)
            queue.past.service = Precedence.DEFERRED
        return queue

    @property
    def reads_newest_first(self) -> bool:
        """From which end of its rows it is read."""
        return self.order is not _FIFO and not self.is_live_read

    def is_live(self, record: BundleRecord, now_s: float) -> bool:
        """Whether a bundle goes in the flow's own class: a young one, and the newest there is however old."""
        return self.past is None or record.age_low_at(now_s) < LIVE_S or not self.entries

    def lane_of(self, outgoing: Outgoing) -> "Queue":
        """Where one of its bundles stands."""
        return self.past if outgoing.is_past and self.past is not None else self

    def lanes(self) -> "tuple[Queue, ...]":
        """All places where its bundles stand, in their order of service."""
        return (self,) if self.past is None else (self, self.past)

    @property
    def is_machine(self) -> bool:
        """Whether machines made what is in it: people go first."""
        return self.origin is Origin.MACHINE

    def first_waiting(self) -> Outgoing | None:
        """The entry that is served next; those before it with nothing left to send are gone."""
        entries = self.entries
        while entries:
            first = entries[0]
            if not first.is_closed and (first.unsent.total or first.second.total):
                return first
            entries.popleft().is_queued = False
        return None

    def leave(self, bundle: BundleId) -> None:
        """A bundle stays in the store, or goes back to being a row only."""
        self.has_more_stored = self.was_left_stored = True
        if self.reads_newest_first:
            self.must_rewind = True
        elif self.left_lowest is None or self.left_lowest.incarnation != bundle.incarnation:
            self.must_rewind = self.must_rewind or self.left_lowest is not None
            self.left_lowest = bundle
        elif bundle.sequence < self.left_lowest.sequence:
            self.left_lowest = bundle
        if not self.is_loading:
            self.read_to(self.after)

    def begin_reading(self) -> None:
        """A window is asked for: what is left in the store from now on may be missing from it."""
        self.is_loading, self.was_left_stored = True, False
        self.must_rewind, self.left_lowest = False, None
        self.ended_while_loading.clear()

    def read_to(self, after: BundleId | None) -> None:
        """The store was read as far as ``after``, but for what was left there in the meantime."""
        lowest = self.left_lowest
        if lowest is not None and after is not None:
            is_beyond = lowest.incarnation == after.incarnation and lowest.sequence > after.sequence
            self.must_rewind = self.must_rewind or not is_beyond
        self.after = None if self.must_rewind else after
        self.must_rewind, self.left_lowest = False, None

    def end_live_reading(self, *, has_history: bool) -> None:
        """What is live was read; the rest is read from its oldest end."""
        self.is_live_read, self.after = True, None
        self.has_more_stored = self.has_more_stored or has_history

    def put_loaded(self, outgoing: Outgoing) -> None:
        """A bundle read from the store is served after all that is in memory."""
        if self.past is not None and self.is_live_read:
            outgoing.is_past = True
        self.lane_of(outgoing).entries.append(outgoing)
        outgoing.is_queued = True

    def put(self, outgoing: Outgoing) -> None:
        """A bundle that has just come in takes its place by the flow's order; keys of ``latest`` take turns."""
        if self.order is _NEWEST:
            self.entries.appendleft(outgoing)
        else:
            self.entries.append(outgoing)
        outgoing.is_queued = True

    def put_in_place_of(self, older: Outgoing, outgoing: Outgoing) -> None:
        """A bundle stands where the one it replaces stood. O(entries)."""
        self.entries[self.entries.index(older)] = outgoing
        older.is_queued, outgoing.is_queued = False, True

    def put_before_all(self, outgoing: Outgoing) -> None:
        """A bundle that is wanted now takes the first place, wherever it stood. O(entries)."""
        if outgoing.is_queued:
            self.entries.remove(outgoing)
        self.entries.appendleft(outgoing)
        outgoing.is_queued = True

    def put_first(self, outgoing: Outgoing) -> None:
        """A bundle with lost bytes goes before those not begun."""
        if not outgoing.is_queued:
            self.entries.appendleft(outgoing)
            outgoing.is_queued = True
