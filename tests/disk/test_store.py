"""The store's effects: what is completed is on disk, in the order of service, once, and comes back after a restart."""

import asyncio
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.effects import Done, EraseReason, Failed, Known, Loaded
from edge_agent.core.errors import RefusalReason
from edge_agent.core.intervals import IntervalSet
from edge_agent.disk import job_queue, reader
from edge_agent.disk.consumers import Consumers
from edge_agent.disk.files import PART_SUFFIX, WHOLE_SUFFIX
from edge_agent.disk.jobs import CallJob
from edge_agent.disk.rows import LEASE_NUMBERS
from edge_agent.disk.types import ROW_PAYLOAD_BYTES, StoreLockedError
from tests.disk.bench import PEER_INCARNATION, PERSON, Clock, opened, pattern, queue_of

SIZES = (0, 1, 1_024, 1_025, ROW_PAYLOAD_BYTES, ROW_PAYLOAD_BYTES + 1, 3_000_000)


def files_in(folder: Path, suffix: str) -> list[str]:
    return sorted(path.name for path in (folder / "payloads").iterdir() if path.suffix == suffix)


@pytest.mark.parametrize("is_arrival", [False, True])
async def test_payloads_of_every_size_come_back_after_a_restart(tmp_path: Path, is_arrival: bool) -> None:
    async with opened(tmp_path) as store:
        make = store.arriving if is_arrival else store.own
        records = [make(size) for size in SIZES]
        outcomes = [store.persist(each, pattern(each.payload_bytes), is_arrival=is_arrival) for each in records]
        assert await asyncio.gather(*outcomes) == [Done()] * len(SIZES)
    async with opened(tmp_path) as store:
        for record in records:
            assert await store.fetch_all(record) == pattern(record.payload_bytes)
            assert await store.disk.read_payload(record.id, 1, 5) == pattern(record.payload_bytes)[1:6]
        assert await store.disk.verify() == []


async def test_what_was_forwarded_is_gone_and_its_files_with_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        records = [store.own(size) for size in SIZES]
        await asyncio.gather(*(store.persist(each, pattern(each.payload_bytes)) for each in records))
        assert len(files_in(tmp_path, WHOLE_SUFFIX)) == 2
        assert await store.erase(*(each.id for each in records)) == Done()
        assert files_in(tmp_path, WHOLE_SUFFIX) == []
        assert store.disk.report().used_bytes == 0
        outcome = await store.fetch(records[1].id, 0, 1)
        assert outcome == Failed(RefusalReason.STORE_FAILED, f"bundle {records[1].id} is not in the store (any more)")
    async with opened(tmp_path) as store:
        assert store.restored.queues == ()


async def test_a_fetch_beyond_the_end_fails(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for size in (10, 100_000):
            record = store.own(size)
            await store.persist(record, pattern(size))
            assert isinstance(await store.fetch(record.id, size - 5, 6), Failed)


async def test_windows_follow_the_flows_order_beyond_a_bundle(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        records = [store.own() for _ in range(10)]
        strangers = [store.own(flow="other"), store.own(precedence=Precedence.FLASH), store.own(destination="kit-2")]
        for record in (*reversed(records), *strangers):  # the order of arrival is not the order of service
            await store.persist(record, bytes(10))
        key = queue_of(records[0])
        assert await store.window(key) == Loaded(tuple(records), has_more=False)
        assert await store.window(key, count=4) == Loaded(tuple(records[:4]), has_more=True)
        assert await store.window(key, after=records[3].id, count=6) == Loaded(tuple(records[4:]), has_more=False)
        newest = await store.window(key, newest_first=True, count=3)
        assert newest == Loaded(tuple(records[:-4:-1]), has_more=True)
        older = await store.window(key, newest_first=True, after=records[2].id)
        assert older == Loaded((records[1], records[0]), has_more=False)


async def test_a_window_brings_the_payloads_that_lie_in_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Fetch for a backlog of readings; what is long, or too much for one window, is fetched when its turn comes."""
    async with opened(tmp_path) as store:
        records = [store.own(size) for size in (0, 1, 1_024, 1_025, ROW_PAYLOAD_BYTES + 1, 20)]
        for record in records:
            await store.persist(record, pattern(record.payload_bytes))
        whole = {each.id: pattern(each.payload_bytes) if each.payload_bytes <= 1_024 else None for each in records}
        await store.window(queue_of(records[0]))
        assert store.window_payloads == whole
        monkeypatch.setattr(reader, "WINDOW_PAYLOAD_BYTES", 1_030)
        await store.window(queue_of(records[0]))
        assert store.window_payloads == {**whole, records[-1].id: None}
        erased = store.erase(records[1].id)
        await store.window(queue_of(records[0]), count=2)
        assert store.window_payloads == {records[0].id: b"", records[2].id: whole[records[2].id]}
        assert await erased == Done()


async def test_a_window_never_shows_what_the_core_has_ended_meanwhile(tmp_path: Path) -> None:
    """Asked before, between and after the erasures: those under way are filtered, and the window is still full."""
    async with opened(tmp_path) as store:
        records = [store.own() for _ in range(60)]
        await asyncio.gather(*(store.persist(each, bytes(10)) for each in records))
        key = queue_of(records[0])
        first = asyncio.ensure_future(store.window(key, count=10))
        await asyncio.sleep(0)
        erased = [store.erase(each.id) for each in records[:20]]
        second = asyncio.ensure_future(store.window(key, count=10))
        await asyncio.sleep(0)
        erased += [store.erase(each.id) for each in records[20:30]]
        assert not {each.id for each in (await first).records} & {each.id for each in records[:30]}
        late = await second
        assert not {each.id for each in late.records} & {each.id for each in records[:30]}
        await asyncio.gather(*erased)
        assert await store.window(key, count=10) == Loaded(tuple(records[30:40]), has_more=True)


async def test_queues_are_counted_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock=clock, now_s=50.0) as store:
        records = [store.own(size, as_of_s=50.0 - size) for size in (1, 20, 300)]
        urgent = store.own(7, precedence=Precedence.FLASH, **PERSON)
        for record in (*records, urgent):
            await store.persist(record, bytes(record.payload_bytes))
    clock.pass_time(100.0)
    async with opened(tmp_path, clock=clock, now_s=150.0) as store:
        counts = {each.queue: each for each in store.restored.queues}
        assert counts.keys() == {queue_of(records[0]), queue_of(urgent)}
        count = counts[queue_of(records[0])]
        assert (count.bundles, count.payload_bytes, count.header) == (3, 321, records[0].header)
        assert count.oldest_age_s == pytest.approx(400.0)
        assert counts[queue_of(urgent)].header == urgent.header


async def test_a_bundle_is_stored_once_even_after_it_was_erased(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        record = store.arriving(destination="command")
        large = store.arriving(100_000, destination="command")
        for each in (record, large):
            await store.persist(each, bytes(each.payload_bytes), is_arrival=True)
        await store.erase(record.id, large.id)
        for each in (record, large):
            assert await store.persist(each, bytes(each.payload_bytes), is_arrival=True) == Known()
        assert await store.window(queue_of(record)) == Loaded((), has_more=False)
        assert files_in(tmp_path, WHOLE_SUFFIX) == files_in(tmp_path, PART_SUFFIX) == []


async def test_closed_numbers_come_back_as_intervals(tmp_path: Path) -> None:
    numbers = [5, 1, 2, 9, 3, 8, 100, 6]
    async with opened(tmp_path) as store:
        for number in numbers[:5]:
            await store.arrive(sequence=number)
        await asyncio.gather(*(store.arrive(sequence=number) for number in numbers[5:]))
        await store.arrive(sequence=4, precedence=Precedence.FLASH)
        await store.arrive(sequence=(1 << 62) - 1, incarnation=1)
    expected = IntervalSet((number, number + 1) for number in numbers)
    async with opened(tmp_path) as store:
        seen = dict(store.restored.seen)
        assert seen["peer-9", PEER_INCARNATION, Precedence.ROUTINE] == expected
        assert seen["peer-9", PEER_INCARNATION, Precedence.FLASH] == IntervalSet([(4, 5)])
        assert seen["peer-9", 1, Precedence.ROUTINE] == IntervalSet([((1 << 62) - 1, 1 << 62)])


async def test_numbers_go_on_without_a_hole_after_a_clean_stop(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        incarnation = store.restored.incarnation
        assert store.restored.next_sequences == (0, 0, 0, 0, 0)
        for _ in range(3):
            await store.persist(store.own(), bytes(10))
        await store.persist(store.own(precedence=Precedence.FLASH), bytes(10))
    async with opened(tmp_path) as store:
        assert store.restored.incarnation == incarnation
        assert store.restored.next_sequences == (1, 0, 0, 3, 0)
        await store.persist(store.own(sequence=3 + 5 * LEASE_NUMBERS), bytes(10))
    async with opened(tmp_path) as store:
        assert store.restored.next_sequences == (1, 0, 0, 4 + 5 * LEASE_NUMBERS, 0)


async def test_every_start_has_a_greater_session_number(tmp_path: Path) -> None:
    numbers = []
    for _ in range(3):
        async with opened(tmp_path) as store:
            numbers.append(store.restored.session_number)
    assert numbers == sorted(set(numbers))


async def test_a_store_in_use_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(StoreLockedError, match=f"store {tmp_path} is in use by another process"):
            async with opened(tmp_path):
                pass


async def test_large_bundles_arrive_in_pieces_in_any_order_and_over_restarts(tmp_path: Path) -> None:
    payload = pattern(500_000)
    cuts = [0, 65_536, 131_072, 262_144, 400_000, 500_000]
    ranges = list(pairwise(cuts))
    async with opened(tmp_path) as store:
        record = store.arriving(len(payload))
        for start, end in (ranges[3], ranges[0]):
            assert await store.persist_piece(record.id, len(payload), start, payload[start:end]) == Done()
        assert store.disk.report().used_bytes > len(payload)  # room for the whole was taken with the first piece
    async with opened(tmp_path) as store:
        (part,) = store.restored.parts
        assert (part.bundle, part.payload_bytes, part.ranges) == (record.id, 500_000, (ranges[0], ranges[3]))
        assert store.restored.seen == ()
        for start, end in (ranges[4], ranges[1]):
            await store.persist_piece(record.id, len(payload), start, payload[start:end])
        start, end = ranges[2]
        last = store.persist_piece(record.id, len(payload), start, payload[start:end], record=record)
        assert await last == Done()
        assert await store.fetch_all(record) == payload
        assert files_in(tmp_path, PART_SUFFIX) == []
    async with opened(tmp_path) as store:
        assert store.restored.parts == ()
        assert await store.fetch_all(record) == payload
        assert await store.disk.verify() == []


async def test_the_last_piece_may_be_empty_and_follow_at_once(tmp_path: Path) -> None:
    payload = pattern(200_000)
    async with opened(tmp_path) as store:
        record = store.arriving(len(payload))
        pieces = [
            store.persist_piece(record.id, len(payload), at, payload[at : at + 50_000])
            for at in range(0, 200_000, 50_000)
        ]
        pieces.append(store.persist_piece(record.id, len(payload), len(payload), b"", record=record))
        assert await asyncio.gather(*pieces) == [Done()] * 5
        assert await store.fetch_all(record) == payload


async def test_a_bundle_with_holes_is_never_whole(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        record = store.arriving(200_000)
        await store.persist_piece(record.id, 200_000, 0, bytes(50_000))
        outcome = await store.persist_piece(record.id, 200_000, 100_000, bytes(100_000), record=record)
        assert isinstance(outcome, Failed)
        assert "1 ranges are missing, first (50000, 100000)" in outcome.detail
        assert isinstance(await store.fetch(record.id, 0, 1), Failed)
        whole = store.persist_piece(record.id, 200_000, 50_000, bytes(50_000), record=record)
        assert await whole == Done()


async def test_a_dropped_part_leaves_nothing_and_may_come_again(tmp_path: Path) -> None:
    payload = pattern(150_000)
    async with opened(tmp_path) as store:
        record = store.arriving(len(payload))
        waits = [
            store.persist_piece(record.id, len(payload), 0, payload[:70_000]),
            store.erase(record.id, reason=EraseReason.PARTIAL_DROPPED),
            store.persist_piece(record.id, len(payload), 70_000, payload[70_000:]),  # the source tries again at once
        ]
        assert await asyncio.gather(*waits) == [Done()] * 3
        half = await store.persist_piece(record.id, len(payload), 70_000, payload[70_000:], record=record)
        assert isinstance(half, Failed)  # the first half was dropped: it must not count
        await store.erase(record.id, reason=EraseReason.PARTIAL_DROPPED)
        assert files_in(tmp_path, PART_SUFFIX) == []
        assert store.disk.report().used_bytes == 0
        await store.persist(record, payload, is_arrival=True)
        assert await store.fetch_all(record) == payload


async def test_a_part_whose_file_vanished_starts_from_nothing(tmp_path: Path) -> None:
    payload = pattern(150_000)
    async with opened(tmp_path) as store:
        record = store.arriving(len(payload))
        await store.persist_piece(record.id, len(payload), 0, payload[:70_000])
    for path in (tmp_path / "payloads").iterdir():
        path.unlink()
    async with opened(tmp_path) as store:
        assert store.restored.parts == ()
        outcome = await store.persist_piece(record.id, len(payload), 70_000, payload[70_000:], record=record)
        assert isinstance(outcome, Failed)


async def test_another_declared_length_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        record = store.arriving(150_000)
        await store.persist_piece(record.id, 150_000, 0, bytes(70_000))
        outcome = await store.persist_piece(record.id, 160_000, 70_000, bytes(90_000))
        assert isinstance(outcome, Failed)
        assert outcome.reason is RefusalReason.IDENTITY_MISMATCH


async def test_urgent_bundles_overtake_what_waits_for_the_disk(tmp_path: Path) -> None:
    """While one commit runs, pictures and readings pile up, then comes an SOS: it is the first of the next commit."""
    began, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def hold(tables: Consumers) -> None:
        began.set()
        assert go_on.wait(10.0)

    async with opened(tmp_path) as store:
        store.disk._writer.queue.put(CallJob(hold))
        assert began.wait(10.0)
        bulk = [store.own(size) for size in [2_000_000] * 3 + [60_000] * 100]
        waits = [store.persist(each, bytes(each.payload_bytes)) for each in bulk]
        flash = store.persist(store.own(200, precedence=Precedence.FLASH, **PERSON), bytes(200))
        for wait in waits:
            wait.add_done_callback(lambda _: order.append("bulk"))
        flash.add_done_callback(lambda _: order.append("flash"))
        go_on.set()
        assert await asyncio.gather(flash, *waits) == [Done()] * 104
    assert order.index("flash") == 0


async def test_more_than_the_intake_holds_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_queue, "INTAKE_BYTES", 250_000)
    async with opened(tmp_path) as store:
        waits = [store.persist(store.own(100_000), bytes(100_000)) for _ in range(3)]
        outcomes = await asyncio.gather(*waits)
        assert outcomes[:2] == [Done(), Done()]
        assert isinstance(outcomes[2], Failed)
        assert outcomes[2].reason is RefusalReason.STORE_FULL
        assert await store.persist(store.own(300_000), bytes(300_000)) == Done()  # larger than the bound, but alone


async def test_a_number_too_large_for_the_store_is_refused(tmp_path: Path) -> None:
    """Numbers come from peers: one beyond 62 bits must not end the writer."""
    async with opened(tmp_path) as store:
        outcome = await store.persist(store.arriving(sequence=1 << 62), bytes(10), is_arrival=True)
        assert isinstance(outcome, Failed)
        assert outcome.reason is RefusalReason.MALFORMED
        assert await store.erase(BundleId("peer-9", 1, Precedence.FLASH, 1 << 70)) == Done()
        outcome = await store.fetch(BundleId("peer-9", 1, Precedence.FLASH, 1 << 70), 0, 1)
        assert isinstance(outcome, Failed)
        assert await store.persist(store.own(), bytes(10)) == Done()


@pytest.mark.parametrize("gap", [0, 1, 2])
async def test_a_gap_filled_last_beside_what_lies_behind_it_is_hashed_before_the_file_is_whole(
    tmp_path: Path, gap: int
) -> None:
    """A fragment that was lost comes last, in one step with later ones. The thread ended for it, and the agent."""
    third = 40_000
    async with opened(tmp_path) as store:
        record = store.arriving(3 * third)
        payload = pattern(3 * third)
        pieces = [(offset, payload[offset : offset + third]) for offset in range(0, 3 * third, third)]
        last = pieces.pop(gap)
        outcomes = [store.persist_piece(record.id, 3 * third, *piece) for piece in pieces]
        outcomes.append(store.persist_piece(record.id, 3 * third, *last, record=record))
        async with asyncio.timeout(10):
            assert [await outcome for outcome in outcomes] == [Done()] * 3
        assert await store.fetch_all(record) == payload
        assert await store.disk.verify() == []
