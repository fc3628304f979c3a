"""The numbers of one direction of a link, each checked when it is made."""

import math
from dataclasses import dataclass, fields

from link_sim.errors import ProfileError
from link_sim.link.delays import JitterShape
from link_sim.link.queues import QueueKind
from link_sim.traces.trace import LinkTrace

LONGEST_DELAY_S = 3600.0
_RATIOS = (
    "loss_ratio",
    "burst_enter_ratio",
    "burst_leave_ratio",
    "burst_loss_ratio",
    "bit_error_ratio",
    "duplicate_ratio",
    "corrupt_ratio",
    "noise_ratio",
)
_WHOLE = ("rate_bps", "burst_bytes", "queue_bytes", "overhead_bytes", "mtu_bytes")
_SPANS = ("schedule_period_s", "step_period_s", "queue_s", "interval_s", "poll_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkProfile:
    """Physics of one direction. ``rate_bps`` None: no limit; ``mtu_bytes`` None: any frame passes.

    - Rate: ``rate_schedule`` ((from s, bit/s), ...), repeated each ``schedule_period_s``, or a ``trace`` take the place
      of ``rate_bps``; what the trace did not measure stays the profile's own. ``burst_bytes``: a token bucket in place
      of a line; so much leaves at once, and ``rate_bps`` fills it again. ``overhead_bytes`` is what one frame costs
      beyond itself. ``duty_ratio``: silence after each frame, so that the air is used for that share of the time;
      ``interval_s``: at most one frame in that time; ``poll_s``: frames come out only at multiples of it.
    - Delay: ``delay_s``, varied by ``jitter_s`` in ``jitter_shape`` (delays.JitterShape); frames stay in order unless
      it ``reorders``; ``step_spread_s`` moves all of it by another amount each ``step_period_s``.
    - Loss: ``loss_ratio``, in bursts with ``burst_enter_ratio``, ``burst_leave_ratio`` and ``burst_loss_ratio`` (the
      chance while bad; ``loss_ratio`` is the one while good), of ``lost_frames`` by number, by size with
      ``bit_error_ratio``; ``corrupt_ratio`` of the frames arrive damaged, ``duplicate_ratio`` twice.
    - Queue: what waits is bounded by ``queue_bytes`` and ``queue_s``, the rest of the frame in service included; an
      idle link always takes a frame. ``queue_kind`` CODEL drops at its head too. With ``burst_bytes``, ``queue_bytes``
      0 is a policer: what finds no tokens is dropped.
    - ``price_per_frame`` is counted, ``noise_ratio`` is the share of bytes that arrive wrong (serial lines only).

    Raises ProfileError naming the field, the value and what is allowed.
    """

    rate_bps: int | None = None
    burst_bytes: int | None = None
    rate_schedule: tuple[tuple[float, int], ...] = ()
    schedule_period_s: float | None = None
    trace: LinkTrace | None = None
    duty_ratio: float = 1.0
    interval_s: float | None = None
    poll_s: float | None = None
    delay_s: float = 0.0
    jitter_s: float = 0.0
    jitter_shape: JitterShape = JitterShape.EVEN
    jitter_correlation_ratio: float = 0.0
    reorders: bool = False
    step_period_s: float | None = None
    step_spread_s: float = 0.0
    loss_ratio: float = 0.0
    burst_enter_ratio: float = 0.0
    burst_leave_ratio: float = 1.0
    burst_loss_ratio: float = 1.0
    lost_frames: tuple[int, ...] = ()
    bit_error_ratio: float = 0.0
    duplicate_ratio: float = 0.0
    corrupt_ratio: float = 0.0
    queue_bytes: int = 256 * 1024
    queue_s: float | None = None
    queue_kind: QueueKind = QueueKind.TAIL_DROP
    overhead_bytes: int = 0
    mtu_bytes: int | None = None
    price_per_frame: float = 0.0
    noise_ratio: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ProfileError(f"{each.name} {value}: allowed is a finite number")
        self._make_whole()
        if self.rate_bps is not None and self.rate_bps < 1:
            raise ProfileError(f"rate_bps {self.rate_bps}: allowed is 1 or more, or none for no limit")
        if not 0 <= self.delay_s <= LONGEST_DELAY_S:
            raise ProfileError(f"delay_s {self.delay_s}: allowed is 0 to {LONGEST_DELAY_S:g}")
        self._check_jitter()
        for name in _RATIOS:
            ratio = getattr(self, name)
            if not 0 <= ratio <= 1:
                raise ProfileError(f"{name} {ratio}: allowed is 0 to 1")
        if self.bit_error_ratio == 1:
            raise ProfileError("bit_error_ratio 1: allowed is 0 to below 1")
        if not 0 < self.duty_ratio <= 1:
            raise ProfileError(f"duty_ratio {self.duty_ratio}: allowed is above 0, to 1")
        for name in _SPANS:
            span_s = getattr(self, name)
            if span_s is not None and span_s <= 0:
                raise ProfileError(f"{name} {span_s}: allowed is above 0, or none")
        self._check_rest()

    def _make_whole(self) -> None:
        """Numbers written as 1e6 are the whole numbers that they mean."""
        for name in _WHOLE:
            number = getattr(self, name)
            if number is not None:
                object.__setattr__(self, name, _whole(name, number))
        rates = tuple((from_s, _whole("rate_schedule: rate", rate_bps)) for from_s, rate_bps in self.rate_schedule)
        object.__setattr__(self, "rate_schedule", rates)

    def _check_jitter(self) -> None:
        longest_s = self.delay_s if self.jitter_shape is JitterShape.EVEN else LONGEST_DELAY_S
        if not 0 <= self.jitter_s <= longest_s:  # else a frame would arrive before it was sent
            what = f"delay_s ({self.delay_s})" if self.jitter_shape is JitterShape.EVEN else f"{LONGEST_DELAY_S:g}"
            raise ProfileError(f"jitter_s {self.jitter_s}: allowed is 0 to {what}")
        if not 0 <= self.jitter_correlation_ratio < 1:
            raise ProfileError(f"jitter_correlation_ratio {self.jitter_correlation_ratio}: allowed is 0 to below 1")
        if not 0 <= self.step_spread_s <= self.delay_s:
            raise ProfileError(f"step_spread_s {self.step_spread_s}: allowed is 0 to delay_s ({self.delay_s})")
        if self.step_spread_s and self.step_period_s is None:
            raise ProfileError(f"step_spread_s {self.step_spread_s}: step_period_s is missing")

    def _check_rest(self) -> None:
        self._check_bucket()
        if self.queue_bytes < (0 if self.burst_bytes else 1) or self.overhead_bytes < 0:
            raise ProfileError(f"queue_bytes {self.queue_bytes} or overhead_bytes {self.overhead_bytes} is too small")
        if self.mtu_bytes is not None and self.mtu_bytes < 1:
            raise ProfileError(f"mtu_bytes {self.mtu_bytes}: allowed is 1 or more, or none")
        if self.price_per_frame < 0:
            raise ProfileError(f"price_per_frame {self.price_per_frame}: allowed is 0 or more")
        if any(number < 0 for number in self.lost_frames):
            raise ProfileError(f"lost_frames {list(self.lost_frames)}: the first frame is 0")
        given = [name for name in ("rate_bps", "rate_schedule") if getattr(self, name)]
        if len(given) > 1:
            text = f"{' and '.join(given)}: one of them says the rate"
            raise ProfileError(f"{text}; rate_schedule = [] beside it leaves it to rate_bps")
        if self.schedule_period_s is not None and not self.rate_schedule:
            raise ProfileError(f"schedule_period_s {self.schedule_period_s}: rate_schedule is missing")

    def _check_bucket(self) -> None:
        if self.burst_bytes is None:
            return
        if self.burst_bytes < 1:
            raise ProfileError(f"burst_bytes {self.burst_bytes}: allowed is 1 or more, or none")
        is_other = self.trace is not None or self.rate_schedule or self.duty_ratio < 1 or self.interval_s is not None
        if self.rate_bps is None or is_other:
            raise ProfileError(
                f"burst_bytes {self.burst_bytes}: allowed with rate_bps alone, without trace, rate_schedule, "
                "duty_ratio and interval_s"
            )


def _whole(name: str, number: float) -> int:
    if not math.isfinite(number) or number != int(number):
        raise ProfileError(f"{name} {number}: allowed is a whole number")
    return int(number)
