"""Inserts: new rows of bundles gathered in memory, written many to a statement before anything looks for them."""

import sqlite3
from itertools import chain
from typing import NamedTuple
from zlib import crc32

STATEMENT_ROWS = (64, 16, 4, 1)
"""Rows of one statement, largest first: a row costs 5 us of CPU among 64, 8 us alone (measured)."""
_COLUMNS = (
    "row, origin, precedence, sequence, queue, flow, payload_bytes, boot, as_of_s, age_low_s, age_high_s, stored_ms,"
    " receipt, peer, via, digest, header, body, sum"
)
_VALUES = f"({', '.join('?' * len(_COLUMNS.split(',')))})"
_STATEMENTS = {
    rows: f"INSERT INTO bundles ({_COLUMNS}) VALUES {', '.join([_VALUES] * rows)}" for rows in STATEMENT_ROWS
}


class NewRow(NamedTuple):
    """Columns of a row of bundles, but for its number, its body and its sum."""

    origin: int
    precedence: int
    sequence: int
    queue: int | None
    flow: str | None
    payload_bytes: int
    boot: int
    as_of_s: float
    age_low_s: float
    age_high_s: float
    stored_ms: int
    receipt: int | None
    peer: str | None
    via: str | None
    digest: bytes | None
    header: bytes


class Inserts:
    """The writer's side; ``flush`` before any statement that reads bundles, ``load`` after a rollback."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._rows: list[tuple[object, ...]] = []
        self._bodies: list[tuple[int, bytes]] = []
        self._next_row = 1
        self.load()

    def load(self) -> None:
        """Go on from the highest number ever given; what was not written is forgotten."""
        found = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'bundles'").fetchone()
        self._next_row = (int(found[0]) if found else 0) + 1
        self._rows, self._bodies = [], []

    def add(self, row: NewRow, payload: bytes, *, is_inline: bool) -> None:
        """Gather a row; its payload lies in it, or (``is_inline`` False, no file) beside it."""
        number, is_file = self._next_row, row.digest is not None
        self._next_row = number + 1
        total = crc32(row.header) if is_file else crc32(payload, crc32(row.header))  # ``sum_of``
        self._rows.append((number, *row, payload if is_inline else None, total))
        if not (is_inline or is_file):
            self._bodies.append((number, payload))

    def flush(self) -> None:
        """Write what was gathered."""
        rows, self._rows = self._rows, []
        at, left = 0, len(rows)
        for size in STATEMENT_ROWS:
            while left >= size:
                self._database.execute(_STATEMENTS[size], tuple(chain.from_iterable(rows[at : at + size])))
                at, left = at + size, left - size
        if self._bodies:
            bodies, self._bodies = self._bodies, []
            self._database.executemany("INSERT INTO bodies VALUES (?, ?)", bodies)


def sum_of(header: bytes, body: bytes) -> int:
    """The sum of a row: CRC-32 of header and body (none for a payload that is a file)."""
    return crc32(body, crc32(header))
