"""What babeld says of its neighbours on its configuration socket, and what that is worth as a hint. Sans-IO.

Source: babeld(8) of 1.12.1, "local configuration protocol": lines of a verb, a kind, an id, and pairs.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.core.link_hint import LinkHint

PERFECT_COST = 256
"""Of a radio link that loses no hello (RFC 8966, appendix A.2.2); a wired one costs 96. Cost / 256 is about how many
times a frame must be sent until it has come through."""
UNREACHABLE_COST = 0xFFFF
LINE_MAX_BYTES = 1024
NEIGHBOURS_MAX = 256
_GREETING = "BABEL 1."
_NEIGHBOUR_VERBS = ("add", "change", "flush")


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One node that hears this one, on one interface. ``cost`` of reaching it, both ways; ``rtt_ms`` where measured."""

    address: str
    interface: str
    cost: int


@dataclass(slots=True)
class Neighbours:
    """The table of babeld, as far as it told. ``answers`` counts requests that it has finished."""

    drops: Counter[str] = field(default_factory=Counter)
    table: dict[str, Neighbour] = field(default_factory=dict)
    answers: int = 0
    refusals: int = 0
    is_babel: bool = False
    _rest: bytearray = field(default_factory=bytearray)
    _is_skipping: bool = False

    def feed(self, received: bytes) -> bool:
        """Whether these bytes, which may be cut anywhere, told something of a neighbour or finished a request."""
        *lines, rest = received.split(b"\n")
        has_told = False
        for line in lines:
            whole = bytes(self._rest + line)
            self._rest.clear()
            if self._is_skipping or len(whole) > LINE_MAX_BYTES:
                self.drops["babel_oversize"] += not self._is_skipping
                self._is_skipping = False
                continue
            has_told = self._read(whole) or has_told
        self._rest += rest
        if len(self._rest) > LINE_MAX_BYTES:
            self.drops["babel_oversize"] += not self._is_skipping
            self._rest.clear()
            self._is_skipping = True
        return has_told

    def _read(self, line: bytes) -> bool:
        words = line.decode("ascii", "replace").split()
        match words:
            case ["ok"]:
                self.answers += 1
                return True
            case ["bad" | "no", *_]:
                self.refusals += 1
                return True
            case [verb, "neighbour", name, *pairs] if verb in _NEIGHBOUR_VERBS:
                return self._take(verb, name, pairs)
            case _:
                self.is_babel = self.is_babel or line.startswith(_GREETING.encode())
                return False

    def _take(self, verb: str, name: str, pairs: list[str]) -> bool:
        if verb == "flush":
            return self.table.pop(name, None) is not None
        try:
            neighbour = _read_neighbour(dict(zip(pairs[::2], pairs[1::2], strict=True)))
        except (KeyError, ValueError):
            self.drops["babel_malformed"] += 1
            return False
        if name not in self.table and len(self.table) >= NEIGHBOURS_MAX:
            self.drops["babel_overrun"] += 1
            return False
        self.table[name] = neighbour
        return True

    def hint(self, *, interface: str, neighbour: str, good_for_s: float) -> LinkHint:
        """What the best neighbour is worth: on ``interface`` and of address ``neighbour`` where these are given.

        Its quality is the share of frames that come through at the first try.
        """
        costs = [
            each.cost
            for each in self.table.values()
            if interface in ("", each.interface) and neighbour in ("", each.address)
        ]
        cost = min(costs, default=UNREACHABLE_COST)
        if cost >= UNREACHABLE_COST:
            return LinkHint(quality=0.0, is_up=False, note="babel", good_for_s=good_for_s)
        quality = min(1.0, PERFECT_COST / max(1, cost))
        return LinkHint(quality=quality, is_up=True, note=f"babel {cost}", good_for_s=good_for_s)


def _read_neighbour(values: Mapping[str, str]) -> Neighbour:
    """Raises KeyError, ValueError."""
    cost = int(values["cost"])
    if not 0 <= cost <= UNREACHABLE_COST:
        raise ValueError(f"cost {cost}")
    return Neighbour(address=values["address"], interface=values["if"], cost=cost)
