"""Queues: whether a frame may wait for service, and how long the queue lets frames grow old."""

import math
from collections import deque
from enum import Enum

CODEL_TARGET_NS = 5_000_000  # RFC 8289, section 4.3
CODEL_INTERVAL_NS = 100_000_000


class QueueKind(Enum):
    """What a queue does about frames that wait."""

    TAIL_DROP = "tail_drop"
    CODEL = "codel"


class Waiting:
    """Frames that have not left yet, for services whose rate does not tell how many bytes wait."""

    __slots__ = ("_frames", "wire_bytes")

    def __init__(self) -> None:
        self._frames: deque[tuple[int, int]] = deque()
        self.wire_bytes = 0

    def add(self, sent_ns: int, wire_bytes: int) -> None:
        """A frame waits until ``sent_ns``."""
        self._frames.append((sent_ns, wire_bytes))
        self.wire_bytes += wire_bytes

    def at(self, clock_ns: int) -> int:
        """Wire bytes that wait now; the frame in service counts whole."""
        frames = self._frames
        while frames and frames[0][0] <= clock_ns:
            self.wire_bytes -= frames.popleft()[1]
        return self.wire_bytes


class CoDel:
    """Controlled delay: drops at the head of the queue while frames have waited too long for too long (RFC 8289)."""

    __slots__ = ("_count", "_drop_next_ns", "_first_above_ns", "_is_dropping", "_last_count")

    def __init__(self) -> None:
        self._first_above_ns = 0
        self._drop_next_ns = 0
        self._count = 0
        self._last_count = 0
        self._is_dropping = False

    def drops(self, start_ns: int, waited_ns: int, *, is_last: bool) -> bool:
        """Whether a frame that waited so long is dropped as its service would begin. Called once a frame, in order.

        ``is_last``: no more than one frame waits, and CoDel leaves it alone.
        """
        is_old = self._is_old(start_ns, waited_ns, is_last=is_last)
        if self._is_dropping:
            if not is_old:
                self._is_dropping = False
                return False
            if start_ns < self._drop_next_ns:
                return False
            self._count += 1
            self._drop_next_ns = self._law(self._drop_next_ns)
            return True
        if not is_old:
            return False
        self._is_dropping = True
        grown = self._count - self._last_count
        is_recent = start_ns - self._drop_next_ns < 16 * CODEL_INTERVAL_NS
        self._count = grown if grown > 1 and is_recent else 1
        self._drop_next_ns = self._law(start_ns)
        self._last_count = self._count
        return True

    def _is_old(self, start_ns: int, waited_ns: int, *, is_last: bool) -> bool:
        if waited_ns < CODEL_TARGET_NS or is_last:
            self._first_above_ns = 0
            return False
        if self._first_above_ns == 0:
            self._first_above_ns = start_ns + CODEL_INTERVAL_NS
            return False
        return start_ns >= self._first_above_ns

    def _law(self, from_ns: int) -> int:
        return from_ns + math.isqrt(CODEL_INTERVAL_NS * CODEL_INTERVAL_NS // self._count)
