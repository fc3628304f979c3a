"""Percentiles of small samples."""

import math
from collections.abc import Sequence


def p99(values: Sequence[float]) -> float:
    """99th percentile by nearest rank: of fewer than 101 values the second largest of 100, else the largest."""
    if not values:
        raise ValueError("p99 of nothing")
    return sorted(values)[max(0, math.ceil(0.99 * len(values)) - 1)]
