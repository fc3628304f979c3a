"""The event loop an agent runs on: timers to the microsecond, and a clock that counts through suspend.

asyncio rounds the wait of epoll up to whole milliseconds, so its timers are 0.5 to 1 ms late always (measured: p50
0.9 ms on epoll, 0.1 ms on select()). ``select`` would end at 1,024 descriptors; here it waits for epoll's own
descriptor alone, which keeps both: its microseconds and epoll's numbers.
"""

import asyncio
import select
import selectors
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


def node_clock() -> Callable[[], float]:
    """The monotonic clock of a node, in seconds: CLOCK_BOOTTIME where there is one, because bundles age in suspend."""
    if sys.platform == "linux":
        clock_id = time.CLOCK_BOOTTIME
        return lambda: time.clock_gettime(clock_id)
    else:
        return time.monotonic


if sys.platform == "linux":

    class _FineEpollSelector(selectors.EpollSelector):
        """epoll that wakes up within microseconds of its timeout."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is None or timeout <= 0:
                return super().select(timeout)
            select.select((self.fileno(),), (), (), timeout)
            return super().select(0)

    def _make_selector() -> selectors.BaseSelector:
        return _FineEpollSelector()

else:

    def _make_selector() -> selectors.BaseSelector:
        return selectors.DefaultSelector()


class AgentLoop(asyncio.SelectorEventLoop):
    """A selector loop whose ``time()`` is the node's clock, so that deadlines of core and shell are one scale."""

    def __init__(self) -> None:
        self._node_clock = node_clock()
        super().__init__(_make_selector())

    def time(self) -> float:
        return self._node_clock()


def run(main: Coroutine[Any, Any, ResultT]) -> ResultT:  # Any: what a coroutine yields and is sent is asyncio's
    """The result of ``main``, run to its end on an AgentLoop."""
    with asyncio.Runner(loop_factory=AgentLoop) as runner:
        return runner.run(main)
