"""When bundles in memory expire, soonest first, in memory bounded by how many there are."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from edge_agent.core.bundle import BundleId, BundleRecord
from edge_agent.core.outgoing import Outgoing

SPARE_ENTRIES = 64
"""Entries of ended bundles that are kept in any case: sweeping fewer would cost more than it frees."""
BUCKET_S = 1.0
"""Bundles that expire in the same second share a place in the heap: most come in many, and end otherwise."""


@dataclass(slots=True)
class _Bucket:
    """Bundles of one second, in no order."""

    soonest_s: float
    entries: list[tuple[float, BundleId]] = field(default_factory=list)


@dataclass(slots=True)
class Expiries:
    """Buckets over ``bundles``; entries of those that ended otherwise are skipped, and swept when they are the most."""

    bundles: Mapping[BundleId, Outgoing]
    _buckets: dict[int, _Bucket] = field(default_factory=dict)
    _order: list[int] = field(default_factory=list)
    """A heap of the keys of ``_buckets``."""
    _entries: int = 0

    def __len__(self) -> int:
        return self._entries

    def add(self, record: BundleRecord) -> None:
        """A bundle came into ``bundles``. O(1), O(log buckets) in a new second, now and then O(n)."""
        self._put(expires_s(record), record.id)
        if self._entries > 2 * len(self.bundles) + SPARE_ENTRIES:
            self._buckets.clear()
            self._order.clear()
            self._entries = 0
            for bundle, each in self.bundles.items():
                self._put(expires_s(each.record), bundle)

    def _put(self, due_s: float, bundle: BundleId) -> None:
        key = int(due_s // BUCKET_S)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(due_s)
            heapq.heappush(self._order, key)
        elif due_s < bucket.soonest_s:
            bucket.soonest_s = due_s
        bucket.entries.append((due_s, bundle))
        self._entries += 1

    def take_due(self, now_s: float) -> Iterator[Outgoing]:
        """Bundles that are surely too old, each once, soonest first."""
        while self._order and self._buckets[self._order[0]].soonest_s <= now_s:
            entries = sorted(self._buckets.pop(heapq.heappop(self._order)).entries)
            self._entries -= len(entries)
            for due_s, bundle in entries:
                outgoing = self.bundles.get(bundle)
                if outgoing is None:
                    continue
                if due_s <= now_s:
                    yield outgoing
                else:
                    self._put(due_s, bundle)

    def next_s(self) -> float | None:
        """When ``take_due`` has something at the soonest; None for never."""
        return self._buckets[self._order[0]].soonest_s if self._order and self.bundles else None


def expires_s(record: BundleRecord) -> float:
    """When the lifetime has surely passed, on this process's monotonic clock."""
    return record.as_of_s - record.age_low_s + record.header.lifetime_s
