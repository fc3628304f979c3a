"""Which place a waiting bundle has in its queue, counted in the index: for people who ask why."""

import sqlite3

from edge_agent.core.bundle import BundleHeader, BundleId, FlowOrder
from edge_agent.disk.identity import to_signed
from edge_agent.disk.types import is_storable

PLACE_MAX = 100_000
"""Rows counted at most: about 5 ms of the one reader, who has links to serve."""


def read_place(database: sqlite3.Connection, bundle: BundleId) -> int | None:
    """How many rows of its queue go before a waiting bundle, at most PLACE_MAX; None: it does not wait here."""
    if not is_storable(bundle):
        return None
    found = database.execute(
        "SELECT queue, bundles.origin, header FROM bundles JOIN origins ON origins.origin = bundles.origin"
        " WHERE source = ? AND incarnation = ? AND precedence = ? AND sequence = ? AND queue IS NOT NULL",
        (bundle.source, to_signed(bundle.incarnation), int(bundle.precedence), bundle.sequence),
    ).fetchone()
    if found is None:
        return None
    queue, origin, header = found
    before = "<" if BundleHeader.unpack(header).order is FlowOrder.FIFO else ">"
    counted = database.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM bundles WHERE queue = ? AND (origin, sequence) {before} (?, ?) LIMIT ?)",
        (queue, origin, bundle.sequence, PLACE_MAX),
    ).fetchone()
    return int(counted[0])
