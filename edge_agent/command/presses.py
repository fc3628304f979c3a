"""What people at the command post press. Nothing is shown as done before the bundle that tells the unit is on disk."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from edge_agent.command.alarm import Alarm
from edge_agent.command.board import Board
from edge_agent.command.door import CommandDoor
from edge_agent.command.order import Order
from edge_agent.command.unit import MUTE_MAX_MIN
from edge_agent.core.bundle import Precedence
from edge_agent.core.errors import ActionError, RefusedError
from edge_agent.telemetry.payloads import (
    ORDER_FLOW,
    READ_FLOW,
    SOS_CLOSE_FLOW,
    SOS_CONFIRM_FLOW,
    Read,
    SosUpdate,
    Text,
)

NAME_MAX = 64
REASON_MAX = 500
ORDER_MAX = 4000
ORDER_LIFETIME_S = 3600.0

Json = dict[str, Any]  # Any: JSON


class Presses:
    """The actions of docs/api.md on one board. All raise ActionError with the reason, in words for a person."""

    def __init__(self, board: Board, door: CommandDoor) -> None:
        self._board = board
        self._door = door
        self._taking = asyncio.Lock()  # two browsers at once: one person takes it, and the unit is told one name

    async def press(self, action: str, body: Mapping[str, Any], now_ms: int) -> Json:
        """Do it. Raises RefusedError when the bundle that tells the unit was not taken."""
        actions: dict[str, Callable[[Mapping[str, Any], int], Awaitable[Json]]] = {
            "duty": self._duty,
            "confirm": self._confirm,
            "close": self._close,
            "mute": self._mute,
            "order": self._order,
            "read": self._read,
        }
        if action not in actions:
            raise ActionError(f"action {action!r}: allowed at a command post: {', '.join(actions)}")
        if action in ("confirm", "close", "read"):
            async with self._taking:
                return await actions[action](body, now_ms)
        return await actions[action](body, now_ms)

    def _on_duty(self) -> str:
        duty = self._board.duty
        if duty is None:
            raise ActionError("nobody is on duty: enter a name first")
        return str(duty["name"])

    async def _duty(self, body: Mapping[str, Any], now_ms: int) -> Json:
        name = _text(body, "name", NAME_MAX)
        self._board.duty = {"name": name, "since_ms": now_ms}
        self._board.note("duty", now_ms, by=name)
        return {}

    async def _confirm(self, body: Mapping[str, Any], now_ms: int) -> Json:
        by, alarm = self._on_duty(), self._alarm(body)
        if alarm.confirmed is None:
            if alarm.kind == "sos":
                update = SosUpdate(sos=alarm.id, at_ms=now_ms, by=by)
                await self._door.submit(
                    update.pack(), flow=SOS_CONFIRM_FLOW, to=alarm.units[0], precedence=Precedence.FLASH
                )
            alarm.confirm(by, now_ms)
            self._board.touch("alarm", alarm.id)
            self._board.note("sos_confirmed" if alarm.kind == "sos" else "acknowledged", now_ms, alarm.units[0], by=by)
        confirmed = alarm.confirmed or {}
        return {"by": confirmed["by"], "at_ms": confirmed["at_ms"]}

    async def _close(self, body: Mapping[str, Any], now_ms: int) -> Json:
        by, alarm, reason = self._on_duty(), self._alarm(body), _text(body, "reason", REASON_MAX)
        if alarm.closed is not None:
            return {}
        if alarm.confirmed is None:
            raise ActionError("confirm it before you close it")
        if alarm.kind == "sos":
            update = SosUpdate(sos=alarm.id, at_ms=now_ms, by=by, reason=reason)
            await self._door.submit(
                update.pack(), flow=SOS_CLOSE_FLOW, to=alarm.units[0], precedence=Precedence.IMMEDIATE
            )
        alarm.closed = {"by": by, "at_ms": now_ms, "reason": reason}
        self._board.touch("alarm", alarm.id)
        if alarm.kind == "sos":
            self._board.note("sos_closed", now_ms, alarm.units[0], by=by, reason=reason)
        return {}

    async def _mute(self, body: Mapping[str, Any], now_ms: int) -> Json:
        by, reason = self._on_duty(), _text(body, "reason", REASON_MAX)
        minutes = body.get("minutes")
        if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes <= MUTE_MAX_MIN:
            raise ActionError(f"minutes {minutes!r}: allowed: above 0 and at most {MUTE_MAX_MIN}")
        unit = self._board.units.get(str(body.get("unit")))
        if unit is None:
            raise ActionError(f"unit {body.get('unit')!r}: not known here")
        unit.muted_until_ms = now_ms + int(minutes * 60_000)
        self._board.touch("unit", unit.id)
        self._board.note("muted", now_ms, unit.id, by=by, reason=reason)
        return {}

    async def _order(self, body: Mapping[str, Any], now_ms: int) -> Json:
        by, text = self._on_duty(), _text(body, "text", ORDER_MAX)
        wanted, lifetime_s = body.get("to", []), body.get("lifetime_s", ORDER_LIFETIME_S)
        if not isinstance(wanted, list) or not all(
            isinstance(each, str) and each in self._board.units for each in wanted
        ):
            raise ActionError(f"to {wanted!r}: allowed: a list of units known here, empty for all")
        if isinstance(lifetime_s, bool) or not isinstance(lifetime_s, int | float) or not 60 <= lifetime_s <= 604_800:
            raise ActionError(f"lifetime_s {lifetime_s!r}: allowed: 60 to 604800")
        targets = list(dict.fromkeys(wanted or self._board.units))
        if not targets:
            raise ActionError("no unit has reported yet")
        payload = Text(text=text, at_ms=now_ms, by=by).pack()
        bundles, states = await self._give(targets, payload, float(lifetime_s))
        order = Order(
            id=next(bundle for bundle in bundles.values() if bundle),
            text=text,
            at_ms=now_ms,
            expires_ms=now_ms + int(lifetime_s * 1000),
            by=by,
            bundles=bundles,
            states=states,
        )
        self._board.add_order(order)
        return {"bundles": [bundle for bundle in bundles.values() if bundle]}

    async def _give(self, units: list[str], payload: bytes, lifetime_s: float) -> tuple[dict[str, str], dict[str, str]]:
        """Bundles by unit, and "refused" for those that were not taken. Raises RefusedError when none was."""
        bundles: dict[str, str] = {}
        states: dict[str, str] = {}
        refusal: RefusedError | None = None
        for unit in units:
            try:
                bundles[unit] = await self._door.submit(
                    payload, flow=ORDER_FLOW, to=unit, precedence=Precedence.IMMEDIATE, lifetime_s=lifetime_s
                )
            except RefusedError as error:  # the others have theirs on disk: the order stands, and says whom it missed
                bundles[unit], states[unit], refusal = "", "refused", error
        if refusal is not None and len(states) == len(units):
            raise refusal
        return bundles, states

    async def _read(self, body: Mapping[str, Any], now_ms: int) -> Json:
        by = self._on_duty()
        for unit in self._board.units.values():
            for message in unit.messages:
                if message["id"] == body.get("message"):
                    if message["read"] is None:
                        read = Read(bundle=message["id"], at_ms=now_ms, by=by)
                        await self._door.submit(read.pack(), flow=READ_FLOW, to=unit.id, precedence=Precedence.ROUTINE)
                        message["read"] = {"by": by, "at_ms": now_ms}
                        self._board.touch("unit", unit.id)
                    return {}
        raise ActionError(f"message {body.get('message')!r}: not known here")

    def _alarm(self, body: Mapping[str, Any]) -> Alarm:
        alarm = next((each for each in self._board.alarms if each.id == body.get("alarm")), None)
        if alarm is None:
            raise ActionError(f"alarm {body.get('alarm')!r}: not known here")
        return alarm


def _text(body: Mapping[str, Any], key: str, longest: int) -> str:
    """A text that a person typed. Raises ActionError naming the key."""
    value = body.get(key)
    if not isinstance(value, str) or not 0 < len(value.strip()) <= longest:
        raise ActionError(f"{key}: a text of 1 to {longest} characters is needed")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ActionError(f"{key}: half a character (a lone surrogate) is in the text; type it again")
    return value.strip()
