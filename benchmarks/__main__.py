"""Runs the promised figures: ``python -m benchmarks [NAME ...] [--group GROUP] [--quick] [--runs N] [--json FILE]``.

Exit 0: no row false; 1: some row false; 3: none false, some inconclusive; 2: usage.
"""

import argparse
import json
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import benchmarks
from benchmarks.rows import GROUPS, Bench, BenchRow, Repeats
from benchmarks.several_runs import measure, measure_runs, shares_of

HOLDS, FAILS, INCONCLUSIVE = "holds", "FAILS", "inconclusive"


def modules() -> list[str]:
    """Every ``bench_*.py`` here and in the folders below, in the order of their names."""
    found = pkgutil.walk_packages(benchmarks.__path__, f"{benchmarks.__name__}.")
    return sorted(module.name for module in found if module.name.rpartition(".")[2].startswith("bench_"))


def discover(*, quick: bool) -> Iterator[Bench]:
    """Every row of every module."""
    for module in modules():
        yield from import_module(module).rows(quick)


def choose(benches: Sequence[Bench], *, names: Sequence[str], group: str | None) -> list[Bench]:
    """Those named and of the group; a name is a whole row name. Raises KeyError with the unknown names."""
    unknown = sorted(set(names) - {bench.name for bench in benches})
    if unknown:
        raise KeyError(", ".join(unknown))
    return [bench for bench in benches if (not names or bench.name in names) and group in (None, bench.group)]


def measure_each(benches: Sequence[Bench], *, runs: int, quick: bool) -> Iterator[BenchRow]:
    """Once, here and in their order; or several times, in the order in which they are known."""
    if runs == 1:
        yield from map(measure, benches)
    else:
        yield from measure_runs(shares_of(modules(), {bench.name for bench in benches}, quick=quick), runs, quick=quick)


def render(row: BenchRow, runs: int = 1) -> str:
    """One line a row, for a person; of several runs with the worst one, and a line for each that has no value."""
    verdict = {True: HOLDS, False: FAILS, None: INCONCLUSIVE}[row.holds]
    reference = "" if row.reference is None else f"  reference {row.reference:g}"
    late = "" if row.late_p99_ms is None else f"  timers late p99 {row.late_p99_ms:.1f} ms"
    value = f"{row.value:12g}"
    if runs > 1:
        value += "  same in every run" if row.repeats is Repeats.SAME else f"  worst {row.worst:11g}"
    line = f"{row.group:12} {row.name:44} {value} {row.unit:10} goal {row.goal:14} {verdict}{reference}{late}"
    return "\n".join([line, *(f"{'':12} {row.name}, {why}" for why in row.broken)])


def exit_status(rows: Sequence[BenchRow]) -> int:
    """0 no row false, 1 some false, 3 none false but some inconclusive."""
    if any(row.holds is False for row in rows):
        return 1
    return 3 if any(row.holds is None for row in rows) else 0


def _runs(text: str) -> int:
    """Raises ArgumentTypeError."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs; allowed is 1 or more")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a line a row as it is known, write the JSON file; gives the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Every figure that was promised, one row each.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows to measure (default: all)")
    parser.add_argument("--group", choices=GROUPS)
    parser.add_argument("--quick", action="store_true", help="fewer tries and shorter runs; the goals are the same")
    parser.add_argument(
        "--runs", type=_runs, default=1, metavar="N", help="measure each row so often: median and worst"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a JSON list")
    options = parser.parse_args(arguments)
    benches = list(discover(quick=options.quick))
    try:
        chosen = choose(benches, names=options.names, group=options.group)
    except KeyError as error:
        known = ", ".join(bench.name for bench in benches) or "none"
        parser.error(f"unknown row: {error.args[0]}; known: {known}")
    rows = []
    for row in measure_each(chosen, runs=options.runs, quick=options.quick):
        rows.append(row)
        print(render(row, options.runs), flush=True)
        if options.json is not None:
            options.json.write_text(json.dumps([row.to_json() for row in rows], indent=2) + "\n", encoding="utf-8")
    print(f"bench: {len(rows)} rows, {sum(row.holds is False for row in rows)} false")
    return exit_status(rows)


if __name__ == "__main__":
    sys.exit(main())
