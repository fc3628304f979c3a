"""What one driver is given to run with: the doors of ``ports.DriverPort``, onto the node."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from edge_agent.config import DriverConfig
from edge_agent.core.bundle import BundleId, Origin, Precedence
from edge_agent.core.errors import RefusedError
from edge_agent.core.link_hint import LinkHint
from edge_agent.link_port import DropCounter
from edge_agent.ports import Reading
from edge_agent.sender import BundleSender
from edge_agent.telemetry.payloads import READING_FLOW, ReadingBatch

BATCH_S = 2.0  # a reading waits at most this long for company, and only while an earlier batch is still on its way
BATCH_ROWS = 64
PENDING_ROWS = 4096  # as many as one batch may hold; older readings go first when a store takes nothing

log = structlog.get_logger()


class DevicePort:
    """One device between its driver and the node. ``reason`` is empty while the device works."""

    def __init__(
        self,
        config: DriverConfig,
        sender: BundleSender,
        *,
        data_dir: Path,
        granted_bytes: Callable[[str, float], int],
        hint_link: Callable[[str, str, LinkHint], bool],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.name = config.name
        self.flow = config.flow or READING_FLOW
        self.data_dir = data_dir
        self.config = config
        self.reason = "starting"
        self.drops = DropCounter(loop, device=config.name)
        self._sender = sender
        self._granted_bytes = granted_bytes
        self._hint_link = hint_link
        self._pending: list[Reading] = []
        self._news = asyncio.Event()
        self._is_full = asyncio.Event()
        self._last_batch: BundleId | None = None

    async def publish(self, readings: Sequence[Reading]) -> None:
        self._pending.extend(readings)
        excess = len(self._pending) - PENDING_ROWS
        if excess > 0:
            del self._pending[:excess]
            self.drops.count("readings_overrun", excess)
        self._news.set()
        if len(self._pending) >= BATCH_ROWS:
            self._is_full.set()

    def settled(self, bundle: BundleId) -> None:
        """A bundle of this node no longer waits here; the next reading need not wait for company."""
        if bundle == self._last_batch:
            self._last_batch = None
            self._is_full.set()

    async def flush_readings(self) -> None:
        """Send published readings for ever: alone while links are idle, in batches while an earlier one still waits."""
        while True:
            await self._news.wait()
            if self._last_batch is not None:
                try:
                    async with asyncio.timeout(BATCH_S):
                        await self._is_full.wait()
                except TimeoutError:
                    pass  # nothing more came: what there is leaves now
            rows, self._pending = self._pending[:PENDING_ROWS], []
            self._news.clear()
            self._is_full.clear()
            await self._send(rows)

    async def _send(self, readings: Sequence[Reading]) -> None:
        told_ms = self._sender.told_ms
        rows = [[each.series, each.value, each.unit, each.quality, told_ms(each.captured_at_ms)] for each in readings]
        newest_ms = max((told_ms(each.captured_at_ms) for each in readings), default=self.now_ms())
        batch = ReadingBatch(device=self.name, rows=rows)
        try:
            self._last_batch = await self._sender.submit(batch.pack(), flow=self.flow, created_at_ms=newest_ms)
        except RefusedError as error:
            self.drops.count("readings_refused", len(rows))
            if self.reason != str(error):
                self.unavailable(str(error))

    async def submit(
        self,
        payload: bytes,
        *,
        flow: str | None = None,
        precedence: Precedence | None = None,
        lifetime_s: float | None = None,
        key: str = "",
        captured_at_ms: int | None = None,
        origin: Origin = Origin.MACHINE,
    ) -> BundleId:
        return await self._sender.submit(
            payload,
            flow=flow or self.flow,
            precedence=precedence,
            lifetime_s=lifetime_s,
            key=key,
            created_at_ms=captured_at_ms,
            origin=origin,
        )

    def available(self) -> None:
        if self.reason:
            log.info("device_available", device=self.name)
        self.reason = ""

    def unavailable(self, reason: str) -> None:
        if reason != self.reason:
            log.warning("device_unavailable", device=self.name, reason=reason)
        self.reason = reason

    def granted_bytes(self, interval_s: float) -> int:
        return self._granted_bytes(self.flow, interval_s)

    def hint_link(self, link: str, hint: LinkHint) -> None:
        if not self._hint_link(link, self.name, hint):
            self.drops.count("link_hint_refused")

    def now_ms(self) -> int:
        return self._sender.now_ms()

    def count(self, name: str, number: int = 1) -> None:
        self.drops.count(name, number)
