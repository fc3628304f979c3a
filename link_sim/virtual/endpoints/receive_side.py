"""Receive side of a stream: puts segments in order and says how much more may come."""

from collections import deque

from link_sim.virtual.endpoints.segment import Flag, Segment

_SACKS = 4  # as many blocks as fit beside timestamps in a TCP header are 3; one more for the one just received


class ReceiveSide:
    """``accept`` segments, ``take`` bytes in order. What waits for a reader that does not read closes the window."""

    __slots__ = ("_recent", "_waiting", "capacity_bytes", "early", "end_seq", "next_seq", "waiting_bytes")

    def __init__(self, window_bytes: int) -> None:
        self.next_seq = 0
        self.waiting_bytes = 0
        self.capacity_bytes = window_bytes
        self.early: dict[int, tuple[bytes, int]] = {}
        """Bytes and flags by their start, of segments behind a gap."""
        self.end_seq = -1
        """Where the stream ends, once that is known."""
        self._waiting: deque[bytes] = deque()
        self._recent: deque[int] = deque(maxlen=_SACKS)

    @property
    def window_bytes(self) -> int:
        """How many bytes beyond ``next_seq`` may come."""
        return self.capacity_bytes - self.waiting_bytes

    @property
    def sacks(self) -> tuple[int, ...]:
        """Starts of the segments that came last out of order."""
        return tuple(seq for seq in self._recent if seq in self.early) if self.early else ()

    @property
    def is_ended(self) -> bool:
        """Whether everything has come, the end included."""
        return self.end_seq >= 0 and self.next_seq > self.end_seq

    def accept(self, segment: Segment) -> bool:
        """Take a segment's bytes; whether it came in order. One beyond the window or known already changes nothing."""
        seq, payload = segment.seq, segment.payload
        room_bytes = self.capacity_bytes - self.waiting_bytes
        if seq != self.next_seq:
            if seq > self.next_seq and seq + len(payload) <= self.next_seq + room_bytes:
                self.early[seq] = (payload, segment.flags)
                self._recent.append(seq)
            return False
        if len(payload) > room_bytes:
            return False
        self._append(payload, segment.flags)
        while self.early and (found := self.early.pop(self.next_seq, None)) is not None:
            self._append(*found)
        return True

    def _append(self, payload: bytes, flags: int) -> None:
        self.next_seq += len(payload)
        if payload:
            self._waiting.append(payload)
            self.waiting_bytes += len(payload)
        if flags & Flag.FIN:
            self.end_seq = self.next_seq
            self.next_seq += 1

    def take(self) -> bytes:
        """The next bytes in order; there are some while ``waiting_bytes`` says so."""
        payload = self._waiting.popleft()
        self.waiting_bytes -= len(payload)
        return payload
