"""One order from command to one or several units, with the true state of each copy."""

from dataclasses import asdict, dataclass, field
from typing import Any

Json = dict[str, Any]  # Any: JSON

PROGRESS = ("accepted", "forwarded", "delivered", "held", "read", "done")
ENDS = ("refused", "cancelled", "expired")
"""How a copy ends that was not delivered."""
STATES = ("accepted", *ENDS, *PROGRESS[1:])
"""From the least far to the farthest, for the state of an order with several copies."""
SETTLED_STATES = (*ENDS, *PROGRESS[2:])
"""Beyond these only a person's answer tells more, and that comes as a bundle of its own."""
STORE_WORDS = {"superseded": "cancelled", "evicted": "expired"}
"""Ends that a store tells apart and a page does not: replaced by a newer one; given up for want of room."""


@dataclass(slots=True, kw_only=True)
class Order:
    """An order and its copies; ``bundles`` maps a unit to the bundle that carries its copy ("": it was refused)."""

    id: str
    text: str
    at_ms: int
    expires_ms: int
    by: str
    bundles: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    state_at_ms: int = 0
    via: list[str] = field(default_factory=list)
    reply: str = ""

    def to_document(self) -> Json:
        """All fields, for Documents."""
        return asdict(self)

    @classmethod
    def from_document(cls, content: Json) -> "Order":
        """What ``to_document`` gave; fields of another version are left out."""
        names = cls.__dataclass_fields__
        return cls(**{name: value for name, value in content.items() if name in names})

    @property
    def open_bundles(self) -> dict[str, str]:
        """Copies whose fate the store has still to tell."""
        return {unit: bundle for unit, bundle in self.bundles.items() if self.states.get(unit) not in SETTLED_STATES}

    def advance(self, unit: str, state: str, at_ms: int, via: tuple[str, ...]) -> bool:
        """The copy for ``unit`` got as far as ``state``; False when it was as far already."""
        before, state = self.states.get(unit, "accepted"), STORE_WORDS.get(state, state)
        if not _follows(before, state):
            return False
        self.states[unit], self.state_at_ms = state, at_ms
        self.via = list(via) or self.via
        return True

    def answer(self, unit: str, bundle: str, state: str, at_ms: int, by: str) -> bool:
        """A person at ``unit`` has read it or carried it out."""
        if not bundle or self.bundles.get(unit) != bundle or not self.advance(unit, state, at_ms, ()):
            return False
        self.reply = by
        return True

    def to_json(self) -> Json:
        """The order as docs/api.md shows it; its state is that of the copy that is least far."""
        states = [self.states.get(unit, "accepted") for unit in self.bundles]
        state = min(states, key=STATES.index, default="accepted")
        return {
            "id": self.id,
            "at_ms": self.at_ms,
            "text": self.text,
            "to": list(self.bundles),
            "state": state,
            "via": self.via,
            "state_at_ms": self.state_at_ms or self.at_ms,
            "expires_ms": self.expires_ms,
            "reply": self.reply,
            "counts": {each: states.count(each) for each in dict.fromkeys(states)},
        }


def _follows(before: str, state: str) -> bool:
    """Whether ``state`` says more than ``before``. A receipt may come after the copy counted as expired."""
    if state in ENDS:
        return before in ("accepted", "forwarded")
    if state not in PROGRESS:
        return False
    reached = PROGRESS.index("forwarded") if before in ENDS else PROGRESS.index(before)
    return PROGRESS.index(state) > reached
