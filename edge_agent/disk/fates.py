"""Fates: how far each bundle got, kept after its custody ended: for ``why``, for waiters, for a person's messages."""

import sqlite3
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from edge_agent.core.bundle import BundleHeader, BundleId, Precedence
from edge_agent.core.effects import EraseReason
from edge_agent.disk.identity import to_signed, to_unsigned
from edge_agent.disk.types import Fate, FateState, is_storable

FATES_MAX = 50_000
"""Fates of machines' bundles kept: about 10 MB, half an hour at 20 bundles a second."""
MESSAGES_MAX = 5_000  # a person's own: months of use, each shown on a page
MESSAGE_PAYLOAD_BYTES = 16_384  # a text of 4,000 Chinese characters with its envelope
PRUNE_ROWS = 1_000  # at a time, so that no commit takes long

_RANKS = "".join(chr(ord("A") + state.rank) for state in FateState)
"""The letter at a state's code is its rank: SQL compares letters, so a later rank wins whatever the code."""
_TIMES = {
    FateState.ACCEPTED: "accepted_ms",
    FateState.FORWARDED: "forwarded_ms",
    FateState.DELIVERED: "delivered_ms",
    FateState.HELD: "delivered_ms",
    FateState.READ: "read_ms",
    FateState.DONE: "done_ms",
}
_REASONS = {
    EraseReason.FORWARDED: FateState.FORWARDED,
    EraseReason.EXPIRED: FateState.EXPIRED,
    EraseReason.SUPERSEDED: FateState.SUPERSEDED,
    EraseReason.CANCELLED: FateState.CANCELLED,
    EraseReason.SETTLED: FateState.DELIVERED,
    EraseReason.EVICTED: FateState.EVICTED,
}
_COLUMNS = (
    "fates.row, origins.source, origins.incarnation, precedence, sequence, header, payload_bytes, state, accepted_ms, "
    "closed_ms, forwarded_ms, delivered_ms, read_ms, done_ms, peer, via, detail, payload"
)
_FROM = "FROM fates JOIN origins ON origins.origin = fates.origin"


def _further(code: str) -> str:
    """SQL for the state that is further along: the column ``state``, or this ``code``."""
    ranks = [f"substr('{_RANKS}', {each} + 1, 1)" for each in ("fates.state", code)]
    return f"instr('{_RANKS}', max({', '.join(ranks)})) - 1"


class News(Enum):
    """What came of news of a bundle: nothing is known of it (any more), noted, or noted of one that never left."""

    UNKNOWN = "unknown"
    NOTED = "noted"
    NEVER_LEFT = "never_left"


class RowKey(NamedTuple):
    """A bundle's identity in the tables."""

    origin: int
    precedence: int
    sequence: int


def state_of(reason: EraseReason) -> FateState:
    """The fate of a bundle whose custody ended for ``reason``."""
    return _REASONS[reason]


@dataclass(slots=True)
class Fates:
    """The writer's side of the table; every call is part of the transaction under way."""

    database: sqlite3.Connection
    _machine_rows: int = 0
    _message_rows: int = 0
    _pruned_row: int = 0
    _before: tuple[int, int, int] = (0, 0, 0)

    def load(self) -> None:
        """Count what is there."""
        self._message_rows = self._count("WHERE is_message = 1")
        self._machine_rows = self._count("") - self._message_rows
        self._pruned_row = 0
        self.begin()

    def begin(self) -> None:
        """A transaction begins."""
        self._before = (self._machine_rows, self._message_rows, self._pruned_row)

    def rollback(self) -> None:
        """It was rolled back: the counters are as they were."""
        self._machine_rows, self._message_rows, self._pruned_row = self._before

    def _count(self, where: str) -> int:
        return int(self.database.execute(f"SELECT count(*) FROM fates {where}").fetchone()[0])

    def begin_message(self, key: RowKey, header: bytes, payload: bytes, payload_bytes: int, at_ms: int) -> None:
        """A person here sent something: it is listed from now on."""
        kept = payload if payload_bytes <= MESSAGE_PAYLOAD_BYTES else None
        self.database.execute(
            "INSERT OR IGNORE INTO fates (origin, precedence, sequence, is_message, header, payload_bytes, state,"
            " accepted_ms, payload) VALUES (?, ?, ?, 1, ?, ?, 0, ?, ?)",
            (*key, header, payload_bytes, at_ms, kept),
        )
        self._message_rows += 1

    def close(
        self, key: RowKey, header: bytes, payload_bytes: int, accepted_ms: int, state: FateState, at_ms: int
    ) -> None:
        """Custody ended; a message's entry is updated, any other bundle gets one now."""
        column = _TIMES.get(state, "closed_ms")
        self.database.execute(
            "INSERT INTO fates (origin, precedence, sequence, is_message, header, payload_bytes, state, accepted_ms,"
            f" {column}) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?) ON CONFLICT (origin, precedence, sequence) DO UPDATE SET"
            f" state = {_further('excluded.state')}, {column} = coalesce({column}, excluded.{column})",
            (*key, header, payload_bytes, state.code, accepted_ms, at_ms),
        )
        self._machine_rows += 1  # too many when there was an entry; counted anew before anything is forgotten

    def set_state(self, key: RowKey, state: FateState, at_ms: int, detail: str) -> News:
        """Note news of a bundle, in whatever order it comes."""
        column = _TIMES.get(state, "closed_ms")
        changes = (
            f"state = {_further('?')}, {column} = coalesce({column}, ?), detail = CASE ? WHEN '' THEN detail ELSE ? END"
        )
        return self._update(key, changes, (state.code, at_ms, detail, detail))

    def set_forwarded(self, key: RowKey, peer: str, via: str, at_ms: int) -> News:
        """Note who took custody and over which links."""
        changes = f"state = {_further('?')}, forwarded_ms = coalesce(forwarded_ms, ?), peer = ?, via = ?"
        return self._update(key, changes, (FateState.FORWARDED.code, at_ms, peer, via))

    def _update(self, key: RowKey, changes: str, values: tuple[object, ...]) -> News:
        statement = (
            f"UPDATE fates SET {changes} WHERE origin = ? AND precedence = ? AND sequence = ?"
            " RETURNING forwarded_ms IS NULL AND closed_ms IS NULL"
        )
        found = self.database.execute(statement, (*values, *key)).fetchone()
        if found is None:
            begun = self.database.execute(
                "INSERT INTO fates (origin, precedence, sequence, is_message, header, payload_bytes, state,"
                " accepted_ms) SELECT origin, precedence, sequence, 0, header, payload_bytes, 0, stored_ms FROM bundles"
                " WHERE origin = ? AND precedence = ? AND sequence = ? AND queue IS NOT NULL",
                key,
            ).rowcount
            if not begun:
                return News.UNKNOWN
            self._machine_rows += 1
            found = self.database.execute(statement, (*values, *key)).fetchone()
        return News.NEVER_LEFT if found[0] else News.NOTED

    def prune(self) -> None:
        """Forget the oldest beyond the bounds, a few at a time."""
        if self._machine_rows > FATES_MAX + PRUNE_ROWS:
            self._machine_rows = self._count("") - self._message_rows
        if self._machine_rows > FATES_MAX + PRUNE_ROWS:
            rows = self.database.execute(
                "SELECT row FROM fates WHERE row > ? AND is_message = 0 ORDER BY row LIMIT ?",
                (self._pruned_row, PRUNE_ROWS),
            ).fetchall()
            self.database.executemany("DELETE FROM fates WHERE row = ?", rows)
            self._machine_rows -= len(rows)
            self._pruned_row = rows[-1][0]  # rows below it are messages: the next search does not pass them again
        if self._message_rows > MESSAGES_MAX + PRUNE_ROWS:
            self.database.execute(
                "DELETE FROM fates WHERE row IN (SELECT row FROM fates WHERE is_message = 1 ORDER BY row LIMIT ?)",
                (PRUNE_ROWS,),
            )
            self._message_rows -= PRUNE_ROWS


def read_fate(database: sqlite3.Connection, bundle: BundleId) -> Fate | None:
    """What is known of one bundle: its fate, or that it waits here, or that it was delivered here."""
    if not is_storable(bundle):
        return None
    where = "WHERE source = ? AND incarnation = ? AND precedence = ? AND sequence = ?"
    values = (bundle.source, to_signed(bundle.incarnation), int(bundle.precedence), bundle.sequence)
    row = database.execute(f"SELECT {_COLUMNS} {_FROM} {where}", values).fetchone()
    if row is not None:
        return _fate(row)
    row = database.execute(
        "SELECT header, payload_bytes, stored_ms, receipt, peer, via FROM bundles"
        f" JOIN origins ON origins.origin = bundles.origin {where}",
        values,
    ).fetchone()
    if row is None:
        return None
    header, payload_bytes, stored_ms, receipt, peer, via = row
    is_here = receipt is not None
    return Fate(
        bundle=bundle,
        header=BundleHeader.unpack(header),
        payload_bytes=payload_bytes,
        state=FateState.DELIVERED if is_here else FateState.ACCEPTED,
        accepted_ms=stored_ms,
        delivered_ms=stored_ms if is_here else None,
        peer=peer or "",
        via=split_via(via),
    )


def read_messages(database: sqlite3.Connection, limit: int, before_row: int | None) -> list[Fate]:
    """A person's own bundles, newest first."""
    rows = database.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE is_message = 1 AND fates.row < ? ORDER BY fates.row DESC LIMIT ?",
        ((1 << 62) if before_row is None else before_row, limit),
    )
    return [_fate(row) for row in rows]


def join_via(via: tuple[str, ...]) -> str:
    """Link names as one column; a link's name holds no line break."""
    return "\n".join(via)


def split_via(column: str | None) -> tuple[str, ...]:
    """The inverse of ``join_via``."""
    return tuple(column.split("\n")) if column else ()


def _fate(row: tuple[Any, ...]) -> Fate:  # Any: columns of a row, typed by the schema
    return Fate(
        row=row[0],
        bundle=BundleId(row[1], to_unsigned(row[2]), Precedence(row[3]), row[4]),
        header=BundleHeader.unpack(row[5]),
        payload_bytes=row[6],
        state=FateState.of_code(row[7]),
        accepted_ms=row[8],
        closed_ms=row[9],
        forwarded_ms=row[10],
        delivered_ms=row[11],
        read_ms=row[12],
        done_ms=row[13],
        peer=row[14],
        via=split_via(row[15]),
        detail=row[16],
        payload=row[17],
    )
