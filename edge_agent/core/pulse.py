"""The pulse of one contact: while live data flows, its peer sends so often that silence itself is the signal.

Whoever sends live data asks its peer for a frame each few milliseconds (block PULSE, beside the data, renewed while
they flow); acknowledgements count, and only a pause between them is filled with an empty frame. Silence of three
intervals, or of what this link itself is silent for once in a thousand times, is a suspicion: urgent data moves.
Source of the idea: RFC 5880 (both ends send, each says how often it wants to hear).
"""

import math
from collections import deque
from dataclasses import dataclass, field
from math import inf

PULSE_LEAST_S = 0.013
"""Three of them are the shortest silence that means something; shorter ones cost more than they bring."""
PULSE_MOST_S = 0.06
"""Where it would have to be longer, a missing acknowledgement tells as soon."""
FILLER_BYTES = 60
"""An empty frame with its headers, and an acknowledgement in every second one."""
PULSE_SHARE_RATIO = 0.15
"""Of a link's rate, at most, for fillers."""
ROUND_TRIP_SHARE = 0.25
"""An interval is at least so much of the round trip: on a long link silence is noticed late anyway."""
ARRIVED_SHARE = 0.6
"""Of the round trip: frames older than that, when the peer was last heard, had arrived, and only their
acknowledgements are missing. They are sent again when the link is convicted, not when it is in doubt."""
LASTS_S = 1.0
"""How long a peer goes on after it was last asked."""
ASK_EVERY_S = 0.4
FLOW_FRAMES = 5
LIVE_SPAN_S = 0.3
"""So many frames with live data in this time are a flow, of which the next ones are worth a pulse. Of other data they
must follow each other as fast as the pulse: then acknowledgements come as often by themselves."""
MISSED_INTERVALS = 3
SILENCES_TO_DIE = 3
DIE_SLACK_S = 0.06
"""Conviction: so many such silences, at least a round trip and this."""
RARE_RATIO = 0.001
RARE_STEP_S = 0.01
SILENCE_MOST_S = 0.06
"""No link's own gaps lengthen the wait for a suspicion beyond this: what it costs is small."""
HOLE_MOST_S, HOLE_LONGEST_S = 0.6, 2.0
HOLE_MARGIN_RATIO, HOLE_MARGIN_S = 1.25, 0.15
HOLE_LEAST_S = 0.01
HOLE_HALF_S = 60.0
"""A link that was silent and came back is convicted only after more than that, for a while: what stood in its queue was
not lost, and to send it again elsewhere costs its bytes twice; and where one burst of loss was, a longer one comes."""


@dataclass(slots=True)
class RareGap:
    """The gap that one in a thousand exceeds, followed by steps: up where one is longer, a little down else."""

    gap_s: float = 0.0

    def note(self, gap_s: float) -> None:
        """One gap between two frames heard."""
        if gap_s > self.gap_s:
            self.gap_s = min(SILENCE_MOST_S, self.gap_s + RARE_STEP_S * (1 - RARE_RATIO))
        else:
            self.gap_s = max(0.0, self.gap_s - RARE_STEP_S * RARE_RATIO)


@dataclass(slots=True)
class Pulse:
    """Both directions of one contact: what this side has asked for, and what it was asked for."""

    rare: RareGap = field(default_factory=RareGap)
    asked_s: float = -1e9
    """When this side last asked."""
    interval_s: float = PULSE_LEAST_S
    """What it asked for."""
    is_watched: bool = False
    """Whether this side asked, and something may still come of it; else nothing heard concerns the pulse."""
    heard_s: float | None = None
    """The newest frame heard since the peer was asked and could know it; None: no silence counts yet."""
    is_doubted: bool = False
    """Silence made this link suspect, and nothing was heard since."""
    hole_s: float = 0.0
    """The longest silence that was none of a dead link; forgotten by half each HOLE_HALF_S."""
    _hole_at_s: float = 0.0
    _silent_since_s: float | None = None
    """When the peer was last heard before the silence that is doubted, or was."""
    owed_until_s: float = -1e9
    """Until when the peer wants to hear from us each ``owed_interval_s``."""
    owed_interval_s: float = PULSE_LEAST_S
    _live: deque[float] = field(default_factory=lambda: deque(maxlen=FLOW_FRAMES))
    _all: deque[float] = field(default_factory=lambda: deque(maxlen=FLOW_FRAMES))

    def note_data(self, now_s: float, *, is_live: bool) -> None:
        """A frame with data leaves now."""
        self._all.append(now_s)
        if is_live:
            self._live.append(now_s)

    def _is_flow(self, now_s: float) -> bool:
        live, every = self._live, self._all
        if len(every) < FLOW_FRAMES:
            return False
        if now_s - every[0] <= FLOW_FRAMES * PULSE_LEAST_S:
            return True
        return len(live) == FLOW_FRAMES and now_s - live[0] <= LIVE_SPAN_S

    def ask(self, now_s: float, rtt_s: float | None, rate_bps: float) -> float | None:
        """The interval to ask for in the frame that leaves now, or None."""
        if rtt_s is None or now_s - self.asked_s < ASK_EVERY_S or not self._is_flow(now_s):
            return None
        interval_s = max(PULSE_LEAST_S, ROUND_TRIP_SHARE * rtt_s, FILLER_BYTES * 8 / rate_bps / PULSE_SHARE_RATIO)
        if interval_s > PULSE_MOST_S:
            return None
        if now_s - self.asked_s > LASTS_S:
            self.heard_s = None
        self.asked_s, self.interval_s, self.is_watched = now_s, interval_s, True
        return interval_s

    def is_asked(self, now_s: float) -> bool:
        """Whether the peer is still to send at the interval asked for."""
        return now_s - self.asked_s < LASTS_S

    def note_heard(self, now_s: float, rtt_s: float | None) -> bool:
        """An authentic frame came; gives back whether it ends a doubt that silence had raised."""
        was_doubted, self.is_doubted = self.is_doubted, False
        if self._silent_since_s is not None:
            self._note_hole(now_s, now_s - self._silent_since_s)
            self.rare.note(now_s - self._silent_since_s)
            self._silent_since_s = None
        if self.heard_s is not None:
            self.rare.note(now_s - self.heard_s)
            self.heard_s = now_s
        elif rtt_s is not None and now_s - self.asked_s >= rtt_s:
            self.heard_s = now_s
        if not self.is_asked(now_s):
            self.heard_s, self.is_watched = None, False
        return was_doubted

    def doubt(self) -> None:
        """Silence has spoken: it says no more until the peer is heard again."""
        assert self.heard_s is not None
        self.is_doubted, self._silent_since_s, self.heard_s = True, self.heard_s, None

    def unheard_from_s(self, rtt_s: float | None) -> float:
        """What was sent before was there while the link lived, if it is silence that is doubted."""
        if not self.is_doubted or self._silent_since_s is None:
            return -math.inf
        return self._silent_since_s - ARRIVED_SHARE * (rtt_s or math.inf)

    def silence_s(self) -> float:
        """How long silence must last to mean something."""
        return max(MISSED_INTERVALS * self.interval_s, self.rare.gap_s)

    def next_s(self, rtt_s: float | None) -> float:
        """When silence next means something; infinity: not before something is heard."""
        return min(self.doubt_at_s(), self.dead_at_s(rtt_s))

    def doubt_at_s(self) -> float:
        """When silence becomes a suspicion; infinity while no pulse is expected."""
        if self.heard_s is None:
            return inf
        at_s = self.heard_s + self.silence_s()
        return at_s if at_s < self.asked_s + LASTS_S else inf

    def dead_at_s(self, rtt_s: float | None) -> float:
        """When silence that was doubted becomes a conviction; infinity while nothing is doubted."""
        if not self.is_doubted or self._silent_since_s is None:
            return inf
        hole_s = self._hole_now_s(self._silent_since_s)
        if hole_s > HOLE_LEAST_S:
            hole_s = min(HOLE_MOST_S, max(HOLE_MARGIN_RATIO * hole_s, hole_s + HOLE_MARGIN_S))
        return self._silent_since_s + max(SILENCES_TO_DIE * self.silence_s(), (rtt_s or 0.0) + DIE_SLACK_S, hole_s)

    def _hole_now_s(self, now_s: float) -> float:
        return self.hole_s * float(0.5 ** ((now_s - self._hole_at_s) / HOLE_HALF_S))

    def _note_hole(self, now_s: float, span_s: float) -> None:
        """The link came back after a silence; a long one was an outage, and tells of no hole."""
        if span_s <= HOLE_LONGEST_S:
            self.hole_s, self._hole_at_s = max(span_s, self._hole_now_s(now_s)), now_s

    def forgive(self, late_s: float) -> None:
        """This process itself was late by so much: nobody else was silent then."""
        if self.heard_s is not None:
            self.heard_s += late_s
        if self._silent_since_s is not None:
            self._silent_since_s += late_s

    def owe(self, interval_s: float, now_s: float) -> None:
        """The peer asked."""
        self.owed_interval_s, self.owed_until_s = interval_s, now_s + LASTS_S

    def is_due(self, last_sent_s: float, now_s: float) -> bool:
        """Whether a filler is due."""
        return last_sent_s + self.owed_interval_s <= now_s < self.owed_until_s

    def due_s(self, last_sent_s: float) -> float:
        """When the next filler is due after the last frame that left; infinity: none is wanted."""
        at_s = last_sent_s + self.owed_interval_s
        return at_s if at_s < self.owed_until_s else inf
