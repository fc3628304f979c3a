"""Traces: what one direction of a real link did over time, to be gone through again. Files: ``trace_files``."""

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from link_sim.errors import ProfileError


class TraceRow(NamedTuple):
    """What was measured from ``start_ns`` until the next row; None where nothing was."""

    start_ns: int
    rate_bps: int | None = None
    delay_ns: int | None = None
    loss_ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTrace:
    """One direction: ``rows``, or chances to send 1,500 bytes each (``opportunities_ns``), or both.

    ``length_ns`` is where it begins again when it ``loops``; else its last row holds on. Raises ProfileError.
    """

    name: str
    length_ns: int
    loops: bool = True
    opportunities_ns: tuple[int, ...] = ()
    rows: tuple[TraceRow, ...] = ()
    _starts: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.rows and not self.opportunities_ns:
            raise ProfileError(f"trace {self.name}: it is empty")
        object.__setattr__(self, "_starts", [row.start_ns for row in self.rows])
        if self.rows and self.rows[0].start_ns != 0:
            raise ProfileError(f"trace {self.name}: the first row must begin at 0")
        if any(later <= earlier for earlier, later in pairwise(self._starts)):
            raise ProfileError(f"trace {self.name}: times of rows must rise")
        if self.rows and self.length_ns <= self._starts[-1]:
            raise ProfileError(f"trace {self.name}: its length must be beyond the last row")

    @property
    def has_rates(self) -> bool:
        """Whether it says how fast the link was."""
        return bool(self.opportunities_ns) or any(row.rate_bps is not None for row in self.rows)

    @property
    def has_delays(self) -> bool:
        """Whether it says how long frames flew."""
        return any(row.delay_ns is not None for row in self.rows)

    @property
    def has_losses(self) -> bool:
        """Whether it says how many frames were lost."""
        return any(row.loss_ratio is not None for row in self.rows)

    def row_at(self, clock_ns: int) -> TraceRow:
        """The row of a time. Only for a trace with rows."""
        if self.loops:
            clock_ns %= self.length_ns
        return self.rows[max(0, bisect_right(self._starts, clock_ns) - 1)]

    def rate_steps(self, unmeasured_bps: int) -> list[tuple[int, int]]:
        """Rates as (from ns, bit/s); rows without one get ``unmeasured_bps``."""
        return [(row.start_ns, unmeasured_bps if row.rate_bps is None else row.rate_bps) for row in self.rows]
