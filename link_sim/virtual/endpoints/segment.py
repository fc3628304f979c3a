"""Segments of the stream model, and its numbers."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from link_sim.errors import ProfileError

HEADER_BYTES = 32  # TCP header, 20 (RFC 9293), and its timestamps, 12 (RFC 7323); that of IP is the profile's overhead
FULL_MSS_BYTES = 1448  # Ethernet's 1,500 less 20 of IPv4 and HEADER_BYTES


class Flag:
    """What a segment is beside its bytes. Plain bits: those of an enum cost as much as the link itself."""

    NONE: Final = 0
    SYN: Final = 1
    FIN: Final = 2
    RST: Final = 4
    PROBE: Final = 8
    """Asks for an answer, as a zero-window probe of TCP does."""


@dataclass(slots=True, eq=False)
class Segment:
    """One segment. ``seq`` and ``ack`` count bytes of their direction from 0; the end of the stream counts as one.

    ``sacks`` are the starts of segments that came last out of order. Nobody changes one: it is not frozen because a
    stream makes one for each frame, field by field.
    """

    source_port: int
    port: int
    flags: int
    seq: int
    ack: int
    window_bytes: int
    payload: bytes
    sacks: tuple[int, ...] = ()

    @property
    def frame_bytes(self) -> int:
        """Bytes that the link charges."""
        return len(self.payload) + HEADER_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """Numbers of the stream model; the defaults are those of Linux where it has them.

    ``window_bytes``: what the receiver keeps for a reader that does not read, and so the most that flies.
    ``connect_tries`` and ``send_tries``: transmissions of one segment before the other end is given up.
    Raises ProfileError.
    """

    window_bytes: int = 262_144
    mss_bytes: int = FULL_MSS_BYTES
    first_timeout_s: float = 1.0  # RFC 6298, section 2.1
    least_timeout_s: float = 0.2  # Linux TCP_RTO_MIN
    longest_timeout_s: float = 120.0  # Linux TCP_RTO_MAX
    delayed_ack_s: float = 0.04  # Linux TCP_DELACK_MIN
    connect_tries: int = 7  # Linux tcp_syn_retries 6: given up after 127 s
    send_tries: int = 16  # Linux tcp_retries2 15: given up after about 15 minutes
    linger_s: float = 60.0  # TIME_WAIT of Linux

    def __post_init__(self) -> None:
        if not 1 <= self.mss_bytes <= self.window_bytes:
            raise ProfileError(f"mss_bytes {self.mss_bytes}: allowed is 1 to window_bytes ({self.window_bytes})")
        if not 0 < self.least_timeout_s <= self.first_timeout_s <= self.longest_timeout_s:
            raise ProfileError("timeouts: 0 < least_timeout_s <= first_timeout_s <= longest_timeout_s is allowed")
        if self.connect_tries < 1 or self.send_tries < 1:
            raise ProfileError(
                f"connect_tries {self.connect_tries}, send_tries {self.send_tries}: allowed is 1 or more"
            )
        if self.delayed_ack_s < 0 or self.linger_s < 0:
            raise ProfileError(f"delayed_ack_s {self.delayed_ack_s}, linger_s {self.linger_s}: allowed is 0 or more")


class Damaged(NamedTuple):
    """A segment that came with a flipped bit: its checksum gives it away."""

    frame_bytes: int
