"""Numbers of bundles that were durable here once, or that their source will never send: nothing is given out twice.

Bounded: of each source, incarnation and precedence the highest ranges are in memory. What lies below is known to the
store alone, which completes a repeat with Known; that costs a write of the bundle, and never a second delivery.
Ranges beyond a few are a reason to ask the source which of the holes between them stay holes (``closing``).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.core.blocks import Control
from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.intervals import IntervalSet

RANGES_MAX = 1024
"""Holes of one source and precedence: numbers skipped by its restarts, and bundles that go another way."""
ASK_RANGES = 128
"""So many ranges of one key are worth a question of 20 bytes and its answer."""
ASK_WAIT_S = 10.0
"""Between two questions; twice as long after each that had no answer (an older program), up to an hour."""
ASK_WAIT_MAX_S = 3600.0
ANSWER_WORTH = 8
"""So many ranges less, and the next question may follow at once: an answer that is cut short holds about a dozen."""

QUESTION_KIND = 6
"""CONTROL [6, incarnation, precedence, start, stop]: which of these numbers of yours may still come?"""

ClosedKey = tuple[str, int, Precedence]
"""(source, incarnation, precedence)"""


@dataclass(slots=True)
class _Known:
    """What is known of one key, and what its source is asked."""

    ranges: IntervalSet
    ask_at: int
    """How many ranges are a reason to ask; RANGES_MAX at the most."""
    wait_s: float
    asked_s: float = -math.inf
    asked_at: int = 0
    """How many ranges there were then."""
    start: int = 0
    """Where the next question begins: an answer that was cut short went up to here."""


class ClosedNumbers:
    """What is remembered of closed numbers; the sets stay its own."""

    def __init__(self, restored: Iterable[tuple[ClosedKey, IntervalSet]]) -> None:
        self._known: dict[ClosedKey, _Known] = {}
        for key, ranges in restored:
            self._known[key] = _Known(_bounded(ranges.copy()), ASK_RANGES, ASK_WAIT_S)

    def __contains__(self, bundle: BundleId) -> bool:
        known = self._known.get((bundle.source, bundle.incarnation, bundle.precedence))
        return known is not None and bundle.sequence in known.ranges

    def __len__(self) -> int:
        """Ranges in memory, of all sources."""
        return sum(len(known.ranges) for known in self._known.values())

    def ranges(self) -> dict[ClosedKey, IntervalSet]:
        """What is closed, by key."""
        return {key: known.ranges for key, known in self._known.items()}

    def close(self, key: ClosedKey, start: int, end: int) -> bool:
        """Numbers [start, end) of a source are closed; whether there are so many holes that it may be asked."""
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(IntervalSet(), ASK_RANGES, ASK_WAIT_S)
        known.ranges.add(start, end)
        return len(known.ranges) >= known.ask_at and len(_bounded(known.ranges)) >= known.ask_at

    def question(self, key: ClosedKey, now_s: float) -> Control | None:
        """What its source is to be asked now; None while the last question may do."""
        known = self._known[key]
        if now_s < known.asked_s + known.wait_s:
            return None
        first, stop = known.ranges.first_range(), known.ranges.last_range()[0]
        start = max(known.start, first[1] if first[0] == 0 else 0)
        if start >= stop:
            return None
        if known.asked_s > -math.inf:
            known.wait_s = min(2 * known.wait_s, ASK_WAIT_MAX_S)
        known.asked_s, known.asked_at = now_s, len(known.ranges)
        return Control([QUESTION_KIND, key[1], int(key[2]), start, stop])

    def note_answer(self, key: ClosedKey, stop: int) -> None:
        """The source has said all of its numbers below ``stop``: the next question goes on there, or waits for more."""
        known = self._known.get(key)
        if known is None:
            return
        known.wait_s, ranges = ASK_WAIT_S, known.ranges
        if len(ranges) + ANSWER_WORTH <= known.asked_at:
            known.asked_s = -math.inf
        is_through = not ranges or stop >= ranges.last_range()[0]
        known.start = 0 if is_through else stop
        if is_through:  # what is left are holes that may be filled yet
            known.ask_at = min(max(ASK_RANGES, 2 * len(ranges)), RANGES_MAX)


def _bounded(ranges: IntervalSet) -> IntervalSet:
    while len(ranges) > RANGES_MAX:
        ranges.remove(*ranges.first_range())
    return ranges
