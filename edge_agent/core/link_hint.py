"""What is told of a link from outside it: a modem's signal, a mesh neighbour's reachability, a satellite's Es/N0.

A hint is a warning, never a verdict: what traffic shows decides (docs/adr/0044-a-hint-is-a-warning.md).
"""

import math
from dataclasses import dataclass, field

POOR_QUALITY, GOOD_QUALITY = 0.25, 0.4
"""Below the first a link is warned of, from the second on no more: a signal at the border does not flap."""
SOURCES_MAX = 8
"""Devices that may speak of one link."""
GOOD_FOR_LEAST_S, GOOD_FOR_MOST_S = 1.0, 600.0
NOTE_CHARS = 40
CONTRADICTED_S, CONTRADICTED_STEP_S = 30.0, 5.0
"""A warning ends when frames were acknowledged on the link for so long in spite of it; between two hints so much counts
at most."""
_SIGNAL_DBM, _SNR_DB, _RATE_BPS = (-200.0, 60.0), (-60.0, 100.0), (1.0, 1e12)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkHint:
    """What a device says of one link now. None: it does not say; it counts for ``good_for_s`` after it was told.

    ``quality``: 0 is a link about to fail, 1 one that has nothing to fear. ``is_up``: whether the device itself counts
    as connected (registered, neighbour reachable). ``rate_bps``: what it may carry at most, towards the peer.
    ``signal_dbm``, ``snr_db`` and ``note`` (a few words such as the network's kind) are for people.
    """

    quality: float | None = None
    is_up: bool | None = None
    rate_bps: float | None = None
    signal_dbm: float | None = None
    snr_db: float | None = None
    note: str = ""
    good_for_s: float = 30.0

    @property
    def is_sound(self) -> bool:
        """Whether every value is possible, and any is given."""
        ranged = (
            (self.quality, 0.0, 1.0),
            (self.rate_bps, *_RATE_BPS),
            (self.signal_dbm, *_SIGNAL_DBM),
            (self.snr_db, *_SNR_DB),
            (self.good_for_s, GOOD_FOR_LEAST_S, GOOD_FOR_MOST_S),
        )
        if not all(value is None or (math.isfinite(value) and least <= value <= most) for value, least, most in ranged):
            return False
        says = (self.quality, self.is_up, self.rate_bps, self.signal_dbm, self.snr_db)
        return len(self.note) <= NOTE_CHARS and any(value is not None for value in says)


@dataclass(slots=True)
class _Told:
    hint: LinkHint
    told_s: float
    is_poor: bool
    contradicted_s: float

    @property
    def until_s(self) -> float:
        return self.told_s + self.hint.good_for_s

    def warns_until_s(self) -> float:
        return self.until_s if self.is_poor and self.contradicted_s < CONTRADICTED_S else -math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class HintReport:
    """The newest hint of one device. ``warns``: whether the link is handled with care because of it."""

    source: str
    hint: LinkHint
    age_s: float
    warns: bool


@dataclass(slots=True)
class LinkHints:
    """The newest hint of each device that speaks of one link."""

    poor_until_s: float = -math.inf
    """Until then the link is warned of."""
    asked_s: float = -math.inf
    """When the link was last asked because of a hint."""
    _told: dict[str, _Told] = field(default_factory=dict)

    def take(self, source: str, hint: LinkHint, now_s: float, *, is_answering: bool) -> bool:
        """Keep what ``source`` says; False where too many speak of this link.

        ``is_answering``: whether frames are acknowledged on the link at this time, which contradicts a warning.
        """
        for name in [name for name, each in self._told.items() if each.until_s <= now_s and name != source]:
            del self._told[name]
        before = self._told.get(source)
        if before is None and len(self._told) >= SOURCES_MAX:
            return False
        was_fresh = before is not None and before.until_s > now_s
        is_poor = _is_poor(hint, was_poor=before is not None and was_fresh and before.is_poor)
        contradicted_s = 0.0
        if before is not None and was_fresh and is_poor and before.is_poor:
            passed_s = min(CONTRADICTED_STEP_S, now_s - before.told_s) if is_answering else 0.0
            contradicted_s = before.contradicted_s + passed_s
        self._told[source] = _Told(hint, now_s, is_poor, contradicted_s)
        self.poor_until_s = max(each.warns_until_s() for each in self._told.values())
        return True

    def rate_bps(self, now_s: float) -> float | None:
        """The least rate that a fresh hint tells; None: none does."""
        rates = (each.hint.rate_bps for each in self._told.values() if each.until_s > now_s)
        return min((rate_bps for rate_bps in rates if rate_bps is not None), default=None)

    def is_encouraging(self, now_s: float) -> bool:
        """Whether some device says that the link should work, and none warns of it."""
        is_warned = now_s < self.poor_until_s
        return not is_warned and any(not each.is_poor and each.until_s > now_s for each in self._told.values())

    def reports(self, now_s: float) -> tuple[HintReport, ...]:
        """What is shown of hints that are fresh."""
        return tuple(
            HintReport(source=name, hint=each.hint, age_s=now_s - each.told_s, warns=each.warns_until_s() > now_s)
            for name, each in self._told.items()
            if each.until_s > now_s
        )


def _is_poor(hint: LinkHint, *, was_poor: bool) -> bool:
    if hint.is_up is False:
        return True
    if hint.quality is None:
        return False
    return hint.quality < (GOOD_QUALITY if was_poor else POOR_QUALITY)
