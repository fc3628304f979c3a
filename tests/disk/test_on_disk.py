"""The quota is about the disk: whatever fills the store, its files never take more than quota and allowances."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edge_agent.core.bundle import Precedence
from edge_agent.core.effects import Done, Failed
from edge_agent.disk import fates, quota
from edge_agent.disk.quota import ALLOWANCE_BYTES, LOG_BYTES, Ballast, Quota, in_blocks
from tests.disk.bench import PERSON, Store, opened

QUOTA_BYTES = 8 << 20
ALLOWED_BYTES = 1 << 20  # of an allowance made small, so that what goes beyond it shows
ROUND_BYTES = 1 << 20  # stored together; one transaction is measured when it has ended
CLOSED_BYTES = QUOTA_BYTES + ALLOWED_BYTES + 2 * ROUND_BYTES + Ballast.for_quota(Path(), QUOTA_BYTES).size_bytes
MOST_BYTES = CLOSED_BYTES + LOG_BYTES
KINDS: list[dict[str, Any]] = [  # Any: changes of a record
    {"precedence": Precedence.DEFERRED},
    {"precedence": Precedence.ROUTINE, **PERSON},
    {"precedence": Precedence.IMMEDIATE},
    {"precedence": Precedence.FLASH},
    {"precedence": Precedence.FLASH, **PERSON},
]
"""The order in which a store fills: each goes on where those before it are refused, or pushes them out."""


def taken_bytes(folder: Path) -> int:
    """What the files take, in blocks, as ``du`` has it."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))


async def fill(store: Store, folder: Path, size: int, **changes: Any) -> int:
    """Store bundles of one kind until they are refused, or more than the quota was offered; gives the most taken."""
    most_bytes, payload = 0, bytes(size)
    a_round = ROUND_BYTES // (size + 512) + 1
    for _ in range(0, QUOTA_BYTES * 5 // 4, a_round * (size + 512)):
        outcomes = await asyncio.gather(
            *(store.persist(store.own(size, **changes), payload) for _ in range(a_round // 2)),
            *(
                store.persist(store.arriving(size, **changes), payload, is_arrival=True)
                for _ in range(a_round - a_round // 2)
            ),
        )
        most_bytes = max(most_bytes, taken_bytes(folder))
        if all(isinstance(outcome, Failed) for outcome in outcomes):
            break
    return most_bytes


@pytest.mark.slow
@pytest.mark.parametrize(("size", "kinds"), [(1, 2), (100, 2), (2_100, 2), (4_096, 5), (12_000, 5), (1_000_000, 5)])
async def test_what_the_files_take_is_bounded_by_the_quota(
    tmp_path: Path, size: int, kinds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "ALLOWANCE_BYTES", ALLOWED_BYTES)
    monkeypatch.setattr(fates, "MESSAGES_LEAST", 50)
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, can_evict=True, flows_without_receipt=("reading",)) as store:
        await store.disk.consumer_open("c")
        for kind in KINDS[:kinds]:
            most_bytes = await fill(store, tmp_path, size, **kind)
            print(f"{size} bytes, {kind['precedence'].name}: {most_bytes / 2**20:.1f} MiB of {MOST_BYTES / 2**20:.0f}")
            assert most_bytes <= MOST_BYTES
            if deliveries := await store.disk.consumer_next("c", limit=20_000):
                await store.disk.consumer_ack("c", deliveries[-1].position)
    print(f"closed: {taken_bytes(tmp_path) / 2**20:.1f} MiB of {CLOSED_BYTES / 2**20:.0f}")
    assert taken_bytes(tmp_path) <= CLOSED_BYTES


@pytest.mark.slow
async def test_a_store_that_knows_only_what_it_charges_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Quota, "measure", lambda room, pages, free_pages: None)
    with pytest.raises(AssertionError):
        await test_what_the_files_take_is_bounded_by_the_quota(tmp_path, 2_100, 2, monkeypatch)


@pytest.mark.slow
async def test_pages_of_a_past_flood_make_room_for_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "ALLOWANCE_BYTES", ALLOWED_BYTES)
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES) as store:
        records = [store.own(100) for _ in range(11_000)]
        await asyncio.gather(*(store.persist(record, bytes(100)) for record in records))
        await store.erase(*(record.id for record in records))
        for _ in range(7):
            assert await store.persist(store.own(1_000_000), bytes(1_000_000)) == Done()
    assert taken_bytes(tmp_path) <= CLOSED_BYTES - ROUND_BYTES


async def test_a_call_for_help_is_taken_whatever_else_holds_the_disk(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_bytes=1 << 20) as store:
        room = store.disk._store.quota
        room.excess_bytes = 2 << 20
        assert isinstance(await store.persist(store.own(), bytes(10)), Failed)
        room.excess_bytes = 2 << 20
        assert isinstance(await store.persist(store.own(precedence=Precedence.FLASH), bytes(10)), Failed)
        room.excess_bytes = 2 << 20
        assert await store.persist(store.own(precedence=Precedence.FLASH, **PERSON), bytes(10)) == Done()


def test_what_is_beyond_charges_and_allowance_counts() -> None:
    room = Quota(100 << 20, used_bytes=10 << 20)
    room.add_file(5_000_001)
    assert room.file_bytes == in_blocks(5_000_001) == 5_001_216
    room.measure(5_000, 4_000)
    assert (room.excess_bytes, room.has_spare_pages) == (0, False)
    room.measure(25_000, 4_000)
    assert room.taken_bytes == 21_000 * 4096 + 5_001_216 - ALLOWANCE_BYTES
    assert not room.has_spare_pages
    room.measure(30_000, 4_000)
    assert room.has_spare_pages
    room.drop_file(5_000_001)
    assert room.file_bytes == 0
