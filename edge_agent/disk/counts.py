"""Counts: how many bytes the rows of a store take, found from the tables."""

import sqlite3

from edge_agent.disk.quota import ROW_BYTES, Quota


def count_bytes(database: sqlite3.Connection, quota: Quota) -> None:
    """Set what is used and what may be evicted to what the rows say. O(rows)."""
    used, evictable = "SELECT count(*), coalesce(sum(payload_bytes), 0) FROM bundles", " WHERE receipt = 2"
    rows, payload_bytes = database.execute(used).fetchone()
    quota.used_bytes = payload_bytes + ROW_BYTES * rows
    rows, payload_bytes = database.execute(f"{used}{evictable} AND precedence > 0").fetchone()
    quota.evictable_bytes = payload_bytes + ROW_BYTES * rows
