"""One order from command to one or several units, with the true state of each copy."""

from dataclasses import asdict, dataclass, field
from typing import Any

from edge_agent.core.progress import ARRIVED, ENDS, PERSON_ONLY, THERE_ENDS, Progress, advance, least_far

Json = dict[str, Any]  # Any: JSON

ENDS_ASKED_MS = 86_400_000
"""So long after its lifetime a copy that ended on its way is asked for: its receipt may only have been slow."""
_PAGE_STATES = {Progress.SUPERSEDED: Progress.CANCELLED, Progress.EVICTED: Progress.EXPIRED}
"""Ends that a store tells apart and a page does not: replaced by a newer one; given up for want of room."""


def page_word(state: Progress) -> str:
    """The word of a state for pages and programs."""
    return _PAGE_STATES.get(state, state).word


STATES = tuple(dict.fromkeys(page_word(state) for state in Progress))
"""Every word an order's state can have."""


@dataclass(slots=True, kw_only=True)
class Order:
    """An order and its copies; ``bundles`` maps a unit to the bundle that carries its copy ("": it was refused).

    ``states`` holds values of Progress. ``group`` is the name it was given to, if it was one; ``is_withdrawal``: leave
    now, FLASH on every link. ``cancelled``: who took it back, and when; ``also``: who did so after that, at another
    post; ``is_called_back``: units, and what waits here, were told so. ``replies``: who answered at each unit. ``post``
    and its name ``where`` gave it, empty: this node; ``told``: the states that the other posts have heard of.
    """

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
    group: str = ""
    is_withdrawal: bool = False
    cancelled: Json | None = None
    replies: dict[str, str] = field(default_factory=dict)
    also: list[Json] = field(default_factory=list)
    is_called_back: bool = False
    post: str = ""
    where: str = ""
    told: dict[str, str] = field(default_factory=dict)

    def to_document(self) -> Json:
        """All fields, for Documents."""
        return asdict(self)

    @classmethod
    def from_document(cls, content: Json) -> "Order":
        """What ``to_document`` gave; fields of another version are left out."""
        names = cls.__dataclass_fields__
        return cls(**{name: value for name, value in content.items() if name in names})

    def state_of(self, unit: str) -> Progress:
        """How far the copy for ``unit`` got."""
        return Progress(self.states.get(unit, Progress.ACCEPTED))

    def open_bundles(self, now_ms: int) -> dict[str, str]:
        """Copies whose fate the store has still to tell; what a person answers comes as a bundle of its own."""
        asks_ends = now_ms < self.expires_ms + ENDS_ASKED_MS
        return {
            unit: bundle
            for unit, bundle in self.bundles.items()
            if bundle and (state := self.state_of(unit)) not in ARRIVED and (asks_ends or state not in ENDS)
        }

    def advance(self, unit: str, state: Progress, at_ms: int, via: tuple[str, ...]) -> bool:
        """The copy for ``unit`` got as far as ``state``; False when it was as far already."""
        before = self.state_of(unit)
        if advance(before, state) is before:
            return False
        self.states[unit], self.state_at_ms = state.value, at_ms
        self.via = list(via) or self.via
        return True

    def answer(self, unit: str, bundle: str, state: Progress, at_ms: int, by: str) -> bool:
        """``unit`` says what became of its copy: a person has read it or carried it out, or nobody will act on it."""
        if not bundle or self.bundles.get(unit) != bundle or not self.advance(unit, state, at_ms, ()):
            return False
        self.reply = by
        self.replies[unit] = by
        return True

    def told_to_posts(self) -> Json:
        """What the other posts need beside its id, its text and who gave it when."""
        return {
            "bundles": self.bundles,
            "expires_ms": self.expires_ms,
            "group": self.group,
            "is_withdrawal": self.is_withdrawal,
        }

    def take_untold(self) -> dict[str, list[str]]:
        """Of an own order the units that got further since the last call: [state, who answered]."""
        if self.post:
            return {}
        news = {unit: state for unit, state in self.states.items() if self.told.get(unit) != state}
        self.told.update(news)
        return {unit: [state, self.replies.get(unit, "")] for unit, state in news.items()}

    def roll(self) -> dict[str, list[str]]:
        """Units by where they stand; every unit is in exactly one list.

        ``ended``: it got there, and nobody there will act on it any more (cancelled, expired, refused).
        """
        lists: dict[str, list[str]] = {"read": [], "delivered": [], "not_reached": [], "ended": []}
        for unit in self.bundles:
            state = self.state_of(unit)
            if state in PERSON_ONLY:
                lists["read"].append(unit)
            elif state in THERE_ENDS:
                lists["ended"].append(unit)
            else:
                lists["delivered" if state in ARRIVED else "not_reached"].append(unit)
        return lists

    def to_json(self) -> Json:
        """The order as docs/api.md shows it; its state is that of the copy that is least far."""
        states = {unit: page_word(self.state_of(unit)) for unit in self.bundles}
        words = list(states.values())
        return {
            "id": self.id,
            "at_ms": self.at_ms,
            "text": self.text,
            "to": list(self.bundles),
            "group": self.group,
            "is_withdrawal": self.is_withdrawal,
            "state": page_word(least_far(self.state_of(unit) for unit in self.bundles)),
            "states": states,
            "roll": self.roll(),
            "via": self.via,
            "state_at_ms": self.state_at_ms or self.at_ms,
            "expires_ms": self.expires_ms,
            "reply": self.reply,
            "cancelled": self.cancelled,
            "also": self.also,
            "where": self.where,
            "counts": {each: words.count(each) for each in dict.fromkeys(words)},
        }
