"""The roll call of an order: who has read it, whom it only reached, and whom not, by name."""

from collections.abc import Callable
from typing import Any

from edge_agent.command.order import Order

Json = dict[str, Any]  # Any: JSON

_WORDS = {"read": "read", "delivered": "delivered", "not_reached": "not reached", "ended": "ended"}


def call_roll(order: Order, name_of: Callable[[str], str]) -> Json:
    """``teams`` in all, and for ``read``, ``delivered``, ``not_reached`` and ``ended`` the names, sorted."""
    lists = {kind: sorted(name_of(unit) for unit in units) for kind, units in order.roll().items()}
    return {"teams": len(order.bundles), **lists}


def spell_roll(roll: Json) -> str:
    """One line for a terminal: "40 teams: 31 read, 6 delivered, 3 not reached"."""
    counts = [f"{len(roll[kind])} {word}" for kind, word in _WORDS.items() if roll[kind]]
    return f"{roll['teams']} {'team' if roll['teams'] == 1 else 'teams'}: {', '.join(counts)}" if counts else "no team"
