"""Services against slow, obvious references: exact to the nanosecond, over any changes of rate."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_sim.errors import ProfileError
from link_sim.link.services import (
    NEVER_NS,
    NS_PER_S,
    OPPORTUNITY_BYTES,
    DutyCycle,
    MessageSlots,
    Opportunities,
    RateSchedule,
    SteadyRate,
    TokenBucket,
)

ARRIVALS = st.lists(st.tuples(st.integers(0, 3 * NS_PER_S), st.integers(1, 3000)), max_size=40)
STEPS = st.lists(st.tuples(st.integers(1, NS_PER_S), st.integers(0, 2_000_000)), max_size=5)


def served_exactly(steps: list[tuple[int, int]], period_ns: int | None, arrivals: list[tuple[int, int]]) -> list[int]:
    """Last bits by exact fractions, walking every step of the rate; rounded up only in the answer."""
    answers: list[int] = []
    at = Fraction(0)
    for from_ns, wire_bytes in arrivals:
        at, bits = max(at, Fraction(from_ns)), Fraction(wire_bytes * 8)
        while bits > 0:
            base = 0 if period_ns is None else at // period_ns * period_ns
            passed = [step for step in steps if base + step[0] <= at]
            rate_bps = passed[-1][1]
            later = [base + step[0] for step in steps[len(passed) :]] + (
                [] if period_ns is None else [base + period_ns]
            )
            until = min(later, default=None)
            if until is None and rate_bps == 0:
                return [*answers, NEVER_NS]
            takes = None if rate_bps == 0 else bits * NS_PER_S / rate_bps
            if until is None or (takes is not None and at + takes <= until):
                assert takes is not None
                at, bits = at + takes, Fraction(0)
            else:
                bits -= (until - at) * rate_bps / NS_PER_S
                at = Fraction(until)
        answers.append(-(-at.numerator // at.denominator))
    return answers


@given(st.integers(1, 10**9), ARRIVALS)
def test_a_steady_rate_is_exact_to_the_nanosecond(rate_bps: int, arrivals: list[tuple[int, int]]) -> None:
    arrivals.sort()
    service = SteadyRate(rate_bps)
    assert [service.serve(*each) for each in arrivals] == served_exactly([(0, rate_bps)], None, arrivals)


@given(STEPS, st.integers(1, 2_000_000), st.booleans(), ARRIVALS)
def test_a_schedule_is_exact_to_the_nanosecond(
    gaps: list[tuple[int, int]], last_bps: int, repeats: bool, arrivals: list[tuple[int, int]]
) -> None:
    arrivals.sort()
    steps, at_ns = [], 0
    for gap_ns, rate_bps in gaps:
        steps.append((at_ns, rate_bps))
        at_ns += gap_ns
    steps.append((at_ns, last_bps))
    period_ns = at_ns + NS_PER_S // 2 if repeats else None
    service = RateSchedule(steps, period_ns)
    assert [service.serve(*each) for each in arrivals] == served_exactly(steps, period_ns, arrivals)


def test_a_schedule_that_ends_in_silence_never_carries_the_rest() -> None:
    service = RateSchedule([(0, 8000), (NS_PER_S, 0)])
    assert service.serve(0, 1000) == NS_PER_S
    assert service.serve(0, 1) == NEVER_NS


@pytest.mark.parametrize(
    ("steps", "period_ns", "said"),
    [
        ([], None, "first step"),
        ([(5, 100)], None, "first step"),
        ([(0, 100), (0, 200)], None, "rise"),
        ([(0, 0)], None, "one is more"),
        ([(0, -1), (1, 5)], None, "0 or more"),
        ([(0, 1), (10, 2)], 10, "beyond the last step"),
    ],
)
def test_a_wrong_schedule_is_refused(steps: list[tuple[int, int]], period_ns: int | None, said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        RateSchedule(steps, period_ns)


def carried_by_chances(times_ns: list[int], arrivals: list[tuple[int, int]]) -> list[int]:
    """Go through every chance one by one, as mahimahi's link does."""
    answers, waiting, coming = [], [], list(arrivals)
    rounds = 0
    while len(answers) < len(arrivals):
        for time_ns in times_ns:
            now_ns, left_bytes = rounds * times_ns[-1] + time_ns, OPPORTUNITY_BYTES
            while coming and coming[0][0] <= now_ns:
                waiting.append(coming.pop(0)[1])
            while waiting and left_bytes:
                taken = min(waiting[0], left_bytes)
                waiting[0] -= taken
                left_bytes -= taken
                if waiting[0] == 0:
                    waiting.pop(0)
                    answers.append(now_ns)
        rounds += 1
    return answers


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 4000)), max_size=25),
)
def test_chances_are_used_as_mahimahi_uses_them(times_ms: list[int], arrivals_ms: list[tuple[int, int]]) -> None:
    times_ns = sorted(each * 1_000_000 for each in times_ms)
    if times_ns[-1] == 0:
        times_ns.append(1_000_000)
    arrivals = sorted((at_ms * 1_000_000, wire_bytes) for at_ms, wire_bytes in arrivals_ms)
    service = Opportunities(times_ns)
    assert [service.serve(*each) for each in arrivals] == carried_by_chances(times_ns, arrivals)


@given(st.sampled_from([0.001, 0.01, 0.1, 0.5]), ARRIVALS)
def test_a_duty_cycle_keeps_the_air_free_for_its_share(duty_ratio: float, arrivals: list[tuple[int, int]]) -> None:
    service, free_ns = DutyCycle(SteadyRate(50_000), duty_ratio), 0
    for from_ns, wire_bytes in sorted(arrivals):
        sent_ns = service.serve(from_ns, wire_bytes)
        air_ns = -(-wire_bytes * 8 * NS_PER_S // 50_000)
        assert sent_ns - air_ns >= free_ns - 2
        free_ns = sent_ns + int(air_ns * (1 / duty_ratio - 1))


def test_messages_leave_one_an_interval_and_the_early_ones_are_held() -> None:
    service = MessageSlots(SteadyRate(None), 60 * NS_PER_S)
    sent_s = [service.serve(at_s * NS_PER_S, 100) // NS_PER_S for at_s in (5, 6, 7, 400)]
    assert sent_s == [5, 65, 125, 400]


def bucket_exactly(rate_bps: int, burst_bytes: int, arrivals: list[tuple[int, int]]) -> list[int]:
    """When frames leave a bucket whose tokens are counted in exact fractions."""
    answers, tokens, at = [], Fraction(burst_bytes * 8), Fraction(0)
    for from_ns, wire_bytes in arrivals:
        begin = max(at, Fraction(from_ns))
        tokens = min(Fraction(burst_bytes * 8), tokens + (begin - at) * rate_bps / NS_PER_S)
        missing = max(Fraction(0), wire_bytes * 8 - tokens)
        leaves = begin + missing * NS_PER_S / rate_bps
        answers.append(-(-leaves.numerator // leaves.denominator))
        tokens, at = tokens + missing - wire_bytes * 8, leaves
    return answers


@given(st.integers(1, 10**9), st.integers(1, 100_000), ARRIVALS)
def test_a_bucket_lets_through_what_it_holds_and_then_its_rate(
    rate_bps: int, burst_bytes: int, arrivals: list[tuple[int, int]]
) -> None:
    arrivals.sort()
    service = TokenBucket(rate_bps, burst_bytes)
    for (from_ns, wire_bytes), exact_ns in zip(arrivals, bucket_exactly(rate_bps, burst_bytes, arrivals), strict=True):
        assert 0 <= service.serve(from_ns, wire_bytes) - exact_ns <= 1, "a wait is rounded up to the clock once"


def test_a_bucket_that_was_emptied_fills_from_then_on() -> None:
    service = TokenBucket(8_000, 1_000)
    service.empty(NS_PER_S)
    assert service.serve(NS_PER_S, 500) == NS_PER_S * 3 // 2
