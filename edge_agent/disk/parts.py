"""Parts: large bundles that have arrived in part, which ranges of each are synced, and the room kept for them."""

import sqlite3
from dataclasses import dataclass, field

import msgpack

from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.intervals import IntervalSet
from edge_agent.disk.fates import RowKey
from edge_agent.disk.quota import Quota

_IS_KEY = "origin = ? AND precedence = ? AND sequence = ?"


@dataclass(slots=True)
class Part:
    """A large bundle that has arrived in part: its declared length and what was synced."""

    payload_bytes: int
    ranges: IntervalSet = field(default_factory=IntervalSet)

    @property
    def missing_bytes(self) -> int:
        """What is still to come."""
        return self.payload_bytes - self.ranges.total


@dataclass(slots=True)
class Parts:
    """The writer's side; every call is part of the transaction under way."""

    database: sqlite3.Connection
    quota: Quota
    held: dict[BundleId, Part] = field(default_factory=dict)

    def load(self, names: dict[int, tuple[str, int]]) -> None:
        """Take the table as it is. ``names`` are the origins. The counts were loaded before."""
        self.held.clear()
        self.quota.part_bytes = 0
        for origin, precedence, sequence, payload_bytes, ranges in self.database.execute("SELECT * FROM parts"):
            bundle = BundleId(*names[origin], Precedence(precedence), sequence)
            self._hold(bundle, Part(payload_bytes, IntervalSet(msgpack.unpackb(ranges))))

    def open(self, bundle: BundleId, payload_bytes: int) -> Part:
        """A new part, in memory; its row comes with its first piece. Room is taken for all of it at once."""
        part = Part(payload_bytes)
        self._hold(bundle, part)
        return part

    def write(self, bundle: BundleId, key: RowKey) -> None:
        """Note which ranges of a ``.part`` are synced."""
        part = self.held[bundle]
        values = (*key, part.payload_bytes, msgpack.packb(list(part.ranges)))
        self.database.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?)", values)

    def forget(self, bundle: BundleId, key: RowKey | None) -> Part | None:
        """Take a part out, if there is one: it is whole, or nobody wants it. Its file is the caller's matter."""
        part = self.held.pop(bundle, None)
        if part is not None:
            self.quota.end_part(part.payload_bytes)
            if key is not None:  # else no row has its name yet
                self.database.execute(f"DELETE FROM parts WHERE {_IS_KEY}", key)
        return part

    def _hold(self, bundle: BundleId, part: Part) -> None:
        self.held[bundle] = part
        self.quota.begin_part(part.payload_bytes)
