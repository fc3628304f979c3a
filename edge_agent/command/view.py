"""The board as docs/api.md lays it out. A part that did not change is not made again, neither as values nor as text."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.command.board import Board
from edge_agent.command.limits import ReadingLimit, limit_of
from edge_agent.command.unit import Unit

Json = dict[str, Any]  # Any: JSON


@dataclass(slots=True)
class _Part:
    """A part of the state as of a revision; its text is made when it is first asked for."""

    revision: int
    content: Any  # Any: JSON
    _text: str | None = None

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = _dump(self.content)
        return self._text


class BoardView:
    """What pages are sent of one board. Its values are shared between calls: nobody may change them."""

    def __init__(self, board: Board, limits: Sequence[ReadingLimit]) -> None:
        self._board = board
        self._limits = tuple(limits)
        self._parts: dict[tuple[str, str], _Part] = {}

    def content(self, now_ms: int) -> Json:
        """Units, alarms, orders, readings, pictures, events and duty."""
        units = self._board.units.values()
        self._forget_the_gone()
        return {
            "units": [{"last_heard_ms": unit.last_heard_ms, **self._unit(unit, now_ms).content} for unit in units],
            "readings": [row for unit in units for row in self._readings(unit).content],
            **{name: part.content for name, part in self._lists().items()},
        }

    def text(self, now_ms: int, others: Mapping[str, Any]) -> str:  # Any: JSON
        """``content`` and ``others`` as one JSON text."""
        units = self._board.units.values()
        self._forget_the_gone()
        drawn = [f'{{"last_heard_ms":{unit.last_heard_ms},{self._unit(unit, now_ms).text[1:]}' for unit in units]
        readings = [self._readings(unit).text[1:-1] for unit in units if unit.readings]
        parts = {
            **{name: _dump(value) for name, value in others.items()},
            "units": f"[{','.join(drawn)}]",
            "readings": f"[{','.join(readings)}]",
            **{name: part.text for name, part in self._lists().items()},
        }
        return "{" + ",".join(f"{_dump(name)}:{text}" for name, text in parts.items()) + "}"

    def _unit(self, unit: Unit, now_ms: int) -> _Part:
        """All of a unit but when it was last heard, which changes with each frame."""
        return self._part("unit", unit.id, "unit", lambda: _but_last_heard(unit.to_json(now_ms)))

    def _readings(self, unit: Unit) -> _Part:
        return self._part("readings", unit.id, "readings", lambda: self._reading_rows(unit))

    def _reading_rows(self, unit: Unit) -> list[Json]:
        rows = []
        for series, reading in unit.readings.items():
            limit = limit_of(self._limits, unit.id, series)
            nearness = None if limit is None else limit.nearness(reading["value"])
            named = {"unit": unit.id, "series": series, "limit": None if limit is None else limit.limit}
            rows.append({**named, "nearness": nearness, **reading})
        return rows

    def _lists(self) -> dict[str, _Part]:
        board = self._board
        makers: dict[str, tuple[str, Callable[[], Any]]] = {  # Any: JSON
            "alarms": ("alarm", lambda: [alarm.to_json() for alarm in board.alarms]),
            "orders": ("order", lambda: [order.to_json() for order in reversed(board.orders)]),
            "pictures": ("lists", lambda: [_picture_json(each) for each in reversed(board.pictures)]),
            "events": ("lists", lambda: list(reversed(board.events))),
            "duty": ("lists", lambda: board.duty),
        }
        return {name: self._part(name, "", kind, make) for name, (kind, make) in makers.items()}

    def _part(self, name: str, unit: str, kind: str, make: Callable[[], Any]) -> _Part:  # Any: JSON
        revision = self._board.revisions[kind, unit]
        part = self._parts.get((name, unit))
        if part is None or part.revision != revision:
            part = self._parts[name, unit] = _Part(revision, make())
        return part

    def _forget_the_gone(self) -> None:
        units = self._board.units
        for name, unit in [key for key in self._parts if key[1] and key[1] not in units]:
            del self._parts[name, unit]


def _dump(content: Any) -> str:  # Any: JSON
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _but_last_heard(unit: Json) -> Json:
    return {name: value for name, value in unit.items() if name != "last_heard_ms"}


def _picture_json(picture: Json) -> Json:
    return {**picture, "url": f"/api/picture/{picture['id']}"}
