"""Node: the only door to the core. Time and outcomes come in as arguments, everything else goes out as data.

On the way of a bundle out: ``submit`` -> Persist -> ``complete`` -> Custody -> Scheduler -> FrameBuilder ->
``poll_transmit``. In: ``receive`` -> Contacts (keys, replay) -> Arrivals -> Persist -> ``complete`` -> BundleDelivered.
"""

import math
from collections.abc import Hashable, Iterable
from random import Random

from edge_agent.core.adoption import CARRIER, Adoption
from edge_agent.core.arq import SentFrame
from edge_agent.core.arrivals import REPLY_WAIT_S, Arrivals
from edge_agent.core.blocks import Window
from edge_agent.core.budgets import WORDS, Spent
from edge_agent.core.builder import FrameBuilder
from edge_agent.core.bundle import BundleHeader, BundleId, BundleRecord, MalformedError, Precedence
from edge_agent.core.burst_intake import BurstIntake
from edge_agent.core.burst_sender import BurstSender
from edge_agent.core.closed_numbers import ClosedKey
from edge_agent.core.closing import Closing
from edge_agent.core.contact import Contact
from edge_agent.core.contacts import Contacts
from edge_agent.core.copies import is_also_elsewhere
from edge_agent.core.custody import Custody
from edge_agent.core.effects import Effect, EraseReason, Event, Evicted, Outcome, Restored, Staged, Transmit
from edge_agent.core.envelope import put_unknown, read_envelope
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.core.explain import explain
from edge_agent.core.frame import LinkKeys
from edge_agent.core.hint_intake import HintIntake
from edge_agent.core.intake import Intake
from edge_agent.core.intervals import IntervalSet
from edge_agent.core.interventions import Interventions
from edge_agent.core.limits import LinkLimits, LinkPolicy
from edge_agent.core.link_hint import LinkHint
from edge_agent.core.link_reports import link_reports, take_seconds
from edge_agent.core.live import LiveSender
from edge_agent.core.live_arrivals import LiveArrivals
from edge_agent.core.liveness import Liveness
from edge_agent.core.outputs import Outputs
from edge_agent.core.pacing import PACER_SLACK_S
from edge_agent.core.payload_cache import PayloadCache
from edge_agent.core.peer import STALE_S
from edge_agent.core.report import Explanation, NodeReport, NodeSettings
from edge_agent.core.scheduler import Scheduler
from edge_agent.core.session import Session
from edge_agent.core.tally import LinkSeconds
from edge_agent.core.verdicts import Verdicts
from edge_agent.core.words import owing_elsewhere

SWEEP_S = 1.0
CUSTODY_WAIT_S = 5.0
"""All bytes acknowledged and no word of custody for this long (and 8 RTT): send what is not stored again."""
BUSY_WAITS = 6
"""So many times as long while the peer speaks of other bundles that it stored: a slow disk is no lost word."""
ALARM_OPEN_S = 60.0
REKEY_ASK_FRAMES = 1024
TOGETHER_S, TOGETHER_LEAST_BPS = 0.001, 100e6
"""On a link that carries ten frames and more in so long, those of such a time leave in one turn, for a turn has its
cost. The pacer lets them catch up (``pacing.CATCH_UP_S``), and a FLASH that comes meanwhile finds the link open."""
PROGRESS_S = 0.001
"""A deadline that is due and still cannot be met is looked at again after this long, never at once."""
UNDESCRIBED = LinkPolicy()
_FLASH = Precedence.FLASH  # a member of an enum is slow to look up


_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call


class Node:
    """One node: bundles in custody, bundles arriving, and the contacts between."""

    def __init__(self, settings: NodeSettings, keys: LinkKeys, rng: Random, restored: Restored, now_s: float) -> None:
        self.settings = settings
        self.outputs = Outputs()
        self.scheduler = Scheduler(settings.class_share_ratio, settings.reserve_ratio, settings.is_protected)
        self.cache = PayloadCache(self.outputs, self.scheduler, settings.payload_cache_bytes)
        self.custody = Custody(settings, self.outputs, restored, self.scheduler, self.cache)
        self.arrivals = Arrivals(settings, self.outputs, restored)
        self.contacts = Contacts(
            settings, keys, rng, self.outputs, restored.incarnation, restored.session_number, self._give_back
        )
        self.builder = FrameBuilder(self.contacts, self.custody, self.arrivals)
        self.liveness = Liveness(self.contacts, self.custody)
        self.live = LiveSender(settings, self.outputs, self.scheduler, restored.incarnation, restored.session_number)
        self.bursts = BurstSender(self.contacts, self.custody, self.outputs, restored)
        self.verdicts = Verdicts(self.contacts, self.custody, self.outputs)
        burst_intake = BurstIntake(self.contacts, self.arrivals, self.verdicts, self.outputs, restored)
        closing = Closing(self.custody, self.arrivals, self.outputs)
        self.intake = Intake(
            self.contacts,
            self.custody,
            self.arrivals,
            self.liveness,
            burst_intake,
            self.verdicts,
            closing,
            LiveArrivals(settings, self.outputs, self.live),
            self.outputs,
            rng,
        )
        self._hint_intake = HintIntake(self.contacts, self.liveness)
        self._interventions = Interventions(self.custody, self.outputs)
        self._adoption = Adoption(self.arrivals, self.outputs, restored.incarnation)
        self._turn = 0
        self._sweep_s = now_s + SWEEP_S
        self._wakeup_s: float | None = None
        self._handled_s = now_s
        self._polled_s = now_s
        self._is_wakeup_known = False
        self.custody.restore(now_s)

    def submit(
        self, header: BundleHeader, precedence: Precedence, payload: bytes, now_s: float, staged: Staged | None = None
    ) -> BundleId:
        """Take a bundle; it is accepted when its Persist completes (BundleAccepted), a live one never. RefusedError."""
        if header.lifetime_s <= 0:
            raise RefusedError(RefusalReason.EXPIRED, f"lifetime_s {header.lifetime_s} is not above 0")
        if self.settings.is_destination(header.destination):
            raise RefusedError(RefusalReason.NO_ROUTE, f"destination {header.destination!r} is this node itself")
        if header.deadline_s > 0:
            self._is_wakeup_known = False
            return self.live.submit(header, precedence, payload, now_s)
        if precedence is _FLASH:
            self.builder.alarm_until_s = now_s + ALARM_OPEN_S
        return self.custody.submit(header, precedence, payload, now_s, staged)

    def cancel(self, bundle: BundleId, now_s: float) -> bool:
        """Withdraw a bundle that has not left as a whole; False when it is too late. BundleClosed tells of the end."""
        self._is_wakeup_known = False
        return self._interventions.cancel(bundle, now_s)

    def settle(self, bundle: BundleId, now_s: float, reason: EraseReason = EraseReason.SETTLED) -> bool:
        """A receipt says that the destination has (or will not take) a bundle: end the copy that waits here.

        False when none waits here; BundleClosed tells that it is done.
        """
        self._is_wakeup_known = False
        return self._interventions.settle(bundle, reason, now_s)

    def adopt(self, record: BundleRecord, payload: bytes, now_s: float, giver: str = CARRIER) -> None:
        """Take a whole bundle that was carried or copied here by ``giver``; BundleAdopted tells what came of it."""
        self._is_wakeup_known = False
        self._adoption.adopt(record, payload, now_s, giver)

    def share(self, bundles: Iterable[BundleId], now_s: float, *, is_on: bool) -> None:
        """A second post has these ``bundles`` too; ``is_on``: whether word of custody waits for that from now on."""
        self._is_wakeup_known = False
        self.arrivals.withheld.release(bundles, now_s)
        if is_on is not self.arrivals.withheld.is_on:
            self.arrivals.withheld.turn(now_s, is_on=is_on)

    def closed_numbers(self) -> dict[ClosedKey, IntervalSet]:
        """Numbers of bundles that are or were here, as far as that is in memory; not to be changed."""
        return self.arrivals.closed.ranges()

    def promote(self, bundle: BundleId, now_s: float) -> bool:
        """Pull a waiting bundle forward: it goes next of its class. False when it does not wait here."""
        self._is_wakeup_known = False
        return self._interventions.promote(bundle, now_s)

    def explain(self, bundle: BundleId, now_s: float, header: BundleHeader | None = None) -> Explanation | None:
        """Why a bundle waits and when it should be gone; None when it is not in memory and no ``header`` is given.

        With the header of a bundle that is a row only, its place is a guess: behind all that its queue holds.
        """
        return explain(self.contacts, self.custody, bundle, header, now_s)

    def evict(self, given_up: Iterable[Evicted], now_s: float) -> None:
        """The store has given up these waiting bundles for room (BundleClosed, counted as ``evicted``)."""
        self._is_wakeup_known = False
        self.custody.evict(given_up)

    def receive(self, link: str, source: Hashable | None, frame: bytes, now_s: float) -> None:
        """Take one frame as it came from ``source`` on ``link``; whatever it holds is used or counted."""
        self._is_wakeup_known = False
        known = self.contacts.links.get(link)
        if known is None or known.limits is None:
            self.outputs.drop("frame_link_unknown")
            return
        try:
            envelope = read_envelope(frame)
        except MalformedError:
            self.outputs.drop("frame_malformed")
            return
        self.intake.take(known, source, envelope, frame, now_s)
        while self.arrivals.relayed:
            record, payload = self.arrivals.relayed.popleft()
            self.custody.take(record, payload, now_s)

    def set_link(
        self,
        link: str,
        now_s: float,
        *,
        limits: LinkLimits | None,
        policy: LinkPolicy = UNDESCRIBED,
        is_listener: bool = False,
        reason: str = "",
    ) -> None:
        """A link's transport came up, changed, or (``limits`` None) is gone for ``reason``."""
        self._touch()
        if limits is None:
            self._sweep_s = now_s  # as after a conviction
        self.contacts.set_link(link, limits, policy, is_listener, reason, now_s)

    def set_terms(self, link: str, now_s: float, *, policy: LinkPolicy, spent: Spent | None = None) -> None:
        """What a link may carry from now on, and what its day and month have cost so far (None: as counted here)."""
        known = self.contacts.links.get(link)
        if known is None:
            return
        if spent is not None:
            known.meter.tell(spent)
        known.set_policy(policy)
        self.scheduler.version += 1
        self._touch()

    def spent_columns(self) -> dict[str, tuple[int, ...]]:
        """Wire bytes of each link since this start: one column a precedence, then words, then what was received."""
        return {link.name: tuple(link.meter.columns) for link in self.contacts.links.values()}

    def set_busy(self, link: str, now_s: float, *, is_busy: bool) -> None:
        """Whether the medium of a link takes no frame for now: another's turn, a modem that pushes back.

        Nothing is offered to it until it says that it is free again; a link that stays busy dies as a silent one does.
        """
        known = self.contacts.links.get(link)
        if known is None or known.is_busy is is_busy:
            return
        known.is_busy = is_busy
        self.scheduler.version += 1
        for contact in known.contacts:
            contact.deadline_s = None
            contact.was_drained = True  # the pause was the medium's, and says nothing of its rate
        self._is_wakeup_known = False

    def hint_link(self, link: str, source: str, hint: LinkHint, now_s: float) -> bool:
        """What the device ``source`` says of a link; False (counted) for an unknown link or impossible values."""
        is_taken = self._hint_intake.take(link, source, hint, now_s)
        if not is_taken:
            self.outputs.drop("link_hint_refused")
            return False
        self.scheduler.version += 1
        self._is_wakeup_known = False
        return True

    def set_free_bytes(self, free_bytes: int) -> None:
        """What the store can still take; bounds what peers may open."""
        room = self.arrivals.room
        room.free_bytes = free_bytes
        if room.has_turned_away:
            for peer in self.contacts.peers.values():
                if room.has_grown(peer):
                    peer.told_window_bytes = -1
                    room.has_turned_away = self._is_wakeup_known = False
                    self.scheduler.version += 1

    def set_store_rate(self, store_bps: float) -> None:
        """How many payload bits a second the store syncs; two seconds of it are shared among the peers that send."""
        self.arrivals.room.set_store_rate(store_bps)

    def handle_timeout(self, now_s: float) -> None:
        """Do what is due by ``now_s``. Call after every frame that had arrived by then was handed in."""
        late_s = max(0.0, now_s - self._wakeup_s) if self._wakeup_s is not None else 0.0
        self._is_wakeup_known = False
        self._handled_s = now_s
        for contact in self.contacts.contacts:
            due_s = contact.deadline_s
            if due_s is None:
                due_s = contact.deadline_s = self.liveness.next_deadline_s(contact)
            if due_s <= now_s:
                was_usable = contact.is_usable
                self.liveness.on_timeout(contact, now_s, late_s)
                contact.deadline_s = None
                if contact.link.meter.paused_until_s <= now_s and contact.link.resume_after_pause(now_s):
                    self.scheduler.version += 1
                if was_usable and not contact.is_usable:
                    self._sweep_s = now_s  # what was begun towards a dead node may go to another one at once
        self.custody.expire(now_s)
        self.live.expire(now_s)
        if now_s >= self._sweep_s:
            self._sweep_s = now_s + SWEEP_S
            self._sweep(now_s)

    def _sweep(self, now_s: float) -> None:
        self.scheduler.version += 1  # what was refused for a while, or left to a faster link, is looked at again
        self.arrivals.sweep(now_s)
        self.intake.live.sweep(now_s)
        self.verdicts.leave_the_dead(now_s)
        for contact in self.contacts.contacts:
            if contact.size.begins_trial(now_s):
                contact.mtu_bytes = contact.limits.mtu_bytes
        self.custody.sweep(now_s)
        if self.custody.bundles:
            self.liveness.hurry(now_s)
        for link in self.contacts.links.values():
            if link.meter.turn_day(now_s):
                link.review()
        for peer in self.contacts.peers.values():
            peer.is_stale = now_s - peer.word_s > STALE_S
            if self.arrivals.room.has_grown(peer):
                peer.told_window_bytes = -1  # a peer may be waiting for it
        for outgoing in list(self.custody.bundles.values()):
            if outgoing.unsent or outgoing.peer is None or outgoing.acked.total < outgoing.span:
                continue
            waits_s = CUSTODY_WAIT_S + 8 * max(
                (each.rtt.smoothed_s or 0.0 for each in outgoing.peer.contacts),
                default=0.0,
            )
            if now_s - outgoing.peer.word_s <= CUSTODY_WAIT_S:
                waits_s *= BUSY_WAITS  # it stores what came before
            if now_s - outgoing.last_sent_s > waits_s:
                self.outputs.drop("custody_overdue")
                outgoing.forget_unstored()
                if not outgoing.unsent:  # all is stored and only the word of it is missing: one byte asks
                    outgoing.acked.remove(0, 1)
                    outgoing.stored.remove(0, 1)
                    outgoing.unsent.add(0, 1)
                outgoing.last_sent_s = now_s
                self.custody.wake(outgoing)

    def complete(self, effect_id: int, outcome: Outcome, now_s: float) -> None:
        """Close an effect with what came of it."""
        if not self.outputs.complete(effect_id, outcome, now_s):
            return
        self._is_wakeup_known = False
        while self.arrivals.relayed:
            record, payload = self.arrivals.relayed.popleft()
            self.custody.take(record, payload, now_s)

    def poll_transmit(self, now_s: float) -> Transmit | None:
        """The next frame to send now, or None. Contacts take turns."""
        if self.intake.hints:
            return self._take_hint()
        if self._is_wakeup_known and (self._wakeup_s is None or now_s < self._wakeup_s):
            return None  # asked before, and nothing that matters has happened since
        self._polled_s = now_s
        contacts = self.contacts.contacts
        if self.scheduler.has_urgent:
            self.scheduler.has_urgent = False
            for contact in contacts:
                contact.controller.end_rest(contact.pacer, now_s)
        turn, open_s, scheduler = self._turn, now_s + PACER_SLACK_S, self.scheduler
        for contact in contacts[turn:] + contacts[:turn] if turn else contacts:
            probe_s, session, peer = contact.probe_at_s, contact.session, contact.peer
            if contact.candidate is None and (
                contact.pacer.next_s > open_s
                or (
                    contact.idle_version == scheduler.version
                    and not contact.echo_tokens
                    and (probe_s is None or probe_s > now_s)
                    and now_s >= contact.pulse.owed_until_s
                    and (peer is None or peer.replies_due_s is None)
                    and (session is None or (due_s := session.space.ack_due_s) is None or due_s > now_s)
                )
            ):
                continue  # most: the pacer holds them, or ``_may_have_work`` would say no
            link = contact.link
            if link.limits is None or link.is_busy:
                continue
            if contact.candidate is not None:
                answer = self.builder.answer(contact, now_s)
                if answer is not None:
                    self._touch(contact)
                    return Transmit(link.name, *answer)
                if contact.pacer.next_s > open_s:
                    continue
            if not self._may_have_work(contact, now_s):
                continue
            frame = (self.bursts if contact.limits.is_burst else self.builder).build(contact, now_s)
            if frame is None:
                contact.idle_version = self.scheduler.version
                continue
            if not contact.is_usable:
                self.liveness.after_send(contact, now_s)
            if contact.mtu_bytes > contact.size.limit_bytes and len(frame) > contact.size.limit_bytes:
                contact.mtu_bytes = contact.size.limit_bytes  # the trial has left
            if self.builder.is_done and not contact.limits.is_burst:
                contact.idle_version = self.scheduler.version
            session = contact.session
            if session is not None and session.arq.next_number >= self.settings.rekey_frames:
                self._renew_keys(contact, session, now_s)
            self._turn = contacts.index(contact)
            self._is_wakeup_known, contact.deadline_s = False, None
            precedence = None if contact.limits.is_burst else self.builder.frame_class
            return _new_tuple(Transmit, (link.name, contact.address, frame, precedence))
        return None

    def _take_hint(self) -> Transmit:
        """A frame outside every contact's account; the link's budget pays for it all the same."""
        hint = self.intake.hints.pop()
        link = self.contacts.links[hint.link]
        overhead_bytes = link.limits.overhead_bytes if link.limits is not None else 0
        link.spend(WORDS, len(hint.frame) + overhead_bytes, self._polled_s)
        return hint

    def _renew_keys(self, contact: Contact, session: Session, now_s: float) -> None:
        """A key that has sealed very many frames is replaced; the side that answered asks the other one to begin."""
        if not contact.link.is_listener:
            self.contacts.begin_session(contact, now_s)
        elif session.arq.next_number % REKEY_ASK_FRAMES == 0:
            hint = put_unknown(session.receive_id, not contact.limits.is_narrow)
            self.intake.hints.append(Transmit(contact.link.name, contact.address, hint))

    def _touch(self, contact: Contact | None = None) -> None:
        """Deadlines of one contact, or of all, have to be found anew."""
        self._is_wakeup_known = False
        for each in self.contacts.contacts if contact is None else (contact,):
            each.deadline_s = None

    def _may_have_work(self, contact: Contact, now_s: float) -> bool:
        """Cheap test before building: did anything change since this contact last found nothing to send?"""
        if contact.echo_tokens:
            return True
        if contact.idle_version != self.scheduler.version:
            if self._may_be_wanted(contact):
                return True
            contact.idle_version = self.scheduler.version
        probe_s, session, peer = contact.probe_at_s, contact.session, contact.peer
        if probe_s is not None and probe_s <= now_s:
            return True
        ack_due_s = session.space.ack_due_s if session is not None else None
        if ack_due_s is not None and ack_due_s <= now_s:
            return True
        if now_s < contact.pulse.owed_until_s and contact.pulse.is_due(contact.last_sent_s, now_s):
            return True
        if peer is None or peer.replies_due_s is None:  # as with most: no call for these
            return False
        return self.builder.words.owes_replies(contact, now_s)

    def _may_be_wanted(self, contact: Contact) -> bool:
        """Whether a change concerns this contact: a bundle waits that it may carry, or its peer waits for a word."""
        peer, session, scheduler = contact.peer, contact.session, self.scheduler
        if peer is None or session is None or not session.is_keyed:
            return True
        if session.repairs is not None and session.repairs.is_owing:
            return True
        waiting = scheduler.waiting(peer.destinations)
        if not contact.link.carries.isdisjoint(waiting) or (scheduler.has_history and Precedence.DEFERRED in waiting):
            return True
        return contact.is_usable and (peer.told_window_bytes < 0 or bool(owing_elsewhere(contact)))

    def poll_effect(self) -> Effect | None:
        """The next effect to carry out, in order, or None."""
        return self.outputs.effects.popleft() if self.outputs.effects else None

    def poll_event(self) -> Event | None:
        """The next event, or None."""
        return self.outputs.events.popleft() if self.outputs.events else None

    def next_wakeup(self) -> float | None:
        """When ``handle_timeout`` and ``poll_transmit`` should be called again if nothing else happens."""
        if not self._is_wakeup_known:
            self._wakeup_s = self._find_wakeup()
            if self._wakeup_s is not None and self._wakeup_s <= self._handled_s:
                self._wakeup_s = self._handled_s + PROGRESS_S
            self._is_wakeup_known = True
        return self._wakeup_s

    def _find_wakeup(self) -> float | None:
        wakeup_s = math.inf
        version = self.scheduler.version
        for contact in self.contacts.contacts:
            due_s = contact.deadline_s
            if due_s is None:
                due_s = contact.deadline_s = self.liveness.next_deadline_s(contact)
            if due_s < wakeup_s:
                wakeup_s = due_s
            peer, is_idle = contact.peer, contact.idle_version == version
            if is_idle and (peer is None or peer.replies_due_s is None):
                continue  # most: nothing waits for their pacer
            session, link = contact.session, contact.link
            if (session is None and not contact.limits.is_burst) or link.limits is None or link.is_busy:
                continue
            pacer_s = contact.pacer.next_s
            if not is_idle and pacer_s < wakeup_s:  # it was waiting for the pacer
                if self._may_be_wanted(contact):
                    is_fast = contact.controller.rate_bps >= TOGETHER_LEAST_BPS
                    wakeup_s = min(wakeup_s, pacer_s + TOGETHER_S) if is_fast else pacer_s
                else:
                    contact.idle_version = version
            due_s = peer.replies_due_s if peer is not None else None
            if due_s is None or (session is not None and not session.is_keyed) or max(due_s, pacer_s) >= wakeup_s:
                continue
            if self.builder.words.owes_replies(contact, max(due_s, self._polled_s)):
                wakeup_s = max(due_s, pacer_s)
        due_s = self.custody.expiries.next_s()
        if due_s is not None and due_s < wakeup_s:
            wakeup_s = due_s
        live_s = self.live.next_s()
        if live_s is not None and live_s < wakeup_s:
            wakeup_s = live_s
        if self._sweep_s < wakeup_s and (
            self.custody.bundles or self.custody.windows.is_owing or self.arrivals.has_partials()
        ):
            wakeup_s = self._sweep_s
        return wakeup_s if wakeup_s != math.inf else None

    def _give_back(self, contact: Contact, frames: list[SentFrame], now_s: float) -> None:
        """Frames were lost on ``contact``: what they carried is owed again, but for copies of a dead link."""
        contact.tally.note_lost(frames)
        if contact.size.note_lost(frames, now_s):
            contact.mtu_bytes = contact.size.limit_bytes
            self.outputs.drop("frame_size_lowered")
        link = contact.link
        for frame in frames:
            for outgoing, start, end in frame.pieces:
                if outgoing.copies is not None:
                    outgoing.note_lost(link.name, link.policy.shares_fate, start, end)
                    if not contact.is_usable and is_also_elsewhere(contact, outgoing, start, end):
                        continue
                self.custody.put_back(outgoing, start, end, now_s)
            peer = contact.peer
            if peer is None:
                continue
            for reply in frame.replies:
                if isinstance(reply.block, Window):
                    peer.told_window_bytes = -1
                else:
                    peer.owe(reply, now_s + REPLY_WAIT_S)

    def take_seconds(self, before_s: float) -> list[LinkSeconds]:
        """What links did in the seconds that ended at ``before_s`` or sooner; each count is given once."""
        return take_seconds(self.contacts, before_s)

    def report(self, now_s: float) -> NodeReport:
        """What this node can say of itself."""
        return NodeReport(
            links=link_reports(self.contacts, now_s),
            queues=self.custody.reports(now_s),
            last_heard_s={
                peer.node_id: peer.last_heard_s
                for peer in self.contacts.peers.values()
                if peer.last_heard_s is not None
            },
            peer_roles={peer.node_id: peer.role for peer in self.contacts.peers.values()},
            counters=dict(self.outputs.drops),
        )
