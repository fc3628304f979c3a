"""Inserts: new rows of bundles gathered in memory, written many to a statement before anything looks for them."""

import sqlite3
from itertools import chain
from typing import NamedTuple
from zlib import crc32

STATEMENT_ROWS = (64, 16, 4, 1)
"""Rows of one statement, largest first: a row costs 5 us of CPU among 64, 8 us alone (measured)."""


def _statements(columns: str) -> dict[int, str]:
    """How so many rows of these columns are written; the others stay NULL."""
    values = f"({', '.join('?' * len(columns.split(',')))})"
    return {rows: f"INSERT INTO bundles ({columns}) VALUES {', '.join([values] * rows)}" for rows in STATEMENT_ROWS}


# To hand over a NULL, sqlite3 of Python 3.11 looks for an adapter each time: 0.3 us, as much as six numbers (measured).
_EVERY = _statements(
    "row, origin, precedence, sequence, queue, flow, payload_bytes, boot, as_of_s, age_low_s, age_high_s, stored_ms,"
    " receipt, peer, via, digest, header, body, sum"
)
_WAITING = _statements(
    "row, origin, precedence, sequence, queue, payload_bytes, boot, as_of_s, age_low_s, age_high_s, stored_ms,"
    " header, body, sum"
)
_DELIVERY = _statements(
    "row, origin, precedence, sequence, flow, payload_bytes, boot, as_of_s, age_low_s, age_high_s, stored_ms,"
    " receipt, peer, via, header, body, sum"
)


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
        self._waiting: list[tuple[object, ...]] = []
        self._deliveries: list[tuple[object, ...]] = []
        self._bodies: list[tuple[int, bytes]] = []
        self._next_row = 1
        self.load()

    def load(self) -> None:
        """Go on from the highest number ever given; what was not written is forgotten."""
        found = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'bundles'").fetchone()
        self._next_row = (int(found[0]) if found else 0) + 1
        self._rows, self._waiting, self._deliveries, self._bodies = [], [], [], []

    def add(self, row: NewRow, payload: bytes, *, is_inline: bool) -> None:
        """Gather a row; its payload lies in it, or (``is_inline`` False, no file) beside it."""
        number, header = self._next_row, row.header
        self._next_row = number + 1
        if is_inline:
            # a bytearray needs no adapter, and so costs half of what the bytes do that it is copied from (measured)
            end = (bytearray(header), bytearray(payload), crc32(payload, crc32(header)))  # ``sum_of``
            if row.queue is None:
                self._deliveries.append((number, *row[:3], *row[4:14], *end))
            else:
                self._waiting.append((number, *row[:4], *row[5:11], *end))
            return
        is_file = row.digest is not None
        self._rows.append((number, *row, None, crc32(header) if is_file else crc32(payload, crc32(header))))
        if not is_file:
            self._bodies.append((number, payload))

    def flush(self) -> None:
        """Write what was gathered."""
        rows, waiting, deliveries = self._rows, self._waiting, self._deliveries
        self._rows, self._waiting, self._deliveries = [], [], []
        self._write(rows, _EVERY)
        self._write(waiting, _WAITING)
        self._write(deliveries, _DELIVERY)
        if self._bodies:
            bodies, self._bodies = self._bodies, []
            self._database.executemany("INSERT INTO bodies VALUES (?, ?)", bodies)

    def _write(self, rows: list[tuple[object, ...]], statements: dict[int, str]) -> None:
        at, left = 0, len(rows)
        for size in STATEMENT_ROWS:
            while left >= size:
                self._database.execute(statements[size], tuple(chain.from_iterable(rows[at : at + size])))
                at, left = at + size, left - size


def sum_of(header: bytes, body: bytes) -> int:
    """The sum of a row: CRC-32 of header and body (none for a payload that is a file)."""
    return crc32(body, crc32(header))
