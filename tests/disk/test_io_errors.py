"""A disk that fails now and then: what did not reach it is never called stored, and the store goes on loudly."""

import errno
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from edge_agent.core.bundle import Precedence
from edge_agent.core.effects import Done, Failed
from edge_agent.core.errors import RefusalReason
from edge_agent.disk import store as disk_store
from edge_agent.disk import writer
from edge_agent.disk.file_system import FileSystem
from edge_agent.disk.types import Start
from tests.disk.bench import PERSON, opened, pattern, queue_of

LARGE_BYTES = 3 << 20  # three steps of a fast disk


@dataclass
class Faults:
    """What the disk says next; the SQLite codes of statements, how many syncs of files still succeed."""

    codes: list[int] = field(default_factory=list)
    good_syncs: int | None = None
    writes: list[int] = field(default_factory=list)
    """Errors of the next writes to files."""
    statements: list[str] = field(default_factory=list)
    unreadable: str = ""
    """Statements that begin so fail, ``bad_reads`` times."""
    bad_reads: int = 0


class _Connection(sqlite3.Connection):
    faults: Faults

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # Any: what sqlite3 takes
        self.faults.statements.append(sql)
        if sql == "COMMIT" and self.faults.codes:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self.faults.codes.pop(0)
            raise error
        if self.faults.bad_reads and sql.startswith(self.faults.unreadable):
            self.faults.bad_reads -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *parameters)


class FailingFileSystem(FileSystem):
    """The machine's own with faults; the writer's connection is the first one."""

    def __init__(self) -> None:
        self.faults = Faults()

    def connect(self, path: Path) -> sqlite3.Connection:
        faults = self.faults

        class Connection(_Connection):
            pass

        Connection.faults = faults
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Connection)

    def write(self, descriptor: int, offset: int, piece: bytes | memoryview) -> int:
        if self.faults.writes:
            number = self.faults.writes.pop()
            raise OSError(number, errno.errorcode[number])
        return super().write(descriptor, offset, piece)

    def sync(self, descriptor: int) -> None:
        if self.faults.good_syncs is not None:
            self.faults.good_syncs -= 1
            if self.faults.good_syncs == -1:
                raise OSError(errno.EIO, "Input/output error")
        super().sync(descriptor)


async def test_after_a_failed_sync_the_log_is_written_out_before_anything_is_believed(tmp_path: Path) -> None:
    disk = FailingFileSystem()
    with capture_logs() as logs:
        async with opened(tmp_path, file_system=disk) as store:
            kept = store.own(100)
            assert await store.persist(kept, pattern(100)) == Done()
            disk.faults.codes.append(sqlite3.SQLITE_IOERR | (4 << 8))  # SQLITE_IOERR_FSYNC
            lost = store.own(100)
            outcome = await store.persist(lost, pattern(100))
            assert isinstance(outcome, Failed)
            assert outcome.reason is RefusalReason.STORE_FAILED
            disk.faults.statements.clear()
            after = store.own(100)
            assert await store.persist(after, pattern(100)) == Done()
            assert disk.faults.statements[0].startswith("PRAGMA wal_checkpoint")
            assert await store.persist(store.own(100, flow="other"), pattern(100)) == Done()
            assert sum("wal_checkpoint" in each for each in disk.faults.statements) == 1
            assert [record.id for record in (await store.window(queue_of(kept))).records] == [kept.id, after.id]
    events = [each["event"] for each in logs]
    assert events.index("store_failed") < events.index("store_trusted_again")


async def test_tables_that_cannot_be_read_after_a_failed_commit_are_read_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread ended for it, and the agent with it."""
    monkeypatch.setattr(writer, "STALE_PAUSE_S", 0.0)
    disk = FailingFileSystem()
    async with opened(tmp_path, file_system=disk) as store:
        kept = store.own(100)
        assert await store.persist(kept, pattern(100)) == Done()
        disk.faults.codes.append(sqlite3.SQLITE_IOERR | (4 << 8))  # SQLITE_IOERR_FSYNC
        disk.faults.unreadable, disk.faults.bad_reads = "SELECT name, flow, cursor", 2
        first, second, third = (store.arriving(100, incarnation=7) for _ in range(3))
        for lost in (first, second):
            assert isinstance(await store.persist(lost, pattern(100), is_arrival=True), Failed)
        assert disk.faults.bad_reads == 0
        assert await store.persist(third, pattern(100), is_arrival=True) == Done()
        assert await store.persist(first, pattern(100), is_arrival=True) == Done()
        await store.disk.consumer_open("all", start=Start.ALL)
        assert [each.record.id for each in await store.disk.consumer_next("all")] == [third.id, first.id]
        assert [record.id for record in (await store.window(queue_of(kept))).records] == [kept.id]
        assert await store.disk.verify() == []


@pytest.mark.parametrize("statement", ["PRAGMA page_count", "PRAGMA freelist_count"])
async def test_room_that_cannot_be_looked_up_costs_no_answer(tmp_path: Path, statement: str) -> None:
    disk = FailingFileSystem()
    async with opened(tmp_path, file_system=disk) as store:
        disk.faults.unreadable, disk.faults.bad_reads = statement, 1
        assert await store.persist(store.own(100), pattern(100)) == Done()
        assert await store.persist(store.own(100), pattern(100)) == Done()
        assert disk.faults.bad_reads == 0


@pytest.mark.parametrize("good_syncs", [0, 1, 2])
async def test_a_file_of_which_one_step_did_not_reach_the_disk_is_not_stored(tmp_path: Path, good_syncs: int) -> None:
    """Also when the sync after the failed one succeeds: the kernel had called those pages clean."""
    disk = FailingFileSystem()
    async with opened(tmp_path, file_system=disk) as store:
        await store.persist(store.own(100), pattern(100))
        disk.faults.good_syncs = good_syncs
        record = store.own(LARGE_BYTES, flow="picture")
        outcome = await store.persist(record, pattern(LARGE_BYTES))
        assert isinstance(outcome, Failed)
        assert (await store.window(queue_of(record))).records == ()


async def test_a_file_whose_row_was_rolled_back_is_not_called_stored(tmp_path: Path) -> None:
    """The disk is full at the commit: the second try, for those that cannot wait, must not answer for the first."""
    disk = FailingFileSystem()
    async with opened(tmp_path, file_system=disk) as store:
        large = store.own(200_000, flow="picture")
        disk.faults.codes.append(sqlite3.SQLITE_FULL)
        waits = store.persist(large, pattern(200_000))
        sos = store.own(200, precedence=Precedence.FLASH, **PERSON)
        assert isinstance(await waits, Failed)
        assert await store.persist(sos, pattern(200)) == Done()
        assert (await store.window(queue_of(large))).records == ()


async def test_what_has_happened_is_noted_once_the_disk_works_again_and_nobody_ends_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An acknowledgement is tried again; what a bundle came to is read meanwhile, as far as it was noted."""
    monkeypatch.setattr(disk_store, "RETRY_S", 0.01)
    disk, failed_sync = FailingFileSystem(), sqlite3.SQLITE_IOERR | (4 << 8)
    async with opened(tmp_path, file_system=disk) as store:
        record = store.arriving(10, destination=store.node_id)
        await store.persist(record, pattern(10), is_arrival=True)
        await store.disk.consumer_open("page", "*", Start.ALL)
        (delivery,) = await store.disk.consumer_next("page")
        disk.faults.codes += [failed_sync] * 3
        await store.disk.consumer_ack("page", delivery.position)
        assert disk.faults.codes == []
        assert await store.disk.consumer_next("page") == []
        disk.faults.codes += [failed_sync]
        fate = await store.disk.fate(record.id)
        assert fate is not None
        assert "disk I/O error" in store.disk.report().failure
        await store.disk.flush()
        assert store.disk.report().failure == ""


@pytest.mark.parametrize("step", ["write", "write_full", "first_sync", "last_sync", "commit", "commit_full"])
async def test_a_large_payload_that_failed_gives_its_room_back_at_once(tmp_path: Path, step: str) -> None:
    """Handed in as one piece: its file and its share of the quota go with the refusal, not at the next start."""
    disk = FailingFileSystem()
    async with opened(tmp_path, file_system=disk) as store:
        await store.persist(store.own(100), pattern(100))
        quota = store.disk._store.quota
        before = (quota.used_bytes, quota.part_bytes, quota.file_bytes)
        if step.startswith("write"):
            disk.faults.writes.append(errno.ENOSPC if step.endswith("full") else errno.EIO)
        elif step.endswith("sync"):
            disk.faults.good_syncs = 0 if step == "first_sync" else 2
        else:
            disk.faults.codes.append(sqlite3.SQLITE_FULL if step.endswith("full") else sqlite3.SQLITE_IOERR | (4 << 8))
        for origin in ({}, PERSON):
            record = store.own(LARGE_BYTES, **origin)
            if not isinstance(await store.persist(record, pattern(LARGE_BYTES)), Failed):
                assert origin, "the first one meets the fault"
                await store.erase(record.id)
        await store.disk.flush()
        assert (quota.used_bytes, quota.part_bytes, quota.file_bytes) == before
        assert store.disk._writer.promised_bytes == 0
        assert not store.disk._store.consumers.rows.parts.held
        assert [path.name for path in (tmp_path / "payloads").iterdir()] == []


async def test_a_part_that_came_over_a_link_outlives_a_failed_copy_of_its_bundle(tmp_path: Path) -> None:
    """Carried here by hand while half of it is here already: what is synced stays."""
    disk = FailingFileSystem()
    async with opened(tmp_path, file_system=disk) as store:
        record = store.arriving(LARGE_BYTES)
        half = LARGE_BYTES // 2
        assert await store.persist_piece(record.id, LARGE_BYTES, 0, pattern(LARGE_BYTES)[:half]) == Done()
        disk.faults.writes.append(errno.EIO)
        assert isinstance(await store.persist(record, pattern(LARGE_BYTES), is_arrival=True), Failed)
        rest = pattern(LARGE_BYTES)[half:]
        assert await store.persist_piece(record.id, LARGE_BYTES, half, rest, record=record) == Done()
        assert await store.fetch_all(record) == pattern(LARGE_BYTES)
