"""Numbers of bundles made here: the lease covers those of earlier processes, memory those of this one, no row any."""

from collections.abc import Sequence

from edge_agent.core.intervals import IntervalSet

INTERVALS_MAX = 1024
"""By precedence. A hole is a bundle refused, whose number is never given again: the lowest holes may be closed."""


class OwnNumbers:
    """Which numbers of each precedence were stored; every call is part of the transaction under way."""

    def __init__(self, leases: Sequence[int]) -> None:
        """``leases`` at the start: every number below was given out before."""
        self._first = tuple(leases)
        self._numbers = tuple(IntervalSet() for _ in leases)
        self._added: list[tuple[int, int]] = []

    def begin(self) -> None:
        """A transaction begins."""
        self._added.clear()

    def rollback(self) -> None:
        """It was rolled back: what it stored is not stored."""
        for precedence, sequence in self._added:
            self._numbers[precedence].remove(sequence, sequence + 1)

    def has(self, precedence: int, sequence: int) -> bool:
        """Whether this number is stored, or was given out before this start."""
        return sequence < self._first[precedence] or sequence in self._numbers[precedence]

    def add(self, precedence: int, sequence: int) -> bool:
        """A bundle of this number is stored; False when one was before."""
        numbers = self._numbers[precedence]
        if sequence < self._first[precedence] or not numbers.add(sequence, sequence + 1):
            return False
        self._added.append((precedence, sequence))
        if len(numbers) > INTERVALS_MAX:
            lowest = iter(numbers)
            numbers.add(next(lowest)[0], next(lowest)[1])
        return True

    def next_sequence(self, precedence: int) -> int:
        """Above every number stored."""
        numbers = self._numbers[precedence]
        return numbers.last_range()[1] if numbers else self._first[precedence]

    def used(self, precedence: int) -> int:
        """How many were stored since the start."""
        return self._numbers[precedence].total
