"""Ends of custody by runs: the rows, the files, the counters and each bundle's fate are as if ended one by one."""

import asyncio
import itertools
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.bundle import Precedence
from edge_agent.core.effects import Done, EraseReason, Known
from edge_agent.disk import schema
from edge_agent.disk.spans import Ending, Run, Spans, read_span, runs_of
from edge_agent.disk.types import FateState, Start, StateUpdate
from tests.disk.bench import PERSON, opened, pattern, queue_of

RUNS = st.tuples(st.integers(0, 40), st.integers(1, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
OPERATIONS = st.lists(st.tuples(st.sampled_from(["add", "deliver", "take_out"]), RUNS), max_size=30)


def tables() -> sqlite3.Connection:
    """The tables of a store, in memory."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.executescript(f"{schema._TABLES} {schema._TABLES_2} {schema._TABLES_3}")
    return database


@given(numbers=st.sets(st.integers(0, 50)))
def test_runs_hold_each_number_once_and_are_as_few_as_can_be(numbers: set[int]) -> None:
    runs = list(runs_of(sorted(numbers)))
    assert [number for start, stop in runs for number in range(start, stop)] == sorted(numbers)
    assert all(stop < start for (_, stop), (start, _) in itertools.pairwise(runs))


@given(operations=OPERATIONS)
def test_spans_say_of_each_number_what_rows_of_its_own_would(operations: list[tuple[str, tuple[int, int]]]) -> None:
    with closing(tables()) as database:
        spans, model = Spans(database), dict[int, tuple[int, int | None]]()
        taken: set[int] = set()
        for time_ms, (name, (start, stop)) in enumerate(operations):
            run = Run(1, 3, start, stop)
            if name == "add":
                for left, right in runs_of([n for n in range(start, stop) if n not in model and n not in taken]):
                    spans.add(Run(1, 3, left, right), Ending(1, 6, 10, 5, time_ms, None, "cmd", "4g"))
                    model.update(dict.fromkeys(range(left, right), (time_ms, None)))
            elif name == "deliver":
                known = spans.deliver(run, time_ms)
                assert [n for n in range(60) if n in known] == [n for n in range(start, stop) if n in model]
                for n in range(start, stop):
                    if n in model and model[n][1] is None:
                        model[n] = (model[n][0], time_ms)
            else:
                ending = spans.take_out(Run(1, 3, start, start + 1))
                found = model.pop(start, None)
                assert (ending and (ending.closed_ms, ending.delivered_ms)) == found
                taken.add(start)
        for number in range(60):
            row = read_span(database, 1, 3, number)
            assert (row and (row[6], row[7])) == model.get(number)
        rows = spans.rows
        spans.load()
        assert spans.rows == rows


async def test_a_run_with_holes_files_and_two_queues_ends_as_a_whole(tmp_path: Path) -> None:
    """In one commit: what waits in either queue goes with its body and file, what went before stays as it was told."""
    async with opened(tmp_path) as store:
        sizes = (0, 20, 1_024, 1_025, 60_000, 70_000, 20, 20, 20, 20)
        records = [store.own(size, flow="gas" if at in (3, 7) else "reading") for at, size in enumerate(sizes)]
        sos = store.own(20, **PERSON)
        for record in (*records, sos):
            await store.persist(record, pattern(record.payload_bytes))
        await store.erase(records[6].id, reason=EraseReason.EXPIRED)
        assert await store.erase(*(each.id for each in (*records, sos)), peer="cmd", via=("vsat",)) == Done()
        assert await store.disk.verify() == []
        assert store.disk.report().used_bytes == 0
        assert list((tmp_path / "payloads").iterdir()) == []
        for record in (*records, sos):
            fate = await store.disk.fate(record.id)
            assert fate is not None
            assert (fate.header.flow, fate.header.destination) == (record.header.flow, "command")
            if record is records[6]:
                assert (fate.state, fate.forwarded_ms) == (FateState.EXPIRED, None)
            else:
                assert (fate.state, fate.peer, fate.via) == (FateState.FORWARDED, "cmd", ("vsat",))
        assert (await store.window(queue_of(records[0]))).records == ()
    async with opened(tmp_path) as store:
        assert store.restored.queues == ()


async def test_a_drained_backlog_leaves_few_rows_and_receipts_find_each_bundle(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        records = [store.own(10) for _ in range(600)]
        await asyncio.gather(*(store.persist(each, bytes(10)) for each in records))
        await asyncio.gather(*(store.erase(each.id) for each in records))
        with closing(sqlite3.connect(tmp_path / "store.db")) as database:
            assert database.execute("SELECT count(*) FROM fates").fetchone() == (0,)
            assert database.execute("SELECT count(*) FROM spans").fetchone()[0] <= 10
        named = [each.id for each in records[100:356]]
        updates = [StateUpdate(bundle=each, state=FateState.DELIVERED, at_ms=9) for each in named]
        assert await store.disk.set_states(updates) == named
        states = [fate.state for each in records if (fate := await store.disk.fate(each.id)) is not None]
        expected = [FateState.FORWARDED] * 100 + [FateState.DELIVERED] * 256 + [FateState.FORWARDED] * 244
        assert states == expected
        refused = StateUpdate(bundle=records[200].id, state=FateState.REFUSED, at_ms=10, detail="no such flow")
        assert await store.disk.set_states([refused]) == [records[200].id]
        fate = await store.disk.fate(records[200].id)
        assert fate is not None
        assert (fate.state, fate.delivered_ms, fate.detail) == (FateState.DELIVERED, 9, "no such flow")


async def test_receipts_settle_by_runs_and_count_once(tmp_path: Path) -> None:
    async with opened(tmp_path, flows_without_receipt=("report",)) as store:
        await store.disk.consumer_open("c", start=Start.ALL)
        records = [await store.arrive(bytes(100), flow="report" if at % 4 == 3 else "reading") for at in range(40)]
        flash = await store.arrive(bytes(100), precedence=Precedence.FLASH)
        await store.disk.consumer_ack("c", (await store.disk.consumer_next("c"))[-1].position)
        owed = [each.id for at, each in enumerate(records) if at % 4 != 3]
        assert [each.bundle for each in store.acked] == [*owed, flash.id]
        counts = store.disk._writer.tables.rows.quota
        assert counts.evictable_bytes == 10 * 612
        for _ in range(2):
            await store.disk.settle_receipts([flash.id, *reversed(owed), store.own().id])
            assert counts.evictable_bytes == 40 * 612
        assert await store.disk.verify() == []
    async with opened(tmp_path) as store:
        assert store.acked == []


async def test_a_bundle_of_an_older_name_of_this_store_is_known_when_it_comes_back(tmp_path: Path) -> None:
    """After a restore the node has a new name; a relay may still carry what was sent under the old one."""
    async with opened(tmp_path / "a") as store:
        old = store.own(10)
        await store.persist(old, bytes(10))
        await store.erase(old.id)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    async with opened(tmp_path / "b") as store:
        assert store.disk.report().was_copied
        assert await store.persist(old, bytes(10), is_arrival=True) == Known()
        assert await store.persist(store.own(10), bytes(10)) == Done()
