"""A disk without a rate takes all that waits; one with a rate what is urgent first, and a moment's worth at most."""

import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, BundleRecord, Precedence
from edge_agent.core.effects import Effect, Erase, EraseReason, Persist
from edge_agent.core.frame import NullKeys
from edge_agent.core.report import NodeSettings
from link_sim.link.services import NS_PER_S
from link_sim.nodes.disk import MemoryDisk
from link_sim.nodes.seat import Seat

COMMIT_NS = 2_000_000
SYNC_BPS = 8e6  # a moment of 25 ms: 25,000 bytes
HEADER = BundleHeader(destination=COMMAND, flow="reading")


def seat_with(sync_bps: float | None, *effects: Effect) -> Seat:
    disk = MemoryDisk(node_id="kit-1", role="", incarnation=1)
    seat = Seat(
        settings=NodeSettings(node_id="kit-1"), disk=disk, keys=NullKeys(), commit_ns=COMMIT_NS, sync_bps=sync_bps
    )
    for effect in effects:
        seat.queue(effect)
    return seat


def row(number: int, precedence: Precedence, length: int) -> Persist:
    bundle = BundleId("kit-1", 1, precedence, number)
    return Persist(number, bundle, length, BundleRecord(bundle, HEADER, length, 0.0), 0, bytes(length), False)


def piece(number: int, length: int) -> Persist:
    return Persist(number, BundleId("kit-1", 1, Precedence.ROUTINE, number), 1 << 20, None, 0, bytes(length), True)


def commit(seat: Seat) -> tuple[list[int], int | None]:
    """Numbers of the effects in the next batch, and the bytes that its time beyond a bare commit pays for."""
    span_ns = seat.start_commit()
    numbers, seat.committing = [effect.effect_id for effect in seat.committing], []
    if span_ns is None or seat.sync_bps is None:
        return numbers, span_ns
    return numbers, round((span_ns - COMMIT_NS) * seat.sync_bps / 8 / NS_PER_S)


MIXED = (
    row(1, Precedence.ROUTINE, 1000),
    row(2, Precedence.IMMEDIATE, 1000),
    Erase(3, (), EraseReason.FORWARDED),
    row(4, Precedence.FLASH, 1000),
    row(5, Precedence.FLASH, 1000),
    row(6, Precedence.IMMEDIATE, 1000),
)


def test_a_disk_without_a_rate_commits_all_that_waits_in_its_order() -> None:
    seat = seat_with(None, *MIXED)
    assert [effect.effect_id for effect in seat.queued] == [1, 2, 3, 4, 5, 6]
    assert commit(seat) == ([1, 2, 3, 4, 5, 6], COMMIT_NS)
    assert commit(seat) == ([], None)


def test_urgent_rows_go_first_and_flash_without_bulk_every_other_time() -> None:
    seat = seat_with(SYNC_BPS, *MIXED)
    assert commit(seat) == ([4, 5, 2, 6], 4000)
    seat.queue(row(7, Precedence.FLASH, 500))
    assert commit(seat) == ([7, 1, 3], 1500)
    seat.queue(row(8, Precedence.FLASH, 500))
    assert commit(seat) == ([8], 500)
    seat.queue(row(9, Precedence.FLASH, 500))
    assert commit(seat) == ([9], 500), "nothing else waited: the last one was not alone"
    assert commit(seat) == ([], None)


def test_a_long_piece_takes_moments_and_urgent_rows_come_between() -> None:
    seat = seat_with(SYNC_BPS, piece(1, 60_000), row(2, Precedence.ROUTINE, 100))
    assert commit(seat) == ([], 25_000)
    seat.queue(row(3, Precedence.IMMEDIATE, 5_000))
    assert commit(seat) == ([3], 25_000)
    assert commit(seat) == ([1, 2], 15_100)


@pytest.mark.parametrize("sync_bps", [None, SYNC_BPS])
def test_a_crash_forgets_what_waits(sync_bps: float | None) -> None:
    seat = seat_with(sync_bps, *MIXED, piece(7, 60_000))
    seat.forget()
    assert (seat.queued, commit(seat)) == ([], ([], None))
