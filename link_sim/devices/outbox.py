"""Outbox: bytes that leave a device's port no faster than its baud rate, each piece not before it is ready."""

import heapq
from itertools import count

from link_sim.devices.errors import DeviceError
from link_sim.profiles import BITS_PER_SERIAL_BYTE

PIECE_S = 0.004  # bytes are handed over in pieces of that time: fine beside a line of text, 250 wake-ups a second
_ROUNDING_BYTES = 1e-6  # a time that is the sum of two floats must not miss the byte that is due then


class Outbox:
    """What a device is going to say, in the order in which it is ready.

    Text that is ready earlier goes first, whatever was put first: so an unsolicited line comes between a command and
    its slow answer. ``baud_rate`` None: all at once. 8N1: ten bits a byte.
    """

    def __init__(self, baud_rate: int | None) -> None:
        if baud_rate is not None and not 50 <= baud_rate <= 4_000_000:
            raise DeviceError(f"baud_rate {baud_rate}: allowed is 50 to 4000000, or none for no pacing")
        self._byte_s = 0.0 if baud_rate is None else BITS_PER_SERIAL_BYTE / baud_rate
        self._ready: list[tuple[float, int, bytes]] = []  # a heap; the device bounds what it says
        self._order = count()
        self._leaving = b""
        self._taken_bytes = 0
        self._started_s = 0.0
        self._free_s = 0.0

    def put(self, ready_s: float, text: bytes) -> None:
        """Say ``text`` at ``ready_s`` or as soon after as the line is free."""
        if text:
            heapq.heappush(self._ready, (ready_s, next(self._order), text))

    def take(self, now_s: float) -> bytes:
        """The bytes whose last bit has left by ``now_s``."""
        out = bytearray()
        while self._begin(now_s):
            due_bytes = len(self._leaving)
            if self._byte_s:
                due_bytes = min(due_bytes, int((now_s - self._started_s) / self._byte_s + _ROUNDING_BYTES))
            out += self._leaving[self._taken_bytes : due_bytes]
            self._taken_bytes = max(self._taken_bytes, due_bytes)
            if self._taken_bytes < len(self._leaving):
                break
            self._free_s = self._started_s + len(self._leaving) * self._byte_s
            self._leaving = b""
        return bytes(out)

    def _begin(self, now_s: float) -> bool:
        """Whether something is leaving; begins with the next that is ready."""
        if self._leaving:
            return True
        if not self._ready or self._ready[0][0] > now_s:
            return False
        ready_s, _, self._leaving = heapq.heappop(self._ready)
        self._started_s, self._taken_bytes = max(ready_s, self._free_s), 0
        return True

    def next_due_s(self) -> float | None:
        """When ``take`` has something again; None when nothing is to be said."""
        if self._leaving:
            piece_bytes = max(1, int(PIECE_S / self._byte_s)) if self._byte_s else len(self._leaving)
            wanted_bytes = min(len(self._leaving), self._taken_bytes + piece_bytes)
            return self._started_s + wanted_bytes * self._byte_s
        return max(self._ready[0][0], self._free_s) if self._ready else None

    def idle_from_s(self) -> float:
        """When all that was put will have left, as far as it is known now; not before what is ready last."""
        busy_s = self._free_s
        if self._leaving:
            busy_s = self._started_s + len(self._leaving) * self._byte_s
        for ready_s, _, text in sorted(self._ready):
            busy_s = max(busy_s, ready_s) + len(text) * self._byte_s
        return busy_s

    def clear(self) -> None:
        """Forget all that has not left."""
        self._ready.clear()
        self._leaving = b""
