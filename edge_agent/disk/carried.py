"""Carried: which of the bundles given up here may still come from a stick, so that nobody calls their numbers closed.

What waits when an export begins leaves as a copy. Custody stays here, and when it ends because the destination has
the bundle, or nobody wants it any more (expired, cancelled), the copy is of no use. But what is superseded, evicted or
found damaged here is worth having from there.
"""

import sqlite3
from collections.abc import Sequence

import msgpack

from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.intervals import IntervalSet

CARRIED_FACT = "carried"
"""[for each precedence: numbers below may have left by hand, then start and stop of what was given up of those]"""
RANGES_MAX = 256
"""Of each precedence; beyond it the lowest two become one, and what lies between them counts as open, too."""


class Carried:
    """The writer's side for the present incarnation; every call is part of the transaction under way."""

    def __init__(self, database: sqlite3.Connection, name: tuple[str, int]) -> None:
        self._database = database
        self._name = name
        self._below = [0] * len(Precedence)
        self._given_up = [IntervalSet() for _ in Precedence]
        self._has_changed = False

    def load(self) -> None:
        """Take the row as it is."""
        self._has_changed = False
        for precedence, (below, *ends) in enumerate(_read(self._database)):
            self._below[precedence], self._given_up[precedence] = below, _ranges(ends)

    def begin(self, next_sequences: Sequence[int]) -> None:
        """An export begins: all that waits here with numbers below these may leave."""
        self._below = list(next_sequences)
        self._has_changed = True

    def give_up(self, bundle: BundleId) -> None:
        """A bundle that waited here is superseded, evicted or damaged."""
        if bundle.sequence >= self._below[bundle.precedence] or (bundle.source, bundle.incarnation) != self._name:
            return
        ranges = self._given_up[bundle.precedence]
        ranges.add(bundle.sequence, bundle.sequence + 1)
        if len(ranges) > RANGES_MAX:
            lowest = iter(ranges)
            ranges.add(next(lowest)[0], next(lowest)[1])
        self._has_changed = True

    def write(self) -> None:
        """Write what changed."""
        if not self._has_changed:
            return
        self._has_changed = False
        rows = [
            [below, *(end for span in ranges for end in span)]
            for below, ranges in zip(self._below, self._given_up, strict=True)
        ]
        self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (CARRIED_FACT, msgpack.packb(rows)))


def read_given_up(database: sqlite3.Connection, precedence: Precedence) -> IntervalSet:
    """Numbers given up here of which a copy left by hand."""
    return _ranges(_read(database)[precedence][1:])


def _read(database: sqlite3.Connection) -> list[list[int]]:
    found = database.execute("SELECT value FROM facts WHERE name = ?", (CARRIED_FACT,)).fetchone()
    rows: list[list[int]] = msgpack.unpackb(found[0]) if found is not None else [[0]] * len(Precedence)
    return rows


def _ranges(ends: list[int]) -> IntervalSet:
    return IntervalSet(zip(ends[::2], ends[1::2], strict=True))
