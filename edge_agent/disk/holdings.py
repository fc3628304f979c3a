"""The largest bundles that wait here, by name: so that command can ask for one of them, or do without it."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.effects import QueueKey
from edge_agent.core.report import QueueReport
from edge_agent.disk.identity import to_unsigned

QUEUE_BUNDLES_MAX = 2_000
"""A longer queue is not searched: its rows are small ones, or too many to read for a report."""
QUEUES_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBundle:
    """One bundle that waits; ``stored_ms`` is UTC by this machine's clock."""

    bundle: BundleId
    flow: str
    payload_bytes: int
    stored_ms: int


def promising(queues: Iterable[QueueReport]) -> list[QueueKey]:
    """The queues that may hold the largest bundles and can be searched in a few milliseconds."""
    short = [queue for queue in queues if 0 < queue.bundles <= QUEUE_BUNDLES_MAX]
    short.sort(key=lambda queue: queue.payload_bytes / queue.bundles, reverse=True)
    return [queue.queue for queue in short[:QUEUES_MAX]]


def read_largest(database: sqlite3.Connection, queues: Sequence[QueueKey], limit: int) -> list[HeldBundle]:
    """The ``limit`` largest bundles of these queues, largest first. O(rows of these queues)."""
    found: list[HeldBundle] = []
    for queue in queues:
        rows = database.execute(
            "SELECT source, incarnation, precedence, sequence, payload_bytes, stored_ms FROM bundles"
            " JOIN origins ON origins.origin = bundles.origin WHERE queue ="
            " (SELECT queue FROM queues WHERE destination = ? AND precedence = ? AND source = ? AND flow = ?)"
            " ORDER BY payload_bytes DESC LIMIT ?",
            (queue.destination, int(queue.precedence), queue.source, queue.flow, limit),
        )
        for source, incarnation, precedence, sequence, payload_bytes, stored_ms in rows:
            bundle = BundleId(source, to_unsigned(incarnation), Precedence(precedence), sequence)
            found.append(HeldBundle(bundle=bundle, flow=queue.flow, payload_bytes=payload_bytes, stored_ms=stored_ms))
    return sorted(found, key=lambda held: held.payload_bytes, reverse=True)[:limit]
