"""Open numbers: which of those given out here may still reach somebody, told to peers that ask (core ``closing``)."""

import sqlite3

from edge_agent.core.effects import ListOpen, OpenNumbers
from edge_agent.core.intervals import IntervalSet
from edge_agent.disk.carried import read_given_up
from edge_agent.disk.identity import to_signed

ROWS_MAX = 16_384
"""Looked at for one question: 5 ms of the reader. The answer ends there, and the next question goes on."""


def read_open(database: sqlite3.Connection, effect: ListOpen) -> OpenNumbers:
    """What waits here of these numbers, and what was given up after a copy had left by hand.

    Rows first: what goes from one to the other meanwhile is in both, not in neither.
    """
    source, incarnation, precedence = effect.key
    rows = database.execute(
        "SELECT sequence FROM bundles WHERE origin = (SELECT origin FROM origins WHERE source = ? AND incarnation = ?)"
        " AND precedence = ? AND sequence >= ? AND sequence < ? ORDER BY sequence LIMIT ?",
        (source, to_signed(incarnation), int(precedence), effect.start, effect.stop, ROWS_MAX),
    ).fetchall()
    stop = rows[-1][0] + 1 if len(rows) == ROWS_MAX else effect.stop
    found = IntervalSet((sequence, sequence + 1) for (sequence,) in rows)
    for start, end in read_given_up(database, precedence):
        found.add(max(start, effect.start), min(end, stop))
    return OpenNumbers(stop, tuple(found))
