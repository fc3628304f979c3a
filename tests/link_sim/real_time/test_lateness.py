"""The lateness report is what a sorted list would say, within its resolution."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_sim.real_time.lateness import LatenessMeter


@given(late_us=st.lists(st.integers(0, 10**7), min_size=1, max_size=200))
def test_percentiles_are_at_most_a_sixteenth_above_the_exact_ones(late_us: list[int]) -> None:
    meter = LatenessMeter()
    meter.add(10**11, [10**11 - each * 1000 - 999 for each in late_us[::2]])
    meter.add(0, [-each * 1000 for each in late_us[1::2]])
    report = meter.report()
    ranked = sorted(late_us)
    for ratio, seen_ms in ((0.5, report.p50_ms), (0.99, report.p99_ms)):
        exact_us = ranked[max(0, -int(-ratio * len(ranked) // 1) - 1)]
        assert exact_us <= seen_ms * 1000 + 1e-6 <= exact_us * 17 / 16 + 1
    assert report.max_ms * 1000 == pytest.approx(ranked[-1])
    assert report.frames == len(late_us)


def test_a_delivery_before_its_time_is_a_fault_and_an_empty_report_is_zero() -> None:
    meter = LatenessMeter()
    assert meter.report().p99_ms == 0
    with pytest.raises(ValueError, match="delivered 5 ns early"):
        meter.add(100, [100, 105])
