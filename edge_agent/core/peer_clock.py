"""When frames arrived, as a peer says, held against what this node knows: none came before it left or after its ACK."""

from dataclasses import dataclass
from math import inf

SLACK_S = 0.002
"""Ticks are rounded, and a shell may read its clock a moment after a frame came."""
DRIFT_RATIO = 5e-4
"""Two clocks part by so much at most: ten times what cheap quartz does."""
DOUBT_S = 5.0
"""So long nothing more is believed: a clock that was set once costs that, one that runs wild is never believed."""


@dataclass(slots=True)
class PeerClock:
    """Bounds on how far the clock of a session's receiver is behind ours.

    A receiver that lies within them moves a frame by less than a round trip, so its lies about rates end there.
    """

    _least_s: float = -inf
    _most_s: float = inf
    _told_s: float = 0.0
    _doubted_until_s: float = -inf

    def allows(self, sent_s: float, arrived_s: float, now_s: float) -> bool:
        """Whether a frame sent at ``sent_s`` and acknowledged now can have come at ``arrived_s`` of the peer's clock.

        When not, the bounds begin anew with it, and the peer is doubted for a while.
        """
        drift_s = DRIFT_RATIO * (now_s - self._told_s)
        self._told_s = now_s
        behind_least_s, behind_most_s = sent_s - arrived_s - SLACK_S, now_s - arrived_s + SLACK_S
        least_s, most_s = self._least_s - drift_s, self._most_s + drift_s
        if behind_least_s > most_s or behind_most_s < least_s:
            self._least_s, self._most_s = behind_least_s, behind_most_s
            self._doubted_until_s = now_s + DOUBT_S
            return False
        self._least_s, self._most_s = max(least_s, behind_least_s), min(most_s, behind_most_s)
        return now_s >= self._doubted_until_s
