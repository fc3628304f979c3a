"""The one thread that changes the store: jobs in, one transaction for all that are due, answers after its sync.

The next transaction begins when the last sync returned: a lone bundle waits for one sync, a flood batches itself
(``job_queue``). Bytes of files move in steps between transactions, so that a large picture holds nobody up.
"""

import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from edge_agent.core.bundle import BundleId, Origin
from edge_agent.core.effects import Evicted, Failed, Outcome
from edge_agent.core.errors import RefusalReason
from edge_agent.disk.answers import Answers, Call
from edge_agent.disk.consumers import Consumers
from edge_agent.disk.file_jobs import Begin, FileJob, Naming
from edge_agent.disk.files import PayloadFiles
from edge_agent.disk.job_queue import JobQueue
from edge_agent.disk.jobs import EffectJob, Job, Leave
from edge_agent.disk.lapses import LapseJob, Lapses
from edge_agent.disk.pace import Pace
from edge_agent.disk.quota import Ballast
from edge_agent.disk.schema import DamageMark, is_damage, is_io_failure
from edge_agent.disk.trouble import explain, failure_of, is_full
from edge_agent.disk.types import AckedBundle

SHRINK_PAGES = 512  # 2 MiB: a few ms
LAPSE_PAUSE_S = 0.05  # between two steps of some ms that make room, so that they take a tenth of the thread at most
LAPSE_WAIT_S = 60.0  # a machine that slept is looked at soon after
STALE_PAUSE_S = 0.2  # between two looks at tables that the disk does not give
HASH_STEP_BYTES = 4 << 20  # of files read again after a start, between two transactions: 4 ms of a PC

_log = structlog.get_logger()


@dataclass(slots=True)
class Writer:
    """Owns the writing connection. Jobs come by ``queue``; ``run`` is the thread."""

    tables: Consumers
    files: PayloadFiles
    ballast: Ballast
    answers: Answers
    on_evicted: Callable[[list[Evicted]], None] | None
    on_removed: Callable[[list[BundleId]], None] = lambda bundles: None
    """Called on this thread with bundles whose files were deleted: whoever has one open keeps its room."""
    on_owed: Callable[[list[AckedBundle]], None] | None = None
    """Called on the loop with deliveries that nobody took, and that make room now; without it they are kept."""
    pace: Pace = field(default_factory=Pace)
    disk_free_bytes: int = field(init=False)
    promised_bytes: int = 0
    """Of those: what is still to come of files that were begun."""
    queue: JobQueue = field(init=False)
    is_full: bool = False
    """Whether the disk itself (not the quota) is full."""
    failure: str = ""
    """Why the last commit failed; empty: it did not."""
    lapses: Lapses = field(init=False)
    _mark: DamageMark = field(init=False)
    _lapse_s: float = 0.0
    _is_untrusted: bool = False
    """A write or sync of the database has failed since its log was last written out as a whole."""
    _is_stale: bool = False
    """A transaction did not happen, and what it touched was not read again yet: until then no other one begins."""

    def __post_init__(self) -> None:
        self.queue = JobQueue(self.files)
        self.lapses = Lapses(self.tables)
        self._mark = DamageMark(self.ballast.folder)
        # The node asks before the thread has begun, and asks again only after a commit: told 0, a command post that
        # has nothing to store yet would refuse everything, and so never store anything.
        self.disk_free_bytes = self.ballast.disk_free_bytes()

    def run(self) -> None:
        """The thread. Returns after ``close``; whatever else ends it is a defect."""
        try:
            self._look_at_disk()
            self._let_lapse()
            while self.queue.wait():
                self.step()
            self._transact([Leave()])
        finally:
            self.files.close_all()
            self.tables.rows.database.close()

    def step(self) -> None:
        """One round of the thread: a step of files, then one transaction. For who has no thread, too."""
        is_lone = self.queue.begin_round()
        if self._is_stale:
            self._take_back()
        if self._is_stale:  # what waits is refused; bytes of files wait for the disk
            self._commit(self.queue.take(self.pace.step_bytes))
            time.sleep(STALE_PAUSE_S)
            return
        ready = [] if is_lone else self._move_files()
        self._commit([*ready, *self.queue.take(self.pace.step_bytes)])
        self._let_lapse()
        if not self.ballast.lay_down() or self.tables.rows.quota.has_spare_pages:
            self._shrink()

    def _let_lapse(self) -> None:
        """Look for deliveries that nobody will take, where room is wanted; a step at a time."""
        clock, on_owed = self.queue.clock, self.on_owed
        if on_owed is None:
            return
        if clock() < self._lapse_s:
            self.queue.look_s = min(self.queue.look_s, self._lapse_s)  # the step before it may have changed something
            return
        try:
            found = self.lapses.find()
        except sqlite3.Error as error:  # looked for again after the pause
            self._note_failure(error, explain(error, self.ballast.folder))
            found = []
        if found and self._transact([LapseJob(self.lapses, found, on_owed)]) is not None:
            self.lapses.start_over()
        self._lapse_s = clock() + LAPSE_PAUSE_S
        wait_s = self.lapses.wait_s()
        self.queue.look_s = self._lapse_s + min(LAPSE_WAIT_S, wait_s) if wait_s < math.inf else math.inf

    def _move_files(self) -> list[Job]:
        """Move one step of bytes to files and sync them; gives back the jobs that are ready for their row."""
        written: list[FileJob | EffectJob] = []
        moved: dict[BundleId, list[FileJob]] = {}
        step_bytes = budget_bytes = self.pace.file_step_bytes
        hash_bytes = HASH_STEP_BYTES
        began_s = time.perf_counter()
        while self.queue.file_jobs and budget_bytes > 0:
            job = self.queue.file_jobs[0]
            if isinstance(job, FileJob):
                if job.effect.record is not None and not job.is_begun and job.part in moved:
                    break  # its digest needs the pieces before it, which count once this step has synced them
                budget_bytes -= self._advance(job, budget_bytes, moved)
                if not job.is_written:
                    break
                hash_bytes -= self._read_on(job, hash_bytes)
                if not job.is_hashed(self.tables.rows):  # after a start; the pieces of others go before the next step
                    self.queue.defer_file_job()
                    break
            self.queue.pop_file_job()
            written.append(job)
            if isinstance(job, EffectJob):
                break  # pieces that come after the part was dropped begin a new one
        for bundle, jobs in moved.items():
            # also one that has bytes left to move: a sync that failed is not made good by the next that succeeds
            self._guard(jobs, partial(self.files.sync, bundle))
        if moved:
            self.pace.note(step_bytes - budget_bytes, time.perf_counter() - began_s)
        self._name_staged([job for job in written if isinstance(job, FileJob) and job.effect.staged is not None])
        for job in written:
            if isinstance(job, FileJob) and job.outcome is None:
                self._guard([job], partial(job.complete, self.tables.rows))
        return list(written)

    def _name_staged(self, jobs: list[FileJob]) -> None:
        """Note what files of staged parts will be called, before anything else changes the tables."""
        error = self._transact([Naming(jobs)]) if jobs else None
        if error is not None:
            for job in jobs:
                job.outcome = job.outcome or failure_of(error, self.ballast.folder)

    def _advance(self, job: FileJob, step_bytes: int, moved: dict[BundleId, list[FileJob]]) -> int:
        """Write the next step of one job; gives back its bytes."""
        if not job.is_begun:
            self._begin(job)
        if job.is_written:
            return 0
        sizes: list[int] = []
        self._guard([job], lambda: sizes.append(job.write(step_bytes)))
        moved.setdefault(job.part, []).append(job)
        return sum(sizes)

    def _read_on(self, job: FileJob, step_bytes: int) -> int:
        """Let the digest of one job catch up; gives back its bytes."""
        sizes: list[int] = []
        self._guard([job], lambda: sizes.append(job.read_on(self.tables.rows, step_bytes)))
        return sum(sizes)

    def _begin(self, job: FileJob) -> None:
        rows, effect = self.tables.rows, job.effect
        self._look_at_disk()
        part = rows.parts.held.get(job.part)
        wanted_bytes = part.missing_bytes if part is not None else effect.payload_bytes + self.promised_bytes
        if not self.ballast.has_room(wanted_bytes):
            job.outcome = self._no_room(wanted_bytes)
            return
        if (
            part is not None
            or rows.quota.missing_bytes(effect.payload_bytes, effect.bundle.precedence, Origin.PERSON) <= 0
        ):
            self._guard([job], partial(job.begin, rows))
            return
        error = self._transact([Begin(job)])
        if error is not None:
            job.outcome = failure_of(error, self.ballast.folder)

    def _guard(self, jobs: Sequence[FileJob], act: Callable[[], object]) -> None:
        """Run something on the file of these jobs; a failure is their outcome, not the end of the thread."""
        try:
            act()
        except OSError as error:
            failed = failure_of(error, self.ballast.folder)
            _log.warning("payload_file_failed", bundle=str(jobs[0].effect.bundle), reason=failed.detail)
            for job in jobs:
                if job.outcome is None:
                    job.outcome = failed

    def _commit(self, jobs: list[Job]) -> None:
        """One transaction for all; on a full disk a second one for those that cannot wait."""
        if not jobs:
            return
        self._look_at_disk()
        batch_bytes = sum(job.payload_bytes for job in jobs)
        refused = [] if self.ballast.has_room(batch_bytes) else self._split_off(jobs)
        error = self._transact(jobs)
        if error is not None and is_full(error, self.ballast.folder):
            self.ballast.give_up()
            self._set_full(True)
            refused += self._split_off(jobs)
            error = self._transact(jobs)
        if error is not None:
            failed = failure_of(error, self.ballast.folder)
            self._note_failure(error, failed.detail)
            refused += jobs
            self._refuse(refused, failed)
            return
        self._refuse(refused, self._no_room(batch_bytes))

    def _split_off(self, jobs: list[Job]) -> list[Job]:
        """Take those out of ``jobs`` that a full disk cannot have."""
        # alarms of machines may take half of what the ballast left, so that people's calls find the other half
        has_room = self.ballast.disk_free_bytes() >= self.ballast.size_bytes // 2
        kept: list[Job] = []
        refused: list[Job] = []
        for job in jobs:
            is_kept = job.is_essential or _is_answered(job) or (has_room and job.is_flash)
            (kept if is_kept else refused).append(job)
        jobs[:] = kept
        return refused

    def _transact(self, jobs: Sequence[Job]) -> sqlite3.Error | OSError | None:
        """Run jobs in one transaction, answer them once it is synced; the error when nothing of it happened."""
        rows = self.tables.rows
        database = rows.database
        try:
            if self._is_stale:
                raise sqlite3.OperationalError("the tables cannot be read")
            if self.ballast.failure is not None:  # the folder may be gone: what is written would be found by nobody
                raise self.ballast.failure
            rows.begin()
            if self._is_untrusted:
                self._regain_trust(database)
            database.execute("BEGIN IMMEDIATE")
            for job in jobs:
                job.run(self.tables)
            rows.finish()
            began_s = time.perf_counter()
            database.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:  # OSError: also when a damaged file could not be set aside
            self._is_untrusted = self._is_untrusted or is_io_failure(error)
            self._take_back()
            return error
        self.failure = ""  # before whoever waits is answered
        self.pace.note(sum(job.payload_bytes for job in jobs), time.perf_counter() - began_s)
        try:
            rows.measure()
        except sqlite3.Error as error:  # what is committed is answered; the room is known again after the next
            self._note_failure(error, explain(error, self.ballast.folder))
        rows.starts.write_outside()
        outcomes: list[tuple[int, Outcome]] = []
        calls: list[Call] = []
        for job in jobs:
            job.answer(outcomes, calls)
        self._clean_up(calls)
        self.answers.give(outcomes, calls)
        return None

    def _take_back(self) -> None:
        """A transaction did not happen: memory goes by the tables again, or it is stale while they cannot be read."""
        rows = self.tables.rows
        self._is_stale = True
        try:
            if rows.database.in_transaction:
                rows.database.execute("ROLLBACK")
            rows.rollback()
            self.tables.load()
        except sqlite3.Error as error:
            self._note_failure(error, explain(error, self.ballast.folder))
            return
        self._is_stale = False

    def _regain_trust(self, database: sqlite3.Connection) -> None:
        """After a failed write or sync the log counts as lost until all of it is in the database and synced.

        The kernel may call pages clean that never got there, and the next sync would succeed in vain. Raises
        sqlite3.Error while the disk still fails, or readers are in the way.
        """
        is_busy, *_ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            raise sqlite3.OperationalError("the log cannot be written anew while it is read")
        self._is_untrusted = False
        _log.warning("store_trusted_again", path=str(self.ballast.folder))

    def _clean_up(self, calls: list[Call]) -> None:
        """After a commit: delete files whose rows are gone, tell of evicted bundles, forget file jobs done."""
        rows = self.tables.rows
        for bundle in rows.removal.files:
            try:
                self.files.remove(bundle)
            except OSError as error:  # its row is gone: swept at the next start
                _log.warning("payload_file_failed", bundle=str(bundle), reason=str(error))
        if rows.removal.files:
            self.on_removed(rows.removal.files)
        on_evicted, evicted = self.on_evicted, rows.eviction.evicted
        if evicted and on_evicted is not None:
            calls.append(lambda: on_evicted(evicted))
        rows.begin()

    def _refuse(self, jobs: Sequence[Job], failed: Failed) -> None:
        outcomes: list[tuple[int, Outcome]] = []
        calls: list[Call] = []
        for job in jobs:
            if isinstance(job, FileJob):
                job.give_back(self.tables.rows)
            job.refuse(failed, outcomes, calls)
        self.answers.give(outcomes, calls)

    def _look_at_disk(self) -> None:
        """See how much room the disk has, before SQLite meets its end."""
        self.disk_free_bytes = self.ballast.disk_free_bytes()
        self.promised_bytes = sum(part.missing_bytes for part in self.tables.rows.parts.held.values())
        self._set_full(not self.ballast.has_room(0))
        if self._mark.is_owed:
            self._mark.put()

    def _shrink(self) -> None:
        """Give pages that erased rows left behind back to the disk where it is short, a few at a time."""
        database = self.tables.rows.database
        try:
            if database.execute("PRAGMA freelist_count").fetchone()[0] < SHRINK_PAGES:
                return
            # a script, because execute() frees one page only (measured with the stdlib module)
            database.executescript(f"PRAGMA incremental_vacuum({SHRINK_PAGES});")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self.tables.rows.measure()
        except sqlite3.Error as error:
            self._note_failure(error, explain(error, self.ballast.folder))

    def _set_full(self, is_full: bool) -> None:
        if is_full != self.is_full:
            self.is_full = is_full
            event = "store_disk_full" if is_full else "store_disk_has_room"
            _log.warning(event, disk_free_bytes=self.disk_free_bytes, path=str(self.ballast.folder))

    def _no_room(self, payload_bytes: int) -> Failed:
        detail = f"the disk has {self.disk_free_bytes} bytes free, {payload_bytes} more were asked"
        return Failed(RefusalReason.STORE_FULL, detail)

    def _note_failure(self, error: sqlite3.Error | OSError, detail: str) -> None:
        if is_damage(error):
            self._mark.put()
        if not self.failure:
            _log.error("store_failed", reason=detail, code=getattr(error, "sqlite_errorname", ""))
        self.failure = detail


def _is_answered(job: Job) -> bool:
    return isinstance(job, FileJob) and job.outcome is not None
