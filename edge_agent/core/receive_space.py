"""Which frames of one session arrived: the replay window and the ACK that tells of it are the same set of numbers."""

from dataclasses import dataclass, field

from edge_agent.core.blocks import ACK_TIMES_MAX, TICK_S, Ack
from edge_agent.core.codec import put_ack
from edge_agent.core.intervals import IntervalSet

_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call
KEPT_RANGES = 128
"""Gaps remembered; below the oldest kept range every number counts as a replay. Bounds memory and replay alike."""
ACK_RANGES = 12
"""Ranges told in one ACK: a loss burst of this many gaps survives the loss of the acknowledgements before."""

ACK_FIXED_BYTES = 22
RANGE_BYTES = 6
ARRIVAL_BYTES = 5
"""Longest usual encodings in ACK: kind, reference, number, time and counts; one range; one arrival."""
ARRIVAL_LONGEST_BYTES = 12
ACK_LONGEST_BYTES = ACK_FIXED_BYTES + ACK_RANGES * 12 + ACK_TIMES_MAX * ARRIVAL_LONGEST_BYTES
"""With numbers and times of six bytes each (2^42: years of ticks). Where there is less room, the ACK is measured."""


@dataclass(slots=True)
class ReceiveSpace:
    """Numbers received under one session's keys, with what is still to be acknowledged."""

    started_s: float
    numbers: IntervalSet = field(default_factory=IntervalSet)
    unacked_frames: int = 0
    """Frames since the last ACK that want one."""
    ack_due_s: float | None = None
    _floor: int = 0
    _highest: int = -1
    _highest_s: float = 0.0
    _arrivals: list[tuple[int, float]] = field(default_factory=list)

    @property
    def highest(self) -> int:
        """Highest number received, -1 for none."""
        return self._highest

    def is_replay(self, number: int) -> bool:
        """Whether this number was received before, or is too old to tell."""
        if number > self._highest:
            return False
        return number < self._floor or number in self.numbers

    def record(self, number: int, now_s: float) -> bool:
        """Note an authentic frame; gives back whether it left or filled a gap (worth telling at once)."""
        in_order = number == self._highest + 1
        self.numbers.add(number, number + 1)
        if number > self._highest:
            self._highest, self._highest_s = number, now_s
        if len(self._arrivals) < ACK_TIMES_MAX:
            self._arrivals.append((number, now_s))
        if not in_order and len(self.numbers) > KEPT_RANGES:
            start, end = self.numbers.first_range()
            self._floor = end
            self.numbers.remove(start, end)
        return not in_order

    def want_ack(self, due_s: float) -> None:
        """An ACK shall leave by ``due_s`` at the latest."""
        if self.ack_due_s is None or due_s < self.ack_due_s:
            self.ack_due_s = due_s

    def take_ack(self, reference: int, room_bytes: int, *, most_times: int = ACK_TIMES_MAX) -> Ack | None:
        """The ACK of all that arrived, once, in at most ``room_bytes``; None when nothing ever did.

        Where room is short the oldest ranges go first, then arrival times: facts before estimates.
        """
        if self._highest < 0:
            return None
        arrivals = sorted(self._arrivals, reverse=True)
        if room_bytes >= ACK_LONGEST_BYTES:
            ranges, arrivals = self.numbers.highest_ranges(ACK_RANGES), arrivals[:most_times]
        else:
            spare_bytes = room_bytes - ACK_FIXED_BYTES
            ranges = self.numbers.highest_ranges(max(1, min(ACK_RANGES, spare_bytes // RANGE_BYTES)))
            spare_bytes -= len(ranges) * RANGE_BYTES
            arrivals = arrivals[: max(0, min(most_times, spare_bytes // ARRIVAL_BYTES))]
        ticks = self._ticks
        told = tuple([(number, ticks(at_s)) for number, at_s in arrivals])
        ack = _new_tuple(Ack, (reference, self._highest, ticks(self._highest_s), ranges, told))
        if room_bytes < ACK_LONGEST_BYTES:
            fitting = _cut_to(ack, room_bytes)
            if fitting is None:
                return None
            ack = fitting
        self._arrivals.clear()
        self.unacked_frames = 0
        self.ack_due_s = None
        return ack

    def _ticks(self, at_s: float) -> int:
        return max(0, round((at_s - self.started_s) / TICK_S))


def _cut_to(ack: Ack, room_bytes: int) -> Ack | None:
    """``ack`` without what does not fit; None when not even its first range does."""
    while True:
        packed = bytearray()
        put_ack(packed, ack)
        excess_bytes = len(packed) - room_bytes
        if excess_bytes <= 0:
            return ack
        if ack.arrivals:
            ack = ack._replace(arrivals=ack.arrivals[: -(1 + excess_bytes // ARRIVAL_LONGEST_BYTES)])
        elif len(ack.ranges) > 1:
            ack = ack._replace(ranges=ack.ranges[:-1])
        else:
            return None
