"""Which of the waiting bundles one contact may take into the frame it builds, and from how deep in the queue."""

from edge_agent.core.bundle import COMMAND, Precedence
from edge_agent.core.contact import ETA_NOISE_S, Contact
from edge_agent.core.copies import may_copy
from edge_agent.core.draft import Draft
from edge_agent.core.limits import Standby
from edge_agent.core.live_writer import may_leave
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.payload_cache import PayloadCache
from edge_agent.core.peer import UNSTORED_BYTES

_FLASH, _DEFERRED = Precedence.FLASH, Precedence.DEFERRED  # a member of an enum is slow to look up
FETCHES_A_FRAME = 4
"""Bundles asked for ahead when the first ones are not in memory; looking further would read the store in vain."""
DEPTH_PIECE_BYTES = 1500
"""A piece at most so long is what another link is asked to bring sooner."""


class Choice:
    """What ``contact`` may take at ``now_s``: made once a frame, and asked about each bundle in its turn.

    ``usable`` are the peer's other links, ``missing`` holds the identities of bundles that cannot go into this frame.
    """

    __slots__ = (
        "_cache",
        "_draft",
        "_is_copy_only",
        "_is_keyed",
        "_largest_bytes",
        "contact",
        "missing",
        "now_s",
        "precedence",
        "usable",
    )

    def __init__(
        self,
        contact: Contact,
        draft: Draft,
        usable: list[Contact],
        cache: PayloadCache,
        now_s: float,
        *,
        is_keyed: bool,
    ) -> None:
        self.contact, self.usable, self.now_s = contact, usable, now_s
        self.missing: set[int] = set()
        self.precedence = _DEFERRED
        """The class whose turn it is."""
        self._draft, self._cache, self._is_keyed = draft, cache, is_keyed
        self._largest_bytes = contact.link.policy.largest_bundle_bytes
        self._is_copy_only = contact.is_suspect and has_warm(usable)

    def fits(self, outgoing: Outgoing) -> bool:
        """Whether the next piece of this bundle may leave by the contact now."""
        precedence, contact, missing = self.precedence, self.contact, self.missing
        if outgoing.blocked_until_s > self.now_s or (missing and id(outgoing) in missing):
            return False
        largest_bytes = self._largest_bytes
        if largest_bytes is not None and outgoing.record.payload_bytes > largest_bytes and precedence is not _FLASH:
            return False
        if precedence is _DEFERRED and not contact.may_carry(outgoing.precedence):
            return False  # history goes by the class it was made in
        if outgoing.is_live and not may_leave(contact, outgoing, self.now_s):
            return False
        if not outgoing.unsent.total or (self._is_copy_only and precedence is not _FLASH):  # FLASH leaves on both
            link = contact.link
            if not outgoing.has_piece_for(link.name, link.policy.shares_fate):
                return False
            if not may_copy(contact, outgoing, self.usable, self.now_s):
                return False
        peer = contact.peer
        if outgoing.peer is None:
            if not (peer is None or outgoing.is_live or peer.may_open(precedence, outgoing.charged_bytes)):
                return False
        elif outgoing.peer is not peer or (
            outgoing.span >= UNSTORED_BYTES and not peer.may_go_on(outgoing.acked.total - outgoing.stored.total)
        ):
            return False
        if len(missing) >= FETCHES_A_FRAME and not self._is_in_memory(outgoing):
            return False  # enough is being read
        return self._is_keyed or outgoing.record.header.destination == COMMAND

    def _is_in_memory(self, outgoing: Outgoing) -> bool:
        start, _ = range_at(outgoing, 0, self.contact)
        return outgoing.is_live or self._cache.holds(outgoing, start)

    def depth_bytes(self) -> int:
        """How many waiting bytes a faster link will have delivered before a piece sent here now would arrive."""
        contact, now_s, skip_bytes = self.contact, self.now_s, 0
        if not self.usable or self.precedence is _FLASH:
            return 0
        size_bytes = min(self._draft.room_bytes, DEPTH_PIECE_BYTES)
        own_s = contact.eta_s(now_s, size_bytes) - ETA_NOISE_S
        for other in self.usable:
            if other.may_carry(self.precedence) and other.link.policy.is_plain:
                ahead_s = own_s - other.eta_s(now_s, size_bytes)
                skip_bytes = max(skip_bytes, int(ahead_s * other.controller.rate_bps / 8))
        return skip_bytes


def has_warm(contacts: list[Contact]) -> bool:
    """Whether any of them is more than the last resort."""
    return any(each.link.policy.standby is not Standby.COLD for each in contacts)


def range_at(outgoing: Outgoing, depth: int, contact: Contact) -> tuple[int, int]:
    """Where the next piece for ``contact`` lies: ``depth`` unsent bytes in, else in what wants a second copy."""
    if not depth and outgoing.unsent.total:
        return outgoing.unsent.first_range()
    for start, end in outgoing.unsent:
        if depth < end - start:
            return start + depth, end
        depth -= end - start
    copy = outgoing.copy_for(contact.link.name, contact.link.policy.shares_fate)
    assert copy is not None, "``has_piece_for`` asked for it"
    return copy
