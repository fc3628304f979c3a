"""Who goes when room is needed: the dead, then the lowest above its share, FLASH never; and the price of a look."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edge_agent.core.bundle import BundleId, BundleRecord, FlowOrder, Precedence
from edge_agent.core.effects import Done, EraseReason, Failed, Outcome
from edge_agent.disk.eviction import DEAD_WAIT_S, SCAN_ROWS, WAITING_SHARES, Eviction
from edge_agent.disk.types import FateState, Start
from tests.disk.bench import Clock, Store, opened

QUOTA_BYTES = 1 << 20
SIZE = 20_000
CHARGED = SIZE + 512


async def put(store: Store, precedence: Precedence, size: int = SIZE, **changes: Any) -> tuple[BundleRecord, Outcome]:
    record = store.own(size, precedence=precedence, **changes)
    return record, await store.persist(record, bytes(size))


async def fill(store: Store, precedence: Precedence, **changes: Any) -> list[BundleRecord]:
    """Bundles of one class until one is refused."""
    taken: list[BundleRecord] = []
    while True:
        record, outcome = await put(store, precedence, **changes)
        if isinstance(outcome, Failed):
            return taken
        taken.append(record)


async def gone(store: Store) -> dict[int, EraseReason]:
    """What was given up since the last look, by number."""
    await asyncio.sleep(0)
    found = {each.bundle.sequence: each.reason for each in store.evicted}
    store.evicted.clear()
    return found


async def test_the_oldest_of_the_lowest_class_go_and_keep_their_share(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, can_evict=True) as store:
        await put(store, Precedence.PRIORITY)
        routine = await fill(store, Precedence.ROUTINE)
        assert len(routine) > 40
        while not isinstance((await put(store, Precedence.PRIORITY))[1], Failed):
            pass
        lost = sorted(await gone(store))
        assert lost == [record.id.sequence for record in routine[: len(lost)]]
        kept_bytes = (len(routine) - len(lost)) * CHARGED
        assert 0 <= QUOTA_BYTES * WAITING_SHARES[Precedence.ROUTINE] - kept_bytes < CHARGED
        fate = await store.disk.fate(routine[0].id)
        assert fate is not None
        assert fate.state is FateState.EVICTED
        assert (await put(store, Precedence.IMMEDIATE))[1] == Done()
        await asyncio.sleep(0)
        assert [(each.bundle.precedence, each.bundle.sequence) for each in store.evicted] == [(Precedence.PRIORITY, 0)]


async def test_flash_pushes_out_all_but_flash(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, can_evict=True) as store:
        await fill(store, Precedence.ROUTINE)
        await fill(store, Precedence.IMMEDIATE)
        flash = await fill(store, Precedence.FLASH)
        assert len(flash) * CHARGED > 0.9 * QUOTA_BYTES
        assert all(each.bundle.precedence > Precedence.FLASH for each in store.evicted)
        for record in flash:
            assert await store.disk.fate(record.id) is not None


async def test_a_routine_bundle_pushes_out_nothing_that_is_wanted(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, can_evict=True) as store:
        await fill(store, Precedence.DEFERRED)
        assert isinstance((await put(store, Precedence.ROUTINE))[1], Failed)
        assert await gone(store) == {}


async def test_what_expired_or_was_superseded_goes_first_and_for_anyone(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, can_evict=True, clock=clock) as store:
        (old, _), (short, _) = [await put(store, Precedence.ROUTINE, lifetime_s=each) for each in (9_000.0, 60.0)]
        latest = {"flow": "position", "order": FlowOrder.LATEST}
        kept, moved, newest = [
            (await put(store, Precedence.ROUTINE, key=key, **latest))[0] for key in ("unit-2", "unit-1", "unit-1")
        ]
        await fill(store, Precedence.ROUTINE)
        assert await gone(store) == {moved.id.sequence: EraseReason.SUPERSEDED}
        clock.pass_time(61.0)
        assert (await put(store, Precedence.ROUTINE))[1] == Done()
        assert isinstance((await put(store, Precedence.ROUTINE))[1], Failed)
        assert await gone(store) == {short.id.sequence: EraseReason.EXPIRED}
        for record in (old, kept, newest):
            assert (await store.disk.fate(record.id)).state is FateState.ACCEPTED  # type: ignore[union-attr]  # it is known


async def test_after_a_restart_the_oldest_still_go_first(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, can_evict=True) as store:
        routine = await fill(store, Precedence.ROUTINE)
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, can_evict=True) as store:
        while not await gone(store):
            assert (await put(store, Precedence.PRIORITY))[1] == Done()
        fate = await store.disk.fate(routine[0].id)
        assert fate is not None
        assert fate.state is FateState.EVICTED


async def test_a_look_that_found_nothing_dead_is_not_repeated_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that floods a full store costs one look a second."""
    looks: list[object] = []
    why_dead = Eviction._why_dead
    monkeypatch.setattr(Eviction, "_why_dead", lambda self, victim: looks.append(victim) or why_dead(self, victim))
    clock = Clock()
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, can_evict=True, clock=clock) as store:
        await fill(store, Precedence.ROUTINE)
        seen = len(looks)
        assert seen > 0
        for _ in range(20):
            await put(store, Precedence.ROUTINE)
        assert len(looks) == seen
        clock.pass_time(DEAD_WAIT_S)
        await put(store, Precedence.ROUTINE)
        assert len(looks) > seen


async def take_all(store: Store, name: str) -> list[BundleId]:
    """Everything that a consumer has still to take; its receipts leave at once."""
    taken: list[BundleId] = []
    while found := await store.disk.consumer_next(name):
        taken += [each.record.id for each in found]
        await store.disk.consumer_ack(name, found[-1].position)
    await store.disk.settle_receipts([each.bundle for each in store.acked])
    store.acked.clear()
    return taken


@pytest.mark.parametrize("others", [12, 30])
async def test_what_a_consumer_lacks_that_was_away_goes_after_all_that_it_has(tmp_path: Path, others: int) -> None:
    """A page takes what arrives in the moment that a program needs to come back, after a restart for instance."""
    async with opened(tmp_path, quota_bytes=QUOTA_BYTES, can_evict=True) as store:
        for name in ("page", "program"):
            await store.disk.consumer_open(name, start=Start.ALL)
        for _ in range(20):
            await store.arrive(bytes(SIZE), precedence=Precedence.ROUTINE)
        await take_all(store, "page")
        await take_all(store, "program")
        await store.disk.consumer_detach("program")
        missed = [(await store.arrive(bytes(SIZE), precedence=Precedence.DEFERRED)).id for _ in range(20)]
        await take_all(store, "page")
        for _ in range(others):
            assert not isinstance((await put(store, Precedence.ROUTINE))[1], Failed)
        await store.disk.consumer_open("program", start=Start.ALL)
        found = await take_all(store, "program")
        assert found == (missed if others == 12 else missed[-len(found) :])  # at last it is they, oldest first
        assert len(found) >= 10


async def test_rows_of_other_classes_are_passed_once(tmp_path: Path) -> None:
    """The few DEFERRED behind many ROUTINE rows: the way to them is remembered, and forgotten when it must be."""
    async with opened(tmp_path, quota_bytes=64 << 20, can_evict=True) as store:
        records = [store.own(10, precedence=Precedence.ROUTINE) for _ in range(2 * SCAN_ROWS)]
        outcomes = await asyncio.gather(*(store.persist(record, bytes(10)) for record in records))
        rows = outcomes.count(Done())  # the intake is bounded
        assert rows > SCAN_ROWS // 2
        deferred = [(await put(store, Precedence.DEFERRED, 10))[0] for _ in range(3)]
        eviction: Eviction = store.disk._store.consumers.rows.eviction
        assert [victim.bundle for victim in next(eviction._waiting(Precedence.DEFERRED))] == [
            record.id for record in deferred
        ]
        assert eviction._floors[Precedence.DEFERRED] == rows
        eviction.rollback()
        assert eviction._floors == {}
