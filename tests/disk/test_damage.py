"""Damage in use: what is not what was stored is never sent or given out; it is kept, told, and the rest goes on."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.core.bundle import BundleId
from edge_agent.core.effects import Done, Failed, Known
from edge_agent.disk.damage import DETAIL
from edge_agent.disk.schema import DATABASE_NAME, mark_damaged
from edge_agent.disk.types import FateState, Start
from tests.disk.bench import PERSON, Store, opened, pattern, queue_of

LARGE = 150_000


def harm(folder: Path, statement: str, *values: object) -> None:
    """Change rows behind the store's back, as a dying disk does."""
    with closing(sqlite3.connect(folder / DATABASE_NAME, isolation_level=None)) as database:
        assert database.execute(statement, values).rowcount == 1


async def check_taken_out(store: Store, folder: Path, bundle: BundleId) -> None:
    fate = await store.disk.fate(bundle)
    assert fate is not None
    assert (fate.state, fate.detail, fate.header.flow) == (FateState.EVICTED, DETAIL, "reading")
    assert [each.bundle for each in store.evicted] == [bundle]
    assert await store.disk.verify() == []
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as database:
        assert database.execute("SELECT count(*) FROM damaged").fetchone() == (1,)


@pytest.mark.parametrize("column", ["body", "header"])
async def test_a_damaged_row_is_not_sent_and_the_others_are(tmp_path: Path, column: str) -> None:
    async with opened(tmp_path, can_evict=True) as store:
        records = [store.own(100) for _ in range(5)]
        for record in records:
            await store.persist(record, pattern(100))
    harm(tmp_path, f"UPDATE bundles SET {column} = CAST(x'ff' || substr({column}, 2) AS BLOB) WHERE sequence = 0")
    with capture_logs() as logs:
        async with opened(tmp_path, can_evict=True) as store:
            assert (await store.window(queue_of(records[0]))).records == tuple(records[1:])
            await check_taken_out(store, tmp_path, records[0].id)
            assert (await store.window(queue_of(records[0]))).has_more is False
    assert [each["bundle"] for each in logs if each["event"] == "bundle_damaged"] == [str(records[0].id)]
    async with opened(tmp_path) as store:
        assert [each.bundles for each in store.restored.queues] == [4]


async def test_a_damaged_body_beside_its_row_fails_its_fetch(tmp_path: Path) -> None:
    async with opened(tmp_path, can_evict=True) as store:
        record, sound = store.own(5_000), store.own(5_000)
        for each in (record, sound):
            await store.persist(each, pattern(5_000))
        harm(tmp_path, "UPDATE bodies SET body = zeroblob(5000) WHERE row = 1")
        outcome = await store.fetch(record.id, 0, 5_000)
        assert isinstance(outcome, Failed)
        assert "not those that were stored" in outcome.detail
        await check_taken_out(store, tmp_path, record.id)
        assert await store.fetch_all(sound) == pattern(5_000)


async def test_a_damaged_delivery_is_passed_over(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.disk.consumer_open("c", start=Start.ALL)
        for number in range(6):
            await store.arrive(bytes([number]) * 30)
        harm(tmp_path, "UPDATE bundles SET body = zeroblob(30) WHERE sequence = 3")
        found = await store.disk.consumer_next("c", limit=2)
        found += await store.disk.consumer_next("c", found[-1].position, 1)
        found += await store.disk.consumer_next("c", found[-1].position, 1)
        assert [each.payload and each.payload[0] for each in found] == [0, 1, 2, 4]
        await store.disk.consumer_ack("c", found[-1].position)
        assert await store.disk.verify() == []


async def test_a_damaged_payload_file_is_found_after_the_start_and_kept_aside(tmp_path: Path) -> None:
    async with opened(tmp_path, can_evict=True) as store:
        record, sound = store.own(LARGE), store.own(LARGE)
        for each in (record, sound):
            await store.persist(each, pattern(LARGE))
        path = store.disk._store.files.whole_path(record.id)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    async with opened(tmp_path, can_evict=True) as store:
        await asyncio.wrap_future(store.disk._check)
        await check_taken_out(store, tmp_path, record.id)
        assert await store.fetch_all(sound) == pattern(LARGE)
    async with opened(tmp_path):
        assert sorted(each.name for each in (tmp_path / "payloads").iterdir()) == [
            f"{record.id}.payload.damaged",
            f"{sound.id}.payload",
        ]
        assert (tmp_path / "payloads" / f"{record.id}.payload.damaged").read_bytes() == bytes(content)


async def test_rows_of_an_earlier_version_have_no_sum_and_are_used(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        record = store.own(100)
        await store.persist(record, pattern(100))
        harm(tmp_path, "UPDATE bundles SET sum = NULL")
        assert (await store.window(queue_of(record))).records == (record,)
        assert await store.fetch_all(record) == pattern(100)
        assert await store.erase(record.id) == Done()


async def test_what_can_be_read_of_a_damaged_database_waits_on_under_the_older_name(tmp_path: Path) -> None:
    """Some pages of its rows are gone; consumers go on where they were, and numbers given out stay closed."""
    async with opened(tmp_path) as store:
        own = [store.own(400) for _ in range(400)]
        arrived = [await store.arrive(bytes(20)) for _ in range(3)]
        await store.disk.consumer_open("c", start=Start.ALL)
        await store.disk.consumer_ack("c", (await store.disk.consumer_next("c"))[1].position)
        for each in own:
            await store.persist(each, pattern(400))
        large = store.own(LARGE, flow="picture")
        await store.persist(large, pattern(LARGE))
        said = store.own(5, **PERSON)
        await store.persist(said, b"hello")
    path = tmp_path / DATABASE_NAME
    garbled = garble_rows(path)
    assert garbled > 3
    mark_damaged(tmp_path)
    content = path.read_bytes()
    async with opened(tmp_path) as store:
        aside = store.disk.report().set_aside
        assert aside is not None
        assert aside.read_bytes()[100:] == content[100:]
        assert store.restored.incarnation != own[0].id.incarnation
        window = await store.window(queue_of(own[0]))
        assert 400 > len(window.records) >= 400 - 20 * garbled
        for record in window.records:
            assert await store.fetch_all(record) == pattern(400)
        assert await store.fetch_all(large) == pattern(LARGE)
        assert [each.payload for each in await store.disk.own_messages(5)] == [b"hello"]
        assert await store.disk.consumer_open("c") == 2
        assert [each.record.id for each in await store.disk.consumer_next("c")] == [arrived[2].id]
        for record in (own[5], arrived[0]):
            assert await store.persist(record, bytes(record.payload_bytes), is_arrival=True) == Known()
        assert await store.persist(store.own(), bytes(10)) == Done()
        assert await store.disk.verify() == []
    async with opened(tmp_path) as store:
        assert store.disk.report().set_aside is None
        assert sum(each.bundles for each in store.restored.queues) == len(window.records) + 3


def garble_rows(path: Path) -> int:
    """Overwrite some leaf pages that hold rows of 400 bytes; how many."""
    content = bytearray(path.read_bytes())
    leaves = [
        at
        for at in range(4_096, len(content), 4_096)
        if content[at] == 0x0D and pattern(400) in content[at : at + 4_096]
    ]
    chosen = leaves[3:-3:7]
    for at in chosen:
        content[at : at + 4_096] = b"\xa5" * 4_096
    path.write_bytes(content)
    return len(chosen)
