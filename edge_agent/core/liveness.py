"""When silence means something: suspicion (urgent data moves), conviction (everything moves), and the way back.

The peer's acknowledgements are the signal while data is in flight; an idle link is asked as its policy says. One
probe is all that time alone ever sends on a link in doubt.
"""

import math

from edge_agent.core.bundle import Precedence
from edge_agent.core.contact import PROBE_BYTES, Contact
from edge_agent.core.contacts import HELLO_WAIT_S, Contacts
from edge_agent.core.copies import is_also_elsewhere
from edge_agent.core.custody import Custody
from edge_agent.core.effects import LinkState
from edge_agent.core.session import Session
from edge_agent.core.silence import tell_silence

PROBE_WAIT_MAX_S = 2.0
PROBE_WAIT_MAX_METERED_S = 30.0
"""Between probes of a dead link while bundles wait here. Where none do the wait grows until it is that of a living
link: a third of the time it has been dead."""
PROBE_WAIT_LIVE_S, PROBE_WAIT_ALONE_S = 0.25, 0.4
"""Between probes of a dead link while data goes to its peer by others, or while it waits for this one alone."""
PROBE_SHARE_RATIO, PROBE_SHARE_ALONE = 0.01, 0.03
"""Of a dead link's rate, at most, for these probes, and for those of the only link there was."""
OUTAGE_SHARE_RATIO = 0.2
"""The only link is asked so often that its outage lasts that much longer than it did."""
HEARD_PROBE_S, HEARD_PROBE_MOST_S = 0.15, 0.5
"""A dead link that is heard is asked at once, but not for every frame, and ever less: it may be dead one way."""
PROBES_BEFORE_HELLO, HELLO_AFTER_S = 3, 3.0
"""Unanswered probes and time of a dead link after which the peer may have forgotten the session: start over."""
UNASKED_KEEPALIVES, UNASKED_MOST_S = 2, 30.0
SILENCE_SLACK_S = 5.0
"""An idle link that could not even be asked for so long (a busy medium, a spent budget) counts as dead."""
LISTENER_WAITS = 1.1
LONG_DOUBT = 2
"""Probes of a link in doubt without an answer that make it an outage, though nobody convicted it."""
FALTER_LEAST_S = 0.1
"""A shorter doubt is a burst of loss or of jitter, and tells of no holes."""
PTO_BACKOFF_MAX = 20
LOSS_DEGRADED_RATIO = 0.1
LOSS_UP_RATIO = 0.05
LATENESS_COUNTED_S = 0.02
FLAPPING_REASON = "flapping"
_UP, _DEGRADED, _DOWN = LinkState.UP, LinkState.DEGRADED, LinkState.DOWN  # a member of an enum is slow to look up


class Liveness:
    """Timers of all contacts."""

    def __init__(self, contacts: Contacts, custody: Custody) -> None:
        self.contacts = contacts
        self.custody = custody

    def next_deadline_s(self, contact: Contact) -> float:
        """The earliest moment at which ``on_timeout`` or a frame of this contact is due; infinity for never."""
        link = contact.link
        if link.limits is None:
            return math.inf
        deadline_s = self._idle_s(contact) if contact.is_usable else math.inf
        session = contact.session
        if not link.is_busy and (due_s := self._sending_s(contact)) < deadline_s:
            deadline_s = due_s
        if link.meter.paused_until_s < deadline_s:
            deadline_s = link.meter.paused_until_s
        if session is None:
            return deadline_s
        if session.arq.in_flight and contact.state is not _DOWN:
            if (doubt_s := self._doubt_s(contact)) < deadline_s:
                deadline_s = doubt_s
            pulse = contact.pulse
            if pulse.is_watched and (silent_s := pulse.next_s(contact.rtt.smoothed_s)) < deadline_s:
                deadline_s = silent_s
            overtaken_s = session.arq.reorder_deadline_s(contact.reorder_s())
            if overtaken_s is not None and overtaken_s < deadline_s:
                deadline_s = overtaken_s
        return deadline_s

    @staticmethod
    def _sending_s(contact: Contact) -> float:
        """When a frame of words is due; infinity for none."""
        pacer_s, candidate, session = contact.pacer.next_s, contact.candidate, contact.session
        due_s = math.inf if contact.probe_at_s is None else max(contact.probe_at_s, pacer_s)
        if candidate is not None and candidate.space.ack_due_s is not None:
            due_s = min(due_s, candidate.space.ack_due_s)
        if session is not None and session.is_keyed:
            ack_due_s = session.space.ack_due_s
            if ack_due_s is not None:
                due_s = min(due_s, max(ack_due_s, pacer_s))
            if contact.last_sent_s < contact.pulse.owed_until_s:
                due_s = min(due_s, max(contact.pulse.due_s(contact.last_sent_s), pacer_s))
        return due_s

    @staticmethod
    def _doubt_s(contact: Contact) -> float:
        """When suspicion, its next probe, or conviction is due."""
        return contact.progress_s + contact.doubts_after_s()

    @staticmethod
    def _idle_s(contact: Contact) -> float:
        """When an idle link is asked whether it is still there, or one that should have been heard counts as dead."""
        if contact.limits.is_burst:
            return math.inf
        heard_s, session = _alive_s(contact), contact.session
        if contact.probe_at_s is None and session is not None and not session.arq.in_flight:
            return heard_s + _ask_every_s(contact)
        return _dead_at_s(contact, heard_s)

    def on_timeout(self, contact: Contact, now_s: float, late_s: float) -> None:
        """Do what is due. ``late_s`` is how late this process itself was: time nobody may be blamed for."""
        if contact.link.limits is None:
            return
        if late_s > LATENESS_COUNTED_S:
            contact.progress_s += late_s
            contact.pulse.forgive(late_s)
        session = contact.session
        if session is not None and session.arq.in_flight and contact.state is not _DOWN:
            for frame in session.arq.find_overdue(now_s, contact.reorder_s()):
                self.contacts.give_up(contact, [frame], now_s)
            if session.arq.in_flight:
                self._doubt(contact, now_s)
        if contact.is_usable and self._idle_s(contact) <= now_s:
            self._ask(contact, now_s)
        if not contact.is_usable and contact.probe_at_s is not None and contact.probe_at_s <= now_s:
            self._knock(contact, now_s)

    def _doubt(self, contact: Contact, now_s: float) -> None:
        pulse = contact.pulse
        if pulse.is_watched and pulse.dead_at_s(contact.rtt.smoothed_s) <= now_s:
            pulse.is_doubted = False
            if any(each.is_usable and not each.is_suspect for each in contact.siblings()):
                self._convict(contact, "silent", now_s)
                return
        if now_s >= contact.progress_s + contact.conviction_s():
            self._convict(contact, "no answer", now_s)
            return
        if now_s >= contact.progress_s + contact.asks_after_s():
            contact.pto_backoff = min(contact.pto_backoff + 1, PTO_BACKOFF_MAX)
            contact.probe_at_s = now_s
            self._suspect(contact, now_s)
            return
        if pulse.is_watched and pulse.doubt_at_s() <= now_s:
            pulse.doubt()
            contact.probe_at_s = now_s
            self._suspect(contact, now_s)

    def _convict(self, contact: Contact, reason: str, now_s: float) -> None:
        tell_silence(contact, now_s)
        self.contacts.convict(contact, reason, now_s)
        contact.probe_at_s = now_s

    def told_silent(self, contact: Contact, session: Session, now_s: float) -> None:
        """The peer hears nothing on this link: what went there is lost, and what came goes on being acknowledged."""
        session.space.want_ack(now_s)
        if contact.is_usable:
            self.contacts.convict(contact, "not heard there", now_s)
            contact.probe_at_s = now_s
        self.custody.scheduler.version += 1  # another link has an acknowledgement to bring

    def _suspect(self, contact: Contact, now_s: float) -> None:
        if not contact.is_suspect:
            contact.is_suspect, contact.suspect_s = True, now_s
            contact.suspicions += 1
            oldest_s = contact.session.arq.oldest_pieces_s() if contact.session is not None else None
            contact.tally.suspect([each.tally for each in contact.siblings()], now_s, oldest_s)
            self.custody.scheduler.version += 1
            self._move_urgent(contact, now_s)

    def warned(self, contact: Contact, now_s: float) -> None:
        """A device says that the link is about to fail: urgent data leaves elsewhere, too, until the link answers."""
        contact.probe_at_s, contact.deadline_s = now_s, None
        self._suspect(contact, now_s)

    @staticmethod
    def encouraged(contact: Contact, now_s: float) -> None:
        """A device says that a link not in use is back: it is asked now, and soon again."""
        contact.probe_at_s, contact.deadline_s = now_s, None
        contact.probe_wait_s = min(contact.probe_wait_s, HELLO_WAIT_S)

    def _trust(self, contact: Contact, now_s: float) -> None:
        if contact.is_suspect:
            contact.is_suspect = False
            if now_s - contact.suspect_s > FALTER_LEAST_S:
                contact.faltered_s = now_s
            contact.tally.trust([each.tally for each in contact.siblings()])
            self.custody.scheduler.version += 1

    def _move_urgent(self, contact: Contact, now_s: float) -> None:
        """Urgent bytes in flight may go on another live link at once; the copies here stay in flight.

        What went 1+1 is on its way on such a link already: once more there, it would hold up what comes next.
        """
        session = contact.session
        contacts = contact.peer.contacts if contact.peer is not None else ()
        if session is None or not any(each.is_usable for each in contacts if each is not contact):
            return
        from_s = contact.pulse.unheard_from_s(contact.rtt.smoothed_s)
        for frame in session.arq.in_flight.values():
            if frame.sent_s < from_s:
                continue
            for outgoing, start, end in frame.pieces:
                is_urgent = outgoing.precedence <= Precedence.IMMEDIATE
                if is_urgent and not is_also_elsewhere(contact, outgoing, start, end):
                    self.custody.put_back(outgoing, start, end, now_s)

    def _ask(self, contact: Contact, now_s: float) -> None:
        if now_s >= _dead_at_s(contact, _alive_s(contact)):
            self._convict(contact, "silent", now_s)
            return
        contact.probe_at_s = now_s

    def _knock(self, contact: Contact, now_s: float) -> None:
        """A link not in use sends a probe or HELLO now; arrange the next one, further apart each time."""
        session = contact.session
        contact.unanswered_probes += 1
        is_forgotten = (
            session is not None
            and session.is_keyed
            and contact.unanswered_probes > PROBES_BEFORE_HELLO
            and now_s - contact.since_s > HELLO_AFTER_S
        )
        is_spent = session is not None and session.open is not None and session.open.is_spent
        if contact.limits.is_narrow and not is_spent:  # its one peer speaks first, too, or says that it forgot
            is_forgotten = False
        if not contact.link.is_listener and (is_forgotten or (session is None and contact.candidate is None)):
            contact.unanswered_probes = 0
            self.contacts.begin_session(contact, now_s)
        contact.probe_at_s = now_s
        longest_s = self._longest_wait_s(contact, now_s)
        if longest_s == math.inf and contact.unanswered_probes > PROBES_BEFORE_HELLO:
            contact.probe_at_s = None  # silent unless it has something to say
        contact.probe_wait_s = min(longest_s, contact.probe_wait_s * 1.5)

    def _longest_wait_s(self, contact: Contact, now_s: float) -> float:
        """The longest time between two probes of a link that is not in use; infinity for none at all."""
        policy = contact.link.policy
        most_s = PROBE_WAIT_MAX_METERED_S if policy.metered else max(PROBE_WAIT_MAX_S, 2 * contact.pto_s())
        if not self.custody.bundles:
            return max(most_s, policy.ask_every_s)
        if policy.metered:
            return most_s
        probe_s = PROBE_BYTES * 8 / contact.controller.rate_bps
        if any(each.has_flow(now_s) for each in contact.siblings()):
            return min(most_s, max(PROBE_WAIT_LIVE_S, probe_s / PROBE_SHARE_RATIO))
        if contact.has_usable_sibling():
            return most_s
        outage_s = now_s - contact.since_s
        return min(most_s, max(PROBE_WAIT_ALONE_S, probe_s / PROBE_SHARE_ALONE, OUTAGE_SHARE_RATIO * outage_s))

    def hurry(self, now_s: float) -> None:
        """Bundles wait: dead links that were asked ever more seldom while there were none are asked soon."""
        for contact in self.contacts.contacts:
            if contact.is_usable or contact.link.limits is None or contact.session is None or contact.limits.is_burst:
                continue
            longest_s = self._longest_wait_s(contact, now_s)
            if contact.stranded and contact.has_usable_sibling():
                self.contacts.release(contact, now_s)
            if contact.probe_at_s is None or contact.probe_at_s > now_s + longest_s:
                contact.probe_at_s, contact.deadline_s = now_s, None

    def after_send(self, contact: Contact, now_s: float) -> None:
        """A probe or HELLO has left on a link not in use: when to try again."""
        if not contact.is_usable and contact.probe_at_s is None and contact.link.limits is not None:
            contact.probe_at_s = now_s + max(contact.probe_wait_s, contact.pto_s() if contact.session is None else 0.0)

    @staticmethod
    def not_opened(contact: Contact, session: Session, now_s: float) -> None:
        """A frame was no use. A key that opens nothing any more is missed by nobody until an answer does not come."""
        is_spent = session.open is not None and session.open.is_spent
        if is_spent and contact.is_usable and contact.probe_at_s is None and not session.arq.in_flight:
            contact.probe_at_s, contact.deadline_s = now_s, None

    def heard(self, contact: Contact, now_s: float) -> None:
        """An authentic frame came on this contact."""
        contact.last_heard_s = now_s
        if contact.pulse.is_watched and contact.pulse.note_heard(now_s, contact.rtt.smoothed_s):
            self._trust(contact, now_s)
        if contact.peer is not None:
            contact.peer.last_heard_s = now_s
        if contact.pto_backoff and contact.is_usable and now_s - contact.last_sent_s > HEARD_PROBE_S / 3:
            contact.probe_at_s = now_s  # the doubt may be over: what was in flight is lost, or its word was
        if not contact.is_usable and contact.state is _DOWN and contact.session and contact.session.is_keyed:
            waits_s = contact.probe_at_s - now_s if contact.probe_at_s is not None else float("inf")
            least_s = min(HEARD_PROBE_MOST_S, HEARD_PROBE_S * (1 + contact.unanswered_probes))
            if waits_s > least_s and now_s - contact.last_sent_s > least_s:
                contact.probe_at_s = now_s

    def progressed(self, contact: Contact, highest_new: int, now_s: float) -> None:
        """An acknowledgement told of ``highest_new``: the way there and the way back both work."""
        if contact.pto_backoff > LONG_DOUBT:
            contact.resume_rate(now_s)
        contact.progress_s = contact.answered_s = now_s
        contact.pto_backoff = 0
        contact.unanswered_probes = 0
        self._trust(contact, now_s)
        if highest_new >= contact.convicted_number:
            self.bring_up(contact, now_s)
        self._judge_loss(contact, now_s)

    def bring_up(self, contact: Contact, now_s: float) -> None:
        """The link works both ways: also a new session says so, in which nothing that was doubted is under way."""
        self._trust(contact, now_s)
        contact.pto_backoff = 0
        if not contact.is_usable:
            contact.probe_at_s = None
            contact.probe_wait_s = 0.5
            if contact.state is _DOWN:
                contact.faltered_s = now_s
                contact.resume_rate(now_s)
            contact.tally.trust([each.tally for each in contact.siblings()])
            is_flapping = now_s < contact.damping.until_s
            state, reason = (_DEGRADED, FLAPPING_REASON) if is_flapping else (_UP, "answers")
            contact.change_state(state, reason, now_s, self.custody.outputs)
            self.custody.scheduler.version += 1
            for each in (contact, *contact.siblings()):
                if each.stranded:
                    self.contacts.release(each, now_s)

    def _judge_loss(self, contact: Contact, now_s: float) -> None:
        if contact.loss_ratio > LOSS_DEGRADED_RATIO and contact.state is _UP:
            contact.change_state(LinkState.DEGRADED, "loss", now_s, self.custody.outputs)
        elif contact.state is _DEGRADED and contact.loss_ratio < LOSS_UP_RATIO and now_s >= contact.damping.until_s:
            reason = "steady again" if contact.reason == FLAPPING_REASON else "loss over"
            contact.change_state(LinkState.UP, reason, now_s, self.custody.outputs)


def _alive_s(contact: Contact) -> float:
    """When the link last showed that it is alive: by a frame, or by word of one that arrived there."""
    heard_s = contact.last_heard_s if contact.last_heard_s is not None else contact.since_s
    return max(heard_s, contact.answered_s)


def _ask_every_s(contact: Contact) -> float:
    """How long a link may be idle; the end that listens waits longer, so that not both ask at once."""
    every_s = contact.link.policy.ask_every_s
    return every_s * LISTENER_WAITS if contact.link.is_listener else every_s


def _dead_at_s(contact: Contact, heard_s: float) -> float:
    """When a link last heard at ``heard_s`` counts as dead though it was never asked."""
    keepalive_s = _ask_every_s(contact)
    return heard_s + keepalive_s + min(UNASKED_KEEPALIVES * keepalive_s, UNASKED_MOST_S) + SILENCE_SLACK_S
