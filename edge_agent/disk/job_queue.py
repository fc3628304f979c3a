"""The jobs that wait for the writer's thread: urgent ones, those with files, all others, and when the next are due.

A lone bundle is due at once. Only what nobody waits for gathers company first: rows that another node has by now, and
in a flood what arrives, because its sender goes on meanwhile.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edge_agent.core.bundle import Precedence
from edge_agent.core.effects import (
    CloseNumbers,
    Erase,
    EraseReason,
    Failed,
    LeaseNumbers,
    Outcome,
    Persist,
    SyncWindow,
)
from edge_agent.core.errors import RefusalReason
from edge_agent.disk.file_jobs import FileJob
from edge_agent.disk.files import PayloadFiles
from edge_agent.disk.jobs import EffectJob, Job, RowsJob, Write
from edge_agent.disk.types import ROW_PAYLOAD_BYTES

BATCH_JOBS = 1_000  # about 10 ms of work; beyond it a commit is already as cheap as it gets
INTAKE_JOBS = 20_000  # the core has at most 8,192 submits under way; the rest is erasures and news
INTAKE_BYTES = 64 << 20  # what one peer may have on its way (receive_window_bytes)
GATHER_S = 0.02
"""How long may wait what nobody waits for: on a disk that syncs in 1 ms a flood would pay a commit for 15 bundles."""
GATHERED_JOBS = 256  # of which a commit costs no more a job than of a thousand
FLOOD_JOBS = 16
"""A transaction of so many was of a flood: the arrivals after it may gather. One of fewer costs too little to wait."""
_FLASH, _IMMEDIATE = Precedence.FLASH, Precedence.IMMEDIATE  # a member of an enum is slow to look up


@dataclass(slots=True)
class JobQueue:
    """``put`` and ``put_effects`` and ``close`` come from the loop's thread, all else from the writer's."""

    payload_files: PayloadFiles
    clock: Callable[[], float] = time.perf_counter
    file_jobs: deque[FileJob | EffectJob] = field(default_factory=deque)
    """Only the writer's thread takes some out, one at a time by ``pop_file_job``."""
    due_s: float = math.inf
    """When the next transaction begins at the latest; infinite while nothing waits."""
    look_s: float = math.inf
    """When the writer looks round although nothing waits. Set by its thread alone."""
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _wake: threading.Condition = field(init=False)
    """Of ``_lock``, which is quicker to take by itself."""
    _urgent: deque[Job | Persist] = field(default_factory=deque)
    _waiting: deque[Job | Persist] = field(default_factory=deque)
    """A Persist in it has no job yet: bundles that follow each other get one together, when they are taken."""
    _queued_bytes: int = 0
    _flash_jobs: int = 0
    """Of those in ``_urgent``: bundles of FLASH."""
    _was_lone: bool = False
    """The last batch was of FLASH alone."""
    _was_flood: bool = False
    _is_closing: bool = False

    def __post_init__(self) -> None:
        self._wake = threading.Condition(self._lock)

    def put_effects(self, effects: Iterable[Write]) -> list[tuple[int, Outcome]]:
        """Queue effects in their order; gives back those a full intake refuses, which only a Persist can meet."""
        refused: list[tuple[int, Outcome]] = []
        wait_s = math.inf
        with self._lock:
            for effect in effects:
                if not isinstance(effect, Persist):
                    wait_s = min(wait_s, self._put_note(effect))
                    continue
                jobs, size_bytes = len(self._waiting) + len(self._urgent) + len(self.file_jobs), len(effect.payload)
                if jobs >= INTAKE_JOBS or (self._queued_bytes and self._queued_bytes + size_bytes > INTAKE_BYTES):
                    detail = f"{jobs} jobs with {self._queued_bytes} bytes wait for the disk"
                    refused.append((effect.effect_id, Failed(RefusalReason.STORE_FULL, detail)))
                    continue
                self._queued_bytes += size_bytes
                wait_s = min(wait_s, self._put_persist(effect, size_bytes))
            if wait_s < math.inf:
                self._hurry(wait_s)
        return refused

    def _put_note(self, effect: Erase | LeaseNumbers | SyncWindow | CloseNumbers) -> float:
        """Queue an effect without a payload; gives back how long it may wait."""
        if isinstance(effect, CloseNumbers):
            self._waiting.append(EffectJob(effect))
            return GATHER_S
        if not isinstance(effect, Erase):
            self._urgent.append(EffectJob(effect))  # a frame, perhaps an SOS, waits for it
        elif effect.reason is EraseReason.PARTIAL_DROPPED:
            self.file_jobs.append(EffectJob(effect))  # keeps its place among the bundle's pieces
        else:
            self._waiting.append(EffectJob(effect))
            return GATHER_S if effect.reason is EraseReason.FORWARDED else 0.0
        return 0.0

    def _put_persist(self, effect: Persist, size_bytes: int) -> float:
        """The same for bytes that are to be stored."""
        precedence = effect.bundle.precedence
        if effect.record is None or size_bytes < effect.payload_bytes or effect.payload_bytes > ROW_PAYLOAD_BYTES:
            self.file_jobs.append(FileJob(effect, self.payload_files))
        elif precedence <= _IMMEDIATE:
            is_flash = precedence is _FLASH
            self._urgent.append(EffectJob(effect, size_bytes, is_flash))
            self._flash_jobs += is_flash
        else:
            self._waiting.append(effect)
            return GATHER_S if effect.is_arrival and self._was_flood else 0.0
        return 0.0

    def put(self, job: Job) -> None:
        """Queue any other job; its number is bounded by who asks and waits."""
        with self._wake:
            self._waiting.append(job)
            self._hurry()

    def put_piece(self, job: FileJob) -> None:
        """Queue a piece of what a program hands in; it waits for each before the next but one."""
        with self._wake:
            self._queued_bytes += len(job.effect.payload)
            self.file_jobs.append(job)
            self._hurry()

    def _hurry(self, wait_s: float = 0.0) -> None:
        """The next transaction begins within ``wait_s``; at once when enough has gathered."""
        is_enough = len(self._waiting) >= GATHERED_JOBS
        if wait_s == GATHER_S and self.due_s < math.inf and not is_enough:
            return  # what came before is due sooner
        due_s = 0.0 if is_enough else self.clock() + wait_s
        if due_s < self.due_s:
            self.due_s = due_s
            self._wake.notify()

    def close(self) -> None:
        """Nothing comes any more: ``wait`` gives what is queued, then ends."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()

    def wait(self) -> bool:
        """Wait until work is due; False when there is none and none will come."""
        with self._wake:
            while (left_s := min(self.due_s, self.look_s) - self.clock()) > 0:
                if self._is_closing:
                    return self.due_s < math.inf
                self._wake.wait(left_s if left_s < math.inf else None)
            return True

    def begin_round(self) -> bool:
        """Whether the next batch is of FLASH alone: no other bundle's bytes before it, by turns with all that waits."""
        self._was_lone = self._flash_jobs > 0 and not self._was_lone
        return self._was_lone

    def take(self, most_bytes: int) -> list[Job]:
        """The next batch, urgent ones first; its last job may go beyond ``most_bytes``."""
        batch: list[Job] = []
        taken = batch_bytes = 0
        with self._wake:
            for queue in (self._urgent,) if self._was_lone else (self._urgent, self._waiting):
                rows: RowsJob | None = None
                while queue and taken < BATCH_JOBS and batch_bytes < most_bytes:
                    job = queue.popleft()
                    taken += 1
                    if not isinstance(job, Persist):
                        rows = None
                        batch_bytes += job.payload_bytes
                        self._flash_jobs -= job.is_flash
                        batch.append(job)
                        continue
                    if rows is None:
                        rows = RowsJob()
                        batch.append(rows)
                    rows.add(job)
                    batch_bytes += job.payload_bytes
            self._queued_bytes -= batch_bytes
            self.due_s = 0.0 if self._urgent or self._waiting or self.file_jobs else math.inf
            self._was_flood = taken >= FLOOD_JOBS
        return batch

    def defer_file_job(self) -> None:
        """The first of ``file_jobs`` has more to do, after the others."""
        with self._wake:
            self.file_jobs.rotate(-1)

    def pop_file_job(self) -> None:
        """The first of ``file_jobs`` is written."""
        with self._wake:
            job = self.file_jobs.popleft()
            if isinstance(job, FileJob):
                self._queued_bytes -= len(job.effect.payload)
