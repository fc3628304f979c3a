"""Deliveries that are gone: known when they come again, and their receipts can be given once more."""

import asyncio
from pathlib import Path

from edge_agent.core.bundle import BundleId, BundleRecord, Precedence
from edge_agent.core.effects import CloseNumbers, Done, Failed, Known
from edge_agent.repeats import REMEMBERED_MAX, WAIT_S, Repeats
from tests.disk.bench import Store, opened

QUOTA_BYTES = 1 << 20


async def owed_again(store: Store, record: BundleRecord) -> bool:
    """Whether a receipt is owed once more."""
    before = len(store.acked)
    store.disk.owe_again(record.id)
    await store.disk.set_states([])  # behind it
    await asyncio.sleep(0)
    return [each.bundle for each in store.acked[before:]] == [record.id]


async def acknowledge(store: Store) -> None:
    await store.disk.consumer_open("c")
    await store.disk.consumer_ack("c", (await store.disk.consumer_next("c"))[-1].position)


async def test_a_delivery_that_was_evicted_is_known_and_gets_its_receipt_again(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES) as store:
        await store.disk.consumer_open("c")
        record = await store.arrive(bytes(300_000))
        assert not await owed_again(store, record), "nobody has acknowledged it"
        await acknowledge(store)
        assert not await owed_again(store, record), "the first one is on its way"
        await store.disk.settle_receipts([record.id])
        assert await owed_again(store, record)
        assert await store.persist(store.own(800_000), bytes(800_000)) == Done()
        assert isinstance(await store.fetch(record.id, 0, 1), Failed), "evicted"
        assert await store.persist(record, bytes(300_000), is_arrival=True) == Known()
        assert await owed_again(store, record)
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES) as store:
        assert await store.persist(record, bytes(300_000), is_arrival=True) == Known()
        assert await owed_again(store, record)


async def test_what_was_never_delivered_here_gets_none(tmp_path: Path) -> None:
    async with opened(tmp_path, flows_without_receipt=("quiet",)) as store:
        await store.disk.consumer_open("c")
        quiet = await store.arrive(flow="quiet")
        passing = await store.arrive(destination="kit-7")
        await acknowledge(store)
        closed = store.arriving(sequence=900)
        key = (closed.id.source, closed.id.incarnation, closed.id.precedence)
        await store.begin(lambda number: CloseNumbers(number, key, ((0, 1_000),)))
        for record in (quiet, passing, closed, store.own()):
            assert not await owed_again(store, record)


def test_many_pieces_of_one_bundle_are_one_repeat() -> None:
    asked: list[object] = []
    repeats = Repeats(asked.append)
    (first, *others) = [BundleId("kit-1", 7, Precedence.ROUTINE, number) for number in range(REMEMBERED_MAX + 2)]
    for now_s in (0.0, 1.0, WAIT_S - 1):
        repeats.came_again(first, now_s)
    assert asked == [first]
    repeats.came_again(first, WAIT_S)
    assert asked == [first, first]
    for other in others:
        repeats.came_again(other, WAIT_S)
    assert len(repeats._answered_s) == REMEMBERED_MAX
