"""Fix: what a receiver said about one instant, and when its clock may be believed."""

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from edge_agent.telemetry.payloads import Position

_DAY_MS = 86_400_000
_DISTRUST_MS = 10 * 365 * _DAY_MS
"""A receiver whose week counter rolled over is 1024 weeks (19.6 years) off; half of that tells it from a slow node."""
_NODE_CLOCK_UNSET_MS = 30 * 365 * _DAY_MS
"""Before 2000: a board without a battery counts from 1970 until somebody sets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """One instant of a receiver. ``lat_deg`` None: it had no position, and ``reason`` says why.

    ``receiver_ms`` is UTC milliseconds since 1970 by the receiver's own clock, None while its date is unknown.
    Altitude is above mean sea level; ``accuracy_m`` is the receiver's own estimate, horizontal.
    """

    lat_deg: float | None = None
    lon_deg: float | None = None
    receiver_ms: int | None = None
    alt_m: float | None = None
    speed_mps: float | None = None
    track_deg: float | None = None
    accuracy_m: float | None = None
    satellites: int | None = None
    system: str = ""
    reason: str = ""

    def position_at(self, captured_at_ms: int) -> Position | None:
        """The payload for the page, or None without a position."""
        if self.lat_deg is None or self.lon_deg is None:
            return None
        return Position(
            lat_deg=round(self.lat_deg, 8),  # 1 mm; more digits are noise on a link paid by the byte
            lon_deg=round(self.lon_deg, 8),
            captured_at_ms=captured_at_ms,
            alt_m=self.alt_m,
            speed_mps=None if self.speed_mps is None else round(self.speed_mps, 3),
            track_deg=self.track_deg,
            accuracy_m=None if self.accuracy_m is None else round(self.accuracy_m, 2),
            satellites=self.satellites,
            system=self.system,
        )


class FixParser(Protocol):
    """Bytes of one receiver in, fixes out; sans-IO. Bad input is counted in ``drops`` and never raised."""

    drops: Counter[str]

    def feed(self, received: bytes, now_ms: int) -> list[Fix]:
        """Fixes completed by these bytes, which may be cut anywhere. ``now_ms`` only tells one century from another."""

    def flush(self) -> Fix | None:
        """The fix that has begun, once the receiver has gone quiet until its next burst."""

    @property
    def is_open(self) -> bool:
        """Whether a fix has begun and waits for its other sentences."""

    @property
    def sentences(self) -> int:
        """Valid sentences so far, of whatever kind."""


def is_trusted(receiver_ms: int, now_ms: int) -> bool:
    """Whether the receiver's clock may stamp a position, given this node's clock.

    A node clock that nobody has set proves nothing against the receiver.
    """
    return now_ms < _NODE_CLOCK_UNSET_MS or abs(receiver_ms - now_ms) <= _DISTRUST_MS
