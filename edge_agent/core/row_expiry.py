"""Rows that expire while only the store knows them: the oldest of each queue are looked at now and then.

A window holds what is served first. Of flows served newest first, and of dormant ones, the oldest rows would come into
memory last of all, long after they expired, and fill the store until then.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.core.bundle import BundleRecord, FlowOrder
from edge_agent.core.dormant import DormantQueue
from edge_agent.core.effects import Loaded, LoadWindow, Outcome, QueueKey
from edge_agent.core.expiries import expires_s
from edge_agent.core.outputs import Outputs
from edge_agent.core.queue import Queue
from edge_agent.core.window import Windows

ROWS_LOOKED_AT = 64
QUEUES_A_STEP = 16
LEAST_WAIT_S = 10.0
"""A queue whose oldest rows live on is looked at again when the first of them expires, and no sooner than this."""


@dataclass(slots=True)
class RowExpiry:
    """Looks at the oldest rows of a few queues a step; ``end`` takes those that are surely too old."""

    windows: Windows
    outputs: Outputs
    end: Callable[[Queue | DormantQueue, list[BundleRecord]], None]
    _due: list[tuple[float, QueueKey]] = field(default_factory=list)
    _known: set[QueueKey] = field(default_factory=set)

    def step(self, now_s: float) -> None:
        """Find queues that have rows out of sight, and look at those that are due. O(queues)."""
        for key, queue in self.windows.scheduler.queues.items():
            if queue.has_more_stored and queue.order is not FlowOrder.FIFO:
                self._note(key, now_s)
        for known in self.windows.dormant.take_new():
            self._note(known.key, now_s)
        for _ in range(QUEUES_A_STEP):
            if not self._due or self._due[0][0] > now_s:
                return
            self._look(heapq.heappop(self._due)[1])

    def _note(self, key: QueueKey, due_s: float) -> None:
        if key not in self._known:
            self._known.add(key)
            heapq.heappush(self._due, (due_s, key))

    def _find(self, key: QueueKey) -> Queue | DormantQueue | None:
        queue = self.windows.scheduler.queues.get(key)
        if queue is not None:
            return queue if queue.has_more_stored else None
        return self.windows.dormant.get(key)

    def _look(self, key: QueueKey) -> None:
        if self._find(key) is None:
            self._known.discard(key)
            return

        def loaded(outcome: Outcome, now_s: float) -> None:
            queue = self._find(key)
            self._known.discard(key)
            if not isinstance(outcome, Loaded) or queue is None:
                self._note(key, now_s + LEAST_WAIT_S)
                return
            rows = [each for each in outcome.records if not self.windows.is_known(each.id)]
            expired = [each for each in rows if each.is_expired(now_s)]
            if expired:
                self.end(queue, expired)
            is_all = len(expired) == len(rows) == ROWS_LOOKED_AT
            wait_s = min((expires_s(each) for each in rows), default=now_s) - now_s
            self._note(key, now_s if is_all else now_s + max(LEAST_WAIT_S, wait_s))

        self.outputs.effects.append(
            LoadWindow(
                effect_id=self.outputs.new_effect(loaded, is_quiet=True),
                queue=key,
                after=None,
                newest_first=False,
                count=ROWS_LOOKED_AT,
            )
        )
