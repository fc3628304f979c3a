"""How fast one link may be fed: its capacity as seen while it was busy, the queue it shall have, and a pacer.

A frame that waited behind another came out at the link's own pace, so arrivals in a busy spell tell the capacity; what
is in flight then tells the queue that the next frame will meet. The rate moves that queue to the target within a few
frames. While no queue shows nobody knows the capacity: the rate grows until one does. Lost frames count as delivered:
burst loss is not a slower link (docs/adr/0022-a-queue-is-emptied-to-be-known.md).
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

from edge_agent.core.arq import Arq, Arrived
from edge_agent.core.link_queue import LOOK_AGAIN_S, LinkQueue
from edge_agent.core.others import CUT_MAX_RATIO as SHARED_CUT_MAX_RATIO
from edge_agent.core.others import FULL_RATIO
from edge_agent.core.policing import LOOK_S, Policing, Stage

START_RATE_BPS = 256_000.0
"""Without a hint: low enough for a satellite's first frames, and the first train corrects it within one RTT."""
MIN_RATE_BPS = 300.0
MAX_RATE_BPS = 2e9
CATCH_UP_S = 0.002
"""Burst allowed against timer lateness: one frame per millisecond timer would cap a link at 5 to 60 Mbit/s."""
MIN_QUEUE_TARGET_S = 0.0025
RATE_WINDOW_FRAMES = 10
RATE_WINDOW_S = 0.08
SAMPLES_LEAST = 3
TRAIN_FRAMES = 8
TRAIN_RATE_BPS = 1e9
TRAIN_UNEVEN_RATIO = 0.15
"""A train whose delays grow more unevenly than this tells of jitter, and little of the rate."""
MOVING_SPREAD_S = 0.004
"""Variation of the delay above this is a moving link's: its rate may change as fast, and is looked for faster."""
MOVING_TARGET_MAX_S = 0.04
"""A rate that changes all the time is worth no longer queue: an SOS would wait in it."""
MOVING_WINDOW_MAX_S = 0.2
"""Of a longer window the change within so long counts: the rate follows sooner than that."""
MOVING_TARGET_RATIO = 4.0
MOVING_SMOOTHING = 0.15
MOVING_WINDOWS = 4
"""Two windows further apart than so many tell of different times, not of a rate that moves."""
GAIN, MOVING_GAIN = 0.1, 0.25
CUT_MAX_RATIO = 0.7
STEER_S, STEER_FRAMES = 0.05, 4
"""A known queue is brought to the target in so long, in so many frames, or in a quarter of the round trip."""
JITTER_SPREADS, JITTER_MAX_RATIO = 2.0, 1 / 32
"""A window begins and ends with a frame that was early or late: by so many spreads, and by so much of the window."""
STEADY_RATIO, STEADY_SPREAD_S = 0.05, 0.002
"""A link that moves less than this has one rate: what a window says above it is jitter."""
OVERFLOW_RATIO = 0.25
"""More losses than these in a window prove no capacity. Behind a queue that is far too long, and longer than a frame,
they are its overflow, and the link fell behind though its queue grows no more."""
SHUFFLED_LOOKS = 2
"""What frames overtake by, times this: in less, what counts as lost is still to come."""
URGENT_S = 0.2
"""So long no pause is begun that only looks at others: FLASH may be about to leave."""
EXCESS_TARGETS = 4
"""A queue of so many targets is emptied at once."""
QUEUED_S = 2.0
"""A link that had a queue within so long is no policer, or a new one."""
HOLE_S, HOLE_FRAMES = 0.1, 5
"""A gap between two arrivals of more than both together is a hole."""
STUBBORN_S, STUBBORN_RATIO = 0.5, 1.25
"""So long, or two round trips, above the target, and by so much above the least one: it is not the queue, the delay has
risen."""
STUBBORN_SLIGHT_S = 3.0
"""The same where it is above the target at all: steering leaves a queue a little above it."""


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
    """What the link was described with, less what is left to others; ``describe`` sets it."""
    is_ceiling: bool
    reserve_bps: float = 0.0
    """What is left to others of a link that was described."""
    most_bps: float = field(init=False)
    rate_bps: float = field(init=False)
    capacity_bps: float | None = None
    """What the link carried while it was busy, or the most it was seen to carry since; None: not measured."""
    measured_s: float | None = None
    """When its frames last told what it carries."""
    queue_s: float = 0.0
    """How long the next frame would wait in the link."""
    queue: LinkQueue = field(default_factory=LinkQueue)
    policing: Policing = field(default_factory=Policing)
    moving_ratio: float = 0.0
    """By how much the capacity of a busy link differs from one window to the next, on average."""
    _window_s: float = RATE_WINDOW_S
    """Over how long the capacity is measured."""
    _measured: tuple[float, float] = (0.0, 0.0)
    """The last window that ``moving_ratio`` knows: when it ended, and what was carried, in bits a second."""
    _moved_ratio: float = 0.0
    _was_hole: bool = False
    """Whether the newest sample came after a hole; two in a row are a slow link."""
    _samples: deque[tuple[float, int, float, int]] = field(default_factory=deque)
    """Of frames sent without a pause: arrival, ``sent_bytes_total``, arrival less sending, by two clocks, and bytes
    lost until then."""
    _proven_bytes: int = 0
    """Bytes of this session that arrived."""
    _train_left: int = field(init=False)
    _is_ramping: bool = True
    _urgent_until_s: float = 0.0
    """When a pause that only looks at others may be begun again."""
    _queued_s: float = 0.0
    """When a queue last showed."""
    _on_target_s: float = 0.0
    """When it was last within the target, or ``STUBBORN_RATIO`` of the least one."""
    _below_target_s: float = 0.0
    """When it was last within the target."""

    def __post_init__(self) -> None:
        self.rate_bps = START_RATE_BPS
        self.describe(self.hint_bps, self.reserve_bps)
        self._train_left = 0 if self.hint_bps else TRAIN_FRAMES

    def describe(self, rate_bps: float | None, reserve_bps: float) -> None:
        """Somebody said what the link carries, and what of it is left to others, whether they are there or not."""
        self.reserve_bps, self.most_bps = reserve_bps, MAX_RATE_BPS
        if rate_bps is not None:
            if reserve_bps:
                rate_bps = self.most_bps = max(MIN_RATE_BPS, rate_bps - reserve_bps)
            self.hint_bps = self.rate_bps = rate_bps

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
        self._measured = 0.0, 0.0
        self._proven_bytes = 0
        self.policing.restart()
        self.queue_s = 0.0

    def start_at_most(self, most_bps: float | None) -> None:
        """Begin no faster than a device says that the link is (None: nobody does); what is measured replaces it."""
        if not self.is_trained:
            self.rate_bps = max(MIN_RATE_BPS, min(START_RATE_BPS, most_bps or START_RATE_BPS))

    def end_outage(self, now_s: float, rtt_s: float) -> None:
        """What arrived before an outage, however short, is no part of a window with what comes after it.

        What was lost in it says nothing of a policer; it may be found only a round trip later.
        """
        self._samples.clear()
        self.policing.pause_until(now_s + 2 * rtt_s)

    def resume(self, now_s: float, rtt_s: float, most_bps: float | None = None) -> None:
        """After an outage the rate is what the link carried, not what filled or drained a queue that is no more.

        ``most_bps``: begin no faster.
        """
        self.end_outage(now_s, rtt_s)
        if self.capacity_bps is not None and not self.is_ceiling:
            self.rate_bps, self._is_ramping, self._queued_s = min(self.capacity_bps, self.most_bps), False, now_s
            if most_bps is not None and most_bps < self.rate_bps:
                self.rate_bps = max(MIN_RATE_BPS, most_bps)

    def end_rest(self, pacer: "Pacer", now_s: float) -> None:
        """FLASH waits: beside others it leaves at once, and for a moment there is no pause to look at them."""
        if self.queue.others.ratio:
            pacer.next_s = min(pacer.next_s, now_s)
            self._urgent_until_s = now_s + URGENT_S

    def target_s(self) -> float:
        """Queue to aim at: so much that the link never runs dry by its own variation, of delay or of rate."""
        target_s = max(MIN_QUEUE_TARGET_S, 2.0 * self.queue.spread_s)
        if self.queue.others.ratio:
            target_s = max(target_s, self.queue.others.target_s(self.rate_bps))
        if not self.moving_ratio:  # most links
            return target_s
        moving_s = MOVING_TARGET_RATIO * self.moving_ratio * min(self._window_s, MOVING_WINDOW_MAX_S)
        return max(target_s, min(MOVING_TARGET_MAX_S, moving_s))

    def update(
        self,
        arrived: list[Arrived],
        rtt: RttEstimate,
        now_s: float,
        frame_bytes: int,
        arq: Arq,
        pacer: "Pacer",
    ) -> None:
        """Learn from frames newly acknowledged, in the order of their numbers; ``pacer`` waits where the link must.

        ``arq`` knows all wire bytes of the session, those still on their way included, and those lost.
        """
        queue, samples, rtt_s, sent_bytes_total = self.queue, self._samples, rtt.smoothed_s or 0.1, arq.sent_bytes_total
        s_per_byte = 8 / (self.capacity_bps or self.rate_bps)
        idle_wait_s = self.target_s() / 4  # less is as good as none
        queue.shuffled_s = arq.reordering.extra_s
        for frame, arrived_s, was_lost in arrived:
            self._proven_bytes += frame.wire_bytes
            if frame.is_app_limited:  # the gap before this frame was the sender's, not the link's
                samples.clear()
            if arrived_s is None or was_lost:
                continue
            if queue.take(frame, arrived_s, now_s, s_per_byte, idle_wait_s):
                self._skip_hole(arrived_s, HOLE_S + HOLE_FRAMES * frame.wire_bytes * s_per_byte)
                samples.append((arrived_s, frame.sent_bytes_total, arrived_s - frame.sent_s, arq.lost_bytes))
        self.queue_s = queue.wait_s
        if len(samples) < SAMPLES_LEAST:
            return
        queue.set_window(rtt_s)
        frame_s = frame_bytes * 8 / self.rate_bps
        empty_at_s = queue.empty_at_s(sent_bytes_total, s_per_byte)
        self.queue_s = max(0.0, empty_at_s - max(now_s, pacer.next_s))
        was_known = self.capacity_bps is not None
        if not self._measure_capacity(max(RATE_WINDOW_S, rtt_s, RATE_WINDOW_FRAMES * frame_s), frame_s):
            return
        self.measured_s = now_s
        if not was_known and not self.is_ceiling:
            pacer.next_s = min(pacer.next_s, now_s)  # frames since the train were spaced by a guess
            if self._came_evenly():
                self._is_ramping, self._queued_s = False, now_s
                queue.spread_s = 0.0  # so far its frames surprised by the guess of their time
        if self._is_policed(now_s, rtt_s + queue.shuffled_s, frame_bytes, arq.lost_bytes):
            return
        if self._steer(now_s, rtt_s, frame_s) and not queue.is_probed:
            queue.begin_pause(sent_bytes_total, now_s, max(self.target_s(), queue.others.pause_s(self.rate_bps)))
            self._on_target_s = self._below_target_s = now_s
        if queue.is_pausing(sent_bytes_total):
            pacer.next_s = queue.pause_until_s(empty_at_s, now_s, rtt_s)

    def _skip_hole(self, arrived_s: float, least_s: float) -> None:
        """Nothing came for a while, once: the link held its breath, and the time says nothing of what it carries."""
        samples = self._samples
        if not samples:
            return
        was_hole, self._was_hole = self._was_hole, arrived_s - samples[-1][0] > least_s
        if self._was_hole and not was_hole:
            samples.clear()

    def _measure_capacity(self, window_s: float, frame_s: float) -> bool:
        """Set ``capacity_bps`` from the newest frames sent without a pause; False while they are too few."""
        samples, queue = self._samples, self.queue
        is_busy = queue.wait_s > self.target_s() / 2
        from_bytes = queue.busy_from_bytes if is_busy else queue.bare_at_bytes
        newest_s, newest_total, _, newest_lost = samples[-1]
        while len(samples) > 2 and samples[1][0] <= newest_s - window_s:
            samples.popleft()
        while len(samples) > 1 and samples[0][1] < from_bytes:
            samples.popleft()
        oldest_s, oldest_total, _, oldest_lost = samples[0]
        span_s = newest_s - oldest_s
        if len(samples) < SAMPLES_LEAST or span_s < window_s / 2:
            least_s = window_s / 5 if self.capacity_bps else 0.0  # what was held back comes all at once
            if len(samples) < TRAIN_FRAMES or span_s < least_s:
                return False
        self._window_s = window_s
        sent, lost = newest_total - oldest_total, newest_lost - oldest_lost
        others, span_s = queue.others, max(span_s, 1e-5)
        is_lossy = lost > (FULL_RATIO if others.ratio else OVERFLOW_RATIO) * sent
        carried_bps = max(MIN_RATE_BPS, min(MAX_RATE_BPS, sent * 8 / span_s))
        came_bps = carried_bps
        if is_lossy:
            came = sent - lost if lost < sent else self._least_came()
            came_bps = max(MIN_RATE_BPS, min(MAX_RATE_BPS, came * 8 / span_s))
        is_overflow = is_lossy and (others.ratio > 0 or queue.wait_s > max(frame_s, EXCESS_TARGETS * self.target_s()))
        others.note_window(sent, lost, came_bps)
        sure_bps = came_bps * span_s / (span_s + self._jitter_s(window_s))  # of many windows the quickest counts
        if self.capacity_bps is None or is_overflow:
            self.capacity_bps = came_bps
        elif sure_bps > self.capacity_bps:
            self.capacity_bps = sure_bps
        elif is_busy and (others.ratio > 0 or self._fell_behind()):
            self.capacity_bps = min(self.capacity_bps, carried_bps)
        if is_busy and not is_lossy and not self._is_ramping and newest_s - self._measured[0] >= window_s:
            self._note_move(newest_s, carried_bps)
        return True

    def _least_came(self) -> int:
        """Bytes of the samples themselves, where more counts as lost than was sent: that left before or after them."""
        totals = [total for _, total, _, _ in self._samples]
        return (len(totals) - 1) * min(later - sooner for sooner, later in pairwise(totals))

    def _jitter_s(self, window_s: float) -> float:
        """By how much jitter alone may have shortened a window of a link that does not move; 0 for one that does."""
        spread_s = self.queue.spread_s
        if self.moving_ratio >= STEADY_RATIO or spread_s >= STEADY_SPREAD_S:
            return 0.0
        return min(JITTER_SPREADS * spread_s, JITTER_MAX_RATIO * window_s)

    def _came_evenly(self) -> bool:
        """Whether the first train queued in the link and left it at an even pace: then that is the capacity."""
        samples = self._samples
        first_s, last_s, grown_s = samples[0][0], samples[-1][0], samples[-1][2] - samples[0][2]
        if grown_s <= 2 * MIN_QUEUE_TARGET_S:
            return False
        uneven_s = TRAIN_UNEVEN_RATIO * grown_s
        start_s, pace = samples[0][2], grown_s / max(last_s - first_s, 1e-9)
        return all(abs(delay_s - start_s - pace * (at_s - first_s)) <= uneven_s for at_s, _, delay_s, _ in samples)

    def _note_move(self, now_s: float, carried_bps: float) -> None:
        """A busy link carried ``carried_bps`` in a window that has just ended, by the receiver's clock."""
        before_s, before_bps = self._measured
        if now_s - before_s < MOVING_WINDOWS * self._window_s:
            spreads = JITTER_SPREADS if self.queue.spread_s < STEADY_SPREAD_S else 1.0
            jitter_ratio = spreads * self.queue.spread_s / self._window_s
            moved_ratio = max(0.0, abs(carried_bps - before_bps) / max(carried_bps, before_bps) - jitter_ratio)
            lesser_ratio, self._moved_ratio = min(moved_ratio, self._moved_ratio), moved_ratio  # a single step is none
            self.moving_ratio += MOVING_SMOOTHING * (lesser_ratio - self.moving_ratio)
        self._measured = now_s, carried_bps

    def _fell_behind(self) -> bool:
        """Whether the link carried less than it was given: the delay grew while the samples were taken.

        Of each half the least delay counts, and the link's own variation is no growth. A link that kept up says nothing
        against a higher capacity, however long the delay (docs/adr/0031-a-link-that-kept-up.md).
        """
        samples = self._samples
        if samples[-1][2] - samples[0][2] <= self.target_s():
            return False
        delays_s = [delay_s for _, _, delay_s, _ in samples]
        half = len(delays_s) // 2
        return min(delays_s[half:]) - min(delays_s[:half]) > self.queue.spread_s

    def _is_policed(self, now_s: float, rtt_s: float, frame_bytes: int, lost_bytes: int) -> bool:
        """Whether the rate was cut now because frames are lost where no queue shows."""
        policing = self.policing
        if self.is_ceiling or self.queue.wait_s > EXCESS_TARGETS * self.target_s():
            policing.restart()
            return False
        is_queued = self._shows_queue(now_s, rtt_s, frame_bytes * 8 / self.rate_bps)
        newest_s, newest_total, _, _ = self._samples[-1]
        look_s = self._window_s if self._is_ramping else max(LOOK_S, self._window_s)
        look_s = max(look_s, SHUFFLED_LOOKS * self.queue.shuffled_s)
        if not policing.note(
            now_s,
            newest_s,
            newest_total,
            lost_bytes,
            rtt_s=rtt_s,
            look_s=look_s,
            frame_bytes=frame_bytes,
            is_queued=is_queued,
            has_queued=now_s - self._queued_s <= QUEUED_S,
        ):
            return False
        self._is_ramping = False
        self.capacity_bps = self.rate_bps = max(MIN_RATE_BPS, policing.came_bps)
        self._samples.clear()
        return True

    def _shows_queue(self, now_s: float, rtt_s: float, frame_s: float) -> bool:
        """Whether a queue showed in the last round trip."""
        return now_s - self._queued_s <= rtt_s + 2 * frame_s

    def _steer(self, now_s: float, rtt_s: float, frame_s: float) -> bool:
        """Set the rate; gives back whether the link shall be emptied."""
        assert self.capacity_bps is not None
        wait_s, target_s = self.queue.wait_s, self.target_s()
        if self.is_ceiling:
            return self._steer_below_ceiling(target_s + 2 * frame_s + 0.1, rtt_s)
        self._watch_ramp(target_s, rtt_s, now_s)
        others = self.queue.others
        is_fast = others.ratio > 0 or self.queue.spread_s > MOVING_SPREAD_S
        gain, cut_ratio = MOVING_GAIN if is_fast else GAIN, SHARED_CUT_MAX_RATIO if others.ratio else CUT_MAX_RATIO
        if self._is_ramping:
            grown = 1 - wait_s / target_s
        elif self._shows_queue(now_s, rtt_s, frame_s):
            steer_s = max(STEER_S, STEER_FRAMES * frame_s, rtt_s / 4)
            grown = min(gain, max(-cut_ratio, (target_s - self.queue_s) / steer_s))
        else:
            grown = gain * (1 - wait_s / target_s)
        most_bps = min(self.most_bps, self.policing.ceiling_bps)
        least_bps = max(MIN_RATE_BPS, others.least_bps(rtt_s))
        self.rate_bps = max(least_bps, min(most_bps, self.capacity_bps * (1 + grown)))
        if wait_s <= max(target_s, STUBBORN_RATIO * MIN_QUEUE_TARGET_S):
            self._on_target_s = now_s
        if wait_s <= target_s:
            self._below_target_s = now_s
        if self._is_ramping:
            return False
        if others.ratio:
            return now_s > self._urgent_until_s and now_s - self.queue.seen_empty_s > others.look_every_s(rtt_s)
        return (
            min(wait_s, self.queue_s) > EXCESS_TARGETS * target_s
            or now_s - self._on_target_s > max(STUBBORN_S, 2 * rtt_s)
            or now_s - self._below_target_s > max(STUBBORN_SLIGHT_S, 2 * rtt_s)
            or now_s - self.queue.seen_empty_s > LOOK_AGAIN_S
        )

    def _watch_ramp(self, target_s: float, rtt_s: float, now_s: float) -> None:
        """Doubling: from the start until a queue shows, and again after a long time without any."""
        wait_s = self.queue.wait_s
        if wait_s > target_s / 2:
            self._queued_s = now_s
        if wait_s > target_s or self.policing.stage is not Stage.CLEAN:
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
        target_s = self.target_s()
        span_s = rtt.min_s + target_s + 2 * self.queue.spread_s + ACK_SLACK_S
        if self.queue.wait_s <= EXCESS_TARGETS * target_s:  # else they are late for what stands in the link
            span_s = max(span_s, rtt.smoothed_s + CLUMP_DEVIATIONS * rtt.deviation_s)
        window_bytes = int(self.rate_bps / 8 * span_s) + 3 * frame_bytes
        if self._is_ramping:
            return min(window_bytes, max(TRAIN_FRAMES * frame_bytes, RAMP_RATIO * self._proven_bytes))
        return window_bytes


CLUMP_DEVIATIONS = 2.0
"""Acknowledgements that come in clumps are late by so much of their deviation."""
RAMP_RATIO = 4
"""In flight at most so many times what has arrived, while nobody knows the rate: a bucket lets a train pass at once."""
PACER_SLACK_S = 1e-9
"""Two sums of the same times may differ by so much."""
ACK_SLACK_S = 0.03
"""An acknowledgement waits up to 12 ms, and both machines' timers are late by some."""


@dataclass(slots=True)
class Pacer:
    """Spaces frames at a rate; after lateness it may catch up CATCH_UP_S worth of bytes."""

    next_s: float = 0.0

    def is_open(self, now_s: float) -> bool:
        """Whether a frame may leave now."""
        return self.next_s <= now_s + PACER_SLACK_S

    def charge(self, now_s: float, wire_bytes: int, rate_bps: float) -> None:
        """A frame of ``wire_bytes`` has left."""
        self.next_s = max(self.next_s, now_s - CATCH_UP_S) + wire_bytes * 8 / rate_bps
