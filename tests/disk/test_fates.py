"""Fates: the truth about each bundle after its custody ended, whatever order the news comes in."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.effects import EraseReason
from edge_agent.core.progress import advance
from edge_agent.disk import fates, spans
from edge_agent.disk.types import Fate, FateState, StateUpdate
from tests.disk.bench import PERSON, Clock, Store, opened

START_MS = 1_800_000_000_000


async def fate_of(store: Store, bundle: BundleId) -> Fate:
    fate = await store.disk.fate(bundle)
    assert fate is not None
    return fate


def news(bundle: BundleId, state: FateState, at_ms: int, detail: str = "") -> StateUpdate:
    return StateUpdate(bundle=bundle, state=state, at_ms=at_ms, detail=detail)


async def test_the_way_of_a_message_from_accepted_to_done(tmp_path: Path) -> None:
    clock = Clock(wall_ms=START_MS)
    async with opened(tmp_path, clock=clock) as store:
        record = store.own(5, **PERSON)
        await store.persist(record, b"hello")
        fate = await fate_of(store, record.id)
        assert (fate.state, fate.accepted_ms, fate.header, fate.payload) == (
            FateState.ACCEPTED,
            START_MS,
            record.header,
            b"hello",
        )
        clock.wall_ms = START_MS + 1_000
        await store.erase(record.id, peer="cmd", via=("4g", "radio"))
        await store.disk.set_states([news(record.id, FateState.DELIVERED, START_MS + 2_000)])
        await store.disk.set_states([news(record.id, FateState.READ, START_MS + 3_000, "by Li")])
    async with opened(tmp_path) as store:
        fate = await fate_of(store, record.id)
        times_ms = [each - START_MS for each in (fate.forwarded_ms, fate.delivered_ms, fate.read_ms) if each]
        assert (fate.state, times_ms) == (FateState.READ, [1_000, 2_000, 3_000])
        assert (fate.peer, fate.via, fate.detail, fate.done_ms) == ("cmd", ("4g", "radio"), "by Li", None)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("kind", [{}, PERSON])
async def test_news_in_any_order_give_one_truth(tmp_path: Path, order: tuple[int, ...], kind: dict[str, Any]) -> None:
    """Custody ends, a receipt comes, a person reads: a kill or a slow link shuffles them."""
    async with opened(tmp_path) as store:
        record = store.own(5, **kind)
        await store.persist(record, b"12345")
        for step in order:
            if step == 0:
                await store.erase(record.id, peer="cmd", via=("vsat",))
            elif step == 1:
                assert await store.disk.set_states([news(record.id, FateState.READ, 11, "by Li")]) == [record.id]
            else:
                assert await store.disk.set_states([news(record.id, FateState.DELIVERED, 9)]) == [record.id]
        fate = await fate_of(store, record.id)
        assert (fate.state, fate.delivered_ms, fate.read_ms) == (FateState.READ, 9, 11)
        assert (fate.peer, fate.via, fate.detail) == ("cmd", ("vsat",), "by Li")
        assert fate.forwarded_ms is not None


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (EraseReason.EXPIRED, FateState.EXPIRED),
        (EraseReason.SUPERSEDED, FateState.SUPERSEDED),
        (EraseReason.CANCELLED, FateState.CANCELLED),
    ],
)
async def test_other_ends_are_kept_and_a_late_receipt_corrects_them(
    tmp_path: Path, reason: EraseReason, state: FateState
) -> None:
    async with opened(tmp_path, clock=Clock(wall_ms=77)) as store:
        record = store.own(5)
        await store.persist(record, b"12345")
        await store.erase(record.id, reason=reason)
        fate = await fate_of(store, record.id)
        assert (fate.state, fate.closed_ms) == (state, 77)
        await store.disk.set_states([news(record.id, FateState.DELIVERED, 99)])
        assert (await fate_of(store, record.id)).state is FateState.DELIVERED


async def test_the_table_and_the_rule_of_the_core_agree_for_every_pair_of_news(tmp_path: Path) -> None:
    """The store decides in SQL, pages and orders in Python: one truth."""
    async with opened(tmp_path) as store:
        pairs = {store.own(1): pair for pair in itertools.product(FateState, repeat=2)}
        for record in pairs:
            await store.persist(record, b"1")
        for turn in (0, 1):
            await store.disk.set_states([news(record.id, pair[turn], turn) for record, pair in pairs.items()])
        for record, pair in pairs.items():
            told = advance(advance(FateState.ACCEPTED, pair[0]), pair[1])
            assert (await fate_of(store, record.id)).state is told, pair


async def test_unknown_bundles_have_no_fate_and_make_none(tmp_path: Path) -> None:
    """A receipt may name anything."""
    async with opened(tmp_path) as store:
        own = store.own()
        strangers = [
            BundleId("nobody", 5, Precedence.FLASH, 1),
            BundleId("kit-1", store.restored.incarnation, Precedence.FLASH, 1 << 63),
            own.id,
        ]
        assert await store.disk.set_states([news(each, FateState.DELIVERED, 1) for each in strangers]) == []
        for each in strangers:
            assert await store.disk.fate(each) is None


async def test_messages_are_a_persons_own_newest_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        records = [store.own(1, **PERSON) for _ in range(5)]
        for number, record in enumerate(records):
            await store.persist(record, bytes([number]))
            await store.persist(store.own(), bytes(10))  # a machine's
        await store.persist(store.arriving(1, **PERSON), b"x", is_arrival=True)  # somebody else's
        await store.erase(*(record.id for record in records[:3]))
        newest = await store.disk.own_messages(3)
        assert [each.bundle for each in newest] == [each.id for each in records[:1:-1]]
        older = await store.disk.own_messages(3, before_row=newest[-1].row)
        assert [(each.bundle, each.payload) for each in older] == [(records[1].id, b"\1"), (records[0].id, b"\0")]
        assert [each.state for each in older] == [FateState.FORWARDED] * 2


async def test_a_large_message_is_listed_without_its_payload(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for size in (fates.MESSAGE_PAYLOAD_BYTES, fates.MESSAGE_PAYLOAD_BYTES + 1, 100_000):
            await store.persist(store.own(size, **PERSON), bytes(size))
        assert [each.payload is None for each in await store.disk.own_messages(9)] == [True, True, False]


async def test_old_fates_are_forgotten_and_messages_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "SPANS_MAX", 20)
    monkeypatch.setattr(spans, "PRUNE_ROWS", 5)
    async with opened(tmp_path) as store:
        message = store.own(1, **PERSON)
        await store.persist(message, b"m")
        await store.erase(message.id)
        records = [store.own() for _ in range(60)]
        for record in records:
            await store.persist(record, bytes(10))
            await store.erase(record.id)
        kept = [await store.disk.fate(record.id) is not None for record in records]
        assert 20 <= sum(kept) <= 26
        assert kept == sorted(kept)  # the oldest went
        assert await store.disk.fate(message.id) is not None
