"""Rows measured several times: seeds that differ by run, the median that decides, and the worst beside it."""

import json
import math
from pathlib import Path

import pytest

from benchmarks import __main__ as bench_main
from benchmarks import run_number
from benchmarks.links.beds import links_of
from benchmarks.links.bench_silent import gap
from benchmarks.rows import Bench, BenchRow, Figure, Repeats, judge, middle, worst_of
from benchmarks.several_runs import Share, measure_run, measure_runs, shares_of

PLANTED = "tests.benchmarks.planted_rows"


def rows_of(values: list[float], goal: str, *, late_p99_ms: float | None = None) -> list[BenchRow]:
    bench = Bench(name="planted", group="links", unit="s", goal=goal, measure=lambda: Figure(value=0))
    return [judge(bench, Figure(value=value, reference=-value, late_p99_ms=late_p99_ms)) for value in values]


@pytest.mark.parametrize(
    ("goal", "values", "worst"),
    [
        ("<= 2", [1, 3, 2], 3),
        ("< 2", [1, 3, 2], 3),
        (">= 2", [1, 3, 2], 1),
        ("> 2", [4, 3, 5], 3),
        ("== 0", [0, -2, 1], -2),
    ],
)
def test_worst_value_is_the_one_that_the_goal_likes_least(goal: str, values: list[float], worst: float) -> None:
    assert worst_of(values, goal) == worst


def test_median_decides_and_the_worst_run_is_told() -> None:
    row = middle(rows_of([5, 1, 2], "<= 2"))
    assert (row.value, row.worst, row.reference, row.holds, row.values) == (2, 5, -2, True, (5, 1, 2))
    assert middle(rows_of([1, 3, 2.5], "<= 2")).holds is False


def test_one_late_run_makes_the_row_inconclusive() -> None:
    row = middle([*rows_of([1, 1], "<= 2", late_p99_ms=1), *rows_of([1], "<= 2", late_p99_ms=80)])
    assert row.holds is None
    assert row.late_p99_ms == 80


def test_runs_have_seeds_of_their_own_and_keep_nothing_of_each_other() -> None:
    names = {"seeded", "seeded_too", "same", "alone"}
    shares = shares_of([PLANTED], names, quick=True)
    assert {share.repeats: share.names for share in shares} == {
        Repeats.SEEDED: ("seeded", "seeded_too"),
        Repeats.SAME: ("same",),
        Repeats.ALONE: ("alone",),
    }
    rows = {row.name: row for row in measure_runs(shares, 3, quick=True)}
    assert rows["seeded"].values == rows["seeded_too"].values == (1, 1001, 2001)
    assert (rows["seeded"].value, rows["seeded"].worst, rows["seeded"].holds) == (1001, 2001, True)
    assert rows["same"].values == (1,)
    assert len(set(rows["alone"].values)) == 3


def test_broken_run_makes_its_row_false_and_hides_nothing_of_the_others() -> None:
    (row,) = measure_runs(shares_of([PLANTED], {"breaks"}, quick=True), 3, quick=True)
    assert row.holds is False
    assert row.values == (1, 2001)
    assert len(row.broken) == 1
    assert row.broken[0].startswith("run 2: planted")
    assert "breaks, run 2: planted" in bench_main.render(row, 3)


def test_row_whose_only_run_broke_has_no_value_in_json() -> None:
    share = Share(PLANTED, Repeats.SEEDED, ("breaks",))
    try:
        (row,) = measure_run(share, 2, quick=True)
    finally:
        run_number.begin(1)
    assert math.isnan(middle([row]).value)
    assert json.loads(json.dumps(middle([row]).to_json(), allow_nan=False))["value"] is None


def test_moments_of_the_first_run_are_as_written_and_those_of_others_are_later() -> None:
    moments_s = []
    try:
        for number in (1, 2, 2, 3):
            run_number.begin(number)
            moments_s.append(run_number.moment_s(11.0))
    finally:
        run_number.begin(1)
    assert moments_s[0] == 11.0
    assert moments_s[1] == moments_s[2]
    assert len(set(moments_s)) == 3
    assert all(11.0 < moment_s < 12.0 for moment_s in moments_s[1:])


def test_another_run_of_a_bed_is_another_world() -> None:
    """Loss and jitter of bed A fall elsewhere, and equal runs are equal."""
    assert links_of("A")[0].profile.up.jitter_s
    gaps_s = []
    try:
        for number in (1, 2, 2):
            run_number.begin(number)
            gap.cache_clear()
            gaps_s.append(gap("A", 1, 6.0).gap_s)
    finally:
        run_number.begin(1)
        gap.cache_clear()
    assert gaps_s[1] == gaps_s[2] != gaps_s[0]


def test_runs_are_asked_for_in_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench_main, "modules", lambda: [PLANTED])
    assert bench_main.main(["--runs", "3", "seeded", "same", "--json", str(tmp_path / "rows.json")]) == 0
    said = capsys.readouterr().out
    assert "1001  worst        2001" in said
    assert "same in every run" in said
    assert [row["values"] for row in json.loads((tmp_path / "rows.json").read_text())] == [[1, 1001, 2001], [1]]


@pytest.mark.parametrize("runs", ["0", "-1", "many"])
def test_no_runs_is_a_usage_error(runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench_main.main(["--runs", runs])
    assert stopped.value.code == 2
    assert f"--runs: '{runs}' is not a number of runs; allowed is 1 or more" in capsys.readouterr().err
