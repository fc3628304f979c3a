"""Raw seconds of links: rows and files survive restarts, torn lines, clocks that are set, and days that are over."""

import gzip
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.effects import LinkState
from edge_agent.core.tally import LinkSeconds, SecondCount
from edge_agent.link_seconds import SETTLE_S, STEP_S, Place, SecondCollector, Taken, read_row, row_text
from edge_agent.link_seconds_files import (
    DAYS_KEPT,
    FILE_BYTES_MAX,
    ClockOffset,
    DaySeconds,
    SecondFiles,
    days_of,
    next_offset,
    places_of,
    read_day,
)

PLACE = Place("4g", "command")
DAY = date(2026, 11, 22)
START = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp())
CLOCK = ClockOffset(START, is_set=True)
COUNTS = st.builds(
    SecondCount,
    second=st.integers(0, 10**7),
    arrived=st.integers(0, 10**5),
    lost=st.integers(-100, 10**5),
    timed=st.integers(0, 10**5),
    delay_sum_s=st.floats(0, 1e5),
    delay_max_s=st.floats(0, 20),
    jitter_sum_s=st.floats(0, 1e4),
    bound_s=st.floats(0.001, 10),
    suspicions=st.integers(0, 50),
    switches=st.integers(0, 50),
    switch_sum_s=st.floats(0, 100),
)


def _files(folder: Path, run: str = "a") -> SecondFiles:
    return SecondFiles(folder, "kit-1", run, {"4g": "udp"})


def _row(second: int, seen: str = "ush", arrived: int = 5, lost: int = 0) -> Taken:
    return Taken(PLACE, second, seen, SecondCount(second, arrived=arrived, lost=lost))


def _seconds(day: DaySeconds) -> dict[int, int]:
    """Frames arrived by second of the day."""
    return {at - START: sum(row.arrived for rows in claims.values() for row in rows) for at, claims in day.rows.items()}


@given(COUNTS, st.sampled_from(["", "ush", "d", "xs", "nh"]))
def test_a_row_says_what_was_counted(count: SecondCount, seen: str) -> None:
    row = read_row(row_text(Taken(PLACE, count.second, seen, count), 7))
    assert (row.second, row.seen) == (count.second - 7, seen)
    assert (row.arrived, row.lost, row.doubts, row.switches) == (
        count.arrived,
        count.lost,
        count.suspicions,
        count.switches,
    )
    assert row.timed == count.timed
    if count.timed:
        assert row.delay_s == pytest.approx(count.delay_sum_s / count.timed, abs=STEP_S)
        assert row.error_s == pytest.approx(count.bound_s, abs=STEP_S)
    assert row.switch_s == pytest.approx(count.switch_sum_s, abs=STEP_S)


@pytest.mark.parametrize("line", ["", "12", "x,u", "1,u,z", "1,q", "1,u" + ",1" * 11])
def test_what_is_no_row_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        read_row(line)


def _look(
    state: LinkState, sent_s: float, heard_s: float | None, *counts: SecondCount, there: bool = True
) -> LinkSeconds:
    return LinkSeconds("4g", "command", state, there, sent_s, heard_s, counts)


def test_what_is_seen_at_the_end_of_a_second_waits_for_its_counts() -> None:
    collector = SecondCollector()
    assert collector.look(11.002, [_look(LinkState.UP, 10.5, 10.6)]) == []
    for now_s in (12.002, 13.002):
        assert collector.look(now_s, [_look(LinkState.UP, 10.5, 10.6)]) == []
    [taken] = collector.look(11.002 + SETTLE_S, [_look(LinkState.UP, 10.5, 10.6, SecondCount(10, arrived=3))])
    assert (taken.second, taken.seen, taken.counted and taken.counted.arrived) == (10, "ush", 3)


def test_an_idle_link_gives_no_row_and_a_dead_one_does() -> None:
    collector = SecondCollector()
    links = [_look(LinkState.UP, 1.0, 1.0)]
    assert [row for now_s in range(20, 30) for row in collector.look(now_s + 0.002, links)] == []
    dead = [_look(LinkState.DOWN, 1.0, 1.0)]
    rows = [row for now_s in range(30, 40) for row in collector.look(now_s + 0.002, dead)]
    assert [(row.second, row.seen) for row in rows] == [(second, "d") for second in range(29, 36)]
    gone = [_look(LinkState.DOWN, 1.0, 1.0, there=False)]
    rows = [row for now_s in range(40, 50) for row in collector.look(now_s + 0.002, gone)]
    assert rows[-1].seen == "x"


def test_a_restarted_agent_goes_on_behind_a_torn_line(tmp_path: Path) -> None:
    _files(tmp_path).write([_row(100), _row(101, arrived=7)], CLOCK)
    [path] = tmp_path.glob("*/*/*.csv")
    path.write_text(path.read_text()[:-5])
    _files(tmp_path, "b").write([_row(130)], CLOCK)
    assert places_of(tmp_path, DAY) == [PLACE]
    day = read_day(tmp_path, PLACE, DAY)
    assert day.runs == {"a", "b"}
    assert _seconds(day)[100] == _seconds(day)[130] == 5


def test_a_line_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    _files(tmp_path).write([_row(100)], CLOCK)
    [path] = tmp_path.glob("*/*/*.csv")
    path.write_text(path.read_text() + "1,ush,99")
    assert _seconds(read_day(tmp_path, PLACE, DAY)) == {100: 5}


def test_rows_of_one_second_add_up(tmp_path: Path) -> None:
    files = _files(tmp_path)
    files.write([_row(100, arrived=5, lost=2)], CLOCK)
    files.write([_row(100, "", arrived=1, lost=-1)], CLOCK)
    [rows] = read_day(tmp_path, PLACE, DAY).rows[START + 100].values()
    assert (sum(row.arrived for row in rows), sum(row.lost for row in rows)) == (6, 1)


def test_a_clock_set_back_lets_two_seconds_claim_one_place_and_one_set_forward_leaves_a_hole(tmp_path: Path) -> None:
    files, now_s, clock = _files(tmp_path), 0, CLOCK
    for step_s in (0, -5, 60):
        clock = ClockOffset(clock.offset_s + step_s, is_set=True)
        files.write([_row(now_s + at) for at in range(10)], clock)
        now_s += 10
    day = read_day(tmp_path, PLACE, DAY)
    assert sorted(at - START for at in day.rows) == [*range(15), *range(75, 85)]
    assert [at - START for at, claims in sorted(day.rows.items()) if len(claims) == 2] == [5, 6, 7, 8, 9]


def test_a_slow_drift_is_no_step_until_it_is_a_second() -> None:
    clock = next_offset(None, 100.0, START + 100.4, is_set=True)
    assert clock.offset_s == START
    assert next_offset(clock, 200.0, START + 200.9, is_set=True) is clock
    assert next_offset(clock, 200.0, START + 201.2, is_set=True) == ClockOffset(START + 1, is_set=True)
    assert next_offset(clock, 200.0, START + 200.0, is_set=False) == ClockOffset(START, is_set=False)


def test_seconds_of_a_clock_nobody_set_are_marked(tmp_path: Path) -> None:
    _files(tmp_path).write([_row(100)], ClockOffset(0, is_set=False))
    assert list(days_of(tmp_path)) == ["1970-01-01"]
    assert read_day(tmp_path, PLACE, date(1970, 1, 1)).unset_rows == 1


def test_a_day_that_is_over_is_compressed_and_reads_the_same_also_with_late_rows(tmp_path: Path) -> None:
    files = _files(tmp_path)
    files.write([_row(second) for second in range(86_300, 86_500)], CLOCK)
    before = _seconds(read_day(tmp_path, PLACE, DAY))
    assert len(before) == 100
    files.tidy(START + 86_400 + 60)
    assert len(list(tmp_path.glob("*/*/*.csv"))) == 2
    files.tidy(START + 2 * 86_400 - 3600)
    assert [path.name for path in sorted(tmp_path.glob("*/*/*"))] == ["2026-11-22.csv.gz", "2026-11-23.csv"]
    assert _seconds(read_day(tmp_path, PLACE, DAY)) == before
    files.write([_row(86_200)], CLOCK)
    assert len(_seconds(read_day(tmp_path, PLACE, DAY))) == 101
    files.tidy(START + 2 * 86_400 - 3600)
    assert len(_seconds(read_day(tmp_path, PLACE, DAY))) == 101


def test_a_process_killed_between_compressing_and_removing_doubles_nothing(tmp_path: Path) -> None:
    files = _files(tmp_path)
    files.write([_row(second) for second in range(100)], CLOCK)
    [path] = tmp_path.glob("*/*/*.csv")
    text = path.read_bytes()
    files.tidy(START + 3 * 86_400)
    path.write_bytes(text)
    assert set(_seconds(read_day(tmp_path, PLACE, DAY)).values()) == {5}
    _files(tmp_path, "b").tidy(START + 3 * 86_400)
    assert gzip.decompress(path.with_suffix(".csv.gz").read_bytes()) == text


def test_forty_days_are_kept(tmp_path: Path) -> None:
    for back in range(50):
        _files(tmp_path).write([_row(100)], ClockOffset(START - 86_400 * back, is_set=True))
    _files(tmp_path).tidy(START + 7200)
    days = list(days_of(tmp_path))
    assert len(days) == DAYS_KEPT
    assert days[0] == (DAY - timedelta(days=DAYS_KEPT - 1)).isoformat()


@pytest.mark.slow
def test_a_day_without_a_quiet_second_stays_below_the_stated_size(tmp_path: Path) -> None:
    files, rng, rows = _files(tmp_path), Random(1), []
    for second in range(86_400):
        arrived, lost = rng.randint(100, 2000), rng.choice((0, 0, rng.randint(1, 50)))
        mean_s, jitter_s = rng.uniform(0.05, 0.15), rng.uniform(0.0, 0.01)
        counted = SecondCount(second, arrived, lost, arrived - 1, mean_s * (arrived - 1))
        counted.delay_max_s, counted.jitter_sum_s = mean_s + rng.uniform(0, 0.1), jitter_s * (arrived - 1)
        counted.bound_s = 0.05 + second // 64 % 100 * 1e-5
        rows.append(Taken(PLACE, second, "ush", counted))
    files.write(rows, CLOCK)
    [path] = tmp_path.glob("*/*/*.csv")
    size_bytes = path.stat().st_size
    assert 3.0e6 < size_bytes < 4.2e6 < FILE_BYTES_MAX
    files.tidy(START + 2 * 86_400)
    [packed] = tmp_path.glob("*/*/*.gz")
    packed_bytes = packed.stat().st_size
    assert packed_bytes < 1.6e6
    assert files.dropped_rows == 0


def test_beyond_its_size_a_file_takes_nothing_more_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.link_seconds_files.FILE_BYTES_MAX", 300)
    files = _files(tmp_path)
    for second in range(50):
        files.write([_row(second)], CLOCK)
    [path] = tmp_path.glob("*/*/*.csv")
    assert path.stat().st_size <= 300
    assert files.dropped_rows == 50 - len(_seconds(read_day(tmp_path, PLACE, DAY))) > 10
