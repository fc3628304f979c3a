"""Removal: a bundle's row, its body, its place in the counts and its file go together, the file after the commit."""

import sqlite3
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.core.bundle import BundleId
from edge_agent.disk.counts import Counts, Kind
from edge_agent.disk.quota import BLOCK_BYTES

INLINE_BYTES = 1024  # a body of this size keeps its row on one page


class Stored(NamedTuple):
    """What is to be known of a row that goes: columns ``STORED_COLUMNS`` of bundles."""

    row: int
    precedence: int
    queue: int | None
    receipt: int | None
    payload_bytes: int
    is_file: int


STORED_COLUMNS = "row, precedence, queue, receipt, payload_bytes, digest IS NOT NULL"


@dataclass(slots=True)
class Removal:
    """The deletions of the transaction under way."""

    database: sqlite3.Connection
    counts: Counts
    files: list[BundleId] = field(default_factory=list)
    """Bundles whose files are to be deleted once the transaction is durable."""
    _file_bytes: int = 0

    def begin(self) -> None:
        """A transaction begins: nothing is removed in it yet."""
        self.files, self._file_bytes = [], self.counts.quota.file_bytes

    def rollback(self) -> None:
        """It was rolled back: the files are there as before."""
        self.counts.quota.file_bytes = self._file_bytes

    def load(self) -> None:
        """Add up what the payload files take. O(files)."""
        (self.counts.quota.file_bytes,) = self.database.execute(
            f"SELECT coalesce(sum((payload_bytes + {BLOCK_BYTES - 1}) / {BLOCK_BYTES}), 0) * {BLOCK_BYTES}"
            " FROM bundles WHERE digest IS NOT NULL"
        ).fetchone()

    def delete(self, bundle: BundleId, stored: Stored) -> None:
        """Delete a bundle's row and body; its file goes after the commit."""
        self.database.execute("DELETE FROM bundles WHERE row = ?", (stored.row,))
        if stored.queue is not None:
            self.counts.waiting(stored.queue, stored.precedence, -1, -stored.payload_bytes)
        else:
            kind = Kind.SETTLED if stored.receipt == 2 else Kind.DELIVERED
            self.counts.change(stored.precedence, kind, -1, -stored.payload_bytes)
        if stored.is_file:
            self.counts.quota.drop_file(stored.payload_bytes)
            self.files.append(bundle)
        elif stored.payload_bytes > INLINE_BYTES:
            self.database.execute("DELETE FROM bodies WHERE row = ?", (stored.row,))
