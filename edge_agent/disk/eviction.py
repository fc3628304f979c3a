"""Eviction: which bundles go when another one needs room, and in what order.

Settled deliveries first, lowest precedence and oldest first, those that a consumer has still to take after all others:
one that was away for a moment, as over a restart, finds them. Then, where somebody is told, bundles that wait here:
what has surely expired or was superseded; then classes lower than the one that asks, the lowest and its oldest first,
as far as a class holds more than its share; for FLASH and IMMEDIATE at last also below it. FLASH never goes, and a
bundle of ROUTINE or below pushes out nothing that somebody still wants: it is refused, and its driver told.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.core.bundle import BundleHeader, BundleId, FlowOrder, Origin, Precedence
from edge_agent.core.effects import EraseReason, Evicted, Failed, QueueKey
from edge_agent.core.errors import RefusalReason
from edge_agent.disk.ages import Ages
from edge_agent.disk.carried import Carried
from edge_agent.disk.counts import Counts, Kind
from edge_agent.disk.fates import Fates, RowKey, state_of
from edge_agent.disk.identity import to_unsigned
from edge_agent.disk.quota import ROW_BYTES, Quota
from edge_agent.disk.removal import STORED_COLUMNS, Removal, Stored
from edge_agent.disk.types import FateState

EVICT_ROWS = 64  # taken at a time while room is made
EVICT_ROWS_MAX = 2048  # in one transaction, so that FLASH behind it waits for less than 0.1 s
SCAN_ROWS = 20_000  # looked through at a time for one class: 5 ms
SCANS_MAX = 20  # in one transaction; where it stopped the next one goes on
DEAD_WAIT_S = 1.0  # after a look for expired and superseded ones that found none
WAITING_SHARES = {
    Precedence.IMMEDIATE: 0.3,
    Precedence.PRIORITY: 0.25,
    Precedence.ROUTINE: 0.2,
    Precedence.DEFERRED: 0.05,
}
"""Of the quota: what waits of a class up to here goes only for FLASH and IMMEDIATE."""


class _Victim(NamedTuple):
    """A row that may go."""

    bundle: BundleId
    key: RowKey
    stored: Stored
    stored_ms: int
    packed: bytes
    header: BundleHeader
    boot: int
    as_of_s: float
    age_low_s: float

    @property
    def charged_bytes(self) -> int:
        """What it gives back to the quota."""
        return self.stored.payload_bytes + ROW_BYTES


_VICTIMS = (
    "SELECT bundles.row, precedence, queue, receipt, payload_bytes, digest IS NOT NULL, bundles.origin, source,"
    " incarnation, sequence, stored_ms, header, boot, as_of_s, age_low_s"
    " FROM bundles {hint} JOIN origins ON origins.origin = bundles.origin"
)
assert STORED_COLUMNS.count(",") == 5  # the first six above
_SETTLED = f"{_VICTIMS.format(hint='')} WHERE receipt = 2 AND precedence = ? ORDER BY bundles.row LIMIT {EVICT_ROWS}"
_WAITING = (
    f"{_VICTIMS.format(hint='NOT INDEXED')} WHERE bundles.row > ? AND bundles.row <= ? AND precedence = ?"
    f" AND queue IS NOT NULL ORDER BY bundles.row LIMIT {EVICT_ROWS}"
)


@dataclass(slots=True, kw_only=True)
class Eviction:
    """Makes room in the transaction under way."""

    database: sqlite3.Connection
    quota: Quota
    counts: Counts
    fates: Fates
    removal: Removal
    carried: Carried
    ages: Ages
    can_evict_waiting: bool
    evicted: list[Evicted] = field(default_factory=list)
    """Waiting bundles given up in the transaction under way."""
    lacking: Callable[[Sequence[int]], set[int]] = lambda rows: set()
    """Which of these deliveries, by row, some consumer has still to take, attached or not."""
    _spares_lacking: bool = True
    """In the transaction under way; until it found nothing else to evict."""
    _evicted_rows: int = 0
    _scans: int = 0
    _floors: dict[int, int] = field(default_factory=dict)
    """By precedence: no row up to here waits. Rows only ever come above, so a class is looked through once."""
    _dead_s: float = float("-inf")

    def begin(self) -> None:
        """A transaction begins: nothing is evicted in it yet."""
        self.evicted, self._evicted_rows, self._scans, self._spares_lacking = [], 0, 0, True

    def rollback(self) -> None:
        """What was given up is there again."""
        self._floors.clear()
        self.begin()

    def admit(self, precedence: Precedence, payload_bytes: int, origin: Origin) -> Failed | None:
        """None when a bundle may come in, perhaps because others went; else why not."""

        def missing_bytes() -> int:
            return self.quota.missing_bytes(payload_bytes, precedence, origin)

        if missing_bytes() <= 0:
            return None
        steps: list[Callable[[int], None]] = [self._evict_settled]
        if self.can_evict_waiting:
            steps.append(self._evict_dead)
            lower = range(Precedence.DEFERRED, precedence, -1)
            if precedence <= Precedence.PRIORITY:
                steps.append(lambda missing: self._evict_waiting(missing, lower, keeps_shares=True))
            if precedence <= Precedence.IMMEDIATE:
                steps.append(lambda missing: self._evict_waiting(missing, lower, keeps_shares=False))
        for step in steps:
            step(missing_bytes())
            if missing_bytes() <= 0:
                return None
        is_call = precedence is Precedence.FLASH and origin is Origin.PERSON
        if is_call and missing_bytes() <= self.quota.excess_bytes:
            return None  # what else takes the disk does not silence a person
        limit_bytes = self.quota.limit_bytes(precedence, origin)
        return Failed(
            RefusalReason.STORE_FULL,
            f"{self.quota.taken_bytes} of {limit_bytes} bytes for {precedence.name} are used,"
            f" {payload_bytes} more are asked",
        )

    def _evict_settled(self, missing_bytes: int) -> None:
        """Delete settled deliveries, lowest precedence and oldest first; FLASH never."""
        if self._spares_lacking:
            missing_bytes = self._evict_deliveries(missing_bytes)
            self._spares_lacking = missing_bytes <= 0
        if missing_bytes > 0:
            self._evict_deliveries(missing_bytes)

    def _evict_deliveries(self, missing_bytes: int) -> int:
        """The same, without those that somebody lacks while these are spared; gives back what is still missing."""
        for precedence in range(Precedence.DEFERRED, Precedence.FLASH, -1):
            while missing_bytes > 0 and self._evicted_rows < EVICT_ROWS_MAX:
                found = [_victim(row) for row in self.database.execute(_SETTLED, (precedence,)).fetchall()]
                kept = self.lacking([each.stored.row for each in found]) if found and self._spares_lacking else set()
                victims = [each for each in found if each.stored.row not in kept]
                if not victims:
                    break  # newer ones are lacking too: cursors go by age
                for victim in victims:
                    self._remember(victim)
                    missing_bytes -= self._remove(victim)
                    if missing_bytes <= 0:
                        return missing_bytes
        return missing_bytes

    def _remember(self, victim: _Victim) -> None:
        """A delivery that goes was here: if it comes again by another way, its receipt can be given again."""
        if self.fates.knows(victim.key):
            return  # nobody took it, which "delivered" must not hide
        length, at_ms = victim.stored.payload_bytes, victim.stored_ms
        self.fates.close(victim.key, victim.packed, length, at_ms, FateState.DELIVERED, at_ms)

    def _evict_dead(self, missing_bytes: int) -> None:
        """Give up what has expired or was superseded, among the oldest of each class."""
        now_s = self.ages.clock.boottime_s()
        if now_s < self._dead_s + DEAD_WAIT_S:
            return
        has_found = False
        for precedence in range(Precedence.DEFERRED, Precedence.FLASH, -1):
            for victim in next(self._waiting(precedence), []):
                reason = self._why_dead(victim)
                if reason is not None:
                    has_found = True
                    missing_bytes -= self._give_up(victim, reason)
                    if missing_bytes <= 0:
                        return
        if not has_found:
            self._dead_s = now_s

    def _why_dead(self, victim: _Victim) -> EraseReason | None:
        aged = self.ages.read(victim.boot, victim.as_of_s, victim.age_low_s, victim.age_low_s)
        now_s = self.ages.clock.boottime_s() + self.ages.offset_s
        if aged.age_low_s + now_s - aged.as_of_s >= victim.header.lifetime_s:
            return EraseReason.EXPIRED
        if victim.header.order is FlowOrder.LATEST and self._is_superseded(victim):
            return EraseReason.SUPERSEDED
        return None

    def _is_superseded(self, victim: _Victim) -> bool:
        """Whether a newer one of its key waits in its queue, as far as the newest few tell."""
        newest = self.database.execute(
            "SELECT origin, sequence, header FROM bundles WHERE queue = ? ORDER BY origin DESC, sequence DESC LIMIT ?",
            (victim.stored.queue, EVICT_ROWS),
        )
        return any(
            (origin, sequence) > (victim.key.origin, victim.key.sequence)
            and BundleHeader.unpack(packed).key == victim.header.key
            for origin, sequence, packed in newest
        )

    def _evict_waiting(self, missing_bytes: int, precedences: range, *, keeps_shares: bool) -> None:
        """Give up waiting bundles of these classes, oldest first; their sources learn it from ``evicted``."""
        for precedence in precedences:
            kept_bytes = int(self.quota.quota_bytes * WAITING_SHARES[Precedence(precedence)]) if keeps_shares else 0
            held = self.counts.usage[precedence, Kind.WAITING]
            for victims in self._waiting(precedence):
                for victim in victims:
                    if held.charged_bytes <= kept_bytes:
                        break
                    missing_bytes -= self._give_up(victim, EraseReason.EVICTED)
                    if missing_bytes <= 0:
                        return
                if held.charged_bytes <= kept_bytes:
                    break

    def _waiting(self, precedence: int) -> Iterator[list[_Victim]]:
        """What waits of a class, oldest first, in steps; ends with the rows, or with what one transaction may take."""
        last = self.database.execute("SELECT max(row) FROM bundles").fetchone()[0] or 0
        floor = self._floors.get(precedence, 0)
        is_at_floor = True
        while self.counts.usage[precedence, Kind.WAITING].bundles and floor < last:
            if self._scans >= SCANS_MAX or self._evicted_rows >= EVICT_ROWS_MAX:
                return
            top = min(last, floor + SCAN_ROWS)
            found = [_victim(row) for row in self.database.execute(_WAITING, (floor, top, precedence)).fetchall()]
            self._scans += not found
            if is_at_floor:
                self._floors[precedence] = found[0].stored.row - 1 if found else top
                is_at_floor = not found
            floor = found[-1].stored.row if len(found) == EVICT_ROWS else top
            if found:
                yield found

    def _give_up(self, victim: _Victim, reason: EraseReason) -> int:
        """A waiting bundle goes: its fate says why, and the core is told."""
        bundle, header, payload_bytes = victim.bundle, victim.header, victim.stored.payload_bytes
        now_ms = self.ages.now_ms()
        self.fates.close(victim.key, victim.packed, payload_bytes, victim.stored_ms, state_of(reason), now_ms)
        queue = QueueKey(header.destination, bundle.precedence, bundle.source, header.flow)
        self.evicted.append(Evicted(bundle, queue, payload_bytes, reason))
        if reason is not EraseReason.EXPIRED:
            self.carried.give_up(bundle)
        return self._remove(victim)

    def _remove(self, victim: _Victim) -> int:
        self.removal.delete(victim.bundle, victim.stored)
        self._evicted_rows += 1
        return victim.charged_bytes


def _victim(row: tuple[int, int, int, int, int, int, int, str, int, int, int, bytes, int, float, float]) -> _Victim:
    origin, source, incarnation, sequence, stored_ms, packed, boot, as_of_s, age_low_s = row[6:]
    stored = Stored(*row[:6])
    return _Victim(
        BundleId(source, to_unsigned(incarnation), Precedence(stored.precedence), sequence),
        RowKey(origin, stored.precedence, sequence),
        stored,
        stored_ms,
        packed,
        BundleHeader.unpack(packed),
        boot,
        as_of_s,
        age_low_s,
    )
