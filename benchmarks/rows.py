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

import operator
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass

GROUPS = ("first-light", "link-sim", "store", "links", "security", "devices", "video", "mesh", "command")
_COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "==": operator.eq}
_GOAL = re.compile(r"(<=|>=|==|<|>) *(-?[0-9][0-9_]*(?:\.[0-9]+)?)")


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

    def __post_init__(self) -> None:
        parse_goal(self.goal)
        if self.group not in GROUPS:
            raise ValueError(f"bench {self.name}: group {self.group!r} is not one of {', '.join(GROUPS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """A figure judged by its goal. ``holds`` is None where the machine was too late to tell."""

    name: str
    group: str
    value: float
    unit: str
    reference: float | None
    goal: str
    holds: bool | None
    late_p99_ms: float | None

    def to_json(self) -> dict[str, object]:
        """Keys of the row as the outside relies on them; ``late_p99_ms`` only on real-time rows."""
        row = asdict(self)
        if self.late_p99_ms is None:
            del row["late_p99_ms"]
        return row


def parse_goal(goal: str) -> Callable[[float], bool]:
    """The comparison that ``goal`` states, for instance ``<= 0.25`` or ``>= 50_000_000``. Raises GoalError."""
    match = _GOAL.fullmatch(goal.strip())
    if match is None:
        raise GoalError(f"goal {goal!r} is not a comparison ({' '.join(_COMPARISONS)}) with a number")
    compare, bound = _COMPARISONS[match[1]], float(match[2])
    return lambda value: bool(compare(value, bound))


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
    )
