"""What one link carries and what it costs, as its transport and its configuration tell the core."""

from dataclasses import dataclass, field
from enum import Enum

from edge_agent.core.bundle import Precedence

ALL_PRECEDENCES = frozenset(Precedence)
SLOW_LINK_BPS = 64_000


class LinkShape(Enum):
    """The four kinds of way out: they differ in what may be in flight and what silence means."""

    DATAGRAM = "datagram"
    STREAM = "stream"
    TUNNELLED = "tunnelled"
    BURST = "burst"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """Physics of one link, told by its transport when it comes up.

    ``mtu_bytes`` is the longest frame the transport takes; ``overhead_bytes`` is what one frame costs on the wire
    beyond itself (UDP/IP headers, COBS and CRC). ``rate_bps`` is wire bits a second: with ``rate_is_ceiling`` the
    pacer never goes above it (a serial air rate), else the estimate starts there; None: measured from the first frames.
    """

    shape: LinkShape
    mtu_bytes: int
    overhead_bytes: int = 0
    rate_bps: float | None = None
    rate_is_ceiling: bool = False
    half_duplex: bool = False
    turnaround_s: float = 0.0
    is_burst: bool = field(init=False)
    """No session, no liveness, nothing acknowledged. Kept beside ``shape``: it is asked ten times a bundle."""
    is_narrow: bool = field(init=False)
    """Whether ids are one byte: two nodes share a line of their own."""
    is_slow_line: bool = field(init=False)
    """Whether this is a line of two nodes on which each byte is a millisecond of FLASH and more."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_burst", self.shape is LinkShape.BURST)
        object.__setattr__(self, "is_narrow", self.shape in (LinkShape.STREAM, LinkShape.BURST))
        is_line = self.shape is LinkShape.STREAM and self.rate_bps is not None
        object.__setattr__(self, "is_slow_line", is_line and (self.rate_bps or 0.0) < SLOW_LINK_BPS)
        if self.mtu_bytes < 128:  # 64 bytes of payload and the longest header must fit
            raise ValueError(f"mtu_bytes {self.mtu_bytes} is below 128")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPolicy:
    """What the deployment lets one link carry. ``metered`` None: nobody said, so it counts as metered."""

    precedences: frozenset[Precedence] = ALL_PRECEDENCES
    cost_per_mb: float = 0.0
    bytes_per_day: int | None = None
    metered: bool | None = None
    shares_fate: str = ""
    keepalive_s: float = 15.0
