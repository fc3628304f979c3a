"""Numbers of bundles that were durable here once, or that their source will never send: nothing is given out twice.

Bounded: of each source, incarnation and precedence the highest ranges are in memory. What lies below is known to the
store alone, which completes a repeat with Known; that costs a write of the bundle, and never a second delivery.
"""

from collections.abc import Iterable

from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.intervals import IntervalSet

RANGES_MAX = 1024
"""Holes of one source and precedence: numbers skipped by its restarts, and bundles that go another way."""

ClosedKey = tuple[str, int, Precedence]
"""(source, incarnation, precedence)"""


class ClosedNumbers:
    """What is remembered of closed numbers; the sets stay its own."""

    def __init__(self, restored: Iterable[tuple[ClosedKey, IntervalSet]]) -> None:
        self._closed: dict[ClosedKey, IntervalSet] = {}
        for key, known in restored:
            self._closed[key] = known.copy()
            _bound(self._closed[key])

    def __contains__(self, bundle: BundleId) -> bool:
        known = self._closed.get((bundle.source, bundle.incarnation, bundle.precedence))
        return known is not None and bundle.sequence in known

    def __len__(self) -> int:
        """Ranges in memory, of all sources."""
        return sum(map(len, self._closed.values()))

    def close(self, key: ClosedKey, start: int, end: int) -> None:
        """Numbers [start, end) of a source are closed."""
        known = self._closed.get(key)
        if known is None:
            known = self._closed[key] = IntervalSet()
        known.add(start, end)
        _bound(known)


def _bound(known: IntervalSet) -> None:
    while len(known) > RANGES_MAX:
        known.remove(*known.first_range())
