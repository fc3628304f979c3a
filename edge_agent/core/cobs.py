"""Consistent overhead byte stuffing: bytes without zeros, so that a zero can end a frame on a byte stream.

Sans-IO. Source: S. Cheshire and M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on Networking
7(2), 1999. Growth is bounded, unlike with escape bytes, so that the air time of a frame is known before it is sent.
"""

from edge_agent.core.bundle import MalformedError

_FULL_BLOCK = 255  # code of 254 bytes that no zero follows


def stuffed_max_bytes(plain_bytes: int) -> int:
    """The longest that ``plain_bytes`` bytes become: one more for every 254 begun, at least one."""
    return plain_bytes + max(1, -(-plain_bytes // 254))


def stuff(plain: bytes) -> bytes:
    """``plain`` without zeros, at most ``stuffed_max_bytes`` long. O(n), and O(1) Python steps a zero byte."""
    stuffed = bytearray()
    for run in plain.split(b"\0"):
        at = 0
        while len(run) - at >= _FULL_BLOCK - 1:
            stuffed.append(_FULL_BLOCK)
            stuffed += run[at : at + _FULL_BLOCK - 1]
            at += _FULL_BLOCK - 1
        stuffed.append(len(run) - at + 1)
        stuffed += run[at:]
    if plain and plain[-1] and _ends_on_full_block(plain):
        del stuffed[-1]  # the last code would stand for nothing
    return bytes(stuffed)


def unstuff(stuffed: bytes) -> bytes:
    """What was stuffed. Raises MalformedError for what ``stuff`` cannot have made. O(n)."""
    if not stuffed or 0 in stuffed:
        raise MalformedError("stuffed bytes are empty or hold a zero")
    plain = bytearray()
    at, end = 0, len(stuffed)
    while at < end:
        code = stuffed[at]
        stop = at + code
        if stop > end:
            raise MalformedError(f"block of {code} bytes at {at} passes the end at {end}")
        plain += stuffed[at + 1 : stop]
        if code != _FULL_BLOCK and stop < end:
            plain.append(0)
        at = stop
    return bytes(plain)


def _ends_on_full_block(plain: bytes) -> bool:
    last_run_bytes = len(plain) - (plain.rfind(b"\0") + 1)
    return last_run_bytes % (_FULL_BLOCK - 1) == 0
