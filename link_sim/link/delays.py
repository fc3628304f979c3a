"""Delays: how long a frame flies. Variation is drawn once for each frame offered, from a stream of its own."""

import math
import random
from collections.abc import Callable
from enum import Enum
from statistics import NormalDist
from typing import Protocol

from link_sim.link.services import NS_PER_S
from link_sim.link.streams import stream

_NORMAL = NormalDist()


class JitterShape(Enum):
    """How ``jitter_s`` spreads the delay."""

    EVEN = "even"
    """From ``delay_s - jitter_s`` to ``delay_s + jitter_s``, all alike."""
    NORMAL = "normal"
    """``jitter_s`` is the standard deviation; no frame arrives before it was sent."""
    TAIL = "tail"
    """Never below ``delay_s``; beyond it exponential with mean ``jitter_s``."""


class Delay(Protocol):
    """One part of a frame's flight."""

    def flight_ns(self, clock_ns: int) -> int:
        """Nanoseconds of flight for the next frame, whose last bit leaves about ``clock_ns``."""


class Jitter:
    """Variation around a constant, of a shape, each frame's like the one before by ``correlation_ratio``."""

    __slots__ = ("_correlation", "_draw", "_is_even", "_is_normal", "_jitter_ns", "_rng", "_state")

    def __init__(self, jitter_s: float, shape: JitterShape, correlation_ratio: float, rng: random.Random) -> None:
        self._jitter_ns = round(jitter_s * NS_PER_S)
        self._is_even = shape is JitterShape.EVEN  # looked up once, as members are in model
        self._is_normal = shape is JitterShape.NORMAL
        self._correlation = correlation_ratio
        self._rng = rng
        self._draw = rng.random
        self._state = rng.gauss(0, 1) if correlation_ratio else 0.0

    def flight_ns(self, clock_ns: int) -> int:
        if self._correlation:
            noise = self._rng.gauss(0, 1)
            self._state = self._correlation * self._state + math.sqrt(1 - self._correlation**2) * noise
            level = _NORMAL.cdf(self._state)
        else:
            level = self._draw()
        if self._is_even:
            return int((2 * level - 1) * self._jitter_ns)
        level = min(max(level, 1e-12), 1 - 1e-12)
        if self._is_normal:
            return int(_NORMAL.inv_cdf(level) * self._jitter_ns)
        return int(-math.log(1 - level) * self._jitter_ns)


class PeriodicSteps:
    """Another delay from each ``period_s`` to the next, as a low orbit's reconfigurations give it (Starlink: 15 s)."""

    __slots__ = ("_at", "_offset_ns", "_period_ns", "_seed", "_spread_ns")

    def __init__(self, period_s: float, spread_s: float, seed: int) -> None:
        self._period_ns = round(period_s * NS_PER_S)
        self._spread_ns = round(spread_s * NS_PER_S)
        self._seed = seed
        self._at = -1
        self._offset_ns = 0

    def flight_ns(self, clock_ns: int) -> int:
        at = clock_ns // self._period_ns
        if at != self._at:  # by its number, not by order of frames: the same step whoever asks first
            self._at = at
            self._offset_ns = stream(self._seed, str(at)).randint(-self._spread_ns, self._spread_ns)
        return self._offset_ns


class TracedDelay:
    """What a trace gives for the time of the frame."""

    __slots__ = ("_delay_at",)

    def __init__(self, delay_at: Callable[[int], int]) -> None:
        self._delay_at = delay_at

    def flight_ns(self, clock_ns: int) -> int:
        return self._delay_at(clock_ns)


def next_poll_ns(arrived_ns: int, poll_ns: int) -> int:
    """When a mailbox that is asked each ``poll_ns`` gives out what arrived then."""
    return -(-arrived_ns // poll_ns) * poll_ns
