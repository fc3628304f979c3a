"""Several runs of the rows of a module, each run in a process of its own: nothing that one keeps is seen by another.

Rows in virtual time go first, one run on each core; then the others, alone on the machine.
"""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module

from benchmarks import run_number
from benchmarks.rows import Bench, BenchRow, Repeats, broken, judge, middle

TRIES = 3  # an inconclusive row is measured again: the machine may have been busy


@dataclass(frozen=True, slots=True)
class Share:
    """Rows of one module that are repeated alike."""

    module: str
    repeats: Repeats
    names: tuple[str, ...]


def measure(bench: Bench) -> BenchRow:
    """The first conclusive row of at most ``TRIES``, else the last."""
    for _ in range(TRIES - 1):
        row = judge(bench, bench.measure())
        if row.holds is not None:
            return row
    return judge(bench, bench.measure())


def shares_of(modules: Sequence[str], names: set[str], *, quick: bool) -> list[Share]:
    """The rows of these names, by module and by how they are repeated."""
    shares: dict[tuple[str, Repeats], list[str]] = {}
    for module in modules:
        for bench in import_module(module).rows(quick):
            if bench.name in names:
                shares.setdefault((module, bench.repeats), []).append(bench.name)
    return [Share(*key, tuple(its)) for key, its in shares.items()]


def measure_runs(shares: Sequence[Share], runs: int, *, quick: bool) -> Iterator[BenchRow]:
    """The row of ``runs`` runs of each, as soon as all its runs are known."""
    seeded = [share for share in shares if share.repeats is Repeats.SEEDED]
    yield from _measure_all(seeded, runs, quick=quick, jobs=os.cpu_count() or 1)
    yield from _measure_all([share for share in shares if share not in seeded], runs, quick=quick, jobs=1)


def _measure_all(shares: Sequence[Share], runs: int, *, quick: bool, jobs: int) -> Iterator[BenchRow]:
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        waiting: list[list[Future[list[BenchRow]]]] = [
            [
                pool.submit(measure_run, share, number, quick=quick)
                for number in range(1, (1 if share.repeats is Repeats.SAME else runs) + 1)
            ]
            for share in shares
        ]
        for futures in waiting:
            for rows in zip(*(future.result() for future in futures), strict=True):
                yield middle(rows)


def measure_run(share: Share, number: int, *, quick: bool) -> list[BenchRow]:
    """One run of these rows, in this process. A run that broke what its row takes for granted does not hold."""
    run_number.begin(number)
    rows = []
    for bench in import_module(share.module).rows(quick):
        if bench.name in share.names:
            try:
                rows.append(measure(bench))
            except AssertionError as error:
                rows.append(broken(bench, f"run {number}: {error}"))
    return rows
