"""Captures for Wireshark: pcapng with one interface for each direction, nanosecond times, frames as they were offered.

Source of the format: IETF draft-ietf-opsawg-pcapng. Frames carry no link layer of the Internet, so their type is USER0.
"""

import struct
from typing import BinaryIO

from link_sim.link.line import Line
from link_sim.link.model import Verdict

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER = 0x1A2B3C4D
_USER0 = 147
_OPTION_COMMENT, _OPTION_NAME, _OPTION_RESOLUTION = 1, 2, 9
_NANOSECONDS = b"\x09"


class Capture:
    """Writes a pcapng file as frames are offered."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._interfaces = 0
        self._block(_SECTION, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1))

    def watch(self, name: str, line: Line[bytes]) -> None:
        """Capture every frame offered to a direction, with its fate as a comment."""
        interface = self.interface(name)

        def judged(now_ns: int, frame_bytes: int, frame: bytes, verdict: Verdict) -> None:
            self.frame(interface, now_ns, frame, verdict.fate.word)

        line.observe(judged)

    def interface(self, name: str) -> int:
        """The number of one more interface."""
        options = _option(_OPTION_NAME, name.encode()) + _option(_OPTION_RESOLUTION, _NANOSECONDS) + bytes(4)
        self._block(_INTERFACE, struct.pack("<HHI", _USER0, 0, 0) + options)
        self._interfaces += 1
        return self._interfaces - 1

    def frame(self, interface: int, now_ns: int, frame: bytes, comment: str) -> None:
        """One frame."""
        head = struct.pack("<IIIII", interface, now_ns >> 32, now_ns & 0xFFFFFFFF, len(frame), len(frame))
        self._block(_PACKET, head + _padded(frame) + _option(_OPTION_COMMENT, comment.encode()) + bytes(4))

    def _block(self, kind: int, body: bytes) -> None:
        length = len(body) + 12
        self._out.write(struct.pack("<II", kind, length) + body + struct.pack("<I", length))


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)
