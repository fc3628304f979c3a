"""A unit's last outages: which of their moments are told by now, by what came in late.

Times are UTC milliseconds by this node's clock.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

BINS_MAX = 360
"""A gap of a day in steps of 4 min: finer than the bar's pixels."""
JOINED_BINS = 3.0
"""Samples of one batch that are this close tell what lies between: as many intervals as count as contact."""

Json = dict[str, Any]  # Any: JSON


@dataclass(slots=True, kw_only=True)
class Gap:
    """The silent time ``from_ms`` to ``to_ms`` in intervals of ``bin_ms``; ``filled`` are the numbers of those told."""

    from_ms: int
    to_ms: int
    bin_ms: int
    filled: list[int] = field(default_factory=list)
    filled_at_ms: int = 0

    @classmethod
    def between(cls, from_ms: int, to_ms: int, due_s: float) -> "Gap":
        """An outage that nothing has filled. The intervals are the unit's own, longer in a long outage."""
        bin_ms = max(1, int(due_s * 1000), -(-(to_ms - from_ms) // BINS_MAX))
        return cls(from_ms=from_ms, to_ms=to_ms, bin_ms=bin_ms)

    def to_document(self) -> Json:
        """All fields, for Documents."""
        return asdict(self)

    @classmethod
    def from_document(cls, content: Json) -> "Gap":
        """What ``to_document`` gave; fields of another version are left out."""
        names = cls.__dataclass_fields__
        return cls(**{name: value for name, value in content.items() if name in names})

    def fill(self, captured_ms: Sequence[int], arrived_ms: int) -> None:
        """One bundle with facts of these moments came: it tells their intervals, and those between close ones."""
        times = sorted(captured_ms)
        told = set(self.filled)
        for index, at_ms in enumerate(times):
            following_ms = times[index + 1] if index + 1 < len(times) else at_ms
            last_ms = following_ms if following_ms - at_ms <= JOINED_BINS * self.bin_ms else at_ms
            first_ms, last_ms = max(at_ms, self.from_ms), min(last_ms, self.to_ms - 1)
            if first_ms <= last_ms:
                told.update(range(self._bin(first_ms), self._bin(last_ms) + 1))
        if len(told) > len(self.filled):
            self.filled, self.filled_at_ms = sorted(told), arrived_ms

    def _bin(self, at_ms: int) -> int:
        return int((at_ms - self.from_ms) // self.bin_ms)

    @property
    def late_ms(self) -> int:
        """How much of the gap is told."""
        whole_ms = self.to_ms - self.from_ms
        return sum(min(self.bin_ms, whole_ms - number * self.bin_ms) for number in self.filled)

    @property
    def is_complete(self) -> bool:
        """Whether every interval is told."""
        return self.late_ms >= self.to_ms - self.from_ms

    def parts(self) -> list[Json]:
        """What is known of the gap's time, in order: stretches that were filled in late, and those still missing."""
        whole_ms, told = self.to_ms - self.from_ms, set(self.filled)
        parts: list[Json] = []
        for number in range(-(-whole_ms // self.bin_ms)):
            part_ms = min(self.bin_ms, whole_ms - number * self.bin_ms)
            _append(parts, "late" if number in told else "missing", part_ms)
        return parts


def _append(parts: list[Json], state: str, part_ms: int) -> None:
    if parts and parts[-1]["state"] == state:
        parts[-1]["ms"] += part_ms
    elif part_ms > 0:
        parts.append({"state": state, "ms": part_ms})


def bar_json(gaps: Sequence[Gap], complete_in_s: float | None) -> Json | None:
    """One bar over all ``gaps``, oldest first: filled in late, still missing, and received then in between.

    Its parts are in the order of time and add up to the whole. None without gaps.
    """
    if not gaps:
        return None
    parts: list[Json] = []
    for index, gap in enumerate(gaps):
        if index:
            _append(parts, "received", gap.from_ms - gaps[index - 1].to_ms)
        for part in gap.parts():
            _append(parts, part["state"], part["ms"])
    is_complete = all(gap.is_complete for gap in gaps)
    return {
        "from_ms": gaps[0].from_ms,
        "to_ms": gaps[-1].to_ms,
        "parts": parts,
        "complete_in_s": None if is_complete else complete_in_s,
    }
