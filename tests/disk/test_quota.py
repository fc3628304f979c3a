"""Room: who is refused first, what goes to make room, and that an SOS always finds some."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from edge_agent.core.bundle import BundleRecord, Origin, Precedence
from edge_agent.core.effects import Done, EraseReason, Failed, Loaded
from edge_agent.core.errors import RefusalReason
from edge_agent.disk.types import FateState
from tests.disk.bench import PERSON, Store, opened, queue_of

QUOTA_BYTES = 1 << 20
CLASSES: list[dict[str, Any]] = [  # Any: changes of a record
    # in the order in which a filling store refuses them
    {"precedence": Precedence.DEFERRED},
    {"precedence": Precedence.PRIORITY},
    {"precedence": Precedence.FLASH, "origin": Origin.MACHINE},
    {"precedence": Precedence.FLASH, "origin": Origin.PERSON},
]


async def fill(store: Store, **changes: Any) -> int:
    """Submit bundles of 4 kB of one kind until one is refused; gives back how many were taken."""
    for number in itertools.count():
        outcome = await store.persist(store.own(4_096, **changes), bytes(4_096))
        if isinstance(outcome, Failed):
            assert outcome.reason is RefusalReason.STORE_FULL
            return number
    raise AssertionError


async def test_each_class_has_room_when_the_lower_ones_are_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES) as store:
        used = [0]
        for kind in CLASSES:
            assert await fill(store, **kind) > 0
            used.append(store.disk.report().used_bytes)
            for lower in CLASSES[: CLASSES.index(kind)]:
                assert await fill(store, **lower) == 0
        assert used == sorted(set(used))
        assert used[-1] <= QUOTA_BYTES
        assert used[1] <= 0.9 * QUOTA_BYTES
        assert store.disk.free_bytes() == 0
        flash = QUOTA_BYTES * 0.05
        assert used[4] - used[3] > flash / 2 - 5_000  # half of the reserve is for people alone


async def test_refusals_name_the_figures_and_leave_no_trace(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES) as store:
        large = store.own(2_000_000)
        for record in (large, store.arriving(2_000_000)):
            outcome = await store.persist(record, bytes(2_000_000), is_arrival=record is not large)
            assert outcome == Failed(
                RefusalReason.STORE_FULL, "0 of 943718 bytes for ROUTINE are used, 2000000 more are asked"
            )
        piece = await store.persist_piece(large.id, 2_000_000, 0, bytes(70_000))
        assert isinstance(piece, Failed)
        assert list((tmp_path / "payloads").iterdir()) == []
        assert store.disk.report().used_bytes == 0
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES) as store:
        assert store.restored.seen == ()


async def test_erasing_makes_room_again(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES) as store:
        before = store.disk.free_bytes()
        record = store.own(300_000)
        await store.persist(record, bytes(300_000))
        assert store.disk.free_bytes() < before - 300_000
        await store.erase(record.id)
        assert store.disk.free_bytes() == before
        part = store.arriving(300_000)
        await store.persist_piece(part.id, 300_000, 0, bytes(100_000))
        assert store.disk.free_bytes() < before - 300_000
        await store.erase(part.id, reason=EraseReason.PARTIAL_DROPPED)
        assert store.disk.free_bytes() == before


async def is_here(store: Store, record: BundleRecord) -> bool:
    """Whether a delivery is in the store; of one that is gone the fate has a row of its own."""
    fate = await store.disk.fate(record.id)
    assert fate is not None
    assert fate.state is FateState.DELIVERED
    return fate.row == 0


async def test_settled_deliveries_go_first_lowest_and_oldest_and_flash_never(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, flows_without_receipt=("reading",)) as store:
        await store.disk.consumer_open("c")
        flash = await store.arrive(bytes(50_000), precedence=Precedence.FLASH)
        priority = await store.arrive(bytes(200_000), precedence=Precedence.PRIORITY)
        routine = [await store.arrive(bytes(100_000)) for _ in range(5)]
        await store.disk.consumer_ack("c", (await store.disk.consumer_next("c"))[-1].position)
        unread = await store.arrive(bytes(60_000))
        free_bytes = store.disk.free_bytes()
        assert free_bytes > 700_000  # what may be evicted counts as free
        assert await store.persist(store.own(150_000), bytes(150_000)) == Done()
        kept = [each for each in routine if await is_here(store, each)]
        assert kept == routine[1:]
        assert await store.persist(store.own(600_000), bytes(600_000)) == Done()
        gone = [not await is_here(store, each) for each in (*routine, priority)]
        assert gone == [True] * 6
        assert await store.disk.fate(flash.id) is not None
        assert await store.disk.fate(unread.id) is not None
        assert isinstance(await store.persist(store.own(100_000), bytes(100_000)), Failed)
        names = {path.name for path in (tmp_path / "payloads").iterdir()}
        assert not any(str(each.id) in name for each in routine for name in names)
        free_bytes = store.disk.free_bytes()
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES) as store:
        assert store.disk.free_bytes() == free_bytes  # counted anew from the rows


async def test_unread_deliveries_are_never_evicted(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES) as store:
        await store.disk.consumer_open("c")
        records = [await store.arrive(bytes(100_000)) for _ in range(8)]
        await store.disk.consumer_ack("c", (await store.disk.consumer_next("c"))[-1].position)
        assert len(store.acked) == 8  # receipts owed, and not yet on their way
        assert isinstance(await store.persist(store.own(200_000), bytes(200_000)), Failed)
        await store.disk.settle_receipts([each.id for each in records])
        assert await store.persist(store.own(200_000), bytes(200_000)) == Done()


@pytest.mark.parametrize("can_evict", [False, True])
async def test_waiting_bundles_give_way_to_urgent_ones_only_where_somebody_is_told(
    tmp_path: Path, can_evict: bool
) -> None:
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, can_evict=can_evict) as store:
        history = [store.own(90_000, precedence=Precedence.DEFERRED) for _ in range(2)]
        routine = [store.own(90_000) for _ in range(8)]
        for record in (*routine, *history):
            await store.persist(record, bytes(90_000))
        assert isinstance(await store.persist(store.own(90_000), bytes(90_000)), Failed)
        outcome = await store.persist(store.own(300_000, precedence=Precedence.IMMEDIATE), bytes(300_000))
        assert isinstance(outcome, Done) == can_evict
        await asyncio.sleep(0)
        assert [each.bundle for each in store.evicted] == (
            [each.id for each in (*history, routine[0])] if can_evict else []
        )
        window = await store.window(queue_of(routine[0]))
        assert window == Loaded(tuple(routine[1:] if can_evict else routine), has_more=False)
        if can_evict:
            fate = await store.disk.fate(history[0].id)
            assert fate is not None
            assert fate.state is FateState.EVICTED


async def test_an_sos_is_taken_when_everything_else_is_full(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES) as store:
        for kind in CLASSES[:3]:
            await fill(store, **kind)
        for _ in range(20):
            sos = store.own(200, precedence=Precedence.FLASH, **PERSON)
            assert await store.persist(sos, bytes(200)) == Done()
