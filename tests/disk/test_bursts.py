"""Numbers of burst frames: leased ones are never given again, replay windows come back bit for bit."""

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgpack

from edge_agent.core.effects import BurstWindow, Done, Failed
from edge_agent.core.errors import RefusalReason
from edge_agent.disk.bursts import WINDOWS_MAX
from edge_agent.disk.consumers import Consumers
from edge_agent.disk.identity import fingerprint
from edge_agent.disk.jobs import CallJob
from edge_agent.disk.schema import DATABASE_NAME
from tests.disk.bench import Clock, Store, opened, pattern

UNSIGNED_MAX = (1 << 64) - 1


@contextmanager
def held_writer(store: Store) -> Iterator[None]:
    """While it lasts, the writer is in a transaction and what is asked piles up behind it."""
    began, go_on = threading.Event(), threading.Event()

    def hold(tables: Consumers) -> None:
        began.set()
        assert go_on.wait(10.0)

    store.disk._writer.queue.put(CallJob(hold))
    assert began.wait(10.0)
    yield
    go_on.set()


def fail(tables: Consumers) -> None:
    """A statement that the database refuses: the whole transaction is undone."""
    tables.rows.database.execute("INSERT INTO facts VALUES ('incarnation', 0)")


async def sync_all(store: Store, windows: list[BurstWindow]) -> None:
    assert set(await asyncio.gather(*(store.sync(window) for window in windows))) == {Done()}


async def test_a_clean_stop_keeps_the_lease_and_a_smaller_one_does_not_lower_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        assert store.restored.burst_leased == 0
        assert [await store.lease(up_to) for up_to in (64, 128, 100, 0)] == [Done()] * 4
    for _ in range(2):
        async with opened(tmp_path) as store:
            assert store.restored.burst_leased == 128


async def test_windows_come_back_with_every_bit(tmp_path: Path) -> None:
    windows = [
        BurstWindow(0, 0, 0, 0),
        BurstWindow(1, UNSIGNED_MAX, UNSIGNED_MAX, UNSIGNED_MAX),
        BurstWindow((1 << 32) - 1, 1 << 63, (1 << 63) - 1, 1 << 63),
        BurstWindow(1, (1 << 63) - 1, 5, 0b101),
    ]
    async with opened(tmp_path) as store:
        assert store.restored.burst_windows == ()
        await sync_all(store, windows)
    async with opened(tmp_path) as store:
        assert store.restored.burst_windows == tuple(windows)
        newer = windows[1]._replace(mask=UNSIGNED_MAX - 1)
        await sync_all(store, [newer])
    async with opened(tmp_path) as store:
        assert store.restored.burst_windows == (windows[0], *windows[2:], newer)


async def test_the_window_least_recently_written_goes(tmp_path: Path) -> None:
    windows = [BurstWindow(number // 4, number, number, 1) for number in range(WINDOWS_MAX)]
    async with opened(tmp_path) as store:
        await sync_all(store, windows)
        again, stranger = windows[1]._replace(mask=3), BurstWindow(99, 99, 0, 1)
        await sync_all(store, [again])  # full, but it has its place
    kept = (windows[0], *windows[2:], again)
    async with opened(tmp_path) as store:
        assert store.restored.burst_windows == kept
        await sync_all(store, [kept[0], stranger])
    async with opened(tmp_path) as store:
        assert store.restored.burst_windows == (*kept[2:], kept[0], stranger)


async def test_numbers_that_no_column_holds_are_refused(tmp_path: Path) -> None:
    """Numbers of a window come from a peer: one too large must not end the writer."""
    window = BurstWindow(1, 2, 3, 4)
    async with opened(tmp_path) as store:
        for field in window._fields:
            for value in (1 << 64, -1):
                outcome = await store.sync(window._replace(**{field: value}))
                assert isinstance(outcome, Failed)
                assert outcome.reason is RefusalReason.MALFORMED
        assert isinstance(await store.lease(1 << 63), Failed)
        assert await store.sync(window) == Done()
    async with opened(tmp_path) as store:
        assert (store.restored.burst_leased, store.restored.burst_windows) == (0, (window,))


async def test_a_copy_leases_from_zero_and_remembers_what_it_took(tmp_path: Path) -> None:
    first, copy = tmp_path / "first", tmp_path / "copy"
    window = BurstWindow(3, UNSIGNED_MAX, 70, 0b1011)
    async with opened(first) as store:
        await store.lease(640)
        await store.sync(window)
    shutil.copytree(first, copy)
    async with opened(copy) as store:
        assert store.disk.report().was_copied
        assert (store.restored.burst_leased, store.restored.burst_windows) == (0, (window,))
        assert await store.lease(64) == Done()
    async with opened(copy) as store:
        assert store.restored.burst_leased == 64
    async with opened(first) as store:
        assert store.restored.burst_leased == 640


async def test_a_transaction_that_fails_leaves_lease_and_windows_as_on_disk(tmp_path: Path) -> None:
    """They share a commit with a job that the database refuses: none of it happened, and memory must agree."""
    async with opened(tmp_path) as store:
        await store.lease(64)
        with held_writer(store):
            waits = [store.lease(128), store.sync(BurstWindow(1, 2, 3, 4))]
            store.disk._writer.queue.put(CallJob(fail))
        outcomes = await asyncio.gather(*waits)
        assert all(isinstance(outcome, Failed) for outcome in outcomes), outcomes
        assert await store.persist(store.arriving(), bytes(10), is_arrival=True) == Done()  # it leases nothing
    async with opened(tmp_path) as store:
        assert not store.disk.report().was_copied  # as it would be, had the count beside the database gone on
        assert (store.restored.burst_leased, store.restored.burst_windows) == (64, ())


async def test_a_lease_below_one_that_failed_is_written(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with held_writer(store):
            failing = store.lease(128)
            store.disk._writer.queue.put(CallJob(fail))
        assert isinstance(await failing, Failed)
        assert await store.lease(100) == Done()
    async with opened(tmp_path) as store:
        assert store.restored.burst_leased == 100


async def test_both_overtake_what_waits_for_the_disk(tmp_path: Path) -> None:
    order: list[str] = []
    async with opened(tmp_path) as store:
        with held_writer(store):
            for _ in range(100):
                bulk = store.persist(store.own(60_000), bytes(60_000))
                bulk.add_done_callback(lambda _: order.append("bulk"))
            waits = [store.lease(64), store.sync(BurstWindow(1, 2, 3, 4))]
            for wait in waits:
                wait.add_done_callback(lambda _: order.append("burst"))
        assert await asyncio.gather(bulk, *waits) == [Done()] * 3
    assert order[:2] == ["burst", "burst"]


async def test_a_store_of_version_1_is_used_on_with_all_that_is_in_it(tmp_path: Path) -> None:
    """``store_v1.sql`` was written by the program of that version; only its birth is put to where it is now."""
    path = tmp_path / DATABASE_NAME
    with closing(sqlite3.connect(path)) as database:
        database.executescript((Path(__file__).parent / "store_v1.sql").read_text())
        packed = msgpack.packb(fingerprint(tmp_path))
        with database:
            database.execute("UPDATE facts SET value = ? WHERE name = 'fingerprint'", (packed,))
    window = BurstWindow(1, 2, 3, 4)
    for leased in (0, 64):
        async with opened(tmp_path, clock=Clock()) as store:
            restored = store.restored
            assert (restored.incarnation, store.disk.report().was_copied) == (0x0123_4567_89AB_CDEF, False)
            assert restored.next_sequences == (1, 0, 0, 4, 0)
            assert sum(count.bundles for count in restored.queues) == 4
            assert await store.fetch_all(store.own(40, sequence=2)) == pattern(40, 2)
            assert restored.burst_leased == leased
            assert restored.burst_windows == ((window,) if leased else ())
            assert await asyncio.gather(store.lease(64), store.sync(window)) == [Done(), Done()]
            assert await store.disk.verify() == []
