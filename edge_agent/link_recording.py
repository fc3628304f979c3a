"""Keeps the raw seconds of all links while the agent runs: looks at the end of each second, writes every other one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from edge_agent.core.tally import LinkSeconds
from edge_agent.link_seconds import SETTLE_S, SecondCollector, Taken
from edge_agent.link_seconds_files import ClockOffset, SecondFiles, next_offset

WRITE_S = 2
"""A killed process loses SETTLE_S + WRITE_S + 1 seconds at most: those become unobserved."""
TIDY_S = 3600.0
LATE_S = 0.002
"""So long after the full second, that a timer which fires early does not see the one before."""
ROWS_MAX = 20_000
"""Kept while the disk takes nothing; then the oldest go, and become unobserved."""

log = structlog.get_logger()


class LinkRecording:
    """One agent's links. ``wall``: UTC seconds, and whether that clock was ever set. ``apart`` runs what blocks."""

    def __init__(
        self,
        files: SecondFiles,
        take: Callable[[float], Sequence[LinkSeconds]],
        wall: Callable[[], tuple[float, bool]],
        apart: Callable[[Callable[[], None]], Awaitable[None]] = asyncio.to_thread,
    ) -> None:
        self._files = files
        self._take = take
        self._wall = wall
        self._apart = apart
        self._collector = SecondCollector()
        self._rows: list[Taken] = []
        self._clock: ClockOffset | None = None
        self._tidied_s = float("-inf")
        self._is_refused = False

    async def run(self) -> None:
        """Look for ever; what is there when it ends is written."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                now_s = loop.time()
                await asyncio.sleep(int(now_s) + 1 - now_s + LATE_S)
                now_s = loop.time()
                self._look(now_s, now_s - SETTLE_S)
                if int(now_s) % WRITE_S == 0 and (self._rows or now_s - self._tidied_s > TIDY_S):
                    rows, self._rows = self._rows, []
                    await self._apart(partial(self._write, rows, now_s, self._set_clock(now_s)))
        finally:
            now_s = loop.time()
            self._look(now_s, now_s + 1)
            self._write(self._rows, now_s, self._set_clock(now_s))

    def _look(self, now_s: float, before_s: float) -> None:
        self._rows += self._collector.look(now_s, self._take(before_s))
        del self._rows[:-ROWS_MAX]

    def _set_clock(self, now_s: float) -> ClockOffset:
        wall_s, is_set = self._wall()
        self._clock = next_offset(self._clock, now_s, wall_s, is_set=is_set)
        return self._clock

    def _write(self, rows: list[Taken], now_s: float, clock: ClockOffset) -> None:
        """Blocks. A disk that refuses costs the report seconds, and nobody else anything."""
        try:
            self._files.write(rows, clock)
            if now_s - self._tidied_s > TIDY_S:
                self._files.tidy(now_s + clock.offset_s)
                self._tidied_s = now_s
        except OSError as error:
            if not self._is_refused:
                log.warning("link_seconds_unwritten", reason=str(error), rows=len(rows))
            self._is_refused = True
        else:
            self._is_refused = False
