"""What the core has to say: effects, events and counted drops, each in its own queue until the shell takes it."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.core.effects import Effect, Event, Outcome

Continuation = Callable[[Outcome, float], None]


@dataclass(slots=True)
class Outputs:
    """Queues between the core's parts and the door. Their length is bounded by what one call can cause."""

    effects: deque[Effect] = field(default_factory=deque)
    events: deque[Event] = field(default_factory=deque)
    drops: Counter[str] = field(default_factory=Counter)
    _pending: dict[int, Continuation] = field(default_factory=dict)
    _quiet: dict[int, Continuation] = field(default_factory=dict)
    _next_effect_id: int = 1

    def new_effect(self, continuation: Continuation, *, is_quiet: bool = False) -> int:
        """An effect id whose outcome will be given to ``continuation``; ``is_quiet``: it gives no link work."""
        effect_id = self._next_effect_id
        self._next_effect_id += 1
        (self._quiet if is_quiet else self._pending)[effect_id] = continuation
        return effect_id

    def complete(self, effect_id: int, outcome: Outcome, now_s: float) -> bool:
        """Close an effect; an unknown or already closed id is counted, never obeyed twice.

        Gives back whether there may be something to send, or another deadline.
        """
        continuation = self._pending.pop(effect_id, None)
        if continuation is not None:
            continuation(outcome, now_s)
            return True
        continuation = self._quiet.pop(effect_id, None)
        if continuation is not None:
            continuation(outcome, now_s)
        else:
            self.drops["effect_unknown"] += 1
        return False

    def drop(self, name: str, number: int = 1) -> None:
        """Count something dropped, by name."""
        self.drops[name] += number
