"""Limits of readings, as the command post is told them: how near each value is to what must not be passed."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

NEARNESS_MAX = 1000.0
"""Far beyond any limit: a ratio that JSON can carry, also where nothing is left of a floor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingLimit:
    """What a series must stay below, or above where ``is_floor``, in the unit of its values.

    ``series`` and ``unit`` are names or globs. ``life_threat``: whoever is there is in danger beyond it.
    """

    series: str
    limit: float
    unit: str = "*"
    is_floor: bool = False
    life_threat: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.limit < 1e300:  # nearness is a ratio: it means nothing for a limit of 0 or below
            raise ValueError(f"limit of {self.series!r}: {self.limit!r}: allowed: above 0")

    def nearness(self, value: float | None) -> float | None:
        """0 far away, 1 at the limit, above 1 beyond (at most NEARNESS_MAX); None for a missing value."""
        if value is None:
            return None
        if self.is_floor:
            return self.limit / max(value, self.limit / NEARNESS_MAX)
        return min(max(0.0, value / self.limit), NEARNESS_MAX)


def limit_of(limits: Sequence[ReadingLimit], unit: str, series: str) -> ReadingLimit | None:
    """The first limit that names this series of this unit."""
    return next((each for each in limits if fnmatchcase(series, each.series) and fnmatchcase(unit, each.unit)), None)
