"""A link at another rate: what a schedule or a trace says is scaled, measured over the link model."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from link_sim.errors import ProfileError
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import LinkModel
from link_sim.link.services import NS_PER_S
from link_sim.profiles import NAMED, PathProfile
from link_sim.profiles.rates import at_rate
from link_sim.real_time.live import Direction, LiveLink, live_link
from link_sim.traces.files import mahimahi_trace
from link_sim.traces.trace import LinkTrace, TraceRow

FRAME_BYTES = 100


def carried_bps(numbers: LinkProfile, span_s: float) -> float:
    """What a link carries over that time for a sender that always has something."""
    model = LinkModel(replace(numbers, overhead_bytes=0, queue_bytes=1 << 40, queue_s=None), 1)
    frames = 0
    while model.offer(0, FRAME_BYTES).sent_ns <= span_s * NS_PER_S:
        frames += 1
    return frames * FRAME_BYTES * 8 / span_s


@given(
    steps=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 10**7)), min_size=1, max_size=20),
    rate_bps=st.integers(10**4, 10**8),
)
@example(steps=[(1, 1), (1, 10**7), (1, 0)], rate_bps=10**4)
def test_a_schedule_has_the_mean_asked_for_and_its_pauses(steps: list[tuple[int, int]], rate_bps: int) -> None:
    starts_s = [float(sum(span_s for span_s, _ in steps[:number])) for number in range(len(steps))]
    schedule = tuple(zip(starts_s, (bps for _, bps in steps), strict=True))
    numbers = LinkProfile(rate_schedule=schedule, schedule_period_s=float(sum(span_s for span_s, _ in steps)))
    if not any(bps for _, bps in steps):
        return
    slow = at_rate("link x", numbers, rate_bps)
    rates = [bps for _, bps in slow.rate_schedule]
    mean_bps = sum(span_s * bps for (span_s, _), bps in zip(steps, rates, strict=True)) / sum(s for s, _ in steps)
    assert mean_bps == pytest.approx(rate_bps, abs=1)  # each step is rounded to a bit, and up where it would be none
    assert [bps > 0 for bps in rates] == [bps > 0 for _, bps in steps]
    assert replace(slow, rate_schedule=schedule) == numbers


def test_a_schedule_that_ends_has_the_rate_at_its_end_and_one_that_ends_in_silence_says_why_not() -> None:
    ending = LinkProfile(rate_schedule=((0.0, 4000), (5.0, 0), (6.0, 1000)))
    assert at_rate("link x", ending, 500).rate_schedule == ((0.0, 2000), (5.0, 0), (6.0, 500))
    silent = LinkProfile(rate_schedule=((0.0, 4000), (5.0, 0)))
    with pytest.raises(ProfileError, match="link x: rate_bps 500: the last step of rate_schedule is 0 bit/s for ever"):
        at_rate("link x", silent, 500)


def test_what_a_trace_measured_has_the_mean_asked_for_and_the_rest_the_rate() -> None:
    rows = (TraceRow(0, rate_bps=6000), TraceRow(NS_PER_S, rate_bps=0), TraceRow(2 * NS_PER_S, delay_ns=5))
    trace = LinkTrace(name="drive", length_ns=4 * NS_PER_S, rows=rows)
    slow = at_rate("link x", LinkProfile(trace=trace, delay_s=0.1), 300)
    assert slow.trace is not None
    assert [row.rate_bps for row in slow.trace.rows] == [600, 0, None]
    assert (slow.rate_bps, slow.delay_s) == (300, 0.1)
    away = LinkTrace(name="away", length_ns=4 * NS_PER_S, rows=(TraceRow(0), TraceRow(NS_PER_S, rate_bps=0)))
    assert at_rate("link x", LinkProfile(trace=away), 300) == LinkProfile(trace=away, rate_bps=300)


def test_chances_to_send_are_left_out_evenly() -> None:
    trace = mahimahi_trace("drive.up", list(range(1, 1001)))  # 12 Mbit/s
    slow = at_rate("link x", LinkProfile(trace=trace), 3_000_000).trace
    assert slow is not None
    assert len(slow.opportunities_ns) == 250


def test_a_constant_rate_is_another_one() -> None:
    assert at_rate("link x", LinkProfile(rate_bps=9600), 300) == LinkProfile(rate_bps=300)
    assert at_rate("link x", LinkProfile(), 300) == LinkProfile(rate_bps=300)


@pytest.mark.parametrize("numbers", [LinkProfile(rate_bps=5), NAMED["4g-driving"].up])
@pytest.mark.parametrize("rate_bps", [0, -5, 9.5])
def test_a_rate_that_cannot_be_is_refused_by_value(numbers: LinkProfile, rate_bps: int) -> None:
    with pytest.raises(ProfileError, match=f"link x: rate_bps {rate_bps}"):
        at_rate("link x", numbers, rate_bps)


def link_of(profile: PathProfile) -> LiveLink:
    return live_link("drive", profile, 1, deliver_up=lambda _: None, deliver_down=lambda _: None)


def test_a_live_link_with_a_schedule_is_slowed_and_restored() -> None:
    made = link_of(NAMED["4g-driving"])
    made.slow(64_000)
    for line, was in ((made.up.line, NAMED["4g-driving"].up), (made.down.line, NAMED["4g-driving"].down)):
        assert len(line.profile.rate_schedule) == len(was.rate_schedule)
        assert carried_bps(line.profile, was.schedule_period_s or 0) == pytest.approx(64_000, rel=0.02)
    made.slow(9600, direction=Direction.UP)
    assert carried_bps(made.up.line.profile, 120) == pytest.approx(9600, rel=0.02)
    assert carried_bps(made.down.line.profile, 120) == pytest.approx(64_000, rel=0.02)
    made.restore()
    assert made.up.line.profile == NAMED["4g-driving"].up


def test_a_slow_that_one_direction_refuses_changes_neither() -> None:
    ends = LinkProfile(rate_schedule=((0.0, 4000), (5.0, 0)))
    made = link_of(PathProfile(name="drive", up=LinkProfile(rate_bps=9600), down=ends))
    with pytest.raises(ProfileError, match="link drive down: rate_bps 300: the last step"):
        made.slow(300)
    assert made.up.line.profile == LinkProfile(rate_bps=9600)
