"""Spans: the fates of machines' bundles, a row for each run of numbers that ended together.

A backlog drained at 15,000 bundles a second would write as many fates; ended in runs, it writes some. What a row
cannot say of each bundle it leaves open: a length or a time of acceptance that differ inside the run.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from edge_agent.core.intervals import IntervalSet

SPANS_MAX = 50_000
"""Rows kept: 5 MB; at one bundle a run half an hour at 20 a second, in a drain days."""
SPANS_LEAST = 5_000
PRUNE_ROWS = 1_000  # at a time, so that no commit takes long
ACCEPTED_SPREAD_MS = 1_000  # times of acceptance this close are told as one


class Run(NamedTuple):
    """Numbers [start, stop) of one origin and precedence."""

    origin: int
    precedence: int
    start: int
    stop: int


class Ending(NamedTuple):
    """How a run ended. ``state`` is a code of ``fates``; None: differs inside the run."""

    queue: int
    state: int
    payload_bytes: int | None
    accepted_ms: int | None
    closed_ms: int
    delivered_ms: int | None
    peer: str
    via: str


_ENDING = "queue, state, payload_bytes, accepted_ms, closed_ms, delivered_ms, peer, via"
_RUN = "origin = ? AND precedence = ?"


@dataclass(slots=True)
class Spans:
    """The writer's side; every call is part of the transaction under way."""

    database: sqlite3.Connection
    rows: int = 0

    def load(self) -> None:
        """Count what is there."""
        self.rows = int(self.database.execute("SELECT count(*) FROM spans").fetchone()[0])

    def add(self, run: Run, ending: Ending) -> None:
        """A run ended."""
        self.database.execute(
            f"INSERT INTO spans (origin, precedence, start, stop, {_ENDING}) VALUES ({', '.join('?' * 12)})",
            (*run, *ending),
        )
        self.rows += 1

    def deliver(self, run: Run, at_ms: int) -> IntervalSet:
        """A receipt names these numbers; gives back those that are in spans."""
        known = IntervalSet()
        for row, span, ending in self._overlapping(run):
            start, stop = max(run.start, span.start), min(run.stop, span.stop)
            known.add(start, stop)
            if ending.delivered_ms is None:
                part = span._replace(start=start, stop=stop)
                self._split(row, span, ending, part, ending._replace(delivered_ms=at_ms))
        return known

    def take_out(self, run: Run) -> Ending | None:
        """Take one number (a run of one) out of its span, to have a row of its own; None when no span has it."""
        for row, span, ending in self._overlapping(run):
            self._split(row, span, ending, run, None)
            return ending
        return None

    def _overlapping(self, run: Run) -> list[tuple[int, Run, Ending]]:
        key = (run.origin, run.precedence)
        found = self.database.execute(
            f"SELECT row, start, stop, {_ENDING} FROM spans WHERE {_RUN} AND start < ? AND stop > ? AND start >="
            f" coalesce((SELECT max(start) FROM spans WHERE {_RUN} AND start <= ?), ?)",
            (*key, run.stop, run.start, *key, run.start, run.start),
        )
        return [(row, Run(*key, start, stop), Ending(*ending)) for row, start, stop, *ending in found.fetchall()]

    def _split(self, row: int, span: Run, ending: Ending, part: Run, of_part: Ending | None) -> None:
        """Give one part of a span another ending, or (None) take it out."""
        self.database.execute("DELETE FROM spans WHERE row = ?", (row,))
        self.rows -= 1
        for run, each in (
            (span._replace(stop=part.start), ending),
            (part, of_part),
            (span._replace(start=part.stop), ending),
        ):
            if each is not None and run.start < run.stop:
                self.add(run, each)

    def prune(self, *, is_short: bool = False) -> None:
        """Forget the oldest beyond the bound, some at a time; ``is_short``: of disk, so that fewer stay."""
        if self.rows > (SPANS_LEAST if is_short else SPANS_MAX) + PRUNE_ROWS:
            self.rows -= self.database.execute(
                "DELETE FROM spans WHERE row IN (SELECT row FROM spans ORDER BY row LIMIT ?)", (PRUNE_ROWS,)
            ).rowcount


def runs_of(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Sorted numbers as [start, stop)."""
    start = stop = -1
    for number in numbers:
        if number != stop:
            if stop > start:
                yield start, stop
            start = number
        stop = number + 1
    if stop > start:
        yield start, stop


def read_span(database: sqlite3.Connection, origin: int, precedence: int, sequence: int) -> tuple[Any, ...] | None:
    """(destination, flow, *Ending) of one number; None when no span has it. Any: columns, typed by the schema."""
    found: tuple[Any, ...] | None = database.execute(
        f"SELECT stop, destination, flow, {', '.join(f'spans.{name}' for name in _ENDING.split(', '))}"
        f" FROM spans LEFT JOIN queues ON queues.queue = spans.queue WHERE spans.origin = ? AND spans.precedence = ?"
        " AND start <= ? ORDER BY start DESC LIMIT 1",
        (origin, precedence, sequence),
    ).fetchone()
    return found[1:] if found is not None and found[0] > sequence else None
