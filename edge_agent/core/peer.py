"""One neighbouring node, over all links together: who it is, what it may still take, what it is owed."""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.core.blocks import Block, Control, Refused, Source, Stored, StoredPartly
from edge_agent.core.bundle import COMMAND, BundleId, Precedence
from edge_agent.core.intervals import IntervalSet

if TYPE_CHECKING:
    from edge_agent.core.contact import Contact
    from edge_agent.core.outgoing import Outgoing

_FLASH, _IMMEDIATE = Precedence.FLASH, Precedence.IMMEDIATE  # a member of an enum is slow to look up
_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call
FIRST_WINDOW_BYTES = 64 << 10
"""What may be opened before the peer's first WINDOW, and after a long silence: five hundred kits that begin at once
must not fill the memory of one post."""
STALE_S = 30.0
"""A window not heard of for so long may be shared with others by now."""
UNSTORED_BYTES = 128 << 10
"""Of one bundle, arrived there and not yet synced: the run that fills, and the one that is being written."""
CALL_BYTES = 65_536
"""A FLASH bundle of at most this needs no window: the peer keeps a reserve of its store for calls for help."""
LARGE_BEGUN_MAX = 16
"""Large bundles of one class, and those above it, of which a part has left and the rest has not: three classes of them
are fewer than the peer joins (arrivals.PARTIALS_MAX), whatever gets lost on the way."""
REPLIES_MAX = 4096
"""Refusals and partial ranges owed to one peer; beyond it the oldest go, and its next fragment asks again."""


class Reply(NamedTuple):
    """A small block owed to a peer until its arrival is acknowledged."""

    block: Block
    is_urgent: bool


@dataclass(slots=True)
class Peer:
    """State shared by all contacts with one node."""

    node_id: str
    contacts: "list[Contact]" = field(default_factory=list)
    """Every way to it, in the order in which it was met there."""
    role: str = ""
    destinations: tuple[str, ...] = field(init=False)
    """Of bundles that this peer is the way to: itself, and ``command`` when that is its role."""
    number: int = 0
    incarnation: int = 0
    features: int = 0
    """What its program reads beyond the first form of the wire, as bits (``hello``)."""
    process_number: int = 0
    """Start counter of the peer's store: greater means that it restarted and forgot what was not synced."""
    window_bytes: int = FIRST_WINDOW_BYTES
    reserve_bytes: int = FIRST_WINDOW_BYTES
    opened_bytes: int = 0
    """What bundles begun towards this peer, and not in its custody yet, take of its window."""
    begun: "dict[Outgoing, None]" = field(default_factory=dict)
    """Large bundles below IMMEDIATE of which a part has left; more than are still so, until ``may_begin`` looks."""
    word_s: float = -1e9
    """When the peer last spoke of what it stored, or of its window."""
    is_stale: bool = False
    fed_bytes: int = 0
    """Payload that came from this peer since it said HELLO."""
    fed_s: float = -1e9
    receiving_bytes: int = 0
    """Declared lengths of bundles begun by this peer and not yet in custody here."""
    is_full: bool = False
    """A bundle was held back for want of window; links look again when custody frees some."""
    last_heard_s: float | None = None
    told_window_bytes: int = -1
    replies: deque[Reply] = field(default_factory=lambda: deque(maxlen=REPLIES_MAX))
    replies_due_s: float | None = None
    answered_s: float = -1e9
    """When replies last left: the next ones may leave at once unless that was a moment ago."""
    custody: dict[tuple[Source, Precedence], IntervalSet] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.take_role(self.role)

    def take_role(self, role: str) -> None:
        """What it is for."""
        self.role = role
        self.destinations = (self.node_id, COMMAND) if role == COMMAND else (self.node_id,)

    @property
    def itself(self) -> Source:
        """The peer as a source. Words owed name every source in full: it may begin a new incarnation before they go."""
        return _new_tuple(Source, (self.node_id, self.incarnation))

    def may_open(self, precedence: Precedence, length: int) -> bool:
        """``has_room`` for a bundle that would leave now: where there is none the peer counts as full."""
        if self.has_room(precedence, length):
            return True
        self.is_full = True
        return False

    def has_room(self, precedence: Precedence, length: int) -> bool:
        """Whether the peer's word covers one more bundle of ``length`` bytes; one longer than the window goes alone."""
        limit = self.window_bytes
        if self.is_stale:
            limit = min(limit, FIRST_WINDOW_BYTES)
        if precedence is _FLASH and length <= CALL_BYTES:
            return True
        if precedence <= _IMMEDIATE:
            limit += self.reserve_bytes
        return self.opened_bytes + length <= limit or (self.opened_bytes == 0 and limit > 0)

    def may_begin(self, service: Precedence) -> bool:
        """Whether one more large bundle of this class may begin, or those begun are finished first."""
        if len(self.begun) < LARGE_BEGUN_MAX:
            return True
        self.begun = {
            each: None for each in self.begun if each.peer is self and each.unsent.total and not each.is_closed
        }
        return sum(each.service <= service for each in self.begun) < LARGE_BEGUN_MAX

    def may_go_on(self, unstored_bytes: int) -> bool:
        """Whether the peer's disk keeps up with a bundle of which so many bytes arrived and are not stored.

        Only a bundle that goes to a file there can have more than one window of them.
        """
        if unstored_bytes < UNSTORED_BYTES or unstored_bytes < self.window_bytes:
            return True
        self.is_full = True
        return False

    def owe_custody(self, bundle: BundleId, due_s: float) -> None:
        """Tell the peer that its bundle is in custody here."""
        key = (Source(bundle.source, bundle.incarnation), bundle.precedence)
        ranges = self.custody.get(key)
        if ranges is None:
            ranges = self.custody[key] = IntervalSet()
        ranges.add(bundle.sequence, bundle.sequence + 1)
        self._hurry(due_s)

    def owe(self, reply: Reply, due_s: float) -> None:
        """Tell the peer something small, until it is acknowledged."""
        block = reply.block
        if isinstance(block, Stored):
            assert block.source is not None, "words owed name their source"
            ranges = self.custody.setdefault((block.source, block.precedence), IntervalSet())
            for start, end in block.ranges:
                ranges.add(start, end)
        elif isinstance(block, (StoredPartly, Refused, Control)):
            self.replies.append(reply)
        self._hurry(due_s)

    def _hurry(self, due_s: float) -> None:
        if self.replies_due_s is None or due_s < self.replies_due_s:
            self.replies_due_s = due_s
