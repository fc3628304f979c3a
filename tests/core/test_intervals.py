"""IntervalSet against a plain set of numbers."""

from collections.abc import Callable
from itertools import pairwise

from hypothesis import strategies as st

from edge_agent.core.intervals import IntervalSet
from tests.core.planted import finds, holds

NUMBERS = st.integers(0, 40)
STEPS = st.lists(st.tuples(st.sampled_from(["add", "remove"]), NUMBERS, NUMBERS), max_size=30)


def same_as_a_set(make: Callable[[], IntervalSet]) -> Callable[[list[tuple[str, int, int]]], None]:
    """Every answer of an interval set is that of the set of its members, after every step."""

    def check(steps: list[tuple[str, int, int]]) -> None:
        ranges, members = make(), set[int]()
        for verb, start, end in steps:
            before = len(members)
            members = members | set(range(start, end)) if verb == "add" else members - set(range(start, end))
            moved = ranges.add(start, end) if verb == "add" else ranges.remove(start, end)
            assert moved == abs(len(members) - before)
            assert {number for left, right in ranges for number in range(left, right)} == members
            assert ranges.total == len(members)
            assert [number in ranges for number in range(45)] == [number in members for number in range(45)]
            listed = list(ranges)
            assert all(left < right for left, right in listed)
            assert all(one[1] < two[0] for one, two in pairwise(listed)), "touching ranges join"
            assert ranges.covers(start, end) == (set(range(start, end)) <= members)
            gaps = {number for left, right in ranges.gaps(start, end) for number in range(left, right)}
            assert gaps == set(range(start, end)) - members
        twin = ranges.copy()
        assert twin == ranges
        twin.add(50, 51)
        assert 50 not in ranges, "a copy shares nothing"

    return check


class NeverJoins(IntervalSet):
    """The planted fault: a range that touches another one stays apart from it."""

    def add(self, start: int, end: int) -> int:
        if self and start == self.last_range()[1]:
            self._edges += (start, end)
            self.total += max(0, end - start)
            return max(0, end - start)
        return super().add(start, end)


class KeepsTheTail(IntervalSet):
    """The planted fault: a hole in the middle of a range takes what is behind it too, without counting it."""

    def remove(self, start: int, end: int) -> int:
        lost = super().remove(start, end)
        if lost and len(self) > 1 and self._edges[-2] == end:
            del self._edges[-2:]
        return lost


def test_an_interval_set_is_the_set_of_its_members() -> None:
    holds(same_as_a_set(IntervalSet), STEPS, examples=150)


def test_planted_faults_are_found() -> None:
    finds(same_as_a_set(NeverJoins), STEPS)
    finds(same_as_a_set(KeepsTheTail), STEPS)
