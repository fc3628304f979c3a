"""Burst links (SMS, BeiDou, Iridium): one short, priced frame at a time, no handshake, no chatter, often no way back.

Nothing is acknowledged there. What left stays unsent for every other link, custody ends by STORED on any link, and only
urgent bytes go a second time, after minutes. They are the last resort: used while no other link to that node works,
by FLASH also for its second copy.
"""

from edge_agent.core.blocks import Refused, Source, Stored
from edge_agent.core.budgets import WORDS
from edge_agent.core.builder import FRAGMENT_FIXED_BYTES, charge, fragment_of
from edge_agent.core.bundle import COMMAND, Precedence
from edge_agent.core.burst_numbers import BurstNumbers
from edge_agent.core.codec import put_fragment, put_refused
from edge_agent.core.contact import Contact
from edge_agent.core.contacts import Contacts
from edge_agent.core.custody import Custody
from edge_agent.core.draft import Draft
from edge_agent.core.effects import Restored
from edge_agent.core.envelope import put_burst
from edge_agent.core.frame import FrameCipher
from edge_agent.core.outgoing import BurstCopy, Outgoing
from edge_agent.core.outputs import Outputs
from edge_agent.core.words import fit_ranges

RESEND_S = 120.0
"""Urgent bytes without word of custody go again after this long, then after twice as long, up to RESEND_MAX_S."""
RESEND_MAX_S = 3600.0
LEAST_PIECE_BYTES = 16


class BurstSender:
    """Writes the frames of burst links."""

    def __init__(self, contacts: Contacts, custody: Custody, outputs: Outputs, restored: Restored) -> None:
        self.contacts = contacts
        self.custody = custody
        self.numbers = BurstNumbers(outputs, custody.scheduler, restored.burst_leased)
        self._incarnation = restored.incarnation
        self._sealer: FrameCipher | None = None

    def build(self, contact: Contact, now_s: float) -> bytes | None:
        """The next frame of a burst link, or None when it has nothing to send or no leased number yet."""
        if not self.numbers.prepare():
            return None
        cipher, settings = self._seal_cipher(), self.contacts.settings
        overhead = len(put_burst(settings.number, self.contacts.keys.epoch, self._incarnation, 0))
        draft = Draft(contact.limits.mtu_bytes - overhead - cipher.overhead_bytes)
        self._put_replies(contact, draft, now_s)
        column = self._put_pieces(contact, draft, now_s)
        if not draft.body:
            return None
        number = self.numbers.take()
        header = put_burst(settings.number, self.contacts.keys.epoch, self._incarnation, number)
        frame = header + cipher.seal(number, header, bytes(draft.body))
        charge(contact, frame, now_s, column)
        return frame

    def _seal_cipher(self) -> FrameCipher:
        if self._sealer is None:
            keys = self.contacts.keys
            self._sealer = keys.burst(self.contacts.settings.number, self._incarnation, keys.epoch)
            assert self._sealer is not None, "a node knows its own epoch"
        return self._sealer

    def _others(self, destinations: tuple[str, ...], precedence: Precedence | None = None) -> int:
        """How many other links to those destinations work now, and carry ``precedence`` where one is given."""
        return sum(
            each.is_usable
            and (precedence is None or each.may_carry(precedence))
            and not each.is_suspect
            and not each.limits.is_burst
            and each.peer is not None
            and any(name in destinations for name in each.peer.destinations)
            for each in self.contacts.contacts
        )

    def _destinations(self, contact: Contact) -> tuple[str, ...]:
        """What goes this way: a listener's contact serves who was heard there, any other one the command post."""
        peer = contact.peer
        if contact.link.is_listener:
            return peer.destinations if peer is not None else ()
        return (COMMAND,) if peer is None else (peer.node_id, COMMAND)

    def _put_replies(self, contact: Contact, draft: Draft, now_s: float) -> None:
        """Word of custody and refusals, when no other link could bring them."""
        peer = contact.peer
        if peer is None or peer.replies_due_s is None or peer.replies_due_s > now_s:
            return
        if self._others(peer.destinations):
            return
        while peer.custody:
            (source, precedence), ranges = next(iter(peer.custody.items()))
            if not contact.may_carry(precedence):
                break
            fitting = fit_ranges(Stored(source, precedence, tuple(ranges)), draft.room_bytes)
            if fitting is None:
                return
            block, packed = fitting
            draft.body += packed
            for start, end in block.ranges:
                ranges.remove(start, end)
            if not ranges:
                del peer.custody[(source, precedence)]
        while peer.replies:
            block_owed = peer.replies[0].block
            if isinstance(block_owed, Refused):
                packed = bytearray()
                put_refused(packed, block_owed)
                if len(packed) > draft.room_bytes:
                    return
                draft.body += packed
            peer.replies.popleft()  # other words are worth no money; they are told again when asked for
        peer.replies_due_s, peer.answered_s = None, now_s

    def _put_pieces(self, contact: Contact, draft: Draft, now_s: float) -> int:
        """Fill the frame; gives back the column that pays for it: its first class, WORDS for none."""
        destinations = self._destinations(contact)
        column = WORDS
        for precedence in self.custody.scheduler.waiting(destinations):
            if not contact.may_carry(precedence):
                continue
            others = self._others(destinations, precedence)
            is_needed = others < (2 if precedence is Precedence.FLASH else 1)
            if not is_needed and precedence is not Precedence.FLASH:
                continue
            while self._put_piece(contact, draft, precedence, destinations, now_s, is_needed=is_needed):
                column = min(column, precedence)
        return column

    def _put_piece(
        self,
        contact: Contact,
        draft: Draft,
        precedence: Precedence,
        destinations: tuple[str, ...],
        now_s: float,
        *,
        is_needed: bool,
    ) -> bool:
        """Add one piece; False when none fits any more. Not ``is_needed``: only of what leaves on every link."""
        own_id, largest_bytes = self.contacts.settings.node_id, contact.link.policy.largest_bundle_bytes

        def fits(outgoing: Outgoing) -> bool:
            is_large = largest_bytes is not None and outgoing.record.payload_bytes > largest_bytes
            if is_large and precedence is not Precedence.FLASH:
                return False
            source = outgoing.source or Source(own_id, self._incarnation)
            if not is_needed and not outgoing.is_on_every_link:
                return False
            span = _next_range(outgoing, now_s)
            if span is None or outgoing.blocked_until_s > now_s or not contact.may_carry(outgoing.precedence):
                return False
            return draft.room_bytes - _overhead_bytes(outgoing, source, span[0]) >= min(
                LEAST_PIECE_BYTES, span[1] - span[0]
            )

        picked = self.custody.scheduler.pick(precedence, destinations, fits, lambda: 0)
        if picked is None:
            return False
        outgoing = picked[1]
        span = _next_range(outgoing, now_s)
        assert span is not None, "fits asked for it"
        source = outgoing.source or Source(own_id, self._incarnation)
        start, end = span
        end = min(end, start + draft.room_bytes - _overhead_bytes(outgoing, source, start))
        payload = self.custody.cache.read(outgoing, start, min(end, outgoing.record.payload_bytes))
        if payload is None:
            return False  # it is being fetched
        put_fragment(draft.body, fragment_of(outgoing, source, start, payload, now_s))
        self._note_sent(contact, outgoing, start, start + max(1, len(payload)), now_s)
        return True

    def _note_sent(self, contact: Contact, outgoing: Outgoing, start: int, end: int, now_s: float) -> None:
        copy = outgoing.burst
        if copy is None:
            copy = outgoing.burst = BurstCopy(again_s=now_s + RESEND_S, wait_s=RESEND_S)
        elif copy.sent.covers(start, end) or not copy.sent.gaps(0, outgoing.span):
            copy.sent.remove(0, outgoing.span)
            copy.wait_s = min(2 * copy.wait_s, RESEND_MAX_S)
            copy.again_s = now_s + copy.wait_s
        copy.sent.add(start, end)
        if not outgoing.is_on_every_link:
            outgoing.second.remove(start, end)
        outgoing.note_link(contact.link.name)


def _overhead_bytes(outgoing: Outgoing, source: Source, start: int) -> int:
    header_bytes = len(outgoing.header) + 6 if start == 0 else 0
    return FRAGMENT_FIXED_BYTES + 9 + len(source.node_id.encode()) + header_bytes


def _next_range(outgoing: Outgoing, now_s: float) -> tuple[int, int] | None:
    """The next bytes to send on a burst link; None when all left and it is not time to repeat them."""
    wanted = outgoing.unsent or outgoing.second
    copy = outgoing.burst
    if copy is None:
        return wanted.first_range()
    for start, end in wanted:
        gaps = copy.sent.gaps(start, end)
        if gaps:
            return gaps[0]
    is_due = now_s >= copy.again_s and outgoing.precedence <= Precedence.IMMEDIATE
    return wanted.first_range() if is_due else None
