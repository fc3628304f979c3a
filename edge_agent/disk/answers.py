"""Answers: what the store's threads have finished, handed to the event loop in batches, one call for each batch."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.core.effects import Outcome

Call = Callable[[], None]


@dataclass(slots=True)
class Answers:
    """Filled by the threads, emptied on the loop. ``on_outcomes`` is called on the loop."""

    loop: asyncio.AbstractEventLoop
    on_outcomes: Callable[[list[tuple[int, Outcome]]], None]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _outcomes: list[tuple[int, Outcome]] = field(default_factory=list)
    _calls: list[Call] = field(default_factory=list)
    _is_called: bool = False

    def give(self, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        """Add finished effects and calls to make. Any thread; the loop must still run."""
        if not outcomes and not calls:
            return
        with self._lock:
            self._outcomes += outcomes
            self._calls += calls
            if self._is_called:
                return
            self._is_called = True
        if not self.loop.is_closed():  # a loop that is gone has nobody left who waits
            self.loop.call_soon_threadsafe(self.hand_over)

    def hand_over(self) -> None:
        """On the loop: make the calls, after the outcomes they may depend on."""
        with self._lock:
            outcomes, self._outcomes = self._outcomes, []
            calls, self._calls = self._calls, []
            self._is_called = False
        if outcomes:
            self.on_outcomes(outcomes)
        for call in calls:
            call()
