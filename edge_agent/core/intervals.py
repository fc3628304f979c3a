"""A set of non-negative integers as disjoint half-open ranges: bytes of a payload, numbers of bundles or frames."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class IntervalSet:
    """Sorted disjoint ranges [start, end). Adding or removing is O(log n) to find plus O(n) to shift; n stays small.

    ``_edges`` are the starts and ends in turn, each greater than the one before: a number lies in the set where an odd
    number of edges is at or below it.
    """

    __slots__ = ("_edges", "total")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._edges: list[int] = []
        self.total = 0
        for start, end in ranges:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return _pairs(self._edges)

    def __len__(self) -> int:
        """Number of ranges, not of members (those are ``total``)."""
        return len(self._edges) // 2

    def __bool__(self) -> bool:
        return bool(self._edges)

    def __contains__(self, number: int) -> bool:
        return bool(bisect_right(self._edges, number) & 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IntervalSet):
            return NotImplemented
        return self._edges == other._edges

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"IntervalSet({list(self)})"

    def copy(self) -> "IntervalSet":
        """An equal set that shares nothing."""
        twin = IntervalSet()
        twin._edges, twin.total = self._edges[:], self.total
        return twin

    def covers(self, start: int, end: int) -> bool:
        """Whether every member of [start, end) is in the set."""
        if start >= end:
            return True
        at = bisect_right(self._edges, start)
        return bool(at & 1) and end <= self._edges[at]

    def add(self, start: int, end: int) -> int:
        """Put [start, end) in; gives back how many members are new."""
        if start >= end:
            return 0
        edges, gained = self._edges, end - start
        if not edges or start > edges[-1]:
            edges.append(start)
            edges.append(end)
        elif start == edges[-1]:  # growth at the end is the hot path
            edges[-1] = end
        else:
            gained -= self._replace(start, end, is_in=True)
        self.total += gained
        return gained

    def remove(self, start: int, end: int) -> int:
        """Take [start, end) out; gives back how many members went."""
        edges = self._edges
        if not edges or start >= end or end <= edges[0] or start >= edges[-1]:
            return 0
        if len(edges) == 2 and start <= edges[0] < end:  # from the front of one range, as most are
            lost = min(end, edges[1]) - edges[0]
            edges[0] = end
            if end >= edges[1]:
                edges.clear()
        else:
            lost = self._replace(start, end, is_in=False)
        self.total -= lost
        return lost

    def _replace(self, start: int, end: int, *, is_in: bool) -> int:
        """Let all of [start, end) be in the set, or none of it; gives back how many members it had there."""
        edges = self._edges
        first, last = bisect_left(edges, start), bisect_right(edges, end)
        inside, begins, ends = edges[first:last], bool(first & 1), bool(last & 1)
        edges[first:last] = [start] * (begins is not is_in) + [end] * (ends is not is_in)
        bounds = [start] * begins + inside + [end] * ends
        return sum(bounds[1::2]) - sum(bounds[::2])

    def first_range(self) -> tuple[int, int]:
        """The lowest range. Raises IndexError when empty."""
        return self._edges[0], self._edges[1]

    def last_range(self) -> tuple[int, int]:
        """The highest range. Raises IndexError when empty."""
        return self._edges[-2], self._edges[-1]

    def range_at(self, number: int) -> tuple[int, int]:
        """The range that holds ``number``. Raises KeyError when none does."""
        at = bisect_right(self._edges, number)
        if not at & 1:
            raise KeyError(number)
        return self._edges[at - 1], self._edges[at]

    def highest_ranges(self, count: int) -> tuple[tuple[int, int], ...]:
        """Up to ``count`` (above 0) of the highest ranges, highest first."""
        return tuple(_pairs(self._edges[-2 * count :]))[::-1]

    def gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of [start, end) that are not in the set, lowest first."""
        if start >= end:
            return []
        edges = self._edges
        first, last = bisect_right(edges, start), bisect_left(edges, end)
        return list(_pairs([start] * (not first & 1) + edges[first:last] + [end] * (not last & 1)))


def _pairs(edges: list[int]) -> Iterator[tuple[int, int]]:
    return zip(edges[::2], edges[1::2], strict=True)
