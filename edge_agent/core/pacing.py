"""How fast one link may be fed: a smoothed queue-target controller on the receiver's time stamps, and a pacer.

The rate moves towards delivery rate x (1 + g (1 - q / target)) while the queue q is below its target, and towards
delivery rate x (1 - (q - target) / max(RTT, 100 ms)) above it. Lost frames count as delivered in the delivery rate:
burst loss is not a slower link. Source: measurements of a prototype, where this beat a windowed maximum of the
delivery rate with gain cycles (docs/adr/0004-pacing.md).
"""

from collections import deque
from dataclasses import dataclass, field

from edge_agent.core.arq import Arrived

START_RATE_BPS = 256_000.0
"""Without a hint: low enough for a satellite's first frames, and the first train corrects it within one RTT."""
MIN_RATE_BPS = 300.0
MAX_RATE_BPS = 2e9
CATCH_UP_S = 0.002
"""Burst allowed against timer lateness: one frame per millisecond timer would cap a link at 5 to 60 Mbit/s."""
MIN_QUEUE_TARGET_S = 0.003
BASE_DELAY_WINDOW_S = 12.0
RATE_WINDOW_FRAMES = 10
RATE_WINDOW_S = 0.08
TRAIN_FRAMES = 8
TRAIN_RATE_BPS = 1e9
MOVING_SPREAD_S = 0.004
"""Delay changes between frames above this are a moving link's: it gets the fast constants."""


@dataclass(slots=True)
class RttEstimate:
    """Smoothed round trip and its mean deviation. Source: RFC 6298, section 2."""

    smoothed_s: float | None = None
    deviation_s: float = 0.0
    min_s: float = float("inf")

    def update(self, sample_s: float) -> None:
        """Take one sample."""
        self.min_s = min(self.min_s, sample_s)
        if self.smoothed_s is None:
            self.smoothed_s, self.deviation_s = sample_s, sample_s / 2
            return
        self.deviation_s += 0.25 * (abs(sample_s - self.smoothed_s) - self.deviation_s)
        self.smoothed_s += 0.125 * (sample_s - self.smoothed_s)


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


@dataclass(slots=True)
class RateController:
    """Rate estimate of one link in one direction, in wire bits a second."""

    hint_bps: float | None
    is_ceiling: bool
    rate_bps: float = field(init=False)
    delivered_bps: float | None = None
    queue_s: float = 0.0
    spread_s: float = 0.0
    """Mean absolute change of one-way delay between frames: the link's own variability."""
    _base: WindowedMinimum = field(default_factory=lambda: WindowedMinimum(BASE_DELAY_WINDOW_S))
    _recent: deque[tuple[float, float]] = field(default_factory=deque)
    _samples: deque[tuple[float, int]] = field(default_factory=deque)
    _last_delay_s: float | None = None
    _updated_s: float | None = None
    _train_left: int = field(init=False)
    _is_ramping: bool = True
    _queued_s: float = 0.0

    def __post_init__(self) -> None:
        self.rate_bps = self.hint_bps or START_RATE_BPS
        self._train_left = 0 if self.hint_bps else TRAIN_FRAMES

    def pacing_bps(self, *, is_bulk: bool) -> float:
        """The rate to space the frame now leaving; the first frames of a link nobody described go back to back."""
        if is_bulk and self._train_left:
            self._train_left -= 1
            return TRAIN_RATE_BPS
        return self.rate_bps

    @property
    def is_trained(self) -> bool:
        """Whether the rate comes from a hint or a measurement rather than from START_RATE_BPS."""
        return self.hint_bps is not None or self.delivered_bps is not None

    def restart_clock(self) -> None:
        """A new session: the receiver's times count from another moment. The rate stays, delays are learnt anew."""
        self._base = WindowedMinimum(BASE_DELAY_WINDOW_S)
        self._recent.clear()
        self._samples.clear()
        self._last_delay_s = None
        self.queue_s = 0.0

    def target_s(self, frame_s: float) -> float:
        """Queue to aim at: three quarters of a frame's time, or twice the link's own delay spread."""
        return max(MIN_QUEUE_TARGET_S, 0.75 * frame_s, 2.0 * self.spread_s)

    def update(self, arrived: list[Arrived], rtt: RttEstimate, now_s: float, frame_bytes: int) -> None:
        """Learn from frames newly acknowledged, in the order of their numbers."""
        is_informed = False
        for each in arrived:
            if each.frame.is_app_limited:  # the gap before this frame was the sender's, not the link's
                self._samples.clear()
            if each.arrived_s is not None and not each.was_lost:
                is_informed = True
                delay_s = each.arrived_s - each.frame.sent_s
                if each.frame.wire_bytes < frame_bytes:
                    delay_s += self._shorter_s(frame_bytes - each.frame.wire_bytes)
                self._note_delay(delay_s, now_s)
                self._samples.append((each.arrived_s, each.frame.sent_bytes_total))
        if not is_informed or not self._samples:
            return
        frame_s = frame_bytes * 8 / self.rate_bps
        rtt_s = rtt.smoothed_s or 0.1
        self._settle_queue(now_s, max(0.03, 4 * frame_s, rtt_s / 4))
        if self._measure_delivery(max(RATE_WINDOW_S, rtt_s, RATE_WINDOW_FRAMES * frame_s)):
            self._steer(now_s, rtt_s, frame_s)

    def _shorter_s(self, missing_bytes: int) -> float:
        """Wire time that a short frame spares: without it a HELLO's delay makes every full frame look queued.

        By the smaller of both rates: too much only makes this one frame look late, too little lasts for the window.
        """
        rate_bps = self.rate_bps if self.delivered_bps is None else min(self.rate_bps, self.delivered_bps)
        return missing_bytes * 8 / max(rate_bps, MIN_RATE_BPS)

    def _note_delay(self, delay_s: float, now_s: float) -> None:
        if self._last_delay_s is not None:
            self.spread_s += 0.05 * (min(abs(delay_s - self._last_delay_s), 0.05) - self.spread_s)
        self._last_delay_s = delay_s
        self._recent.append((now_s, delay_s - self._base.add(now_s, delay_s)))

    def _settle_queue(self, now_s: float, window_s: float) -> None:
        """q: the smallest delay above the base in the recent window, so that jitter is not taken for a queue."""
        while len(self._recent) > 1 and self._recent[0][0] < now_s - window_s:
            self._recent.popleft()
        self.queue_s = min(queue_s for _, queue_s in self._recent)

    def _measure_delivery(self, window_s: float) -> bool:
        """Set ``delivered_bps`` from the newest frames sent without a pause; False while they are too few."""
        samples = self._samples
        newest_s, newest_total = samples[-1]
        while len(samples) > 2 and samples[1][0] <= newest_s - window_s:
            samples.popleft()
        oldest_s, oldest_total = samples[0]
        span_s = newest_s - oldest_s
        if len(samples) < TRAIN_FRAMES and (len(samples) < 3 or span_s < window_s / 2):
            return False
        self.delivered_bps = min(MAX_RATE_BPS, (newest_total - oldest_total) * 8 / max(span_s, 1e-5))
        return True

    def _steer(self, now_s: float, rtt_s: float, frame_s: float) -> None:
        assert self.delivered_bps is not None
        target_s = self.target_s(frame_s)
        if self.is_ceiling:
            self._steer_below_ceiling(target_s + 2 * frame_s + 0.1, rtt_s)
            return
        if self._updated_s is None and self.hint_bps is None:
            self.rate_bps = 0.9 * self.delivered_bps
            self._updated_s = now_s
            return
        self._watch_ramp(target_s, rtt_s, now_s)
        is_moving = self.spread_s > MOVING_SPREAD_S
        gain, smoothing_s = (0.25, rtt_s / 5) if is_moving else (0.12, rtt_s / 2)
        if self.queue_s > target_s:
            wanted = self.delivered_bps * max(0.3, 1 - (self.queue_s - target_s) / max(rtt_s, 0.1))
            wanted = min(wanted, self.rate_bps)
        else:
            gain = 1.0 if self._is_ramping else gain
            wanted = self.delivered_bps * (1 + gain * (1 - self.queue_s / target_s))
        elapsed_s = now_s - self._updated_s if self._updated_s is not None else 0.01
        self._updated_s = now_s
        share = min(1.0, elapsed_s / max(smoothing_s, 0.01))
        self.rate_bps = min(MAX_RATE_BPS, max(MIN_RATE_BPS, self.rate_bps + (wanted - self.rate_bps) * share))

    def _watch_ramp(self, target_s: float, rtt_s: float, now_s: float) -> None:
        """Doubling: from the start until a queue shows, and again after a long time without any."""
        if self.queue_s > target_s / 2:
            self._queued_s = now_s
        if self.queue_s > target_s:
            self._is_ramping = False
        elif now_s - self._queued_s > max(1.0, 8 * rtt_s):
            self._is_ramping = True

    def _steer_below_ceiling(self, tolerated_s: float, rtt_s: float) -> None:
        """A stated air rate holds; only a queue that stands in spite of it says that the air carries less."""
        assert self.hint_bps is not None
        assert self.delivered_bps is not None
        if self.queue_s > tolerated_s + rtt_s:
            self.rate_bps = max(MIN_RATE_BPS, min(self.rate_bps, 0.9 * self.delivered_bps))
        elif self.queue_s < tolerated_s:
            self.rate_bps = min(self.hint_bps, self.rate_bps * 1.02)

    def window_bytes(self, rtt: RttEstimate, frame_bytes: int) -> int:
        """How much may be in flight: rate x (least RTT + target + spread + acknowledgement delay) + 3 frames."""
        if rtt.smoothed_s is None or self._train_left or (self.delivered_bps is None and self.hint_bps is None):
            return TRAIN_FRAMES * frame_bytes
        frame_s = frame_bytes * 8 / self.rate_bps
        span_s = rtt.min_s + self.target_s(frame_s) + 2 * self.spread_s + ACK_SLACK_S
        return int(self.rate_bps / 8 * span_s) + 3 * frame_bytes


ACK_SLACK_S = 0.03
"""An acknowledgement waits up to 12 ms, and both machines' timers are late by some."""


@dataclass(slots=True)
class Pacer:
    """Spaces frames at a rate; after lateness it may catch up CATCH_UP_S worth of bytes."""

    next_s: float = 0.0

    def is_open(self, now_s: float) -> bool:
        """Whether a frame may leave now."""
        return now_s >= self.next_s - 1e-9

    def charge(self, now_s: float, wire_bytes: int, rate_bps: float) -> None:
        """A frame of ``wire_bytes`` has left."""
        self.next_s = max(self.next_s, now_s - CATCH_UP_S) + wire_bytes * 8 / rate_bps
