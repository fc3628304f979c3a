"""When silence means something: suspicion (urgent data moves), conviction (everything moves), and the way back.

The peer's acknowledgements are the signal while data is in flight; an idle link is asked every ``keepalive_s``. One
probe is all that time alone ever sends on a link in doubt.
"""

import math

from edge_agent.core.bundle import Precedence
from edge_agent.core.contact import CONVICTION_PTOS, CONVICTION_SLACK_S, Contact
from edge_agent.core.contacts import Contacts
from edge_agent.core.custody import Custody
from edge_agent.core.effects import LinkState

PROBE_WAIT_MAX_S = 2.0
PROBE_WAIT_MAX_METERED_S = 30.0
PROBES_BEFORE_HELLO = 3
"""Unanswered probes of a dead link after which the peer may have forgotten the session: start over."""
SILENCE_KEEPALIVES = 3
SILENCE_SLACK_S = 5.0
LOSS_DEGRADED_RATIO = 0.1
LOSS_UP_RATIO = 0.05
LATENESS_COUNTED_S = 0.02


class Liveness:
    """Timers of all contacts."""

    def __init__(self, contacts: Contacts, custody: Custody) -> None:
        self.contacts = contacts
        self.custody = custody

    def next_deadline_s(self, contact: Contact) -> float:
        """The earliest moment at which ``on_timeout`` or a frame of this contact is due; infinity for never."""
        if contact.link.limits is None:
            return math.inf
        deadline_s = self._idle_s(contact) if contact.is_usable else math.inf
        session = contact.session
        if not contact.link.is_busy:
            deadline_s = min(deadline_s, self._sending_s(contact))
        if session is None:
            return deadline_s
        if session.arq.in_flight and contact.state is not LinkState.DOWN:
            deadline_s = min(deadline_s, self._doubt_s(contact))
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
        if session is not None and session.is_keyed and session.space.ack_due_s is not None:
            due_s = min(due_s, max(session.space.ack_due_s, pacer_s))
        return due_s

    @staticmethod
    def _doubt_s(contact: Contact) -> float:
        """When suspicion, its next probe, or conviction is due."""
        patience_s = contact.patience_s()
        probe_s = patience_s * (1 << contact.pto_backoff)
        return contact.progress_s + min(probe_s, CONVICTION_PTOS * patience_s + CONVICTION_SLACK_S)

    @staticmethod
    def _idle_s(contact: Contact) -> float:
        """When an idle link is asked whether it is still there, or one that should have been heard counts as dead."""
        if contact.limits.is_burst:
            return math.inf
        heard_s = contact.last_heard_s if contact.last_heard_s is not None else contact.since_s
        keepalive_s = contact.link.policy.keepalive_s
        if contact.probe_at_s is None and contact.session is not None and not contact.session.arq.in_flight:
            return heard_s + keepalive_s
        return heard_s + SILENCE_KEEPALIVES * keepalive_s + SILENCE_SLACK_S

    def on_timeout(self, contact: Contact, now_s: float, late_s: float) -> None:
        """Do what is due. ``late_s`` is how late this process itself was: time nobody may be blamed for."""
        if contact.link.limits is None:
            return
        if late_s > LATENESS_COUNTED_S:
            contact.progress_s += late_s
        session = contact.session
        if session is not None and session.arq.in_flight and contact.state is not LinkState.DOWN:
            for frame in session.arq.find_overdue(now_s, contact.reorder_s()):
                self.contacts.give_up(contact, [frame], now_s)
            if session.arq.in_flight:
                self._doubt(contact, now_s)
        if contact.is_usable and self._idle_s(contact) <= now_s:
            self._ask(contact, now_s)
        if not contact.is_usable and contact.probe_at_s is not None and contact.probe_at_s <= now_s:
            self._knock(contact, now_s)

    def _doubt(self, contact: Contact, now_s: float) -> None:
        if now_s >= contact.progress_s + contact.conviction_s():
            self.contacts.convict(contact, "no answer", now_s)
            contact.probe_at_s = now_s
            return
        if now_s >= contact.progress_s + contact.patience_s() * (1 << contact.pto_backoff):
            contact.pto_backoff = min(contact.pto_backoff + 1, 6)
            contact.probe_at_s = now_s
            if not contact.is_suspect:
                contact.is_suspect = True
                self.custody.scheduler.version += 1
                self._move_urgent(contact, now_s)

    def _move_urgent(self, contact: Contact, now_s: float) -> None:
        """Urgent bytes in flight may go on another live link at once; the copies here stay in flight."""
        session = contact.session
        contacts = contact.peer.contacts if contact.peer is not None else ()
        if session is None or not any(each.is_usable for each in contacts if each is not contact):
            return
        for frame in session.arq.in_flight.values():
            for outgoing, start, end in frame.pieces:
                if outgoing.precedence <= Precedence.IMMEDIATE:
                    self.custody.put_back(outgoing, start, end, now_s)

    def _ask(self, contact: Contact, now_s: float) -> None:
        heard_s = contact.last_heard_s if contact.last_heard_s is not None else contact.since_s
        if now_s >= heard_s + SILENCE_KEEPALIVES * contact.link.policy.keepalive_s + SILENCE_SLACK_S:
            self.contacts.convict(contact, "silent", now_s)
            contact.probe_at_s = now_s
            return
        contact.probe_at_s = now_s

    def _knock(self, contact: Contact, now_s: float) -> None:
        """A link not in use sends a probe or HELLO now; arrange the next one, further apart each time."""
        metered = bool(contact.link.policy.metered)
        longest_s = PROBE_WAIT_MAX_METERED_S if metered else max(PROBE_WAIT_MAX_S, 2 * contact.pto_s())
        session = contact.session
        contact.unanswered_probes += 1
        is_forgotten = session is not None and session.is_keyed and contact.unanswered_probes > PROBES_BEFORE_HELLO
        is_spent = session is not None and session.open is not None and session.open.is_spent
        if contact.limits.is_narrow and not is_spent:  # its one peer speaks first, too, or says that it forgot
            is_forgotten = False
        if not contact.link.is_listener and (is_forgotten or (session is None and contact.candidate is None)):
            contact.unanswered_probes = 0
            self.contacts.begin_session(contact, now_s)
        contact.probe_at_s = now_s
        contact.probe_wait_s = min(longest_s, contact.probe_wait_s * 1.5)

    def after_send(self, contact: Contact, now_s: float) -> None:
        """A probe or HELLO has left on a link not in use: when to try again."""
        if not contact.is_usable and contact.probe_at_s is None and contact.link.limits is not None:
            contact.probe_at_s = now_s + max(contact.probe_wait_s, contact.pto_s() if contact.session is None else 0.0)

    def heard(self, contact: Contact, now_s: float) -> None:
        """An authentic frame came on this contact."""
        contact.last_heard_s = now_s
        if contact.peer is not None:
            contact.peer.last_heard_s = now_s
        if not contact.is_usable and contact.state is LinkState.DOWN and contact.session and contact.session.is_keyed:
            waits_s = contact.probe_at_s - now_s if contact.probe_at_s is not None else float("inf")
            if waits_s > 0.15 and now_s - contact.last_sent_s > 0.15:  # ask at once, but not for every frame heard
                contact.probe_at_s = now_s

    def progressed(self, contact: Contact, highest_new: int, now_s: float) -> None:
        """An acknowledgement told of ``highest_new``: the way there and the way back both work."""
        contact.progress_s = now_s
        contact.pto_backoff = 0
        contact.unanswered_probes = 0
        if contact.is_suspect:
            contact.is_suspect = False
            self.custody.scheduler.version += 1
        if highest_new >= contact.convicted_number:
            self.bring_up(contact, now_s)
        self._judge_loss(contact, now_s)

    def bring_up(self, contact: Contact, now_s: float) -> None:
        """The link works both ways."""
        if not contact.is_usable:
            contact.probe_at_s = None
            contact.probe_wait_s = 0.5
            contact.change_state(LinkState.UP, "answers", now_s, self.custody.outputs)
            self.custody.scheduler.version += 1

    def _judge_loss(self, contact: Contact, now_s: float) -> None:
        if contact.loss_ratio > LOSS_DEGRADED_RATIO and contact.state is LinkState.UP:
            contact.change_state(LinkState.DEGRADED, "loss", now_s, self.custody.outputs)
        elif contact.loss_ratio < LOSS_UP_RATIO and contact.state is LinkState.DEGRADED:
            contact.change_state(LinkState.UP, "loss over", now_s, self.custody.outputs)
