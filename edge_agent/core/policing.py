"""Losses of our own making where no queue shows: a policer drops what is above its rate and delays nothing.

A medium that loses frames does so at any rate; a policer stops as soon as it is sent what it lets through. So the rate
is cut to what came, and it is looked whether the losses end. If they do, that is the ceiling, tried a little higher now
and then; if they do not, they are the medium's, and only more of them is a reason to look again (docs/adr/0036).
"""

from dataclasses import dataclass, field
from enum import Enum, auto

LOOK_S, LOOK_FRAMES = 0.2, 20
"""Losses are counted over so long, and over so many frames: in less, one burst is half of all. In the ramp there is no
such time: it doubles in a round trip."""
LEAST_LOST_FRAMES = 3
CHECK_S, CHECK_ROUND_TRIPS, CHECK_FRAMES = 0.4, 3, 40
"""So long the losses at the lower rate are counted."""
SUSPECT_RATIO, SUSPECT_FLOORS = 0.06, 3.0
"""Losses that are looked into: so many, and so many times what the medium itself was seen to lose."""
CLEAN_RATIO, CLEAN_FLOORS = 0.02, 1.25
"""Losses that count as ended."""
SUSPECT_MAX_RATIO = 0.5
LEAST_CAME_RATIO = 0.02
"""What counts as lost late may be more than was sent meanwhile; a second look cuts once more where it must."""
SUSPECT_LOOKS = 2
"""In so many looks one after the other: a burst is over by then. Where more than a ceiling is tried, one will do."""
QUEUED_LOOKS = 5
"""In so many where a queue showed a moment ago: a policer has none, and one burst comes soon after another."""
ALIKE_RATIO = 0.12
"""A policer lets no less through than before; where what came is less by more than this, the medium was to blame."""
ACQUITTED_S, ACQUITTED_MAX_S = 30.0, 480.0
"""How long only half lost is looked into after that, twice as long each time."""
FLOOR_SMOOTHING = 0.1
BELOW_RATIO = 0.97
"""Of what came: exactly so much would never let the bucket fill again."""
STILL_RATIO, STILL_LEAST_RATIO = 0.6, 0.01
"""Losses that were not brought below so much of what they were before the cut are the medium's."""
HOLD_S, HOLD_MAX_S = 1.0, 24.0
"""How long a ceiling holds before more is tried, twice as long after each time that more was lost."""
HIGHER_RATIO, HIGHER_MAX_RATIO = 0.03, 0.12
"""By how much more is tried, twice as much after each time that nothing was lost."""
FORGET_RATIO = 8.0
"""A ceiling that could be raised so often without a loss is none."""


class Stage(Enum):
    """What is known of losses without a queue."""

    CLEAN = auto()
    FIRST = auto()
    """The rate was cut to what came: do the losses end?"""
    SECOND = auto()
    """Once more: what came first may have come out of a full bucket."""
    HELD = auto()
    """They ended: there is a ceiling."""


@dataclass(slots=True)
class Policing:
    """The ceiling of one link in one direction, from what was lost."""

    ceiling_bps: float = float("inf")
    came_bps: float = 0.0
    """What came while it was last counted."""
    stage: Stage = Stage.CLEAN
    _floor_ratio: float = 0.0
    """What the medium itself loses: while a queue shows that does not overflow, and below a ceiling."""
    _mark: tuple[float, int, int] | None = None
    """Where counting began: the receiver's time, bytes sent, bytes of them lost."""
    _from_s: float = 0.0
    """Counting begins then: what was sent before the cut says nothing of it."""
    _held_until_s: float = 0.0
    _hold_s: float = HOLD_S
    _found_bps: float = field(default=float("inf"))
    _higher_ratio: float = HIGHER_RATIO
    _lost_ratio: float = 0.0
    """What was lost before the last cut."""
    _looks: int = 0
    """Looks with too many losses, one after the other."""
    _acquitted_s: float = ACQUITTED_S
    _acquitted_until_s: float = float("-inf")

    def restart(self) -> None:
        """The receiver's times count from another moment."""
        self._mark = None

    def pause_until(self, t_s: float) -> None:
        """What was sent before counts for nothing."""
        self._mark, self._looks, self._from_s = None, 0, max(self._from_s, t_s)

    def note(
        self,
        now_s: float,
        arrived_s: float,
        sent_bytes: int,
        lost_bytes: int,
        *,
        rtt_s: float,
        look_s: float,
        frame_bytes: int,
        is_queued: bool,
        has_queued: bool = False,
    ) -> bool:
        """Count, each ``look_s`` of the receiver's time; gives back whether the rate was cut now.

        ``sent_bytes`` up to the newest frame that arrived, at ``arrived_s``; ``lost_bytes`` of them.
        ``is_queued``: a queue shows, so what is lost is not a policer's. ``has_queued``: one did a moment ago.
        """
        if now_s < self._from_s:
            return False
        mark = self._mark
        if mark is None:
            self._mark = arrived_s, sent_bytes, lost_bytes
            return False
        is_check = self.stage is Stage.FIRST or self.stage is Stage.SECOND
        span_s = arrived_s - mark[0]
        sent, lost = sent_bytes - mark[1], max(0, lost_bytes - mark[2])
        if span_s < (max(CHECK_S, CHECK_ROUND_TRIPS * rtt_s) if is_check else look_s):
            return False
        if sent < (CHECK_FRAMES if is_check else LOOK_FRAMES) * frame_bytes:
            return False
        self._mark = arrived_s, sent_bytes, lost_bytes
        self.came_bps = BELOW_RATIO * max(LEAST_CAME_RATIO * sent, sent - lost) * 8 / span_s
        if not is_check and 0 < lost < LEAST_LOST_FRAMES * frame_bytes:
            return False
        if is_check:
            return self._check(lost / sent, now_s, rtt_s)
        return self._judge(lost / sent, now_s, rtt_s, is_queued=is_queued, has_queued=has_queued)

    def _judge(self, lost_ratio: float, now_s: float, rtt_s: float, *, is_queued: bool, has_queued: bool) -> bool:
        is_resting = self.stage is Stage.HELD and now_s < self._held_until_s
        if (is_queued and self.stage is Stage.CLEAN) or lost_ratio <= self._suspect_ratio(now_s):
            self._looks = 0
            if self.stage is Stage.CLEAN or is_resting:
                seen_ratio = min(lost_ratio, SUSPECT_MAX_RATIO)
                self._floor_ratio += FLOOR_SMOOTHING * (seen_ratio - self._floor_ratio)
            elif self.stage is Stage.HELD:
                self._try_more()
            return False
        self._looks += 1
        is_trying = self.stage is Stage.HELD and not is_resting
        if self._looks < (QUEUED_LOOKS if has_queued else SUSPECT_LOOKS) and not is_trying:
            return False
        self._looks = 0
        if is_resting or (is_trying and self.came_bps < (1 - ALIKE_RATIO) * self._found_bps):
            self._acquit(lost_ratio, now_s)
            return False
        return self._cut(Stage.FIRST, lost_ratio, now_s, rtt_s)

    def _suspect_ratio(self, now_s: float) -> float:
        if now_s < self._acquitted_until_s:
            return SUSPECT_MAX_RATIO
        return min(SUSPECT_MAX_RATIO, SUSPECT_RATIO + SUSPECT_FLOORS * self._floor_ratio)

    def _check(self, lost_ratio: float, now_s: float, rtt_s: float) -> bool:
        """Whether the losses ended at the lower rate; gives back whether it was cut once more."""
        if lost_ratio <= CLEAN_RATIO + CLEAN_FLOORS * self._floor_ratio:
            self.stage, self._held_until_s = Stage.HELD, now_s + self._hold_s
            self._hold_s = min(HOLD_MAX_S, 2 * self._hold_s)
            self._floor_ratio = min(self._floor_ratio, max(lost_ratio, self._floor_ratio / 2))
            return False
        is_still = lost_ratio > STILL_LEAST_RATIO + STILL_RATIO * self._lost_ratio
        if self.stage is Stage.FIRST or not is_still:
            return self._cut(Stage.SECOND, lost_ratio, now_s, rtt_s)
        self.stage, self._floor_ratio, self.ceiling_bps = Stage.CLEAN, lost_ratio, float("inf")
        return False

    def _acquit(self, lost_ratio: float, now_s: float) -> None:
        """It was no policer."""
        self.stage, self.ceiling_bps, self._hold_s = Stage.CLEAN, float("inf"), HOLD_S
        self._floor_ratio = max(self._floor_ratio, lost_ratio / 2)
        self._acquitted_until_s = now_s + self._acquitted_s
        self._acquitted_s = min(ACQUITTED_MAX_S, 2 * self._acquitted_s)

    def _try_more(self) -> None:
        """Nothing was lost at the ceiling: a little higher, and none at all where that went well for long."""
        self.ceiling_bps *= 1 + self._higher_ratio
        self._higher_ratio = min(HIGHER_MAX_RATIO, 2 * self._higher_ratio)
        if self.ceiling_bps > FORGET_RATIO * self._found_bps:
            self.stage, self.ceiling_bps, self._hold_s = Stage.CLEAN, float("inf"), HOLD_S

    def _cut(self, stage: Stage, lost_ratio: float, now_s: float, rtt_s: float) -> bool:
        self.stage, self._mark, self._from_s = stage, None, now_s + rtt_s
        self._lost_ratio, self._higher_ratio = lost_ratio, HIGHER_RATIO
        self.ceiling_bps = self._found_bps = self.came_bps
        return True
