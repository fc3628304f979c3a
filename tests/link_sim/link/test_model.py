"""The link model keeps its promises for any traffic and any change."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_sim.errors import ProfileError
from link_sim.link.line import Line
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Fate, LinkModel, Outage
from link_sim.link.services import NS_PER_S
from link_sim.link.streams import derived_seed

MS = 1_000_000
Arrivals = list[tuple[int, int]]

arrivals = st.lists(st.tuples(st.integers(0, 20 * MS), st.integers(1, 1500)), min_size=1, max_size=60)
profiles = st.builds(
    lambda rate_bps, delay_s, jitter, loss_ratio, queue_bytes, overhead_bytes: LinkProfile(
        rate_bps=rate_bps,
        delay_s=delay_s,
        jitter_s=delay_s * jitter,
        loss_ratio=loss_ratio,
        queue_bytes=queue_bytes,
        overhead_bytes=overhead_bytes,
    ),
    st.one_of(st.none(), st.integers(300, 100_000_000)),
    st.floats(0, 0.3),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.01, 0.3]),
    st.integers(1000, 100_000),
    st.integers(0, 40),
)


def take_all(line: Line[int], now_ns: int) -> list[int]:
    taken = []
    while (frame := line.take(now_ns)) is not None:
        taken.append(frame)
    return taken


@given(arrivals=arrivals, profile=profiles, seed=st.integers(0, 1000))
def test_frames_come_out_in_order_and_never_early(arrivals: Arrivals, profile: LinkProfile, seed: int) -> None:
    line: Line[int] = Line(profile, seed)
    now_ns, promised, came = 0, {}, []
    least_ns = round((profile.delay_s - profile.jitter_s) * NS_PER_S) - 1
    for number, (gap_ns, frame_bytes) in enumerate(arrivals):
        now_ns += gap_ns
        came += (taken := take_all(line, now_ns))
        assert all(promised[each] <= now_ns for each in taken)
        verdict = line.offer(now_ns, frame_bytes, number)
        if verdict.deliver_at_ns is not None:
            assert verdict.deliver_at_ns >= now_ns + least_ns
            assert verdict.deliver_at_ns >= max(promised.values(), default=0)
            promised[number] = verdict.deliver_at_ns
    came += take_all(line, 1 << 62)
    assert came == list(promised)


@given(arrivals=arrivals, profile=profiles.filter(lambda profile: profile.rate_bps is not None))
def test_serialisation_never_exceeds_the_rate_over_any_span(arrivals: Arrivals, profile: LinkProfile) -> None:
    """Between the ends of any two frames the link has sent no more bits than its rate allows."""
    assert profile.rate_bps is not None
    model, now_ns, ends = LinkModel(profile, 1), 0, []
    for gap_ns, frame_bytes in arrivals:
        now_ns += gap_ns
        verdict = model.offer(now_ns, frame_bytes)
        if verdict.fate in (Fate.DELIVERED, Fate.LOST):
            ends.append((verdict.sent_ns, (frame_bytes + profile.overhead_bytes) * 8))
    for first in range(len(ends)):
        bits = 0
        for last in range(first + 1, len(ends)):
            bits += ends[last][1]
            span_ns = ends[last][0] - ends[first][0]
            assert bits * NS_PER_S <= (span_ns + 1) * profile.rate_bps  # the first end may be rounded up by 1 ns


@pytest.mark.parametrize("rate_bps", [300, 7_680, 512_000, 9_999_991])
def test_serialisation_is_exact_to_a_nanosecond_after_many_frames(rate_bps: int) -> None:
    model = LinkModel(LinkProfile(rate_bps=rate_bps, queue_bytes=1 << 30), 1)
    for _ in range(1000):
        verdict = model.offer(0, 137)
    exact_ns = 1000 * 137 * 8 * NS_PER_S / rate_bps
    assert exact_ns - 1 <= verdict.sent_ns <= exact_ns + 1


@given(arrivals=arrivals, jitter=st.floats(0.001, 0.05), cut_at=st.integers(0, 60))
def test_jitter_and_outages_do_not_change_which_frames_the_loss_takes(
    arrivals: Arrivals, jitter: float, cut_at: int
) -> None:
    plain = LinkModel(LinkProfile(loss_ratio=0.3, delay_s=0.05, queue_bytes=1 << 30), 7)
    other = LinkModel(
        LinkProfile(loss_ratio=0.3, delay_s=0.05, jitter_s=jitter, rate_bps=10**6, queue_bytes=1 << 30), 7
    )
    now_ns = 0
    for number, (gap_ns, frame_bytes) in enumerate(arrivals):
        now_ns += gap_ns
        if number == cut_at:
            other.cut(now_ns, Outage.DROP)
        if number == cut_at + 3:
            other.mend(now_ns)
        lost, also_lost = plain.offer(now_ns, frame_bytes).fate, other.offer(now_ns, frame_bytes).fate
        if not cut_at <= number < cut_at + 3:
            assert lost is also_lost


@given(arrivals=arrivals, profile=profiles, hold_from=st.integers(0, 59), hold_ns=st.integers(1, 20 * NS_PER_S))
def test_a_hold_delivers_everything_it_took_in_order_after_its_end(
    arrivals: Arrivals, profile: LinkProfile, hold_from: int, hold_ns: int
) -> None:
    line: Line[int] = Line(replace(profile, loss_ratio=0.0), 3)
    now_ns, taken, came = 0, [], []
    for number, (gap_ns, frame_bytes) in enumerate(arrivals):
        now_ns += gap_ns
        came += take_all(line, now_ns)
        if number == hold_from:
            line.cut(now_ns, Outage.HOLD)
        if line.offer(now_ns, frame_bytes, number).fate in (Fate.DELIVERED, Fate.HELD):
            taken.append(number)
        if number >= hold_from:
            assert line.next_due_ns() is None
    now_ns += hold_ns
    assert hold_from >= len(arrivals) or take_all(line, now_ns) == []
    line.mend(now_ns)
    came += take_all(line, 1 << 62)
    assert came == taken


def test_a_hold_shifts_the_frame_in_flight_by_its_length() -> None:
    line: Line[str] = Line(LinkProfile(delay_s=0.1), 1)
    line.offer(0, 100, "frame")
    line.cut(40 * MS, Outage.HOLD)
    line.mend(12_040 * MS)
    assert line.next_due_ns() == 12_100 * MS


def test_the_queue_is_bounded_in_a_hold_and_at_rate() -> None:
    for rate_bps in (None, 8000):
        line: Line[int] = Line(LinkProfile(rate_bps=rate_bps, queue_bytes=1000), 1)
        line.cut(0, Outage.HOLD)
        fates = [line.offer(MS, 100, number).fate for number in range(12)]
        assert fates == [Fate.HELD] * 10 + [Fate.QUEUE_FULL] * 2
    model = LinkModel(LinkProfile(rate_bps=8000, queue_bytes=1000), 1)
    assert [model.offer(0, 100).fate for _ in range(11)] == [Fate.DELIVERED] * 10 + [Fate.QUEUE_FULL]
    assert model.offer(100 * MS, 100).fate is Fate.DELIVERED


def test_a_drop_outage_spares_frames_in_flight_unless_told() -> None:
    for kills_in_flight, left in ((False, ["early"]), (True, [])):
        line: Line[str] = Line(LinkProfile(delay_s=0.1), 1)
        line.offer(0, 100, "early")
        line.cut(10 * MS, Outage.DROP, kills_in_flight=kills_in_flight)
        assert line.offer(20 * MS, 100, "late").fate is Fate.OUTAGE
        line.mend(30 * MS)
        first = line.take(NS_PER_S)
        assert ([first] if first else []) == left
        assert line.model.counts()["cut_in_flight"] == int(kills_in_flight)


@given(
    rates=st.lists(st.one_of(st.none(), st.integers(1000, 10**7)), min_size=1, max_size=6),
    frames=st.integers(1, 20),
)
def test_a_new_rate_holds_for_what_waits_and_keeps_the_order(rates: list[int | None], frames: int) -> None:
    line: Line[int] = Line(LinkProfile(rate_bps=10_000, delay_s=0.05, queue_bytes=1 << 20), 1)
    now_ns, sent, came = 0, 0, []
    for rate_bps in rates:
        for _ in range(frames):
            line.offer(now_ns, 200, sent)
            sent += 1
        now_ns += 100 * MS
        came += take_all(line, now_ns)
        line.set(now_ns, replace(line.profile, rate_bps=rate_bps))
    came += take_all(line, 1 << 62)
    assert came == list(range(sent))


def test_a_faster_rate_empties_a_queue_that_grew_at_the_slow_one() -> None:
    line: Line[int] = Line(LinkProfile(rate_bps=8000, queue_bytes=1 << 20), 1)
    for number in range(11):
        line.offer(0, 1000, number)  # a second each
    line.set(1_500 * MS, replace(line.profile, rate_bps=8_000_000))
    assert take_all(line, 1_500 * MS) == [0]
    assert take_all(line, 1_511 * MS) == list(range(1, 11))  # half a frame and nine whole ones at 1 ms each
    verdict = line.offer(1_511 * MS, 1000, 11)
    assert verdict.deliver_at_ns == 1_512 * MS


def test_an_oversize_frame_is_dropped_by_name() -> None:
    model = LinkModel(LinkProfile(mtu_bytes=100), 1)
    assert [model.offer(0, size).fate for size in (100, 101)] == [Fate.DELIVERED, Fate.OVERSIZE]
    assert model.counts()["oversize"] == 1


def test_the_loss_ratio_is_met() -> None:
    model = LinkModel(LinkProfile(loss_ratio=0.1), 5)
    lost = sum(model.offer(number, 100).fate is Fate.LOST for number in range(20_000))
    assert abs(lost / 20_000 - 0.1) < 4 * (0.1 * 0.9 / 20_000) ** 0.5


@given(arrivals=arrivals, profile=profiles, seed=st.integers(0, 5))
def test_equal_seeds_and_calls_give_equal_digests_and_others_do_not(
    arrivals: Arrivals, profile: LinkProfile, seed: int
) -> None:
    def run(extra_bytes: int) -> str:
        model, now_ns = LinkModel(profile, seed), 0
        for gap_ns, frame_bytes in arrivals:
            now_ns += gap_ns
            model.offer(now_ns, frame_bytes + extra_bytes)
        return model.digest()

    assert run(0) == run(0) != run(1)


def test_the_digest_is_the_same_on_every_machine() -> None:
    model = LinkModel(LinkProfile(rate_bps=512_000, delay_s=0.3, jitter_s=0.05, loss_ratio=0.1), 42)
    for number in range(2000):
        model.offer(number * 20 * MS, 50 + number % 1000)
    assert model.digest() == "5bb9d54b6c847628aac09c6b780bc8fa"
    assert derived_seed(1, "a", "b") == derived_seed(1, "a", "b") != derived_seed(1, "b", "a")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rate_bps": 0}, "rate_bps 0: allowed is 1 or more"),
        ({"delay_s": -1.0}, "delay_s -1.0: allowed is 0 to 3600"),
        ({"delay_s": float("nan")}, "delay_s nan"),
        ({"jitter_s": 0.2, "delay_s": 0.1}, "jitter_s 0.2: allowed is 0 to delay_s"),
        ({"loss_ratio": 1.5}, "loss_ratio 1.5: allowed is 0 to 1"),
    ],
)
def test_an_impossible_number_is_refused_by_name(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        LinkProfile(**wrong)  # type: ignore[arg-type]  # wrong on purpose


@given(arrivals=arrivals, seed=st.integers(0, 1000))
def test_two_lines_that_share_carry_what_one_does(arrivals: Arrivals, seed: int) -> None:
    profile = LinkProfile(rate_bps=100_000, delay_s=0.1, queue_bytes=4000)
    alone: Line[int] = Line(profile, seed)
    pair: list[Line[int]] = [Line(profile, seed), Line(profile, seed)]
    pair[1].share(pair[0])
    now_ns = 0
    for number, (gap_ns, frame_bytes) in enumerate(arrivals):
        now_ns += gap_ns
        assert pair[number % 2].offer(now_ns, frame_bytes, number) == alone.offer(now_ns, frame_bytes, number)


def test_lines_that_are_unlike_do_not_share() -> None:
    one, other = LinkProfile(rate_bps=1000), LinkProfile(rate_bps=2000)
    with pytest.raises(ProfileError, match="only alike, plain ones share"):
        Line[int](one, 1).share(Line[int](other, 1))


def test_a_shared_line_keeps_its_rate_and_holds_nothing() -> None:
    profile = LinkProfile(rate_bps=1000)
    first, second = Line[int](profile, 1), Line[int](profile, 2)
    second.share(first)
    with pytest.raises(ProfileError, match="others share it"):
        first.set(0, replace(profile, rate_bps=500))
    with pytest.raises(ProfileError, match="neither holds nor forgets"):
        second.cut(0, Outage.HOLD)
    second.cut(0)
    second.mend(1)
    assert second.offer(1, 10, 1).fate is first.offer(1, 10, 1).fate is Fate.DELIVERED
