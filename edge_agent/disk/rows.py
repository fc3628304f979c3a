"""Bundles as rows: what each effect does to the tables, and the counters that spare looking them up.

Every call of ``Rows`` is part of the writer's transaction under way. When it is rolled back, ``rollback`` takes what it
touched from the tables, so memory never says more than the disk.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgpack

from edge_agent.core.bundle import BundleId, BundleRecord, Origin, Precedence
from edge_agent.core.effects import Done, Erase, EraseReason, Failed, Known, Outcome, Persist, QueueKey
from edge_agent.core.intervals import IntervalSet
from edge_agent.disk.ages import Ages
from edge_agent.disk.bursts import BurstNumbers
from edge_agent.disk.counts import Counts, Kind
from edge_agent.disk.eviction import Eviction
from edge_agent.disk.fates import Fates, RowKey, join_via, state_of
from edge_agent.disk.identity import to_signed, to_unsigned
from edge_agent.disk.quota import ROW_BYTES, Quota
from edge_agent.disk.removal import INLINE_BYTES, STORED_COLUMNS, Removal, Stored
from edge_agent.disk.seen import SeenNumbers
from edge_agent.disk.starts import StartCount
from edge_agent.disk.types import is_storable

LEASE_NUMBERS = 1024  # numbers skipped by a kill at most; a clean stop gives them back

UNACKED, OWED = 0, 1


@dataclass(slots=True)
class Part:
    """A large bundle that has arrived in part: its declared length and what was synced."""

    payload_bytes: int
    ranges: IntervalSet = field(default_factory=IntervalSet)


@dataclass(slots=True, kw_only=True)
class Rows:
    """The writer's view of bundles, parts and numbers."""

    database: sqlite3.Connection
    ages: Ages
    quota: Quota
    node_id: str
    incarnation: int
    starts: StartCount
    destinations: frozenset[str]
    can_evict_waiting: bool
    seen: SeenNumbers = field(init=False)
    fates: Fates = field(init=False)
    bursts: BurstNumbers = field(init=False)
    counts: Counts = field(init=False)
    removal: Removal = field(init=False)
    eviction: Eviction = field(init=False)
    parts: dict[BundleId, Part] = field(default_factory=dict)
    _origins: dict[tuple[str, int], int] = field(default_factory=dict)
    _queues: dict[QueueKey, int] = field(default_factory=dict)
    _leases: list[int] = field(default_factory=list)
    _new_origins: list[tuple[str, int]] = field(default_factory=list)
    _new_queues: list[QueueKey] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.seen = SeenNumbers(self.database)
        self.fates = Fates(self.database)
        self.bursts = BurstNumbers(self.database, self.starts)
        self.counts = Counts(self.database, self.quota)
        self.removal = Removal(self.database, self.counts)
        self.eviction = Eviction(
            database=self.database,
            quota=self.quota,
            fates=self.fates,
            removal=self.removal,
            clock=self.ages.clock,
            can_evict_waiting=self.can_evict_waiting,
        )
        self.load()

    def load(self) -> None:
        """Take everything from the tables."""
        execute = self.database.execute
        self.seen.load()
        self.fates.load()
        self.starts.load()
        self.bursts.load()
        self._origins = {
            (source, to_unsigned(incarnation)): origin
            for origin, source, incarnation in execute("SELECT origin, source, incarnation FROM origins")
        }
        self._queues = {
            QueueKey(destination, Precedence(precedence), source, flow): queue
            for queue, destination, precedence, source, flow in execute("SELECT * FROM queues")
        }
        self.counts.load()
        self._load_leases()
        self._load_parts()
        self.begin()

    def rollback(self) -> None:
        """The transaction was rolled back: take what it touched from the tables. O(what it touched), not O(rows)."""
        for name in self._new_origins:
            del self._origins[name]
        for queue in self._new_queues:
            del self._queues[queue]
        self.seen.load()
        self.fates.rollback()
        self.starts.load()
        self.bursts.load()
        self.counts.load()
        self._load_leases()
        self._load_parts()
        self.begin()

    def _load_leases(self) -> None:
        self._leases = [0] * len(Precedence)
        for precedence, next_sequence in self.database.execute("SELECT precedence, next_sequence FROM leases"):
            self._leases[precedence] = next_sequence

    def _load_parts(self) -> None:
        names = {origin: name for name, origin in self._origins.items()}
        self.parts.clear()
        for origin, precedence, sequence, payload_bytes, ranges in self.database.execute("SELECT * FROM parts"):
            bundle = BundleId(*names[origin], Precedence(precedence), sequence)
            self.parts[bundle] = Part(payload_bytes, IntervalSet(msgpack.unpackb(ranges)))
        self.quota.used_bytes += sum(part.payload_bytes + ROW_BYTES for part in self.parts.values())

    def begin(self) -> None:
        """A transaction begins: nothing is removed or evicted in it yet."""
        self.removal.begin()
        self.eviction.begin()
        self.fates.begin()
        self._new_origins.clear()
        self._new_queues.clear()

    def finish(self) -> None:
        """The last statements of a transaction."""
        self.seen.write()
        self.fates.prune()
        self.counts.write()
        self.ages.beat(self.database)

    @property
    def next_sequences(self) -> tuple[int, ...]:
        """Above every number leased so far, by precedence."""
        return tuple(self._leases)

    def seen_by_name(self) -> tuple[tuple[tuple[str, int, Precedence], IntervalSet], ...]:
        """Copies of all closed numbers under the names that the core uses."""
        names = {origin: name for name, origin in self._origins.items()}
        return tuple(
            ((*names[origin], Precedence(precedence)), numbers.copy())
            for (origin, precedence), numbers in self.seen.items()
        )

    def key(self, bundle: BundleId) -> RowKey:
        """A bundle's key in the tables; an origin met for the first time gets its number here."""
        name = (bundle.source, bundle.incarnation)
        origin = self._origins.get(name)
        if origin is None:
            origin = self.database.execute(
                "INSERT INTO origins (source, incarnation) VALUES (?, ?)",
                (bundle.source, to_signed(bundle.incarnation)),
            ).lastrowid
            assert origin is not None  # an INSERT of one row always has one
            self._origins[name] = origin
            self._new_origins.append(name)
        return RowKey(origin, int(bundle.precedence), bundle.sequence)

    def find_key(self, bundle: BundleId) -> RowKey | None:
        """The key of a bundle that the tables may know; None when they cannot."""
        origin = self._origins.get((bundle.source, bundle.incarnation))
        if origin is None or not is_storable(bundle):
            return None
        return RowKey(origin, int(bundle.precedence), bundle.sequence)

    def is_stored(self, bundle: BundleId) -> bool:
        """Whether this bundle is or was durable here."""
        origin = self._origins.get((bundle.source, bundle.incarnation))
        return origin is not None and self.seen.has((origin, bundle.precedence), bundle.sequence)

    def admit(self, bundle: BundleId, payload_bytes: int, origin: Origin) -> Failed | None:
        """None when a bundle may come in, perhaps because older ones went; else why not."""
        return self.eviction.admit(bundle.precedence, payload_bytes, origin)

    def store(self, effect: Persist, digest: bytes | None = None) -> Outcome:
        """Insert a whole bundle; ``digest`` says that its payload is a file already. Twice is once."""
        record = effect.record
        assert record is not None  # pieces go to ``store_piece``
        key = self.key(record.id)
        part = self.parts.pop(record.id, None)
        if part is not None:  # room was made when its first piece came
            self.database.execute("DELETE FROM parts WHERE origin = ? AND precedence = ? AND sequence = ?", key)
            self.quota.used_bytes -= part.payload_bytes + ROW_BYTES
            if digest is None:  # a row in the end: what came of it before goes with its ``.part``
                self.removal.files.append(record.id)
        if self.seen.has((key.origin, key.precedence), key.sequence):
            return Known()
        if part is None:
            refusal = self.admit(record.id, record.payload_bytes, record.header.origin)
            if refusal is not None:
                return refusal
        is_delivery = effect.is_arrival and record.header.destination in self.destinations
        queue = None if is_delivery else self._queue(record)
        self._insert(key, effect, record, queue, digest)
        self.seen.add((key.origin, key.precedence), key.sequence)
        if not effect.is_arrival:
            self._lease(record)
        return Done()

    def _insert(
        self, key: RowKey, effect: Persist, record: BundleRecord, queue: int | None, digest: bytes | None
    ) -> None:
        header, stored_ms = record.header.pack(), self.ages.clock.wall_ms()
        is_inline = digest is None and record.payload_bytes <= INLINE_BYTES
        row = self.database.execute(
            "INSERT INTO bundles (origin, precedence, sequence, queue, flow, payload_bytes, boot, as_of_s, age_low_s,"
            " age_high_s, stored_ms, receipt, peer, via, digest, header, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *key,
                queue,
                record.header.flow if queue is None else None,
                record.payload_bytes,
                self.ages.boot,
                self.ages.boot_time(record.as_of_s),
                record.age_low_s,
                record.age_high_s,
                stored_ms,
                UNACKED if queue is None else None,
                effect.peer if queue is None else None,
                join_via(effect.via) if queue is None else None,
                digest,
                header,
                effect.payload if is_inline else None,
            ),
        ).lastrowid
        if digest is None and not is_inline:
            self.database.execute("INSERT INTO bodies VALUES (?, ?)", (row, effect.payload))
        if queue is None:
            self.counts.change(key.precedence, Kind.DELIVERED, 1, record.payload_bytes)
        else:
            self.counts.waiting(queue, key.precedence, 1, record.payload_bytes)
        if not effect.is_arrival and record.header.origin is Origin.PERSON:
            self.fates.begin_message(key, header, effect.payload, record.payload_bytes, stored_ms)

    def _queue(self, record: BundleRecord) -> int:
        header = record.header
        name = QueueKey(header.destination, record.id.precedence, record.id.source, header.flow)
        queue = self._queues.get(name)
        if queue is None:
            queue = self.database.execute(
                "INSERT INTO queues (destination, precedence, source, flow) VALUES (?, ?, ?, ?)",
                (name.destination, int(name.precedence), name.source, name.flow),
            ).lastrowid
            assert queue is not None  # as above
            self._queues[name] = queue
            self._new_queues.append(name)
        return queue

    def _lease(self, record: BundleRecord) -> None:
        bundle = record.id
        if bundle.sequence < self._leases[bundle.precedence] or bundle.incarnation != self.incarnation:
            return
        self.set_lease(bundle.precedence, bundle.sequence + LEASE_NUMBERS)
        self.starts.rise()

    def set_lease(self, precedence: int, next_sequence: int) -> None:
        """The next start numbers from ``next_sequence``."""
        self._leases[precedence] = next_sequence
        self.database.execute("INSERT OR REPLACE INTO leases VALUES (?, ?)", (precedence, next_sequence))

    def return_leases(self) -> None:
        """A clean stop: the next start goes on without a hole."""
        origin = self._origins.get((self.node_id, self.incarnation))
        for precedence, next_sequence in enumerate(self._leases):
            numbers = None if origin is None else dict(self.seen.items()).get((origin, precedence))
            used = numbers.last_range()[1] if numbers else 0
            if used < next_sequence:
                self.set_lease(precedence, used)

    def write_part(self, bundle: BundleId) -> None:
        """Note which ranges of a ``.part`` are synced."""
        part = self.parts[bundle]
        self.database.execute(
            "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?)",
            (*self.key(bundle), part.payload_bytes, msgpack.packb(list(part.ranges))),
        )

    def open_part(self, bundle: BundleId, payload_bytes: int) -> Part:
        """A new part, in memory; its row comes with its first piece. Room is taken for all of it at once."""
        part = self.parts[bundle] = Part(payload_bytes)
        self.quota.used_bytes += payload_bytes + ROW_BYTES
        return part

    def drop_part(self, bundle: BundleId) -> None:
        """Forget a part, if there is one; its file goes after the commit."""
        part = self.parts.pop(bundle, None)
        if part is not None:
            self.quota.used_bytes -= part.payload_bytes + ROW_BYTES
            self.database.execute(
                "DELETE FROM parts WHERE origin = ? AND precedence = ? AND sequence = ?", self.key(bundle)
            )
            self.removal.files.append(bundle)

    def erase(self, effect: Erase) -> Outcome:
        """End custody. A delivery is never erased so: consumers and the quota decide on it."""
        for bundle in effect.bundles:
            key = self.find_key(bundle)
            self.drop_part(bundle)
            if effect.reason is EraseReason.PARTIAL_DROPPED:
                if not self.is_stored(bundle):
                    self.removal.files.append(bundle)
                continue
            if key is None:
                continue
            found = self.database.execute(
                f"SELECT stored_ms, header, {STORED_COLUMNS} FROM bundles"
                " WHERE origin = ? AND precedence = ? AND sequence = ? AND queue IS NOT NULL",
                key,
            ).fetchone()
            if found is not None:
                stored_ms, header, *columns = found
                stored = Stored(*columns)
                self.removal.delete(bundle, stored)
                now_ms = self.ages.clock.wall_ms()
                self.fates.close(key, header, stored.payload_bytes, stored_ms, state_of(effect.reason), now_ms)
        return Done()

    def settle(self, rows: Iterable[int]) -> None:
        """The receipts of these deliveries are settled: from now on they may be evicted."""
        for row in rows:
            found = self.database.execute(
                "UPDATE bundles SET receipt = 2 WHERE row = ? AND receipt < 2 RETURNING precedence, payload_bytes",
                (row,),
            ).fetchall()
            for precedence, payload_bytes in found:
                self.counts.change(precedence, Kind.DELIVERED, -1, -payload_bytes)
                self.counts.change(precedence, Kind.SETTLED, 1, payload_bytes)

    def give_up_missing(self, bundle: BundleId) -> None:
        """The file of a large payload is gone, so its row promises nothing; its number stays closed."""
        key = self.key(bundle)
        found = self.database.execute(
            f"SELECT {STORED_COLUMNS} FROM bundles WHERE origin = ? AND precedence = ? AND sequence = ?", key
        ).fetchone()
        self.removal.delete(bundle, Stored(*found))
