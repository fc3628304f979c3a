"""What stands in a link ahead of the next frame, by the receiver's time stamps and by what was sent since.

A frame's wait is its delay less that of a frame that found the link empty, at the same size. The delay of the empty
link cannot be told from a queue by looking on: only after a pause that lets the link run empty it is seen, and only
such a frame may raise it (docs/adr/0022-a-queue-is-emptied-to-be-known.md).
"""

from collections import deque
from dataclasses import dataclass, field

from edge_agent.core.arq import SentFrame
from edge_agent.core.others import Others

RECENT_S = 0.03
"""Of waits so close together, or within a quarter of the round trip, the least counts: jitter is not a queue."""
SPREAD_MAX_S = 0.05
SPREAD_SMOOTHING = 0.05
PAUSE_MAX_S = 1.0
"""A pause to empty a link is at most so long, or two round trips: what is believed may be wrong."""
LOOK_AGAIN_S, LOOK_AGAIN_FRAMES = 10.0, 20
"""How often the delay of the empty link is looked at: a queue may have passed for delay, and two clocks drift. Not more
often than in so many frames: what is measured begins anew there, and a rate believed too low would never be known."""
NEVER_S = float("-inf")


@dataclass(slots=True)
class WindowedMinimum:
    """Smallest value of the last ``window_s`` seconds; amortised O(1)."""

    window_s: float
    _kept: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, now_s: float, value: float) -> float:
        """Put a value in; gives back the minimum."""
        kept = self._kept
        while kept and kept[-1][1] >= value:
            kept.pop()
        kept.append((now_s, value))
        while kept[0][0] < now_s - self.window_s:
            kept.popleft()
        return kept[0][1]

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()


@dataclass(slots=True)
class LinkQueue:
    """The queue of one link in one direction. Times are seconds, by the sender's clock but for arrivals."""

    wait_s: float = 0.0
    """How long frames acknowledged of late waited, the least of them."""
    spread_s: float = 0.0
    """Mean difference between a frame's wait and what sizes and times of sending say: the link's own variation."""
    busy_from_bytes: int = 0
    """Up to this byte of the session the link was seen empty; what came after it stood in a queue."""
    bare_at_bytes: int = 0
    """The last byte of the newest frame before which the link was left to run empty."""
    seen_empty_s: float = NEVER_S
    """When the delay of the empty link was last looked at, or a pause for it begun."""
    shuffled_s: float = 0.0
    """By so much frames overtake each other: a queue keeps their order, so that much of a wait is none."""
    others: Others = field(default_factory=Others)
    _base_s: float = float("inf")
    _base_bytes: int = 0
    _newest: SentFrame | None = None
    _newest_wait_s: float = 0.0
    _recent: WindowedMinimum = field(default_factory=lambda: WindowedMinimum(RECENT_S))
    _paused_at_bytes: int | None = None
    """All that had been sent when the pause began that is not acknowledged yet; None: no pause."""
    _margin_s: float = 0.0

    def take(self, frame: SentFrame, arrived_s: float, now_s: float, s_per_byte: float, idle_wait_s: float) -> bool:
        """Learn from one acknowledged frame of a link that needs ``s_per_byte``; False for one that was overtaken.

        Waits below ``idle_wait_s`` say that the link was empty.
        """
        delay_s = arrived_s - frame.sent_s
        wait_s = delay_s - self._base_s - (frame.wire_bytes - self._base_bytes) * s_per_byte
        if self.shuffled_s and wait_s > 0:
            wait_s = max(0.0, wait_s - self.shuffled_s)
        newest, is_bare, risen_s = self._newest, False, wait_s
        if newest is not None:
            between = frame.sent_bytes_total - frame.wire_bytes - newest.sent_bytes_total + newest.wire_bytes
            if between <= 0:
                return False
            expected_s = self._newest_wait_s + between * s_per_byte - (frame.sent_s - newest.sent_s)
            surprise_s = min(abs(wait_s - max(0.0, expected_s)), SPREAD_MAX_S)
            self.spread_s += SPREAD_SMOOTHING * (surprise_s - self.spread_s)
            if self._paused_at_bytes is not None and frame.sent_bytes_total > self._paused_at_bytes:
                expected_s += min(0.0, self.wait_s - self._newest_wait_s)  # the pause was made for the least wait
                is_bare = self._end_pause(frame.is_alone or expected_s <= -self._margin_s / 2, wait_s, now_s)
                if is_bare and not frame.is_alone:
                    risen_s = self.others.risen_s(
                        wait_s,
                        before_s=self._newest_wait_s,
                        pause_s=frame.sent_s - newest.sent_s,
                        at_s=frame.sent_s,
                        s_per_byte=s_per_byte,
                    )
            elif frame.is_alone and now_s - self.seen_empty_s > max(
                LOOK_AGAIN_S, LOOK_AGAIN_FRAMES * frame.wire_bytes * s_per_byte
            ):
                is_bare, self.seen_empty_s = True, now_s
        if is_bare or wait_s < 0:
            if self._base_s == float("inf"):
                self.seen_empty_s = now_s
            wait_s = max(0.0, wait_s - risen_s)
            if not wait_s:  # else what stands there is that of others
                self._base_s, self._base_bytes = delay_s, frame.wire_bytes
            if is_bare:
                self.bare_at_bytes = frame.sent_bytes_total
                self._recent.clear()
        if frame.is_alone:
            wait_s = 0.0  # whatever it met, a queue of ours it was not
        if wait_s < idle_wait_s:
            self.busy_from_bytes = frame.sent_bytes_total
        self._newest, self._newest_wait_s = frame, wait_s
        self.wait_s = self._recent.add(now_s, wait_s)
        return True

    def _end_pause(self, is_empty: bool, wait_s: float, now_s: float) -> bool:
        """The first frame after a pause is here: whether it found the link empty, so that its delay is the base."""
        self._paused_at_bytes = None
        if not is_empty:
            return False
        if wait_s < -self._margin_s / 2:  # there was more in the link than anybody knew: look once more
            self._margin_s *= 2
            self.seen_empty_s = NEVER_S
        else:
            self._margin_s = 0.0
            self.seen_empty_s = now_s
        return True

    def empty_at_s(self, sent_bytes_total: int, s_per_byte: float) -> float:
        """When the link will have carried all that was sent; -infinity before the first acknowledgement."""
        newest = self._newest
        if newest is None:
            return NEVER_S
        behind = sent_bytes_total - newest.sent_bytes_total + newest.wire_bytes
        return newest.sent_s + self.wait_s + behind * s_per_byte

    def is_pausing(self, sent_bytes_total: int) -> bool:
        """Whether nothing has left since a pause began."""
        return self._paused_at_bytes == sent_bytes_total

    @property
    def is_probed(self) -> bool:
        """Whether a pause was begun and no frame sent after it is acknowledged yet."""
        return self._paused_at_bytes is not None

    def begin_pause(self, sent_bytes_total: int, now_s: float, margin_s: float) -> None:
        """Nothing leaves until the link is empty, and ``margin_s`` beyond."""
        self._paused_at_bytes = sent_bytes_total
        self._margin_s = max(self._margin_s, margin_s)
        self.seen_empty_s = now_s

    def pause_until_s(self, empty_at_s: float, now_s: float, rtt_s: float) -> float:
        """When the next frame may leave to find the link empty."""
        return min(max(now_s, empty_at_s + self._margin_s), now_s + max(PAUSE_MAX_S, 2 * rtt_s))

    def set_window(self, rtt_s: float) -> None:
        """Over how long the least wait counts."""
        self._recent.window_s = max(RECENT_S, rtt_s / 4)

    def restart(self) -> None:
        """The receiver's times count from another moment; the link's variation stays what it was."""
        self.wait_s = 0.0
        self.busy_from_bytes = self.bare_at_bytes = 0
        self.seen_empty_s = NEVER_S
        self._base_s, self._newest, self._paused_at_bytes, self._margin_s = float("inf"), None, None, 0.0
        self._recent.clear()
