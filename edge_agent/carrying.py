"""Export and import of a running agent: what waits here into a file for a stick, and such a file into the store."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import structlog

from edge_agent.api_messages import Message
from edge_agent.carry import PAYLOAD_MAX_BYTES, Carried, CarryReader, CarryWriter, pack_meta
from edge_agent.core.bundle import BundleId, BundleRecord
from edge_agent.core.effects import Adopted, QueueKey
from edge_agent.core.report import NodeReport
from edge_agent.disk.store import Disk
from edge_agent.disk.types import UnknownBundleError
from edge_agent.runner import Runner

PAGE_ROWS = 256  # records read at a time: a millisecond of the one reader
TOGETHER_BUNDLES = 64  # imported ones that share a commit
TOGETHER_BYTES = 4 << 20

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Export:
    """One file being written. Custody stays here: a receipt ends it, or a link that comes back."""

    disk: Disk
    report: NodeReport
    secret: bytes = field(repr=False)
    now_s: Callable[[], float]
    now_ms: Callable[[], int]
    to: str = ""
    """Only what is bound for this destination; empty: all that waits."""
    bundles: int = 0
    left_out: int = 0
    """Larger than PAYLOAD_MAX_BYTES: for a link only."""
    _ends: tuple[BundleId, ...] = ()
    """By precedence: what began here with this name or a later one came too late for this file."""

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The file, urgent bundles first, so that a stick that becomes full holds what matters."""
        writer = CarryWriter(self.secret)
        self._ends = await self.disk.begin_carrying()
        yield writer.head()
        for queue in sorted(queue.queue for queue in self.report.queues):
            if self.to in ("", queue.destination):
                async for plain in self._records(queue):
                    if piece := writer.put(plain):
                        yield piece
        yield writer.finish()
        log.info("bundles_exported", bundles=self.bundles, left_out=self.left_out, to=self.to)

    async def _records(self, queue: QueueKey) -> AsyncGenerator[bytes, None]:
        after: BundleId | None = None
        while (page := await self.disk.waiting(queue, after, PAGE_ROWS)).records:
            payloads = page.payloads or (None,) * len(page.records)
            for record, payload in zip(page.records, payloads, strict=True):
                plain = await self._record(record, payload)
                if plain is not None:
                    self.bundles += 1
                    yield plain
            after = page.records[-1].id

    async def _record(self, record: BundleRecord, payload: bytes | None) -> bytes | None:
        if record.payload_bytes > PAYLOAD_MAX_BYTES:
            self.left_out += 1
            return None
        end = self._ends[record.id.precedence]
        if record.id[:2] == end[:2] and record.id >= end:
            return None
        if payload is None:
            try:
                payload = await self.disk.read_payload(record.id)
            except UnknownBundleError:  # a link took it while the file was written
                return None
        if len(payload) != record.payload_bytes:
            return None  # as above, with its file half gone
        return pack_meta(record, self.now_s(), self.now_ms()) + payload


@dataclass(slots=True, kw_only=True)
class Import:
    """One file being read."""

    runner: Runner
    secret: bytes = field(repr=False)
    now_s: Callable[[], float]
    now_ms: Callable[[], int]
    counts: Counter[Adopted] = field(default_factory=Counter)
    refusal: str = ""
    """Why the first of those refused was."""
    _reader: CarryReader = field(init=False)

    def __post_init__(self) -> None:
        self._reader = CarryReader(self.secret)

    async def feed(self, piece: bytes) -> None:
        """The next bytes of the file; returns once what became whole is on disk. Raises CarryFileError."""
        together: list[Carried] = []
        for carried in self._reader.feed(piece):
            together.append(carried)
            if len(together) >= TOGETHER_BUNDLES or sum(len(each.payload) for each in together) >= TOGETHER_BYTES:
                await self._adopt(together)
                together = []
        await self._adopt(together)

    async def finish(self) -> Message:
        """The file has ended: what came of it, by number. Raises CarryFileError."""
        self._reader.finish()
        report: Message = {each.value: self.counts[each] for each in Adopted}
        report |= {"refusal": self.refusal, "damage": self._reader.damage}
        log.info("bundles_imported", **report)
        return report

    async def _adopt(self, together: list[Carried]) -> None:
        now_s, wall_ms = self.now_s(), self.now_ms()
        fresh = {carried.bundle: carried for carried in together}  # a name once at a time
        self.counts[Adopted.KNOWN] += len(together) - len(fresh)
        for told in await asyncio.gather(
            *(self.runner.adopt(each.record_at(now_s, wall_ms), each.payload) for each in fresh.values())
        ):
            self.counts[told.adopted] += 1
            if told.adopted is Adopted.REFUSED:
                self.refusal = self.refusal or told.detail
