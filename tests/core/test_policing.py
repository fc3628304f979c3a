"""Losses without a queue: a policer's are ended by its own rate, the medium's by none."""

import random

import pytest

from benchmarks.links.bench_rates import LEAST_RATIO, OWN_LOSS_RATIO, outcome
from edge_agent.core.policing import QUEUED_LOOKS, Policing, Stage

RTT_S, LOOK_S = 0.05, 0.2
STEP_S = 0.01


def sent_through(
    policing: Policing, *, policed_bps: float, wish_bps: float, medium_ratio: float, span_s: float
) -> tuple[float, float]:
    """What a sender that keeps to the ceiling brings through in the second half, and loses, each of what it could.

    A bucket of 16 kB, and losses of the medium beside it.
    """
    rng, tokens_bytes, sent, lost, came, spent = random.Random(2), 16_384.0, 0, 0, 0, 0
    for step in range(int(span_s / STEP_S)):
        if step == int(span_s / STEP_S) // 2:
            came = spent = 0
        now_s = step * STEP_S
        tokens_bytes = min(16_384.0, tokens_bytes + policed_bps / 8 * STEP_S)
        size = int(min(wish_bps, policing.ceiling_bps) / 8 * STEP_S)
        through = min(size, int(tokens_bytes))
        tokens_bytes -= through
        through -= int(through * medium_ratio * 2 * rng.random())
        sent, lost, came, spent = sent + size, lost + size - through, came + through, spent + size
        policing.note(now_s, now_s, sent, lost, rtt_s=RTT_S, look_s=LOOK_S, frame_bytes=1000, is_queued=False)
    return came * 8 / (span_s / 2), 1 - came / spent


def test_what_a_policer_drops_is_not_sent() -> None:
    policing = Policing()
    came_bps, lost_ratio = sent_through(policing, policed_bps=1e6, wish_bps=1e7, medium_ratio=0.0, span_s=60.0)
    assert policing.stage is not Stage.CLEAN
    assert came_bps > 0.9e6
    assert lost_ratio < OWN_LOSS_RATIO


def test_what_the_medium_loses_is_no_ceiling() -> None:
    policing = Policing()
    came_bps, lost_ratio = sent_through(policing, policed_bps=1e9, wish_bps=1e6, medium_ratio=0.1, span_s=60.0)
    assert policing.stage is Stage.CLEAN
    assert came_bps > 0.85e6
    assert 0.05 < lost_ratio < 0.15


@pytest.mark.parametrize(("has_queued", "stage"), [(True, Stage.CLEAN), (False, Stage.FIRST)])
def test_two_bursts_in_a_row_are_no_policer_where_a_queue_showed(has_queued: bool, stage: Stage) -> None:
    assert stage_after(looks=3, has_queued=has_queued) is stage


def test_a_policer_that_comes_to_a_link_with_a_queue_is_found_later() -> None:
    assert stage_after(looks=1 + QUEUED_LOOKS, has_queued=True) is Stage.FIRST


def stage_after(looks: int, *, has_queued: bool) -> Stage:
    """What is known after so many looks, the first of which only begins to count; a quarter is lost in each."""
    policing = Policing()
    for look in range(looks):
        policing.note(
            now_s=look * (LOOK_S + STEP_S),
            arrived_s=look * (LOOK_S + STEP_S),
            sent_bytes=look * 40_000,
            lost_bytes=look * 10_000,
            rtt_s=RTT_S,
            look_s=LOOK_S,
            frame_bytes=1000,
            is_queued=False,
            has_queued=has_queued,
        )
    return policing.stage


def test_a_ceiling_that_is_gone_is_forgotten() -> None:
    policing = Policing()
    sent_through(policing, policed_bps=1e6, wish_bps=1e7, medium_ratio=0.0, span_s=20.0)
    policing.restart()
    came_bps, _ = sent_through(policing, policed_bps=1e9, wish_bps=1e7, medium_ratio=0.0, span_s=120.0)
    assert came_bps > 0.9e7


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tbf", "tbf_1m", "policer", "policer_64k", "bursts", "clumps", "holds"])
def test_a_hard_link_is_used_and_not_flooded(name: str) -> None:
    found = outcome(name, 30.0)
    print(f"{name}: {found.used_ratio:.3f} used, {found.own_loss_ratio:.4f} dropped")
    assert found.used_ratio >= LEAST_RATIO
    assert found.own_loss_ratio <= OWN_LOSS_RATIO


@pytest.mark.slow
def test_a_sender_that_does_not_look_at_losses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above."""
    monkeypatch.setattr(Policing, "note", lambda self, *arguments, **numbers: False)
    outcome.cache_clear()
    assert outcome("policer", 2.0).own_loss_ratio > OWN_LOSS_RATIO
    outcome.cache_clear()
