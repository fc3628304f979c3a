"""Handles and tasks of a virtual loop."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

NS_PER_S = 1_000_000_000
Result = TypeVar("Result")


class HandleLoop(Protocol):
    """What a handle needs of its loop."""

    now_ns: int

    def count_cancelled(self) -> None:
        """A timer that had not come was cancelled."""


class VirtualHandle(asyncio.TimerHandle):
    """A callback that waits for its turn or its time. Lighter than asyncio's own, as one is made for each."""

    __slots__ = ("_when_ns",)

    _loop: "HandleLoop"

    def __init__(  # its parents' would do the same in three calls
        self,
        when_ns: int,
        callback: Callable[..., object],
        args: tuple[Any, ...],  # Any: what the callback takes
        loop: "HandleLoop",
        context: contextvars.Context | None,
    ) -> None:
        self._when_ns = when_ns
        self._callback = callback
        self._args = args
        self._loop = loop
        self._cancelled = False
        self._context = contextvars.copy_context() if context is None else context

    def when(self) -> float:
        """The time it is due, on the loop's clock, in seconds."""
        return self._when_ns / NS_PER_S

    def cancel(self) -> None:
        """Never run it; without effect once it has run."""
        if not self._cancelled:
            self._cancelled = True
            self._callback = self._args = None  # type: ignore[assignment]  # what they hold may go
            if self._when_ns > self._loop.now_ns:
                self._loop.count_cancelled()

    def __repr__(self) -> str:
        return f"<VirtualHandle at {self.when()} s {'cancelled' if self._cancelled else self._callback!r}>"

    __hash__ = object.__hash__
    __eq__ = object.__eq__


class VirtualTask(asyncio.Task[Result]):
    """A task whose hash is its number.

    Sets of tasks then have the same order in each run, and with it who is cancelled first by a task group.
    """

    def __init__(self, coro: Coroutine[Any, Any, Result], *, number: int, **options: Any) -> None:
        """``options`` are those of asyncio.Task, which differ from version to version."""
        self._number = number
        super().__init__(coro, **options)

    @property
    def number(self) -> int:
        """Which task of its loop it is, from 1."""
        return self._number

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other
