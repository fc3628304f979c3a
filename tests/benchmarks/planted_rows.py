"""A module of rows for the tests of several runs: one of each kind, and one that breaks in its second run."""

import os
from collections.abc import Iterator
from functools import cache

from benchmarks import run_number
from benchmarks.rows import Bench, Figure, Repeats


@cache
def _kept() -> int:
    """What rows of one run share."""
    return run_number.seed()


def _breaks_in_run_two() -> Figure:
    assert run_number.seed() < run_number.APART or run_number.seed() > 2 * run_number.APART, "planted"
    return Figure(value=run_number.seed())


def rows(quick: bool) -> Iterator[Bench]:
    """Values: the seed of the run, twice; the process; the seed."""
    for name, repeats in (("seeded", Repeats.SEEDED), ("seeded_too", Repeats.SEEDED), ("same", Repeats.SAME)):
        yield Bench(
            name=name,
            group="links",
            unit="seed",
            goal="<= 1500",
            measure=lambda: Figure(value=_kept(), reference=2 * _kept()),
            repeats=repeats,
        )
    yield Bench(name="alone", group="links", unit="pid", goal="> 0", measure=lambda: Figure(value=os.getpid()))
    yield Bench(name="breaks", group="links", unit="s", goal="> 0", measure=_breaks_in_run_two, repeats=Repeats.SEEDED)
