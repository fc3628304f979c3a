"""Counts: what waits and what is used, kept in rows with the bundles they count, so that a start counts nothing.

Changes gather in memory and are written once for each queue touched, in the transaction that made them.
"""

import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from enum import IntEnum

from edge_agent.core.bundle import Precedence
from edge_agent.disk.quota import ROW_BYTES, Quota


class Kind(IntEnum):
    """What a row is to the quota. The value is in the tables."""

    WAITING = 0
    DELIVERED = 1
    SETTLED = 2


_WAITING, _SETTLED, _FLASH = Kind.WAITING, Kind.SETTLED, Precedence.FLASH  # a member of an enum is slow to look up


@dataclass(slots=True)
class Tally:
    """A number of bundles and the bytes of their payloads."""

    bundles: int = 0
    payload_bytes: int = 0

    @property
    def charged_bytes(self) -> int:
        """What they take of the quota."""
        return self.payload_bytes + self.bundles * ROW_BYTES


@dataclass(slots=True)
class Counts:
    """The writer's side; every call is part of the transaction under way."""

    database: sqlite3.Connection
    quota: Quota
    usage: dict[tuple[int, Kind], Tally] = field(default_factory=dict)
    """By precedence and kind, with what the transaction under way has changed."""
    _queues: defaultdict[int, Tally] = field(default_factory=lambda: defaultdict(Tally))
    _touched: set[tuple[int, Kind]] = field(default_factory=set)

    def load(self) -> None:
        """Take the table as it is; what was not written is forgotten (a transaction was rolled back)."""
        self._queues.clear()
        self._touched.clear()
        self.usage = {(precedence, kind): Tally() for precedence in Precedence for kind in Kind}
        for precedence, kind, bundles, payload_bytes in self.database.execute("SELECT * FROM usage"):
            self.usage[precedence, Kind(kind)] = Tally(bundles, payload_bytes)
        self.quota.used_bytes = sum(tally.charged_bytes for tally in self.usage.values())
        self.quota.evictable_bytes = sum(
            tally.charged_bytes for (precedence, kind), tally in self.usage.items() if _is_evictable(precedence, kind)
        )

    def waiting(self, queue: int, precedence: int, bundles: int, payload_bytes: int) -> None:
        """So many more wait in a queue; fewer, where the figures are negative."""
        tally = self._queues[queue]
        tally.bundles += bundles
        tally.payload_bytes += payload_bytes
        self.change(precedence, _WAITING, bundles, payload_bytes)

    def change(self, precedence: int, kind: Kind, bundles: int, payload_bytes: int) -> None:
        """So many more, or fewer, of one kind."""
        tally = self.usage[precedence, kind]
        tally.bundles += bundles
        tally.payload_bytes += payload_bytes
        self._touched.add((precedence, kind))
        charged_bytes = payload_bytes + bundles * ROW_BYTES
        self.quota.used_bytes += charged_bytes
        if _is_evictable(precedence, kind):
            self.quota.evictable_bytes += charged_bytes

    def write(self) -> None:
        """Write what changed: one statement for each queue and kind."""
        for queue, tally in self._queues.items():
            if tally.bundles or tally.payload_bytes:
                self.database.execute(
                    "INSERT INTO counts VALUES (?, ?, ?) ON CONFLICT (queue) DO UPDATE SET"
                    " bundles = bundles + excluded.bundles, payload_bytes = payload_bytes + excluded.payload_bytes",
                    (queue, tally.bundles, tally.payload_bytes),
                )
        self._queues.clear()
        for precedence, kind in self._touched:
            tally = self.usage[precedence, kind]
            self.database.execute(
                "INSERT OR REPLACE INTO usage VALUES (?, ?, ?, ?)",
                (precedence, int(kind), tally.bundles, tally.payload_bytes),
            )
        self._touched.clear()


def _is_evictable(precedence: int, kind: Kind) -> bool:
    return kind is _SETTLED and precedence > _FLASH


def miscounts(database: sqlite3.Connection) -> list[str]:
    """Where the counters differ from the rows; empty when they agree. O(rows)."""
    waits = (
        "SELECT queue, count(*), sum(payload_bytes) FROM bundles WHERE queue IS NOT NULL GROUP BY queue",
        "SELECT queue, bundles, payload_bytes FROM counts WHERE bundles OR payload_bytes",
    )
    kind = "CASE WHEN queue IS NOT NULL THEN 0 WHEN receipt = 2 THEN 2 ELSE 1 END"
    uses = (
        f"SELECT precedence, {kind}, count(*), sum(payload_bytes) FROM bundles GROUP BY 1, 2",
        "SELECT precedence, kind, bundles, payload_bytes FROM usage WHERE bundles OR payload_bytes",
    )
    found = []
    for name, (rows, counters) in (("counts", waits), ("usage", uses)):
        is_, said = set(database.execute(rows)), set(database.execute(counters))
        if is_ != said:
            found.append(f"{name}: the rows give {sorted(is_ - said)[:3]}, the counters {sorted(said - is_)[:3]}")
    return found
