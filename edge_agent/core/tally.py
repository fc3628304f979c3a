"""What one contact's frames met, by the second in which they left: arrived, lost, how late, and how links took turns.

The shell takes the seconds away once they have settled; what becomes known of one later (a frame thought lost that was
only late) is a second entry for it, and entries of one second add up. Delays are one way: by the receiver's stamps,
with its clock set from the quickest round trips of the last minute, half of which is taken for each way (the clock
filter of RFC 5905, section 10). So each is wrong by half a round trip at most, and ``bound_s`` says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.core.arq import Arrived, SentFrame
from edge_agent.core.effects import LinkState

SECONDS_MAX = 120
"""Seconds kept for a shell that does not come; the oldest go, uncounted: they become unobserved there."""
DRIFT_RATIO = 50e-6
"""By so much two clocks may run apart at the worst."""
FILTER_S = 32.0
"""The quickest round trip of this and of the span before it sets the clock: two clocks drift 20 ppm, 1 ms in 50 s."""


@dataclass(slots=True)
class SecondCount:
    """Frames that left within [second, second + 1) and asked for an answer. Sums in seconds, over ``timed`` frames.

    ``lost`` below 0: so many that an earlier entry counted as lost have arrived. ``jitter_sum_s``: of the differences
    between the delays of frames acknowledged one after the other (IP packet delay variation, ITU-T Y.1540).
    """

    second: int
    arrived: int = 0
    lost: int = 0
    timed: int = 0
    delay_sum_s: float = 0.0
    delay_max_s: float = 0.0
    jitter_sum_s: float = 0.0
    bound_s: float = 0.0
    suspicions: int = 0
    switches: int = 0
    switch_sum_s: float = 0.0


class LinkSeconds(NamedTuple):
    """One link to one peer (empty: nobody was heard there) as of now, with the seconds that have settled.

    ``is_there`` False: its transport is gone. ``last_sent_s`` is 0 before the first frame.
    """

    link: str
    peer: str
    state: LinkState
    is_there: bool
    last_sent_s: float
    last_heard_s: float | None
    counts: tuple[SecondCount, ...]


class _Quickest(NamedTuple):
    """The quickest round trip of a span, what the receiver's clock showed beyond ours on its way there, and when."""

    rtt_s: float
    offset_s: float
    at_s: float


_NEVER = _Quickest(float("inf"), 0.0, 0.0)


@dataclass(slots=True, eq=False)
class LinkTally:
    """The counts of one contact."""

    seconds: dict[int, SecondCount] = field(default_factory=dict)
    arrival_s: float | None = None
    """When the newest frame with bundles that is acknowledged arrived there, by this node's clock."""
    left_s: float | None = None
    """Since when nothing arrived that was sent: ``arrival_s`` when the link came into doubt, or when the first frame
    with bundles that was in flight then had left; None: it is in no doubt."""
    switch_s: float | None = None
    """How long the last switch to another link took, from then to the first frame with bundles that arrived there."""
    switched_s: float = 0.0
    """When that was known."""
    replaced: "LinkTally | None" = None
    """Of a link in doubt for which this one is watched: its first frame after that ends the switch."""
    first_s: float | None = None
    is_gone: bool = False
    """The link was convicted, and no other has taken over so far."""
    _newest: SecondCount = field(default_factory=lambda: SecondCount(-1))
    _quick: _Quickest = _NEVER
    _quick_before: _Quickest = _NEVER
    _span_from_s: float = float("-inf")
    _delay_s: float | None = None

    def of(self, at_s: float) -> SecondCount:
        """The count of the second that holds ``at_s``."""
        second = int(at_s)
        count = self.seconds.get(second)
        if count is None:
            count = self.seconds[second] = SecondCount(second)
            if len(self.seconds) > SECONDS_MAX:
                del self.seconds[next(iter(self.seconds))]
        self._newest = count
        return count

    def note_arrived(self, arrived: list[Arrived], now_s: float, *, is_round: bool = True) -> None:
        """Frames newly acknowledged, in the order of their numbers. ``is_round``: the word of it came by this link."""
        newest, newest_s, is_late = arrived[-1]
        if newest_s is not None and is_round and not is_late:
            self._set_clock(newest_s - newest.sent_s, now_s - newest.sent_s, now_s)
        quick = self._quick if self._quick.rtt_s <= self._quick_before.rtt_s else self._quick_before
        offset_s, before_s = quick.offset_s, self._delay_s
        bound_s = quick.rtt_s / 2 + DRIFT_RATIO * (now_s - quick.at_s)
        is_clock_set = quick is not _NEVER
        count = self._newest
        for frame, arrived_s, was_lost in arrived:
            sent_s = frame.sent_s
            if not count.second <= sent_s < count.second + 1:
                count = self.of(sent_s)
            count.arrived += 1
            if was_lost:
                count.lost -= 1
            if arrived_s is not None and is_clock_set:
                delay_s = arrived_s - sent_s - offset_s
                count.timed += 1
                count.delay_sum_s += delay_s
                if delay_s > count.delay_max_s:
                    count.delay_max_s = delay_s
                count.bound_s = bound_s
                if was_lost:
                    continue
                if before_s is not None:
                    step_s = arrived_s - sent_s - before_s
                    count.jitter_sum_s += step_s if step_s >= 0 else -step_s
                before_s = arrived_s - sent_s
        self._delay_s = before_s
        if newest.pieces and newest_s is not None and is_clock_set and not is_late:
            self.arrival_s = newest_s - offset_s
            if self.replaced is not None:
                self._take_over()

    def _set_clock(self, shown_s: float, rtt_s: float, now_s: float) -> None:
        if now_s - self._span_from_s > FILTER_S:  # while nothing comes round, what is known stays, and its error grows
            is_fresh = now_s - self._quick.at_s <= 2 * FILTER_S
            self._quick_before = self._quick if is_fresh else _NEVER
            self._quick, self._span_from_s = _NEVER, now_s
        if rtt_s <= self._quick.rtt_s:
            self._quick = _Quickest(rtt_s, shown_s - rtt_s / 2, now_s)

    def restart_clock(self) -> None:
        """A new session: the receiver's times count from another moment."""
        self._quick = self._quick_before = _NEVER
        self._span_from_s, self._delay_s = float("-inf"), None

    def note_lost(self, frames: Iterable[SentFrame]) -> None:
        """Frames given up, which may yet be acknowledged."""
        for frame in frames:
            self.of(frame.sent_s).lost += 1

    def suspect(self, others: "Iterable[LinkTally]", now_s: float, oldest_s: float | None) -> None:
        """The link is in doubt; ``others`` lead to the same peer. ``oldest_s``: when the first frame with bundles that
        is in flight left; None: there is none."""
        self.of(now_s).suspicions += 1
        if oldest_s is not None and self.left_s is None and self.arrival_s is not None:
            self.left_s = max(self.arrival_s, oldest_s)
            for other in others:
                if other.replaced is None:
                    other.replaced, other.first_s = self, None

    def trust(self, others: "Iterable[LinkTally]") -> None:
        """The doubt is over: nothing was replaced."""
        self.left_s, self.is_gone = None, False
        self._release(others)

    def convict(self, others: "Iterable[LinkTally]", now_s: float) -> None:
        """The link is dead; where it was in doubt with bundles in flight, this is a switch to whichever came first."""
        if self.left_s is None:
            return
        self.is_gone = True
        firsts_s = [each.first_s for each in others if each.replaced is self and each.first_s is not None]
        if firsts_s:
            self._end_switch(min(firsts_s), now_s)
            self._release(others)

    def _take_over(self) -> None:
        gone = self.replaced
        assert gone is not None
        assert self.arrival_s is not None
        if gone.left_s is None:  # another link was quicker
            self.replaced = self.first_s = None
        elif self.first_s is None and self.arrival_s > gone.left_s:
            self.first_s = self.arrival_s
            if gone.is_gone:
                gone._end_switch(self.first_s, self.first_s)
                self.replaced = self.first_s = None

    def _end_switch(self, first_s: float, now_s: float) -> None:
        assert self.left_s is not None
        count = self.of(now_s)
        self.switch_s, self.switched_s = first_s - self.left_s, now_s
        count.switches += 1
        count.switch_sum_s += self.switch_s
        self.left_s, self.is_gone = None, False

    def _release(self, others: "Iterable[LinkTally]") -> None:
        for other in others:
            if other.replaced is self:
                other.replaced = other.first_s = None

    def take(self, before_s: float) -> tuple[SecondCount, ...]:
        """Seconds that ended at ``before_s`` or sooner, once."""
        settled = tuple([count for count in self.seconds.values() if count.second + 1 <= before_s])
        for count in settled:
            del self.seconds[count.second]
        if self._newest.second not in self.seconds:
            self._newest = SecondCount(-1)  # what was taken counts no more
        return settled
