"""Lines take short ways; what comes out of them is what a line without any would give."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from link_sim.link.delays import JitterShape
from link_sim.link.line import Line
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Fate, LinkModel, Outage, Verdict, stretched_ns
from link_sim.link.queues import QueueKind
from link_sim.link.verdict_log import BLOCK, VerdictLog

MS = 1_000_000


@dataclass(slots=True)
class Flight:
    """A frame on its way, all times on the link's own clock."""

    due_ns: int
    order: float
    sent_ns: int
    frame: int


@dataclass(slots=True)
class SlowLine:
    """A line that asks its model about each frame and sorts all of them each time."""

    model: LinkModel
    order: int = 0
    flights: list[Flight] = field(default_factory=list)

    def offer(self, now_ns: int, frame_bytes: int, frame: int) -> Verdict:
        verdict = self.model.offer(now_ns, frame_bytes)
        if verdict.fate <= Fate.HELD:
            self.order += 1
            self.flights.append(Flight(verdict.due_ns, self.order, verdict.sent_ns, frame))
            if verdict.copy_due_ns >= 0:
                self.flights.append(Flight(verdict.copy_due_ns, self.order + 0.5, verdict.sent_ns, frame))
        self._sort()
        return verdict

    def _sort(self) -> None:
        self.flights.sort(key=lambda flight: (flight.due_ns, flight.order))

    def next_due_ns(self) -> int | None:
        held_ns = self.model.held_ns
        return None if held_ns is None or not self.flights else self.flights[0].due_ns + held_ns

    def take(self, now_ns: int) -> int | None:
        due_ns = self.next_due_ns()
        return self.flights.pop(0).frame if due_ns is not None and due_ns <= now_ns else None

    def set(self, now_ns: int, profile: LinkProfile) -> None:
        clock_ns, old_rate_bps = self.model.clock_ns(now_ns), self.model.profile.rate_bps
        self.model.set(now_ns, profile)
        if old_rate_bps == profile.rate_bps:
            return
        last_due_ns = 0
        for flight in self.flights:
            sent_ns = stretched_ns(flight.sent_ns, clock_ns, old_rate_bps, profile.rate_bps)
            flight.due_ns += sent_ns - flight.sent_ns
            flight.sent_ns = sent_ns
            if not profile.reorders:
                flight.due_ns = last_due_ns = max(last_due_ns, flight.due_ns)
        self.model.last_due_ns = last_due_ns
        self._sort()

    def cut(self, now_ns: int, outage: Outage, *, kills_in_flight: bool = False) -> None:
        self.model.cut(now_ns, outage, kills_in_flight=kills_in_flight)
        if kills_in_flight:
            self.model.count_killed(len(self.flights))
            self.flights.clear()

    def mend(self, now_ns: int) -> None:
        self.model.mend(now_ns)


def any_profile(rng: random.Random) -> LinkProfile:
    """Mostly plain ones; times and sizes are such that queues end exactly full, and last nanoseconds exactly used."""
    plain = LinkProfile(
        rate_bps=rng.choice([None, 300, 8000, 64_000, 999_983, 12_000_000, 7_999_999_999, 1 << 40]),
        delay_s=rng.choice([0.001, 0.03, 0.3]),
        jitter_s=rng.choice([0.0, 0.0, 0.001]),
        jitter_shape=rng.choice(list(JitterShape)),
        jitter_correlation_ratio=rng.choice([0.0, 0.7]),
        loss_ratio=rng.choice([0.0, 0.01, 0.3]),
        burst_enter_ratio=rng.choice([0.0, 0.0, 0.1]),
        burst_leave_ratio=0.3,
        queue_bytes=rng.choice([1000, 20_000, 1 << 20]),
        overhead_bytes=rng.choice([0, 28]),
        mtu_bytes=rng.choice([None, None, 1000]),
    )
    other: dict[str, object] = rng.choice(
        [
            {"reorders": True, "jitter_s": 0.001},
            {"duplicate_ratio": 0.1},
            {"lost_frames": (3, 5, 50)},
            {"queue_kind": QueueKind.CODEL},
            {"rate_bps": None, "rate_schedule": ((0.0, 64_000), (0.2, 9600))},
        ]
    )
    return replace(plain, **other) if rng.random() < 0.25 else plain  # type: ignore[arg-type]  # each of its own type


def change_of(rng: random.Random, now_ns: int) -> Callable[[SlowLine | Line[int]], None]:
    """An outage, its end or other numbers, for several lines alike."""
    choice = rng.random()
    if choice < 0.3:
        outage, kills = rng.choice(list(Outage)), rng.random() < 0.2
        return lambda line: line.cut(now_ns, outage, kills_in_flight=kills)
    if choice < 0.7:
        return lambda line: line.mend(now_ns)
    profile = any_profile(rng)
    return lambda line: line.set(now_ns, profile)


@pytest.mark.parametrize("seed", range(100))
def test_every_way_through_a_line_gives_what_the_longest_gives(seed: int) -> None:
    rng = random.Random(seed)
    profile, gap_ns = any_profile(rng), rng.choice([0, 1, MS, 100 * MS])
    sizes = [rng.randrange(1, 1500) for _ in range(rng.choice([1, 2, 500]))] + [125, 500, 1000]
    slow = SlowLine(LinkModel(profile, seed))
    carried, offered, watched = (Line[int](profile, seed) for _ in range(3))
    lines, told, taken = (carried, offered, watched), list[Verdict](), list[int]()
    carry, carry_watched, changes_ratio, now_ns = carried.carry, watched.carry, rng.choice([0.05, 0.2]), 0
    watched.observe(lambda *about: told.append(about[-1]), lambda *about: taken.append(about[-1]))
    for number in range(200):
        now_ns += rng.choice([0, gap_ns, rng.randrange(gap_ns + 1)])
        frame_bytes = rng.choice(sizes)
        verdict = slow.offer(now_ns, frame_bytes, number)
        assert offered.offer(now_ns, frame_bytes, number) == verdict
        assert carry(now_ns, frame_bytes, number) == verdict.deliver_at_ns
        if number % 2:
            assert watched.offer(now_ns, frame_bytes, number) == verdict
        else:
            assert carry_watched(now_ns, frame_bytes, number) == verdict.deliver_at_ns
        assert told.pop() == verdict
        while rng.random() < 0.6:
            frame = slow.take(now_ns)
            assert [line.take(now_ns) for line in lines] == [frame] * 3
            assert frame is None or taken.pop() == frame
        assert [line.next_due_ns() for line in lines] == [slow.next_due_ns()] * 3
        assert [len(line) for line in lines] == [len(slow.flights)] * 3
        if rng.random() < changes_ratio:
            change = change_of(rng, now_ns)
            for each in (slow, *lines):
                change(each)
            assert [line.model.waiting_bytes(now_ns) for line in lines] == [slow.model.waiting_bytes(now_ns)] * 3
    for line in lines:
        assert line.model.digest() == slow.model.digest()
        assert line.model.counts() == slow.model.counts()


def test_frames_due_together_come_in_the_order_they_were_offered_in_whatever_was_between() -> None:
    line, profile = Line[int](LinkProfile(rate_bps=8000, delay_s=100), 1), LinkProfile(rate_bps=8000)
    line.offer(0, 1000, 1)
    line.set(0, profile)
    dues_ns = [line.offer(0, 1000, number).due_ns for number in (2, 3)]
    assert dues_ns == [101_000 * MS] * 2  # not before the first one
    line.set(0, replace(profile, rate_bps=80_000, reorders=True))
    assert line.next_due_ns() == 98_300 * MS  # the last one, which gained most
    line.set(0, profile)
    assert line.take_due(101_000 * MS, 3) == ([1, 2, 3], [101_000 * MS] * 3)


def test_a_rate_without_limit_lets_go_what_a_schedule_kept_waiting_even_in_a_hold() -> None:
    for is_held in (False, True):
        line = Line[int](LinkProfile(rate_schedule=((0.0, 8000),)), 1)
        assert line.offer(0, 1000, 0).sent_ns == 1000 * MS
        line.set(0, LinkProfile())
        if is_held:
            line.cut(0, Outage.HOLD)
        verdict = line.offer(0, 1000, 1)
        assert (verdict.sent_ns, verdict.due_ns) == (0, 1000 * MS)  # sent at once, and still in order


def test_the_log_counts_and_hashes_alike_in_any_block() -> None:
    whole, parts = VerdictLog(), VerdictLog()
    for number in range(3 * BLOCK + 7):
        fate = Fate.LOST if number % 10 == 0 else Fate.DELIVERED
        for log in (whole, parts):
            log.add(number, 100, fate, number + 5)
            if number % 100 == 99:
                log.remark(number, -1, 64_000, 0)
        if number % 37 == 0:
            parts.flush()
    assert whole.verdicts == 3 * BLOCK + 7
    assert whole.count() == parts.count() == {Fate.DELIVERED: 2771, Fate.LOST: 308}
    assert whole.digest() == parts.digest()
    parts.add(0, 1, Fate.DELIVERED, 2)
    assert whole.digest() != parts.digest()
