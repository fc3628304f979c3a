"""Verdict log: what one direction has judged and how it was changed, for its digest and its count of frames.

Four numbers a record: a time, bytes, a fate, a due time. They are hashed and counted in blocks, for a hash call a frame
would cost as much as judging it, and kept by columns until then: most fates are 0, and none of those is kept.
"""

import hashlib
import struct
from collections import Counter

BLOCK = 1024
"""Records hashed at once."""

_CODE = "l" if struct.calcsize("l") == struct.calcsize("q") else "q"  # the same bytes; CPython packs a long faster


class VerdictLog:
    """``add`` verdicts and ``remark`` changes one by one.

    Or append verdicts to the columns by hand, which costs a third, after a ``flush`` when they have BLOCK rows.
    """

    __slots__ = ("_fates", "_hash", "_hashed", "_remarks", "dues_ns", "fates", "sizes_bytes", "times_ns")

    def __init__(self) -> None:
        self.times_ns: list[int] = []  # these stay the same lists, so that others may hold them
        self.sizes_bytes: list[int] = []
        self.dues_ns: list[int] = []
        self.fates: list[tuple[int, int]] = []
        """Row and fate of the records whose fate is not 0."""
        self._hash = hashlib.blake2b(digest_size=16)
        self._hashed = 0
        self._remarks = 0
        self._fates = Counter[int]()  # of what is hashed

    def add(self, now_ns: int, frame_bytes: int, fate: int, due_ns: int) -> None:
        """One verdict."""
        if len(self.times_ns) >= BLOCK:
            self.flush()
        if fate:
            self.fates.append((len(self.times_ns), fate))
        self.times_ns.append(now_ns)
        self.sizes_bytes.append(frame_bytes)
        self.dues_ns.append(due_ns)

    def drop(self, fate: int, due_ns: int) -> int | None:
        """The end of a record whose time and bytes are in their columns; None, for a frame that never comes out."""
        self.fates.append((len(self.dues_ns), fate))
        self.dues_ns.append(due_ns)
        return None

    def remark(self, now_ns: int, what: int, first: int, second: int) -> None:
        """Something else that happened; ``what`` is below 0."""
        self._remarks += 1
        self.add(now_ns, what, first, second)

    def flush(self) -> None:
        """Hash all records and forget them."""
        self._hash.update(self._packed())
        self._hashed += len(self.times_ns)
        self._fates += self._waiting_fates()
        for column in (self.times_ns, self.sizes_bytes, self.dues_ns, self.fates):
            column.clear()

    @property
    def verdicts(self) -> int:
        """How many were added so far."""
        return self._hashed + len(self.times_ns) - self._remarks

    def count(self) -> Counter[int]:
        """Verdicts so far by their fate."""
        counts = self._fates + self._waiting_fates()
        counts[0] = self.verdicts - counts.total()
        return counts

    def _waiting_fates(self) -> Counter[int]:
        """Verdicts that are not hashed yet by their fate, unless it is 0."""
        sizes_bytes = self.sizes_bytes
        return Counter(fate for row, fate in self.fates if sizes_bytes[row] >= 0)

    def digest(self) -> str:
        """Hash of every record so far, the same on every machine of the same byte order."""
        whole = self._hash.copy()
        whole.update(self._packed())
        return whole.hexdigest()

    def _packed(self) -> bytes:
        """The records that are not hashed yet, eight bytes a number."""
        numbers = [0] * (4 * len(self.times_ns))
        numbers[0::4], numbers[1::4], numbers[3::4] = self.times_ns, self.sizes_bytes, self.dues_ns
        for row, fate in self.fates:
            numbers[4 * row + 2] = fate
        return struct.pack(f"{len(numbers)}{_CODE}", *numbers)
