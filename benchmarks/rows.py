"""What a benchmark gives back: one row a figure, and whether its promise holds.

A module ``benchmarks/bench_NAME.py`` has one function ``rows(quick: bool) -> Iterable[Bench]``; each ``Bench`` measures
one row when it is called, so that a row can be chosen by name and repeated alone:

    def rows(quick: bool) -> list[Bench]:
        return [
            Bench(
                name="flash_behind_picture_virtual", group="first-light", unit="s", goal="<= 0.35",
                measure=lambda: Figure(value=p99_s, reference=wire_s),
            ),
        ]
"""

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from statistics import median

GROUPS = ("first-light", "link-sim", "store", "links", "security", "devices", "video", "mesh", "command")
_COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "==": operator.eq}
_GOAL = re.compile(r"(<=|>=|==|<|>) *(-?[0-9][0-9_]*(?:\.[0-9]+)?)")


class Repeats(StrEnum):
    """What another run of a row is."""

    ALONE = "alone"
    """The same again, on a machine that does nothing else: real time, or CPU time."""
    SEEDED = "seeded"
    """Other seeds and moments (``run_number``) in virtual time: two runs may go on side by side."""
    SAME = "same"
    """The same in every run: one is enough."""


class GoalError(ValueError):
    """A goal is not a comparison with a number; a fault of the benchmark that states it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measurement. ``reference`` is the baseline of the same run, or None.

    ``late_p99_ms`` is the timer lateness seen meanwhile; None says that the row is in virtual time or counts CPU time.
    """

    value: float
    reference: float | None = None
    late_p99_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One promised figure. ``goal`` is a comparison such as ``<= 0.25`` in ``unit``.

    ``late_limit_ms`` is the 99th percentile of timer lateness above which a real-time row says nothing.
    """

    name: str
    group: str
    unit: str
    goal: str
    measure: Callable[[], Figure]
    late_limit_ms: float = 5.0
    repeats: Repeats = Repeats.ALONE

    def __post_init__(self) -> None:
        parse_goal(self.goal)
        if self.group not in GROUPS:
            raise ValueError(f"bench {self.name}: group {self.group!r} is not one of {', '.join(GROUPS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """A figure judged by its goal. ``holds`` is None where the machine was too late to tell.

    Of several runs ``value`` and ``reference`` are the medians, and the row holds by them; ``worst`` is the worst value
    and ``values`` has those of all runs, in their order.
    """

    name: str
    group: str
    value: float
    unit: str
    reference: float | None
    goal: str
    holds: bool | None
    late_p99_ms: float | None
    repeats: Repeats
    worst: float
    values: tuple[float, ...]
    broken: tuple[str, ...] = ()
    """What became of runs that ended without a value; with one of them the row does not hold."""

    def to_json(self) -> dict[str, object]:
        """Keys of the row as the outside relies on them; ``late_p99_ms`` only on real-time rows, null for no value."""
        row = asdict(self)
        for key in ("value", "worst"):
            if math.isnan(row[key]):
                row[key] = None
        if self.late_p99_ms is None:
            del row["late_p99_ms"]
        return row


def parse_goal(goal: str) -> Callable[[float], bool]:
    """The comparison that ``goal`` states, for instance ``<= 0.25`` or ``>= 50_000_000``. Raises GoalError."""
    comparison, bound = _split(goal)
    compare = _COMPARISONS[comparison]
    return lambda value: bool(compare(value, bound))


def _split(goal: str) -> tuple[str, float]:
    match = _GOAL.fullmatch(goal.strip())
    if match is None:
        raise GoalError(f"goal {goal!r} is not a comparison ({' '.join(_COMPARISONS)}) with a number")
    return match[1], float(match[2])


def judge(bench: Bench, figure: Figure) -> BenchRow:
    """The row of one measurement: inconclusive when timers were later than the bench permits, whatever the value."""
    is_late = figure.late_p99_ms is not None and figure.late_p99_ms > bench.late_limit_ms
    return BenchRow(
        name=bench.name,
        group=bench.group,
        value=figure.value,
        unit=bench.unit,
        reference=figure.reference,
        goal=bench.goal,
        holds=None if is_late else parse_goal(bench.goal)(figure.value),
        late_p99_ms=figure.late_p99_ms,
        repeats=bench.repeats,
        worst=figure.value,
        values=(figure.value,),
    )


def broken(bench: Bench, why: str) -> BenchRow:
    """The row of a run that ended without a value."""
    return replace(judge(bench, Figure(value=math.nan)), values=(), broken=(why,))


def middle(rows: Sequence[BenchRow]) -> BenchRow:
    """The row of several runs: false when one of them is broken, else inconclusive when one of them is."""
    first, values = rows[0], tuple(value for row in rows for value in row.values)
    broken_runs = tuple(why for row in rows for why in row.broken)
    references = [row.reference for row in rows if row.reference is not None]
    lateness = [row.late_p99_ms for row in rows if row.late_p99_ms is not None]
    value = median(values) if values else math.nan
    is_open = not broken_runs and any(row.holds is None for row in rows)
    return replace(
        first,
        value=value,
        reference=median(references) if references else None,
        holds=None if is_open else not broken_runs and parse_goal(first.goal)(value),
        late_p99_ms=max(lateness, default=None),
        worst=worst_of(values, first.goal) if values else math.nan,
        values=values,
        broken=broken_runs,
    )


def worst_of(values: Sequence[float], goal: str) -> float:
    """The value that is furthest on the wrong side of what ``goal`` states, or least far on the right one."""
    comparison, bound = _split(goal)
    match comparison[0]:
        case "<":
            return max(values)
        case ">":
            return min(values)
        case _:
            return max(values, key=lambda value: abs(value - bound))
