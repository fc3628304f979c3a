"""Fates: how far each bundle got, kept after its custody ended: for ``why``, for waiters, for a person's messages.

A person's own bundles have a row each, those of machines share rows of ``spans`` until news of one alone comes.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

from edge_agent.core.bundle import BundleHeader, BundleId, Precedence
from edge_agent.core.effects import EraseReason
from edge_agent.core.progress import advance
from edge_agent.disk.ages import Ages
from edge_agent.disk.identity import to_signed, to_unsigned
from edge_agent.disk.spans import Ending, Run, Spans, read_span, runs_of
from edge_agent.disk.types import Fate, FateState, StateUpdate, is_storable

FATES_MAX = 50_000
"""Rows of machines' bundles kept beside the spans: about 10 MB."""
MESSAGES_MAX = 5_000  # a person's own: months of use, each shown on a page
MESSAGE_PAYLOAD_BYTES = 16_384  # a text of 4,000 Chinese characters with its envelope
FATES_LEAST, MESSAGES_LEAST = 5_000, 250
"""What stays of both where the disk is short: 5 MB, of the allowance of the quota."""
PRUNE_ROWS = 1_000  # at a time, so that no commit takes long
PRUNE_MESSAGES = 100  # the same: each may have 16 KiB

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
_IN_RUN = "origin = ? AND precedence = ? AND sequence >= ? AND sequence < ?"
_FROM_BUNDLES = (
    "INSERT OR IGNORE INTO fates (origin, precedence, sequence, is_message, header, payload_bytes, state, accepted_ms)"
    " SELECT origin, precedence, sequence, 0, header, payload_bytes, 0, stored_ms FROM bundles"
)
"""A row of its own for what waits still."""
_IS_HERE = "forwarded_ms IS NULL AND closed_ms IS NULL"
"""Of no copy is it known that it left."""


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
    spans: Spans = field(init=False)
    _machine_rows: int = 0
    _message_rows: int = 0
    _pruned_row: int = 0
    _before: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        self.spans = Spans(self.database)

    def load(self) -> None:
        """Count what is there."""
        self._message_rows = self._count("WHERE is_message = 1")
        self._machine_rows = self._count("") - self._message_rows
        self._pruned_row = 0
        self.spans.load()
        self.begin()

    def begin(self) -> None:
        """A transaction begins."""
        self._before = (self._machine_rows, self._message_rows, self._pruned_row, self.spans.rows)

    def rollback(self) -> None:
        """It was rolled back: the counters are as they were."""
        self._machine_rows, self._message_rows, self._pruned_row, self.spans.rows = self._before

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

    def knows(self, key: RowKey) -> bool:
        """Whether a bundle has a row of its own."""
        where = "origin = ? AND precedence = ? AND sequence = ?"
        return self.database.execute(f"SELECT 1 FROM fates WHERE {where}", key).fetchone() is not None

    def close_run(self, run: Run, ending: Ending) -> None:
        """Custody of a run of one queue ended; entries there are are updated, the others share a span."""
        state = FateState.of_code(ending.state)
        column = _TIMES.get(state, "closed_ms")
        changes = f"state = {_further('?')}, {column} = coalesce({column}, ?)"
        values: tuple[object, ...] = (state.code, ending.closed_ms)
        if state is FateState.FORWARDED:
            changes, values = f"{changes}, peer = ?, via = ?", (*values, ending.peer, ending.via)
        known = self.database.execute(f"UPDATE fates SET {changes} WHERE {_IN_RUN}", (*values, *run)).rowcount
        if known < run.stop - run.start:
            self.spans.add(run, ending)

    def set_states(self, updates: Iterable[tuple[RowKey, StateUpdate]]) -> dict[RowKey, News]:
        """Note news of bundles, in whatever order it comes; gives back what came of it where something is known."""
        noted: dict[RowKey, News] = {}
        receipts: dict[tuple[int, int, int], list[int]] = {}
        for key, update in updates:
            if update.state is FateState.DELIVERED and not update.detail:
                receipts.setdefault((key.origin, key.precedence, update.at_ms), []).append(key.sequence)
            elif (news := self._set_state(key, update)) is not News.UNKNOWN:
                noted[key] = news
        for (origin, precedence, at_ms), sequences in receipts.items():
            for start, stop in runs_of(sorted(set(sequences))):
                noted.update(self._deliver(Run(origin, precedence, start, stop), at_ms))
        return noted

    def _deliver(self, run: Run, at_ms: int) -> Iterator[tuple[RowKey, News]]:
        """A receipt names a run."""
        known = self.spans.deliver(run, at_ms)
        for start, stop in known:
            for sequence in range(start, stop):
                yield RowKey(run.origin, run.precedence, sequence), News.NOTED
        if known.total < run.stop - run.start:
            begun = self.database.execute(f"{_FROM_BUNDLES} WHERE {_IN_RUN} AND queue IS NOT NULL", run)
            self._machine_rows += begun.rowcount
        changed = self.database.execute(
            f"UPDATE fates SET state = {_further('?')}, delivered_ms = coalesce(delivered_ms, ?) WHERE {_IN_RUN}",
            (FateState.DELIVERED.code, at_ms, *run),
        ).rowcount
        if changed:
            for sequence, is_here in self.database.execute(
                f"SELECT sequence, {_IS_HERE} FROM fates WHERE {_IN_RUN}", run
            ):
                yield RowKey(run.origin, run.precedence, sequence), News.NEVER_LEFT if is_here else News.NOTED

    def _set_state(self, key: RowKey, update: StateUpdate) -> News:
        state, detail = update.state, update.detail
        column = _TIMES.get(state, "closed_ms")
        statement = (
            f"UPDATE fates SET state = {_further('?')}, {column} = coalesce({column}, ?),"
            f" detail = CASE ? WHEN '' THEN detail ELSE ? END WHERE {_IN_RUN} RETURNING {_IS_HERE}"
        )
        run = Run(*key, key.sequence + 1)
        values = (state.code, update.at_ms, detail, detail, *run)
        found = self.database.execute(statement, values).fetchone()
        if found is None:
            begun = self.database.execute(f"{_FROM_BUNDLES} WHERE {_IN_RUN} AND queue IS NOT NULL", run).rowcount
            if not begun and not self._begin_from_span(run):
                return News.UNKNOWN
            self._machine_rows += 1
            found = self.database.execute(statement, values).fetchone()
        return News.NEVER_LEFT if found[0] else News.NOTED

    def _begin_from_span(self, run: Run) -> bool:
        """A row of its own for one bundle of a span."""
        ending = self.spans.take_out(run)
        if ending is None:
            return False
        state = FateState.of_code(ending.state)
        column = _TIMES.get(state, "closed_ms")
        further = state if ending.delivered_ms is None else advance(state, FateState.DELIVERED)
        found = self.database.execute(
            "SELECT destination, flow FROM queues WHERE queue = ?", (ending.queue,)
        ).fetchone()
        self.database.execute(
            "INSERT INTO fates (origin, precedence, sequence, is_message, header, payload_bytes, state, accepted_ms,"
            f" peer, via, {column}) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)",
            (
                *run[:3],
                BundleHeader(destination=found[0], flow=found[1]).pack(),
                ending.payload_bytes or 0,
                further.code,
                ending.accepted_ms,
                ending.peer,
                ending.via,
                ending.closed_ms,
            ),
        )
        self.database.execute(
            f"UPDATE fates SET delivered_ms = coalesce(delivered_ms, ?) WHERE {_IN_RUN}", (ending.delivered_ms, *run)
        )
        return True

    def prune(self, *, is_short: bool = False) -> None:
        """Forget the oldest beyond the bounds, a few at a time; down to some where the disk ``is_short``."""
        self.spans.prune(is_short=is_short)
        machine_most, message_most = (FATES_LEAST, MESSAGES_LEAST) if is_short else (FATES_MAX, MESSAGES_MAX)
        if self._machine_rows > machine_most + PRUNE_ROWS:
            self._machine_rows = self._count("") - self._message_rows
        if self._machine_rows > machine_most + PRUNE_ROWS:
            rows = self.database.execute(
                "SELECT row FROM fates WHERE row > ? AND is_message = 0 ORDER BY row LIMIT ?",
                (self._pruned_row, PRUNE_ROWS),
            ).fetchall()
            self.database.executemany("DELETE FROM fates WHERE row = ?", rows)
            self._machine_rows -= len(rows)
            self._pruned_row = rows[-1][0]  # rows below it are messages: the next search does not pass them again
        if self._message_rows > message_most + PRUNE_MESSAGES:
            self.database.execute(
                "DELETE FROM fates WHERE row IN (SELECT row FROM fates WHERE is_message = 1 ORDER BY row LIMIT ?)",
                (PRUNE_MESSAGES,),
            )
            self._message_rows -= PRUNE_MESSAGES


def read_fate(database: sqlite3.Connection, ages: Ages, bundle: BundleId) -> Fate | None:
    """What is known of one bundle: its fate, or that it waits here, or that it was delivered here."""
    if not is_storable(bundle):
        return None
    where = "WHERE source = ? AND incarnation = ? AND precedence = ? AND sequence = ?"
    values = (bundle.source, to_signed(bundle.incarnation), int(bundle.precedence), bundle.sequence)
    row = database.execute(f"SELECT {_COLUMNS} {_FROM} {where}", values).fetchone()
    found = _fate(row) if row else _read_stored(database, bundle, where, values) or _read_ended(database, bundle)
    return found and _told(found, ages)


def _read_stored(database: sqlite3.Connection, bundle: BundleId, where: str, values: tuple[object, ...]) -> Fate | None:
    """The fate of a bundle that is here."""
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


def _read_ended(database: sqlite3.Connection, bundle: BundleId) -> Fate | None:
    """The fate of a machine's bundle that ended in a run: its header is that of its queue."""
    found = database.execute(
        "SELECT origin FROM origins WHERE source = ? AND incarnation = ?",
        (bundle.source, to_signed(bundle.incarnation)),
    ).fetchone()
    row = found and read_span(database, found[0], int(bundle.precedence), bundle.sequence)
    if not row:
        return None
    ending = Ending(*row[2:])
    state = FateState.of_code(ending.state)
    ended_ms = {_TIMES.get(state, "closed_ms"): ending.closed_ms}
    return Fate(
        bundle=bundle,
        header=BundleHeader(destination=row[0], flow=row[1]),
        payload_bytes=ending.payload_bytes or 0,
        state=state if ending.delivered_ms is None else advance(state, FateState.DELIVERED),
        accepted_ms=ending.accepted_ms,
        peer=ending.peer,
        via=split_via(ending.via),
        closed_ms=ended_ms.get("closed_ms"),
        forwarded_ms=ended_ms.get("forwarded_ms"),
        delivered_ms=ended_ms.get("delivered_ms", ending.delivered_ms),
    )


def read_messages(database: sqlite3.Connection, ages: Ages, limit: int, before_row: int | None) -> list[Fate]:
    """A person's own bundles, newest first."""
    rows = database.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE is_message = 1 AND fates.row < ? ORDER BY fates.row DESC LIMIT ?",
        ((1 << 62) if before_row is None else before_row, limit),
    )
    return [_told(_fate(row), ages) for row in rows]


def _told(fate: Fate, ages: Ages) -> Fate:
    """With the stamps of this node's clock as they are told now."""

    def told(stamp_ms: int | None) -> int | None:
        return None if stamp_ms is None else ages.told_ms(stamp_ms)

    return replace(
        fate,
        created_ms=ages.told_ms(fate.header.created_at_ms),
        accepted_ms=told(fate.accepted_ms),
        closed_ms=told(fate.closed_ms),
        forwarded_ms=told(fate.forwarded_ms),
        delivered_ms=told(fate.delivered_ms),
        read_ms=told(fate.read_ms),
        done_ms=told(fate.done_ms),
    )


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
