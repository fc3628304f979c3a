"""Stores of earlier versions: brought up to date with all that is in them, at any size, or left as they were."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import msgpack
import pytest

from edge_agent.core.bundle import Precedence
from edge_agent.core.effects import Done, Failed
from edge_agent.disk.identity import fingerprint
from edge_agent.disk.jobs import CallJob
from edge_agent.disk.schema import _TABLES_2, DATABASE_NAME, SCHEMA_VERSION, connect
from edge_agent.disk.types import StoreError
from tests.disk.bench import PERSON, Clock, opened, pattern
from tests.disk.test_full import fill
from tests.disk.test_full import fixture_small_disk as small_disk_fixture

small_disk = small_disk_fixture
ROWS = 1_000_000


def older_store(folder: Path, version: int) -> None:
    """A store as the program of ``version`` left it, born where it is now."""
    folder.mkdir(exist_ok=True)
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as database:
        database.executescript((Path(__file__).parent / "store_v1.sql").read_text())
        if version == 2:
            database.executescript(f"{_TABLES_2} PRAGMA user_version = 2;")
        packed = msgpack.packb(fingerprint(folder))
        with database:
            database.execute("UPDATE facts SET value = ? WHERE name = 'fingerprint'", (packed,))


def version_of(folder: Path) -> int:
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


@pytest.mark.parametrize("version", [1, 2])
async def test_an_older_store_goes_on_with_counters_that_fit_its_rows(tmp_path: Path, version: int) -> None:
    older_store(tmp_path, version)
    for _ in range(2):
        async with opened(tmp_path, clock=Clock()) as store:
            counts = {(each.queue.flow, each.bundles, each.payload_bytes) for each in store.restored.queues}
            assert counts == {("reading", 3, 120), ("text", 1, 20)}
            assert store.disk.report().used_bytes == 3 * 40 + 20 + 11 + 5 * 512
            assert await store.fetch_all(store.own(40, sequence=2)) == pattern(40, 2)
            assert await store.disk.verify() == []
        assert version_of(tmp_path) == SCHEMA_VERSION


@pytest.mark.slow
async def test_a_million_waiting_rows_of_version_2_are_taken_over(tmp_path: Path) -> None:
    older_store(tmp_path, 2)
    with closing(connect(tmp_path / DATABASE_NAME)) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute(
            "INSERT INTO bundles (origin, precedence, sequence, queue, payload_bytes, boot, as_of_s, age_low_s,"
            " age_high_s, stored_ms, header, body) WITH RECURSIVE numbers (number) AS"
            " (SELECT 4 UNION ALL SELECT number + 1 FROM numbers LIMIT ?) SELECT origin, precedence, number, queue,"
            " payload_bytes, boot, as_of_s, age_low_s, age_high_s, stored_ms, header, body FROM numbers, bundles"
            " WHERE row = 1",
            (ROWS,),
        )
        database.execute("UPDATE leases SET next_sequence = ? WHERE precedence = 3", (ROWS + 4,))
    async with opened(tmp_path, clock=Clock(), quota_bytes=1 << 40) as store:
        assert sum(each.bundles for each in store.restored.queues) == ROWS + 4
        assert store.restored.next_sequences[Precedence.ROUTINE] == ROWS + 4
        assert await store.disk.verify() == []
        assert await store.persist(store.own(), bytes(10)) == Done()


@pytest.mark.kernel
@pytest.mark.parametrize("has_ballast", [False, True])
async def test_on_a_full_disk_a_store_is_brought_up_to_date_by_its_ballast_or_left_as_it_was(
    small_disk: Path, has_ballast: bool
) -> None:
    folder = small_disk / "store"
    older_store(folder, 2)
    if has_ballast:
        (folder / "ballast").write_bytes(bytes(8 << 20))
    content = (folder / DATABASE_NAME).read_bytes()
    fill(small_disk / "stranger")
    if has_ballast:
        async with opened(folder, clock=Clock(), quota_bytes=128 << 20) as store:
            sos = store.own(300, precedence=Precedence.FLASH, **PERSON)
            assert await store.persist(sos, bytes(300)) == Done()
            assert await store.disk.verify() == []
        return
    with pytest.raises(StoreError, match="cannot be opened"):
        async with opened(folder, clock=Clock(), quota_bytes=128 << 20):
            pass
    assert (folder / DATABASE_NAME).read_bytes()[100:] == content[100:]  # the header says that it is in WAL mode now
    (small_disk / "stranger").unlink()
    async with opened(folder, clock=Clock(), quota_bytes=128 << 20) as store:
        assert sum(each.bundles for each in store.restored.queues) == 4
        assert await store.disk.verify() == []


async def test_a_transaction_rolled_back_leaves_every_counter_as_it_was(tmp_path: Path) -> None:
    """And reads no bundle for it: on a full disk it happens again and again, with an SOS behind it."""
    async with opened(tmp_path) as store:
        await store.persist(store.own(100), bytes(100))
        await store.arrive(bytes(50))
        rows, used_bytes = store.disk._writer.tables.rows, store.disk.report().used_bytes
        began, go_on = threading.Event(), threading.Event()
        said: list[str] = []

        def hold(tables: object) -> None:
            began.set()
            assert go_on.wait(10.0)

        def fail(tables: object) -> None:
            rows.database.set_trace_callback(said.append)
            raise sqlite3.OperationalError("planted")

        store.disk._writer.queue.put(CallJob(hold))
        assert began.wait(10.0)
        lost = [store.persist(store.own(30, flow="new"), bytes(30)), store.persist(store.arriving(5), bytes(5))]
        failing = asyncio.ensure_future(store.disk._write(fail))
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(StoreError, match="planted"):
            await failing
        rows.database.set_trace_callback(None)
        assert [isinstance(await each, Failed) for each in lost] == [True, True]
        assert said[0] == "ROLLBACK"
        assert not [each for each in said if "FROM bundles" in each]
        assert store.disk.report().used_bytes == used_bytes
        for record in (store.own(30, flow="new"), store.own(30, flow="new")):
            assert await store.persist(record, bytes(30)) == Done()
        assert await store.disk.verify() == []
