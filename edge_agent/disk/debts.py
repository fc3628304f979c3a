"""Debts: words owed to sources about deliveries whose rows may go before they are told, as ranges that outlive a kill.

A delivery that was acknowledged is owed its receipt by its row. One that nobody ever took (``lapses``) makes room at
once, also for its own receipt in a full store, so what is owed for it lies in ``facts``, a row for each state, origin
and precedence.
"""

import sqlite3
from dataclasses import dataclass, field
from typing import NamedTuple

import msgpack

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Precedence
from edge_agent.core.intervals import IntervalSet
from edge_agent.disk.fates import RowKey
from edge_agent.disk.identity import to_unsigned
from edge_agent.disk.types import AckedBundle, FateState

DEBTS_MAX = 4096
"""Bundles owed a word at a time: what a start reads, and one receipt names."""
_FACT = "owed:"


class _Place(NamedTuple):
    """What a row of ``facts`` is about."""

    state: int
    origin: int
    precedence: int

    @property
    def fact(self) -> str:
        return f"{_FACT}{self.state}:{self.origin}:{self.precedence}"


@dataclass(slots=True)
class Debts:
    """The writer's side; every call is part of the transaction under way."""

    database: sqlite3.Connection
    _numbers: dict[_Place, IntervalSet] = field(default_factory=dict)

    def load(self) -> None:
        """Take the rows as they are."""
        found = self.database.execute(f"SELECT name, value FROM facts WHERE name GLOB '{_FACT}*'")
        self._numbers = {
            _Place(*map(int, str(name).removeprefix(_FACT).split(":"))): IntervalSet(msgpack.unpackb(value))
            for name, value in found
        }

    @property
    def total(self) -> int:
        """How many bundles are owed a word."""
        return sum(numbers.total for numbers in self._numbers.values())

    def add(self, state: FateState, keys: list[RowKey]) -> None:
        """The sources of these are to hear ``state``."""
        touched: set[_Place] = set()
        for origin, precedence, sequence in keys:
            place = _Place(state.code, origin, precedence)
            self._numbers.setdefault(place, IntervalSet()).add(sequence, sequence + 1)
            touched.add(place)
        self._write(touched)

    def settle(self, origin: int, precedence: int, runs: list[tuple[int, int]]) -> None:
        """The words about these numbers are on their way, durably."""
        touched = {place for place in self._numbers if place[1:] == (origin, precedence)}
        for place in touched:
            for start, stop in runs:
                self._numbers[place].remove(start, stop)
        self._write(touched)

    def _write(self, touched: set[_Place]) -> None:
        for place in touched:
            numbers = self._numbers[place]
            if numbers:
                values = (place.fact, msgpack.packb(list(numbers)))
                self.database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", values)
            else:
                del self._numbers[place]
                self.database.execute("DELETE FROM facts WHERE name = ?", (place.fact,))

    def told(self) -> list[AckedBundle]:
        """All of them, for who sends receipts. Of the header only that a receipt is due is known."""
        names: dict[int, tuple[str, int]] = {
            origin: (source, to_unsigned(incarnation))
            for origin, source, incarnation in self.database.execute("SELECT * FROM origins")
        }
        header = BundleHeader(destination=COMMAND, flow="")
        return [
            AckedBundle(
                bundle=BundleId(*names[origin], Precedence(precedence), sequence),
                header=header,
                state=FateState.of_code(state),
            )
            for (state, origin, precedence), numbers in self._numbers.items()
            for start, stop in numbers
            for sequence in range(start, stop)
        ]
