"""Both directions of a link, and the arithmetic of serial lines."""

from dataclasses import dataclass

from link_sim.link.link_profile import LinkProfile

UDP_IPV4_OVERHEAD_BYTES = 28  # RFC 791 header without options, 20; RFC 768, 8
SERIAL_FRAMING_BYTES = 8  # COBS code and end, 2; CRC, 4; a second code byte beyond 254 bytes and a flag, 2
BITS_PER_SERIAL_BYTE = 10  # 8N1: one start bit, eight of data, one stop bit


@dataclass(frozen=True, slots=True, kw_only=True)
class PathProfile:
    """Both directions of a link. "up" is the way from the kit to the command post, or from PTY a to PTY b."""

    name: str
    up: LinkProfile
    down: LinkProfile


def serial_rate_bps(baud_rate: int) -> int:
    """Payload bits a second of an 8N1 line: 9600 baud carry 960 bytes, 7,680 bit, a second."""
    return baud_rate * 8 // BITS_PER_SERIAL_BYTE


def serial_profile(baud_rate: int, *, overhead_bytes: int = 0) -> LinkProfile:
    """One direction of a serial line or of a radio that is as fast as its port.

    The queue is the buffer of a modem: 4 KiB, as N_TTY_BUF_SIZE of the Linux tty layer.
    """
    return LinkProfile(rate_bps=serial_rate_bps(baud_rate), queue_bytes=4096, overhead_bytes=overhead_bytes)
