"""An agent writes its links' seconds while it runs and at its end; a disk that refuses costs seconds only."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from edge_agent.core.effects import LinkState
from edge_agent.core.tally import LinkSeconds, SecondCount
from edge_agent.link_recording import WRITE_S, LinkRecording
from edge_agent.link_seconds import SETTLE_S
from edge_agent.link_seconds_files import SecondFiles, read_day
from tests import virtual_loop
from tests.test_link_seconds import DAY, PLACE, START


class BusyLink:
    """Five frames each second, of which all arrive."""

    def __init__(self) -> None:
        self.given = 0

    def take(self, before_s: float) -> Sequence[LinkSeconds]:
        now_s = asyncio.get_running_loop().time()
        seconds = range(self.given or int(now_s), int(before_s))
        self.given = max(self.given, int(before_s))
        counts = tuple(SecondCount(second, arrived=5) for second in seconds)
        return [LinkSeconds(PLACE.link, PLACE.peer, LinkState.UP, True, now_s - 0.5, now_s - 0.4, counts)]


async def at_once(work: Callable[[], None]) -> None:
    """For a loop whose clock jumps: it would not wait for a thread."""
    work()


def _record(folder: Path, for_s: float, step_s: float = 0.0) -> tuple[list[int], list[str]]:
    """Seconds since the beginning that were written, and events that were logged; ``step_s``: a clock set half-way."""

    async def recorded() -> tuple[list[int], list[str]]:
        loop = asyncio.get_running_loop()
        begun_s = int(loop.time())
        files = SecondFiles(folder / "link-seconds", "kit-1", "a", {})

        def wall() -> tuple[float, bool]:
            since_s = loop.time() - begun_s
            return START + since_s + (step_s if since_s > for_s / 2 else 0.0), True

        recording = LinkRecording(files, BusyLink().take, wall, at_once)
        with structlog.testing.capture_logs() as logged:
            try:
                async with asyncio.timeout(for_s):
                    await recording.run()
            except TimeoutError:
                pass
        day = read_day(folder / "link-seconds", PLACE, DAY)
        return sorted(at - START for at in day.rows), [line["event"] for line in logged]

    return virtual_loop.run(recorded())


def test_each_second_is_written_and_the_last_ones_at_the_end(tmp_path: Path) -> None:
    seconds, logged = _record(tmp_path, 30.5)
    assert seconds == list(range(seconds[0], 31))
    assert seconds[0] <= 1
    assert logged == []


def test_a_killed_process_loses_no_more_than_is_said(tmp_path: Path) -> None:
    written: list[int] = []

    class Watched(BusyLink):
        def take(self, before_s: float) -> Sequence[LinkSeconds]:
            day = read_day(tmp_path / "link-seconds", PLACE, datetime.fromtimestamp(START, UTC).date())
            since = int(asyncio.get_running_loop().time()) - 1000
            if since > 10:
                written.append(since - max(at - START for at in day.rows))
            return super().take(before_s)

    async def recorded() -> None:
        loop = asyncio.get_running_loop()
        files = SecondFiles(tmp_path / "link-seconds", "kit-1", "a", {})
        recording = LinkRecording(files, Watched().take, lambda: (START + loop.time() - 1000, True), at_once)
        try:
            async with asyncio.timeout(40.0):
                await recording.run()
        except TimeoutError:
            pass

    virtual_loop.run(recorded())
    assert len(written) > 20
    assert max(written) <= SETTLE_S + WRITE_S + 1


def test_a_clock_that_is_set_shifts_what_comes_and_not_what_was(tmp_path: Path) -> None:
    seconds, _ = _record(tmp_path, 40.5, step_s=100.0)
    assert max(seconds) >= 135
    hole = [at for at in range(seconds[0], seconds[-1]) if at not in seconds]
    assert 95 <= len(hole) <= 100
    assert hole == list(range(hole[0], hole[-1] + 1))


def test_a_disk_that_refuses_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "link-seconds").write_text("a file where a folder should be")
    _, logged = _record(tmp_path, 20.5)
    assert logged == ["link_seconds_unwritten"]
