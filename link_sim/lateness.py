"""Lateness: how honest a real-time link was, as percentiles of delivered time minus due time."""

from dataclasses import dataclass

_SUB_BITS = 4  # 16 steps an octave: a percentile is at most 1/16 too high
_SUB_STEPS = 1 << _SUB_BITS
_OCTAVES = 40


class LatenessMeter:
    """A histogram of microseconds with 1/16 resolution and bounded memory."""

    def __init__(self) -> None:
        self._counts = [0] * ((_OCTAVES + 1) * _SUB_STEPS)
        self._total = 0
        self._max_us = 0

    def add(self, late_ns: int) -> None:
        """Count one delivery; a negative lateness would be a fault of ours and raises ValueError."""
        if late_ns < 0:
            raise ValueError(f"delivered {-late_ns} ns early")
        late_us = late_ns // 1000
        octave = max(0, late_us.bit_length() - 1 - _SUB_BITS)
        self._counts[min(octave * _SUB_STEPS + (late_us >> octave), len(self._counts) - 1)] += 1
        self._total += 1
        self._max_us = max(self._max_us, late_us)

    def report(self) -> "Lateness":
        """The percentiles so far."""
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
