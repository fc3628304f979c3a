"""Many kits against one post whose disk is slow: memory bounded, nothing lost, and a call for help in time."""

import pytest

from benchmarks.store.rush import FLASH_LATE_BUSY_S, FLASH_LATE_S, Rush
from edge_agent.core.receive_room import ReceiveRoom


def check(rush: Rush, until_s: float, memory_bytes: int) -> None:
    rush.run(until_s)
    rush.world.audit()
    tally = rush.world.ledger.tally()
    assert (tally.lost, tally.doubled, tally.waiting) == (0, 0, 0)
    assert len(rush.called) == len(rush.called_busy) == 20
    assert rush.latest_s(rush.called) <= FLASH_LATE_S
    assert rush.latest_s(rush.called_busy) <= FLASH_LATE_BUSY_S
    assert rush.most_bytes <= memory_bytes


def small_rush() -> Rush:
    return Rush(60, 8e6, bundles=30, picture_bytes=150_000)


SMALL_BYTES = 60 * (64 << 10)  # what sixty kits may send before they have heard a word


@pytest.mark.slow
def test_sixty_kits_against_a_disk_of_a_megabyte_a_second() -> None:
    check(small_rush(), 40.0, SMALL_BYTES)


@pytest.mark.slow
def test_windows_that_ignore_the_disk_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: every peer is told what one alone could have."""
    monkeypatch.setattr(ReceiveRoom, "window_bytes", lambda self, peer: 64 << 20)
    rush = small_rush()
    rush.run(20.0)
    assert rush.most_bytes > SMALL_BYTES
