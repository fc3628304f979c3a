"""What the frames of every endpoint carry, for captures: bytes, and in words what they are beside them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from link_sim.virtual.endpoints.segment import Flag, Segment

_FLAGS: Mapping[int, str] = MappingProxyType({Flag.SYN: "SYN", Flag.FIN: "FIN", Flag.RST: "RST", Flag.PROBE: "PROBE"})


def payload_of(frame: Any) -> bytes:  # Any: bytes, or an endpoint's own object
    """The bytes of a frame; none for one that has none."""
    if isinstance(frame, bytes):
        return frame
    if type(frame) is tuple:  # a datagram with the socket that it goes to
        return next((each for each in frame if isinstance(each, bytes)), b"")
    payload = getattr(frame, "payload", b"")
    return payload if isinstance(payload, bytes) else b""


def words_of(frame: Any) -> str:  # Any: as above
    """Ports and numbers of a frame; empty for bytes alone."""
    if isinstance(frame, Segment):
        flags = "".join(f"{word} " for bit, word in _FLAGS.items() if frame.flags & bit)
        sacks = f" sacks {','.join(map(str, frame.sacks))}" if frame.sacks else ""
        return f"{frame.source_port} > {frame.port} {flags}seq {frame.seq} ack {frame.ack}{sacks}"
    if hasattr(frame, "source_port"):
        return f"{frame.source_port} > {frame.port}"
    if hasattr(frame, "kind") and hasattr(frame, "number"):  # of a TCP proxy
        return f"{frame.kind.value} {frame.number}"
    return ""
