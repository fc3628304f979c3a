"""A disk that is out of reach for a while: what it met ended the store's threads, and the agent with them."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.core.effects import Done, Failed, Outcome
from edge_agent.core.errors import RefusalReason
from edge_agent.disk import checking
from edge_agent.disk.checking import Checking
from edge_agent.disk.file_system import FileSystem
from edge_agent.disk.files import PART_SUFFIX, PayloadFiles
from edge_agent.disk.schema import DAMAGE_MARK, DATABASE_NAME
from edge_agent.disk.types import StoreError
from tests.disk.bench import opened, pattern, queue_of
from tests.disk.test_io_errors import FailingFileSystem

LARGE_BYTES = 150_000

pytestmark = pytest.mark.timeout(30)  # a thread that ended answers nobody


def refused(outcome: Outcome) -> str:
    assert isinstance(outcome, Failed)
    assert outcome.reason is RefusalReason.STORE_FAILED
    return outcome.detail


async def test_while_the_folder_is_gone_nothing_is_accepted_and_once_it_is_back_all_is(tmp_path: Path) -> None:
    """Its file system does not tell its room; what was written now might be found by nobody."""
    folder, away = tmp_path / "store", tmp_path / "away"
    with capture_logs() as logs:
        async with opened(folder) as store:
            kept = store.own(100)
            assert await store.persist(kept, pattern(100)) == Done()
            folder.rename(away)
            for size in (100, LARGE_BYTES, 100):
                assert "No such file" in refused(await store.persist(store.own(size), pattern(size)))
            assert "No such file" in store.disk.report().failure
            assert store.disk.free_bytes() > 0
            away.rename(folder)
            after = store.own(100)
            assert await store.persist(after, pattern(100)) == Done()
            large = store.own(LARGE_BYTES, flow="picture")
            assert await store.persist(large, pattern(LARGE_BYTES)) == Done()
            assert store.disk.report().failure == ""
            assert await store.disk.verify() == []
    assert [each["event"] for each in logs].count("store_failed") == 1
    async with opened(folder) as store:
        assert [each.id for each in (await store.window(queue_of(kept))).records] == [kept.id, after.id]


class _Unreachable(FileSystem):
    """Gives the first connection, which is the writer's, and others as it is told."""

    def __init__(self) -> None:
        self.connections, self.gives_more = 0, False

    def connect(self, path: Path) -> sqlite3.Connection:
        self.connections += 1
        return super().connect(path if self.connections == 1 or self.gives_more else path / "nowhere")


async def test_a_store_that_cannot_be_opened_to_read_answers_why_and_reads_once_it_can(tmp_path: Path) -> None:
    disk = _Unreachable()
    with capture_logs() as logs:
        async with opened(tmp_path, file_system=disk) as store:
            record = store.own(100)
            assert await store.persist(record, pattern(100)) == Done()
            for _ in range(3):
                assert "unable to open" in refused(await store.fetch(record.id, 0, 100))
            with pytest.raises(StoreError, match="unable to open"):
                await store.disk.own_messages(5)
            assert "unable to open" in store.disk.report().unreadable
            disk.gives_more = True
            assert await store.fetch_all(record) == pattern(100)
            assert store.disk.report().unreadable == ""
    events = [each["event"] for each in logs if each["event"] != "store_files_unchecked"]
    assert events == ["store_unreadable", "store_readable_again"]


async def test_damage_on_a_disk_that_does_not_take_the_mark_is_marked_once_it_does(tmp_path: Path) -> None:
    folder, target = tmp_path / "store", tmp_path / "later" / "mark"
    disk = FailingFileSystem()
    async with opened(folder, file_system=disk) as store:
        assert await store.persist(store.own(100), pattern(100)) == Done()
        (folder / DAMAGE_MARK).symlink_to(target)  # whose folder is not there: it cannot be made
        disk.faults.codes.append(sqlite3.SQLITE_CORRUPT)
        refused(await store.persist(store.own(100), pattern(100)))
        assert await store.persist(store.own(100), pattern(100)) == Done()
        target.parent.mkdir()
        assert await store.persist(store.own(100), pattern(100)) == Done()
        assert target.exists()
        assert store.disk.report().failure == ""


@pytest.fixture(name="is_checked")
def fixture_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small databases are looked at in use, too."""
    monkeypatch.setattr(checking, "QUICK_CHECK_MAX_BYTES", 0)


@pytest.mark.usefixtures("is_checked")
async def test_damage_found_by_the_check_is_marked_once_the_disk_takes_the_mark(tmp_path: Path) -> None:
    folder, target = tmp_path / "store", tmp_path / "later" / "mark"
    async with opened(folder) as store:
        for _ in range(300):
            await store.persist(store.own(400), pattern(400))
    async with opened(folder) as store:
        await asyncio.wrap_future(store.disk._check)  # its own finds nothing yet
        (folder / DAMAGE_MARK).symlink_to(target)
        content = bytearray((folder / DATABASE_NAME).read_bytes())
        content[8 * 4_096 :] = b"\xa5" * (len(content) - 8 * 4_096)
        (folder / DATABASE_NAME).write_bytes(content)
        check = Checking(store.disk._store, lambda bundle: None)
        retries = iter((False, True))

        def wait(timeout_s: float) -> bool:
            if next(retries):
                target.parent.mkdir()
            return False

        check._stopping.wait = wait  # type: ignore[method-assign, assignment]  # the time between two tries
        check.run()
        assert check.damage
        assert target.exists()


@pytest.mark.usefixtures("is_checked")
async def test_a_check_that_cannot_reach_the_files_ends_nobody(tmp_path: Path) -> None:
    folder, away = tmp_path / "store", tmp_path / "away"
    async with opened(folder) as store:
        check = Checking(store.disk._store, lambda bundle: None)
        folder.rename(away)
        check.run()
        assert check.damage == ""
        away.rename(folder)


class _KeepsNames(FailingFileSystem):
    """Refuses to take a final name back."""

    def rename(self, old: Path, new: Path) -> None:
        if new.suffix == PART_SUFFIX:
            raise OSError(30, "Read-only file system")
        super().rename(old, new)


async def test_a_final_name_that_cannot_be_taken_back_is_at_the_next_start(tmp_path: Path) -> None:
    disk = _KeepsNames()
    half, payload = LARGE_BYTES // 2, pattern(LARGE_BYTES)
    async with opened(tmp_path, file_system=disk) as store:
        record = store.arriving(LARGE_BYTES)
        assert await store.persist_piece(record.id, LARGE_BYTES, 0, payload[:half]) == Done()
        disk.faults.codes.append(sqlite3.SQLITE_IOERR | (4 << 8))  # SQLITE_IOERR_FSYNC
        refused(await store.persist_piece(record.id, LARGE_BYTES, half, payload[half:], record=record))
        assert await store.persist(store.own(100), pattern(100)) == Done()
    async with opened(tmp_path) as store:
        (part,) = store.restored.parts
        assert (part.bundle, part.ranges) == (record.id, ((0, half),))
        assert await store.persist_piece(record.id, LARGE_BYTES, half, payload[half:], record=record) == Done()
        assert await store.fetch_all(record) == payload


async def test_a_part_that_cannot_be_looked_up_refuses_its_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as store:
        record = store.arriving(LARGE_BYTES)
        assert await store.persist_piece(record.id, LARGE_BYTES, 0, pattern(1_000)) == Done()
        with monkeypatch.context() as patch:
            patch.setattr(PayloadFiles, "part_path", lambda files, bundle: files.folder / ("x" * 300))
            detail = refused(await store.persist_piece(record.id, LARGE_BYTES, 1_000, pattern(1_000)))
            assert "too long" in detail
        assert await store.persist_piece(record.id, LARGE_BYTES, 1_000, pattern(1_000)) == Done()
