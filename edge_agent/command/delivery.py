"""One bundle as the command post's consumer gets it."""

from dataclasses import dataclass, replace

from edge_agent.core.bundle import CLOCK_FLOOR_MS, Origin
from edge_agent.telemetry.payloads import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredBundle:
    """``bundle`` is its id as text, ``precedence`` in small letters; times are UTC ms.

    ``restamp_ms`` puts stamps right that the source made while its clock was not set.
    """

    position: int
    bundle: str
    source: str
    flow: str
    precedence: str
    created_at_ms: int
    received_at_ms: int
    payload: bytes
    via: tuple[str, ...]
    origin: Origin = Origin.MACHINE
    restamp_ms: int = 0

    def said_ms(self, stamp_ms: int) -> int:
        """A stamp of the source, put right if its clock was not set."""
        return stamp_ms + self.restamp_ms if self.is_estimated(stamp_ms) else stamp_ms

    def is_estimated(self, stamp_ms: int) -> bool:
        """Whether a stamp of the source is of a clock nobody had set."""
        return 0 < stamp_ms < CLOCK_FLOOR_MS

    def moment_ms(self, stamp_ms: int) -> int:
        """The same, and never later than the arrival: a clock that says so is ahead, unless ours is not set."""
        said_ms = self.said_ms(stamp_ms)
        return min(said_ms, self.received_at_ms) if self.received_at_ms >= CLOCK_FLOOR_MS else said_ms

    def read_position(self, packed: bytes) -> Position:
        """A position of the source's. Raises MalformedError."""
        position = Position.unpack(packed)
        return replace(position, captured_at_ms=self.said_ms(position.captured_at_ms))
