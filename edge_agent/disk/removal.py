"""Removal: a bundle's row, its body and its file go together, the file once the transaction is durable."""

import sqlite3
from dataclasses import dataclass, field

from edge_agent.core.bundle import BundleId
from edge_agent.disk.quota import ROW_BYTES, Quota

INLINE_BYTES = 1024  # a body of this size keeps its row on one page


@dataclass(slots=True)
class Removal:
    """The deletions of the transaction under way."""

    database: sqlite3.Connection
    quota: Quota
    files: list[BundleId] = field(default_factory=list)
    """Bundles whose files are to be deleted once the transaction is durable."""

    def begin(self) -> None:
        """A transaction begins: nothing is removed in it yet."""
        self.files = []

    def delete(self, row: int, bundle: BundleId, payload_bytes: int, *, is_file: bool) -> None:
        """Delete a bundle's row and body; its file goes after the commit."""
        self.database.execute("DELETE FROM bundles WHERE row = ?", (row,))
        self.quota.used_bytes -= payload_bytes + ROW_BYTES
        if is_file:
            self.files.append(bundle)
        elif payload_bytes > INLINE_BYTES:
            self.database.execute("DELETE FROM bodies WHERE row = ?", (row,))
