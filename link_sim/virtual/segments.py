"""Segments: ordered byte streams over a line that loses frames, as TCP shows it to programs: late, never missing.

What the line loses, damages or refuses is offered again: after one round trip when three later segments of the same
stream have been offered (fast retransmit, RFC 5681, section 3.2), else after the retransmission timeout, a round trip
and 200 ms (Linux' TCP_RTO_MIN; RFC 6298 asks for 1 s), doubled for each loss of the same segment (RFC 6298, section
5.5) up to 120 s (Linux' TCP_RTO_MAX). Later bytes of that stream wait for it, other streams do not. Streams never
overfill the line's queue: they wait their turn, one segment each. Not modelled: congestion windows and the air time of
acknowledgements.
"""

import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import count
from typing import Protocol

from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Fate
from link_sim.link.queues import CODEL_TARGET_NS, QueueKind
from link_sim.link.services import NS_PER_S
from link_sim.real_time.alarm import Alarm, make_alarm
from link_sim.real_time.live import LiveLine

SEGMENT_MAX_BYTES = 1448  # an Ethernet frame's 1,500 without 20 of IPv4, 20 of TCP and 12 of timestamps (RFC 7323)
HEADER_BYTES = 24  # TCP's header with timestamps beyond UDP's, which profiles count already
WINDOW_BYTES = 4 << 20  # on their way and not arrived in order; of the size that Linux' tcp_rmem grows to
RTO_MIN_NS = 200_000_000
RTO_MAX_NS = 120 * NS_PER_S
DUPLICATES_FOR_RETRANSMIT = 3
_LOOK_MIN_NS, _LOOK_MAX_NS = 100_000, 20_000_000  # how soon a full queue is looked at again


class SegmentKind(Enum):
    """What a segment tells the other end."""

    OPEN = "open"
    DATA = "data"
    END = "end"
    RESET = "reset"


_DATA, _HELD = SegmentKind.DATA, Fate.HELD  # looked up once, as in model


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segment:
    """A piece of one stream; numbers count from 0 without gaps."""

    stream: "Stream"
    number: int
    kind: SegmentKind
    payload: bytes = b""
    is_damaged: bool = False


class StreamEnds(Protocol):
    """The programs at both ends of a stream."""

    def want_more(self) -> None:
        """A piece given to the stream has been offered, all of it."""

    def arrived(self, kind: SegmentKind, payload: bytes) -> None:
        """A segment came out, in order."""


class Stream:
    """One direction of one connection on a ``SegmentLine``."""

    def __init__(self, line: "SegmentLine", ends: StreamEnds) -> None:
        self._line = line
        self._ends = ends
        self._items: deque[bytes | SegmentKind] = deque()
        self._at = 0  # in the first item, when it is bytes
        self._arrived: dict[int, Segment] = {}
        self._expected = 0
        self._flying_bytes = 0
        self.offered = 0
        self.is_blocked = False
        """No data is offered: the connection is not established, or the reader does not read."""

    def feed(self, data: bytes) -> None:
        """Bytes to carry."""
        self._items.append(data)
        self._line.enlist(self)

    def say(self, kind: SegmentKind) -> None:
        """OPEN, END after all bytes fed, or RESET, which forgets whatever has not been offered yet."""
        if kind is SegmentKind.RESET:
            self._items.clear()
            self._at = 0
        self._items.append(kind)
        self._line.enlist(self)

    def block(self, *, is_blocked: bool) -> None:
        """Stop offering data, or go on."""
        self.is_blocked = is_blocked
        self._line.enlist(self)

    @property
    def has_more(self) -> bool:
        """Whether a segment can be offered now."""
        if not self._items:
            return False
        if isinstance(self._items[0], SegmentKind):
            return True
        return not self.is_blocked and self._flying_bytes < WINDOW_BYTES

    def next_segment(self, payload_max_bytes: int) -> Segment:
        """The next one to offer; there is one when it ``has_more``."""
        item = self._items[0]
        kind, payload = _DATA, b""
        if isinstance(item, SegmentKind):
            kind = item
            self._items.popleft()
        else:
            payload = item[self._at : self._at + payload_max_bytes]
            self._at += len(payload)
            if self._at == len(item):
                self._items.popleft()
                self._at = 0
                self._ends.want_more()
        number, self.offered = self.offered, self.offered + 1
        self._flying_bytes += len(payload)
        return Segment(stream=self, number=number, kind=kind, payload=payload)

    def arrive(self, segment: Segment) -> None:
        """A segment is at the other end, for the first time; it and what waited for it goes out in order."""
        self._arrived[segment.number] = segment
        while (ready := self._arrived.pop(self._expected, None)) is not None:
            self._expected += 1
            self._flying_bytes -= len(ready.payload)
            self._ends.arrived(ready.kind, ready.payload)
        self._line.enlist(self)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Lost:
    """A segment to be offered again at ``at_ns``; ``is_fast``: only when enough later ones have been offered."""

    at_ns: int
    order: int
    segment: Segment
    losses: int
    is_fast: bool


class SegmentLine:
    """One direction of the link that all streams share. ``deliver`` and ``spoiled`` are for its LiveLine."""

    def __init__(self, round_trip_s: Callable[[], float]) -> None:
        self._round_trip_s = round_trip_s
        self._live: LiveLine[Segment] | None = None
        self._alarm: Alarm | None = None
        self._turns: dict[Stream, None] = {}  # those with something to offer, in the order of their turns
        self._flying: dict[tuple[Stream, int], tuple[Segment, int]] = {}
        self._lost: list[_Lost] = []
        self._order = count()
        self._is_pumping = False

    def start(self, live: LiveLine[Segment]) -> None:
        """Begin, in the running loop."""
        self._live = live
        self._alarm = make_alarm(self._pump)
        live.on_change = self._changed

    def close(self) -> None:
        """Stop, and forget every stream."""
        if self._live is not None:
            self._live.on_change = None
            self._live = None
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None
        self._turns.clear()
        self._flying.clear()
        self._lost.clear()

    def enlist(self, stream: Stream) -> None:
        """The stream may have something to offer."""
        if stream.has_more and stream not in self._turns:
            self._turns[stream] = None
            self._pump()

    def forget(self, stream: Stream) -> None:
        """Its connection is over."""
        self._turns.pop(stream, None)
        self._lost = [each for each in self._lost if each.segment.stream is not stream]
        heapq.heapify(self._lost)

    def deliver(self, due: Sequence[Segment]) -> None:
        """Segments have come out of the line."""
        for segment in due:
            flown = self._flying.pop((segment.stream, segment.number), None)
            if flown is None:
                continue  # a copy
            if segment.is_damaged:  # the receiver's checksum fails, and it is as good as lost
                self._lose(flown[0], flown[1], time.monotonic_ns())
            else:
                segment.stream.arrive(segment)
        self._pump()

    def _changed(self) -> None:
        """The line was cut, mended or set; a cut may have killed what was in flight."""
        if self._live is not None and self._flying and not len(self._live.line):
            killed, self._flying = list(self._flying.values()), {}
            for segment, losses in killed:
                self._lose(segment, losses, time.monotonic_ns())
        self._pump()

    def _pump(self) -> None:
        """Offer again what is due, then one segment of each stream in turn while the queue has room."""
        if self._is_pumping or self._live is None or self._alarm is None:
            return
        self._is_pumping = True  # offering makes a program send more, which enlists
        now_ns = time.monotonic_ns()
        self._retransmit(now_ns)
        look_ns: int | None = None
        while self._turns and look_ns is None:
            stream = next(iter(self._turns))
            profile = self._live.line.profile
            payload_max_bytes = SEGMENT_MAX_BYTES
            if profile.mtu_bytes is not None:
                payload_max_bytes = max(1, min(SEGMENT_MAX_BYTES, profile.mtu_bytes - HEADER_BYTES))
            look_ns = self._full_until_ns(now_ns, payload_max_bytes)
            if look_ns is None:
                del self._turns[stream]
                if stream.has_more:
                    self._offer(stream.next_segment(payload_max_bytes), 0)
                if stream.has_more:
                    self._turns[stream] = None
        self._is_pumping = False
        wishes = [each for each in (look_ns, self._lost[0].at_ns if self._lost else None) if each is not None]
        self._alarm.set(min(wishes, default=None))

    def _full_until_ns(self, now_ns: int, payload_bytes: int) -> int | None:
        """When to look for room again, None when there is room. In a hold a change says when."""
        assert self._live is not None
        profile, waiting_bytes = self._live.line.profile, self._live.waiting_bytes()
        after_bytes = waiting_bytes + payload_bytes + HEADER_BYTES + profile.overhead_bytes
        excess_bytes = after_bytes - _queue_bytes(profile)
        if waiting_bytes == 0 or excess_bytes <= 0:
            return None
        drained_ns = excess_bytes * 8 * NS_PER_S // profile.rate_bps if profile.rate_bps else _LOOK_MIN_NS
        return now_ns + min(_LOOK_MAX_NS, max(_LOOK_MIN_NS, drained_ns))

    def _offer(self, segment: Segment, losses: int) -> None:
        assert self._live is not None
        verdict = self._live.offer(segment, len(segment.payload) + HEADER_BYTES)
        if verdict.fate <= _HELD:
            self._flying[segment.stream, segment.number] = (segment, losses)
        else:
            now_ns = time.monotonic_ns()
            wait_ns = max(0, min(verdict.sent_ns - self._live.line.model.clock_ns(now_ns), RTO_MAX_NS))
            self._lose(segment, losses, now_ns + wait_ns)

    def _lose(self, segment: Segment, losses: int, at_ns: int) -> None:
        """A segment was lost; its sender begins to wait at ``at_ns``."""
        if self._live is not None:
            self._live.counts["segments_lost"] += 1
        round_trip_ns = round(self._round_trip_s() * NS_PER_S)
        is_fast = losses == 0 and segment.kind is SegmentKind.DATA
        wait_ns = round_trip_ns if is_fast else self._timeout_ns(losses)
        lost = _Lost(
            at_ns=at_ns + wait_ns, order=next(self._order), segment=segment, losses=losses + 1, is_fast=is_fast
        )
        heapq.heappush(self._lost, lost)

    def _timeout_ns(self, losses: int) -> int:
        first_ns = round(self._round_trip_s() * NS_PER_S) + RTO_MIN_NS
        return min(RTO_MAX_NS, first_ns << min(losses, 20))

    def _retransmit(self, now_ns: int) -> None:
        while self._lost and self._lost[0].at_ns <= now_ns:
            lost = heapq.heappop(self._lost)
            is_noticed = lost.segment.stream.offered - lost.segment.number > DUPLICATES_FOR_RETRANSMIT
            if lost.is_fast and not is_noticed:
                late = replace(lost, at_ns=lost.at_ns + RTO_MIN_NS, order=next(self._order), is_fast=False)
                heapq.heappush(self._lost, late)
            else:
                self._offer(lost.segment, lost.losses)


def _queue_bytes(profile: LinkProfile) -> int:
    """What streams let wait: what the queue takes, and with CoDel what it leaves alone, as senders learn to do."""
    if profile.rate_bps is None:
        return profile.queue_bytes
    longest_s = math.inf if profile.queue_s is None else profile.queue_s
    if profile.queue_kind is QueueKind.CODEL:
        longest_s = min(longest_s, CODEL_TARGET_NS / NS_PER_S)
    return (
        profile.queue_bytes
        if math.isinf(longest_s)
        else min(profile.queue_bytes, int(longest_s * profile.rate_bps / 8))
    )


def spoiled_segment(segment: Segment, _: int) -> Segment:
    """The segment as its receiver's checksum sees it."""
    return replace(segment, is_damaged=True)
