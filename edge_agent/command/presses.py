"""What people at the command post press. Nothing is shown as done before the bundle that tells the unit is on disk."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from edge_agent.command.acts import tell
from edge_agent.command.alarm import Alarm
from edge_agent.command.board import Board
from edge_agent.command.door import CommandDoor
from edge_agent.command.groups import UnitGroup
from edge_agent.command.orders import OrderDesk
from edge_agent.command.texts import wanted_text
from edge_agent.command.unit import MUTE_MAX_MIN
from edge_agent.core.bundle import NODE_ID_PATTERN, BundleId, Precedence
from edge_agent.core.errors import ActionError
from edge_agent.core.progress import Progress
from edge_agent.telemetry.acts import Act, Did
from edge_agent.telemetry.payloads import (
    CANCEL_FLOW,
    PROFILE_FLOW,
    PULL_FLOW,
    READ_FLOW,
    SOS_CLOSE_FLOW,
    SOS_CONFIRM_FLOW,
    Ask,
    ProfileAsk,
    SosUpdate,
)
from edge_agent.telemetry.receipts import gather

NAME_MAX = 64
PROFILES = ("normal", "quiet", "emergency", "low-power")
REASON_MAX = 500

Json = dict[str, Any]  # Any: JSON


class Presses:
    """The actions of docs/api.md on one board. All raise ActionError with the reason, in words for a person."""

    def __init__(self, board: Board, door: CommandDoor, groups: Sequence[UnitGroup] = ()) -> None:
        self._board = board
        self._door = door
        self._orders = OrderDesk(board=board, door=door, groups=groups)
        self._taking = asyncio.Lock()  # two browsers at once: one person takes it, and the unit is told one name

    async def press(self, action: str, body: Mapping[str, Any], now_ms: int) -> Json:
        """Do it. Raises RefusedError when the bundle that tells the unit was not taken."""
        actions: dict[str, Callable[[Mapping[str, Any], int], Awaitable[Json]]] = {
            "duty": self._duty,
            "confirm": self._confirm,
            "close": self._close,
            "mute": self._mute,
            "order": self._order,
            "order/cancel": self._cancel,
            "pull": partial(self._ask, PULL_FLOW),
            "drop": partial(self._ask, CANCEL_FLOW),
            "read": self._read,
            "profile": self._profile,
        }
        if action not in actions:
            raise ActionError(f"action {action!r}: allowed at a command post: {', '.join(actions)}")
        if action in ("confirm", "close", "read", "order/cancel"):
            async with self._taking:
                return await actions[action](body, now_ms)
        return await actions[action](body, now_ms)

    def _on_duty(self, body: Mapping[str, Any] | None = None) -> str:
        """Under whose name it is done: of whoever is on duty, or as a program says."""
        if body is not None and body.get("by"):
            return wanted_text(body, "by", NAME_MAX)
        duty = self._board.duty
        if duty is None:
            raise ActionError("nobody is on duty: enter a name first (edge-agent order: --by NAME)")
        return str(duty["name"])

    def _tell_posts(  # Any: fields of Act
        self, did: Did, by: str, now_ms: int, alarm: Alarm | None = None, **about: Any
    ) -> None:
        """The other posts shall show it too."""
        if alarm is not None:
            about |= {"target": alarm.id, "unit": alarm.units[0], "kind": alarm.kind, "series": alarm.series}
        tell(self._board, Act(did=did, at_ms=now_ms, by=by, where=self._door.name[:NAME_MAX], **about))

    async def _duty(self, body: Mapping[str, Any], now_ms: int) -> Json:
        name = wanted_text(body, "name", NAME_MAX)
        self._board.duty = {"name": name, "since_ms": now_ms}
        self._board.note("duty", now_ms, by=name)
        self._tell_posts(Did.NOTED, name, now_ms, code="duty")
        return {}

    async def _confirm(self, body: Mapping[str, Any], now_ms: int) -> Json:
        by, alarm = self._on_duty(), self._alarm(body)
        if alarm.confirmed is None:
            if alarm.kind == "sos":
                update = SosUpdate(sos=alarm.id, at_ms=now_ms, by=by)
                await self._tell(alarm, update, SOS_CONFIRM_FLOW, Precedence.FLASH)
            alarm.confirm(by, now_ms)
            self._board.touch("alarm", alarm.id)
            self._tell_posts(Did.CONFIRMED, by, now_ms, alarm)
            self._board.note("sos_confirmed" if alarm.kind == "sos" else "acknowledged", now_ms, alarm.units[0], by=by)
        confirmed = alarm.confirmed or {}
        return {"by": confirmed["by"], "at_ms": confirmed["at_ms"]}

    async def _close(self, body: Mapping[str, Any], now_ms: int) -> Json:
        by, alarm, reason = self._on_duty(), self._alarm(body), wanted_text(body, "reason", REASON_MAX)
        if alarm.closed is not None:
            return {}
        if alarm.confirmed is None:
            raise ActionError("confirm it before you close it")
        if alarm.kind == "sos":
            update = SosUpdate(sos=alarm.id, at_ms=now_ms, by=by, reason=reason)
            await self._tell(alarm, update, SOS_CLOSE_FLOW, Precedence.IMMEDIATE)
        alarm.closed = {"by": by, "at_ms": now_ms, "reason": reason}
        self._tell_posts(Did.CLOSED, by, now_ms, alarm, text=reason)
        self._board.touch("alarm", alarm.id)
        if alarm.kind == "sos":
            self._board.note("sos_closed", now_ms, alarm.units[0], by=by, reason=reason)
        return {}

    async def _tell(self, alarm: Alarm, update: SosUpdate, flow: str, precedence: Precedence) -> None:
        """The unit that calls, and the posts that may have the call too."""
        await self._door.submit(update.pack(), flow=flow, to=alarm.units[0], precedence=precedence)
        for post in self._board.posts:
            await self._door.submit(update.pack(), flow=flow, to=post, precedence=precedence)

    async def _mute(self, body: Mapping[str, Any], now_ms: int) -> Json:
        by, reason = self._on_duty(), wanted_text(body, "reason", REASON_MAX)
        minutes = body.get("minutes")
        if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes <= MUTE_MAX_MIN:
            raise ActionError(f"minutes {minutes!r}: allowed: above 0 and at most {MUTE_MAX_MIN}")
        unit = self._board.units.get(str(body.get("unit")))
        if unit is None:
            raise ActionError(f"unit {body.get('unit')!r}: not known here")
        unit.muted_until_ms = now_ms + int(minutes * 60_000)
        self._board.touch("unit", unit.id)
        self._board.note("muted", now_ms, unit.id, by=by, reason=reason)
        self._tell_posts(Did.NOTED, by, now_ms, unit=unit.id, text=reason, code="muted")
        return {}

    async def _order(self, body: Mapping[str, Any], now_ms: int) -> Json:
        return await self._orders.give(body, self._on_duty(body), now_ms)

    async def _cancel(self, body: Mapping[str, Any], now_ms: int) -> Json:
        return await self._orders.cancel(body, self._on_duty(body), now_ms)

    async def call_back_cancelled(self) -> None:
        """Orders given here that somebody cancelled at another post: what waits here does not leave any more."""
        await self._orders.call_back_cancelled()

    async def _ask(self, flow: str, body: Mapping[str, Any], now_ms: int) -> Json:
        """Tell a unit what to do with something that still waits there."""
        by, unit = self._on_duty(body), self._board.units.get(str(body.get("unit")))
        if unit is None:
            raise ActionError(f"unit {body.get('unit')!r}: not known here")
        item = next((each for each in unit.largest if each["bundle"] == body.get("bundle")), None)
        if item is None:
            raise ActionError(f"bundle {body.get('bundle')!r}: not among what {unit.id} said it holds")
        ask = Ask(bundle=item["bundle"], at_ms=now_ms, by=by)
        await self._door.submit(ask.pack(), flow=flow, to=unit.id, precedence=Precedence.IMMEDIATE)
        item["asked"] = flow
        self._board.touch("unit", unit.id)
        self._board.note(flow, now_ms, unit.id, text=item["flow"], by=by)
        about = {"target": item["bundle"], "unit": unit.id, "text": item["flow"]}
        self._tell_posts(Did.NOTED, by, now_ms, code=flow, **about)
        return {}

    async def _profile(self, body: Mapping[str, Any], now_ms: int) -> Json:
        """Have a unit use its links in another way; its next report says that it does."""
        by, unit, profile = self._on_duty(body), str(body.get("unit")), body.get("profile")
        if NODE_ID_PATTERN.fullmatch(unit) is None:  # a post without a page keeps no list of units
            raise ActionError(f"unit {unit!r}: allowed: the id of a node")
        if not isinstance(profile, str) or profile not in PROFILES:
            raise ActionError(f"profile {profile!r}: allowed: {', '.join(PROFILES)}")
        ask = ProfileAsk(profile=profile, at_ms=now_ms, by=by)
        await self._door.submit(ask.pack(), flow=PROFILE_FLOW, to=unit, precedence=Precedence.IMMEDIATE)
        self._board.note("profile", now_ms, unit, text=profile, by=by)
        self._tell_posts(Did.NOTED, by, now_ms, unit=unit, text=profile, code="profile")
        return {}

    async def _read(self, body: Mapping[str, Any], now_ms: int) -> Json:
        by = self._on_duty()
        for unit in self._board.units.values():
            for message in unit.messages:
                if message["id"] == body.get("message"):
                    if message["read"] is None:
                        (receipt,) = gather(
                            [BundleId.parse(message["id"])],
                            Progress.READ,
                            level=self._door.level,
                            node=self._door.node_id,
                            at_ms=now_ms,
                            by=by,
                        )
                        payload = receipt.pack(reader=unit.id, writer=self._door.node_id)
                        await self._door.submit(payload, flow=READ_FLOW, to=unit.id, precedence=Precedence.ROUTINE)
                        message["read"] = {"by": by, "at_ms": now_ms}
                        self._tell_posts(Did.READ, by, now_ms, target=message["id"], unit=unit.id)
                        self._board.touch("unit", unit.id)
                    return {}
        raise ActionError(f"message {body.get('message')!r}: not known here")

    def _alarm(self, body: Mapping[str, Any]) -> Alarm:
        alarm = next((each for each in self._board.alarms if each.id == body.get("alarm")), None)
        if alarm is None:
            raise ActionError(f"alarm {body.get('alarm')!r}: not known here")
        return alarm
