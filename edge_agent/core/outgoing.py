"""One bundle in custody on its way out: which bytes are unsent, acknowledged by a link, stored by the next node."""

from dataclasses import dataclass, field
from typing import ClassVar

from edge_agent.core.blocks import Source
from edge_agent.core.bundle import BundleRecord, Precedence
from edge_agent.core.intervals import IntervalSet
from edge_agent.core.peer import UNSTORED_BYTES, Peer

_FLASH, _IMMEDIATE = Precedence.FLASH, Precedence.IMMEDIATE  # a member of an enum is slow to look up
LARGE_BYTES = 1500
"""A longer bundle takes several turns of its queue (scheduler.QUANTUM_BYTES), so that others begin beside it."""
EVERY_LINK_FLOWS = frozenset(("withdraw",))
"""Flows whose FLASH bundles leave on every link there is: an order to withdraw, of which one way must get through."""
EVERY_LINK = 1 << 16
"""So many copies as there are links."""


@dataclass(slots=True, eq=False)
class BurstCopy:
    """What left on burst links, where only STORED tells of an arrival. ``again_s``: when it may leave once more."""

    again_s: float
    wait_s: float
    sent: IntervalSet = field(default_factory=IntervalSet)


@dataclass(slots=True, eq=False)
class Outgoing:
    """Send state of one bundle. Ranges are payload bytes; an empty payload counts as one byte, so that it can be sent.

    A byte is in exactly one of: ``unsent``, in flight on some link, ``acked`` (arrived, volatile); ``stored`` is what
    the next node has synced and is part of ``acked``. Bytes of which more than one copy shall leave also stand in
    ``second`` until they have left on so many links that do not fail together, of a flow in EVERY_LINK_FLOWS until they
    arrived; ``copies`` holds what each link, or each group of links that fail together, has carried of such bytes.
    What left on a burst link is still unsent for all others.
    """

    is_live: ClassVar[bool] = False
    """Whether it is perishable (``live``): it has no window, no store and no chunk in memory but its own."""
    record: BundleRecord
    header: bytes
    source: Source | None
    precedence: Precedence = field(init=False)
    """Its own class, which ageing never changes."""
    span: int = field(init=False)
    is_large: bool = field(init=False)
    """Only some of its kind may be on their way at a time."""
    unsent: IntervalSet = field(init=False)
    acked: IntervalSet = field(default_factory=IntervalSet)
    stored: IntervalSet = field(default_factory=IntervalSet)
    second: IntervalSet = field(default_factory=IntervalSet)
    peer: Peer | None = None
    """The node it is pinned to once its first fragment was sent."""
    via: tuple[str, ...] = ()
    """The links that carried something of it, by name."""
    blocked_until_s: float = 0.0
    last_sent_s: float = 0.0
    sent_bytes: int = 0
    """Bytes taken by links that acknowledge, those sent again counted again: below ``span`` some byte never left."""
    follows_abandoned: bool = False
    """A bundle of its key was given up half sent for this one: this one is finished whatever comes."""
    is_past: bool = False
    """It is history: served with the lowest class, oldest first."""
    is_closed: bool = False
    is_queued: bool = False
    burst: BurstCopy | None = None
    copies: dict[str, IntervalSet] | None = None
    is_on_every_link: bool = False
    _copies_wanted: int = 2

    def __post_init__(self) -> None:
        self.precedence = self.record.id.precedence
        self.span = max(1, self.record.payload_bytes)
        self.is_large = self.span > LARGE_BYTES and self.precedence > _IMMEDIATE
        self.unsent = IntervalSet()
        self.unsent.add(0, self.span)
        if self.precedence is _FLASH and self.record.header.flow in EVERY_LINK_FLOWS:
            self.is_on_every_link = True

    @property
    def service(self) -> Precedence:
        """The class it is served with and charged to; what a link may carry goes by ``precedence``."""
        return Precedence.DEFERRED if self.is_past else self.precedence

    @property
    def charged_bytes(self) -> int:
        """What it takes of its peer's window: of one that goes to a file there, no more is in memory at a time."""
        return min(self.record.payload_bytes, UNSTORED_BYTES)

    def pin(self, peer: Peer) -> None:
        """``peer`` is the node that gets all of it."""
        self.peer = peer
        peer.opened_bytes += self.charged_bytes
        if self.is_large:
            peer.begun[self] = None

    @property
    def is_begun(self) -> bool:
        """Whether a fragment has left for the next node."""
        return self.peer is not None

    @property
    def may_be_whole(self) -> bool:
        """Whether every byte has left at least once, so that the next node may have all of it."""
        is_in_burst = self.burst is not None and self.burst.sent.total >= self.span
        return self.sent_bytes >= self.span or is_in_burst

    def has_piece_for(self, link: str, fate: str = "") -> bool:
        """Whether bytes wait that ``link``, which fails together with others of its ``fate``, may carry."""
        if self.unsent.total:
            return True
        return self.second.total > 0 and self.copy_for(link, fate) is not None

    def copy_for(self, link: str, fate: str = "") -> tuple[int, int] | None:
        """The next bytes of which ``link`` may carry one more copy."""
        carried = self.copies.get(self._lane(link, fate)) if self.copies else None
        if carried is None:
            return self.second.first_range() if self.second else None
        for start, end in self.second:
            gaps = carried.gaps(start, end)
            if gaps:
                return gaps[0]
        return None

    def is_on_its_way(self, link: str, fate: str, start: int, end: int) -> bool:
        """Whether a copy of [start, end) is in flight on ``link``, or on one that fails together with it."""
        carried = self.copies.get(self._lane(link, fate)) if self.copies and not self.is_on_every_link else None
        return carried is not None and carried.covers(start, end)

    def note_lost(self, link: str, fate: str, start: int, end: int) -> None:
        """What ``link`` carried of [start, end) did not arrive."""
        if self.copies and not self.is_on_every_link and (carried := self.copies.get(self._lane(link, fate))):
            carried.remove(start, end)

    def _lane(self, link: str, fate: str) -> str:
        return link if self.is_on_every_link or not fate else f"={fate}"  # no link has such a name

    def take(self, link: str, start: int, end: int, *, wants_copies: int, fate: str = "") -> None:
        """Bytes [start, end) leave on ``link`` now, and shall on ``wants_copies`` in all; asked of the first only."""
        removed = self.unsent.remove(start, end)
        self.sent_bytes += removed
        if removed and self.copies and not self.is_on_every_link:
            for carried in self.copies.values():
                carried.remove(start, end)  # it was lost there, or by the peer
        if wants_copies > 1 or self.second.total:
            if removed and wants_copies > 1:
                self.second.add(start, end)
                self._copies_wanted = EVERY_LINK if self.is_on_every_link else max(self._copies_wanted, wants_copies)
            self._note_copy(self._lane(link, fate), start, end)
        if link not in self.via:
            self.note_link(link)

    def _note_copy(self, lane: str, start: int, end: int) -> None:
        if self.copies is None:
            self.copies = {}
        self.copies.setdefault(lane, IntervalSet()).add(start, end)
        if sum(carried.covers(start, end) for carried in self.copies.values()) >= self._copies_wanted:
            self.second.remove(start, end)

    def note_link(self, link: str) -> None:
        """``link`` has carried something of it."""
        if link not in self.via:
            self.via = tuple(sorted((*self.via, link)))

    def mark_acked(self, start: int, end: int) -> None:
        """A link says that [start, end) arrived."""
        self.acked.add(start, end)
        if self.unsent.total:
            self.unsent.remove(start, end)
        if self.second.total:
            self.second.remove(start, end)

    def put_back(self, start: int, end: int) -> bool:
        """[start, end) was lost on its link: what has not arrived otherwise is unsent again. True if anything is."""
        gained = 0
        for left, right in self.acked.gaps(start, end):
            gained += self.unsent.add(left, right)
        if gained and self.peer is not None and self.is_large:
            self.peer.begun[self] = None
        return gained > 0

    def forget_unstored(self) -> None:
        """The next node lost its memory: only what it had synced counts as arrived."""
        self.acked = self.stored.copy()
        self.unsent = IntervalSet(self.acked.gaps(0, self.span))
        self.second = IntervalSet()
        if self.copies is not None:
            self.copies.clear()

    def replace_stored(self, ranges: tuple[tuple[int, int], ...]) -> bool:
        """The next node names all that it has synced. True when it has lost bytes that it named before."""
        before, self.stored = self.stored, IntervalSet(ranges)
        if self.stored and self.stored.last_range()[1] > self.span:
            self.stored.remove(self.span, 1 << 62)
        for start, end in self.stored:
            self.mark_acked(start, end)
        lost = False
        for start, end in before:
            for left, right in self.stored.gaps(start, end):
                self.acked.remove(left, right)
                lost = self.unsent.add(left, right) > 0 or lost
        return lost
