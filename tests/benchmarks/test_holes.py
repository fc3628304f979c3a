"""When a link has no chance of its own: what rows about silence wait for."""

import pytest

from benchmarks.links.holes import time_without_hole_s
from link_sim.link.link_profile import LinkProfile

WAY = LinkProfile(rate_schedule=((0.0, 1000), (4.0, 0), (4.5, 1000), (9.9, 0)), schedule_period_s=10.0)
"""Silent from 4 to 4.5 s and from 9.9 to 10 s of each ten."""


@pytest.mark.parametrize(
    ("now_s", "wait_s"),
    [(0.0, 0.0), (2.9, 0.0), (3.5, 1.0), (4.2, 0.3), (8.8, 0.0), (9.5, 0.5), (100_003.5, 1.0), (100_009.95, 0.05)],
)
def test_the_next_second_without_a_hole_is_found(now_s: float, wait_s: float) -> None:
    assert time_without_hole_s(WAY, now_s, 1.0, 0.05) == pytest.approx(wait_s, abs=1e-6)


def test_short_holes_and_ways_without_holes_keep_nobody_waiting() -> None:
    assert time_without_hole_s(WAY, 9.5, 1.0, 0.2) == 0.0
    assert time_without_hole_s(LinkProfile(rate_bps=1000), 12_345.6, 1.0, 0.05) == 0.0
