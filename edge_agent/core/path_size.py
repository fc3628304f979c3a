"""How long a frame may be on one path: a size that is swallowed without a word is left for a shorter one.

No ICMP is needed or believed: what is acknowledged passes, and what never is while shorter frames are does not.
Source of the idea: RFC 8899 (black hole detection and search for datagrams); here the search begins at the top, for
most paths carry what their transport says, and the trial is a frame of data that would have left anyway.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.core.arq import Arrived, SentFrame
from edge_agent.core.limits import LinkLimits, LinkShape

STEPS_BYTES = (1200, 548)
"""What nearly every path carries (RFC 8899, BASE_PLPMTU), and what IPv4 promises (576 less its headers, RFC 791)."""
EPISODES = 3
"""So often in a row must long frames be lost, with none acknowledged in between: a hole of a link is one loss."""
TRIAL_FIRST_S, TRIAL_LONGEST_S = 30.0, 600.0


@dataclass(slots=True)
class PathSize:
    """The longest frame for one contact. ``is_open``: something is to be learnt from what arrives."""

    limits: LinkLimits
    limit_bytes: int = 0
    is_open: bool = False
    _lost_episodes: int = 0
    _counted_s: float = -1.0
    """Frames sent until then belong to losses that were counted."""
    _trial_s: float = 0.0
    _trial_wait_s: float = TRIAL_FIRST_S

    def __post_init__(self) -> None:
        self.limit_bytes = self.limits.mtu_bytes

    def note_lost(self, frames: Iterable[SentFrame], now_s: float) -> bool:
        """Frames were given up; whether the longest one is shorter now."""
        step_bytes = self._step()
        if not step_bytes:
            return False
        overhead_bytes = self.limits.overhead_bytes
        for frame in frames:
            if step_bytes < frame.wire_bytes - overhead_bytes <= self.limit_bytes and frame.sent_s > self._counted_s:
                self.is_open, self._counted_s = True, now_s
                self._lost_episodes += 1
                break
        if self._lost_episodes < EPISODES:
            return False
        self._lost_episodes, self.limit_bytes = 0, step_bytes
        self._trial_s = now_s + self._trial_wait_s
        return True

    def note_arrived(self, arrived: Iterable[Arrived]) -> bool:
        """Frames were acknowledged; whether the longest one is longer now."""
        longest_bytes = max([each.frame.wire_bytes for each in arrived]) - self.limits.overhead_bytes
        if longest_bytes > self._step():
            self._lost_episodes = 0
        has_grown = longest_bytes > self.limit_bytes
        if has_grown:
            self.limit_bytes, self._trial_wait_s = self.limits.mtu_bytes, TRIAL_FIRST_S
        self.is_open = self.limit_bytes < self.limits.mtu_bytes or self._lost_episodes > 0
        return has_grown

    def begins_trial(self, now_s: float) -> bool:
        """Whether one frame of full length shall try the path again now; asked each second."""
        if self.limit_bytes >= self.limits.mtu_bytes or now_s < self._trial_s:
            return False
        self._trial_wait_s = min(TRIAL_LONGEST_S, 2 * self._trial_wait_s)
        self._trial_s = now_s + self._trial_wait_s
        return True

    def _step(self) -> int:
        """The next shorter size; 0 where there is none."""
        if self.limits.shape is not LinkShape.DATAGRAM:
            return 0
        return next((step for step in STEPS_BYTES if step < self.limit_bytes), 0)
