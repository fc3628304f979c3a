"""When live blocks of one session are covered by repairs, and by how many: what its link loses, and when that is told.

A repair goes out where a block that is lost cannot come again in time. How many is learned from the link's own
losses: as many for each window of blocks as nine of ten windows with a loss have lost (docs/adr/0042-repairs.md).
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field

from edge_agent.core.bundle import Precedence
from edge_agent.core.contact import Contact
from edge_agent.core.fec import REPAIRS_MOD, SYMBOL_MAX_BYTES, WINDOW_MAX, encode, symbol_of
from edge_agent.core.limits import SLOW_LINK_BPS
from edge_agent.core.live import LiveBundle
from edge_agent.core.varint import put_varints

REPAIR_ROOM_BYTES = 12
"""What a REPAIR takes beside the sum: kind, length, first number, count and its own number."""
RATIO_MAX = 1.0
"""Repairs for each block at most: beyond it a second copy would be as good."""
RATIO_LEAST = 1 / WINDOW_MAX
"""Fewer would not be one in the longest window."""
LOSS_LEAST_RATIO = 0.002
"""Below one frame in five hundred lost a repair costs more than what it saves is worth."""
LOSSES_KEPT, FRAMES_KEPT = 64, 3000
"""What the number of repairs is learned from: so many losses at most, of so many frames."""
LOSSES_LEAST = 2
"""One loss is no habit of a link."""
WINDOW_SHARE = 0.9
"""Of the windows that begin with a loss, how many shall be repaired."""
HOLD_S = 0.02
"""A frame of video leaves as a whole before its repairs; at 2 Mbit/s it is 5 kB long."""
GAP_SMOOTHING = 1 / 32
GAP_MAX_S = 1.0
RATE_SHARE_MAX = 0.75
"""Of the link's rate, with repairs: a live flow that fills more of it waits for itself, and repairs lengthen that."""
FRAME_BYTES = 64
"""What a frame takes beside a block."""


@dataclass(slots=True)
class _Covered:
    """One block that repairs are about."""

    number: int
    symbol: bytes
    due_s: float
    frame: int


@dataclass(slots=True)
class LossRecord:
    """Which of the frames with live blocks or repairs were lost, by their place among these."""

    resolved: int = 0
    lost: deque[int] = field(default_factory=lambda: deque(maxlen=LOSSES_KEPT))
    _in_flight: deque[int] = field(default_factory=deque)
    _answer: tuple[int, int] = (0, 0)
    """Losses in a window, and for a window of how many."""

    def note_sent(self, frame: int) -> None:
        """A frame of this number leaves, with one such block or several."""
        if not self._in_flight or self._in_flight[-1] != frame:
            self._in_flight.append(frame)

    def settle(self, in_flight: Container[int], lost: Container[int], next_frame: int) -> None:
        """Look what became of the oldest of those below ``next_frame``. O(1) for each frame in all."""
        pending = self._in_flight
        while pending and pending[0] < next_frame and pending[0] not in in_flight:
            if pending.popleft() in lost:
                self.lost.append(self.resolved)
                self._answer = (0, 0)
            self.resolved += 1
        while self.lost and self.lost[0] < self.resolved - FRAMES_KEPT:
            self.lost.popleft()
            self._answer = (0, 0)

    def ratio(self) -> float:
        """Lost of all that are remembered."""
        if len(self.lost) < LOSSES_LEAST:
            return 0.0
        since = self.lost[0] if len(self.lost) == LOSSES_KEPT else max(0, self.resolved - FRAMES_KEPT)
        return len(self.lost) / max(1, self.resolved - since)

    def worst(self, window: int) -> int:
        """How many of ``window`` frames in a row were lost at most in WINDOW_SHARE of the cases that began with one."""
        if self._answer[1] != window:
            places = list(self.lost)
            counts = sorted(bisect_left(places, place + window) - at for at, place in enumerate(places))
            self._answer = (counts[int(WINDOW_SHARE * (len(counts) - 1))] if counts else 0, window)
        return self._answer[0]


@dataclass(slots=True)
class Repairs:
    """The live blocks of one session that may still be repaired, and what is owed for them."""

    losses: LossRecord = field(default_factory=LossRecord)
    precedence: Precedence = Precedence.DEFERRED
    """The class of the block covered last: repairs go with it, and pay with it."""
    _window: deque[_Covered] = field(default_factory=lambda: deque(maxlen=WINDOW_MAX))
    _next_number: int = 1
    _next_repair: int = 0
    _credit: float = 0.0
    _ratio: float = 0.0
    _sent_s: float = -1e9
    _gap_s: float = 0.0
    _sent_bytes: float = 0.0
    """Of a block, smoothed."""

    _owed_s: float | None = None

    def may_wait(self, now_s: float) -> bool:
        """Whether blocks of its class go before a repair: they need it more, but not for long."""
        if self._owed_s is None:
            self._owed_s = now_s
        return now_s - self._owed_s < HOLD_S

    @property
    def is_owing(self) -> bool:
        """Whether a repair should leave now."""
        return self._credit >= 1.0

    def cover(self, contact: Contact, outgoing: LiveBundle, content: bytes, now_s: float, *, is_doubled: bool) -> int:
        """The number under which a block leaves in the next frame of ``contact``; 0: no repair will be about it."""
        session = contact.session
        assert session is not None
        arq = session.arq
        self.losses.note_sent(arq.next_number)
        self.losses.settle(arq.in_flight, arq.lost, arq.next_number)
        gap_s = min(now_s - self._sent_s, GAP_MAX_S)
        self._gap_s += GAP_SMOOTHING * (gap_s - self._gap_s) if self._gap_s else gap_s
        self._sent_bytes += GAP_SMOOTHING * (len(content) - self._sent_bytes)
        self._sent_s = now_s
        if is_doubled or len(content) > SYMBOL_MAX_BYTES or not self._is_worth(contact, outgoing, now_s):
            return 0
        number, self._next_number = self._next_number, self._next_number + 1
        self.precedence = outgoing.precedence
        due_s = outgoing.due_s - contact.rtt.min_s / 2
        self._window.append(_Covered(number, symbol_of(content), due_s, arq.next_number))
        self._credit = min(2.0, self._credit + self._ratio)
        return number

    def _is_worth(self, contact: Contact, outgoing: LiveBundle, now_s: float) -> bool:
        """Whether the link loses blocks that would come too late a second time, and a repair costs less than that."""
        rtt_s, policy, rate_bps = contact.rtt.smoothed_s, contact.link.policy, contact.controller.rate_bps
        if rtt_s is None or not self.losses.lost:
            return False
        if self.losses.ratio() < LOSS_LEAST_RATIO:
            return False
        if rate_bps < SLOW_LINK_BPS or (policy.metered is not False and outgoing.precedence > Precedence.IMMEDIATE):
            return False
        if outgoing.due_s - now_s > again_s(contact, self._gap_s):
            return False
        span_s = outgoing.due_s - now_s - rtt_s / 2
        window = int(min(WINDOW_MAX, max(1.0, span_s / max(self._gap_s, 1e-4)))) + 1
        worst = self.losses.worst(window)
        room_ratio = RATE_SHARE_MAX * rate_bps * self._gap_s / 8 / (self._sent_bytes + FRAME_BYTES) - 1
        self._ratio = min(RATIO_MAX, room_ratio, worst / max(1, window - worst))
        return self._ratio >= RATIO_LEAST

    def put(self, contact: Contact, room_bytes: int, now_s: float) -> bytes | None:
        """The content of a REPAIR over what may still be missing; None: nothing is, or it does not fit."""
        session, window, self._owed_s = contact.session, self._window, None
        assert session is not None
        arq, self._credit = session.arq, self._credit - 1.0
        while window and (
            window[0].due_s <= now_s or (window[0].frame not in arq.in_flight and window[0].frame not in arq.lost)
        ):
            window.popleft()
        if not window or max(len(each.symbol) for each in window) + REPAIR_ROOM_BYTES > room_bytes:
            return None
        repair, self._next_repair = self._next_repair, (self._next_repair + 1) % REPAIRS_MOD
        content = bytearray()
        put_varints(content, (window[0].number, len(window), repair))
        content += encode([each.symbol for each in window], window[0].number, repair)
        self.losses.note_sent(arq.next_number)
        return bytes(content)


def again_s(contact: Contact, gap_s: float) -> float:
    """How long after it left a lost block can be there a second time: told by a later one, or by its time."""
    rtt_s = contact.rtt.smoothed_s or 0.0
    return max(gap_s + rtt_s, contact.reorder_s()) + rtt_s / 2 + 2 * contact.rtt.deviation_s
