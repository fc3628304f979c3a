"""Each effect does what it says, measured over many frames, and moves no other effect's draws."""

import itertools
import random
from collections import Counter
from dataclasses import replace
from statistics import fmean
from typing import cast

import pytest

from link_sim.errors import ProfileError
from link_sim.link.delays import JitterShape
from link_sim.link.line import Line
from link_sim.link.link_profile import LinkProfile
from link_sim.link.media import Medium
from link_sim.link.model import Fate, LinkModel, Outage, spoiled
from link_sim.link.queues import QueueKind
from link_sim.link.services import NS_PER_S
from link_sim.profiles import profile_from, profile_table
from link_sim.traces.trace import LinkTrace, TraceRow

MS = 1_000_000
FRAMES = 20_000


def fates(profile: LinkProfile, frames: int = FRAMES, *, frame_bytes: int = 200, seed: int = 5) -> list[Fate]:
    model = LinkModel(profile, seed)
    return [model.offer(number * MS, frame_bytes).fate for number in range(frames)]


def runs(lost: list[bool]) -> list[int]:
    """Lengths of the runs of lost frames."""
    return [sum(1 for _ in group) for is_lost, group in itertools.groupby(lost) if is_lost]


def test_burst_loss_has_its_share_and_its_length() -> None:
    """Stationary share of the bad state 0.01 / (0.01 + 0.2), mean stay 1 / 0.2 frames."""
    lost = [fate is Fate.LOST for fate in fates(LinkProfile(burst_enter_ratio=0.01, burst_leave_ratio=0.2), 5 * FRAMES)]
    assert fmean(lost) == pytest.approx(0.01 / 0.21, rel=0.1)
    assert fmean(runs(lost)) == pytest.approx(5.0, rel=0.1)


def test_loss_while_good_and_while_bad_are_apart() -> None:
    profile = LinkProfile(loss_ratio=0.02, burst_enter_ratio=0.05, burst_leave_ratio=0.05, burst_loss_ratio=0.5)
    assert fmean(fate is Fate.LOST for fate in fates(profile)) == pytest.approx(0.26, rel=0.1)


def test_listed_frames_are_lost_and_no_other() -> None:
    found = fates(LinkProfile(lost_frames=(0, 3, 17)), 30)
    assert [number for number, fate in enumerate(found) if fate is Fate.LOST] == [0, 3, 17]


@pytest.mark.parametrize("frame_bytes", [20, 200, 1400])
def test_bit_errors_take_the_longer_frames(frame_bytes: int) -> None:
    expected = 1 - (1 - 1e-4) ** (8 * frame_bytes)
    lost = [fate is Fate.LOST for fate in fates(LinkProfile(bit_error_ratio=1e-4), frame_bytes=frame_bytes)]
    assert fmean(lost) == pytest.approx(expected, rel=0.1)


def test_no_effect_moves_the_losses_of_another() -> None:
    plain = LinkProfile(loss_ratio=0.1, delay_s=0.05)
    others = [
        replace(plain, jitter_s=0.02),
        replace(plain, jitter_s=0.02, jitter_shape=JitterShape.TAIL, jitter_correlation_ratio=0.9),
        replace(plain, duplicate_ratio=0.3, corrupt_ratio=0.2),
        replace(plain, reorders=True, jitter_s=0.05),
        replace(plain, step_period_s=15, step_spread_s=0.04),
        replace(plain, poll_s=3, interval_s=0.0005),
    ]
    lost = [fate is Fate.LOST for fate in fates(plain, 2000)]
    for other in others:
        assert [fate is Fate.LOST for fate in fates(other, 2000)] == lost


def flights_s(profile: LinkProfile, frames: int = FRAMES) -> list[float]:
    model = LinkModel(profile, 3)
    verdicts = [model.offer(number * 1000 * MS, 100) for number in range(frames)]
    return [(each.due_ns - each.sent_ns) / NS_PER_S for each in verdicts]


def test_shapes_of_variation() -> None:
    even = flights_s(LinkProfile(delay_s=0.1, jitter_s=0.02))
    assert min(even) >= 0.08
    assert max(even) <= 0.12
    assert fmean(even) == pytest.approx(0.1, rel=0.01)
    normal = flights_s(LinkProfile(delay_s=0.1, jitter_s=0.02, jitter_shape=JitterShape.NORMAL))
    assert fmean(abs(each - 0.1) < 0.02 for each in normal) == pytest.approx(0.683, abs=0.02)
    tail = flights_s(LinkProfile(delay_s=0.1, jitter_s=0.02, jitter_shape=JitterShape.TAIL))
    assert min(tail) >= 0.1
    assert fmean(tail) == pytest.approx(0.12, rel=0.02)
    assert fmean(each > 0.1 + 3 * 0.02 for each in tail) == pytest.approx(0.0498, rel=0.15)


@pytest.mark.parametrize("correlation_ratio", [0.0, 0.9])
def test_variation_is_correlated_as_asked(correlation_ratio: float) -> None:
    found = flights_s(
        LinkProfile(
            delay_s=1.0,
            jitter_s=0.02,
            jitter_shape=JitterShape.NORMAL,
            jitter_correlation_ratio=correlation_ratio,
        )
    )
    mean = fmean(found)
    spread = fmean((each - mean) ** 2 for each in found)
    together = fmean((a - mean) * (b - mean) for a, b in itertools.pairwise(found))
    assert together / spread == pytest.approx(correlation_ratio, abs=0.03)


def test_steps_hold_for_their_period_and_do_not_depend_on_the_frames() -> None:
    profile = LinkProfile(delay_s=0.05, step_period_s=15, step_spread_s=0.02)
    dense, sparse = LinkModel(profile, 9), LinkModel(profile, 9)
    by_step: dict[int, set[int]] = {}
    for second in range(600):
        verdict = dense.offer(second * NS_PER_S, 50)
        by_step.setdefault(second // 15, set()).add(verdict.due_ns - verdict.sent_ns)
    assert all(len(flights) == 1 for flights in by_step.values())
    assert len({min(flights) for flights in by_step.values()}) > 30
    for step in (3, 11, 39):
        verdict = sparse.offer((step * 15 + 7) * NS_PER_S, 50)
        assert {verdict.due_ns - verdict.sent_ns} == by_step[step]


def arrivals(profile: LinkProfile, frames: int = 300) -> list[bytes]:
    line: Line[bytes] = Line(profile, 4, spoil=spoiled)
    out: list[bytes] = []
    for number in range(frames):
        line.offer(number * MS, 40, number.to_bytes(4, "big") * 10)
        while (frame := line.take(number * MS)) is not None:
            out.append(frame)
    while (frame := line.take(10**15)) is not None:
        out.append(frame)
    return out


def test_frames_stay_in_order_unless_they_may_not() -> None:
    profile = LinkProfile(delay_s=0.05, jitter_s=0.04)
    in_order = arrivals(profile)
    assert in_order == sorted(in_order)
    out_of_order = arrivals(replace(profile, reorders=True))
    assert sorted(out_of_order) == in_order
    assert out_of_order != in_order


def test_copies_arrive_twice_and_damage_is_one_bit() -> None:
    found = Counter(arrivals(LinkProfile(duplicate_ratio=0.25, delay_s=0.01)))
    assert set(found.values()) == {1, 2}
    assert fmean(count == 2 for count in found.values()) == pytest.approx(0.25, abs=0.08)
    sent = {number.to_bytes(4, "big") * 10 for number in range(300)}
    damaged = [frame for frame in arrivals(LinkProfile(corrupt_ratio=0.3)) if frame not in sent]
    assert len(damaged) == pytest.approx(90, abs=30)
    for frame in damaged:
        nearest = min(bin(int.from_bytes(frame, "big") ^ int.from_bytes(whole, "big")).count("1") for whole in sent)
        assert nearest == 1


def test_a_mailbox_gives_out_at_its_polls() -> None:
    model = LinkModel(LinkProfile(delay_s=7, poll_s=20), 1)
    due_s = [model.offer(at_s * NS_PER_S, 10).due_ns / NS_PER_S for at_s in (0, 12, 13, 14)]
    assert due_s == [20, 20, 20, 40]


def test_a_queue_in_time_takes_what_leaves_soon_enough() -> None:
    model = LinkModel(LinkProfile(rate_bps=8000, queue_s=0.5, queue_bytes=10**6), 1)
    found = [model.offer(0, 100).fate for _ in range(10)]
    assert found == [Fate.DELIVERED] * 6 + [Fate.QUEUE_FULL] * 4


def test_a_shaper_holds_back_what_a_policer_drops() -> None:
    """Both let a bucket of four frames through at once, and then one frame each 10 ms."""
    shaper = LinkProfile(rate_bps=80_000, burst_bytes=400, queue_bytes=300)
    policer = replace(shaper, queue_bytes=0)
    for profile, kept in ((shaper, 7), (policer, 4)):
        model = LinkModel(profile, 1)
        verdicts = [model.offer(0, 100) for _ in range(10)]
        assert [each.fate is Fate.DELIVERED for each in verdicts] == [True] * kept + [False] * (10 - kept)
        assert [each.sent_ns // MS for each in verdicts[:kept]] == ([0] * 4 + [10, 20, 30])[:kept]
    assert model.offer(9 * MS, 100).fate is Fate.QUEUE_FULL
    assert model.offer(10 * MS, 100).fate is Fate.DELIVERED


def test_a_new_rate_begins_with_an_empty_bucket() -> None:
    model = LinkModel(LinkProfile(rate_bps=80_000, burst_bytes=400), 1)
    model.set(0, replace(model.profile, rate_bps=8_000))
    assert model.offer(0, 100).sent_ns == 100 * MS


@pytest.mark.parametrize("schedule", [(), ((0.0, 80_000),)])
def test_codel_keeps_the_queue_short_and_leaves_a_short_one_alone(schedule: tuple[tuple[float, int], ...]) -> None:
    """1.25 times the rate is offered for 60 s: tail drop fills the queue, CoDel keeps the waiting near its target."""
    profile = LinkProfile(
        rate_bps=None if schedule else 80_000, rate_schedule=schedule, queue_bytes=100_000, queue_kind=QueueKind.CODEL
    )
    waits: dict[QueueKind, list[float]] = {}
    for kind in QueueKind:
        model = LinkModel(replace(profile, queue_kind=kind), 1)
        waits[kind] = []
        for number in range(7500):
            now_ns = number * 8 * MS
            verdict = model.offer(now_ns, 100)
            if verdict.fate is Fate.DELIVERED:
                waits[kind].append((verdict.sent_ns - now_ns) / NS_PER_S)
        if kind is QueueKind.CODEL:
            assert model.counts()["aged"] > 500
    assert fmean(waits[QueueKind.TAIL_DROP][-1000:]) > 5
    assert fmean(waits[QueueKind.CODEL][-1000:]) < 0.2
    relaxed = LinkModel(profile, 1)
    assert all(relaxed.offer(number * 11 * MS, 100).fate is Fate.DELIVERED for number in range(5000))


def test_two_stations_that_do_not_listen_spoil_each_other() -> None:
    medium = Medium(listens=False)
    lines = [Line[bytes](LinkProfile(rate_bps=9600), station, medium=medium) for station in (0, 1)]
    lines[0].offer(0, 120, b"a")  # 100 ms on the air
    lines[1].offer(50 * MS, 120, b"b")
    lines[1].offer(400 * MS, 120, b"c")
    assert [line.take(NS_PER_S) for line in lines] == [None, b"c"]
    assert medium.collisions == 1
    assert [line.model.counts()["collided"] for line in lines] == [1, 1]


def test_stations_that_listen_wait_and_key_up_once() -> None:
    medium = Medium(keyup_s=0.02)
    a, b = (LinkModel(LinkProfile(rate_bps=9600), station, medium) for station in (0, 1))
    assert a.offer(0, 120).sent_ns == 120 * MS
    assert a.offer(0, 120).sent_ns == 220 * MS  # its carrier is up
    assert b.offer(50 * MS, 120).sent_ns == 340 * MS
    assert medium.collisions == 0


def test_a_net_of_radios_collides_less_when_it_listens() -> None:
    def collided(*, listens: bool) -> int:
        medium = Medium(listens=listens, sense_s=0.005, backoff_s=0.3, keyup_s=0.01)
        models = [LinkModel(LinkProfile(rate_bps=9600), station, medium) for station in range(5)]
        rng = random.Random(2)
        for number in range(300):
            models[rng.randrange(5)].offer(number * 300 * MS + rng.randrange(300) * MS, 60)
        return medium.collisions

    assert collided(listens=True) * 3 < collided(listens=False)


def test_a_trace_gives_rate_delay_and_loss_and_leaves_the_rest() -> None:
    rows = (
        TraceRow(0, rate_bps=8000, delay_ns=100 * MS),
        TraceRow(2 * NS_PER_S, rate_bps=0),
        TraceRow(4 * NS_PER_S, rate_bps=80_000, delay_ns=20 * MS, loss_ratio=1.0),
    )
    trace = LinkTrace(name="made", length_ns=6 * NS_PER_S, rows=rows)
    model = LinkModel(LinkProfile(trace=trace, delay_s=0.5), 1)
    first = model.offer(0, 1000)
    assert (first.sent_ns, first.due_ns) == (NS_PER_S, NS_PER_S + 100 * MS)
    paused = model.offer(1_900 * MS, 200)  # 100 bytes until 2 s, the rest at ten times the rate from 4 s on
    assert paused.sent_ns == 4 * NS_PER_S + 10 * MS
    assert model.offer(5 * NS_PER_S, 100).fate is Fate.LOST
    again = model.offer(6 * NS_PER_S, 1000)
    assert (again.sent_ns, again.due_ns) == (7 * NS_PER_S, 7 * NS_PER_S + 100 * MS)


def test_what_a_trace_did_not_measure_has_no_limit_on_a_profile_without_a_rate() -> None:
    """A recording of the agent's own tells of the other direction only when it was away (rate 0)."""
    rows = (TraceRow(0), TraceRow(2 * NS_PER_S, rate_bps=0), TraceRow(4 * NS_PER_S))
    recorded = LinkTrace(name="recorded", length_ns=6 * NS_PER_S, rows=rows)
    traced, free = LinkModel(LinkProfile(trace=recorded), 1), LinkModel(LinkProfile(), 1)
    for _ in range(300):  # more at one instant than any queue holds
        assert traced.offer(NS_PER_S, 1000) == free.offer(NS_PER_S, 1000)
    assert traced.waiting_bytes(NS_PER_S) == 0
    assert [traced.offer(3 * NS_PER_S, 1000).sent_ns for _ in range(2)] == [4 * NS_PER_S] * 2  # all at once at its end
    assert traced.waiting_bytes(3 * NS_PER_S) == 2000


def test_a_hold_stops_a_schedule_and_a_slower_rate_stretches_what_waits() -> None:
    line: Line[int] = Line(LinkProfile(rate_schedule=((0.0, 8000),)), 1)
    line.offer(0, 1000, 1)
    line.cut(NS_PER_S // 2, Outage.HOLD)
    line.offer(NS_PER_S, 1000, 2)
    line.mend(3 * NS_PER_S)
    assert line.next_due_ns() == int(3.5 * NS_PER_S)
    assert line.take(int(3.5 * NS_PER_S)) == 1
    assert line.next_due_ns() == int(4.5 * NS_PER_S)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"jitter_shape": "round"}, "jitter_shape 'round' is not one of even, normal, tail"),
        ({"queue_kind": 5}, "queue_kind 5 is not one of tail_drop, codel"),
        ({"reorders": 1}, "reorders 1 is neither true nor false"),
        ({"lost_frames": [1, "2"]}, "is not a list of whole numbers"),
        ({"lost_frames": [-1]}, "the first frame is 0"),
        ({"rate_schedule": [[0, 1.5]]}, "is not a list of"),
        ({"rate_schedule": [[0, 100]], "rate_bps": 9600}, "one of them says the rate"),
        ({"schedule_period_s": 5}, "rate_schedule is missing"),
        ({"duty_ratio": 0}, "allowed is above 0, to 1"),
        ({"jitter_s": 0.2, "delay_s": 0.1}, "allowed is 0 to delay_s"),
        ({"jitter_correlation_ratio": 1}, "allowed is 0 to below 1"),
        ({"step_spread_s": 0.01, "delay_s": 0.1}, "step_period_s is missing"),
        ({"poll_s": 0}, "allowed is above 0"),
        ({"burst_bytes": 0, "rate_bps": 8000}, "burst_bytes 0: allowed is 1 or more"),
        ({"burst_bytes": 1500}, "allowed with rate_bps alone"),
        ({"queue_bytes": 0, "rate_bps": 8000}, "too small"),
        ({"corrupt_ratio": 1.5}, "allowed is 0 to 1"),
        ({"delay_s": float("nan")}, "finite"),
        ({"price_per_frame": -1}, "allowed is 0 or more"),
    ],
)
def test_an_impossible_number_is_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        profile_from("link x", changes)


def test_a_table_gives_the_profile_back() -> None:
    profile = LinkProfile(
        rate_schedule=((0.0, 64_000), (12.5, 9600)),
        schedule_period_s=30,
        delay_s=0.3,
        jitter_shape=JitterShape.TAIL,
        jitter_s=0.1,
        lost_frames=(3, 4),
        queue_kind=QueueKind.CODEL,
        reorders=True,
    )
    assert profile_from("again", profile_table(profile)) == profile


def test_a_number_written_as_1e6_is_the_whole_number_and_others_are_refused() -> None:
    written = LinkProfile(rate_bps=cast(int, 1e6), queue_bytes=cast(int, 1e4), mtu_bytes=cast(int, 1.4e3))
    whole = LinkProfile(rate_bps=1_000_000, queue_bytes=10_000, mtu_bytes=1_400)
    lines = [Line[bytes](profile, 1) for profile in (written, whole)]
    for line in lines:
        line.offer(0, 100, b"frame")
    assert lines[0].model.digest() == lines[1].model.digest()
    assert LinkProfile(rate_schedule=((0, cast(int, 1e6)),)) == LinkProfile(rate_schedule=((0, 1_000_000),))
    with pytest.raises(ProfileError, match=r"rate_bps 0\.5: allowed is a whole number"):
        LinkProfile(rate_bps=cast(int, 0.5))
