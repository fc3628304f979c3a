"""Losses: which frames the air takes. Each kind has a random stream of its own and draws for each frame offered."""

import math
from collections.abc import Callable, Collection
from typing import Protocol

Draw = Callable[[], float]
"""The next number of a stream, from 0 up to 1."""


class Loss(Protocol):
    """One reason why frames get lost."""

    def takes(self, number: int, frame_bytes: int, clock_ns: int) -> bool:
        """Whether the air takes frame ``number`` (the first is 0). Called once for each frame, in order."""


class RandomLoss:
    """Each frame with the same chance."""

    __slots__ = ("_ratio", "draw")

    def __init__(self, ratio: float, draw: Draw) -> None:
        self._ratio = ratio
        self.draw = draw

    def takes(self, number: int, frame_bytes: int, clock_ns: int) -> bool:
        return self.draw() < self._ratio


class BurstLoss:
    """Gilbert-Elliott: a good and a bad state, each with its own chance (Elliott, Bell Syst. Tech. J. 42, 1963)."""

    __slots__ = ("_bad_ratio", "_draw", "_enter_ratio", "_good_ratio", "_is_bad", "_leave_ratio")

    def __init__(
        self, *, enter_ratio: float, leave_ratio: float, good_ratio: float, bad_ratio: float, draw: Draw
    ) -> None:
        """A frame finds the state bad after a good one by ``enter_ratio``, good after a bad one by ``leave_ratio``."""
        self._enter_ratio = enter_ratio
        self._leave_ratio = leave_ratio
        self._good_ratio = good_ratio
        self._bad_ratio = bad_ratio
        self._draw = draw
        self._is_bad = False

    def takes(self, number: int, frame_bytes: int, clock_ns: int) -> bool:
        moves, lost = self._draw(), self._draw()
        if self._is_bad:
            self._is_bad = moves >= self._leave_ratio
        else:
            self._is_bad = moves < self._enter_ratio
        return lost < (self._bad_ratio if self._is_bad else self._good_ratio)


class ListedLoss:
    """Frames by their number, the first is 0."""

    __slots__ = ("_numbers",)

    def __init__(self, numbers: Collection[int]) -> None:
        self._numbers = frozenset(numbers)

    def takes(self, number: int, frame_bytes: int, clock_ns: int) -> bool:
        return number in self._numbers


class BitErrorLoss:
    """The longer, the likelier: a frame is lost when one of its bits is wrong."""

    __slots__ = ("_draw", "_log_right")

    def __init__(self, bit_error_ratio: float, draw: Draw) -> None:
        self._log_right = math.log1p(-bit_error_ratio)
        self._draw = draw

    def takes(self, number: int, frame_bytes: int, clock_ns: int) -> bool:
        return self._draw() < -math.expm1(8 * frame_bytes * self._log_right)


class TracedLoss:
    """The chance that a trace gives for the time of the frame."""

    __slots__ = ("_draw", "_ratio_at")

    def __init__(self, ratio_at: Callable[[int], float], draw: Draw) -> None:
        self._ratio_at = ratio_at
        self._draw = draw

    def takes(self, number: int, frame_bytes: int, clock_ns: int) -> bool:
        return self._draw() < self._ratio_at(clock_ns)
