"""A full disk, for real: a small tmpfs that somebody else fills. Erasing and an SOS must still work."""

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.core.bundle import BundleRecord, Precedence
from edge_agent.core.effects import BurstWindow, Done, Failed, Fetched
from edge_agent.core.errors import RefusalReason
from tests.disk.bench import PERSON, Store, opened, pattern

DISK_BYTES = 48 << 20
QUOTA_BYTES = 128 << 20  # above what the disk has: the disk is the limit here; the ballast is 8 MiB


@pytest.fixture(name="small_disk")
def fixture_small_disk(tmp_path: Path, require: Callable[[str], Path]) -> Iterator[Path]:
    """A file system of 48 MiB."""
    require("root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(path: Path) -> None:
    """Take every byte that is left."""
    with path.open("ab", buffering=0) as file:
        for step in (1 << 20, 4_096, 1):
            try:
                while True:
                    file.write(bytes(step))
            except OSError:
                continue


async def submit_until_refused(store: Store, size: int) -> list[tuple[BundleRecord, bytes]]:
    taken: list[tuple[BundleRecord, bytes]] = []
    while True:
        records = [store.own(size) for _ in range(max(1, 200_000 // size))]
        payloads = [pattern(size, record.id.sequence) for record in records]
        outcomes = await asyncio.gather(*(store.persist(*each) for each in zip(records, payloads, strict=True)))
        for record, payload, outcome in zip(records, payloads, outcomes, strict=True):
            if isinstance(outcome, Failed):
                assert outcome.reason is RefusalReason.STORE_FULL, outcome
                return taken
            taken.append((record, payload))


async def check_sos_and_erase(store: Store, rows: list[tuple[BundleRecord, bytes]]) -> None:
    """What must work whatever is full."""
    for _ in range(20):
        sos = store.own(300, precedence=Precedence.FLASH, **PERSON)
        assert await store.persist(sos, bytes(300)) == Done()
        assert isinstance(await store.fetch(sos.id, 0, 300), Fetched)
    leased = store.restored.burst_leased + 64
    for number in range(20):  # by a burst link it needs a number, and the other side a window
        assert await store.lease(leased + 64 * number) == Done()
        assert await store.sync(BurstWindow(7, leased, number, 1)) == Done()
    for record, payload in rows[::50]:
        assert await store.fetch_all(record) == payload
    for at in range(0, len(rows), 50):
        assert await store.erase(*(record.id for record, _ in rows[at : at + 50])) == Done()


@pytest.mark.kernel
@pytest.mark.parametrize("size", [2_000, 60_000, 300_000])
async def test_a_full_disk_refuses_machines_and_takes_an_sos_and_erasures(small_disk: Path, size: int) -> None:
    folder = small_disk / "store"
    with capture_logs() as logs:
        async with opened(folder, quota_bytes=QUOTA_BYTES) as store:
            rows = await submit_until_refused(store, size)
            assert len(rows) * size > DISK_BYTES / 4
            assert store.disk.free_bytes() < max(size, 1 << 18)
            fill(small_disk / "stranger")
            assert isinstance(await store.persist(store.own(size), bytes(size)), Failed)
            assert store.disk.report().is_full
            assert store.disk.free_bytes() == 0
            await check_sos_and_erase(store, rows[:50])
    events = [entry["event"] for entry in logs]
    assert events.count("store_disk_full") <= 2  # said at a change, not at each refusal
    async with opened(folder, quota_bytes=QUOTA_BYTES) as store:  # starts on what the ballast left
        assert not store.disk.report().was_copied
        assert (store.restored.burst_leased, len(store.restored.burst_windows)) == (64 * 20, 1)
        await check_sos_and_erase(store, rows[50:])
        (small_disk / "stranger").unlink()
        sos = store.own(300, precedence=Precedence.FLASH, **PERSON)
        assert await store.persist(sos, bytes(300)) == Done()  # any commit looks at the disk again
        record = store.own(size)
        assert await store.persist(record, bytes(size)) == Done()
        assert not store.disk.report().is_full
        assert (folder / "ballast").stat().st_size == 8 << 20
        assert await store.disk.verify() == []


@pytest.mark.kernel
async def test_a_part_that_meets_the_end_of_the_disk_is_refused_and_may_go_on(small_disk: Path) -> None:
    payload = pattern(3_000_000)
    async with opened(small_disk / "store", quota_bytes=QUOTA_BYTES) as store:
        record = store.arriving(len(payload))
        assert await store.persist_piece(record.id, len(payload), 0, payload[:1_000_000]) == Done()
        fill(small_disk / "stranger")
        outcome = await store.persist_piece(record.id, len(payload), 1_000_000, payload[1_000_000:])
        assert isinstance(outcome, Failed)
        assert outcome.reason is RefusalReason.STORE_FULL
        (small_disk / "stranger").unlink()
        last = store.persist_piece(record.id, len(payload), 1_000_000, payload[1_000_000:], record=record)
        assert await last == Done()
        assert await store.fetch_all(record) == payload
