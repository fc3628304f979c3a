"""Closed and open numbers in the store: told truly, over rollbacks, starts, exports and a folder that was copied."""

from pathlib import Path

import pytest

from edge_agent.core.bundle import BundleId, BundleRecord, FlowOrder, Precedence
from edge_agent.core.effects import CloseNumbers, Done, EraseReason, Known, ListOpen, OpenNumbers
from edge_agent.disk import open_numbers
from edge_agent.disk.carried import RANGES_MAX, Carried
from edge_agent.disk.schema import DATABASE_NAME, connect
from tests.disk.bench import Store, opened

ROUTINE = Precedence.ROUTINE


async def stored(store: Store, count: int, **changes: object) -> list[BundleRecord]:
    records = [store.own(**changes) for _ in range(count)]
    for record in records:
        assert await store.persist(record, bytes(10)) == Done()
    return records


async def open_of(store: Store, start: int = 0, stop: int = 1 << 40) -> OpenNumbers:
    key = (store.node_id, store.restored.incarnation, ROUTINE)
    outcome = await store.begin(lambda number: ListOpen(number, key, start, stop))
    assert isinstance(outcome, OpenNumbers)
    return outcome


async def ranges_of(store: Store) -> tuple[tuple[int, int], ...]:
    return (await open_of(store)).ranges


@pytest.mark.parametrize("reason", list(EraseReason)[:4])
async def test_open_is_what_waits(tmp_path: Path, reason: EraseReason) -> None:
    async with opened(tmp_path) as store:
        records = await stored(store, 6)
        await stored(store, 2, precedence=Precedence.FLASH)
        await store.erase(records[1].id, records[2].id, reason=reason)
        assert await open_of(store, 1, 5) == OpenNumbers(5, ((3, 5),))
    async with opened(tmp_path) as store:
        assert await ranges_of(store) == ((0, 1), (3, 6))


async def test_what_was_superseded_after_it_left_by_hand_stays_open(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        carried = await stored(store, 4, order=FlowOrder.LATEST)
        ends = await store.disk.begin_carrying()
        assert [end.sequence for end in ends] == [0, 0, 0, 4, 0]
        late = await stored(store, 2, order=FlowOrder.LATEST)
        await store.erase(carried[0].id, late[0].id, reason=EraseReason.SUPERSEDED)
        await store.erase(carried[1].id, reason=EraseReason.EXPIRED)
        await store.erase(carried[2].id, reason=EraseReason.FORWARDED)
        assert await ranges_of(store) == ((0, 1), (3, 4), (5, 6))
    async with opened(tmp_path) as store:
        assert await ranges_of(store) == ((0, 1), (3, 4), (5, 6))


async def test_what_was_evicted_or_damaged_after_it_left_by_hand_stays_open(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_bytes=1 << 20, can_evict=True) as store:
        carried = [store.own(90_000) for _ in range(9)]
        for record in carried:
            assert await store.persist(record, bytes(90_000)) == Done()
        damaged = await stored(store, 1)
        await store.disk.begin_carrying()
        urgent = store.own(300_000, precedence=Precedence.IMMEDIATE)
        assert await store.persist(urgent, bytes(300_000)) == Done()
        assert len(store.evicted) >= 2
        store.disk._damaged(damaged[0].id)
        await store.disk.set_states([])  # behind it
        assert await ranges_of(store) == ((0, 10),)


async def test_a_copied_folder_forgets_what_the_other_name_gave_out(tmp_path: Path) -> None:
    async with opened(tmp_path / "old") as store:
        carried = await stored(store, 2, order=FlowOrder.LATEST)
        await store.disk.begin_carrying()
        await store.erase(carried[0].id, reason=EraseReason.SUPERSEDED)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / DATABASE_NAME).write_bytes((tmp_path / "old" / DATABASE_NAME).read_bytes())
    async with opened(tmp_path / "new") as store:
        assert store.disk.report().was_copied
        assert await ranges_of(store) == ()


async def test_an_answer_ends_where_the_look_at_the_rows_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_numbers, "ROWS_MAX", 3)
    async with opened(tmp_path) as store:
        await stored(store, 5)
        assert await open_of(store) == OpenNumbers(3, ((0, 3),))
        assert await open_of(store, 3, 9) == OpenNumbers(9, ((3, 5),))


def test_what_left_by_hand_is_bounded_and_never_told_too_narrowly(tmp_path: Path) -> None:
    database = connect(tmp_path / DATABASE_NAME)
    database.execute("CREATE TABLE facts (name TEXT PRIMARY KEY, value)")
    carried = Carried(database, ("kit-1", 7))
    carried.begin([0, 0, 0, 100_000, 0])
    first = BundleId("kit-1", 7, ROUTINE, 0)
    for sequence in range(0, 4 * RANGES_MAX, 2):
        carried.give_up(first._replace(sequence=sequence))
    carried.write()
    given_up = open_numbers.read_given_up(database, ROUTINE)
    assert len(given_up) == RANGES_MAX
    assert all(sequence in given_up for sequence in range(0, 4 * RANGES_MAX, 2))
    database.close()


async def test_closed_numbers_are_known_for_good_and_make_one_row(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for number in range(0, 2_000, 2):
            await_later = store.persist(store.arriving(sequence=number), bytes(10), is_arrival=True)
        assert await await_later == Done()
        first = store.arriving(sequence=0).id
        key = (first.source, first.incarnation, first.precedence)
        assert await store.begin(lambda number: CloseNumbers(number, key, ((0, 1_501), (1_900, 5_000)))) == Done()
        assert await store.persist(store.arriving(sequence=7), bytes(10), is_arrival=True) == Known()
        assert await store.persist(store.arriving(sequence=1_501), bytes(10), is_arrival=True) == Done()
        with connect(tmp_path / DATABASE_NAME) as database:
            rows = database.execute("SELECT start, stop FROM seen ORDER BY start").fetchall()
    assert rows[0] == (0, 1_503)
    assert rows[-1] == (1_900, 5_000)
    assert len(rows) == 2 + len(range(1_504, 1_900, 2))
    async with opened(tmp_path) as store:
        assert dict(store.restored.seen)[key].first_range() == (0, 1_503)
        assert await store.persist(store.arriving(sequence=4_999), bytes(10), is_arrival=True) == Known()


async def test_closed_numbers_of_a_source_never_heard_of(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        key = ("kit-8", 3, Precedence.FLASH)
        assert await store.begin(lambda number: CloseNumbers(number, key, ((5, 9),))) == Done()
    async with opened(tmp_path) as store:
        assert [(key, list(numbers)) for key, numbers in store.restored.seen] == [(key, [(5, 9)])]
