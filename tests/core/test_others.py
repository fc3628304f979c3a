"""Traffic that is not ours: told from a delay, shared with evenly, and left what was reserved for it."""

import pytest

from benchmarks.links.bench_foreign import with_call
from benchmarks.links.bench_kits import five_kits, jain
from edge_agent.core.others import FRAME_BYTES, Others
from edge_agent.core.pacing import MIN_RATE_BPS, RateController

SHARE_BPS = 100_000.0


def look(others: Others, wait_s: float, *, before_s: float, pause_s: float = 0.6) -> float:
    return others.risen_s(wait_s, before_s=before_s, pause_s=pause_s, at_s=0.0, s_per_byte=8 / SHARE_BPS)


def known(most_bps: float = 512_000.0) -> Others:
    others = Others()
    others.note_window(10_000, 0, most_bps)
    return others


def test_a_queue_that_shrinks_while_we_send_nothing_is_that_of_others() -> None:
    others = known()
    assert look(others, 0.28, before_s=0.4) == 0.0
    assert look(others, 0.28, before_s=0.4) == 0.0
    assert 0.5 < others.ratio < 0.8
    assert others.target_s(SHARE_BPS) == pytest.approx(FRAME_BYTES * 8 / SHARE_BPS)


def test_a_delay_that_has_risen_does_not_shrink() -> None:
    others = known()
    assert look(others, 0.28, before_s=0.29) == 0.28
    assert others.ratio == 0.0
    assert others.target_s(SHARE_BPS) == 0.0


def test_less_than_a_frame_is_nobody() -> None:
    others = known()
    assert look(others, 0.02, before_s=0.4) == 0.02
    assert others.ratio == 0.0


def test_a_full_queue_is_no_delay() -> None:
    others = known()
    others.note_window(10_000, 2_000, 512_000.0)
    assert look(others, 0.7, before_s=0.7) == 0.0


def test_a_queue_without_end_counts_as_delay() -> None:
    assert look(known(), 0.6, before_s=0.8) == 0.6


def test_a_fast_link_is_left_as_it_was() -> None:
    assert look(known(10e6), 0.05, before_s=0.3) == 0.05


def test_others_who_have_gone_are_forgotten() -> None:
    others = known()
    look(others, 0.28, before_s=0.4)
    for _ in range(4):
        look(others, 0.0, before_s=0.1)
    assert others.ratio == 0.0
    assert others.least_bps(0.6) == 0.0


def test_what_is_reserved_is_left_from_the_first_frame_on() -> None:
    controller = RateController(512_000.0, False, 384_000.0)
    assert controller.rate_bps == controller.pacing_bps(is_bulk=True) == 128_000.0
    controller.describe(400_000.0, 400_000.0)
    assert controller.rate_bps == MIN_RATE_BPS


@pytest.mark.slow
@pytest.mark.parametrize("is_left", [False, True])
def test_a_call_on_a_link_that_we_fill_stays_intact(is_left: bool) -> None:
    call, excess_s = with_call(is_left=is_left)
    assert len(call.waits_s) >= 0.99 * call.sent
    assert sorted(call.waits_s)[len(call.waits_s) * 99 // 100] < (0.05 if is_left else 0.2)
    assert max(excess_s) < (0.15 if is_left else 0.25)


def least_of_three() -> tuple[float, float]:
    """Jain index of the first and of the second minute with all five kits, the least of three seeds."""
    five_kits.cache_clear()
    minutes = [five_kits(seed) for seed in (1, 2, 3)]
    five_kits.cache_clear()
    return min(first for first, _ in minutes), min(second for _, second in minutes)


FIRST_LEAST, SECOND_LEAST = 0.85, 0.95


@pytest.mark.slow
def test_kits_that_begin_late_have_their_share_of_a_satellite() -> None:
    first, second = least_of_three()
    assert first > FIRST_LEAST
    assert second > SECOND_LEAST


@pytest.mark.slow
def test_kits_that_take_the_others_queue_for_delay_do_not_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: the second minute tells."""
    monkeypatch.setattr(Others, "risen_s", lambda self, wait_s, **said: wait_s)
    _, second = least_of_three()
    assert second < SECOND_LEAST


def test_the_index_is_one_where_all_have_the_same() -> None:
    assert jain([5, 5, 5]) == 1.0
    assert jain([9, 0, 0]) == pytest.approx(1 / 3)
