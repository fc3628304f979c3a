"""How late this machine's timers are while a real-time row is measured."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_TICK_S = 0.005


@dataclass(slots=True)
class Lateness:
    """Lateness of every tick so far."""

    late_s: list[float] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        """99th percentile; 0 before the first tick."""
        if not self.late_s:
            return 0.0
        return 1e3 * sorted(self.late_s)[min(len(self.late_s) - 1, int(len(self.late_s) * 0.99))]


@asynccontextmanager
async def watch_lateness() -> AsyncIterator[Lateness]:
    """Ticks beside a measurement, in its own loop, so that a loop kept busy counts as late too.

    async with watch_lateness() as lateness:
        ...
    Figure(value=..., late_p99_ms=lateness.p99_ms)
    """
    lateness = Lateness()
    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(_tick(lateness), name="lateness probe")
        try:
            yield lateness
        finally:
            ticking.cancel()


async def _tick(lateness: Lateness) -> None:
    while True:
        due_s = time.monotonic() + _TICK_S
        await asyncio.sleep(_TICK_S)
        lateness.late_s.append(max(0.0, time.monotonic() - due_s))
