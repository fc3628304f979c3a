"""Bundles as rows: what each effect does to the tables, and the counters that spare looking them up.

Every call of ``Rows`` is part of the writer's transaction under way. When it is rolled back, ``rollback`` takes what it
touched from the tables, so memory never says more than the disk.
"""

import sqlite3
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from edge_agent.core.bundle import BundleId, BundleRecord, Origin, Precedence
from edge_agent.core.effects import CloseNumbers, Done, Erase, EraseReason, Failed, Known, Outcome, Persist, QueueKey
from edge_agent.core.intervals import IntervalSet
from edge_agent.disk.ages import Ages
from edge_agent.disk.bursts import BurstNumbers
from edge_agent.disk.carried import Carried
from edge_agent.disk.counts import Counts, Kind
from edge_agent.disk.damage import Damage
from edge_agent.disk.erasures import Erasures
from edge_agent.disk.eviction import Eviction
from edge_agent.disk.fates import Fates, RowKey, join_via
from edge_agent.disk.files import PayloadFiles
from edge_agent.disk.identity import to_signed, to_unsigned
from edge_agent.disk.inserts import Inserts, NewRow
from edge_agent.disk.own_numbers import OwnNumbers
from edge_agent.disk.parts import Part, Parts
from edge_agent.disk.quota import Quota
from edge_agent.disk.removal import INLINE_BYTES, STORED_COLUMNS, Removal, Stored
from edge_agent.disk.seen import SeenNumbers
from edge_agent.disk.stagings import Stagings
from edge_agent.disk.starts import StartCount
from edge_agent.disk.types import is_storable

LEASE_NUMBERS = 1024  # numbers skipped by a kill after a few bundles; a clean stop gives them back
LEASE_NUMBERS_MAX = 1 << 16  # by a kill in a flood: each lease costs three syncs, so it grows with what was used

_PAGE_COUNTS = ("page_count", "freelist_count")
_NAME = itemgetter(slice(3))  # of a bundle: all but its sequence
_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call

_DELIVERED, _PERSON = Kind.DELIVERED, Origin.PERSON  # a member of an enum is slow to look up

UNACKED, OWED, SETTLED = 0, 1, 2


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
    carried: Carried = field(init=False)
    fates: Fates = field(init=False)
    bursts: BurstNumbers = field(init=False)
    counts: Counts = field(init=False)
    removal: Removal = field(init=False)
    eviction: Eviction = field(init=False)
    parts: Parts = field(init=False)
    _origins: dict[tuple[str, int], int] = field(default_factory=dict)
    _queues: dict[QueueKey, int] = field(default_factory=dict)
    damage: Damage = field(init=False)
    inserts: Inserts = field(init=False)
    erasures: Erasures = field(init=False)
    stagings: Stagings = field(init=False)
    _own: OwnNumbers = field(init=False)
    _leases: list[int] = field(default_factory=list)
    _new_origins: list[tuple[str, int]] = field(default_factory=list)
    _new_queues: list[QueueKey] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.seen = SeenNumbers(self.database)
        self.parts = Parts(self.database, self.quota)
        self.carried = Carried(self.database, (self.node_id, self.incarnation))
        self.fates = Fates(self.database)
        self.bursts = BurstNumbers(self.database, self.starts)
        self.counts = Counts(self.database, self.quota)
        self.removal = Removal(self.database, self.counts)
        self.eviction = Eviction(
            database=self.database,
            quota=self.quota,
            counts=self.counts,
            fates=self.fates,
            removal=self.removal,
            carried=self.carried,
            ages=self.ages,
            can_evict_waiting=self.can_evict_waiting,
        )
        self.damage = Damage(
            database=self.database,
            removal=self.removal,
            carried=self.carried,
            fates=self.fates,
            ages=self.ages,
        )
        self.inserts = Inserts(self.database)
        self.erasures = Erasures(
            database=self.database,
            counts=self.counts,
            removal=self.removal,
            carried=self.carried,
            fates=self.fates,
            ages=self.ages,
        )
        self.stagings = Stagings(self.database, self.parts.held, self.drop_part, self.ages.clock)
        self._load_leases()
        self._own = OwnNumbers(self._leases)
        self.load()
        self.measure()

    def load(self) -> None:
        """Take everything from the tables."""
        execute = self.database.execute
        self.fates.load()
        self.starts.load()
        self.bursts.load()
        self.carried.load()
        self._origins = {
            (source, to_unsigned(incarnation)): origin
            for origin, source, incarnation in execute("SELECT origin, source, incarnation FROM origins")
        }
        self._queues = {
            QueueKey(destination, Precedence(precedence), source, flow): queue
            for queue, destination, precedence, source, flow in execute("SELECT * FROM queues")
        }
        self.counts.load()
        self.removal.load()
        self._load_leases()
        self.parts.load({origin: name for name, origin in self._origins.items()})
        self.begin()

    def rollback(self) -> None:
        """The transaction was rolled back: take what it touched from the tables. O(what it touched), not O(rows)."""
        for name in self._new_origins:
            self._origins.pop(name, None)  # a rollback that could not read the tables is done again
        for queue in self._new_queues:
            self._queues.pop(queue, None)
        self.inserts.load()
        self.erasures.clear()
        self.seen.rollback()
        self._own.rollback()
        self.fates.rollback()
        self.eviction.rollback()
        self.removal.rollback()
        self.ages.beat_again()
        self.starts.load()
        self.bursts.load()
        self.carried.load()
        self.counts.load()
        self._load_leases()
        self.parts.load({origin: name for name, origin in self._origins.items()})
        self.begin()

    def _load_leases(self) -> None:
        self._leases = [0] * len(Precedence)
        for precedence, next_sequence in self.database.execute("SELECT precedence, next_sequence FROM leases"):
            self._leases[precedence] = next_sequence

    def measure(self) -> None:
        """No transaction is under way: take what the disk holds for what the store costs."""
        pages, free_pages = (self.database.execute(f"PRAGMA {name}").fetchone()[0] for name in _PAGE_COUNTS)
        self.quota.measure(pages, free_pages)

    def begin(self) -> None:
        """A transaction begins: nothing is removed or evicted in it yet."""
        self.removal.begin()
        self.eviction.begin()
        self.seen.begin()
        self._own.begin()
        self.fates.begin()
        self._new_origins.clear()
        self._new_queues.clear()

    def flush(self) -> None:
        """Carry out what was gathered, before anything looks at the tables of bundles and fates."""
        self.inserts.flush()
        self.erasures.flush()

    def finish(self) -> None:
        """The last statements of a transaction."""
        self.flush()
        self.seen.write()
        self.carried.write()
        self.fates.prune(is_short=self.quota.excess_bytes > 0)
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
            ((*names[origin], Precedence(precedence)), numbers) for (origin, precedence), numbers in self.seen.told()
        )

    def key(self, bundle: BundleId) -> RowKey:
        """A bundle's key in the tables; an origin met for the first time gets its number here."""
        source, incarnation, precedence, sequence = bundle
        name = (source, incarnation)
        origin = self._origins.get(name)
        if origin is None:
            origin = self.database.execute(
                "INSERT INTO origins (source, incarnation) VALUES (?, ?)", (source, to_signed(incarnation))
            ).lastrowid
            assert origin is not None  # an INSERT of one row always has one
            self._origins[name] = origin
            self._new_origins.append(name)
        return _new_tuple(RowKey, (origin, int(precedence), sequence))

    def find_key(self, bundle: BundleId) -> RowKey | None:
        """The key of a bundle that the tables may know; None when they cannot."""
        origin = self._origins.get((bundle.source, bundle.incarnation))
        if origin is None or not is_storable(bundle):
            return None
        return RowKey(origin, int(bundle.precedence), bundle.sequence)

    def is_stored(self, bundle: BundleId) -> bool:
        """Whether this bundle is or was durable here."""
        if self._is_own(bundle):
            return self._own.has(bundle.precedence, bundle.sequence)
        origin = self._origins.get((bundle.source, bundle.incarnation))
        return origin is not None and self.seen.has((origin, bundle.precedence), bundle.sequence)

    def close_numbers(self, effect: CloseNumbers) -> Outcome:
        """The source of these numbers will never send them."""
        origin, precedence, _ = self.key(BundleId(*effect.key, 0))
        for start, stop in effect.ranges:
            self.seen.close((origin, precedence), start, stop)
        return Done()

    def begin_carrying(self) -> tuple[BundleId, ...]:
        """An export begins; gives back the first names, by precedence, that are too late for it."""
        below = [self._own.next_sequence(precedence) for precedence in Precedence]
        self.carried.begin(below)
        return tuple(BundleId(self.node_id, self.incarnation, *each) for each in zip(Precedence, below, strict=True))

    def _is_own(self, bundle: BundleId) -> bool:
        return bundle.incarnation == self.incarnation and bundle.source == self.node_id

    def admit(self, bundle: BundleId, payload_bytes: int, origin: Origin) -> Failed | None:
        """None when a bundle may come in, perhaps because older ones went; else why not."""
        if self.quota.missing_bytes(payload_bytes, bundle.precedence, origin) <= 0:
            return None
        self.flush()
        self.stagings.make_room(lambda: self.quota.missing_bytes(payload_bytes, bundle.precedence, origin))
        return self.eviction.admit(bundle.precedence, payload_bytes, origin)

    def store(self, effect: Persist, digest: bytes | None = None) -> Outcome:
        """Insert a whole bundle; ``digest`` says that its payload is a file already. Twice is once."""
        record = effect.record
        assert record is not None  # pieces go to ``parts``
        bundle = record.id
        key = self.key(bundle)
        part = self._end_part(effect, key, is_file=digest is not None) if self.parts.held else None
        if part is None:  # else room was made when its first piece came
            origin, payload_bytes = record.header.origin, record.payload_bytes
            if self.quota.missing_bytes(payload_bytes, bundle.precedence, origin) > 0:
                refusal = Known() if self.is_stored(bundle) else self.admit(bundle, payload_bytes, origin)
                if refusal is not None:
                    return refusal
        if not self._close_number(bundle, key):
            return Known()
        self._insert(key, effect, record, digest)
        if effect.staged is not None:
            self.stagings.remember(effect.staged.part, bundle)
        return Done()

    def _end_part(self, effect: Persist, key: RowKey, *, is_file: bool) -> Part | None:
        """What came of a bundle in pieces, now that it is whole; None when nothing did."""
        bundle = effect.bundle
        staged = None if effect.staged is None else effect.staged.part
        part = self.parts.forget(bundle, key) if staged is None else self.parts.forget(staged, self.key(staged))
        if part is not None and not is_file:  # a row in the end: what came of it before goes with its ``.part``
            self.removal.files.append(bundle)
        return part

    def _close_number(self, bundle: BundleId, key: RowKey) -> bool:
        """The number of a bundle that is being stored is given away from now on; False when it was before."""
        if not self._is_own(bundle):
            return self.seen.add((key.origin, key.precedence), key.sequence)
        if not self._own.add(bundle.precedence, bundle.sequence):
            return False
        self._lease(bundle.precedence, bundle.sequence)
        return True

    def _insert(self, key: RowKey, effect: Persist, record: BundleRecord, digest: bytes | None) -> None:
        header, stored_ms = record.header, self.ages.now_ms()
        packed, payload_bytes = header.pack(), record.payload_bytes
        is_delivery = effect.is_arrival and header.destination in self.destinations
        queue = None if is_delivery else self._queue(record)
        row = _new_tuple(
            NewRow,
            (
                *key,
                queue,
                header.flow if is_delivery else None,
                payload_bytes,
                self.ages.boot,
                self.ages.boot_time(record.as_of_s),
                record.age_low_s,
                record.age_high_s,
                stored_ms,
                UNACKED if is_delivery else None,
                effect.peer if is_delivery else None,
                join_via(effect.via) if is_delivery else None,
                digest,
                packed,
            ),
        )
        self.inserts.add(row, effect.payload, is_inline=digest is None and payload_bytes <= INLINE_BYTES)
        if digest is not None:
            self.quota.add_file(payload_bytes)
        if queue is None:
            self.counts.change(key.precedence, _DELIVERED, 1, payload_bytes)
        else:
            self.counts.waiting(queue, key.precedence, 1, payload_bytes)
        if not effect.is_arrival and header.origin is _PERSON:
            self.fates.begin_message(key, packed, effect.payload, payload_bytes, stored_ms)

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

    def _lease(self, precedence: int, sequence: int) -> None:
        if sequence >= self._leases[precedence]:
            used = self._own.used(precedence)
            self.set_lease(precedence, sequence + max(LEASE_NUMBERS, min(used, LEASE_NUMBERS_MAX)))
            self.starts.rise()

    def set_lease(self, precedence: int, next_sequence: int) -> None:
        """The next start numbers from ``next_sequence``."""
        self._leases[precedence] = next_sequence
        self.database.execute("INSERT OR REPLACE INTO leases VALUES (?, ?)", (precedence, next_sequence))

    def return_leases(self) -> None:
        """A clean stop: the next start goes on without a hole."""
        for precedence, next_sequence in enumerate(self._leases):
            unused = self._own.next_sequence(precedence)
            if unused < next_sequence:
                self.set_lease(precedence, unused)

    def drop_part(self, bundle: BundleId) -> None:
        """Forget a part, if there is one; its file goes after the commit."""
        if self.parts.forget(bundle, self.find_key(bundle)) is not None:
            self.removal.files.append(bundle)

    def erase(self, effect: Erase) -> Outcome:
        """End custody. A delivery is never erased so: consumers and the quota decide on it."""
        if self.parts.held:
            for bundle in effect.bundles:
                self.drop_part(bundle)
        if effect.reason is EraseReason.PARTIAL_DROPPED:
            self.removal.files += [bundle for bundle in effect.bundles if not self.is_stored(bundle)]
            return Done()
        for (source, incarnation, precedence), bundles in groupby(effect.bundles, _NAME):
            origin = self._origins.get((source, incarnation))
            if origin is not None:
                self.erasures.add(origin, int(precedence), bundles, effect)
        return Done()

    def take_out_damaged(self, bundle: BundleId, files: PayloadFiles) -> None:
        """A bundle's bytes are not those that were stored: it is kept aside, and never sent or given out."""
        key = self.find_key(bundle)
        given_up = key and self.damage.take_out(bundle, key, files)
        if given_up is not None:
            self.eviction.evicted.append(given_up)

    def give_up_missing(self, bundle: BundleId) -> None:
        """The file of a large payload is gone, so its row promises nothing; its number stays closed."""
        key = self.key(bundle)
        found = self.database.execute(
            f"SELECT {STORED_COLUMNS} FROM bundles WHERE origin = ? AND precedence = ? AND sequence = ?", key
        ).fetchone()
        self.carried.give_up(bundle)
        self.removal.delete(bundle, Stored(*found))
