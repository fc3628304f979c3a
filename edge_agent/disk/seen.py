"""Numbers of bundles once durable here, by source, incarnation and precedence: nothing is taken twice."""

import sqlite3
from collections.abc import Iterator

from edge_agent.core.intervals import IntervalSet

SeenKey = tuple[int, int]
"""(origin, precedence)"""


class SeenNumbers:
    """The intervals in memory and their rows. ``write`` belongs to the transaction that stores the bundles."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._numbers: dict[SeenKey, IntervalSet] = {}
        self._unwritten: dict[SeenKey, set[int]] = {}
        self.load()

    def load(self) -> None:
        """Take the rows as they are; what was not written is forgotten (a transaction was rolled back)."""
        self._numbers.clear()
        self._unwritten.clear()
        for origin, precedence, start, stop in self._database.execute("SELECT * FROM seen"):
            self._numbers.setdefault((origin, precedence), IntervalSet()).add(start, stop)

    def items(self) -> Iterator[tuple[SeenKey, IntervalSet]]:
        """All of it; the sets stay ours."""
        return iter(self._numbers.items())

    def has(self, key: SeenKey, sequence: int) -> bool:
        """Whether this number was stored before."""
        numbers = self._numbers.get(key)
        return numbers is not None and sequence in numbers

    def add(self, key: SeenKey, sequence: int) -> None:
        """A bundle of this number is stored in the transaction under way."""
        self._numbers.setdefault(key, IntervalSet()).add(sequence, sequence + 1)
        self._unwritten.setdefault(key, set()).add(sequence)

    def write(self) -> None:
        """Write the intervals that changed: two statements for each, however many numbers joined it."""
        for key, unwritten in self._unwritten.items():
            sequences = sorted(unwritten, reverse=True)
            for start, stop in self._numbers[key]:
                if not sequences:
                    break
                if sequences[-1] >= stop:
                    continue
                while sequences and sequences[-1] < stop:
                    sequences.pop()
                self._database.execute(
                    "DELETE FROM seen WHERE origin = ? AND precedence = ? AND start >= ? AND start < ?",
                    (*key, start, stop),
                )
                self._database.execute("INSERT INTO seen VALUES (?, ?, ?, ?)", (*key, start, stop))
        self._unwritten.clear()
