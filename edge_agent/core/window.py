"""Which waiting bundles are in memory: one budget over all queues with work, read from the store page by page.

A queue reads on from where it stopped (``Queue.after``); a bundle that stays in the store this side of that place makes
it begin again from the end that is served first (docs/adr/0013-pages-and-one-budget.md).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from edge_agent.core.bundle import BundleId, BundleRecord, FlowOrder, Origin, Precedence
from edge_agent.core.dormant import Dormant, DormantQueue, rank_of
from edge_agent.core.effects import Loaded, LoadWindow, Outcome, QueueCount, QueueKey
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.outputs import Outputs
from edge_agent.core.queue import LIVE_S, Queue
from edge_agent.core.scheduler import Scheduler

WINDOW_ENTRIES_MAX = 16_384
"""Bundles in memory, all queues together: about 2 kB each with their headers."""
LEAST_ENTRIES = 16
"""What every queue may hold, however many there are."""
QUEUES_MAX = 1024
"""Queues with a window; of the others only counts are kept."""
LOAD_STEP = 512
"""Rows added by one LoadWindow: read within a fragment's time, and enough to keep a fast link busy."""
_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call
_FIFO = FlowOrder.FIFO  # a member of an enum is slow to look up
ROTATED = 16
"""Queues a second that make room for dormant ones of the same or a higher rank."""


@dataclass(slots=True)
class Windows:
    """Reads rows into memory and lets entries go back to being rows.

    ``bundles`` and ``erasing`` belong to custody; ``hold`` takes a record into memory, ``let_go`` one out of it.
    """

    window_entries: int
    outputs: Outputs
    scheduler: Scheduler
    bundles: dict[BundleId, Outgoing]
    erasing: set[BundleId]
    hold: Callable[[Queue, BundleRecord, bytes | None, float], None]
    let_go: Callable[[Queue, Outgoing], None]
    dormant: Dormant = field(default_factory=Dormant)
    share_entries: int = field(init=False)
    """What one queue may hold now."""
    is_owing: bool = False
    """A window could not be read: the next sweep asks again."""
    _busy: int = 0

    def __post_init__(self) -> None:
        self.share_entries = self.window_entries

    def restore(self, counts: tuple[QueueCount, ...], now_s: float) -> None:
        """Take over the counters of the store; the queues that are served first get their windows."""
        for count in counts:
            self.dormant.add(
                DormantQueue(
                    key=count.queue,
                    order=count.header.order,
                    origin=count.header.origin,
                    bundles=count.bundles,
                    payload_bytes=count.payload_bytes,
                    oldest_as_of_s=now_s - count.oldest_age_s,
                )
            )
        self._wake_some()

    def note_in(self, queue: Queue, record: BundleRecord) -> None:
        """One bundle more waits in a queue."""
        if queue.bundles == 0:
            queue.oldest_as_of_s = record.as_of_s - record.age_low_s
            self._busy += 1
            self._share()
        queue.bundles += 1
        queue.payload_bytes += record.payload_bytes

    def note_out(self, queue: Queue, payload_bytes: int, bundles: int = 1) -> None:
        """So many bundles less, of ``payload_bytes`` together."""
        queue.bundles -= bundles
        queue.payload_bytes -= payload_bytes
        queue.was_served = True
        if queue.bundles == 0:
            self._busy -= 1
            self._share()
            if self.dormant:
                self._drop_empty()
                self._wake_some()

    def is_known(self, bundle: BundleId) -> bool:
        """Whether a bundle is in memory, or ended and its row not yet gone."""
        return bundle in self.bundles or bundle in self.erasing

    def _share(self) -> None:
        share = WINDOW_ENTRIES_MAX // self._busy if self._busy else self.window_entries
        self.share_entries = max(min(LEAST_ENTRIES, self.window_entries), min(self.window_entries, share))

    def queue_for(self, record: BundleRecord, *, must_wake: bool = False) -> Queue | None:
        """The queue of a bundle, with a window; None when it sleeps on, and the bundle is one more row of it."""
        header = record.header
        key = _new_tuple(QueueKey, (header.destination, record.id.precedence, record.id.source, header.flow))
        queue = self.scheduler.queues.get(key)
        if queue is not None:
            return queue
        known = self.dormant.get(key) if self.dormant else None
        rank = rank_of(key.precedence, header.origin)
        if must_wake or self._has_slot(rank):
            if known is None:
                return self.scheduler.queue(key, header.order, header.origin)
            queue = self._wake(known)
            self.load(queue)
            return queue
        if known is None:
            born_s = record.as_of_s - record.age_low_s
            known = DormantQueue(key, header.order, header.origin, 0, 0, born_s)
            self.dormant.add(known)
        known.bundles += 1
        known.payload_bytes += record.payload_bytes
        return None

    def _has_slot(self, rank: int) -> bool:
        """Whether one more queue of this rank may have a window; an urgent one puts another to sleep for it."""
        queues = self.scheduler.queues
        if len(queues) < QUEUES_MAX:
            return True
        if self._busy < len(queues):
            self._drop_empty()
            if len(queues) < QUEUES_MAX:
                return True
        if rank >= rank_of(Precedence.ROUTINE, Origin.PERSON):
            return False  # routine flows without number do not each look for one that sleeps in their place
        lower = sorted((each for each in queues.values() if _rank(each) > rank), key=_rank, reverse=True)
        return any(self._put_to_sleep(each) for each in lower)

    def _drop_empty(self) -> None:
        queues = self.scheduler.queues
        for queue in list(queues.values()):
            if queue.bundles == 0 and queue.held == 0 and not queue.is_loading:
                del queues[queue.key]

    def _put_to_sleep(self, queue: Queue) -> bool:
        """Let a queue be rows only; False while something of it is under way."""
        waiting = [each for lane in queue.lanes() for each in lane.entries if not each.is_closed]
        if queue.is_loading or len(waiting) != queue.held or any(each.is_begun or each.via for each in waiting):
            return False
        for lane in queue.lanes():
            lane.entries.clear()
        for each in waiting:
            self.let_go(queue, each)
        self._busy -= 1
        del self.scheduler.queues[queue.key]
        self.dormant.add(
            DormantQueue(queue.key, queue.order, queue.origin, queue.bundles, queue.payload_bytes, queue.oldest_as_of_s)
        )
        self._share()
        return True

    def _wake(self, known: DormantQueue) -> Queue:
        """A dormant queue has a window again; whoever calls asks for it."""
        self.dormant.remove(known)
        queue = self.scheduler.queue(known.key, known.order, known.origin)
        queue.bundles, queue.payload_bytes = known.bundles, known.payload_bytes
        queue.oldest_as_of_s = known.oldest_as_of_s
        queue.has_more_stored = True
        self._busy += 1
        self._share()
        return queue

    def _wake_some(self) -> None:
        """As many dormant queues as there is room for; they are read once all of them share the budget."""
        woken = []
        while len(self.scheduler.queues) < QUEUES_MAX and (known := self.dormant.next()) is not None:
            woken.append(self._wake(known))
        for queue in woken:
            self.load(queue)

    def sweep(self, now_s: float) -> None:
        """Ask again for windows that could not be read, keep the budget, and let dormant queues have their turn."""
        self.is_owing = False
        queues = self.scheduler.queues
        for queue in list(queues.values()):
            if queue.past is not None and len(queue.entries) > 1:
                self._age(queue, queue.past, now_s)
            if queue.held > self.share_entries:
                for lane in reversed(queue.lanes()):
                    self._trim(queue, lane)
            self.refill(queue)
        following = self.dormant.next()
        if following is None:
            return
        rank, rotated = rank_of(following.key.precedence, following.origin), 0
        for queue in list(islice(queues.values(), QUEUES_MAX)):
            if rotated == ROTATED:
                break
            if queue.bundles and queue.was_served and _rank(queue) >= rank:
                rotated += self._put_to_sleep(queue)
        self._drop_empty()
        self._wake_some()

    def _age(self, queue: Queue, past: Queue, now_s: float) -> None:
        """What is live no more joins the history behind it, or goes back to the rows that come before it there."""
        entries = queue.entries
        while len(entries) > 1 and not entries[-1].is_begun and not entries[-1].via:
            oldest = entries[-1]
            if not oldest.is_closed and oldest.record.age_low_at(now_s) < LIVE_S:
                return
            entries.pop().is_queued = False
            if oldest.is_closed:
                continue
            if queue.has_more_stored or queue.is_loading:
                queue.leave(oldest.record.id)
                self.let_go(queue, oldest)
            else:
                oldest.is_past = oldest.is_queued = True
                past.entries.append(oldest)
                self.scheduler.wake(past)

    def _trim(self, queue: Queue, lane: Queue) -> None:
        """The entries served last are rows again, down to the queue's share."""
        entries = lane.entries
        while entries and queue.held > self.share_entries and not (entries[-1].is_begun or entries[-1].via):
            last = entries.pop()
            last.is_queued = False
            if not last.is_closed:
                queue.leave(last.record.id)
                self.let_go(queue, last)

    def make_room(self, queue: Queue) -> bool:
        """For newest-first flows the oldest bundle not begun goes back to being a row only."""
        entries = queue.entries
        if queue.past is not None and queue.past.entries:
            entries = queue.past.entries
        while entries and entries[-1].is_closed:
            entries.pop().is_queued = False
        if queue.order is _FIFO or not entries or entries[-1].is_begun or entries[-1].via:
            return False
        oldest = entries.pop()
        queue.leave(oldest.record.id)
        self.let_go(queue, oldest)
        return True

    def refill(self, queue: Queue) -> None:
        """Read on when half is left in memory: on a fast link most of that is on its way and waits for custody."""
        if queue.has_more_stored and queue.held < max(1, self.share_entries // 2):
            self.load(queue)

    def load(self, queue: Queue) -> None:
        """Ask the store for the next page of a queue, or for the first again."""
        if queue.is_loading:
            return
        queue.is_loading = True
        queue.begin_reading()

        def loaded(outcome: Outcome, now_s: float) -> None:
            queue.is_loading = False
            if isinstance(outcome, Loaded):
                self._take(queue, outcome, now_s)
            else:
                self.outputs.drop("load_window_failed")
                self.is_owing = True
                queue.read_to(queue.after)

        room = min(LOAD_STEP, max(1, self.share_entries - queue.held))
        skipped = len(self.erasing) + (queue.held if queue.after is None else 0)
        self.outputs.effects.append(
            LoadWindow(
                effect_id=self.outputs.new_effect(loaded),
                queue=queue.key,
                after=queue.after,
                newest_first=queue.reads_newest_first,
                count=room + skipped,
            )
        )

    def _take(self, queue: Queue, window: Loaded, now_s: float) -> None:
        if self.scheduler.queues.get(queue.key) is not queue:
            return  # it was empty, and is gone
        records, ended = window.records, queue.ended_while_loading
        payloads = window.payloads or (None,) * len(records)
        reads_live, has_history = queue.past is not None and not queue.is_live_read, False
        has_moved = bool(records) and records[-1].id != queue.after
        queue.read_to(records[-1].id if records else queue.after)
        for record, payload in zip(records, payloads, strict=True):
            if self.is_known(record.id) or record.id in ended:
                continue
            if reads_live and not queue.is_live(record, now_s):
                has_history = True
                break
            self.hold(queue, record, payload, now_s)
        # A bundle left in the store while the window was being read may be missing from it.
        queue.has_more_stored = window.has_more or queue.was_left_stored
        if reads_live and (has_history or not window.has_more):
            queue.end_live_reading(has_history=has_history)
        if has_moved or queue.was_left_stored:
            self.refill(queue)
        elif window.has_more:
            self.outputs.drop("load_window_stuck")


def _rank(queue: Queue) -> int:
    return rank_of(queue.key.precedence, queue.origin)
