"""Frames in: from the clear part over keys and replay to what each block changes."""

from collections.abc import Callable, Hashable, Iterable
from random import Random

from edge_agent.core.abandonment import ABANDON_KIND, read_abandoned
from edge_agent.core.arq import Arrived
from edge_agent.core.arrivals import Arrivals
from edge_agent.core.blocks import (
    PROBE,
    TOKEN_BYTES,
    Ack,
    Block,
    Brief,
    Control,
    Echo,
    Fragment,
    Live,
    Probe,
    PulseWish,
    Refused,
    Repair,
    Stored,
    StoredPartly,
    Window,
)
from edge_agent.core.brief import PROFILE_KIND
from edge_agent.core.bundle import MalformedError, Precedence
from edge_agent.core.burst_intake import BurstIntake
from edge_agent.core.closed_numbers import QUESTION_KIND
from edge_agent.core.closing import CLOSED_KIND, Closing
from edge_agent.core.codec import put_token, read_blocks
from edge_agent.core.contact import ACK_FRAMES, Contact, Link
from edge_agent.core.contacts import HELD_EARLY_BYTES, Contacts
from edge_agent.core.custody import Custody
from edge_agent.core.effects import Transmit
from edge_agent.core.envelope import Envelope, FrameClass, put_data, put_unknown
from edge_agent.core.hello import HELLO_KIND, Hello
from edge_agent.core.live_arrivals import LiveArrivals
from edge_agent.core.liveness import Liveness
from edge_agent.core.outputs import Outputs
from edge_agent.core.session import Session
from edge_agent.core.silence import SILENCE_KIND, read_silence
from edge_agent.core.verdicts import Verdicts

_FLASH, _DATA = Precedence.FLASH, FrameClass.DATA  # a member of an enum is slow to look up
HINT_WAIT_S = 1.0
CHALLENGE_AGAIN_S = 1.0
"""A new address is asked again so often while frames come from it: a token lost would leave it unknown for ever."""
SWIFT_ACK_FRAMES = 256
"""One frame in so many is acknowledged at once: the round trip, without the wait for company, is known by it."""
LOSS_SMOOTHING = 0.05
ECHOES_MAX = 4
"""Echoes owed on one contact: they fit into the shortest frame; whoever probes faster is answered less often."""


class Intake:
    """Works through frames and their blocks."""

    def __init__(
        self,
        contacts: Contacts,
        custody: Custody,
        arrivals: Arrivals,
        liveness: Liveness,
        bursts: BurstIntake,
        verdicts: Verdicts,
        closing: Closing,
        live: LiveArrivals,
        outputs: Outputs,
        rng: Random,
    ) -> None:
        self.contacts = contacts
        self.custody = custody
        self.arrivals = arrivals
        self.liveness = liveness
        self.bursts = bursts
        self.verdicts = verdicts
        self.closing = closing
        self.live = live
        self.outputs = outputs
        self.hints: list[Transmit] = []
        """UNKNOWN frames to send; at most one a link and second."""
        self.read_body: Callable[[bytes], Iterable[Block]] = read_blocks
        """What makes blocks of the body of a frame of a session; whoever has read it already may put theirs here."""
        self._hinted_s: dict[str, float] = {}
        self._rng = rng

    def take(self, link: Link, source: Hashable | None, envelope: Envelope, frame: bytes, now_s: float) -> None:
        """One frame. Nothing in it can raise."""
        frame_class = envelope.frame_class
        if frame_class is _DATA:
            self._take_data(link, source, envelope, frame, now_s)
        elif frame_class is FrameClass.HELLO:
            self._take_hello(link, source, envelope, frame, now_s)
        elif frame_class is FrameClass.HELLO_ACK:
            self._take_hello_ack(link, envelope, frame, now_s)
        elif frame_class is FrameClass.UNKNOWN:
            self._take_unknown(link, envelope, now_s)
        elif frame_class is FrameClass.BURST:
            self.bursts.take(link, source, envelope, frame)
        else:
            self.outputs.drop(f"frame_{frame_class.name.lower()}_unused")

    def _take_data(self, link: Link, source: Hashable | None, envelope: Envelope, frame: bytes, now_s: float) -> None:
        found = self.contacts.find(link.name, envelope.receive_id)
        if found is None:
            self._hint(link, source, envelope, len(frame), now_s)
            return
        contact, session = found
        opened = self.contacts.open_data(session, envelope, frame)
        if opened is None:
            self.liveness.not_opened(contact, session, now_s)
            return
        number, body = opened
        if session is contact.candidate:
            self._promote(contact, session, now_s)
        elif source != contact.address and link.is_listener:
            self._challenge(contact, source, now_s)
        contact.note_received(len(frame), now_s)
        contact.deadline_s = None
        left_gap = session.space.record(number, now_s)
        self.liveness.heard(contact, now_s)
        self._take_body(contact, session, body, now_s, left_gap=left_gap, number=number)

    def _promote(self, contact: Contact, session: Session, now_s: float) -> None:
        """First frame under both salts: the peer is alive, so what came early may be acted on."""
        held, contact.held_early = contact.held_early, []
        self.contacts.promote(contact, now_s)
        for body in held:
            self._take_early(contact, session, body, now_s)
        self.liveness.bring_up(contact, now_s)

    def _challenge(self, contact: Contact, source: Hashable | None, now_s: float) -> None:
        """Authentic, but from another address: it is used only after it has echoed a token, which may get lost."""
        if contact.new_address != source:
            contact.new_address = source
            contact.probe_token = self._rng.randbytes(TOKEN_BYTES)
        elif now_s - contact.challenged_s < CHALLENGE_AGAIN_S:
            return
        contact.challenged_s = now_s
        frame = seal_probe(contact, contact.probe_token)
        self.hints.append(Transmit(contact.link.name, source, frame))

    def _hint(self, link: Link, source: Hashable | None, envelope: Envelope, frame_bytes: int, now_s: float) -> None:
        self.outputs.drop("frame_id_unknown")
        self._ask_again(link, now_s)
        reply = put_unknown(envelope.receive_id, envelope.is_wide_id)
        if frame_bytes >= len(reply) and now_s - self._hinted_s.get(link.name, -HINT_WAIT_S) >= HINT_WAIT_S / 10:
            self._hinted_s[link.name] = now_s
            self.hints.append(Transmit(link.name, source, reply))

    def _ask_again(self, link: Link, now_s: float) -> None:
        """Somebody speaks here in a session that is over: perhaps our peer, who never heard of the new one.

        What is in flight in that is asked for, at most once a second, for anyone can send this.
        """
        for contact in () if link.is_listener else link.contacts:
            session = contact.session
            if session is None or not session.arq.pieces_in_flight or now_s - contact.hint_sent_s < HINT_WAIT_S:
                continue
            contact.hint_sent_s = contact.probe_at_s = now_s
            contact.deadline_s = None

    def _take_hello(self, link: Link, source: Hashable | None, envelope: Envelope, frame: bytes, now_s: float) -> None:
        opened = self.contacts.open_hello(link, source, envelope, frame, now_s)
        if opened is None:
            return
        contact, session, body = opened
        contact.note_received(len(frame), now_s)
        contact.deadline_s = None
        if session.is_proven:
            self._take_early(contact, session, body, now_s)
            return
        hello = self._introduce(contact, session, body)
        if hello is None:
            return
        if session.is_early_trusted is None:
            session.is_early_trusted = self.contacts.is_early_trusted(hello, envelope.salt)
        if session.is_early_trusted:
            self._take_early(contact, session, body, now_s)
        elif sum(map(len, contact.held_early)) + len(body) <= HELD_EARLY_BYTES:
            contact.held_early.append(body)
        else:
            self.outputs.drop("early_held_full")

    def _introduce(self, contact: Contact, session: Session, body: bytes) -> Hello | None:
        """Who sent this HELLO; None when the frame does not say."""
        try:
            first = next(read_blocks(body), None)
            if isinstance(first, Control) and first.fields[0] == HELLO_KIND:
                return Hello.parse(first.fields)
        except MalformedError:
            pass  # counted below with the frames that say nothing
        self.outputs.drop("hello_malformed")
        return None

    def _take_early(self, contact: Contact, session: Session, body: bytes, now_s: float) -> None:
        """Early data: fragments only; orders and other control wait for the full key."""
        try:
            for block in read_blocks(body):
                if isinstance(block, Control) and block.fields[0] == HELLO_KIND:
                    self._greet(contact, session, Hello.parse(block.fields), now_s)
                elif isinstance(block, Fragment) and contact.peer is not None:
                    self.arrivals.take(block, contact.peer, contact.link.name, now_s)
                elif not isinstance(block, Probe):
                    self.outputs.drop("early_control")
        except MalformedError:
            self.outputs.drop("block_malformed")

    def _take_hello_ack(self, link: Link, envelope: Envelope, frame: bytes, now_s: float) -> None:
        found = self.contacts.find(link.name, envelope.receive_id)
        if found is None:
            self.outputs.drop("frame_id_unknown")
            return
        contact, session = found
        body = self.contacts.open_hello_ack(contact, session, envelope, frame, now_s)
        if body is None:
            return
        contact.note_received(len(frame), now_s)
        contact.deadline_s = None
        self.liveness.heard(contact, now_s)
        self._take_body(contact, session, body, now_s, left_gap=True)
        self.liveness.bring_up(contact, now_s)

    def _take_unknown(self, link: Link, envelope: Envelope, now_s: float) -> None:
        """The other side lost a session of ours: start over, at most once a second, for anyone can send this."""
        for contact in link.contacts:
            session = contact.session
            if session is None or session.peer_receive_id != envelope.receive_id or not session.is_keyed:
                continue
            contact.deadline_s = None
            if now_s - contact.hint_sent_s >= HINT_WAIT_S:
                contact.hint_sent_s = now_s
                if link.is_listener:
                    contact.probe_at_s = now_s
                else:
                    self.contacts.begin_session(contact, now_s)
            return
        self.outputs.drop("hint_unknown")

    def _take_body(
        self, contact: Contact, session: Session, body: bytes, now_s: float, *, left_gap: bool, number: int = 0
    ) -> None:
        wants_ack, is_lazy, is_urgent = False, True, left_gap
        try:
            for block in self.read_body(body):
                if isinstance(block, Ack):
                    self._take_ack(contact, session, block, now_s)
                elif isinstance(block, (Fragment, Brief)):
                    wants_ack, is_lazy = True, False
                    fragment = block if isinstance(block, Fragment) else session.profiles_read.rebuild(block, number)
                    if fragment is None:
                        self.outputs.drop("brief_unknown")
                        continue
                    is_urgent = is_urgent or fragment.precedence is _FLASH
                    if contact.peer is not None:
                        self.arrivals.take(fragment, contact.peer, contact.link.name, now_s)
                elif isinstance(block, (Live, Repair)):
                    wants_ack, is_lazy = True, False
                    self._take_live(contact, session, block, now_s)
                else:
                    wants_ack = True
                    if isinstance(block, (Probe, Echo)):
                        is_lazy, is_urgent = False, is_urgent or isinstance(block, Probe)
                    self._take_word(contact, session, block, number, now_s)
        except MalformedError:
            self.outputs.drop("block_malformed")
        if wants_ack:
            space = session.space
            space.unacked_frames += 1
            is_many = space.unacked_frames >= ACK_FRAMES or number % SWIFT_ACK_FRAMES == 0
            if is_urgent or (is_many and not is_lazy):
                space.want_ack(now_s)
            else:
                space.want_ack(now_s + (contact.lazy_ack_delay_s() if is_lazy else contact.ack_delay_s()))

    def _take_word(self, contact: Contact, session: Session, block: Block, number: int, now_s: float) -> None:
        """Everything that is neither fragment nor ACK."""
        peer = contact.peer
        if isinstance(block, Probe):
            if len(contact.echo_tokens) >= ECHOES_MAX:
                self.outputs.drop("echo_full")
            elif any(block.token):  # without a token the acknowledgement is answer enough
                contact.echo_tokens.append(block.token)
        elif isinstance(block, PulseWish):
            contact.pulse.owe(block.interval_ms / 1000, now_s)
        elif isinstance(block, Echo):
            if contact.new_address is not None and block.token == contact.probe_token:
                contact.address, contact.new_address, contact.probe_token = contact.new_address, None, b""
        elif isinstance(block, Control):
            self._take_control(contact, session, block, number, now_s)
        elif peer is None:
            self.outputs.drop("block_before_hello")
        elif isinstance(block, Stored):
            self.verdicts.take_stored(peer, block, now_s)
        elif isinstance(block, StoredPartly):
            self.verdicts.take_stored_partly(peer, block, now_s)
        elif isinstance(block, Window):
            self.verdicts.take_window(peer, block, now_s)
        elif isinstance(block, Refused):
            self.verdicts.take_refused(peer, block, now_s)

    def _take_live(self, contact: Contact, session: Session, block: Live | Repair, now_s: float) -> None:
        """A piece of a perishable bundle, or a sum of such pieces."""
        peer, link = contact.peer, contact.link.name
        if peer is None:
            self.outputs.drop("block_before_hello")
        elif isinstance(block, Live):
            self.live.take(block, session, peer, link, now_s)
        else:
            self.live.take_repair(block, session, peer, link, now_s)

    def _take_control(self, contact: Contact, session: Session, block: Control, number: int, now_s: float) -> None:
        kind = block.fields[0]
        if kind == HELLO_KIND:
            self._greet(contact, session, Hello.parse(block.fields), now_s)
        elif kind == PROFILE_KIND:
            session.profiles_read.learn(block.fields, number)
        elif kind == QUESTION_KIND and contact.peer is not None:
            self.closing.take_question(contact.peer, block, now_s)
        elif kind == CLOSED_KIND and contact.peer is not None:
            self.closing.take_closed(contact.peer, block)
        elif kind == ABANDON_KIND and contact.peer is not None:
            self.arrivals.abandon(read_abandoned(contact.peer, block), contact.peer)
        elif kind == SILENCE_KIND:
            silent = read_silence(contact, block)
            if silent is None:
                self.outputs.drop("silence_over")
            else:
                silent[0].deadline_s = None
                self.liveness.told_silent(*silent, now_s)
        else:
            self.outputs.drop("control_unknown")

    def _greet(self, contact: Contact, session: Session, hello: Hello, now_s: float) -> None:
        """The peer behind this contact is known now; a peer that restarted forgot what it had not synced."""
        if hello.node_id == self.contacts.settings.node_id:
            self.outputs.drop("hello_from_self")
            return
        if session.peer_node_id not in ("", hello.node_id):
            self.outputs.drop("hello_of_another")
            return
        session.peer_node_id = hello.node_id
        if session.peer_receive_id == 0:
            session.peer_receive_id = hello.receive_id
        peer = self.contacts.peer(hello.node_id)
        contact.meet(peer)
        self.contacts.remember_start(hello)
        is_same = peer.process_number == hello.process_number and peer.incarnation == hello.incarnation
        is_restart = peer.process_number > 0 and not is_same
        peer.take_role(hello.role)
        peer.number, peer.features = hello.number, hello.features
        peer.incarnation, peer.process_number = hello.incarnation, hello.process_number
        peer.last_heard_s = now_s
        peer.told_window_bytes = -1
        if not is_same:
            peer.fed_bytes = 0  # it begins with the first window
            self.arrivals.tell_partials(peer, now_s)
        self.custody.scheduler.version += 1
        for outgoing in list(self.custody.bundles.values()):
            if outgoing.peer is None and outgoing.via and contact.link.name in outgoing.via:
                outgoing.pin(peer)  # sent early, before the peer had said its name
            if is_restart and outgoing.peer is peer:
                outgoing.forget_unstored()
                if outgoing.unsent:
                    self.custody.wake(outgoing)

    def _take_ack(self, contact: Contact, session: Session, ack: Ack, now_s: float) -> None:
        target, owner = session, contact
        if ack.reference:
            found = self._session_named(contact, ack.reference - 1)
            if found is None:
                self.outputs.drop("ack_reference_unknown")
                return
            owner, target = found
            owner.deadline_s = None
        result = target.arq.acknowledge(ack, now_s, owner.reorder_s())
        if result is None:
            self.outputs.drop("ack_beyond_sent")
            return
        if result.arrived:
            owner.tally.note_arrived(result.arrived, now_s, is_round=owner is contact)
            if owner.pto_backoff or not owner.is_usable:  # the first word after an outage
                owner.controller.end_outage(now_s, owner.pto_s())
        self._learn(owner, target, result.arrived, now_s)
        if result.lost:
            for _ in result.lost if owner.is_usable else ():  # what went while it was dead is not its loss
                owner.loss_ratio += LOSS_SMOOTHING * (1 - owner.loss_ratio)
            self.contacts.give_up(owner, result.lost, now_s)
        for frame in target.arq.urgent_overtaken():
            for outgoing, start, end in frame.pieces:
                if outgoing.precedence is _FLASH:
                    self.custody.put_back(outgoing, start, end, now_s)
        if result.arrived:
            self.liveness.progressed(owner, max([each.frame.number for each in result.arrived]), now_s)
            if self.custody.scheduler.has_work:  # there may be room in the window for it now
                owner.idle_version = -1

    def _session_named(self, contact: Contact, receive_id: int) -> tuple[Contact, Session] | None:
        for other in self.contacts.contacts:
            session = other.session
            if other.peer is not contact.peer or session is None or not session.is_keyed:
                continue
            if session.peer_receive_id == receive_id:
                return other, session
        return None

    def _learn(self, owner: Contact, session: Session, arrived: list[Arrived], now_s: float) -> None:
        """Pieces that arrived, and what their times say of the link."""
        newest_sent_s, acked_bytes = None, 0
        for each in arrived:
            frame = each.frame
            for use in frame.uses:
                use.arrived()
            for outgoing, start, end in frame.pieces:
                outgoing.mark_acked(start, end)
                acked_bytes += end - start
            if not each.was_lost:
                newest_sent_s = frame.sent_s
                owner.loss_ratio -= LOSS_SMOOTHING * owner.loss_ratio
        if arrived:
            if owner.size.is_open and owner.size.note_arrived(arrived):
                owner.mtu_bytes = owner.size.limit_bytes
            owner.note_goodput(acked_bytes, now_s)
        if newest_sent_s is not None:
            owner.rtt.update(max(now_s - newest_sent_s, 1e-6))
            if not _is_credible(session, arrived, now_s):
                self.outputs.drop("ack_times_impossible")
                arrived = [each._replace(arrived_s=None) for each in arrived]
            owner.controller.update(arrived, owner.rtt, now_s, owner.frame_wire_bytes(), session.arq, owner.pacer)


def _is_credible(session: Session, arrived: list[Arrived], now_s: float) -> bool:
    """Whether the first and the last of these frames can have come when the peer says so."""
    for frame, arrived_s, _ in (arrived[0], arrived[-1]) if len(arrived) > 1 else arrived:
        if arrived_s is not None and not session.peer_clock.allows(frame.sent_s, arrived_s, now_s):
            return False
    return True


def seal_probe(contact: Contact, token: bytes) -> bytes:
    """A frame with nothing but a PROBE, outside the contact's account: it goes to an address not yet believed."""
    session = contact.session
    assert session is not None
    number, number_bytes = session.arq.next_number, session.arq.number_bytes()
    session.arq.next_number += 1
    body = bytearray()
    put_token(body, PROBE, token)
    header = put_data(session.peer_receive_id, not contact.limits.is_narrow, number, number_bytes)
    return header + session.seal.seal(number, header, bytes(body))
