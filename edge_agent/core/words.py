"""Words in a frame: acknowledgements, custody, refusals, windows, probes and echoes, as far as they are due and fit."""

from itertools import islice
from typing import TypeVar

from edge_agent.core.arrivals import Arrivals
from edge_agent.core.blocks import (
    ACK_TIMES_MAX,
    ECHO,
    PROBE,
    TOKEN_BYTES,
    Control,
    Refused,
    Stored,
    StoredPartly,
    Window,
)
from edge_agent.core.bundle import Precedence
from edge_agent.core.codec import put_ack, put_control, put_pulse, put_refused, put_stored, put_stored_partly, put_token
from edge_agent.core.codec import put_window as write_window
from edge_agent.core.contact import ETA_NOISE_S, Contact
from edge_agent.core.contacts import Contacts
from edge_agent.core.draft import Draft
from edge_agent.core.peer import Peer, Reply
from edge_agent.core.pulse import ASK_EVERY_S

_IMMEDIATE = Precedence.IMMEDIATE  # a member of an enum is slow to look up
CUSTODY_RANGES_PER_FRAME = 32
WINDOW_BYTES = 15
"""The longest WINDOW: kind, and two numbers of at most 2^48."""
PULSE_BYTES = 3
"""The longest PULSE."""
ACK_USUAL_BYTES = 40
"""Room kept for an acknowledgement that is not due yet; a longer one waits until it is."""


class WordWriter:
    """Writes what this node owes a peer besides bundles."""

    def __init__(self, contacts: Contacts, arrivals: Arrivals) -> None:
        self.contacts = contacts
        self.arrivals = arrivals

    def put_due(self, contact: Contact, draft: Draft, now_s: float) -> None:
        """What this side owes the peer and is due: acknowledgements, replies, the window."""
        self._put_acks(contact, draft, now_s)
        peer = contact.peer
        if peer is not None:
            if peer.replies_due_s is not None:
                self._put_replies(contact, draft, now_s)
            if peer.told_window_bytes < 0 and contact.is_usable:
                self.put_window(peer, draft)
                draft.is_wanted = True
        if draft.is_wanted:
            self._put_early_ack(contact, draft, now_s)

    def put_probe(self, contact: Contact, draft: Draft, now_s: float) -> None:
        for token in contact.echo_tokens:
            put_token(draft.body, ECHO, token)
            draft.is_wanted = draft.wants_ack = True
        contact.echo_tokens.clear()
        if contact.probe_at_s is None or contact.probe_at_s > now_s:
            return
        contact.probe_at_s = None
        put_token(draft.body, PROBE, bytes(TOKEN_BYTES))  # a new address's token goes to that address alone
        draft.is_wanted = draft.wants_ack = True

    @staticmethod
    def put_pulse(contact: Contact, draft: Draft, now_s: float) -> None:
        """Ask the peer to be heard often while live data flows and another link could take them over."""
        pulse = contact.pulse
        if now_s - pulse.asked_s < ASK_EVERY_S:
            return
        pulse.note_data(now_s, is_live=draft.is_urgent)
        others = contact.siblings()
        if not others or draft.room_bytes < PULSE_BYTES or not any(each.is_usable for each in others):
            return
        interval_s = pulse.ask(now_s, contact.rtt.smoothed_s, contact.controller.rate_bps)
        if interval_s is not None:
            put_pulse(draft.body, round(interval_s * 1000))

    def _put_acks(self, contact: Contact, draft: Draft, now_s: float) -> None:
        """This session's acknowledgement, and those of the peer's other links whose way back is in doubt."""
        session = contact.session
        assert session is not None
        space = session.space
        if space.ack_due_s is not None and space.ack_due_s <= now_s:
            ack = space.take_ack(0, draft.room_bytes, most_times=_most_times(contact))
            if ack is not None:
                put_ack(draft.body, ack)
                draft.is_wanted = True
                if not contact.is_usable or contact.is_suspect:
                    contact.owe_elsewhere()
        peer = contact.peer
        if peer is None or len(peer.contacts) < 2 or not contact.is_usable:
            return
        for other in owing_elsewhere(contact):
            quickest = _quickest_beside(other, now_s)
            if quickest is not None and quickest is not contact:
                quickest.idle_version = -1  # it may have found nothing to send when another one was quicker
                continue
            if draft.room_bytes < ACK_USUAL_BYTES:
                return
            assert other.session is not None
            other.owes_elsewhere = False
            ack = other.session.space.take_ack(other.session.receive_id + 1, draft.room_bytes)
            if ack is not None:
                put_ack(draft.body, ack)
                draft.is_wanted = True

    def put_company(self, contact: Contact, draft: Draft, now_s: float) -> None:
        """What is not due yet but travels free with fragments."""
        self._put_early_ack(contact, draft, now_s)
        self._put_replies(contact, draft, now_s)

    @staticmethod
    def _put_early_ack(contact: Contact, draft: Draft, now_s: float) -> None:
        """The acknowledgement that is not due yet, in a frame that leaves anyway; of words alone not on a slow line."""
        session = contact.session
        assert session is not None
        if session.space.unacked_frames and draft.room_bytes >= ACK_USUAL_BYTES:
            due_s = session.space.ack_due_s
            if contact.limits.is_slow_line and due_s is not None and due_s - now_s > contact.lazy_ack_delay_s() / 4:
                return
            ack = session.space.take_ack(0, draft.room_bytes, most_times=_most_times(contact))
            if ack is not None:
                put_ack(draft.body, ack)

    def _put_replies(self, contact: Contact, draft: Draft, now_s: float) -> None:
        peer = contact.peer
        if peer is None or peer.replies_due_s is None or not contact.is_usable:
            return
        if not draft.is_wanted and not self.owes_replies(contact, now_s):
            return
        while peer.custody and self._put_custody(peer, draft):
            pass
        while peer.replies and self._put_reply(peer, draft, peer.replies[0]):
            peer.replies.popleft()
        if not peer.replies and not peer.custody:
            peer.replies_due_s = None
        peer.answered_s = now_s
        self.put_window(peer, draft)

    def _put_custody(self, peer: Peer, draft: Draft) -> bool:
        """Tell as many ranges of one source as fit; False when not one does."""
        (source, precedence), ranges = next(iter(peer.custody.items()))
        told = None if source == peer.itself else source
        block = Stored(told, precedence, tuple(islice(ranges, CUSTODY_RANGES_PER_FRAME)))
        written = fit_ranges(block, draft.room_bytes)
        if written is None:
            return False
        block, packed = written
        if len(block.ranges) == len(ranges):
            del peer.custody[(source, precedence)]
        else:
            for start, end in block.ranges:
                ranges.remove(start, end)
        draft.body += packed
        self._note(draft, Reply(Stored(source, precedence, block.ranges), precedence <= _IMMEDIATE))
        return True

    def _put_reply(self, peer: Peer, draft: Draft, reply: Reply) -> bool:
        """Write one small block; False when it does not fit. Byte ranges are cut to what fits."""
        block = reply.block
        packed = bytearray()
        if isinstance(block, StoredPartly):
            written = fit_ranges(_told_to(peer, block), draft.room_bytes)
            if written is None:
                return False
            packed = written[1]
        elif isinstance(block, Refused):
            put_refused(packed, _told_to(peer, block))
        elif isinstance(block, Control):
            put_control(packed, block.fields)
        if len(packed) > draft.room_bytes:
            return False
        draft.body += packed
        self._note(draft, reply)
        return True

    @staticmethod
    def _note(draft: Draft, reply: Reply) -> None:
        draft.replies.append(reply)
        draft.is_wanted = draft.wants_ack = True
        draft.is_urgent = draft.is_urgent or reply.is_urgent

    def window(self, peer: Peer) -> Window:
        room = self.arrivals.room
        return Window(room.window_bytes(peer), room.reserve_bytes())

    def put_window(self, peer: Peer, draft: Draft) -> None:
        """Tell the window when it moved by more than a quarter since it was told."""
        if draft.room_bytes < WINDOW_BYTES:
            return
        told_bytes = peer.told_window_bytes
        if abs(self.arrivals.room.window_bytes(peer) - told_bytes) * 4 > max(told_bytes, 1):
            window = self.window(peer)
            write_window(draft.body, window)
            peer.told_window_bytes = window.window_bytes
            self._note(draft, Reply(window, is_urgent=False))

    def is_best(self, contact: Contact, now_s: float) -> bool:
        """Whether this contact would bring a small block to the peer first, of those not in doubt."""
        own_s = None
        for each in contact.peer.contacts if contact.peer is not None else ():
            if each is contact or not each.is_usable or each.is_suspect or each.limits.is_burst:
                continue
            if contact.is_suspect:
                return False
            if own_s is None:
                own_s = _word_eta_s(contact, now_s) - 1e-9
            if _word_eta_s(each, now_s) < own_s:
                return False
        return True

    def owes_replies(self, contact: Contact, now_s: float) -> bool:
        """Whether words to the peer are due by ``now_s``, and are this contact's to bring."""
        peer = contact.peer
        if peer is None or peer.replies_due_s is None or peer.replies_due_s > now_s or not contact.is_usable:
            return False
        return self.is_best(contact, now_s)


def owing_elsewhere(contact: Contact) -> list[Contact]:
    """The peer's other contacts whose way back is in doubt and that owe an acknowledgement: this one may bring it."""
    peer = contact.peer
    if peer is None or len(peer.contacts) < 2:
        return []
    return [
        each
        for each in peer.contacts
        if (not each.is_usable or each.is_suspect) and each is not contact and _owes(each)
    ]


def _quickest_beside(contact: Contact, now_s: float) -> Contact | None:
    """Which other link to the peer brings a small block first, those in doubt last; None for none."""
    usable = [each for each in contact.siblings() if each.is_usable]
    return min(usable, key=lambda each: (each.is_suspect, _word_eta_s(each, now_s)), default=None)


def _owes(contact: Contact) -> bool:
    """Whether a contact owes an acknowledgement; a burst link never does."""
    session = contact.session
    if session is None or contact.limits.is_burst:
        return False
    return session.is_keyed and (session.space.ack_due_s is not None or contact.owes_elsewhere)


def _most_times(contact: Contact) -> int:
    """Arrival times worth their bytes: a line's rate is stated, and the newest frame tells whether a queue stands."""
    return 1 if contact.limits.is_slow_line else ACK_TIMES_MAX


def _word_eta_s(contact: Contact, now_s: float) -> float:
    """When a small block would be at the peer; a link that owes an acknowledgement anyway is preferred a little."""
    owes = contact.session is not None and contact.session.space.unacked_frames > 0
    return contact.eta_s(now_s, 64) - (ETA_NOISE_S if owes else 0.0)


RangesBlock = TypeVar("RangesBlock", Stored, StoredPartly)
WordT = TypeVar("WordT", StoredPartly, Refused)


def _told_to(peer: Peer, block: WordT) -> WordT:
    """``block`` as it is written: a source that is the peer itself, as it is now, goes without saying."""
    return block._replace(source=None) if block.source == peer.itself else block


def fit_ranges(block: RangesBlock, room_bytes: int) -> tuple[RangesBlock, bytearray] | None:
    """``block`` with as many of its ranges as fit, and its bytes; None when not one fits."""
    cut, count = block, len(block.ranges)
    while True:
        packed = bytearray()
        if isinstance(cut, Stored):
            put_stored(packed, cut)
        else:
            put_stored_partly(packed, cut)
        if len(packed) <= room_bytes:
            return cut, packed
        if count <= 1:
            return None
        count = max(1, min(count - 1, count * max(0, room_bytes) // len(packed)))
        cut = block._replace(ranges=block.ranges[:count])
