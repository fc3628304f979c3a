"""Numbers of bundles once durable here, by source, incarnation and precedence: nothing is taken twice.

All of them are rows; memory holds the highest intervals of the keys in use, so that a million closed bundles, or a peer
that sends every second number, cost no more than some do.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from edge_agent.core.intervals import IntervalSet

SeenKey = tuple[int, int]
"""(origin, precedence)"""
TAIL_INTERVALS = 256
"""Intervals of one key in memory: what is out of order on its way; below them a look costs one row."""
KEYS_MAX = 1024
"""Keys in memory: 500 kits with some precedences each; the one unused for longest is read again when it is needed."""
TOLD_INTERVALS = 1024
"""Intervals of one key that the core is told at a start, the highest (DESIGN section 4)."""
_IN_KEY = "origin = ? AND precedence = ?"


@dataclass(slots=True)
class _Tail:
    """The highest intervals of one key; ``is_all``: no row lies below them."""

    numbers: IntervalSet
    is_all: bool

    def is_below(self, sequence: int) -> bool:
        """Whether only the rows can tell of this number."""
        return not self.is_all and sequence < self.numbers.first_range()[0]


class SeenNumbers:
    """The rows, and their upper end in memory. ``write`` belongs to the transaction that stores the bundles."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._tails: OrderedDict[SeenKey, _Tail] = OrderedDict()
        self._unwritten: dict[SeenKey, set[int]] = {}
        self._changed: set[SeenKey] = set()

    def begin(self) -> None:
        """A transaction begins."""
        self._changed.clear()

    def rollback(self) -> None:
        """It was rolled back: what it changed is read again when it is needed."""
        for key in self._changed:
            self._tails.pop(key, None)
        self._unwritten.clear()

    def told(self) -> Iterator[tuple[SeenKey, IntervalSet]]:
        """What the core is told of each key. O(rows), once a start."""
        rows = self._database.execute("SELECT * FROM seen ORDER BY origin, precedence, start")
        for key, found in groupby(rows, lambda row: (row[0], row[1])):
            highest: OrderedDict[int, int] = OrderedDict()
            for _, _, start, stop in found:
                highest[start] = stop
                if len(highest) > TOLD_INTERVALS:
                    highest.popitem(last=False)
            yield key, IntervalSet(highest.items())

    def has(self, key: SeenKey, sequence: int) -> bool:
        """Whether this number was stored before."""
        tail = self._tail(key)
        return self._row_has(key, sequence) if tail.is_below(sequence) else sequence in tail.numbers

    def add(self, key: SeenKey, sequence: int) -> bool:
        """A bundle of this number is stored in the transaction under way; False when one was stored before."""
        tail = self._tail(key)
        if tail.is_below(sequence):
            if self._row_has(key, sequence):
                return False
            self.close(key, sequence, sequence + 1)
            return True
        if not tail.numbers.add(sequence, sequence + 1):
            return False
        self._changed.add(key)
        unwritten = self._unwritten.get(key)
        if unwritten is None:
            unwritten = self._unwritten[key] = set()
        unwritten.add(sequence)
        return True

    def close(self, key: SeenKey, start: int, stop: int) -> None:
        """Numbers [start, stop) will never come: as if they had been stored here, in one row with what they touch."""
        self._changed.add(key)
        if key in self._unwritten:
            self._write_key(key, self._unwritten.pop(key))
        self._tails.pop(key, None)
        for left, right in self._database.execute(
            f"SELECT start, stop FROM seen WHERE {_IN_KEY} AND start <= ? AND stop >= ? AND start >="
            f" coalesce((SELECT max(start) FROM seen WHERE {_IN_KEY} AND start <= ?), ?)",
            (*key, stop, start, *key, start, start),
        ).fetchall():
            start, stop = min(start, left), max(stop, right)
        self._replace(key, start, stop)

    def write(self) -> None:
        """Write the intervals that changed: two statements for each, however many numbers joined it."""
        for key, sequences in self._unwritten.items():
            self._write_key(key, sequences)
        self._unwritten.clear()
        while len(self._tails) > KEYS_MAX:
            self._tails.popitem(last=False)

    def _write_key(self, key: SeenKey, sequences: set[int]) -> None:
        tail = self._tails[key]
        for start, stop in _touched(tail.numbers, sequences):
            self._replace(key, start, stop)
        if len(tail.numbers) > 2 * TAIL_INTERVALS:
            highest = IntervalSet(reversed(tail.numbers.highest_ranges(TAIL_INTERVALS)))
            self._tails[key] = _Tail(highest, is_all=False)

    def _replace(self, key: SeenKey, start: int, stop: int) -> None:
        """One row in the place of all that begin in it."""
        self._database.execute(f"DELETE FROM seen WHERE {_IN_KEY} AND start >= ? AND start < ?", (*key, start, stop))
        self._database.execute("INSERT INTO seen VALUES (?, ?, ?, ?)", (*key, start, stop))

    def _tail(self, key: SeenKey) -> _Tail:
        tail = self._tails.get(key)
        if tail is None:
            found = self._database.execute(
                f"SELECT start, stop FROM seen WHERE {_IN_KEY} ORDER BY start DESC LIMIT ?", (*key, TAIL_INTERVALS)
            ).fetchall()
            tail = self._tails[key] = _Tail(IntervalSet(reversed(found)), is_all=len(found) < TAIL_INTERVALS)
        else:
            self._tails.move_to_end(key)
        return tail

    def _row_has(self, key: SeenKey, sequence: int) -> bool:
        found = self._database.execute(
            f"SELECT stop FROM seen WHERE {_IN_KEY} AND start <= ? ORDER BY start DESC LIMIT 1", (*key, sequence)
        ).fetchone()
        return found is not None and sequence < found[0]


def _touched(tail: IntervalSet, sequences: set[int]) -> Iterator[tuple[int, int]]:
    """The intervals that hold these numbers, each once."""
    left = sorted(sequences, reverse=True)
    while left:
        start, stop = tail.range_at(left[-1])
        while left and left[-1] < stop:
            left.pop()
        yield start, stop
