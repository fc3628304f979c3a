"""Rate schedules that have a measured spread of rates and measured outages, without being the measurement.

For links whose recordings may not be shipped: what is known of them is a few points of the distribution of rates and
the lengths of their outages, and a schedule made of those has the same ones by construction.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from link_sim.errors import ProfileError
from link_sim.link.streams import stream

Levels = Sequence[tuple[float, int]]
"""Points (share of the time, bit/s) of the rates between outages, from share 0 to share 1."""


def varied_schedule(
    name: str, *, levels: Levels, outages_s: Sequence[float], period_s: float, hold_s: float, correlation_ratio: float
) -> tuple[tuple[float, int], ...]:
    """Steps (from s, bit/s) over one period: each rate holds ``hold_s`` and is like the one before, outages are 0.

    The rates are evenly taken from the straight lines between the points, so that their spread is exact whatever the
    order; ``name`` seeds the order and the places of the outages. Raises ProfileError.
    """
    _check(levels, outages_s, period_s, hold_s, correlation_ratio)
    up_s = period_s - sum(outages_s)
    holds = max(1, round(up_s / hold_s))
    each_s = up_s / holds
    rates = [_level(levels, (number + 0.5) / holds) for number in range(holds)]
    rng = stream(0, "varied", name)
    state, noise = rng.gauss(0, 1), math.sqrt(1 - correlation_ratio**2)
    states = []
    for _ in range(holds):
        state = correlation_ratio * state + noise * rng.gauss(0, 1)
        states.append(state)
    spots = sorted(rng.sample(range(1, holds + 1), len(outages_s)))  # apart, and never before the first rate
    places = dict(zip(spots, rng.sample(list(outages_s), len(outages_s)), strict=True))
    ordered = [0] * holds
    for rank, at in enumerate(sorted(range(holds), key=states.__getitem__)):
        ordered[at] = rates[rank]
    steps: list[tuple[float, int]] = []
    at_s = 0.0
    for number, rate_bps in enumerate(ordered, 1):
        steps.append((round(at_s, 6), rate_bps))
        at_s += each_s
        if number in places:
            steps.append((round(at_s, 6), 0))
            at_s += places[number]
    return tuple(steps)


def _check(
    levels: Levels, outages_s: Sequence[float], period_s: float, hold_s: float, correlation_ratio: float
) -> None:
    shares = [share for share, _ in levels]
    if (
        len(levels) < 2
        or shares[0] != 0
        or shares[-1] != 1
        or any(later <= earlier for earlier, later in pairwise(shares))
    ):
        raise ProfileError(f"levels {list(levels)}: allowed are two points or more, their shares rising from 0 to 1")
    if any(later < earlier for (_, earlier), (_, later) in pairwise(levels)) or levels[0][1] < 1:
        raise ProfileError(f"levels {list(levels)}: allowed are rates of 1 bit/s or more that do not fall")
    if not 0 < hold_s <= period_s or not 0 <= correlation_ratio < 1:
        raise ProfileError(
            f"hold_s {hold_s} of period_s {period_s}, correlation_ratio {correlation_ratio}: out of range"
        )
    if any(outage_s <= 0 for outage_s in outages_s) or sum(outages_s) + hold_s * len(outages_s) > period_s:
        raise ProfileError(f"outages_s {list(outages_s)}: allowed are lengths above 0 that leave room in {period_s} s")


def _level(levels: Levels, share: float) -> int:
    for (low, low_bps), (high, high_bps) in pairwise(levels):
        if share <= high:
            return round(low_bps + (high_bps - low_bps) * (share - low) / (high - low))
    return levels[-1][1]
