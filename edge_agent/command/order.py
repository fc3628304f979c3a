"""One order from command to one or several units, with the true state of each copy."""

from dataclasses import asdict, dataclass, field
from typing import Any

Json = dict[str, Any]  # Any: JSON

STATES = ("accepted", "refused", "cancelled", "expired", "forwarded", "delivered", "read", "done", "held")
FINAL_STATES = ("refused", "cancelled", "expired", "done")


@dataclass(slots=True, kw_only=True)
class Order:
    """An order and its copies; ``bundles`` maps a unit to the bundle that carries its copy."""

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
        """Copies whose fate may still change."""
        return {unit: bundle for unit, bundle in self.bundles.items() if self.states.get(unit) not in FINAL_STATES}

    def advance(self, unit: str, state: str, at_ms: int, via: tuple[str, ...]) -> bool:
        """The copy for ``unit`` got as far as ``state``; False when it was as far already."""
        before = self.states.get(unit, "accepted")
        if state not in STATES or STATES.index(state) <= STATES.index(before):
            return False
        self.states[unit], self.state_at_ms = state, at_ms
        self.via = list(via) or self.via
        return True

    def answer(self, unit: str, bundle: str, state: str, at_ms: int, by: str) -> bool:
        """A person at ``unit`` has read it or carried it out."""
        if self.bundles.get(unit) != bundle or not self.advance(unit, state, at_ms, ()):
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
