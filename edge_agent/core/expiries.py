"""When bundles in memory expire, soonest first, in memory bounded by how many there are."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from edge_agent.core.bundle import BundleId, BundleRecord
from edge_agent.core.outgoing import Outgoing

SPARE_ENTRIES = 64
"""Entries of ended bundles that are kept in any case: sweeping fewer would cost more than it frees."""


@dataclass(slots=True)
class Expiries:
    """A heap over ``bundles``; entries of those that ended otherwise are skipped, and swept when they are the most."""

    bundles: Mapping[BundleId, Outgoing]
    _heap: list[tuple[float, BundleId]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, record: BundleRecord) -> None:
        """A bundle came into ``bundles``. O(log n), now and then O(n)."""
        heapq.heappush(self._heap, (expires_s(record), record.id))
        if len(self._heap) > 2 * len(self.bundles) + SPARE_ENTRIES:
            self._heap = [(expires_s(each.record), bundle) for bundle, each in self.bundles.items()]
            heapq.heapify(self._heap)

    def take_due(self, now_s: float) -> Iterator[Outgoing]:
        """Bundles that are surely too old, each once."""
        while self._heap and self._heap[0][0] <= now_s:
            outgoing = self.bundles.get(heapq.heappop(self._heap)[1])
            if outgoing is not None:
                yield outgoing

    def next_s(self) -> float | None:
        """When ``take_due`` has something; None for never."""
        while self._heap and self._heap[0][1] not in self.bundles:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None


def expires_s(record: BundleRecord) -> float:
    """When the lifetime has surely passed, on this process's monotonic clock."""
    return record.as_of_s - record.age_low_s + record.header.lifetime_s
