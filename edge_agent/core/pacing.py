"""How fast one link may be fed: its capacity as seen while it was busy, the queue it shall have, and a pacer.

A frame that waited behind another came out at the link's own pace, so arrivals in a busy spell tell the capacity; what
is in flight then tells the queue that the next frame will meet. The rate moves that queue to the target within a few
frames. While no queue shows nobody knows the capacity: the rate grows until one does. Lost frames count as delivered:
burst loss is not a slower link (docs/adr/0022-a-queue-is-emptied-to-be-known.md).
"""

from collections import deque
from dataclasses import dataclass, field

from edge_agent.core.arq import Arrived
from edge_agent.core.link_queue import LOOK_AGAIN_S, LinkQueue

START_RATE_BPS = 256_000.0
"""Without a hint: low enough for a satellite's first frames, and the first train corrects it within one RTT."""
MIN_RATE_BPS = 300.0
MAX_RATE_BPS = 2e9
CATCH_UP_S = 0.002
"""Burst allowed against timer lateness: one frame per millisecond timer would cap a link at 5 to 60 Mbit/s."""
MIN_QUEUE_TARGET_S = 0.003
RATE_WINDOW_FRAMES = 10
RATE_WINDOW_S = 0.08
SAMPLES_LEAST = 3
TRAIN_FRAMES = 8
TRAIN_RATE_BPS = 1e9
MOVING_SPREAD_S = 0.004
"""Variation of the delay above this is a moving link's: its rate may change as fast, and is looked for faster."""
GAIN, MOVING_GAIN = 0.12, 0.25
CUT_MAX_RATIO = 0.7
STEER_S, STEER_FRAMES = 0.05, 4
"""A known queue is brought to the target in so long, in so many frames, or in a quarter of the round trip."""
EXCESS_TARGETS = 4
"""A queue of so many targets is emptied at once."""
STUBBORN_S = 0.5
"""So long, or two round trips, above the target: it is not the queue, the delay itself has risen."""


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
class RateController:
    """Rate estimate of one link in one direction, in wire bits a second."""

    hint_bps: float | None
    is_ceiling: bool
    rate_bps: float = field(init=False)
    capacity_bps: float | None = None
    """What the link carried while it was busy, or the most it was seen to carry since; None: not measured."""
    queue_s: float = 0.0
    """How long the next frame would wait in the link."""
    queue: LinkQueue = field(default_factory=LinkQueue)
    _samples: deque[tuple[float, int]] = field(default_factory=deque)
    _train_left: int = field(init=False)
    _is_ramping: bool = True
    _queued_s: float = 0.0
    """When a queue last showed."""
    _on_target_s: float = 0.0
    """When it was last within the target."""

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
        return self.hint_bps is not None or self.capacity_bps is not None

    def restart_clock(self) -> None:
        """A new session: the receiver's times count from another moment. The rate stays, delays are learnt anew."""
        self.queue.restart()
        self._samples.clear()
        self.queue_s = 0.0

    def target_s(self) -> float:
        """Queue to aim at: so much that the link never runs dry by its own variation."""
        return max(MIN_QUEUE_TARGET_S, 2.0 * self.queue.spread_s)

    def update(
        self,
        arrived: list[Arrived],
        rtt: RttEstimate,
        now_s: float,
        frame_bytes: int,
        sent_bytes_total: int,
        pacer: "Pacer",
    ) -> None:
        """Learn from frames newly acknowledged, in the order of their numbers; ``pacer`` waits where the link must.

        ``sent_bytes_total``: all wire bytes of the session, those still on their way included.
        """
        queue, samples, rtt_s = self.queue, self._samples, rtt.smoothed_s or 0.1
        s_per_byte = 8 / (self.capacity_bps or self.rate_bps)
        idle_wait_s = self.target_s() / 4  # less is as good as none
        for frame, arrived_s, was_lost in arrived:
            if frame.is_app_limited:  # the gap before this frame was the sender's, not the link's
                samples.clear()
            if arrived_s is None or was_lost:
                continue
            if queue.take(frame, arrived_s, now_s, s_per_byte, idle_wait_s):
                samples.append((arrived_s, frame.sent_bytes_total))
        self.queue_s = queue.wait_s
        if len(samples) < SAMPLES_LEAST:
            return
        queue.set_window(rtt_s)
        frame_s = frame_bytes * 8 / self.rate_bps
        empty_at_s = queue.empty_at_s(sent_bytes_total, s_per_byte)
        self.queue_s = max(0.0, empty_at_s - max(now_s, pacer.next_s))
        if not self._measure_capacity(max(RATE_WINDOW_S, rtt_s, RATE_WINDOW_FRAMES * frame_s)):
            return
        if self._steer(now_s, rtt_s, frame_s) and not queue.is_probed:
            queue.begin_pause(sent_bytes_total, now_s, self.target_s())
            self._on_target_s = now_s
        if queue.is_pausing(sent_bytes_total):
            pacer.next_s = queue.pause_until_s(empty_at_s, now_s, rtt_s)

    def _measure_capacity(self, window_s: float) -> bool:
        """Set ``capacity_bps`` from the newest frames sent without a pause; False while they are too few."""
        samples, queue = self._samples, self.queue
        is_busy = queue.wait_s > self.target_s() / 2
        from_bytes = queue.busy_from_bytes if is_busy else queue.bare_at_bytes
        newest_s, newest_total = samples[-1]
        while len(samples) > 2 and samples[1][0] <= newest_s - window_s:
            samples.popleft()
        while len(samples) > 1 and samples[0][1] < from_bytes:
            samples.popleft()
        oldest_s, oldest_total = samples[0]
        span_s = newest_s - oldest_s
        if len(samples) < SAMPLES_LEAST or span_s < window_s / 2:
            least_s = window_s / 5 if self.capacity_bps else 0.0  # what was held back comes all at once
            if len(samples) < TRAIN_FRAMES or span_s < least_s:
                return False
        carried_bps = min(MAX_RATE_BPS, (newest_total - oldest_total) * 8 / max(span_s, 1e-5))
        if is_busy or self.capacity_bps is None or carried_bps > self.capacity_bps:
            self.capacity_bps = carried_bps
        return True

    def _steer(self, now_s: float, rtt_s: float, frame_s: float) -> bool:
        """Set the rate; gives back whether the link shall be emptied."""
        assert self.capacity_bps is not None
        wait_s, target_s = self.queue.wait_s, self.target_s()
        if self.is_ceiling:
            return self._steer_below_ceiling(target_s + 2 * frame_s + 0.1, rtt_s)
        self._watch_ramp(target_s, rtt_s, now_s)
        gain = MOVING_GAIN if self.queue.spread_s > MOVING_SPREAD_S else GAIN
        if self._is_ramping:
            grown = 1 - wait_s / target_s
        elif now_s - self._queued_s <= rtt_s + 2 * frame_s:
            steer_s = max(STEER_S, STEER_FRAMES * frame_s, rtt_s / 4)
            grown = min(gain, max(-CUT_MAX_RATIO, (target_s - self.queue_s) / steer_s))
        else:
            grown = gain * (1 - wait_s / target_s)
        self.rate_bps = min(MAX_RATE_BPS, max(MIN_RATE_BPS, self.capacity_bps * (1 + grown)))
        if wait_s <= target_s:
            self._on_target_s = now_s
        if self._is_ramping:
            return False
        return (
            min(wait_s, self.queue_s) > EXCESS_TARGETS * target_s
            or now_s - self._on_target_s > max(STUBBORN_S, 2 * rtt_s)
            or now_s - self.queue.seen_empty_s > LOOK_AGAIN_S
        )

    def _watch_ramp(self, target_s: float, rtt_s: float, now_s: float) -> None:
        """Doubling: from the start until a queue shows, and again after a long time without any."""
        wait_s = self.queue.wait_s
        if wait_s > target_s / 2:
            self._queued_s = now_s
        if wait_s > target_s:
            self._is_ramping = False
        elif now_s - self._queued_s > max(1.0, 8 * rtt_s):
            self._is_ramping = True

    def _steer_below_ceiling(self, tolerated_s: float, rtt_s: float) -> bool:
        """A stated air rate holds; only a queue that stands in spite of it says that the air carries less."""
        assert self.hint_bps is not None
        assert self.capacity_bps is not None
        if self.queue.wait_s > tolerated_s + rtt_s:
            self.rate_bps = max(MIN_RATE_BPS, min(self.rate_bps, 0.9 * self.capacity_bps))
            return True
        if self.queue.wait_s < tolerated_s:
            self.rate_bps = min(self.hint_bps, self.rate_bps * 1.02)
        return False

    def window_bytes(self, rtt: RttEstimate, frame_bytes: int) -> int:
        """How much may be in flight: rate x (least RTT + target + spread + acknowledgement delay) + 3 frames."""
        if rtt.smoothed_s is None or self._train_left or (self.capacity_bps is None and self.hint_bps is None):
            return TRAIN_FRAMES * frame_bytes
        span_s = rtt.min_s + self.target_s() + 2 * self.queue.spread_s + ACK_SLACK_S
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
