"""Notices that the wall clock was set, jumped or fell back to 1970, writes it down and says so once.

CLOCK_REALTIME is compared with CLOCK_BOOTTIME once a second; a timerfd with TFD_TIMER_CANCEL_ON_SET would tell sooner,
but Python 3.11 has none, and nothing here hangs on the second.
"""

import asyncio

import structlog

from edge_agent.disk.store import Disk
from edge_agent.disk.types import ClockState

LOOK_S = 1.0

log = structlog.get_logger()


class ClockWatch:
    """Watches the clock for a store, which knows what its stamps are worth."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._settings = disk.ages.clock_state().settings

    async def run(self) -> None:
        """Look for ever."""
        if not self._disk.ages.clock_state().is_set:
            log.warning("clock_not_set")
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Have a change written down, by any commit, and say it."""
        if not self._disk.ages.is_clock_even():
            await self._disk.flush()
        state = self._disk.ages.clock_state()
        if state.settings != self._settings:
            self._settings = state.settings
            log.warning(_event(state), step_s=state.step_s)


def _event(state: ClockState) -> str:
    if not state.is_set:
        return "clock_lost"
    return "clock_set" if state.step_s is None else "clock_stepped"
