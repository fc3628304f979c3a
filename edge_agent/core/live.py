"""Perishable bundles on their way out: same scheduler and links as all others, no store, no custody, no second life.

A live bundle stands in a queue of its flow until its deadline. What was lost is sent again while it may still come in
time; after the deadline nothing of it leaves. It is never accepted and never closed: it arrives, or it is counted.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from edge_agent.core.blocks import Source
from edge_agent.core.bundle import BundleHeader, BundleId, BundleRecord, FlowOrder, Precedence
from edge_agent.core.effects import QueueKey
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.outputs import Outputs
from edge_agent.core.queue import Queue
from edge_agent.core.report import NodeSettings
from edge_agent.core.scheduler import Scheduler

LIVE_MAX_BYTES = 65_536
"""Of one live bundle: a frame of video of 1 Mbit/s at 25 a second is 5 kB, its first one ten times that."""
HELD_MAX, HELD_MAX_BYTES = 4096, 8 << 20
"""Live bundles in memory before their deadline; beyond it the one that is due first goes."""
LINGER_S = 1.0
"""So long the last of a flow may stay in memory: a wake-up for each would be fifty a second."""
FLOWS_MAX = 256
DEADLINE_MAX_S = 10.0
"""What may come later than that is no live bundle: it can wait in a store."""
LIVE_BIT = 41
"""Numbers of live bundles have this bit, so that they are no numbers of stored ones; below it are eleven bits of the
start of this process and thirty that count."""
START_BITS, COUNT_BITS = 11, 30


@dataclass(slots=True, eq=False)
class LiveBundle(Outgoing):
    """One live bundle: its payload is here and nowhere else."""

    is_live: ClassVar[bool] = True
    payload: bytes = b""
    due_s: float = 0.0
    """From when on nothing of it leaves."""
    deadline_s: float = 0.0
    wake: "Callable[[LiveBundle], None] | None" = None

    def __post_init__(self) -> None:
        Outgoing.__post_init__(self)
        self.is_large = False

    @property
    def charged_bytes(self) -> int:
        """Nothing: a receiver does not store it."""
        return 0

    def put_back(self, start: int, end: int) -> bool:
        """[start, end) was lost: it goes again before its deadline. False, for no store holds it."""
        if Outgoing.put_back(self, start, end) and self.wake is not None:
            self.wake(self)
        return False


@dataclass(slots=True)
class LiveSender:
    """All live bundles of this node that wait or are under way."""

    settings: NodeSettings
    outputs: Outputs
    scheduler: Scheduler
    incarnation: int
    session_number: int
    held_bytes: int = 0
    _count: int = 0
    _queues: dict[QueueKey, Queue] = field(default_factory=dict)
    _due: list[tuple[float, int, LiveBundle]] = field(default_factory=list)
    """A heap: soonest deadline first."""

    def submit(self, header: BundleHeader, precedence: Precedence, payload: bytes, now_s: float) -> BundleId:
        """Number a live bundle and queue it. Raises RefusedError for what cannot be one."""
        if precedence is Precedence.FLASH:
            raise RefusedError(RefusalReason.MALFORMED, "a call for help is stored: FLASH has no deadline_s")
        if not header.deadline_s <= DEADLINE_MAX_S:
            detail = f"deadline_s {header.deadline_s} is above {DEADLINE_MAX_S}: such a bundle can be stored"
            raise RefusedError(RefusalReason.MALFORMED, detail)
        if len(payload) > LIVE_MAX_BYTES:
            detail = f"{len(payload)} bytes of a live bundle are more than {LIVE_MAX_BYTES}"
            raise RefusedError(RefusalReason.TOO_LARGE, detail)
        start = self.session_number & (1 << START_BITS) - 1
        sequence = 1 << LIVE_BIT | start << COUNT_BITS | self._count & (1 << COUNT_BITS) - 1
        bundle = BundleId(self.settings.node_id, self.incarnation, precedence, sequence)
        if not self.put(BundleRecord(bundle, header, len(payload), now_s), payload, now_s):
            raise RefusedError(RefusalReason.WINDOW_CLOSED, f"{FLOWS_MAX} live flows have bundles waiting")
        return bundle

    def put(self, record: BundleRecord, payload: bytes, now_s: float) -> bool:
        """Queue a live bundle, ours or one on its way through; False when too many flows have some."""
        bundle, header = record.id, record.header
        queue = self._queue(QueueKey(header.destination, bundle.precedence, bundle.source, header.flow), header)
        if queue is None:
            return False
        self.expire(now_s)
        self._count += 1
        is_own = bundle.source == self.settings.node_id and bundle.incarnation == self.incarnation
        outgoing = LiveBundle(record, header.pack(), None if is_own else Source(bundle.source, bundle.incarnation))
        outgoing.payload, outgoing.deadline_s, outgoing.wake = payload, header.deadline_s, self._wake
        outgoing.due_s = record.as_of_s - record.age_low_s + header.deadline_s
        heapq.heappush(self._due, (outgoing.due_s, self._count, outgoing))
        self.held_bytes += len(payload)
        queue.put(outgoing)
        self.scheduler.wake(queue)
        while len(self._due) > HELD_MAX or self.held_bytes > HELD_MAX_BYTES:
            self._end_first("live_overflow")
        return True

    def _queue(self, key: QueueKey, header: BundleHeader) -> Queue | None:
        queue = self._queues.get(key)
        if queue is None:
            if len(self._queues) >= FLOWS_MAX:
                self._queues = {each: kept for each, kept in self._queues.items() if kept.first_waiting() is not None}
                if len(self._queues) >= FLOWS_MAX:
                    self.outputs.drop("live_flows")
                    return None
            queue = self._queues[key] = Queue(key, FlowOrder.FIFO, header.origin)
            queue.is_protected = self.settings.is_protected(key.flow)
            queue.holds_reserve = True
        return queue

    def _wake(self, outgoing: LiveBundle) -> None:
        """Bytes of it were lost."""
        key = outgoing.record.id
        header = outgoing.record.header
        queue = self._queue(QueueKey(header.destination, key.precedence, key.source, header.flow), header)
        if queue is not None and not outgoing.is_closed:
            queue.put_first(outgoing)
            self.scheduler.wake(queue)

    def expire(self, now_s: float) -> None:
        """End what is too old. O(log) each."""
        while self._due and self._due[0][0] <= now_s:
            self._end_first("live_expired")

    def _end_first(self, name: str) -> None:
        outgoing = heapq.heappop(self._due)[2]
        outgoing.is_closed = True
        self.held_bytes -= len(outgoing.payload)
        if outgoing.unsent.total:
            self.outputs.drop(name)

    def next_s(self) -> float | None:
        """When ``expire`` should have been called; None for never. Links look at deadlines themselves."""
        return self._due[0][0] + LINGER_S if self._due else None
