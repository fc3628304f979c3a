"""One queue of waiting bundles: what of it is in memory, in its order of service, and how much waits in all."""

from collections import deque
from dataclasses import dataclass, field

from edge_agent.core.bundle import BundleId, FlowOrder, Origin
from edge_agent.core.effects import QueueKey
from edge_agent.core.outgoing import Outgoing


@dataclass(slots=True, eq=False)
class Queue:
    """Bundles of one destination, precedence, source and flow, in the order they are served.

    ``entries`` hold those in memory with something left to send; ``held`` counts all in memory, ``bundles`` and
    ``payload_bytes`` also what is only in the store.
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
    is_loading: bool = False
    ended_while_loading: set[BundleId] = field(default_factory=set)
    """Bundles whose custody ended since the window was asked for: it may have been read before."""
    is_ringed: bool = False
    turn_bytes: int = 0

    @property
    def is_machine(self) -> bool:
        """Whether machines made what is in it: people go first."""
        return self.origin is Origin.MACHINE

    def put(self, outgoing: Outgoing) -> None:
        """A bundle that has just come in takes its place by the flow's order; keys of ``latest`` take turns."""
        if self.order is FlowOrder.NEWEST:
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
