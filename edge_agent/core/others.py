"""Others on a link: how much of it they use, and what that leaves us to aim at.

While we send nothing a queue of others shrinks by what they leave free, and a delay that has risen does not shrink. So
the end of a pause tells one from the other (docs/adr/0043-others-on-a-link.md).
"""

from dataclasses import dataclass

LEAST_WAIT_S = 0.004
"""A link that should be empty and is not, by so much and by a frame of its rate: its delay has risen, or it is others
who fill it."""
FREE_LEAST_RATIO = 0.1
"""Who leaves less free than that cannot be told from a delay."""
FULL_RATIO = 0.1
"""Of what was sent in a window, lost: a queue that is long all the time is a full one, and no delay."""
SMOOTHING = 0.5
FORGOTTEN_RATIO = 0.1
FRAME_BYTES = 1400
"""Each of those who share a link aims at one such frame in its queue: who carries less than the others then aims at
more queue than they do, and gains on them."""
FILLED_FRAMES = 24
"""Others whose queue is so many frames long fill whatever there is: beside them we do as they do."""
FILLED_S = 20.0
"""For so long, once they were seen to leave nothing free."""
BROAD_BPS = 256_000.0
"""Only who carries that much by itself is sure that they leave nothing free."""
FAST_BPS = 2_000_000.0
"""From here on a frame takes too little time to tell a queue of others from the noise of a host."""
CUT_MAX_RATIO = 0.3
"""By so much the rate falls at once: the queue of others does not become shorter by our silence alone."""
LOOK_EVERY_S, LOOK_ROUND_TRIPS = 5.0, 4.0
PAUSE_FRAMES = 6.0
"""A pause of so many frames at our own share shows the slope of the queue."""


@dataclass(slots=True)
class Others:
    """What is known of traffic that is not ours. ``ratio``: the part of the link that they use; 0: none was seen."""

    ratio: float = 0.0
    is_lossy: bool = False
    """Whether more than ``FULL_RATIO`` was lost in the newest window."""
    most_bps: float = 0.0
    """The most that the link was seen to carry."""
    _filled_until_s: float = 0.0

    def note_window(self, sent_bytes: int, lost_bytes: int, came_bps: float) -> None:
        """A window of the capacity has ended."""
        self.is_lossy = lost_bytes > FULL_RATIO * sent_bytes
        self.most_bps = max(self.most_bps, came_bps)

    def risen_s(self, wait_s: float, *, before_s: float, pause_s: float, at_s: float, s_per_byte: float) -> float:
        """By how much the delay of the empty link has risen, after a pause that should have let it run empty.

        A frame waited ``wait_s`` at its end and ``before_s`` ahead of it. ``s_per_byte``: our own share.
        """
        if wait_s <= LEAST_WAIT_S or wait_s * self.most_bps <= FRAME_BYTES * 8:
            self._note(0.0)
            return wait_s
        free_ratio = (before_s - wait_s) / max(pause_s, 1e-6)
        if self.most_bps >= FAST_BPS or (not self.is_lossy and self._is_filled(wait_s, free_ratio, at_s, s_per_byte)):
            self.ratio = 0.0
            return wait_s
        if at_s < self._filled_until_s:
            self.ratio = 0.0
            return wait_s
        self._note(1.0 - max(0.0, min(1.0, free_ratio)))
        return 0.0

    def _is_filled(self, wait_s: float, free_ratio: float, at_s: float, s_per_byte: float) -> bool:
        """Whether the others take whatever there is, or it is a delay: both are to be lived with."""
        if free_ratio < FREE_LEAST_RATIO:
            if s_per_byte * BROAD_BPS < 8:
                self._filled_until_s = at_s + FILLED_S
            return True
        return wait_s * self.most_bps > FILLED_FRAMES * FRAME_BYTES * 8

    def _note(self, ratio: float) -> None:
        self.ratio += SMOOTHING * (ratio - self.ratio)
        if ratio == 0.0 and self.ratio < FORGOTTEN_RATIO:
            self.ratio = 0.0

    def target_s(self, rate_bps: float) -> float:
        """The queue to aim at beside others; 0 where there are none."""
        return FRAME_BYTES * 8 / rate_bps if self.ratio else 0.0

    def pause_s(self, rate_bps: float) -> float:
        """How long a pause has to be to tell what they use; 0 where there are none."""
        return PAUSE_FRAMES * FRAME_BYTES * 8 / rate_bps if self.ratio else 0.0

    def least_bps(self, rtt_s: float) -> float:
        """A frame a round trip, beside others: with less nobody would learn that they have gone."""
        return FRAME_BYTES * 8 / rtt_s if self.ratio else 0.0

    def look_every_s(self, rtt_s: float) -> float:
        """How often to pause beside them."""
        return max(LOOK_EVERY_S, LOOK_ROUND_TRIPS * rtt_s)
