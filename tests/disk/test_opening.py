"""Opening: damage is set aside and told, a copy is noticed, and files and rows agree afterwards."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.core.effects import Done, Failed
from edge_agent.disk.files import PART_SUFFIX, WHOLE_SUFFIX
from edge_agent.disk.schema import DATABASE_NAME, SCHEMA_VERSION
from edge_agent.disk.types import StoreError
from tests.disk.bench import opened, pattern, queue_of

LARGE = 150_000


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def found(folder: Path, glob: str) -> list[Path]:
    return sorted(folder.glob(glob))


async def filled(folder: Path, *, rows: int = 200) -> None:
    """A store with waiting rows and one large payload."""
    async with opened(folder) as store:
        for _ in range(rows):
            await store.persist(store.own(400), pattern(400))
        await store.persist(store.own(LARGE), pattern(LARGE))


def garble_header(folder: Path) -> None:
    overwrite(folder / DATABASE_NAME, 0, b"no database at all")


def garble_pages(folder: Path) -> None:
    size = (folder / DATABASE_NAME).stat().st_size
    assert size > 100_000
    overwrite(folder / DATABASE_NAME, 8_192, b"\xa5" * (size - 8_192 - 4_096))


def cut_short(folder: Path) -> None:
    with (folder / DATABASE_NAME).open("r+b") as file:
        file.truncate(20_000)


@pytest.mark.parametrize("harm", [garble_header, garble_pages, cut_short])
async def test_a_damaged_database_is_set_aside_whole_and_told(tmp_path: Path, harm: "type[object]") -> None:
    await filled(tmp_path)
    async with opened(tmp_path) as store:
        incarnation = store.restored.incarnation
    harm(tmp_path)  # type: ignore[call-arg]  # a function of this file
    content = (tmp_path / DATABASE_NAME).read_bytes()
    with capture_logs() as logs:
        async with opened(tmp_path) as store:
            aside = store.disk.report().set_aside
            assert store.restored.queues == ()
            assert store.restored.incarnation != incarnation
            assert await store.persist(store.own(), bytes(10)) == Done()
    assert aside is not None
    assert aside.read_bytes()[100:] == content[100:]  # SQLite may count one more change in the file's header
    assert [entry["log_level"] for entry in logs if entry["event"] == "store_set_aside"] == ["error"]
    kept = found(tmp_path, "payloads.damaged-*/*")
    assert [path.read_bytes() for path in kept] == [pattern(LARGE)]
    async with opened(tmp_path) as store:
        assert store.disk.report().set_aside is None
        assert len(store.restored.queues) == 1


async def test_a_store_of_a_newer_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    await filled(tmp_path, rows=1)
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as database:
        database.execute("PRAGMA user_version = 99")
    for _ in range(2):  # the lock is free again after the refusal
        known = f"this program knows up to {SCHEMA_VERSION}"
        with pytest.raises(StoreError, match=f"store {tmp_path / DATABASE_NAME} has version 99, {known}"):
            async with opened(tmp_path):
                pass
    assert found(tmp_path, "*damaged*") == []


async def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "payloads").write_text("not a folder")
    with pytest.raises(StoreError, match=f"store {tmp_path} cannot be opened"):
        async with opened(tmp_path):
            pass


async def test_a_copied_store_gets_a_new_name_and_still_sends_what_waits(tmp_path: Path) -> None:
    first, copy = tmp_path / "first", tmp_path / "copy"
    async with opened(first) as store:
        old = store.own(100)
        await store.persist(old, pattern(100))
        original = store.restored
    shutil.copytree(first, copy)
    with capture_logs() as logs:
        async with opened(copy) as store:
            assert store.disk.report().was_copied
            assert store.restored.incarnation != original.incarnation
            assert store.restored.next_sequences == (0, 0, 0, 0, 0)
            assert store.restored.session_number > original.session_number
            assert store.restored.queues[0].queue == queue_of(old)
            assert await store.fetch_all(old) == pattern(100)
            new = store.own(100)
            assert (new.id.sequence, await store.persist(new, bytes(100))) == (0, Done())
            window = await store.window(queue_of(old))
            assert window.records == (old, new)  # the older incarnation first, whatever its bits
    assert [(entry["log_level"], entry["changed"][0]) for entry in logs if entry["event"] == "store_copied"] == [
        ("error", "inode")
    ]
    async with opened(copy) as store:
        assert not store.disk.report().was_copied  # told once; it is a store of its own now
        assert store.restored.next_sequences[new.id.precedence] == 1
    async with opened(first) as store:
        assert not store.disk.report().was_copied
        assert store.restored.incarnation == original.incarnation


async def test_a_store_moved_or_restarted_keeps_its_name(tmp_path: Path) -> None:
    await filled(tmp_path / "a", rows=1)
    async with opened(tmp_path / "a") as store:
        incarnation = store.restored.incarnation
    (tmp_path / "a").rename(tmp_path / "b")
    async with opened(tmp_path / "b") as store:
        assert store.restored.incarnation == incarnation
        assert not store.disk.report().was_copied


async def test_a_backup_put_back_in_place_is_noticed(tmp_path: Path) -> None:
    """Numbers given out after the backup would be given out again under the same name."""
    store_folder, backup = tmp_path / "s", tmp_path / "backup"
    await filled(store_folder, rows=1)
    shutil.copytree(store_folder, backup)
    async with opened(store_folder) as store:
        await store.persist(store.own(), bytes(10))
        incarnation = store.restored.incarnation
    shutil.rmtree(store_folder)
    shutil.copytree(backup, store_folder)
    async with opened(store_folder) as store:
        assert store.disk.report().was_copied
        assert store.restored.incarnation != incarnation


async def test_orphans_are_swept_and_strangers_files_stay(tmp_path: Path) -> None:
    await filled(tmp_path, rows=1)
    payloads = tmp_path / "payloads"
    kept = sorted(path.name for path in payloads.iterdir())
    for name in ("kit-1~0000000000000001~R5.part", "kit-1~0000000000000001~R6.payload"):
        (payloads / name).write_bytes(b"orphan")
    (payloads / "README").write_text("somebody's note")
    async with opened(tmp_path):
        assert sorted(path.name for path in payloads.iterdir()) == ["README", *kept]


async def test_a_name_given_before_its_row_is_taken_back(tmp_path: Path) -> None:
    """Killed between the rename and the commit: the part is as far as its last piece, and can be finished."""
    async with opened(tmp_path) as store:
        record = store.arriving(LARGE)
        for start in (0, 75_000):
            await store.persist_piece(record.id, LARGE, start, pattern(LARGE)[start : start + 75_000])
    part = store.disk._store.files.part_path(record.id)
    part.rename(part.with_suffix(WHOLE_SUFFIX))
    async with opened(tmp_path) as store:
        assert store.restored.parts[0].ranges == ((0, LARGE),)
        assert await store.persist_piece(record.id, LARGE, LARGE, b"", record=record) == Done()
        assert await store.fetch_all(record) == pattern(LARGE)
        assert [path.suffix for path in (tmp_path / "payloads").iterdir()] == [WHOLE_SUFFIX]
        assert PART_SUFFIX != WHOLE_SUFFIX


async def test_a_payload_file_that_is_gone_is_told_and_its_row_promises_nothing(tmp_path: Path) -> None:
    await filled(tmp_path, rows=1)
    (large,) = (tmp_path / "payloads").iterdir()
    large.unlink()
    with capture_logs() as logs:
        async with opened(tmp_path) as store:
            (count,) = store.restored.queues
            assert count.bundles == 1
            await store.persist(store.own(), bytes(10))
    assert [entry["bundle"] for entry in logs if entry["event"] == "payload_missing"] == [large.stem]
    async with opened(tmp_path) as store:
        assert store.restored.queues[0].bundles == 2


async def test_verify_finds_changed_and_missing_content(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        records = [store.own(LARGE) for _ in range(3)]
        for record in records:
            await store.persist(record, pattern(LARGE))
        assert await store.disk.verify() == []
        overwrite(store.disk._store.files.whole_path(records[0].id), LARGE - 1, b"\xff")
        store.disk._store.files.whole_path(records[1].id).unlink()
        assert sorted(await store.disk.verify()) == sorted(
            [
                f"bundle {records[0].id}: its payload file has another content than when it was stored",
                f"bundle {records[1].id}: No such file or directory",
            ]
        )
        assert isinstance(await store.fetch(records[1].id, 0, 1), Failed)
