"""Deliveries that nobody takes: they make room once they have expired or were superseded, and their sources hear it."""

import asyncio
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from edge_agent.core.bundle import BundleId, BundleRecord, FlowOrder, Precedence
from edge_agent.core.effects import Done, Failed, Known
from edge_agent.core.errors import RefusalReason
from edge_agent.disk import writer as disk_writer
from edge_agent.disk.counts import miscounts
from edge_agent.disk.debts import DEBTS_MAX
from edge_agent.disk.lapses import RETURN_S, ROUND_LONGEST_S, ROUND_S, STEP_ROWS
from edge_agent.disk.schema import DATABASE_NAME
from edge_agent.disk.types import DiskFailedError, FateState, Start
from tests.disk.bench import Clock, Store, opened, pattern
from tests.disk.test_io_errors import FailingFileSystem

QUOTA_BYTES = 1 << 20
SIZE = 20_000
SHORT_S = 300.0
LATEST = {"flow": "position", "order": FlowOrder.LATEST}


@pytest.fixture(autouse=True)
def fixture_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every transaction is followed by a look."""
    monkeypatch.setattr(disk_writer, "LAPSE_PAUSE_S", 0.0)


async def fill(store: Store, size: int = SIZE, **changes: object) -> list[BundleRecord]:
    """Deliveries until one is refused."""
    taken: list[BundleRecord] = []
    while True:
        record = store.arriving(size, **changes)
        outcome = await store.persist(record, pattern(size), is_arrival=True)
        if isinstance(outcome, Failed):
            assert outcome.reason is RefusalReason.STORE_FULL
            return taken
        taken.append(record)


async def look(store: Store, clock: Clock, after_s: float) -> None:
    """Time passes, and the writer has looked at everything."""
    clock.pass_time(after_s)
    for _ in range(8):
        await store.disk.flush()


def told(store: Store) -> dict[BundleId, FateState]:
    found = {each.bundle: each.state for each in store.acked}
    store.acked.clear()
    return found


def names(records: Iterable[BundleRecord]) -> list[BundleId]:
    return [record.id for record in records]


async def test_what_nobody_took_makes_room_once_it_has_expired_and_its_source_hears_so(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        short = await fill(store, lifetime_s=SHORT_S)
        assert len(short) > 40
        assert store.disk.free_bytes() < SIZE, "the core refuses what comes before the store is asked"
        await look(store, clock, SHORT_S - 1)
        assert store.disk.free_bytes() < SIZE
        assert told(store) == {}
        await look(store, clock, ROUND_S)
        assert store.disk.free_bytes() > 40 * SIZE
        assert told(store) == dict.fromkeys(names(short), FateState.EXPIRED_THERE)
        assert await store.persist(store.arriving(SIZE), pattern(SIZE), is_arrival=True) == Done()
        await store.disk.consumer_open("late", start=Start.ALL)
        handed = await store.disk.consumer_next("late")
        assert names(each.record for each in handed) == [*names(short[1:]), BundleId(*short[0].id[:3], len(short) + 1)]
        await store.disk.consumer_ack("late", handed[-1].position)
        assert list(told(store).values()) == [FateState.DELIVERED], "the one that was not told yet"
        assert await store.disk.verify() == []


async def test_what_comes_again_is_not_delivered_again_and_its_source_hears_the_same(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        first, *others = await fill(store, lifetime_s=SHORT_S)
        positions = {"key": "unit-1", "precedence": Precedence.PRIORITY, **LATEST}
        moved = [await store.arrive(bytes(10), **positions) for _ in range(2)]
        await look(store, clock, SHORT_S + ROUND_S)
        expected = dict.fromkeys(names([first, *others]), FateState.EXPIRED_THERE)
        assert told(store) == {**expected, moved[0].id: FateState.SUPERSEDED}
        await store.disk.settle_receipts([*expected, moved[0].id])
        assert len(await fill(store, precedence=Precedence.IMMEDIATE)) > len(others), "all of them went"
        for bundle, state in ((first.id, FateState.EXPIRED_THERE), (moved[0].id, FateState.SUPERSEDED)):
            fate = await store.disk.fate(bundle)
            assert fate is not None
            assert fate.state is state
            store.disk.owe_again(bundle)
            await store.disk.flush()
            await asyncio.sleep(0)
            assert told(store) == {bundle: state}
        assert await store.persist(first, pattern(SIZE), is_arrival=True) == Known()


async def test_flash_what_lives_and_what_is_still_wanted_stay(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        await store.disk.consumer_open("slow", "wanted", start=Start.ALL)
        await store.disk.consumer_open("left", "left", start=Start.ALL)
        await store.disk.consumer_detach("left")
        sos = await store.arrive(bytes(100), precedence=Precedence.FLASH, lifetime_s=SHORT_S)
        wanted = await store.arrive(bytes(100), flow="wanted", lifetime_s=SHORT_S)
        left = await store.arrive(bytes(100), flow="left", lifetime_s=SHORT_S)
        lives = await fill(store)
        await look(store, clock, SHORT_S + ROUND_S)
        assert told(store) == {left.id: FateState.EXPIRED_THERE}
        handed = await store.disk.consumer_next("slow")
        assert names(each.record for each in handed) == [wanted.id]
        await store.disk.consumer_ack("slow", handed[0].position)
        assert told(store) == {wanted.id: FateState.DELIVERED}
        for record in (sos, *lives):
            assert (await store.disk.fate(record.id)).state is FateState.DELIVERED  # type: ignore[union-attr]  # known


async def test_a_newer_one_of_its_key_supersedes_what_nobody_took(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        await store.disk.consumer_open("map", "position", start=Start.ALL)
        taken = await store.arrive(bytes(10), key="unit-1", **LATEST)
        await store.disk.consumer_ack("map", (await store.disk.consumer_next("map"))[0].position)
        await store.disk.consumer_detach("map")
        assert told(store) == {taken.id: FateState.DELIVERED}
        (older, other, newer) = [await store.arrive(bytes(10), key=f"unit-{key}", **LATEST) for key in (1, 2, 1)]
        plain = await store.arrive(bytes(10), key="unit-1", flow="position.all")
        late = store.arriving(10, key="unit-3", **LATEST)
        first = await store.arrive(bytes(10), key="unit-3", **LATEST)
        await store.persist(late, bytes(10), is_arrival=True)
        await fill(store)
        await look(store, clock, RETURN_S)
        assert told(store) == {older.id: FateState.SUPERSEDED, late.id: FateState.SUPERSEDED}
        for record in (other, newer, plain, first):
            assert (await store.disk.fate(record.id)).state is FateState.DELIVERED  # type: ignore[union-attr]  # known
        newest = await store.arrive(bytes(10), key="unit-2", precedence=Precedence.PRIORITY, **LATEST)
        assert newest.id not in await _told_after(store, clock)
        await store.arrive(bytes(10), key="unit-2", precedence=Precedence.PRIORITY, **LATEST)
        assert await _told_after(store, clock) == {newest.id: FateState.SUPERSEDED}


async def _told_after(store: Store, clock: Clock) -> dict[BundleId, FateState]:
    await look(store, clock, 1.0)
    return told(store)


async def test_one_that_was_taken_since_it_was_looked_at_is_not_superseded(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        await store.disk.consumer_open("map", "position", start=Start.ALL)
        await store.disk.consumer_detach("map")
        await fill(store)
        older = await store.arrive(bytes(10), key="unit-1", precedence=Precedence.PRIORITY, **LATEST)
        await look(store, clock, RETURN_S)
        await store.disk.consumer_open("map", "position")
        await store.disk.consumer_ack("map", (await store.disk.consumer_next("map"))[0].position)
        await store.disk.consumer_detach("map")
        await store.arrive(bytes(10), key="unit-1", precedence=Precedence.PRIORITY, **LATEST)
        assert await _told_after(store, clock) == {older.id: FateState.DELIVERED}
        assert await store.disk.verify() == []


async def test_what_was_acknowledged_before_whoever_lacked_it_left_is_delivered_and_not_expired(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        for name in ("page", "program"):
            await store.disk.consumer_open(name, start=Start.ALL)
        record = await store.arrive(bytes(100), lifetime_s=SHORT_S)
        await store.disk.consumer_ack("page", (await store.disk.consumer_next("page"))[0].position)
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        await fill(store)
        await look(store, clock, SHORT_S)
        assert told(store) == {record.id: FateState.DELIVERED}


async def test_a_word_that_is_owed_outlives_a_stop_and_is_owed_once(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        short = await fill(store, lifetime_s=SHORT_S)
        await look(store, clock, SHORT_S)
        assert len(told(store)) == len(short)
        await store.disk.settle_receipts(names(short[::2]))
        assert len(await fill(store)) > len(short) // 2, "rows that went are owed all the same"
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        await asyncio.sleep(0)
        assert told(store) == dict.fromkeys(names(short[1::2]), FateState.EXPIRED_THERE)
        await store.disk.settle_receipts(names(short[1::2]))
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        await asyncio.sleep(0)
        assert told(store) == {}


async def test_in_a_store_that_is_not_half_full_nothing_lapses(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        record = await store.arrive(bytes(SIZE), lifetime_s=SHORT_S)
        await look(store, clock, SHORT_S + ROUND_S)
        assert told(store) == {}
        await store.disk.consumer_open("late", start=Start.ALL)
        await store.disk.consumer_ack("late", (await store.disk.consumer_next("late"))[0].position)
        assert told(store) == {record.id: FateState.DELIVERED}


async def test_many_lapse_in_short_steps_and_a_start_reads_a_bounded_number(tmp_path: Path) -> None:
    """Two hundred thousand rows of which only the last expired: no step looks at more than its share of them."""
    clock, rows = Clock(), 200_000
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        record = await store.arrive(bytes(10), lifetime_s=SHORT_S)
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as database:
        columns = "origin, precedence, payload_bytes, boot, as_of_s, age_low_s, age_high_s, stored_ms, flow, receipt"
        database.execute(
            f"INSERT INTO bundles ({columns}, header, sequence, sum)"
            f" WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {rows})"
            f" SELECT {columns}, header, n, NULL FROM bundles, n WHERE sequence = 0"
        )
        database.execute("DELETE FROM usage")
        database.execute("INSERT INTO usage SELECT precedence, 1, count(*), sum(payload_bytes) FROM bundles")
        database.commit()
        assert miscounts(database) == []
    clock.pass_time(SHORT_S)
    async with opened(tmp_path, quota_bytes=4 * rows * 300, clock=clock) as store:
        lapses = store.disk._store.consumers.rows  # nothing was looked at before anybody waits for room
        assert lapses.counts.usage[3, 1].bundles == rows + 1  # type: ignore[index]  # Kind.DELIVERED
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        clock.pass_time(RETURN_S)
        counted: list[int] = []
        while store.disk._store.consumers.debts.total < DEBTS_MAX:
            await store.disk.flush()
            counted.append(len(told(store)))
        assert max(counted) <= 2 * STEP_ROWS
        assert store.disk._store.consumers.debts.total < DEBTS_MAX + STEP_ROWS
        await store.disk.flush()
        assert await store.disk.verify() == []
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        await asyncio.sleep(0)
        assert DEBTS_MAX <= len(store.acked) < DEBTS_MAX + STEP_ROWS
        assert store.acked[0].bundle == record.id


async def test_what_was_looked_at_for_good_is_not_looked_at_again_and_what_is_wanted_is(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        await store.disk.consumer_open("page", "taken", start=Start.ALL)
        await store.disk.consumer_open("slow", "wanted", start=Start.ALL)
        taken = [await store.arrive(bytes(10), flow="taken") for _ in range(5)]
        await store.disk.consumer_ack("page", (await store.disk.consumer_next("page"))[-1].position)
        await store.disk.settle_receipts(names(taken))
        wanted = await store.arrive(bytes(10), flow="wanted", lifetime_s=SHORT_S)
        await fill(store)
        store.acked.clear()
        await look(store, clock, SHORT_S)
        lapses = store.disk._writer.lapses
        assert lapses._floor == len(taken), "numbers begin at 1: up to here all are settled"
        await store.disk.consumer_detach("slow")
        await look(store, clock, ROUND_LONGEST_S)
        assert told(store) == {wanted.id: FateState.EXPIRED_THERE}


async def test_a_step_that_was_rolled_back_is_looked_at_again(tmp_path: Path) -> None:
    clock, disk = Clock(), FailingFileSystem()
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock, file_system=disk) as store:
        short = await fill(store, lifetime_s=SHORT_S)
        clock.pass_time(SHORT_S)
        disk.faults.statements.clear()
        disk.faults.codes = [sqlite3.SQLITE_IOERR | (4 << 8)] * 1_000
        updates: list[str] = []
        while not (updates and "ROLLBACK" in disk.faults.statements[disk.faults.statements.index(updates[0]) :]):
            with suppress(DiskFailedError):
                await store.disk._write(lambda tables: None)
            updates = [each for each in disk.faults.statements if each.startswith("UPDATE bundles SET receipt")]
        disk.faults.codes.clear()
        await look(store, clock, 1.0)
        assert told(store) == dict.fromkeys(names(short), FateState.EXPIRED_THERE)
        assert await store.disk.verify() == []


async def test_what_fills_the_store_within_a_pause_is_looked_at_after_it(tmp_path: Path) -> None:
    """Although nothing else comes that would wake the writer."""
    clock = Clock()
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, clock=clock) as store:
        clock.pass_time(RETURN_S)
        writer = store.disk._writer
        writer._lapse_s = writer.queue.clock() + 3_600.0
        await fill(store, lifetime_s=SHORT_S, age_low_s=SHORT_S, age_high_s=SHORT_S)
        await store.disk.flush()
        assert told(store) == {}
        assert writer.queue.look_s == writer._lapse_s
