"""A backup written over the store in place: inode and birth stay, the count beside the database tells."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.core.effects import BurstWindow, Done
from edge_agent.disk.identity import fingerprint
from edge_agent.disk.rows import LEASE_NUMBERS
from edge_agent.disk.schema import DATABASE_NAME
from edge_agent.disk.starts import STARTS_NAME
from tests.disk.bench import Store, opened

REPO = Path(__file__).parents[2]
LEASED = 64
WINDOW = BurstWindow(3, 4, 5, 0b11)


async def use(store: Store, *, up_to: int = LEASED) -> None:
    """Numbers are given out under the name of this store."""
    assert await store.persist(store.own(), bytes(10)) == Done()
    assert await store.lease(up_to) == Done()
    assert await store.sync(WINDOW) == Done()


async def lease_bundles(store: Store) -> None:
    assert await store.persist(store.own(sequence=LEASE_NUMBERS + 1), bytes(10)) == Done()


async def lease_bursts(store: Store) -> None:
    assert await store.lease(2 * LEASED) == Done()


def write_over(folder: Path, content: dict[str, bytes]) -> None:
    """Put files back as ``cp`` does: the file stays, its content changes; no others of the database remain."""
    before = fingerprint(folder)
    for suffix in ("-wal", "-shm"):
        (folder / f"{DATABASE_NAME}{suffix}").unlink(missing_ok=True)
    for name, each in content.items():
        (folder / name).write_bytes(each)
    assert fingerprint(folder) == before, "the test must leave no other trace than the content"


def run_killed(folder: Path, patch: str) -> None:
    """Another process opens the store, leases and is killed where ``patch`` says; it says what was answered."""
    code = f"""
import asyncio, os, signal
from pathlib import Path
from edge_agent.disk import starts
from tests.disk.bench import opened

kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write = starts._write_starts
{patch}

async def main():
    async with opened(Path({str(folder)!r})) as store:
        await store.lease({10 * LEASED})
        print("answered")
        kill()

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert ("answered" in ended.stdout) == (patch == ""), ended


async def check_is_restored(folder: Path, *, old: Store, changed: list[str], above: int) -> None:
    """The store goes on under a new name, once."""
    with capture_logs() as logs:
        async with opened(folder) as store:
            assert store.disk.report().was_copied
            assert store.restored.incarnation != old.restored.incarnation
            assert (store.restored.next_sequences, store.restored.burst_leased) == ((0,) * 5, 0)
            assert store.restored.burst_windows == (WINDOW,)
            assert store.restored.session_number > above  # or peers would take the new process for an old one
            new = store.restored.incarnation
            await use(store)
    (said,) = [entry for entry in logs if entry["event"] == "store_copied"]
    assert (said["log_level"], said["changed"]) == ("error", changed)
    assert said["session_number_outside"] >= said["session_number"]
    async with opened(folder) as store:
        assert not store.disk.report().was_copied
        assert (store.restored.incarnation, store.restored.burst_leased) == (new, LEASED)


async def test_an_older_database_written_over_this_one_is_noticed(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await use(store)
    backup = (tmp_path / DATABASE_NAME).read_bytes()
    async with opened(tmp_path) as store:
        await use(store, up_to=2 * LEASED)
        number = store.restored.session_number
    write_over(tmp_path, {DATABASE_NAME: backup})
    await check_is_restored(tmp_path, old=store, changed=["session_number"], above=number)


async def test_a_backup_put_back_after_a_kill_is_noticed(tmp_path: Path) -> None:
    """The log that the killed process left belongs to no backup and is removed with it."""
    async with opened(tmp_path) as store:
        await use(store)
    backup = (tmp_path / DATABASE_NAME).read_bytes()
    run_killed(tmp_path, "")
    assert (tmp_path / f"{DATABASE_NAME}-wal").stat().st_size
    number = json.loads((tmp_path / STARTS_NAME).read_bytes())["session_number"]
    write_over(tmp_path, {DATABASE_NAME: backup})
    await check_is_restored(tmp_path, old=store, changed=["session_number"], above=number)


@pytest.mark.parametrize("lease", [lease_bundles, lease_bursts])
async def test_a_backup_made_while_the_same_process_ran_is_noticed(
    tmp_path: Path, lease: Callable[[Store], Awaitable[object]]
) -> None:
    """No start lies between backup and restore, but numbers that the backup knows nothing of: database and its log."""
    names = (DATABASE_NAME, f"{DATABASE_NAME}-wal")
    async with opened(tmp_path) as store:
        await use(store)
        backup = {name: (tmp_path / name).read_bytes() for name in names}
        await lease(store)
        number = store.restored.session_number
    write_over(tmp_path, backup)
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as database:
        assert dict(database.execute("SELECT name, value FROM facts"))["burst_leased"] == LEASED
    await check_is_restored(tmp_path, old=store, changed=["session_number"], above=number)


async def test_a_backup_that_knows_every_lease_gives_no_number_twice(tmp_path: Path) -> None:
    """Nothing was leased since, so whatever was used lies below what the backup leased: it may go on."""
    names = (DATABASE_NAME, f"{DATABASE_NAME}-wal")
    async with opened(tmp_path) as store:
        await use(store)
        backup = {name: (tmp_path / name).read_bytes() for name in names}
        last = store.own()
        await store.persist(last, bytes(10))
    write_over(tmp_path, backup)
    async with opened(tmp_path) as store:
        assert not store.disk.report().was_copied
        assert store.restored.next_sequences[last.id.precedence] > last.id.sequence
        assert store.restored.burst_leased == LEASED


async def test_a_whole_folder_written_over_this_one_is_noticed(tmp_path: Path) -> None:
    """The count is put back with the database and agrees with it; but it was not born where it lies now."""
    folder, backup = tmp_path / "store", tmp_path / "backup"
    async with opened(folder) as store:
        await use(store)
    shutil.copytree(folder, backup)
    async with opened(folder) as store:
        await use(store, up_to=2 * LEASED)
    content = {name: (backup / name).read_bytes() for name in (DATABASE_NAME, STARTS_NAME)}
    write_over(folder, content)
    born = set(json.loads(content[STARTS_NAME])) - {"session_number"}
    with capture_logs() as logs:
        async with opened(folder) as again:
            assert again.disk.report().was_copied
            assert (again.restored.incarnation == store.restored.incarnation, again.restored.burst_leased) == (False, 0)
    (said,) = [entry for entry in logs if entry["event"] == "store_copied"]
    assert set(said["changed"]) <= {f"{STARTS_NAME} {name}" for name in born}
    assert said["changed"][-1] == f"{STARTS_NAME} birth"  # the inode may be the same again


async def test_a_damaged_database_is_set_aside_and_the_new_one_counts_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await use(store)
        number = store.restored.session_number
    (tmp_path / DATABASE_NAME).write_bytes(b"no database at all" * 1_000)
    async with opened(tmp_path) as store:
        assert not store.disk.report().was_copied  # it is new, not old
        assert store.restored.session_number > number


@pytest.mark.parametrize(
    ("patch", "leased"),
    [
        pytest.param("starts._write_starts = kill", 2 * LEASED, id="start-before-the-file"),
        pytest.param("Path.replace = kill", 2 * LEASED, id="start-before-the-rename"),
        pytest.param(
            "turn = iter(range(2)); starts._write_starts = lambda *given: kill() if next(turn) else write(*given)",
            10 * LEASED,
            id="lease-before-the-file",
        ),
    ],
)
async def test_a_kill_between_commit_and_count_is_no_restore(tmp_path: Path, patch: str, leased: int) -> None:
    numbers = []
    async with opened(tmp_path) as store:
        for up_to in (LEASED, 2 * LEASED):
            await store.lease(up_to)
        await store.sync(WINDOW)
        numbers.append(store.restored.session_number)
        incarnation = store.restored.incarnation
    run_killed(tmp_path, patch)
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as database:
        (counted,) = database.execute("SELECT value FROM facts WHERE name = 'session_number'").fetchone()
    assert json.loads((tmp_path / STARTS_NAME).read_bytes())["session_number"] == counted - 1  # killed just there
    for _ in range(2):
        async with opened(tmp_path) as store:
            assert not store.disk.report().was_copied
            assert store.restored.incarnation == incarnation
            assert store.restored.burst_leased == leased
            assert store.restored.burst_windows == (WINDOW,)
            numbers.append(store.restored.session_number)
    assert numbers == sorted(set(numbers))


def nothing(path: Path) -> None:
    path.unlink()


def text(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


@pytest.mark.parametrize(
    "harm",
    [
        nothing,
        text(b""),
        text(b"\xff\xfe"),
        text(b"[" * 5_000),
        text(b"7"),
        text(b"{}"),
        text(b'{"session_number": true}'),
        text(b'{"session_number": -1}'),
        text(b'{"session_number": 1e9}'),
        text(b'{"session_number": 9223372036854775807}'),
    ],
)
async def test_a_count_that_cannot_be_read_is_no_evidence_and_written_anew(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    path = tmp_path / STARTS_NAME
    async with opened(tmp_path) as store:
        await use(store)
        incarnation = store.restored.incarnation
    harm(path)
    with capture_logs() as logs:
        async with opened(tmp_path) as store:
            assert (store.restored.incarnation, store.disk.report().was_copied) == (incarnation, False)
            assert json.loads(path.read_bytes())["session_number"] == store.restored.session_number
    events = [entry["event"] for entry in logs]
    assert events.count("store_starts_unreadable") == (0 if harm is nothing else 1)


async def test_a_count_that_cannot_be_written_is_told_once_and_the_store_works(tmp_path: Path) -> None:
    path = tmp_path / STARTS_NAME
    (path / "in the way").mkdir(parents=True)
    with capture_logs() as logs:
        async with opened(tmp_path) as store:
            await use(store)
            shutil.rmtree(path)
            await store.sync(WINDOW)  # the next commit, whatever it is
            found = json.loads(path.read_bytes())["session_number"]
            assert found > store.restored.session_number  # the leases count too
    events = [entry["event"] for entry in logs]
    assert (events.count("store_starts_unreadable"), events.count("store_starts_unwritten")) == (1, 1)
    async with opened(tmp_path) as store:
        assert not store.disk.report().was_copied
        assert store.restored.session_number > found
