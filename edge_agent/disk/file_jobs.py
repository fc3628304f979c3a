"""Jobs of the writer whose bytes go to a file: moved and hashed in steps between transactions, then one row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import structlog

from edge_agent.core.bundle import BundleId, Origin
from edge_agent.core.effects import Done, Failed, Known, Outcome, Persist
from edge_agent.core.errors import RefusalReason
from edge_agent.core.intervals import IntervalSet
from edge_agent.disk.answers import Call
from edge_agent.disk.consumers import Consumers
from edge_agent.disk.files import PayloadFiles
from edge_agent.disk.jobs import Leave
from edge_agent.disk.rows import Rows
from edge_agent.disk.types import ROW_PAYLOAD_BYTES

_log = structlog.get_logger()


@dataclass(slots=True)
class FileJob:
    """A Persist whose bytes go to a file before its row is written."""

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
    _took_room: bool = False
    """Its part began with it."""

    @property
    def is_essential(self) -> bool:
        return False  # even FLASH: a file on a full disk would take what small ones need

    @property
    def part(self) -> BundleId:
        """The name of its ``.part``."""
        staged = self.effect.staged
        return self.effect.bundle if staged is None else staged.part

    @property
    def is_written(self) -> bool:
        """Whether every byte was handed to the file system."""
        if self.outcome is not None:
            return True
        return self._is_begun and (self.effect.staged is not None or self._written == len(self.effect.payload))

    @property
    def is_begun(self) -> bool:
        """Whether room was found for the bundle, or the outcome is known."""
        return self._is_begun

    def begin(self, rows: Rows) -> None:
        """Find or make room for the whole bundle; sets ``outcome`` when there is nothing to write. May evict."""
        self._is_begun = True
        effect = self.effect
        part = rows.parts.held.get(self.part)
        if rows.is_stored(effect.bundle):
            self.outcome = Done() if effect.record is None else Known()
        elif part is None:
            self.outcome = self._open(rows)
        elif part.payload_bytes != effect.payload_bytes:
            detail = f"bundle {effect.bundle}: {effect.payload_bytes} bytes declared, {part.payload_bytes} before"
            self.outcome = Failed(RefusalReason.IDENTITY_MISMATCH, detail)
        elif part.ranges and not self.files.part_path(self.part).exists():
            part.ranges.remove(0, part.payload_bytes)  # somebody deleted the file: nothing of it is here

    def _open(self, rows: Rows) -> Failed | None:
        """Take room for a part; what was staged has one or is gone."""
        effect = self.effect
        if effect.staged is not None:
            return Failed(RefusalReason.PARTIAL_DROPPED, "what was handed in had to go for something else")
        origin = Origin.MACHINE if effect.record is None else effect.record.header.origin
        refusal = rows.admit(effect.bundle, effect.payload_bytes, origin)
        if refusal is None:
            rows.parts.open(effect.bundle, effect.payload_bytes)
            self._took_room = True
        return refusal

    def write(self, step_bytes: int) -> int:
        """Hand the next ``step_bytes`` to the file system; gives back how many they were. Raises OSError."""
        effect = self.effect
        piece = memoryview(effect.payload)[self._written : self._written + step_bytes]
        if piece or not effect.payload_bytes:
            self.files.write(self.part, effect.offset + self._written, piece)
        self._written += len(piece)
        return len(piece)

    def is_hashed(self, rows: Rows) -> bool:
        """Whether its row can be written as far as the digest goes, which only a file without holes needs."""
        effect = self.effect
        if self.outcome is not None or effect.record is None or effect.payload_bytes <= ROW_PAYLOAD_BYTES:
            return True
        has_all = self._ranges(rows).covers(0, effect.payload_bytes)
        return not has_all or self.files.digest(self.part, effect.payload_bytes) is not None

    def read_on(self, rows: Rows, step_bytes: int) -> int:
        """Let the digest catch up by at most ``step_bytes``; gives back by how many. Raises OSError.

        Also when a piece comes, so that after a start little is left to read at the end.
        """
        ranges = self._ranges(rows)
        if self.outcome is not None or 0 not in ranges:
            return 0
        return self.files.read_on(self.part, ranges.first_range()[1], step_bytes)

    def _ranges(self, rows: Rows) -> IntervalSet:
        """What is in the file, all that this job wrote included."""
        effect, part = self.effect, rows.parts.held.get(self.part)
        ranges = IntervalSet() if part is None else part.ranges.copy()
        ranges.add(effect.offset, effect.offset + self._written)
        return ranges

    def complete(self, rows: Rows) -> None:
        """All bytes are synced: note them, and give a whole file its digest and its name. Raises OSError."""
        effect = self.effect
        part = rows.parts.held.get(self.part) or rows.parts.open(self.part, effect.payload_bytes)
        part.ranges.add(effect.offset, effect.offset + len(effect.payload))
        if effect.record is None:
            return
        if not part.ranges.covers(0, effect.payload_bytes):
            gaps = part.ranges.gaps(0, effect.payload_bytes)
            detail = f"bundle {effect.bundle}: called whole, but {len(gaps)} ranges are missing, first {gaps[0]}"
            self.outcome = Failed(RefusalReason.STORE_FAILED, detail)
            return
        if effect.payload_bytes <= ROW_PAYLOAD_BYTES:  # it waited half-way for long; whole it is a row like any other
            whole = self.files.part_path(self.part).read_bytes()
            self.effect = effect._replace(offset=0, payload=whole)
            return
        digest = self.files.digest(self.part, effect.payload_bytes)
        assert digest is not None, "``is_hashed`` said so"
        if effect.staged is not None and effect.staged.digest != digest:
            self.outcome = Failed(RefusalReason.MALFORMED, "the bytes that came are not those that were read at first")
            return
        self._digest = digest
        self.files.finish(self.part, effect.bundle)

    def give_back(self, rows: Rows) -> None:
        """It came in one piece and failed: nobody goes on with its part, nor knows of it but this job."""
        effect = self.effect
        if not self._took_room or effect.record is None:
            return
        self._took_room, self._digest = False, b""
        rows.parts.forget(effect.bundle, None)  # only pieces have a row of their own
        try:
            self.files.remove(effect.bundle)
        except OSError as error:  # the disk fails for this, too; swept at the next start
            _log.warning("payload_file_failed", bundle=str(effect.bundle), reason=str(error))

    def run(self, tables: Consumers) -> None:
        if self.outcome is not None:
            if isinstance(self.outcome, Failed):
                self.give_back(tables.rows)
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
            try:
                self.files.unfinish(self.part, self.files.whole_path(self.effect.bundle))
            except OSError as error:  # the disk fails for this, too; taken back at the next start
                _log.warning("payload_file_failed", bundle=str(self.effect.bundle), reason=str(error))
        outcomes.append((self.effect.effect_id, failed))


class Begin(Leave):
    """Room for a file, in a transaction of its own because making it may evict rows."""

    def __init__(self, job: FileJob) -> None:
        self._job = job

    def run(self, tables: Consumers) -> None:
        self._job.begin(tables.rows)


class Naming(Leave):
    """Under which names the files of staged parts will lie: a kill before their rows must not lose which is whose."""

    def __init__(self, jobs: Sequence[FileJob]) -> None:
        self._jobs = jobs

    def run(self, tables: Consumers) -> None:
        for job in self._jobs:
            tables.rows.stagings.name(job.part, job.effect.bundle)
