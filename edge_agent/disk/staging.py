"""Staging: a payload comes into the store in pieces, each synced before it is answered, and gets its bundle at the end.

What is declared is taken off the room at once, so that nothing is refused half-way that could be refused at first.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from edge_agent.core.bundle import BundleId, Origin, Precedence
from edge_agent.core.effects import Done, Failed, Outcome, Persist
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.disk.answers import Call
from edge_agent.disk.consumers import Consumers
from edge_agent.disk.file_jobs import FileJob
from edge_agent.disk.files import PayloadFiles
from edge_agent.disk.job_queue import JobQueue
from edge_agent.disk.quota import ROW_BYTES, Ballast
from edge_agent.disk.rows import Rows
from edge_agent.disk.stagings import STAGINGS_MAX, part_of
from edge_agent.disk.types import ROW_PAYLOAD_BYTES

ResultT = TypeVar("ResultT")


class StagedPart(NamedTuple):
    """Where a staging stands: ``offset`` bytes are synced, or all of it is ``bundle`` already."""

    part: BundleId
    offset: int
    bundle: BundleId | None


class _Writer(Protocol):
    """What a staging needs of ``writer.Writer``."""

    promised_bytes: int
    queue: JobQueue


class _Write(Protocol):
    def __call__(self, function: Callable[[Consumers], ResultT]) -> Awaitable[ResultT]: ...


@dataclass(slots=True)
class _PieceJob(FileJob):
    """A piece that a program waits for."""

    future: "asyncio.Future[Outcome] | None" = None

    def begin(self, rows: Rows) -> None:
        self._is_begun = True
        if self.part not in rows.parts.held:
            self.outcome = Failed(RefusalReason.PARTIAL_DROPPED, "what came before had to go for something else")

    def answer(self, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        future, outcome = self.future, self.outcome or Done()
        calls.append(lambda: None if future is None or future.done() else future.set_result(outcome))

    def refuse(self, failed: Failed, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        self.outcome = failed
        self.answer(outcomes, calls)


@dataclass(slots=True)
class Staging:
    """Used on the loop; part of ``Disk``."""

    writer: _Writer
    files: PayloadFiles
    ballast: Ballast
    loop: asyncio.AbstractEventLoop
    write: _Write
    fed: Counter[BundleId]
    """``Stagings.fed``: the writer's thread only looks."""

    async def open(self, name: str, payload_bytes: int, precedence: Precedence, origin: Origin) -> StagedPart:
        """Begin a payload, or go on with the one of that name and length. Raises RefusedError, with figures.

        Call ``close`` once for each ``open``.
        """
        part = part_of(f"{name}/{payload_bytes}", precedence)
        self.fed[part] += 1
        try:
            return await self.write(lambda tables: self._open(tables.rows, part, payload_bytes, origin))
        except BaseException:
            self.close(part)
            raise

    def _open(self, rows: Rows, part: BundleId, payload_bytes: int, origin: Origin) -> StagedPart:
        """On the writer's thread."""
        bundle = rows.stagings.became(part)
        if bundle is None and part not in rows.parts.held:
            self._refuse(rows, part, payload_bytes, origin)
            rows.parts.open(part, payload_bytes)
            rows.parts.write(part, rows.key(part))
        elif bundle is None and not self.files.part_path(part).exists():
            rows.parts.held[part].ranges.remove(0, payload_bytes)  # somebody deleted the file
        if bundle is not None:
            return StagedPart(part, payload_bytes, bundle)
        ranges = rows.parts.held[part].ranges
        return StagedPart(part, ranges.first_range()[1] if 0 in ranges else 0, None)

    def _refuse(self, rows: Rows, part: BundleId, payload_bytes: int, origin: Origin) -> None:
        """Raises RefusedError when there is no room for all of it."""
        limit_bytes = rows.quota.limit_bytes(part.precedence, origin)
        if payload_bytes <= ROW_PAYLOAD_BYTES:
            raise RefusedError(RefusalReason.MALFORMED, f"{payload_bytes} bytes: allowed: above {ROW_PAYLOAD_BYTES}")
        if payload_bytes + ROW_BYTES > limit_bytes:
            what = f"the store takes at most {limit_bytes} bytes of {part.precedence.name}, {payload_bytes} are asked"
            raise RefusedError(RefusalReason.TOO_LARGE, what)
        wanted_bytes = payload_bytes + self.writer.promised_bytes
        if not self.ballast.has_room(wanted_bytes):
            free_bytes = self.ballast.disk_free_bytes()
            what = f"the disk has {free_bytes} bytes free, {payload_bytes} are asked"
            raise RefusedError(RefusalReason.STORE_FULL, f"{what} beside {self.writer.promised_bytes} promised")
        if not rows.stagings.has_slot():
            raise RefusedError(RefusalReason.STORE_FULL, f"{STAGINGS_MAX} others are being handed in")
        failed = rows.admit(part, payload_bytes, origin)
        if failed is not None:
            raise RefusedError(failed.reason, failed.detail)

    async def put(self, part: BundleId, payload_bytes: int, offset: int, piece: bytes) -> None:
        """The next piece; synced on return. Raises RefusedError."""
        future: asyncio.Future[Outcome] = self.loop.create_future()
        effect = Persist(0, part, payload_bytes, None, offset, piece, is_arrival=False)
        self.writer.queue.put_piece(_PieceJob(effect, self.files, future=future))
        outcome = await future
        if isinstance(outcome, Failed):
            raise RefusedError(outcome.reason, outcome.detail)

    def close(self, part: BundleId) -> None:
        """Nobody feeds it now; what came of it stays as long as there is room."""
        self.fed[part] -= 1
        if not self.fed[part]:
            del self.fed[part]

    async def drop(self, part: BundleId) -> None:
        """It will not be gone on with."""
        await self.write(lambda tables: tables.rows.drop_part(part))

    async def forget(self, part: BundleId) -> None:
        """Whoever handed it in knows what bundle it became."""
        await self.write(lambda tables: tables.rows.stagings.forget(part))
