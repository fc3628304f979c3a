"""Who may send on a half-duplex line. Sans-IO: ``now_s`` is an argument, randomness is given.

Two sides take turns of at most one second. The last frame of a turn carries the LAST mark and gives the turn to the
other side, which answers after the turn-around: with frames, or with an empty LAST when it was sent something and has
nothing to say. An empty LAST is answered with frames only, so an idle line is silent. When the turn is lost (a
damaged LAST, two sides at once), both wait out the silence and then a random time, and whoever is first goes on.
At most one frame waits here: all others wait in the node, where FLASH still overtakes them (docs/adr/0008).
"""

import random
from dataclasses import dataclass
from enum import Enum, auto

TURN_S = 1.0  # the longest turn, and the longest the other side's FLASH waits for one
PASS_GRACE_S = 0.02  # the node gets this long to answer before the turn is passed on empty
_SLACK_S = 0.1  # what operating systems, USB adapters and modems add to a frame's way


class Turn(Enum):
    """Whose turn it is."""

    OPEN = auto()
    OURS = auto()
    PEERS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The line's physics: seconds a byte, bytes a frame costs beyond itself, and switching from hearing to sending."""

    byte_s: float
    overhead_bytes: int
    mtu_bytes: int
    turnaround_s: float

    def wire_s(self, frame: bytes) -> float:
        """How long one frame is on the air."""
        return (len(frame) + self.overhead_bytes) * self.byte_s

    @property
    def silence_s(self) -> float:
        """After this long without a frame the other side is not about to send one."""
        longest_frame_s = (self.mtu_bytes + self.overhead_bytes) * self.byte_s
        return 2 * self.turnaround_s + 1.5 * longest_frame_s + _SLACK_S


@dataclass(frozen=True, slots=True)
class TurnWrite:
    """What to write now; an empty frame only passes the turn."""

    frame: bytes
    is_last: bool


class TurnKeeper:
    """Holds at most one frame until the line is ours."""

    def __init__(self, line: Line, rng: random.Random) -> None:
        self._line = line
        self._rng = rng
        self._turn = Turn.OPEN
        self._next: bytes | None = None
        self._free_at_s = 0.0  # what we wrote has left the air, or the turn-around is over
        self._turn_ends_at_s = 0.0
        self._wrote_in_turn = False
        self._peer_sent_in_turn = False
        self._is_deaf_to_noise = False
        self._is_contended = False  # the last turn was lost: perhaps the peer began when we did
        self._has_backed_off = False
        self._deadline_s = 0.0  # OPEN: not before; PEERS: the turn is lost when nothing came until then

    @property
    def turn(self) -> Turn:
        """Whose turn it is, as of the last call."""
        return self._turn

    @property
    def wants_frame(self) -> bool:
        """Whether a frame offered now would be among the next to leave: none waits, and it is not the peer's turn."""
        return self._next is None and self._turn is not Turn.PEERS

    def offer(self, frame: bytes) -> bool:
        """Take a frame; False when one waits already."""
        if self._next is not None:
            return False
        self._next = frame
        return True

    def hear(self, now_s: float) -> None:
        """Bytes arrive on an open line: leave the peer the time to finish a frame, once, as noise goes on for ever."""
        if self._turn is Turn.OPEN and not self._is_deaf_to_noise:
            self._is_deaf_to_noise = True
            self._await_peer(now_s)

    def receive(self, *, is_last: bool, is_empty: bool, now_s: float) -> None:
        """A frame of the peer has arrived whole."""
        self._is_deaf_to_noise = False
        self._is_contended = False
        if self._turn is not Turn.PEERS:
            if self._turn is Turn.OURS and is_last:
                return  # late, but it gives us what we have
            self._await_peer(now_s)  # both at once: be silent, as the peer will
        self._deadline_s = now_s + self._line.silence_s
        self._peer_sent_in_turn |= not is_empty
        if is_last:
            self._begin_turn(now_s + self._line.turnaround_s)

    def poll(self, now_s: float) -> TurnWrite | None:
        """What to write now, or None. Ask until None."""
        if self._turn is Turn.PEERS and now_s >= self._deadline_s:
            self._turn = Turn.OPEN
            self._deadline_s = now_s
            self._is_contended = True
        if self._turn is Turn.OPEN and self._next is not None:
            self._contend(now_s)
        if self._turn is not Turn.OURS or now_s < self._free_at_s:
            return None
        return self._next_write(now_s)

    def next_wakeup(self) -> float | None:
        """When to poll again, or None: not before something happens."""
        match self._turn:
            case Turn.PEERS:
                return self._deadline_s
            case Turn.OPEN:
                return self._deadline_s if self._next is not None else None
            case Turn.OURS:
                return self._free_at_s if self._next is not None else self._free_at_s + PASS_GRACE_S

    def _contend(self, now_s: float) -> None:
        """Begin on an open line: at once, but after a lost turn at a random time, else two sides in step never part."""
        if self._is_contended and not self._has_backed_off:
            self._has_backed_off = True
            self._deadline_s = now_s + self._rng.uniform(0.0, 2 * self._line.silence_s)
        if now_s >= self._deadline_s:
            self._peer_sent_in_turn = False
            self._begin_turn(now_s)

    def _begin_turn(self, at_s: float) -> None:
        self._turn = Turn.OURS
        self._free_at_s = max(self._free_at_s, at_s)
        self._turn_ends_at_s = self._free_at_s + TURN_S
        self._wrote_in_turn = False
        self._is_deaf_to_noise = False
        self._has_backed_off = False

    def _await_peer(self, from_s: float) -> None:
        self._turn = Turn.PEERS
        self._peer_sent_in_turn = False
        self._deadline_s = from_s + self._line.silence_s

    def _next_write(self, now_s: float) -> TurnWrite | None:
        if self._next is None:
            return self._pass_empty(now_s)
        wire_s = self._line.wire_s(self._next)
        if self._wrote_in_turn and now_s + wire_s > self._turn_ends_at_s:
            return self._write(b"", now_s, is_last=True)
        frame, self._next = self._next, None
        self._wrote_in_turn = True
        # a turn that could not take one more such frame ends with this one: the mark is free, an empty frame is not
        return self._write(frame, now_s, is_last=now_s + 2 * wire_s > self._turn_ends_at_s)

    def _pass_empty(self, now_s: float) -> TurnWrite | None:
        if now_s < self._free_at_s + PASS_GRACE_S:
            return None
        if self._wrote_in_turn or self._peer_sent_in_turn:
            return self._write(b"", now_s, is_last=True)
        self._turn = Turn.OPEN  # the peer passed empty and we have nothing: the line rests
        self._deadline_s = now_s
        return None

    def _write(self, frame: bytes, now_s: float, *, is_last: bool) -> TurnWrite:
        self._free_at_s = now_s + self._line.wire_s(frame)
        if is_last:
            self._await_peer(self._free_at_s)
        return TurnWrite(frame, is_last)
