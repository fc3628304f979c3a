"""What one session sent and nobody acknowledged yet: loss by later numbers, one probe by time, late acknowledgements.

Numbers are per link and session and never used again; what a lost frame carried goes back to its owners, who send it
in a new frame on whatever link is best. Source of the two thresholds: RFC 9002, section 6.1.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.core.blocks import TICK_S, Ack
from edge_agent.core.brief import ProfileUse
from edge_agent.core.envelope import number_bytes_for
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.peer import Reply

_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call
REORDER_FRAMES = 3
REORDER_FRAMES_TUNNELLED = 64
REORDERING_KEPT_S = 20.0
REORDERING_FRAMES_MAX = 1024
REORDERING_MAX_S = 4.0
"""A link that shuffles by more than this is as good as one that loses."""
"""A broker keeps order, so only its restart loses; its loss says nothing of a rate."""
LOST_KEPT = 512
"""Lost frames remembered so that a late acknowledgement can undo the loss."""


class Piece(NamedTuple):
    """Bytes [start, end) of a bundle's payload as one frame carried them."""

    outgoing: Outgoing
    start: int
    end: int


@dataclass(slots=True)
class SentFrame:
    """One frame in flight. ``sent_bytes_total`` counts all wire bytes of the session up to and with this frame."""

    number: int
    sent_s: float
    wire_bytes: int
    sent_bytes_total: int
    is_app_limited: bool
    pieces: tuple[Piece, ...]
    replies: tuple[Reply, ...]
    is_urgent: bool
    uses: tuple[ProfileUse, ...] = ()
    is_alone: bool = False
    """Nothing else was in flight when it left: whatever waited for it in the link was not ours."""


class Arrived(NamedTuple):
    """A frame newly acknowledged; ``arrived_s`` by the receiver's clock, None when only the fact is known."""

    frame: SentFrame
    arrived_s: float | None
    was_lost: bool


@dataclass(slots=True)
class AckResult:
    """What one ACK told."""

    arrived: list[Arrived] = field(default_factory=list)
    lost: list[SentFrame] = field(default_factory=list)


def _named(frames: dict[int, SentFrame], ack: Ack) -> list[int]:
    """Numbers of ``frames`` that ``ack`` covers, rising. Costs what is kept here, however many numbers it names."""
    named: list[int] = []
    at = len(ack.ranges) - 1  # the ranges come highest first
    start, end = ack.ranges[at]
    for number in frames:
        while number >= end:
            at -= 1
            if at < 0:
                return named
            start, end = ack.ranges[at]
        if number >= start:
            named.append(number)
    return named


@dataclass(slots=True)
class Reordering:
    """How far a link lets frames overtake each other, by those that came after they had counted as lost.

    As in RACK (RFC 8985, section 6.2): the window widens by what was seen, and narrows when that was long ago.
    """

    frames: int = 0
    """So many more may pass a frame before it counts as lost."""
    extra_s: float = 0.0
    """So much more time may pass."""
    overtaken: set[int] = field(default_factory=set)
    """Numbers that count as lost because later ones came first."""
    _seen_s: float = 0.0

    def note_late(self, number: int, sent_s: float, now_s: float, reorder_s: float, highest_acked: int) -> None:
        """A frame that counted as lost has arrived after all; ``reorder_s`` was the time it was given."""
        if number not in self.overtaken:
            return
        self.overtaken.remove(number)
        self.frames = min(REORDERING_FRAMES_MAX, max(self.frames, highest_acked - number))
        self.extra_s = min(REORDERING_MAX_S, self.extra_s + max(0.0, now_s - sent_s - reorder_s))
        self._seen_s = now_s

    def forget_old(self, now_s: float) -> None:
        """What was seen long ago counts no more."""
        if now_s - self._seen_s > REORDERING_KEPT_S:
            self.frames, self.extra_s = 0, 0.0


@dataclass(slots=True)
class Arq:
    """Frames of one session, by number."""

    reorder_frames: int = REORDER_FRAMES
    next_number: int = 0
    highest_acked: int = -1
    in_flight_bytes: int = 0
    sent_bytes_total: int = 0
    in_flight: dict[int, SentFrame] = field(default_factory=dict)
    lost: dict[int, SentFrame] = field(default_factory=dict)
    pieces_in_flight: int = 0
    """Frames in flight that carry bundles; the others are acknowledged lazily."""
    sent_frames: int = 0
    lost_frames: int = 0
    lost_bytes: int = 0
    """Wire bytes of frames that count as lost, all of the session."""
    reordering: Reordering = field(default_factory=Reordering)

    def number_bytes(self) -> int:
        """How many bytes of the next number keep it unambiguous at a receiver that has what is known to have come."""
        return number_bytes_for(self.next_number, self.highest_acked - 2 * self.reordering.frames)

    def record(self, frame: SentFrame) -> None:
        """A frame that wants an acknowledgement has left."""
        self.in_flight[frame.number] = frame
        self.in_flight_bytes += frame.wire_bytes
        self.pieces_in_flight += bool(frame.pieces)
        self.sent_frames += 1

    def oldest_pieces_s(self) -> float | None:
        """When the first frame in flight that carries bundles left; None: there is none."""
        return next((frame.sent_s for frame in self.in_flight.values() if frame.pieces), None)

    def acknowledge(self, ack: Ack, now_s: float, reorder_s: float) -> AckResult | None:
        """Work through an ACK. None when it names numbers never sent (a fault or a lie: nothing is believed)."""
        if ack.highest >= self.next_number:
            return None
        result = AckResult()
        self.highest_acked = max(self.highest_acked, ack.highest)
        if not self.in_flight and not self.lost:
            return result
        times = {number: ticks * TICK_S for number, ticks in ack.arrivals}
        # all below what is in flight: numbers are given up in their order
        for number in _named(self.lost, ack) if self.lost else ():
            frame = self.lost.pop(number)
            self.reordering.note_late(number, frame.sent_s, now_s, reorder_s, self.highest_acked)
            self.lost_frames -= 1
            self.lost_bytes -= frame.wire_bytes
            result.arrived.append(Arrived(frame, times.get(number), was_lost=True))
        for number in _named(self.in_flight, ack):
            frame = self.in_flight.pop(number)
            self.in_flight_bytes -= frame.wire_bytes
            self.pieces_in_flight -= bool(frame.pieces)
            result.arrived.append(_new_tuple(Arrived, (frame, times.get(number), False)))
        result.lost = self._find_lost(now_s, reorder_s)
        return result

    def _find_lost(self, now_s: float, reorder_s: float) -> list[SentFrame]:
        """Frames overtaken by ``reorder_frames`` later ones, or by any later one for ``reorder_s``."""
        lost: list[SentFrame] = []
        reordering = self.reordering
        if reordering.frames:
            reordering.forget_old(now_s)
        overtaken_below = self.highest_acked - self.reorder_frames - reordering.frames
        for number, frame in self.in_flight.items():
            if number >= self.highest_acked:
                break
            if number <= overtaken_below or frame.sent_s <= now_s - reorder_s:
                lost.append(frame)
        for frame in lost:
            self._give_up(frame)
            reordering.overtaken.add(frame.number)
        return lost

    def _give_up(self, frame: SentFrame) -> None:
        del self.in_flight[frame.number]
        self.in_flight_bytes -= frame.wire_bytes
        self.pieces_in_flight -= bool(frame.pieces)
        self.lost_frames += 1
        self.lost_bytes += frame.wire_bytes
        self.lost[frame.number] = frame
        if len(self.lost) > LOST_KEPT:
            forgotten = next(iter(self.lost))
            del self.lost[forgotten]
            self.reordering.overtaken.discard(forgotten)

    def urgent_overtaken(self) -> list[SentFrame]:
        """Urgent frames in flight of which a later one has arrived; each is named once.

        A call for help that is sent again for nothing costs less than one that waits for two more frames to pass it.
        """
        overtaken: list[SentFrame] = []
        if self.reorder_frames > REORDER_FRAMES or self.reordering.frames:
            return overtaken
        for number, frame in self.in_flight.items():
            if number >= self.highest_acked:
                break
            if frame.is_urgent:
                frame.is_urgent = False
                overtaken.append(frame)
        return overtaken

    def find_overdue(self, now_s: float, reorder_s: float) -> list[SentFrame]:
        """Frames whose time threshold has passed since a later one was acknowledged; they count as lost now."""
        return self._find_lost(now_s, reorder_s)

    def reorder_deadline_s(self, reorder_s: float) -> float | None:
        """When ``find_overdue`` has something to find; None while nothing was overtaken."""
        for number, frame in self.in_flight.items():
            if number < self.highest_acked:
                return frame.sent_s + reorder_s
            break
        return None

    def oldest_sent_s(self) -> float | None:
        """When the oldest frame in flight left; None with nothing in flight."""
        for frame in self.in_flight.values():
            return frame.sent_s
        return None

    def forget(self, outgoing: Outgoing) -> None:
        """What became of pieces of this bundle sent until now is of no interest: the peer has thrown them away."""
        for frames in (self.in_flight, self.lost):
            for frame in frames.values():
                if not any(piece.outgoing is outgoing for piece in frame.pieces):
                    continue
                frame.pieces = tuple(piece for piece in frame.pieces if piece.outgoing is not outgoing)
                if frames is self.in_flight and not frame.pieces:
                    self.pieces_in_flight -= 1

    def give_up_all(self) -> list[SentFrame]:
        """The link is dead: everything in flight counts as lost, and can still be acknowledged late."""
        frames = list(self.in_flight.values())
        for frame in frames:
            self._give_up(frame)
        return frames
