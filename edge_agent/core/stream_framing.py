"""Frames on a byte stream (serial line, TCP): marks, CRC-32, byte stuffing, a zero as the end. Sans-IO.

On the wire, all after the frame being ours:

    [0x00]  stuff(frame, marks (1 byte), CRC-32 of frame and marks (4 bytes, big-endian))  0x00

The leading zero is sent after a pause: it ends whatever noise the line picked up meanwhile. Mark 0x01, LAST, gives the
turn to the other side of a half-duplex line; such a frame may be empty.

CRC-32 (IEEE 802.3) and not CRC-16: a noisy radio damages thousands of frames a day, of which CRC-16 would let one in
65,536 pass as a forgery to be alarmed about; the two bytes more cost 2 ms at 9600 baud.
"""

from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

from edge_agent.core.bundle import MalformedError
from edge_agent.core.cobs import stuff, stuffed_max_bytes, unstuff

DELIMITER = b"\0"
MARK_LAST = 0x01
TRAILER_BYTES = 5  # marks and CRC-32


class StreamFrame(NamedTuple):
    """One frame as it came; empty only to hand over the turn."""

    frame: bytes
    is_last: bool


class StreamFramer:
    """Puts frames of at most ``mtu_bytes`` on a stream."""

    def __init__(self, *, mtu_bytes: int) -> None:
        self._mtu_bytes = mtu_bytes

    @property
    def overhead_bytes(self) -> int:
        """The most that the wire carries beyond one frame, the zero after a pause included."""
        trailed_bytes = self._mtu_bytes + TRAILER_BYTES
        return stuffed_max_bytes(trailed_bytes) - self._mtu_bytes + 2 * len(DELIMITER)

    def encode(self, frame: bytes, *, is_last: bool = False, after_pause: bool = False) -> bytes:
        """The bytes of ``frame`` on the wire. Raises ValueError above the MTU: a fault of the caller."""
        if len(frame) > self._mtu_bytes:
            raise ValueError(f"frame of {len(frame)} bytes exceeds MTU of {self._mtu_bytes} bytes")
        marked = frame + bytes((MARK_LAST if is_last else 0,))
        stuffed = stuff(marked + crc32(marked).to_bytes(4, "big"))
        return (DELIMITER if after_pause else b"") + stuffed + DELIMITER


class StreamDeframer:
    """Finds frames in a stream; after damage it is in step again at the next zero.

    Holds at most one stuffed frame of ``frame_max_bytes``. Drops are told to ``count`` by name: ``oversize_frame``,
    ``cobs_error``, ``short_frame``, ``crc_error``, ``unknown_marks``.
    """

    def __init__(self, *, frame_max_bytes: int, count: Callable[[str], None]) -> None:
        self._frame_max_bytes = frame_max_bytes
        self._stuffed_max_bytes = stuffed_max_bytes(frame_max_bytes + TRAILER_BYTES)
        self._count = count
        self._held = bytearray()
        self._is_skipping = False

    def feed(self, received: bytes) -> list[StreamFrame]:
        """The frames that ``received`` completes, in order. O(n)."""
        frames: list[StreamFrame] = []
        *ended, rest = received.split(DELIMITER)
        for piece in ended:
            self._hold(piece)
            if self._held:  # nothing between two zeros is an idle line
                self._open(bytes(self._held), frames)
                self._held.clear()
            self._is_skipping = False
        self._hold(rest)
        return frames

    def _hold(self, piece: bytes) -> None:
        if self._is_skipping:
            return
        if len(self._held) + len(piece) > self._stuffed_max_bytes:
            self._held.clear()
            self._is_skipping = True
            self._count("oversize_frame")
        else:
            self._held += piece

    def _open(self, stuffed: bytes, frames: list[StreamFrame]) -> None:
        try:
            trailed = unstuff(stuffed)
        except MalformedError:
            self._count("cobs_error")
            return
        marked, crc = trailed[:-4], trailed[-4:]
        if not marked:
            self._count("short_frame")
        elif crc32(marked) != int.from_bytes(crc, "big"):
            self._count("crc_error")
        elif len(marked) - 1 > self._frame_max_bytes:
            self._count("oversize_frame")
        elif marked[-1] & ~MARK_LAST:
            self._count("unknown_marks")
        else:
            frames.append(StreamFrame(marked[:-1], bool(marked[-1] & MARK_LAST)))
