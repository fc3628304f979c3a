"""Consumers: durable names with a cursor over deliveries, and what they are handed.

A position is the row of a delivery. A consumer is *attached* while somebody uses it in this process. A receipt is owed
once a consumer has acknowledged a delivery and no attached consumer that wants it still lacks it; so a listener that
was left behind does not hold back the word "delivered" for ever.
"""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_agent.core.bundle import CLOCK_FLOOR_MS, BundleHeader, BundleId, BundleRecord, Precedence
from edge_agent.disk.ages import Ages
from edge_agent.disk.counts import Kind
from edge_agent.disk.damage import sound_header
from edge_agent.disk.debts import Debts
from edge_agent.disk.fates import read_fate, split_via
from edge_agent.disk.identity import to_unsigned
from edge_agent.disk.rows import OWED, SETTLED, UNACKED, Rows
from edge_agent.disk.spans import runs_of
from edge_agent.disk.types import AckedBundle, Delivery, FateState, Start, UnknownBundleError, UnknownConsumerError

COPIER_PREFIX = "posts.to."
"""Of consumers that copy deliveries to other command nodes: nobody has seen what they acknowledge."""
HANDED_LEASE = 64
"""Positions that may be handed out before the mark "handed" is synced again; the price is one sync in so many."""


@dataclass(slots=True)
class Place:
    """Where one consumer stands: everything up to ``cursor`` is acknowledged, up to ``handed`` may have been seen."""

    flow: str
    cursor: int
    handed: int
    barren: tuple[int, int] = (0, 0)
    """Beyond the first position up to the second one nothing is for it: not to be looked through again."""

    def skip_barren(self, after: int) -> int:
        """Where to look on from ``after``."""
        start, end = self.barren
        return end if start <= after < end else after

    def note_barren(self, after: int, looked_to: int) -> None:
        """Nothing was found beyond ``after`` up to ``looked_to``."""
        start, end = self.barren
        self.barren = (start if start <= after <= end else after, max(after, looked_to))


@dataclass(slots=True)
class Consumers:
    """The writer's side; every call is part of the transaction under way."""

    rows: Rows
    flows_without_receipt: Collection[str]
    places: dict[str, Place] = field(default_factory=dict)
    attached: set[str] = field(default_factory=set)
    debts: Debts = field(init=False)

    def __post_init__(self) -> None:
        self.debts = Debts(self.rows.database)
        self.rows.eviction.lacking = self.lacking

    def load(self) -> None:
        """Take the tables as they are."""
        self.debts.load()
        found = self.rows.database.execute("SELECT name, flow, cursor, handed FROM consumers")
        self.places = {name: Place(flow, cursor, handed) for name, flow, cursor, handed in found}

    def open(self, name: str, flow: str, start: Start | BundleId) -> Place:
        """Attach a consumer; a new name begins at ``start``. Raises UnknownBundleError."""
        place = self.places.get(name)
        if place is None:
            cursor = self._first_cursor(start)
            place = self.places[name] = Place(flow, cursor, cursor)
        place.flow = flow
        self._write(name, place)
        self.attached.add(name)
        return Place(flow, place.cursor, place.handed)

    def _first_cursor(self, start: Start | BundleId) -> int:
        if start is Start.ALL:
            return 0
        if start is Start.NOW:
            return last_position(self.rows.database)
        key = self.rows.find_key(start)
        found = (
            key
            and self.rows.database.execute(
                "SELECT row FROM bundles WHERE origin = ? AND precedence = ? AND sequence = ? AND receipt IS NOT NULL",
                key,
            ).fetchone()
        )
        if found is None:
            raise UnknownBundleError(f"bundle {start} is no delivery of this store (any more)")
        return int(found[0])

    def _write(self, name: str, place: Place) -> None:
        self.rows.database.execute(
            "INSERT OR REPLACE INTO consumers VALUES (?, ?, ?, ?)", (name, place.flow, place.cursor, place.handed)
        )

    def _place(self, name: str) -> Place:
        place = self.places.get(name)
        if place is None:
            raise UnknownConsumerError(f"consumer {name!r} was not opened")
        return place

    def mark_handed(self, name: str, position: int) -> None:
        """Positions up to this one may be handed out from now on."""
        place = self._place(name)
        if position > place.handed:
            place.handed = position
            self._write(name, place)

    def acknowledge(self, name: str, position: int) -> list[AckedBundle]:
        """Move a cursor forward; gives back the bundles for which a receipt became owed."""
        place = self._place(name)
        if position <= place.cursor:
            return []
        low = place.cursor
        place.cursor, place.handed = position, max(position, place.handed)
        self._write(name, place)
        return [] if name.startswith(COPIER_PREFIX) else self._owe(place.flow, low, position)

    def detach(self, name: str, *, forget: bool) -> list[AckedBundle]:
        """Nobody waits for this consumer any more; what others acknowledged is owed now."""
        place = self.places.get(name)
        if place is None:
            return []
        was_attached = name in self.attached
        self.attached.discard(name)
        if forget:
            del self.places[name]
            self.rows.database.execute("DELETE FROM consumers WHERE name = ?", (name,))
        top = max((each.cursor for each in self.places.values()), default=0)
        return self._owe(place.flow, place.cursor, top) if was_attached else []

    def _owe(self, flow: str, low: int, high: int) -> list[AckedBundle]:
        """Mark what one acknowledged and no attached consumer lacks, among (low, high] that match ``flow``."""
        where, values = "receipt = 0 AND row > ? AND row <= ? AND flow GLOB ?", [low, high, flow]
        takers = self.takers()
        if not takers:
            return []
        where += f" AND ({' OR '.join(['(row <= ? AND flow GLOB ?)'] * len(takers))})"
        for place in takers:
            values += [place.cursor, place.flow]
        for name in self.attached:
            where += " AND NOT (row > ? AND flow GLOB ?)"
            values += [self.places[name].cursor, self.places[name].flow]
        found = self.rows.database.execute(f"{_ACKED} WHERE {where} ORDER BY row", values).fetchall()
        owed: list[AckedBundle] = []
        rows: dict[int, list[int]] = {OWED: [], SETTLED: []}
        for row, source, incarnation, precedence, sequence, payload_bytes, flow_name, header in found:
            if flow_name in self.flows_without_receipt:
                rows[SETTLED].append(row)
                self.count_settled(precedence, 1, payload_bytes)
            else:
                rows[OWED].append(row)
                bundle = _bundle_id(source, incarnation, precedence, sequence)
                owed.append(AckedBundle(bundle=bundle, header=BundleHeader.unpack(header)))
        for receipt, numbers in rows.items():
            for start, stop in runs_of(numbers):
                statement = f"UPDATE bundles SET receipt = {receipt} WHERE row >= ? AND row < ? AND receipt = {UNACKED}"
                self.rows.database.execute(statement, (start, stop))
        return owed

    def takers(self) -> list[Place]:
        """Consumers whose word means that somebody has it."""
        return [place for name, place in self.places.items() if not name.startswith(COPIER_PREFIX)]

    def lacking(self, rows: Sequence[int]) -> set[int]:
        """Which of these deliveries some consumer has still to take, attached or not."""
        if not self.places:
            return set()
        values: list[object] = [*rows]
        for place in self.places.values():
            values += [place.cursor, place.flow]
        wanted = " OR ".join(["(row > ? AND flow GLOB ?)"] * len(self.places))
        statement = f"SELECT row FROM bundles WHERE row IN ({','.join('?' * len(rows))}) AND ({wanted})"
        return {row for (row,) in self.rows.database.execute(statement, values)}

    def settle(self, bundles: Collection[BundleId]) -> None:
        """The receipts of these are on their way, durably: from now on the bundles may be evicted."""
        sequences: dict[tuple[int, int], list[int]] = {}
        for bundle in bundles:
            key = self.rows.find_key(bundle)
            if key is not None:
                sequences.setdefault((key.origin, key.precedence), []).append(key.sequence)
        for (origin, precedence), numbers in sequences.items():
            runs = list(runs_of(sorted(set(numbers))))
            self.debts.settle(origin, precedence, runs)
            for start, stop in runs:
                run = (origin, precedence, start, stop)
                counted, payload_bytes = self.rows.database.execute(
                    f"SELECT count(*), sum(payload_bytes) FROM bundles WHERE {_UNSETTLED}", run
                ).fetchone()
                if counted:
                    self.rows.database.execute(f"UPDATE bundles SET receipt = {SETTLED} WHERE {_UNSETTLED}", run)
                    self.count_settled(precedence, counted, payload_bytes)

    def owe_again(self, bundle: BundleId) -> list[AckedBundle]:
        """A bundle came again: its receipt once more, if it was delivered here and that receipt had left before."""
        database = self.rows.database
        fate, key = read_fate(database, self.rows.ages, bundle), self.rows.find_key(bundle)
        if fate is None or key is None or fate.header.destination not in self.rows.destinations:
            return []
        found = database.execute(f"SELECT receipt FROM bundles WHERE {_IS_KEY}", key).fetchone()
        is_due = found is None or found[0] == SETTLED  # else nobody has acknowledged it, or the first is on its way
        if not is_due or fate.header.flow in self.flows_without_receipt:
            return []
        state = fate.state if fate.state in LAPSED else FateState.DELIVERED
        return [AckedBundle(bundle=bundle, header=fate.header, state=state)]

    def count_settled(self, precedence: int, bundles: int, payload_bytes: int) -> None:
        """So many deliveries are settled now."""
        self.rows.counts.change(precedence, Kind.DELIVERED, -bundles, -payload_bytes)
        self.rows.counts.change(precedence, Kind.SETTLED, bundles, payload_bytes)


LAPSED = frozenset((FateState.EXPIRED_THERE, FateState.SUPERSEDED))
"""What becomes of a delivery that nobody took (``lapses``)."""
SETTLE_UNACKED = f"UPDATE bundles SET receipt = {SETTLED} WHERE row >= ? AND row < ? AND receipt = {UNACKED}"
_IS_KEY = "origin = ? AND precedence = ? AND sequence = ?"
_UNSETTLED = f"origin = ? AND precedence = ? AND sequence >= ? AND sequence < ? AND receipt < {SETTLED}"
_ACKED = (
    "SELECT row, source, incarnation, precedence, sequence, payload_bytes, flow, header"
    " FROM bundles JOIN origins ON origins.origin = bundles.origin"
)


def read_owed(database: sqlite3.Connection) -> list[AckedBundle]:
    """Receipts that were owed when the last process ended."""
    found = database.execute(f"{_ACKED} WHERE receipt = {OWED} ORDER BY row")
    return [
        AckedBundle(bundle=_bundle_id(*names), header=BundleHeader.unpack(header)) for _, *names, _, _, header in found
    ]


def last_position(database: sqlite3.Connection) -> int:
    """The highest position ever given."""
    found = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'bundles'").fetchone()
    return int(found[0]) if found else 0


def read_deliveries(
    database: sqlite3.Connection,
    ages: Ages,
    flow: str,
    after: int,
    limit: int,
    on_damaged: Callable[[BundleId], None],
) -> tuple[list[Delivery], int]:
    """The next sound deliveries beyond a position, oldest first, and to where all that there is was looked through.

    None at all means that there is none: where a batch is all damaged, the next one is looked at. ``redelivered`` is
    for the caller to say.
    """
    last = last_position(database)  # asked first: what is stored meanwhile may be missed
    while True:
        found = _read_deliveries(database, flow, after, limit)
        deliveries = [delivery for row in found if (delivery := _delivery(row, ages, on_damaged)) is not None]
        if deliveries or len(found) < limit:
            return deliveries, last if len(found) < limit else found[-1][0]
        after = found[-1][0]


def _read_deliveries(database: sqlite3.Connection, flow: str, after: int, limit: int) -> list[tuple[Any, ...]]:
    return database.execute(
        "SELECT bundles.row, source, incarnation, precedence, sequence, payload_bytes, boot, as_of_s, age_low_s,"
        " age_high_s, stored_ms, peer, via, digest, sum, header, coalesce(bundles.body, bodies.body)"
        " FROM bundles JOIN origins ON origins.origin = bundles.origin LEFT JOIN bodies ON bodies.row = bundles.row"
        " WHERE bundles.row > ? AND receipt IS NOT NULL AND flow GLOB ? ORDER BY bundles.row LIMIT ?",
        (after, flow, limit),
    ).fetchall()


def _delivery(row: tuple[Any, ...], ages: Ages, on_damaged: Callable[[BundleId], None]) -> Delivery | None:
    """A row of ``_read_deliveries`` (Any: its columns); None when its bytes are not those that were stored."""
    position, source, incarnation, precedence, sequence, length, boot, *times = row[:10]
    stored_ms, peer, via, digest, total, packed, body = row[10:]
    bundle = _bundle_id(source, incarnation, precedence, sequence)
    header = sound_header(total, packed, (body or b"") if digest is None else b"")
    if header is None:
        on_damaged(bundle)
        return None
    aged = ages.read(boot, *times)
    received_ms = ages.told_ms(stored_ms)
    return Delivery(
        position=position,
        record=BundleRecord(bundle, header, length, aged.as_of_s, aged.age_low_s, aged.age_high_s),
        received_at_ms=received_ms,
        peer=peer or "",
        via=split_via(via),
        payload=(body or b"") if digest is None else None,
        redelivered=False,
        restamp_ms=_restamp_ms(header.created_at_ms, received_ms - round(times[1] * 1000)),
        digest=digest or b"",
    )


def _restamp_ms(stamped_ms: int, made_ms: int) -> int:
    """What the source's clock lacked when it made a bundle that is as old as it may be least."""
    return made_ms - stamped_ms if 0 < stamped_ms < CLOCK_FLOOR_MS <= made_ms else 0


def _bundle_id(source: str, incarnation: int, precedence: int, sequence: int) -> BundleId:
    return BundleId(source, to_unsigned(incarnation), Precedence(precedence), sequence)
