"""Who waits for what: the report that ends a virtual run which can never go on."""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from edge_agent.core.errors import EdgeAgentError

_LISTED_TASKS = 100  # more would bury the cause
_ASYNCIO = Path(asyncio.__file__).parent


class StuckError(EdgeAgentError):
    """A virtual run can never end; the message lists each task, where it waits and for what."""


def waits(tasks: Iterable["asyncio.Task[Any]"]) -> str:  # Any: whatever the task returns
    """One line a task that is not done: its name, where it waits (file:line, coroutine), and for what."""
    lines = [f"  {_wait(task)}" for task in tasks if not task.done()]
    rest = len(lines) - _LISTED_TASKS
    if rest > 0:
        lines = [*lines[:_LISTED_TASKS], f"  and {rest} more"]
    return "\n".join(lines) or "  no task is left"


def _wait(task: "asyncio.Task[Any]") -> str:
    frames = list(_frames(task.get_coro()))
    own = [frame for frame in frames if _ASYNCIO not in Path(frame.f_code.co_filename).parents]
    where = f"at {_place(own[-1])}" if own else "at an unknown place"
    if frames and (not own or frames[-1] is not own[-1]):
        where += f", in {_place(frames[-1])}"
    waited_for = getattr(task, "_fut_waiter", None)  # both Task types of CPython have it; nothing public tells
    if isinstance(waited_for, asyncio.Task):
        where += f", for task {waited_for.get_name()!r}"
    elif waited_for is None:
        where += ", ready to run"
    return f"task {task.get_name()!r} waits {where}"


def _frames(awaitable: Any) -> Iterator[FrameType]:
    """From the coroutine of a task inwards. Any: coroutines, generators and futures alike."""
    while awaitable is not None:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(awaitable, f"{kind}_frame", None)
            if frame is not None:
                yield frame
                awaitable = getattr(awaitable, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
                break
        else:
            return


def _place(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}"
