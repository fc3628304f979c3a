"""What one link has cost in the running day and month, by class, over restarts and over clocks that are set late.

Days and months are those of the machine's own zone. While nobody has set the clock the counters go on and nothing
begins anew: what was counted then belongs to the first day that is known.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from edge_agent.core.budgets import COLUMNS

RATE_SPAN_S = 900.0
"""Over how long the rate is taken by which a budget is said to last; shorter bursts would say midnight or never."""
RATE_LEAST_S = 60.0


def _nothing() -> list[int]:
    return [0] * COLUMNS


@dataclass(slots=True, kw_only=True)
class LinkLedger:
    """Wire bytes by column (``core.budgets``): a precedence each, frames without bundles, what was received."""

    day: list[int] = field(default_factory=_nothing)
    month: list[int] = field(default_factory=_nothing)
    undated: list[int] = field(default_factory=_nothing)
    """Of both, what was counted since the last day that was known, by a clock nobody had set."""
    on: date | None = None
    """The day that is counted."""
    _seen: list[int] = field(default_factory=_nothing)
    _totals: deque[tuple[float, int]] = field(default_factory=deque)

    def turn(self, today: date | None) -> bool:
        """Begin a new day or month when it is one; False when nothing began. None: nobody knows the date.

        A clock that goes back a day begins nothing: the day that runs is then called by its new date.
        """
        if today is None:
            return False
        before, self.on = self.on, today
        has_begun = before is not None and today > before
        if before is not None and has_begun:
            self.day = list(self.undated)
            if (today.year, today.month) != (before.year, before.month):
                self.month = list(self.undated)
        self.undated = _nothing()
        return has_begun

    def take(self, columns: Sequence[int], now_s: float, *, is_dated: bool) -> int:
        """Count what the node counted since the last call; gives back by how many bytes that grew.

        ``is_dated``: somebody knows which day this is.
        """
        grown = [now - seen for now, seen in zip(columns, self._seen, strict=True)]
        self._seen = list(columns)
        for row in (self.day, self.month) if is_dated else (self.day, self.month, self.undated):
            for at, size in enumerate(grown):
                row[at] += size
        total = sum(self._seen)
        totals = self._totals
        if not totals or now_s - totals[-1][0] >= RATE_LEAST_S:
            totals.append((now_s, total))
        while len(totals) > 1 and totals[1][0] <= now_s - RATE_SPAN_S:
            totals.popleft()
        return sum(grown)

    def rate_bytes_s(self, now_s: float) -> float | None:
        """Bytes a second of late; None while too little is known."""
        if not self._totals or now_s - self._totals[0][0] < RATE_LEAST_S:
            return None
        since_s, before = self._totals[0]
        return (sum(self._seen) - before) / (now_s - since_s)

    @property
    def day_bytes(self) -> int:
        """Of the running day, all columns."""
        return sum(self.day)

    @property
    def month_bytes(self) -> int:
        """Of the running month, all columns."""
        return sum(self.month)

    def content(self) -> dict[str, Any]:  # Any: JSON
        """What is kept over a restart."""
        on = None if self.on is None else self.on.isoformat()
        return {"on": on, "day": self.day, "month": self.month, "undated": self.undated}


def read_ledger(content: Mapping[str, Any]) -> LinkLedger:  # Any: JSON
    """What ``LinkLedger.content`` gave, by this or another version. Raises ValueError for anything else."""
    rows = {name: content.get(name) for name in ("day", "month", "undated")}
    for name, row in rows.items():
        if not isinstance(row, list) or not all(type(size) is int and size >= 0 for size in row):
            raise ValueError(f"{name}: {row!r} is no list of bytes")
    on = content.get("on")
    return LinkLedger(
        day=_fitted(rows["day"]),
        month=_fitted(rows["month"]),
        undated=_fitted(rows["undated"]),
        on=None if on is None else date.fromisoformat(on),
    )


def _fitted(row: Any) -> list[int]:  # Any: a list of int, checked above
    """With as many columns as this version has."""
    return [*row, *_nothing()][:COLUMNS]
