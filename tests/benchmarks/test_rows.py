"""The verdict of a benchmark row and the exit status that CI reads."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import __main__ as bench_main
from benchmarks.rows import Bench, Figure, GoalError, judge, parse_goal
from benchmarks.several_runs import measure


def make_bench(figures: Sequence[Figure], *, goal: str = "<= 1", name: str = "planted") -> Bench:
    """A bench that gives these figures one after another."""
    given = iter(figures)
    return Bench(name=name, group="first-light", unit="s", goal=goal, measure=lambda: next(given))


@pytest.mark.parametrize(
    ("goal", "value", "holds"),
    [
        ("<= 0.25", 0.25, True),
        ("<= 0.25", 0.2501, False),
        (">= 50_000_000", 5e7, True),
        ("< 3", 3, False),
        ("== 0", 0, True),
    ],
)
def test_goal_text_decides(goal: str, value: float, holds: bool) -> None:
    assert parse_goal(goal)(value) is holds


@pytest.mark.parametrize("goal", ["0.25", "fast", "<= ", "<= 1 s", "=< 1"])
def test_goal_that_is_no_comparison_is_refused(goal: str) -> None:
    with pytest.raises(GoalError, match="is not a comparison"):
        make_bench([], goal=goal)


def test_late_timers_make_a_row_inconclusive_even_when_its_value_is_good() -> None:
    bench = make_bench([])
    assert judge(bench, Figure(value=0.5, late_p99_ms=5.1)).holds is None
    assert judge(bench, Figure(value=0.5, late_p99_ms=5.0)).holds is True


def test_inconclusive_row_is_measured_at_most_three_times() -> None:
    late = Figure(value=0.5, late_p99_ms=80)
    assert measure(make_bench([late, late, Figure(value=2, late_p99_ms=1)])).holds is False
    assert measure(make_bench([late, late, late])).holds is None


@pytest.mark.parametrize(
    ("figures", "status"),
    [
        ([Figure(value=0)], 0),
        ([Figure(value=0), Figure(value=2)], 1),
        ([Figure(value=0), Figure(value=0, late_p99_ms=99)], 3),
        ([Figure(value=2), Figure(value=0, late_p99_ms=99)], 1),
    ],
)
def test_exit_status_tells_false_from_inconclusive(
    figures: list[Figure], status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    benches = [make_bench([figure] * 3, name=f"row{index}") for index, figure in enumerate(figures)]
    monkeypatch.setattr(bench_main, "discover", lambda *, quick: benches)
    assert bench_main.main(["--json", str(tmp_path / "rows.json")]) == status
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["name"] for row in rows] == [bench.name for bench in benches]
    assert set(rows[0]) >= {"name", "group", "value", "unit", "reference", "goal", "holds"}


def test_unknown_row_name_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench_main, "discover", lambda *, quick: [make_bench([])])
    with pytest.raises(SystemExit) as stopped:
        bench_main.main(["nosuch"])
    assert stopped.value.code == 2
    assert "unknown row: nosuch; known: planted" in capsys.readouterr().err
