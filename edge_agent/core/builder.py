"""Makes frames: what one contact sends now, most urgent first, as many pieces as fit into one frame.

Order inside a frame: introduction (long headers), acknowledgements, replies owed, window, echoes and probe, fragments.
"""

from collections.abc import Hashable

from edge_agent.core.arq import Piece, SentFrame
from edge_agent.core.arrivals import Arrivals
from edge_agent.core.blocks import AGE_MAX_MS, Fragment, Source
from edge_agent.core.budgets import WORDS
from edge_agent.core.bundle import COMMAND, Precedence
from edge_agent.core.choice import Choice, has_warm, range_at
from edge_agent.core.codec import put_ack, put_control, put_fragment, put_window
from edge_agent.core.contact import Contact
from edge_agent.core.contacts import Contacts
from edge_agent.core.copies import copies_wanted
from edge_agent.core.custody import Custody
from edge_agent.core.draft import Draft
from edge_agent.core.drafted_briefs import end_frame, put_brief
from edge_agent.core.effects import LinkState
from edge_agent.core.envelope import put_data, put_hello, put_hello_ack
from edge_agent.core.hello import READS_BRIEFS, READS_PULSES, READS_RUNS
from edge_agent.core.limits import SLOW_LINK_BPS, Standby
from edge_agent.core.live_writer import LIVE_ROOM_BYTES, piece_of, write_live, write_repair
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.peer import Peer
from edge_agent.core.queue import Queue
from edge_agent.core.run import RUN_GROWTH_BYTES, RunWriter
from edge_agent.core.scheduler import QUANTUM_BYTES
from edge_agent.core.session import Session
from edge_agent.core.words import ACK_USUAL_BYTES, PULSE_BYTES, WINDOW_BYTES, WordWriter

_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call
_FLASH, _IMMEDIATE = Precedence.FLASH, Precedence.IMMEDIATE  # a member of an enum is slow to look up
_DEFERRED = Precedence.DEFERRED
MIN_PIECE_BYTES = 64
FRAGMENT_FIXED_BYTES = 24
"""Kind, marks, sequence, offset, total, length at their usual longest; the source and the header come on top."""
ALONE_LEAST_BYTES = MIN_PIECE_BYTES + FRAGMENT_FIXED_BYTES
EXACT_LEAST_BYTES = 512
RUN_LEAST_BYTES = 12
"""Room that is worth looking for one more bundle: as a block of its own, and in a run."""
UNDIVIDED_BYTES = 256
"""Bundles this short are not cut to fill a frame: their two heads would cost more than the room is worth."""
COMPANY_FRAME_BYTES = 256
"""In shorter frames no room is kept for company: fragments would fall below their least size."""

FLASH_BEFORE_ACK_S = 0.4
"""How long FLASH may hold up a due ACK on a slow link; the peer's patience is longer."""
FLASH_ALONE_S = 0.001
"""Where a full frame takes longer, nothing lower rides with FLASH: it would arrive only with the end of its company."""


class FrameBuilder:
    """Writes the next frame of a contact from what custody, arrivals and the peer's account hold."""

    def __init__(self, contacts: Contacts, custody: Custody, arrivals: Arrivals) -> None:
        self.contacts = contacts
        self.custody = custody
        self.words = WordWriter(contacts, arrivals)
        self.alarm_until_s = -1.0
        self.frame_class: Precedence | None = None
        """Of the bundles in the frame built last."""
        """While a FLASH was under way lately, fragments on slow links are shorter."""
        self.is_drained = False
        """Whether the frame built last took all bundles that its contact may send now."""
        self.is_done = False
        """Whether it left nothing at all to be sent, not even a repair."""

    def answer(self, contact: Contact, now_s: float) -> tuple[Hashable | None, bytes] | None:
        """A HELLO_ACK of the contact's candidate when one is due, with the address it goes to."""
        session = contact.candidate
        if session is None or session.space.ack_due_s is None or session.space.ack_due_s > now_s:
            return None
        number = session.arq.next_number
        session.arq.next_number += 1
        header = put_hello_ack(
            session.peer_receive_id,
            not contact.limits.is_narrow,
            session.suite,
            session.epoch,
            session.own_salt,
            number,
        )
        draft = Draft(contact.limits.mtu_bytes - len(header) - session.seal.overhead_bytes)
        put_control(draft.body, self.contacts.own_hello(session, contact.limits).fields())
        ack = session.space.take_ack(0, draft.room_bytes)
        session.space.ack_due_s = None  # answered, though the shortest frames may lack the room to say what
        if ack is not None:
            put_ack(draft.body, ack)
        if draft.room_bytes >= WINDOW_BYTES:
            put_window(draft.body, self.words.window(contact.peer or Peer("")))
        frame = header + session.seal.seal(number, header, bytes(draft.body))
        charge(contact, frame, now_s)
        return contact.candidate_address, frame

    def build(self, contact: Contact, now_s: float) -> bytes | None:
        """The next frame of this contact's session, or None when it has nothing to send now."""
        session = contact.session
        if session is None or not contact.pacer.is_open(now_s):
            return None
        self.is_drained = False
        is_alarm_open = now_s < self.alarm_until_s
        limit_bytes = contact.frame_limit_bytes(is_alarm_open=is_alarm_open) - contact.frame_overhead_bytes
        draft = Draft(limit_bytes)
        features = contact.peer.features if session.is_keyed and contact.peer is not None else 0
        draft.packs_runs = bool(features & READS_RUNS)
        if features & READS_BRIEFS and contact.limits.is_slow_line:
            draft.profiles = session.profiles_sent
        if contact.controller.rate_bps < SLOW_LINK_BPS and not is_alarm_open:  # then each byte too many holds up FLASH
            limit_bytes = draft.limit_bytes = limit_bytes + contact.spare_bytes
            draft.has_no_words = not _has_company(contact, session)
        if not session.is_keyed:
            put_control(draft.body, self.contacts.own_hello(session, contact.limits).fields())
        if contact.echo_tokens or contact.probe_at_s is not None:
            self.words.put_probe(contact, draft, now_s)
        if session.is_keyed and now_s < contact.pulse.owed_until_s and contact.pulse.is_due(contact.last_sent_s, now_s):
            draft.is_wanted = True
        if contact.controller.rate_bps < SLOW_LINK_BPS and self._flash_goes_first(contact, session, now_s):
            self._put_fragments(contact, session, draft, now_s)
        repairs, scheduler = session.repairs, self.custody.scheduler
        if repairs is not None and write_repair(contact, repairs, draft, scheduler, now_s):
            self.is_drained = contact.was_drained  # where the block before it left a pause, so does this
        if not draft.pieces:
            if session.is_keyed:
                self.words.put_due(contact, draft, now_s)
            if draft.column == WORDS:
                has_word = session.is_keyed and session.space.unacked_frames > 0 and limit_bytes >= COMPANY_FRAME_BYTES
                draft.limit_bytes -= ACK_USUAL_BYTES if has_word else 0
                self._put_fragments(contact, session, draft, now_s)
                draft.limit_bytes += ACK_USUAL_BYTES if has_word else 0
        if draft.pieces and session.is_keyed:
            if _has_company(contact, session):
                self.words.put_company(contact, draft, now_s)
            if features & READS_PULSES and self.contacts.settings.fast_liveness and contact.link.policy.pulses:
                self.words.put_pulse(contact, draft, now_s)
        if not draft.is_wanted:
            return None
        if draft.brief_at is not None:
            end_frame(draft, *draft.brief_at)
        if session.is_keyed and not draft.pieces and contact.peer is not None and draft.wants_ack:
            self.words.put_window(contact.peer, draft)
        self.frame_class = draft.pieces[0].outgoing.service if draft.pieces else None
        return self._seal(contact, session, draft, now_s)

    def _flash_goes_first(self, contact: Contact, session: Session, now_s: float) -> bool:
        """Whether a due ACK waits for FLASH: beside it there would be no room for a piece, alone it costs 90 ms."""
        due_s = session.space.ack_due_s
        if not session.is_keyed or contact.peer is None:
            return False
        if due_s is None or not now_s - FLASH_BEFORE_ACK_S < due_s <= now_s:
            return False
        return _FLASH in self.custody.scheduler.waiting(contact.peer.destinations)

    def _put_fragments(self, contact: Contact, session: Session, draft: Draft, now_s: float) -> None:
        """Fill the frame with pieces of the best bundles this contact may carry."""
        destinations = contact.peer.destinations if contact.peer is not None else (COMMAND,)
        scheduler = self.custody.scheduler
        waiting = scheduler.waiting(destinations)
        is_first_word = contact.state is LinkState.UNKNOWN and not session.is_keyed and draft.is_wanted
        if not waiting or not (is_first_word or contact.has_word_of_peer()):
            self.is_drained = True
            return
        others = contact.siblings()
        usable = others and [
            each for each in others if each.is_usable and not each.is_suspect and not each.link.is_busy
        ]
        lowest = _DEFERRED
        if contact.is_suspect and has_warm(usable):
            lowest = _IMMEDIATE  # of which it carries one more copy
            if waiting[0] > lowest:
                self.is_drained = True
                return
        has_room = contact.window_room(is_flash=False)
        choice = Choice(contact, draft, usable, self.custody.cache, now_s, is_keyed=session.is_keyed)
        is_held_back = False
        is_reserve = contact.link.policy.standby is not Standby.HOT
        for precedence in scheduler.order_of_service(waiting, contact.account, now_s):
            if precedence > lowest:
                continue
            if not contact.may_carry(precedence) and not (scheduler.has_history and precedence is _DEFERRED):
                continue
            if is_reserve and contact.stands_by(precedence):
                continue
            if not has_room and not (precedence is _FLASH and contact.window_room(is_flash=True)):
                continue
            if draft.pieces and draft.pieces[-1].outgoing.service is _FLASH and contact.frame_s() > FLASH_ALONE_S:
                is_held_back = True
                break
            body, choice.precedence = draft.body, precedence
            while not body or draft.limit_bytes - len(body) >= (RUN_LEAST_BYTES if draft.run else ALONE_LEAST_BYTES):
                if not self._put_piece(contact, draft, choice, destinations):
                    break
            if not draft.pieces and (draft.is_short or draft.awaits_flash):
                break  # it waits for a frame without these words, or for the store, and nothing lower goes before it
        self.is_drained = has_room and not is_held_back and not draft.is_short and draft.room_bytes >= ALONE_LEAST_BYTES
        if draft.pieces and (others or len(waiting) > 1):  # else one class has one link, and nobody is owed a share
            spent = sum([piece.end - piece.start for piece in draft.pieces])
            served = draft.pieces[0].outgoing.service
            reserve = scheduler.reserve(waiting, destinations)
            contact.account.charge(served, spent, waiting, scheduler.share_ratio, reserve)
            carried = {piece.outgoing.service for piece in draft.pieces}
            for each in (contact, *others):
                each.account.note_served(carried)

    def _put_piece(self, contact: Contact, draft: Draft, choice: Choice, destinations: tuple[str, ...]) -> bool:
        """Add one piece of the next bundle of the class whose turn it is; False when there is none that fits."""
        peer, precedence, usable, now_s = contact.peer, choice.precedence, choice.usable, choice.now_s
        may_begin = peer is None or peer.may_begin(precedence)
        picked = self.custody.scheduler.pick(
            precedence, destinations, choice.fits, choice.depth_bytes, may_begin=may_begin
        )
        if picked is None:
            return False
        queue, outgoing, depth = picked
        start, end = range_at(outgoing, depth, contact)
        is_whole = end - start == outgoing.span and not outgoing.is_live
        if is_whole and draft.run is not None and self._join_run(contact, draft, queue, outgoing, usable, now_s):
            queue.turn_bytes += outgoing.record.payload_bytes + RUN_LEAST_BYTES
            if not usable:
                self._join_followers(contact, draft, queue, choice)
            return True
        room = self._room_for(contact, draft, choice, outgoing, start, end)
        if room is None:
            return id(outgoing) in choice.missing
        read = piece_of if outgoing.is_live else self.custody.cache.read
        payload = read(outgoing, start, min(start + room, end, outgoing.record.payload_bytes))
        if payload is None:
            choice.missing.add(id(outgoing))
            if precedence is _FLASH and self.custody.cache.is_coming(outgoing, start):
                draft.awaits_flash = True
            return True
        end, copies = start + max(1, len(payload)), copies_wanted(contact, queue, outgoing, usable, now_s)
        self._write_piece(contact, draft, outgoing, start, end, payload, now_s, copies=copies)
        queue.turn_bytes += len(payload) + FRAGMENT_FIXED_BYTES
        return True

    def _room_for(
        self, contact: Contact, draft: Draft, choice: Choice, outgoing: Outgoing, start: int, end: int
    ) -> int | None:
        """How many payload bytes of [start, end) fit; None when they are too few to be worth a block.

        A bundle whose header alone is beyond what the link takes goes among those that are missing.
        """
        room, least = draft.room_bytes, end - start
        overhead = _overhead_bytes(outgoing, start, room, is_exact=room >= EXACT_LEAST_BYTES or draft.has_no_words)
        if outgoing.is_live:
            overhead += LIVE_ROOM_BYTES
        if least > MIN_PIECE_BYTES and (not draft.pieces or least > UNDIVIDED_BYTES):
            least = MIN_PIECE_BYTES
        if room - overhead >= least:
            return room - overhead
        if draft.body:
            draft.is_short = True
            return None
        # a long header: 250 ms of the link is a wish, the MTU is not
        longest = contact.limits.mtu_bytes - contact.frame_overhead_bytes
        draft.limit_bytes = room = max(room, min(longest, overhead + least))
        if room <= overhead:
            self.custody.outputs.drop("header_beyond_mtu")
            choice.missing.add(id(outgoing))
            return None
        return room - overhead

    def _write_piece(
        self,
        contact: Contact,
        draft: Draft,
        outgoing: Outgoing,
        start: int,
        end: int,
        payload: bytes,
        now_s: float,
        *,
        copies: int,
    ) -> None:
        fragment, at = fragment_of(outgoing, outgoing.source, start, payload, now_s), len(draft.body)
        header, is_whole = outgoing.record.header, len(payload) == fragment.total_bytes
        draft.run = None
        if outgoing.is_live:
            write_live(contact, draft, outgoing, fragment, now_s, is_doubled=copies > 1)
        elif not is_whole or not put_brief(draft, fragment, header):
            put_fragment(draft.body, fragment)
            if draft.packs_runs and is_whole:
                draft.run = RunWriter(at, fragment, header.created_at_ms, header)
        self._book_piece(contact, draft, outgoing, start, end, now_s, copies=copies)

    def _join_followers(self, contact: Contact, draft: Draft, queue: Queue, choice: Choice) -> None:
        """Add what comes next in the queue to the run, while it is alike and the queue's turn lasts."""
        while queue.turn_bytes < QUANTUM_BYTES:
            outgoing = queue.first_waiting()
            if outgoing is None or outgoing.unsent.total != outgoing.span or not choice.fits(outgoing):
                return
            if not self._join_run(contact, draft, queue, outgoing, [], choice.now_s):
                return
            queue.turn_bytes += outgoing.record.payload_bytes + RUN_LEAST_BYTES

    def _join_run(
        self, contact: Contact, draft: Draft, queue: Queue, outgoing: Outgoing, usable: list[Contact], now_s: float
    ) -> bool:
        """Add a whole bundle to the run before it; False when it is not like it, too long, or not in memory."""
        record, run = outgoing.record, draft.run
        room_bytes = draft.room_bytes - RUN_GROWTH_BYTES
        if run is None or record.payload_bytes >= room_bytes:
            return False
        payload = self.custody.cache.read(outgoing, 0, record.payload_bytes)
        if payload is None:
            return False
        fragment, created_ms = fragment_of(outgoing, outgoing.source, 0, payload, now_s), record.header.created_at_ms
        step = run.step(created_ms, fragment)
        if step is None or len(step) + len(payload) > room_bytes:
            return False
        run.join(draft.body, step, created_ms, fragment)
        copies = copies_wanted(contact, queue, outgoing, usable, now_s)
        self._book_piece(contact, draft, outgoing, 0, outgoing.span, now_s, copies=copies)
        return True

    def _book_piece(
        self,
        contact: Contact,
        draft: Draft,
        outgoing: Outgoing,
        start: int,
        end: int,
        now_s: float,
        *,
        copies: int,
    ) -> None:
        """A piece is in the frame: who has it now, and what that means for the frame."""
        record = outgoing.record
        link = contact.link
        outgoing.take(link.name, start, end, wants_copies=copies, fate=link.policy.shares_fate)
        if outgoing.second.total:
            self.custody.scheduler.version += 1  # the other link may take the copy at once
        outgoing.last_sent_s = now_s
        if outgoing.peer is None and contact.peer is not None:
            outgoing.pin(contact.peer)
        draft.pieces.append(_new_tuple(Piece, (outgoing, start, end)))
        draft.is_wanted = draft.wants_ack = True
        draft.is_urgent = draft.is_urgent or record.id.precedence <= _IMMEDIATE

    def _seal(self, contact: Contact, session: Session, draft: Draft, now_s: float) -> bytes:
        arq = session.arq
        number, number_bytes = arq.next_number, arq.number_bytes()
        arq.next_number = number + 1
        is_app_limited = contact.was_drained and (now_s > contact.pacer.next_s or draft.column < WORDS)
        if is_app_limited and draft.pieces and (first := draft.pieces[0].outgoing).is_live:
            is_app_limited = first.record.as_of_s > contact.pacer.next_s  # others waited with it, and expired
        contact.was_drained = self.is_drained
        self.is_done = self.is_drained and draft.column == WORDS
        if session.repairs is not None and session.repairs.is_owing:
            self.is_done = False
        if session.is_keyed:
            header = put_data(session.peer_receive_id, not contact.limits.is_narrow, number, number_bytes)
        else:
            header = put_hello(session.suite, session.epoch, session.own_salt, number)
        frame = header + session.seal.seal(number, header, bytes(draft.body))
        wire_bytes = charge(
            contact, frame, now_s, draft.pieces[0].outgoing.precedence if draft.pieces else draft.column
        )
        arq.sent_bytes_total += wire_bytes
        if draft.wants_ack:
            is_alone = not arq.in_flight
            if is_alone:
                contact.progress_s = now_s
            arq.record(
                SentFrame(
                    number,
                    now_s,
                    wire_bytes,
                    arq.sent_bytes_total,
                    is_app_limited,
                    tuple(draft.pieces),
                    tuple(draft.replies),
                    draft.is_urgent,
                    tuple(draft.uses),
                    is_alone,
                )
            )
        return frame


def _has_company(contact: Contact, session: Session) -> bool:
    """Whether words wait that ride with a piece where there is room."""
    peer = contact.peer
    return session.space.unacked_frames > 0 or (peer is not None and peer.replies_due_s is not None)


def _overhead_bytes(outgoing: Outgoing, start: int, room_bytes: int, *, is_exact: bool) -> int:
    """What a fragment of a bundle takes beside its payload, at most.

    To the byte (``is_exact``) where it continues a bundle of our own in a long frame, or in one that no words want to
    ride with: frames of one length leave in one call, and a PULSE still fits in. Elsewhere what is too much is room
    for words.
    """
    if start == 0 or outgoing.source or not is_exact:
        header_bytes = len(outgoing.header) + 6 if start == 0 else 0
        return FRAGMENT_FIXED_BYTES + header_bytes + (42 if outgoing.source else 0)
    record = outgoing.record
    sequence_bytes = (record.id.sequence.bit_length() + 6) // 7 or 1
    place_bytes = (start.bit_length() + 6) // 7 + (record.payload_bytes.bit_length() + 6) // 7
    return 2 + sequence_bytes + place_bytes + (room_bytes.bit_length() + 6) // 7 + PULSE_BYTES


def fragment_of(outgoing: Outgoing, source: Source | None, start: int, payload: bytes, now_s: float) -> Fragment:
    """One piece as a block; the first byte brings the header and the ages with it."""
    record = outgoing.record
    header, age_low_ms, age_extra_ms = b"", 0, 0
    if start == 0:
        header = outgoing.header
        age_low_ms = _age_ms(record.age_low_s + now_s - record.as_of_s)
        age_extra_ms = _age_ms(record.age_high_s - record.age_low_s)
    _, _, precedence, sequence = record.id
    return _new_tuple(
        Fragment,
        (
            source,
            precedence,
            sequence,
            start,
            record.payload_bytes,
            header,
            age_low_ms,
            age_extra_ms,
            payload,
            None,
        ),
    )


def _age_ms(age_s: float) -> int:
    """An age as a block has it."""
    age_ms = round(age_s * 1000)
    return age_ms if 0 <= age_ms <= AGE_MAX_MS else min(AGE_MAX_MS, max(0, age_ms))


def charge(contact: Contact, frame: bytes, now_s: float, column: int = WORDS) -> int:
    """Book a frame that leaves now, led by a precedence or (WORDS) without a bundle; gives back its wire bytes."""
    wire_bytes = len(frame) + contact.limits.overhead_bytes
    contact.pacer.charge(now_s, wire_bytes, contact.controller.pacing_bps(is_bulk=column < WORDS))
    contact.sent_bytes += wire_bytes
    contact.link.spend(column, wire_bytes, now_s)
    contact.last_sent_s = now_s
    return wire_bytes
