"""Bundles this node answers for until the next node does: submit, wait, send again, end.

Accepted follows Persist only; custody ends by the next node's STORED, by expiry, or by a newer bundle of its key.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from edge_agent.core.abandonment import abandonment
from edge_agent.core.admission import FlashAllowance
from edge_agent.core.begun_before import BegunBefore
from edge_agent.core.blocks import Source
from edge_agent.core.bundle import BundleHeader, BundleId, BundleRecord, FlowOrder, Precedence
from edge_agent.core.dormant import DormantQueue
from edge_agent.core.effects import (
    BundleAccepted,
    BundleClosed,
    BundleRefused,
    BundlesForwarded,
    Erase,
    EraseReason,
    Evicted,
    Failed,
    Outcome,
    Persist,
    Restored,
    Staged,
)
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.core.expiries import Expiries
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.outputs import Outputs
from edge_agent.core.payload_cache import PayloadCache
from edge_agent.core.peer import Peer, Reply
from edge_agent.core.queue import Queue
from edge_agent.core.report import NodeSettings, QueueReport
from edge_agent.core.row_expiry import RowExpiry
from edge_agent.core.scheduler import Scheduler
from edge_agent.core.supersession import NO_SUCCESSION, Fate, Succession, fate_of, is_newer
from edge_agent.core.window import Windows

_LATEST, _FIFO = FlowOrder.LATEST, FlowOrder.FIFO  # a member of an enum is slow to look up
_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call
SUBMITTING_MAX = 8192
"""Bundles handed in and not yet on disk; more are refused, which tells a driver to slow down."""


@dataclass(slots=True)
class Custody:
    """All bundles on their way out of this node."""

    settings: NodeSettings
    outputs: Outputs
    restored: Restored
    scheduler: Scheduler
    cache: PayloadCache
    bundles: dict[BundleId, Outgoing] = field(default_factory=dict)
    begun_before: BegunBefore = field(default_factory=BegunBefore)
    _queue_of: dict[BundleId, Queue] = field(default_factory=dict)
    _next_sequences: list[int] = field(default_factory=list)
    _erasing: set[BundleId] = field(default_factory=set)
    """Custody has ended and the store may still show them: a window read now must not bring them back."""
    windows: Windows = field(init=False)
    _row_expiry: RowExpiry = field(init=False)
    _submitting: tuple[dict[int, None], ...] = field(default_factory=lambda: tuple({} for _ in Precedence))
    """By precedence: numbers given out whose Persist is under way, in their order."""
    expiries: Expiries = field(init=False)
    _allowance: FlashAllowance = field(init=False)

    def __post_init__(self) -> None:
        self._next_sequences = list(self.restored.next_sequences)
        self.expiries = Expiries(self.bundles)
        self.windows = Windows(
            window_entries=self.settings.window_entries,
            outputs=self.outputs,
            scheduler=self.scheduler,
            bundles=self.bundles,
            erasing=self._erasing,
            hold=self._hold_loaded,
            let_go=self._let_go,
        )
        self._row_expiry = RowExpiry(self.windows, self.outputs, self._end_expired)
        self._allowance = FlashAllowance(*self.settings.flash_allowance)

    def restore(self, now_s: float) -> None:
        """Take over the counters of the store and ask for the first windows."""
        self.windows.restore(self.restored.queues, now_s)

    def submit(
        self, header: BundleHeader, precedence: Precedence, payload: bytes, now_s: float, staged: Staged | None
    ) -> BundleId:
        """Number a bundle and ask for it to be made durable. Raises RefusedError when too much is under way.

        ``staged``: its payload is in the store already, and ``payload`` empty.
        """
        length = len(payload) if staged is None else staged.payload_bytes
        if sum(map(len, self._submitting)) >= SUBMITTING_MAX:
            raise RefusedError(RefusalReason.STORE_FULL, f"{SUBMITTING_MAX} bundles wait for the disk")
        if not self._allowance.covers(header, precedence, length, now_s):
            precedence = Precedence.IMMEDIATE
            self.outputs.drop("flash_demoted")
        sequence = self._next_sequences[precedence]
        self._next_sequences[precedence] = sequence + 1
        bundle = _new_tuple(BundleId, (self.settings.node_id, self.restored.incarnation, precedence, sequence))
        record = _new_tuple(BundleRecord, (bundle, header, length, now_s, 0.0, 0.0))
        self._submitting[precedence][sequence] = None
        persisted = partial(self._persisted, record, payload if staged is None else None)
        effect_id = self.outputs.new_effect(persisted)
        is_arrival, peer, via = False, "", ()
        self.outputs.effects.append(
            _new_tuple(Persist, (effect_id, bundle, length, record, 0, payload, is_arrival, peer, via, staged))
        )
        return bundle

    def _persisted(self, record: BundleRecord, payload: bytes | None, outcome: Outcome, now_s: float) -> None:
        """What became of a bundle that was submitted."""
        bundle = record.id
        del self._submitting[bundle.precedence][bundle.sequence]
        if isinstance(outcome, Failed):
            self.outputs.events.append(BundleRefused(bundle, outcome.reason, outcome.detail))
            return
        self.outputs.events.append(_new_tuple(BundleAccepted, (bundle,)))
        self.take(record, payload, now_s)

    def settled_below(self, precedence: Precedence) -> int:
        """Each number below was stored or refused: none is on its way to the disk."""
        return next(iter(self._submitting[precedence]), self._next_sequences[precedence])

    def take(self, record: BundleRecord, payload: bytes | None, now_s: float) -> None:
        """A bundle is durable here and waits for the next node."""
        windows = self.windows
        queue = windows.queue_for(record)
        if queue is None:
            return
        windows.note_in(queue, record)
        if windows.is_known(record.id):
            return  # a window that was read between its commit and the word of it has brought it
        older = queue.latest.get(record.header.key) if queue.order is _LATEST else None
        succession = self._supersede(queue, older, record, now_s) if older is not None else NO_SUCCESSION
        is_live = queue.is_live(record, now_s)
        must_wait = queue.has_more_stored and (queue.order is _FIFO or not is_live)
        is_full = queue.held >= windows.share_entries
        if (must_wait or is_full) and not windows.make_room(queue):
            queue.leave(record.id)
            return
        if payload is not None:
            self.cache.put(record.id, payload)
        outgoing = self._hold(queue, record)
        outgoing.follows_abandoned = succession.is_promised
        outgoing.is_past = not is_live
        lane, older = queue.lane_of(outgoing), succession.place_of
        if older is not None and older.is_queued:
            lane.put_in_place_of(older, outgoing)
        else:
            lane.put(outgoing)
        self.scheduler.wake(lane)

    def _hold(self, queue: Queue, record: BundleRecord) -> Outgoing:
        """Take a bundle into memory; its place among the others is the caller's matter."""
        bundle = record.id
        is_own = bundle.source == self.settings.node_id and bundle.incarnation == self.restored.incarnation
        source = None if is_own else Source(bundle.source, bundle.incarnation)
        outgoing = Outgoing(record, record.header.pack(), source)
        self.bundles[bundle] = outgoing
        self._queue_of[bundle] = queue
        queue.held += 1
        if queue.order is _LATEST:
            queue.latest[record.header.key] = outgoing
        self.expiries.add(record)
        self.begun_before.apply_to(outgoing)
        return outgoing

    def _hold_loaded(self, queue: Queue, record: BundleRecord, payload: bytes | None, now_s: float) -> None:
        """A row comes into memory; an older one of a ``latest`` flow ends at once."""
        if queue.order is _LATEST:
            known = queue.latest.get(record.header.key)
            if known is not None and is_newer(known.record, record):
                self.end_rows(queue, [record], EraseReason.SUPERSEDED)
                return
            if known is not None:
                self._supersede(queue, known, record, now_s)
        if payload is not None:
            self.cache.put(record.id, payload)
        self._put_loaded(queue, record)

    def _put_loaded(self, queue: Queue, record: BundleRecord) -> None:
        outgoing = self._hold(queue, record)
        queue.put_loaded(outgoing)
        self.scheduler.wake(queue.lane_of(outgoing))

    def _let_go(self, queue: Queue, outgoing: Outgoing) -> None:
        outgoing.is_closed = True
        queue.held -= 1
        bundle = outgoing.record.id
        del self.bundles[bundle]
        del self._queue_of[bundle]
        if queue.latest and queue.latest.get(outgoing.record.header.key) is outgoing:
            del queue.latest[outgoing.record.header.key]
        if outgoing.peer is not None:
            outgoing.peer.opened_bytes -= outgoing.charged_bytes
        self.cache.forget(bundle, outgoing.record.payload_bytes)

    def _supersede(self, queue: Queue, older: Outgoing, record: BundleRecord, now_s: float) -> Succession:
        """A bundle of a ``latest`` flow is here: the older of its key goes, or is finished first."""
        if not is_newer(record, older.record):
            return NO_SUCCESSION
        fate = fate_of(older, record, len(older.header))
        if fate is Fate.FINISHED:
            if older.unsent:
                queue.put_before_all(older)
            return NO_SUCCESSION
        if fate is Fate.ABANDONED:
            self.abandon(older, now_s)
        self.end(older, EraseReason.SUPERSEDED)
        is_promised = older.follows_abandoned or fate is Fate.ABANDONED
        return Succession(older if older.is_queued else None, is_promised)

    def abandon(self, outgoing: Outgoing, now_s: float) -> None:
        """The rest of a bundle begun will not come: its next node may forget the part."""
        peer = outgoing.peer
        self.outputs.drop("abandoned")
        if peer is not None:
            peer.owe(Reply(abandonment(outgoing), is_urgent=False), now_s)

    def forward(self, bundles: Iterable[BundleId], peer: Peer) -> None:
        """``peer`` has taken custody of these, each named once, as far as they are here."""
        runs: dict[tuple[str, ...], list[BundleId]] = {}
        left: dict[Queue, list[Outgoing]] = {}
        for bundle in bundles:
            outgoing = self.bundles.get(bundle)
            if outgoing is not None:
                left.setdefault(self._queue_of[bundle], []).append(outgoing)
                runs.setdefault(outgoing.via, []).append(bundle)
        for queue, outgoings in left.items():
            self._release(queue, outgoings)
        for via, ended in runs.items():
            self.outputs.events.append(BundlesForwarded(tuple(ended), peer.node_id, via))
            self._erase(ended, EraseReason.FORWARDED, peer.node_id, via)

    def may_be_stored(self, bundle: BundleId) -> bool:
        """Whether the store may hold a bundle that is not in memory. O(queues)."""
        rows_of = {key for key, queue in self.scheduler.queues.items() if queue.bundles > queue.held}
        rows_of.update(queue.key for queue in self.windows.dormant)
        return bundle not in self._erasing and any(
            key.source == bundle.source and key.precedence == bundle.precedence for key in rows_of
        )

    def reach(self, record: BundleRecord) -> Outgoing | None:
        """A bundle of which only the row was known, in memory from now on; None when its custody has ended."""
        bundle = record.id
        if bundle not in self.bundles and bundle not in self._erasing:
            queue = self.windows.queue_for(record, must_wake=True)
            if queue is not None:
                self._put_loaded(queue, record)
        return self.bundles.get(bundle)

    def promote(self, outgoing: Outgoing) -> bool:
        """It goes before all that waits in its class and origin."""
        queue = self._queue_of[outgoing.record.id]
        if outgoing.is_past and outgoing.is_queued:
            queue.lane_of(outgoing).entries.remove(outgoing)
            outgoing.is_queued = False
        outgoing.is_past = False
        queue.put_before_all(outgoing)
        self.scheduler.wake(queue)
        self.scheduler.turn_to(queue)
        if outgoing.unsent:
            self.cache.read(outgoing, outgoing.unsent.first_range()[0], outgoing.span)  # so that no link passes it by
        return True

    def queue_of(self, bundle: BundleId) -> Queue | None:
        """The queue of a bundle in memory."""
        return self._queue_of.get(bundle)

    def evict(self, given_up: Iterable[Evicted]) -> None:
        """The store has given up these rows for room; whoever waits for one of them is told."""
        for bundle, key, payload_bytes, reason in given_up:
            queue, dormant = self.scheduler.queues.get(key), self.windows.dormant.get(key)
            if bundle in self._erasing:  # custody ended here before the store's word came
                continue
            if dormant is not None:
                self.windows.dormant.note_out(dormant, payload_bytes)
            elif queue is not None:
                outgoing = self.bundles.get(bundle)
                if outgoing is not None:
                    self._let_go(queue, outgoing)
                if queue.is_loading:
                    queue.ended_while_loading.add(bundle)
                self.windows.note_out(queue, payload_bytes)
            self.outputs.drop(f"evicted_{reason.value}" if reason is not EraseReason.EVICTED else "evicted")
            self.outputs.events.append(BundleClosed(bundle, reason))

    def end(self, outgoing: Outgoing, reason: EraseReason) -> None:
        """End custody without forwarding."""
        bundle = outgoing.record.id
        self.outputs.events.append(BundleClosed(bundle, reason))
        self._release(self._queue_of[bundle], [outgoing])
        self._erase([bundle], reason)

    def _release(self, queue: Queue, outgoings: list[Outgoing]) -> None:
        """Bundles of one queue, each once, leave memory for good; their rows are still there."""
        for outgoing in outgoings:
            self._let_go(queue, outgoing)
        ended = [outgoing.record.id for outgoing in outgoings]
        self._erasing.update(ended)
        if queue.is_loading:
            queue.ended_while_loading.update(ended)
        self.windows.note_out(queue, sum([outgoing.record.payload_bytes for outgoing in outgoings]), len(ended))
        if queue.has_more_stored:
            self.windows.refill(queue)

    def _erase(self, bundles: list[BundleId], reason: EraseReason, peer: str = "", via: tuple[str, ...] = ()) -> None:
        """The rows of bundles that ended together go together."""

        def erased(outcome: Outcome, now_s: float) -> None:
            self._erasing.difference_update(bundles)
            if isinstance(outcome, Failed):  # the rows stay; the next node knows the bundles and will say so again
                self.outputs.drop("erase_failed", len(bundles))

        effect_id = self.outputs.new_effect(erased, is_quiet=True)
        self.outputs.effects.append(Erase(effect_id, tuple(bundles), reason, peer, via))

    def put_back(self, outgoing: Outgoing, start: int, end: int, now_s: float) -> None:
        """[start, end) of a bundle did not arrive on its link: send it again, or not if it is no longer wanted."""
        if outgoing.is_closed or not outgoing.put_back(start, end):
            return
        queue = self._queue_of[outgoing.record.id]
        newer = queue.latest.get(outgoing.record.header.key) if queue.order is _LATEST else None
        if newer is not None and newer is not outgoing and outgoing.unsent.total == outgoing.span:
            newer.follows_abandoned = newer.follows_abandoned or outgoing.follows_abandoned
            self.end(outgoing, EraseReason.SUPERSEDED)
            return
        self.wake(outgoing)

    def wake(self, outgoing: Outgoing) -> None:
        """A bundle begun has bytes to send again."""
        lane = self._queue_of[outgoing.record.id].lane_of(outgoing)
        lane.put_first(outgoing)
        self.scheduler.wake(lane)

    def expire(self, now_s: float) -> None:
        """End custody of what is surely too old."""
        ended = []
        for outgoing in self.expiries.take_due(now_s):
            bundle = outgoing.record.id
            self.outputs.events.append(BundleClosed(bundle, EraseReason.EXPIRED))
            self._release(self._queue_of[bundle], [outgoing])
            ended.append(bundle)
        if ended:
            self._erase(ended, EraseReason.EXPIRED)

    def _end_expired(self, queue: Queue | DormantQueue, records: list[BundleRecord]) -> None:
        self.end_rows(queue, records, EraseReason.EXPIRED)

    def end_rows(self, queue: Queue | DormantQueue, records: list[BundleRecord], reason: EraseReason) -> None:
        """End custody of bundles of which only the rows are here."""
        for record in records:
            self.outputs.events.append(BundleClosed(record.id, reason))
            self._erasing.add(record.id)
            if isinstance(queue, Queue):
                if queue.is_loading:
                    queue.ended_while_loading.add(record.id)
                self.windows.note_out(queue, record.payload_bytes)
            else:
                self.windows.dormant.note_out(queue, record.payload_bytes)
        self._erase([record.id for record in records], reason)

    def sweep(self, now_s: float) -> None:
        """Once a second: windows that could not be read, the budget of memory, and rows that expire out of sight."""
        self.windows.sweep(now_s)
        self._row_expiry.step(now_s)

    def reports(self, now_s: float) -> tuple[QueueReport, ...]:
        """What waits, by queue."""
        return tuple(
            QueueReport(
                queue=queue.key,
                bundles=queue.bundles,
                payload_bytes=queue.payload_bytes,
                oldest_age_s=self._oldest_age_s(queue, now_s),
            )
            for queue in self.scheduler.queues.values()
            if queue.bundles > 0
        ) + tuple(
            QueueReport(
                queue=queue.key,
                bundles=queue.bundles,
                payload_bytes=queue.payload_bytes,
                oldest_age_s=now_s - queue.oldest_as_of_s,
            )
            for queue in self.windows.dormant
        )

    @staticmethod
    def _oldest_age_s(queue: Queue, now_s: float) -> float:
        """Exact for what is in memory at the queue's ends; of rows, what was known when they were put there."""
        ends = [end for lane in queue.lanes() if lane.entries for end in (lane.entries[0], lane.entries[-1])]
        ages = [outgoing.record.age_low_at(now_s) for outgoing in ends]
        if queue.has_more_stored or not ages:
            ages.append(now_s - queue.oldest_as_of_s)
        return max(ages)
