"""Eviction: which bundles go when a more urgent one needs room, and in what order.

Settled deliveries first, lowest precedence and oldest first; then, where somebody is told, waiting DEFERRED and ROUTINE
bundles. FLASH never.
"""

import sqlite3
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.core.bundle import BundleHeader, BundleId, Origin, Precedence
from edge_agent.core.effects import Evicted, Failed, QueueKey
from edge_agent.core.errors import RefusalReason
from edge_agent.disk.fates import Fates, RowKey
from edge_agent.disk.identity import to_unsigned
from edge_agent.disk.quota import ROW_BYTES, Quota
from edge_agent.disk.removal import STORED_COLUMNS, Removal, Stored
from edge_agent.disk.types import DiskClock, FateState

EVICT_ROWS = 64  # taken at a time while room is made
EVICT_ROWS_MAX = 2048  # in one transaction, so that FLASH behind it waits for less than 0.1 s


class _Victim(NamedTuple):
    """A row that may go."""

    bundle: BundleId
    key: RowKey
    stored: Stored
    stored_ms: int
    header: bytes

    def told(self) -> Evicted:
        """What the core learns of it."""
        bundle, header = self.bundle, BundleHeader.unpack(self.header)
        queue = QueueKey(header.destination, bundle.precedence, bundle.source, header.flow)
        return Evicted(bundle, queue, self.stored.payload_bytes)


_VICTIMS = (
    f"SELECT {STORED_COLUMNS}, bundles.origin, source, incarnation, sequence, stored_ms, header"
    " FROM bundles JOIN origins ON origins.origin = bundles.origin"
)


@dataclass(slots=True, kw_only=True)
class Eviction:
    """Makes room in the transaction under way."""

    database: sqlite3.Connection
    quota: Quota
    fates: Fates
    removal: Removal
    clock: DiskClock
    can_evict_waiting: bool
    evicted: list[Evicted] = field(default_factory=list)
    """Waiting bundles given up in the transaction under way."""
    _evicted_rows: int = 0

    def begin(self) -> None:
        """A transaction begins: nothing is evicted in it yet."""
        self.evicted, self._evicted_rows = [], 0

    def admit(self, precedence: Precedence, payload_bytes: int, origin: Origin) -> Failed | None:
        """None when a bundle may come in, perhaps because older ones went; else why not."""
        quota = self.quota
        missing_bytes = quota.missing_bytes(payload_bytes, precedence, origin)
        if missing_bytes > 0:
            self._evict_settled(missing_bytes)
            missing_bytes = quota.missing_bytes(payload_bytes, precedence, origin)
        if missing_bytes > 0 and self.can_evict_waiting and precedence <= Precedence.PRIORITY:
            self._evict_waiting(missing_bytes)
            missing_bytes = quota.missing_bytes(payload_bytes, precedence, origin)
        if missing_bytes <= 0:
            return None
        limit_bytes = quota.limit_bytes(precedence, origin)
        return Failed(
            RefusalReason.STORE_FULL,
            f"{quota.used_bytes} of {limit_bytes} bytes for {precedence.name} are used, {payload_bytes} more are asked",
        )

    def _evict_settled(self, missing_bytes: int) -> None:
        """Delete settled deliveries, lowest precedence and oldest first; FLASH never."""
        for precedence in range(Precedence.DEFERRED, Precedence.FLASH, -1):
            while missing_bytes > 0 and self._evicted_rows < EVICT_ROWS_MAX:
                found = self._victims("receipt = 2 AND precedence = ?", precedence)
                if not found:
                    break
                for victim in found:
                    missing_bytes -= self._evict(victim)
                    if missing_bytes <= 0:
                        return

    def _evict_waiting(self, missing_bytes: int) -> None:
        """Give up waiting DEFERRED, then ROUTINE bundles, oldest first; the source learns it from ``evicted``."""
        for precedence in (Precedence.DEFERRED, Precedence.ROUTINE):
            while missing_bytes > 0 and self._evicted_rows < EVICT_ROWS_MAX:
                found = self._victims("precedence = ? AND queue IS NOT NULL", precedence)
                if not found:
                    break
                for victim in found:
                    self.fates.close(
                        victim.key,
                        victim.header,
                        victim.stored.payload_bytes,
                        victim.stored_ms,
                        FateState.EVICTED,
                        self.clock.wall_ms(),
                    )
                    missing_bytes -= self._evict(victim)
                    self.evicted.append(victim.told())
                    if missing_bytes <= 0:
                        return

    def _victims(self, where: str, precedence: int) -> list[_Victim]:
        found = self.database.execute(f"{_VICTIMS} WHERE {where} ORDER BY row LIMIT ?", (precedence, EVICT_ROWS))
        victims = []
        for *columns, origin, source, incarnation, sequence, stored_ms, header in found:
            stored = Stored(*columns)
            bundle = BundleId(source, to_unsigned(incarnation), Precedence(precedence), sequence)
            victims.append(_Victim(bundle, RowKey(origin, precedence, sequence), stored, stored_ms, header))
        return victims

    def _evict(self, victim: _Victim) -> int:
        self.removal.delete(victim.bundle, victim.stored)
        self._evicted_rows += 1
        return victim.stored.payload_bytes + ROW_BYTES
