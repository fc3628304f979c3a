"""What a person did at one command post, as the other posts of the deployment are told it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from edge_agent.core.progress import Progress
from edge_agent.telemetry.payloads import Payload, check_number, check_text

TEXT_MAX = 4000
UNITS_MAX = 1024
NOTED_CODES = ("duty", "muted", "pull", "cancel", "profile")
"""Events of what changes nothing at the other posts."""


class Did(StrEnum):
    """What was done; the values travel and stay as they are."""

    CONFIRMED = "confirmed"
    CLOSED = "closed"
    ORDERED = "ordered"
    ORDER_WENT = "order_went"
    ORDER_CANCELLED = "order_cancelled"
    READ = "read"
    NOTED = "noted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act(Payload):
    """``did`` is a value of Did, by whom, and where: the post's name for people.

    ``target``: the alarm, order or message; ``unit``: whom it is about; ``kind`` and ``series`` of an alarm. ``text``:
    the reason, or the words of an order. ``order``: of ORDERED what ``Order.told_to_posts`` gives; ``states``: of
    ORDER_WENT the units that got further, with a value of Progress and who answered there. ``code``: of NOTED the
    event's.
    """

    did: str
    at_ms: int
    by: str
    where: str
    target: str = ""
    unit: str = ""
    text: str = ""
    kind: str = ""
    series: str = ""
    code: str = ""
    order: dict[str, Any] = field(default_factory=dict)  # Any: checked below
    states: dict[str, list[str]] = field(default_factory=dict)

    def check(self) -> None:
        Did(self.did)
        check_number("at_ms", self.at_ms, 0, 1 << 48)
        for name in ("by", "where", "series"):
            check_text(name, getattr(self, name), 64)
        for name in ("target", "unit"):
            check_text(name, getattr(self, name), 128)
        for name in ("kind", "code"):
            check_text(name, getattr(self, name), 32)
        check_text("text", self.text, TEXT_MAX)
        if self.did == Did.NOTED and self.code not in NOTED_CODES:
            raise ValueError(f"code: {self.code!r} is not one of {', '.join(NOTED_CODES)}")
        self._check_states()
        if self.did == Did.ORDERED:
            self._check_order()

    def _check_states(self) -> None:
        if not isinstance(self.states, dict) or len(self.states) > UNITS_MAX:
            raise ValueError(f"states: not a map of at most {UNITS_MAX} units")
        for unit, said in self.states.items():
            check_text("states: unit", unit, 32)
            if not isinstance(said, list) or len(said) != 2:
                raise ValueError("states: not [state, who answered]")
            Progress(said[0])
            check_text("states: who", said[1], 64)

    def _check_order(self) -> None:
        order = self.order
        if not isinstance(order, dict) or order.keys() != {"bundles", "expires_ms", "group", "is_withdrawal"}:
            raise ValueError("order: not bundles, expires_ms, group and is_withdrawal")
        bundles = order["bundles"]
        if not isinstance(bundles, dict) or not 0 < len(bundles) <= UNITS_MAX:
            raise ValueError(f"order: bundles: not a map of 1 to {UNITS_MAX} units")
        for unit, bundle in bundles.items():
            check_text("order: unit", unit, 32)
            check_text("order: bundle", bundle, 128)
        check_number("order: expires_ms", order["expires_ms"], 0, 1 << 48)
        check_text("order: group", order["group"], 32)
        if not isinstance(order["is_withdrawal"], bool):
            raise ValueError("order: is_withdrawal: not true or false")
