"""A link whose rate moves all the time is used, and one that holds its breath is used again at once."""

import random

import pytest

from edge_agent.core.pacing import RateController
from link_sim.link.link_profile import LinkProfile
from tests.core.test_pacing import bulk_world, carried_ratio

STEP_S, STEPS = 0.2, 300


def walking_link(seed: int) -> LinkProfile:
    """A rate that walks between 0.8 and 10 Mbit/s by up to a third each 200 ms; 30 ms with 8 ms of jitter."""
    rng, rate_bps, schedule = random.Random(seed), 4e6, []
    for step in range(STEPS):
        schedule.append((step * STEP_S, round(rate_bps)))
        rate_bps = min(10e6, max(0.8e6, rate_bps * rng.uniform(0.75, 1.33)))
    return LinkProfile(
        rate_schedule=tuple(schedule),
        schedule_period_s=STEPS * STEP_S,
        delay_s=0.03,
        jitter_s=0.008,
        queue_bytes=250_000,
        overhead_bytes=28,
    )


def used_ratio(link: LinkProfile) -> float:
    """Of what a walking link could carry in 40 s; the window ends are right to a frame."""
    could_bits = sum(rate_bps * STEP_S for at_s, rate_bps in link.rate_schedule if 10.0 <= at_s < 50.0 - 1e-9)
    return carried_ratio(bulk_world(link, bundles=1_500), 10.0, 50.0, 1) / could_bits * 40.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_link_whose_rate_walks_is_used(seed: int) -> None:
    ratio = used_ratio(walking_link(seed))
    print(f"{ratio:.3f} of the link")
    assert ratio >= 0.9


@pytest.mark.slow
def test_a_queue_that_knows_jitter_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: how much the rate moves is not learnt."""
    known_ratio = used_ratio(walking_link(1))
    monkeypatch.setattr(RateController, "_note_move", lambda self, now_s, carried_bps: None)
    assert used_ratio(walking_link(1)) < known_ratio - 0.01


HELD = LinkProfile(rate_bps=2_000_000, delay_s=0.03, queue_bytes=250_000, overhead_bytes=28)


def used_beside_holes() -> float:
    """Of 2 Mbit/s that pause for 0.3 s each 4 s, holding what waits: the share of the time between the pauses."""
    world = bulk_world(HELD, bundles=250)
    for number in range(10):
        at_s = 6.0 + 4.0 * number
        world.at(at_s, lambda: world.set("link", rate_bps=1))
        world.at(at_s + 0.3, lambda: world.set("link", rate_bps=2_000_000))
    return carried_ratio(world, 5.0, 45.0, 2_000_000) / (1 - 0.3 / 4.0)


@pytest.mark.slow
def test_after_a_hole_a_link_is_used_at_once() -> None:
    assert used_beside_holes() >= 0.95


@pytest.mark.slow
def test_a_rate_measured_across_a_hole_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: a hole is time in which the link carried little."""
    monkeypatch.setattr(RateController, "_skip_hole", lambda self, arrived_s, least_s: None)
    assert used_beside_holes() < 0.95
