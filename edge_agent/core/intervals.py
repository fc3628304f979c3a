"""A set of non-negative integers as disjoint half-open ranges: bytes of a payload, numbers of bundles or frames."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class IntervalSet:
    """Sorted disjoint ranges [start, end). Adding or removing is O(log n) to find plus O(n) to shift; n stays small."""

    __slots__ = ("_ends", "_starts", "total")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.total = 0
        for start, end in ranges:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __len__(self) -> int:
        """Number of ranges, not of members (those are ``total``)."""
        return len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number < self._ends[at]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IntervalSet):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"IntervalSet({list(self)})"

    def copy(self) -> "IntervalSet":
        """An equal set that shares nothing."""
        twin = IntervalSet()
        twin._starts, twin._ends, twin.total = self._starts[:], self._ends[:], self.total
        return twin

    def covers(self, start: int, end: int) -> bool:
        """Whether every member of [start, end) is in the set."""
        if start >= end:
            return True
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and end <= self._ends[at]

    def add(self, start: int, end: int) -> int:
        """Put [start, end) in; gives back how many members are new."""
        if start >= end:
            return 0
        ends = self._ends
        if not ends or start > ends[-1]:
            self._starts.append(start)
            ends.append(end)
            self.total += end - start
            return end - start
        if start == ends[-1]:  # growth at the end is the hot path
            ends[-1] = end
            self.total += end - start
            return end - start
        first = bisect_left(ends, start)
        last = bisect_right(self._starts, end)
        before = sum(ends[at] - self._starts[at] for at in range(first, last))
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, ends[last - 1])
        self._starts[first:last] = [start]
        ends[first:last] = [end]
        gained = end - start - before
        self.total += gained
        return gained

    def remove(self, start: int, end: int) -> int:
        """Take [start, end) out; gives back how many members went."""
        if start >= end or not self._ends:
            return 0
        first = bisect_right(self._ends, start)
        last = bisect_left(self._starts, end)
        if first >= last:
            return 0
        lost = 0
        kept_starts: list[int] = []
        kept_ends: list[int] = []
        for at in range(first, last):
            left, right = self._starts[at], self._ends[at]
            lost += min(right, end) - max(left, start)
            if left < start:
                kept_starts.append(left)
                kept_ends.append(start)
            if right > end:
                kept_starts.append(end)
                kept_ends.append(right)
        self._starts[first:last] = kept_starts
        self._ends[first:last] = kept_ends
        self.total -= lost
        return lost

    def first_range(self) -> tuple[int, int]:
        """The lowest range. Raises IndexError when empty."""
        return self._starts[0], self._ends[0]

    def last_range(self) -> tuple[int, int]:
        """The highest range. Raises IndexError when empty."""
        return self._starts[-1], self._ends[-1]

    def range_at(self, number: int) -> tuple[int, int]:
        """The range that holds ``number``. Raises KeyError when none does."""
        at = bisect_right(self._starts, number) - 1
        if at < 0 or number >= self._ends[at]:
            raise KeyError(number)
        return self._starts[at], self._ends[at]

    def highest_ranges(self, count: int) -> tuple[tuple[int, int], ...]:
        """Up to ``count`` (above 0) of the highest ranges, highest first."""
        return tuple(zip(self._starts[-count:], self._ends[-count:], strict=True))[::-1]

    def gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of [start, end) that are not in the set, lowest first."""
        missing: list[tuple[int, int]] = []
        for left, right in self:
            if right <= start:
                continue
            if left >= end:
                break
            if left > start:
                missing.append((start, left))
            start = max(start, right)
        if start < end:
            missing.append((start, end))
        return missing
