"""Services: when the last bit of a frame has left the sender. Integer nanoseconds, exact over any length of time.

Work is counted in bits x NS_PER_S, so that a rate of ``r`` bit/s does exactly ``r`` of it each nanosecond and nothing
is ever rounded but the answer, which is rounded up: never early.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from link_sim.errors import ProfileError

NS_PER_S = 1_000_000_000
NEVER_NS = 1 << 62
UNLIMITED_BPS = 1 << 50  # from here on a schedule has no limit: a byte would take a hundred-thousandth of a nanosecond
OPPORTUNITY_BYTES = 1500  # what one line of a mahimahi trace may carry (mahimahi's link_queue: PACKET_SIZE)


class Service(Protocol):
    """Serves frames one after another."""

    free_ns: int
    """When the last frame given to ``serve`` has left."""

    def serve(self, from_ns: int, wire_bytes: int) -> int:
        """When a frame has left whose service may begin at ``from_ns``; NEVER_NS when the link will never carry it."""


class SteadyRate:
    """A constant rate, or None for one without limit."""

    __slots__ = ("free_ns", "rate_bps", "spare")

    def __init__(self, rate_bps: int | None) -> None:
        self.rate_bps = rate_bps
        self.free_ns = 0
        self.spare = 0
        """Work that the last nanosecond could have done beyond what was given to it."""

    def serve(self, from_ns: int, wire_bytes: int) -> int:
        rate_bps = self.rate_bps
        work, start_ns = wire_bytes * 8 * NS_PER_S, from_ns
        if from_ns < self.free_ns:
            start_ns = self.free_ns
            work -= self.spare
        if rate_bps is None or work <= 0:
            self.free_ns, self.spare = start_ns, max(0, -work) if rate_bps is not None else 0
            return start_ns
        span_ns = -(-work // rate_bps)
        self.spare = rate_bps * span_ns - work
        self.free_ns = start_ns = start_ns + span_ns
        return start_ns


class TokenBucket:
    """A shaper or policer: what a bucket of ``burst_bytes`` holds leaves at once, the rest at the rate that fills it.

    A frame longer than the bucket waits until that much more has come in. Source: the virtual scheduling form of the
    generic cell rate algorithm (ITU-T I.371), in work instead of time.
    """

    __slots__ = ("_burst_work", "_rate_bps", "_spent_work", "free_ns")

    def __init__(self, rate_bps: int, burst_bytes: int) -> None:
        self._rate_bps = rate_bps
        self._burst_work = burst_bytes * 8 * NS_PER_S
        self._spent_work = 0
        """When the bucket is full again, times the rate."""
        self.free_ns = 0

    def would_leave_ns(self, from_ns: int, wire_bytes: int) -> int:
        """When a frame offered at ``from_ns`` would leave; nothing is spent."""
        from_ns = max(from_ns, self.free_ns)
        due_work = max(self._spent_work, from_ns * self._rate_bps) + wire_bytes * 8 * NS_PER_S - self._burst_work
        return max(from_ns, -(-due_work // self._rate_bps))

    def serve(self, from_ns: int, wire_bytes: int) -> int:
        self.free_ns = self.would_leave_ns(from_ns, wire_bytes)
        self._spent_work = max(self._spent_work, from_ns * self._rate_bps) + wire_bytes * 8 * NS_PER_S
        return self.free_ns

    def empty(self, at_ns: int) -> None:
        """What it held is gone at ``at_ns``, and nothing leaves before."""
        self.free_ns = at_ns
        self._spent_work = at_ns * self._rate_bps + self._burst_work


class RateSchedule:
    """Rates that hold from given times on, once or over and over: 0 is a pause, UNLIMITED_BPS or more no limit."""

    __slots__ = ("_period_ns", "_rates", "_spare", "_starts", "free_ns")

    def __init__(self, steps: Sequence[tuple[int, int]], period_ns: int | None = None) -> None:
        """``steps`` are (from ns, bit/s), rising from 0; the last one holds for ever or until ``period_ns``.

        Raises ProfileError.
        """
        if not steps or steps[0][0] != 0:
            raise ProfileError("rate_schedule: the first step must begin at 0 s")
        if any(later[0] <= earlier[0] for earlier, later in pairwise(steps)):
            raise ProfileError("rate_schedule: times must rise")
        if period_ns is not None and period_ns <= steps[-1][0]:
            raise ProfileError("schedule_period_s: must be beyond the last step")
        if any(rate_bps < 0 for _, rate_bps in steps) or not any(rate_bps for _, rate_bps in steps):
            raise ProfileError("rate_schedule: rates are 0 or more bit/s, and one is more")
        self._starts = [start_ns for start_ns, _ in steps]
        self._rates = [rate_bps for _, rate_bps in steps]
        self._period_ns = period_ns
        self.free_ns = 0
        self._spare = 0

    def rate_at(self, at_ns: int) -> tuple[int, int]:
        """The rate at a time, and until when it holds (NEVER_NS: for ever)."""
        base_ns = 0
        if self._period_ns is not None:
            base_ns = at_ns // self._period_ns * self._period_ns
        at = bisect_right(self._starts, at_ns - base_ns) - 1
        if at + 1 < len(self._starts):
            return self._rates[at], base_ns + self._starts[at + 1]
        return self._rates[at], NEVER_NS if self._period_ns is None else base_ns + self._period_ns

    def serve(self, from_ns: int, wire_bytes: int) -> int:
        work, at_ns = wire_bytes * 8 * NS_PER_S, from_ns
        if from_ns < self.free_ns:
            at_ns = self.free_ns
            work -= self._spare
        while work > 0:
            rate_bps, until_ns = self.rate_at(at_ns)
            if rate_bps >= UNLIMITED_BPS:
                work = 0
                break
            done = rate_bps * (until_ns - at_ns)
            if done >= work:
                span_ns = -(-work // rate_bps)
                at_ns += span_ns
                work -= rate_bps * span_ns
            elif until_ns >= NEVER_NS:
                self.free_ns, self._spare = NEVER_NS, 0
                return NEVER_NS
            else:
                work -= done
                at_ns = until_ns
        self.free_ns, self._spare = at_ns, -work
        return at_ns


class Opportunities:
    """Chances to send 1,500 bytes each, over and over, as a mahimahi trace lists them.

    Frames share a chance, and a long frame takes several; what a chance has left when nothing waits is gone.
    """

    __slots__ = ("_at", "_left_bytes", "_period_ns", "_times", "free_ns")

    def __init__(self, times_ns: Sequence[int]) -> None:
        """``times_ns`` do not fall; the last one is the period. Raises ProfileError."""
        if not times_ns or times_ns[-1] <= 0:
            raise ProfileError("trace: no chance to send")
        if any(later < earlier for earlier, later in pairwise(times_ns)):
            raise ProfileError("trace: times fall")
        self._times = list(times_ns)
        self._period_ns = times_ns[-1]
        self._at = -1  # the chance in use, counted over all rounds
        self._left_bytes = 0
        self.free_ns = 0

    def time_ns(self, number: int) -> int:
        """When chance ``number`` comes, counted over all rounds."""
        rounds, at = divmod(number, len(self._times))
        return rounds * self._period_ns + self._times[at]

    def _first_from(self, at_ns: int) -> int:
        """The first chance at ``at_ns`` or later."""
        rounds = max(0, (at_ns - 1) // self._period_ns)
        return rounds * len(self._times) + bisect_left(self._times, at_ns - rounds * self._period_ns)

    def serve(self, from_ns: int, wire_bytes: int) -> int:
        if self._at < 0 or from_ns > self.time_ns(self._at):
            self._at, self._left_bytes = self._first_from(from_ns), OPPORTUNITY_BYTES
        left_bytes = wire_bytes
        while left_bytes > self._left_bytes:
            left_bytes -= self._left_bytes
            self._at, self._left_bytes = self._at + 1, OPPORTUNITY_BYTES
        self._left_bytes -= left_bytes
        self.free_ns = self.time_ns(self._at)
        return self.free_ns


class DutyCycle:
    """Silence after each frame, so that the air is used for ``duty_ratio`` of the time (ETSI EN 300 220 counts so)."""

    __slots__ = ("_duty_ratio", "_inner", "free_ns")

    def __init__(self, inner: Service, duty_ratio: float) -> None:
        self._inner = inner
        self._duty_ratio = duty_ratio
        self.free_ns = 0

    def serve(self, from_ns: int, wire_bytes: int) -> int:
        start_ns = max(from_ns, self.free_ns)
        sent_ns = self._inner.serve(start_ns, wire_bytes)
        self.free_ns = sent_ns + round((sent_ns - start_ns) * (1 / self._duty_ratio - 1))
        return sent_ns


class MessageSlots:
    """At most one frame each ``interval_ns``; an earlier one is held until then (BeiDou's service frequency)."""

    __slots__ = ("_inner", "_interval_ns", "_next_ns", "free_ns")

    def __init__(self, inner: Service, interval_ns: int) -> None:
        self._inner = inner
        self._interval_ns = interval_ns
        self._next_ns = 0
        self.free_ns = 0

    def serve(self, from_ns: int, wire_bytes: int) -> int:
        start_ns = max(from_ns, self._next_ns)
        self._next_ns = start_ns + self._interval_ns
        sent_ns = self._inner.serve(start_ns, wire_bytes)
        self.free_ns = max(sent_ns, self._next_ns)
        return sent_ns
