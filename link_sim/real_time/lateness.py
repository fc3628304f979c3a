"""Lateness: how honest a real-time link was, as percentiles of delivered time minus due time."""

from collections.abc import Sequence
from dataclasses import dataclass

_SUB_BITS = 4  # 16 steps an octave: a percentile is at most 1/16 too high
_SUB_STEPS = 1 << _SUB_BITS
_OCTAVES = 40
_FRESH_MAX = 4096  # different microseconds at once


class LatenessMeter:
    """A histogram of microseconds with 1/16 resolution and bounded memory."""

    def __init__(self) -> None:
        self._counts = [0] * ((_OCTAVES + 1) * _SUB_STEPS)
        self._total = 0
        self._max_us = 0
        self._fresh: dict[int, int] = {}  # frames by exact microseconds, sorted in only now and then

    def add(self, now_ns: int, dues_ns: Sequence[int]) -> None:
        """Count deliveries made now; one before it was due would be a fault of ours and raises ValueError."""
        fresh = self._fresh
        for due_ns in dues_ns:
            late_us = (now_ns - due_ns) // 1000
            fresh[late_us] = fresh.get(late_us, 0) + 1
            if late_us < 0:
                raise ValueError(f"delivered {due_ns - now_ns} ns early")
        if len(self._fresh) > _FRESH_MAX:
            self._sort_in()

    def _sort_in(self) -> None:
        for late_us, frames in self._fresh.items():
            octave = max(0, late_us.bit_length() - 1 - _SUB_BITS)
            self._counts[min(octave * _SUB_STEPS + (late_us >> octave), len(self._counts) - 1)] += frames
            self._total += frames
            self._max_us = max(self._max_us, late_us)
        self._fresh.clear()

    def report(self) -> "Lateness":
        """The percentiles so far."""
        self._sort_in()
        return Lateness(
            frames=self._total,
            p50_ms=self._quantile_us(0.5) / 1000,
            p99_ms=self._quantile_us(0.99) / 1000,
            max_ms=self._max_us / 1000,
        )

    def _quantile_us(self, ratio: float) -> int:
        left = ratio * self._total
        for at, count in enumerate(self._counts):
            left -= count
            if left <= 0 < self._total:
                octave = max(0, at // _SUB_STEPS - 1)
                return min(self._max_us, ((at - octave * _SUB_STEPS + 1) << octave) - 1)
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """Percentiles over ``frames`` deliveries; all 0 when there was none."""

    frames: int
    p50_ms: float
    p99_ms: float
    max_ms: float
