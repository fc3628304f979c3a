"""What one link carries and what it costs, as its transport and its configuration tell the core."""

import math
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from edge_agent.core.bundle import Precedence

ALL_PRECEDENCES = frozenset(Precedence)
SLOW_LINK_BPS = 64_000
KEEPALIVE_S = 25.0
"""Carrier NAT forgets a UDP binding after 30 s and more (RFC 4787 asks for two minutes): 18 kB an hour, both ways."""
KEEPALIVE_METERED_S = 240.0
"""1.9 kB an hour, both ways, and a dead link is known within five minutes."""
UNDESCRIBED_DAY_BYTES = 20_000_000
"""A day of a link nobody described: positions, messages and small pictures, and no bill that hurts (DESIGN idea 7)."""


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
    is_thin: bool = field(init=False)
    """Whether it is such a line, or a datagram link that was stated to be as slow: tags are short there."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_burst", self.shape is LinkShape.BURST)
        object.__setattr__(self, "is_narrow", self.shape in (LinkShape.STREAM, LinkShape.BURST))
        is_slow = self.rate_bps is not None and self.rate_bps < SLOW_LINK_BPS
        object.__setattr__(self, "is_slow_line", is_slow and self.shape is LinkShape.STREAM)
        object.__setattr__(self, "is_thin", is_slow and self.shape in (LinkShape.STREAM, LinkShape.DATAGRAM))
        if self.mtu_bytes < 128:  # 64 bytes of payload and the longest header must fit
            raise ValueError(f"mtu_bytes {self.mtu_bytes} is below 128")


class Standby(IntEnum):
    """How much a link is held in reserve; a smaller value is used before a larger one."""

    HOT = 0
    """Shares the load always."""
    WARM = 1
    """Known to be alive, and takes over as soon as every hotter link is in doubt."""
    COLD = 2
    """Used only while every hotter link is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPolicy:
    """What the deployment lets one link carry. ``metered`` None: nobody said, so it counts as metered.

    FLASH passes everything here but ``precedences``: it is in no ``held_back`` and in every ``lifted``.
    """

    precedences: frozenset[Precedence] = ALL_PRECEDENCES
    cost_per_mb: float = 0.0
    bytes_per_day: int | None = None
    bytes_per_month: int | None = None
    metered: bool | None = None
    shares_fate: str = ""
    keepalive_s: float | None = None
    """How often the link is asked while nothing comes on it; 0: never. None: as ``ask_every_s`` says."""
    standby: Standby = Standby.HOT
    min_interval_s: float = 0.0
    """Between a frame with bundles and the next one below FLASH."""
    largest_bundle_bytes: int | None = None
    """Payloads above it take other links; FLASH of any size goes."""
    held_back: frozenset[Precedence] = frozenset()
    """Classes that do not leave for now, and why: "quiet_hours" or "profile"."""
    held_why: str = ""
    lifted: frozenset[Precedence] = frozenset((Precedence.FLASH,))
    """Classes that pass a spent budget."""
    reserve_bps: float = 0.0
    """Of a described rate, what is left to traffic that is not ours, whether it is there or not."""
    pulses: bool = True
    """Whether live data may ask the peer for a frame each few milliseconds (docs/adr/0032-a-pulse.md)."""
    ask_every_s: float = field(init=False)
    """``keepalive_s``, or what suits a link that is metered or not; infinity for never."""
    is_plain: bool = field(init=False)
    """Whether it takes what it may carry as soon as it can: only to such a link a bundle may be left."""
    day_budget_bytes: int | None = field(init=False)
    """``bytes_per_day``, or what a link may cost a day that nobody described."""

    def __post_init__(self) -> None:
        if Precedence.FLASH in self.held_back or Precedence.FLASH not in self.lifted:
            raise ValueError("FLASH is held back by nothing but precedences")
        budget_bytes = self.bytes_per_day
        if budget_bytes is None and self.metered is None:
            budget_bytes = UNDESCRIBED_DAY_BYTES
        object.__setattr__(self, "day_budget_bytes", budget_bytes)
        usual_s = KEEPALIVE_S if self.metered is False else KEEPALIVE_METERED_S
        ask_every_s = usual_s if self.keepalive_s is None else self.keepalive_s or math.inf
        object.__setattr__(self, "ask_every_s", ask_every_s)
        is_limited = self.largest_bundle_bytes is not None or self.min_interval_s > 0
        object.__setattr__(self, "is_plain", self.standby is Standby.HOT and not is_limited)
