"""The place of a row in its queue, counted in the index."""

from pathlib import Path

import pytest

from edge_agent.core.bundle import FlowOrder
from edge_agent.disk import places
from tests.disk.bench import opened


@pytest.mark.parametrize(("order", "expected"), [(FlowOrder.FIFO, [0, 1, 2, 3]), (FlowOrder.NEWEST, [3, 2, 1, 0])])
async def test_the_place_follows_the_order_of_the_flow(tmp_path: Path, order: FlowOrder, expected: list[int]) -> None:
    async with opened(tmp_path) as store:
        records = [store.own(10, flow="track", order=order) for _ in range(4)]
        for record in records:
            await store.persist(record, bytes(10))
        other = store.own(10, flow="other")
        await store.persist(other, bytes(10))
        assert [await store.disk.place(record.id) for record in records] == expected
        assert await store.disk.place(other.id) == 0
        await store.erase(records[0].id)
        assert await store.disk.place(records[0].id) is None
        assert await store.disk.place(records[0].id._replace(sequence=1 << 62)) is None


async def test_the_count_ends_at_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PLACE_MAX", 2)
    async with opened(tmp_path) as store:
        records = [store.own(10) for _ in range(4)]
        for record in records:
            await store.persist(record, bytes(10))
        assert await store.disk.place(records[3].id) == 2
