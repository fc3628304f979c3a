"""Jobs of the writer: one effect or one call each, run in a shared transaction, answered once that is synced."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Protocol, TypeVar

from edge_agent.core.bundle import Origin, Precedence
from edge_agent.core.effects import CloseNumbers, Done, Erase, Failed, Known, LeaseNumbers, Outcome, Persist, SyncWindow
from edge_agent.core.errors import EdgeAgentError, RefusalReason
from edge_agent.disk.answers import Call
from edge_agent.disk.consumers import Consumers
from edge_agent.disk.files import DIGEST_BYTES, PayloadFiles, digest_file
from edge_agent.disk.rows import Rows
from edge_agent.disk.types import ROW_PAYLOAD_BYTES, DiskFailedError

ResultT = TypeVar("ResultT")


_DONE = Done()


class Job(Protocol):
    """What the writer runs in a transaction."""

    @property
    def payload_bytes(self) -> int:
        """Bytes of the payload that it brings as a row."""

    @property
    def is_flash(self) -> bool:
        """Whether it brings a row of FLASH."""

    @property
    def is_essential(self) -> bool:
        """Whether it is tried again on a full disk: it frees room, is tiny, or is a person's FLASH."""

    def run(self, tables: Consumers) -> None:
        """Change the tables; sqlite3.Error rolls everything back."""

    def answer(self, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        """The transaction is durable: say so."""

    def refuse(self, failed: Failed, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        """The transaction did not happen: say so."""


@dataclass(slots=True)
class EffectJob:
    """Any effect that is rows alone."""

    effect: Persist | Erase | LeaseNumbers | SyncWindow | CloseNumbers
    payload_bytes: int = 0
    is_flash: bool = False
    _outcome: Outcome = _DONE

    @property
    def is_essential(self) -> bool:
        effect = self.effect
        if not isinstance(effect, Persist):
            return True
        is_person = effect.record is not None and effect.record.header.origin is Origin.PERSON
        return effect.bundle.precedence is Precedence.FLASH and is_person

    def run(self, tables: Consumers) -> None:
        effect = self.effect
        if isinstance(effect, Persist):
            self._outcome = tables.rows.store(effect)
        elif isinstance(effect, Erase):
            self._outcome = tables.rows.erase(effect)
        elif isinstance(effect, LeaseNumbers):
            self._outcome = tables.rows.bursts.lease(effect.up_to)
        elif isinstance(effect, CloseNumbers):
            self._outcome = tables.rows.close_numbers(effect)
        else:
            self._outcome = tables.rows.bursts.sync(effect.window)

    def answer(self, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        outcomes.append((self.effect.effect_id, self._outcome))

    def refuse(self, failed: Failed, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        outcomes.append((self.effect.effect_id, failed))


@dataclass(slots=True)
class CallJob(Generic[ResultT]):
    """Anything else that changes the tables; its result goes to a future of the loop."""

    payload_bytes: ClassVar[int] = 0
    is_flash: ClassVar[bool] = False
    function: Callable[[Consumers], ResultT]
    future: "asyncio.Future[ResultT] | None" = None
    _result: list[ResultT] = field(default_factory=list)
    _error: EdgeAgentError | None = None

    @property
    def is_essential(self) -> bool:
        return True

    def run(self, tables: Consumers) -> None:
        self._result, self._error = [], None
        tables.rows.flush()
        try:
            self._result.append(self.function(tables))
        except EdgeAgentError as error:  # raised before anything was changed; goes to who asked
            self._error = error

    def answer(self, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        future = self.future
        if future is None:
            return

        def resolve() -> None:
            if future.done():  # who asked was cancelled
                return
            if self._error is not None:
                future.set_exception(self._error)
            else:
                future.set_result(self._result[0])

        calls.append(resolve)

    def refuse(self, failed: Failed, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        self._error = DiskFailedError(f"{failed.reason.value}: {failed.detail}")
        self.answer(outcomes, calls)


@dataclass(slots=True)
class FileJob:
    """A Persist whose bytes go to a file, moved in steps before its row is written."""

    payload_bytes: ClassVar[int] = 0
    is_flash: ClassVar[bool] = False
    effect: Persist
    files: PayloadFiles
    outcome: Outcome | None = None
    """Set early when there is nothing to write: refused, or stored before."""
    _result: Outcome | None = None
    """Of the last try to commit; a try that is rolled back must not look like an answer to the next one."""
    _written: int = 0
    _digest: bytes = b""
    _is_begun: bool = False

    @property
    def is_essential(self) -> bool:
        return False  # even FLASH: a file on a full disk would take what small ones need

    @property
    def is_written(self) -> bool:
        """Whether every byte was handed to the file system."""
        return self.outcome is not None or (self._is_begun and self._written == len(self.effect.payload))

    @property
    def is_begun(self) -> bool:
        """Whether room was found for the bundle, or the outcome is known."""
        return self._is_begun

    def begin(self, rows: Rows) -> None:
        """Find or make room for the whole bundle; sets ``outcome`` when there is nothing to write. May evict."""
        self._is_begun = True
        effect = self.effect
        part = rows.parts.held.get(effect.bundle)
        if rows.is_stored(effect.bundle):
            self.outcome = Done() if effect.record is None else Known()
        elif part is None:
            origin = Origin.MACHINE if effect.record is None else effect.record.header.origin
            self.outcome = rows.admit(effect.bundle, effect.payload_bytes, origin)
            if self.outcome is None:
                rows.parts.open(effect.bundle, effect.payload_bytes)
        elif part.payload_bytes != effect.payload_bytes:
            detail = f"bundle {effect.bundle}: {effect.payload_bytes} bytes declared, {part.payload_bytes} before"
            self.outcome = Failed(RefusalReason.IDENTITY_MISMATCH, detail)
        elif part.ranges and not self.files.part_path(effect.bundle).exists():
            part.ranges.remove(0, part.payload_bytes)  # somebody deleted the file: nothing of it is here

    def write(self, step_bytes: int) -> int:
        """Hand the next ``step_bytes`` to the file system; gives back how many they were. Raises OSError."""
        effect = self.effect
        piece = memoryview(effect.payload)[self._written : self._written + step_bytes]
        if piece or not effect.payload_bytes:
            self.files.write(effect.bundle, effect.offset + self._written, piece)
        self._written += len(piece)
        return len(piece)

    def complete(self, rows: Rows) -> None:
        """All bytes are synced: note them, and give a whole file its digest and its name. Raises OSError."""
        effect = self.effect
        part = rows.parts.held.get(effect.bundle) or rows.parts.open(effect.bundle, effect.payload_bytes)
        part.ranges.add(effect.offset, effect.offset + len(effect.payload))
        if effect.record is None:
            return
        if not part.ranges.covers(0, effect.payload_bytes):
            gaps = part.ranges.gaps(0, effect.payload_bytes)
            detail = f"bundle {effect.bundle}: called whole, but {len(gaps)} ranges are missing, first {gaps[0]}"
            self.outcome = Failed(RefusalReason.STORE_FAILED, detail)
            return
        if effect.payload_bytes <= ROW_PAYLOAD_BYTES:  # it waited half-way for long; whole it is a row like any other
            whole = self.files.part_path(effect.bundle).read_bytes()
            self.effect = effect._replace(offset=0, payload=whole)
            return
        if len(effect.payload) == effect.payload_bytes:
            self._digest = hashlib.blake2b(effect.payload, digest_size=DIGEST_BYTES).digest()
        else:
            self._digest = digest_file(self.files.part_path(effect.bundle))
        self.files.finish(effect.bundle)

    def run(self, tables: Consumers) -> None:
        if self.outcome is not None:
            return
        if self.effect.record is None:
            rows = tables.rows
            rows.parts.write(self.effect.bundle, rows.key(self.effect.bundle))
            return
        self._result = tables.rows.store(self.effect, self._digest or None)

    def answer(self, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        outcomes.append((self.effect.effect_id, self.outcome or self._result or Done()))

    def refuse(self, failed: Failed, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        if self._digest:  # it has its final name and no row: an earlier part may still count on it
            self.files.unfinish(self.effect.bundle)
        outcomes.append((self.effect.effect_id, failed))
