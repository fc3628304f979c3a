"""Where a kit is and when it was last in contact, also after a restart."""

import asyncio

import structlog

from edge_agent.core.bundle import MalformedError
from edge_agent.kit_memory import KitMemory, LastKnown, PageMemoryError
from edge_agent.kit_rows import command_heard_ms
from edge_agent.page_parts import PageParts
from edge_agent.telemetry.payloads import Position

KEPT_EVERY_S = 60.0  # a kill loses at most that much of them, and a memory card is spared
STOP_LONGEST_S = 0.5

log = structlog.get_logger()


class Bearings:
    """The newest of what this process knows and what an earlier one wrote down."""

    def __init__(self, parts: PageParts, memory: KitMemory) -> None:
        self._parts = parts
        self._memory = memory
        self._last = memory.get(LastKnown, "last") or LastKnown(id="last")

    async def run(self) -> None:
        """Write them down once in a while and when the agent stops, for ever."""
        try:
            while True:
                await asyncio.sleep(KEPT_EVERY_S)
                await self.keep()
        finally:
            async with asyncio.timeout(STOP_LONGEST_S):
                await self.keep()

    async def keep(self) -> None:
        """Write them down if they changed."""
        now_ms = self._parts.now_ms()
        position, heard_ms = self.position(), self.command_heard_ms(now_ms)
        packed = None if position is None else position.pack()
        if (packed, heard_ms) == (self._last.position, self._last.command_heard_ms):
            return
        self._last = LastKnown(id="last", at_ms=now_ms, position=packed, command_heard_ms=heard_ms)
        try:
            await self._memory.keep(self._last)
        except PageMemoryError as error:  # known to this process all the same
            log.error("page_memory_failed", kind=LastKnown.KIND, reason=str(error))

    def position(self) -> Position | None:
        """Where this kit was last."""
        if self._parts.news.position is not None or self._last.position is None:
            return self._parts.news.position
        try:
            return Position.unpack(self._last.position)
        except MalformedError:
            return None  # of another version

    def packed_position(self) -> bytes | None:
        """As short as it may be and still say where, when and how well."""
        place = self.position()
        if place is None:
            return None
        return Position(
            lat_deg=place.lat_deg,
            lon_deg=place.lon_deg,
            captured_at_ms=place.captured_at_ms,
            accuracy_m=place.accuracy_m,
            system=place.system,
            datum=place.datum,
        ).pack()

    def command_heard_ms(self, now_ms: int) -> int | None:
        """When a command post was last heard; None: never."""
        heard_ms = command_heard_ms(self._parts.runner.report(), self._parts.now_s(), now_ms)
        return self._last.command_heard_ms if heard_ms is None else heard_ms
