"""Payloads handed in piece by piece: gone on with after a kill, refused at first or not at all, hashed as they come."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.bundle import BundleId, Origin, Precedence
from edge_agent.core.effects import Done, Failed, Outcome, Staged
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.disk.digests import RunningDigest
from edge_agent.disk.staging import StagedPart
from tests.disk.bench import QUOTA_BYTES, Store, digest_of, opened, pattern, queue_of

LARGE_BYTES = 9 << 20  # read again after a start in three steps
PIECE_BYTES = 1 << 20
MACHINE, ROUTINE = Origin.MACHINE, Precedence.ROUTINE


async def put(store: Store, part: BundleId, payload: bytes, start: int, end: int) -> None:
    for offset in range(start, end, PIECE_BYTES):
        piece = payload[offset : min(end, offset + PIECE_BYTES)]
        await store.disk.staging.put(part, len(payload), offset, piece)


async def finish(store: Store, part: BundleId, payload: bytes, digest: bytes | None = None) -> Outcome:
    """Persist under the next number of this node."""
    return await store.persist_staged(store.own(len(payload)), Staged(part, len(payload), digest or digest_of(payload)))


async def begin(store: Store, payload_bytes: int = LARGE_BYTES, name: str = "film") -> StagedPart:
    return await store.disk.staging.open(name, payload_bytes, ROUTINE, MACHINE)


async def test_pieces_become_a_bundle_that_waits_and_is_sound_after_a_start(tmp_path: Path) -> None:
    payload = pattern(LARGE_BYTES)
    async with opened(tmp_path) as store:
        staged = await begin(store)
        assert (staged.offset, staged.bundle) == (0, None)
        await put(store, staged.part, payload, 0, LARGE_BYTES)
        assert await finish(store, staged.part, payload) == Done()
        assert store.disk.report().used_bytes < LARGE_BYTES + 10_000, "its room was taken twice"
    async with opened(tmp_path) as store:
        (key,) = [count.queue for count in store.restored.queues]
        (record,) = (await store.window(key)).records
        assert key == queue_of(record)
        assert await store.disk.read_payload(record.id) == payload
        assert await store.disk.verify() == []
        assert await store.erase(record.id) == Done()
        assert list((tmp_path / "payloads").iterdir()) == []


async def test_who_was_interrupted_goes_on_and_the_digest_is_read_again_in_steps(tmp_path: Path) -> None:
    payload = pattern(LARGE_BYTES)
    async with opened(tmp_path) as store:
        staged = await begin(store)
        await put(store, staged.part, payload, 0, LARGE_BYTES - PIECE_BYTES)
    async with opened(tmp_path) as store:
        assert store.restored.parts == (), "no peer has a part of it"
        again = await begin(store)
        assert again == staged._replace(offset=LARGE_BYTES - PIECE_BYTES)
        await put(store, again.part, payload, again.offset, LARGE_BYTES)
        assert await finish(store, again.part, payload) == Done()
        assert await store.disk.verify() == []


async def test_a_payload_that_changed_meanwhile_is_not_taken(tmp_path: Path) -> None:
    payload = pattern(LARGE_BYTES)
    async with opened(tmp_path) as store:
        staged = await begin(store)
        await put(store, staged.part, payload, 0, LARGE_BYTES)
        outcome = await finish(store, staged.part, payload, digest_of(b"as it was read"))
        assert isinstance(outcome, Failed)
        assert outcome.reason is RefusalReason.MALFORMED
        await store.disk.staging.drop(staged.part)
        assert (await begin(store)).offset == 0


async def test_what_has_no_room_is_refused_before_its_first_byte_with_figures(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with pytest.raises(RefusedError, match=f"{QUOTA_BYTES} are asked") as refused:
            await begin(store, QUOTA_BYTES)
        assert refused.value.reason is RefusalReason.TOO_LARGE
        await begin(store, QUOTA_BYTES // 2)
        with pytest.raises(RefusedError, match=f"{QUOTA_BYTES // 2} more are asked") as refused:
            await begin(store, QUOTA_BYTES // 2, "another")
        assert refused.value.reason is RefusalReason.STORE_FULL


async def test_the_disk_has_room_for_all_that_was_promised_or_refuses(tmp_path: Path) -> None:
    free_bytes = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    async with opened(tmp_path, quota_bytes=4 * free_bytes) as store:
        with pytest.raises(RefusedError, match="bytes free") as refused:
            await begin(store, free_bytes + (1 << 30))
        assert refused.value.reason is RefusalReason.STORE_FULL
        await begin(store, int(free_bytes * 0.6))
        with pytest.raises(RefusedError, match="promised"):
            await begin(store, int(free_bytes * 0.6), "another")


async def test_what_nobody_feeds_makes_room_and_what_somebody_feeds_does_not(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        fed, idle = await begin(store, 20 << 20, "fed"), await begin(store, 20 << 20, "idle")
        payload = pattern(20 << 20)
        await put(store, fed.part, payload, 0, PIECE_BYTES)
        await put(store, idle.part, payload, 0, PIECE_BYTES)
        store.disk.staging.close(idle.part)
        record = store.own(30 << 20)
        assert await store.persist(record, pattern(30 << 20)) == Done()
        await put(store, fed.part, payload, PIECE_BYTES, 2 * PIECE_BYTES)
        with pytest.raises(RefusedError) as refused:
            await put(store, idle.part, payload, PIECE_BYTES, 2 * PIECE_BYTES)
        assert refused.value.reason is RefusalReason.PARTIAL_DROPPED


async def test_the_bundle_is_remembered_until_the_program_knows(tmp_path: Path) -> None:
    payload = pattern(LARGE_BYTES)
    async with opened(tmp_path) as store:
        staged = await begin(store)
        await put(store, staged.part, payload, 0, LARGE_BYTES)
        record = store.own(LARGE_BYTES)
        assert await store.persist_staged(record, Staged(staged.part, LARGE_BYTES, digest_of(payload))) == Done()
    async with opened(tmp_path) as store:
        assert (await begin(store)).bundle == record.id
        await store.disk.staging.forget(staged.part)
        assert (await begin(store)).bundle is None


async def test_a_kill_between_the_name_and_the_row_costs_nothing(tmp_path: Path) -> None:
    """Nor do files as long as it, of bundles whose rows are gone, take its place."""
    payload = pattern(LARGE_BYTES)
    async with opened(tmp_path) as store:
        staged = await begin(store)
        await put(store, staged.part, payload, 0, LARGE_BYTES)
        others, record = [store.own(LARGE_BYTES) for _ in range(8)], store.own(LARGE_BYTES)
        await store.disk._write(lambda tables: tables.rows.stagings.name(staged.part, record.id))
    files = tmp_path / "payloads"
    for other in others:
        (files / f"{other.id}.payload").write_bytes(bytes(LARGE_BYTES))
    (files / f"{staged.part}.part").rename(files / f"{record.id}.payload")
    async with opened(tmp_path) as store:
        again = await begin(store)
        assert again.offset == LARGE_BYTES
        assert await finish(store, again.part, payload) == Done()


@given(
    length=st.integers(1, 200),
    writes=st.lists(st.tuples(st.integers(0, 199), st.integers(1, 60)), max_size=30),
    steps=st.lists(st.integers(1, 50), max_size=20),
)
def test_the_digest_is_that_of_the_file_however_its_bytes_came(
    tmp_path_factory: pytest.TempPathFactory, length: int, writes: list[tuple[int, int]], steps: list[int]
) -> None:
    """Pieces out of order and twice, with the reading on of some steps in between; what is read was written before."""
    path = tmp_path_factory.mktemp("digest") / "file"
    payload, running = pattern(length), RunningDigest()
    with path.open("w+b", buffering=0) as file:
        for at, (start, size) in enumerate([*writes, (0, length)]):
            end = min(length, start + size)
            if start < end:
                os.pwrite(file.fileno(), payload[start:end], start)
                running.take(start, payload[start:end])
            if at < len(steps) and start <= running.done_bytes <= end:
                running.read_on(file.fileno(), end, steps[at])
        while running.read_on(file.fileno(), length, 50):
            pass
    assert running.done_bytes == length
    assert running.digest() == digest_of(payload)
