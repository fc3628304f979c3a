"""The command post's desk: keeps the board true and durable, and does what its people press.

Nothing is acknowledged to the store before the board has written it; nothing is shown as done before the bundle that
tells the unit is on disk.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from edge_agent.command.alarm import Alarm
from edge_agent.command.board import Board, DeliveredBundle
from edge_agent.command.documents import Documents
from edge_agent.command.order import Order
from edge_agent.command.pictures import PictureFolder
from edge_agent.core.bundle import MalformedError, Precedence
from edge_agent.core.errors import ActionError
from edge_agent.telemetry.payloads import (
    ORDER_FLOW,
    PICTURE_FLOW,
    READ_FLOW,
    SOS_CLOSE_FLOW,
    SOS_CONFIRM_FLOW,
    Picture,
    Read,
    SosUpdate,
    Text,
)

TICK_S = 1.0
NAME_MAX = 64
REASON_MAX = 500
ORDER_MAX = 4000
MUTE_MAX_MIN = 30
ORDER_LIFETIME_S = 3600.0

Json = dict[str, Any]  # Any: JSON


class CommandDoor(Protocol):
    """What the desk needs of the agent it stands in."""

    @property
    def node_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def incarnation(self) -> str:
        """Names the store that counts delivery positions."""

    @property
    def data_dir(self) -> Path: ...
    def now_ms(self) -> int: ...
    def last_heard_ms(self) -> Mapping[str, int]:
        """When the last authentic frame of each peer came."""

    def deliveries(self) -> AsyncIterator[DeliveredBundle]:
        """What the board has not acknowledged, then what comes, for ever."""

    async def acknowledge(self, position: int) -> None: ...
    async def submit(
        self, payload: bytes, *, flow: str, to: str, precedence: Precedence, lifetime_s: float | None = None
    ) -> str:
        """The id of an accepted bundle of a person. Raises EdgeAgentError with the reason."""

    async def fate(self, bundle: str) -> tuple[str, tuple[str, ...]] | None:
        """State and links of an own bundle; None when it is not known (any more)."""


class CommandDesk:
    """Implements what the web server asks of a desk, for role ``command``."""

    role = "command"

    def __init__(self, door: CommandDoor) -> None:
        self._door = door
        self.board = Board()
        self._documents = Documents(door.data_dir / "board.db")
        self._pictures = PictureFolder(door.data_dir / "pictures")
        self._watchers: set[asyncio.Event] = set()
        self._dirty = asyncio.Event()
        self._applied = self._documents.applied_position(door.incarnation)
        self._acknowledged = self._applied
        self._saving = asyncio.Lock()
        self._since_ms = door.now_ms()
        self.board.load(self._documents.load())

    def watch(self) -> asyncio.Event:
        """An event that is set at every change."""
        event = asyncio.Event()
        self._watchers.add(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        """Nobody waits for ``event`` any more."""
        self._watchers.discard(event)

    async def run(self) -> None:
        """Fold deliveries in, watch for silence, and write what changed, for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._consume(), name="board:deliveries")
                group.create_task(self._keep_time(), name="board:time")
                group.create_task(self._keep_written(), name="board:writer")
        finally:
            self._documents.close()

    async def _consume(self) -> None:
        async for delivery in self._door.deliveries():
            if delivery.position <= self._applied:
                self._dirty.set()  # applied before a crash, and only the acknowledgement is missing
                continue
            if delivery.flow == PICTURE_FLOW:
                await self._keep_picture(delivery)
            self.board.apply(delivery)
            self._applied = delivery.position
            self._tell()

    async def _keep_picture(self, delivery: DeliveredBundle) -> None:
        try:
            picture = Picture.unpack(delivery.payload)
        except MalformedError:
            return  # the board counts it
        await asyncio.to_thread(self._pictures.put, delivery.bundle, picture.image)

    async def _keep_time(self) -> None:
        while True:
            now_ms = self._door.now_ms()
            for unit, heard_ms in self._door.last_heard_ms().items():
                known = self.board.units.get(unit)
                if known is not None and heard_ms > known.last_heard_ms:
                    self.board.heard(unit, heard_ms)
            self.board.tick(now_ms, self._since_ms)
            await self._follow_orders(now_ms)
            self._tell()
            await asyncio.sleep(TICK_S)

    async def _follow_orders(self, now_ms: int) -> None:
        for order in self.board.orders:
            for unit, bundle in order.open_bundles.items():
                fate = await self._door.fate(bundle)
                if fate is not None and order.advance(unit, fate[0], now_ms, fate[1]):
                    self.board.touch("order", order.id)
                    self.board.note("order", now_ms, unit, text=order.text, state=fate[0])

    def _tell(self) -> None:
        self._dirty.set()
        for event in self._watchers:
            event.set()

    async def _keep_written(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self.save()

    async def save(self) -> None:
        """Write what changed and acknowledge what it came from."""
        async with self._saving:
            changes, position = self.board.take_changes(), self._applied
            if changes or position > self._acknowledged:
                await asyncio.to_thread(self._documents.save, changes, self._door.incarnation, position)
            if position > self._acknowledged:
                await self._door.acknowledge(position)
                self._acknowledged = position

    async def state(self, now_ms: int) -> Json:
        """The whole state as docs/api.md lays it out."""
        board = self.board
        return {
            "node": {"id": self._door.node_id, "name": self._door.name},
            "operation": self._door.operation,
            "duty": board.duty,
            "units": [unit.to_json(now_ms) for unit in board.units.values()],
            "alarms": [alarm.to_json() for alarm in board.alarms],
            "orders": [order.to_json() for order in reversed(board.orders)],
            "readings": [
                {"unit": unit.id, "series": series, "limit": None, "nearness": None, **reading}
                for unit in board.units.values()
                for series, reading in unit.readings.items()
            ],
            "pictures": [{**picture, "url": f"/api/picture/{picture['id']}"} for picture in reversed(board.pictures)],
            "events": list(reversed(board.events)),
            "layers": [],
        }

    async def picture(self, picture_id: str) -> tuple[bytes, str] | None:
        """Image and type of a picture that is shown; None when there is none."""
        known = next((each for each in self.board.pictures if each["id"] == picture_id), None)
        if known is None:
            return None
        image = await asyncio.to_thread(self._pictures.get, picture_id)
        return (image, known["mime"]) if image is not None else None

    async def act(self, action: str, body: Mapping[str, Any], now_ms: int) -> Json:
        """Do what a person pressed. Raises ActionError with the reason, RefusedError when a bundle was not taken."""
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
        answer = await actions[action](body, now_ms)
        self._tell()
        await self.save()
        return answer

    def _on_duty(self) -> str:
        duty = self.board.duty
        if duty is None:
            raise ActionError("nobody is on duty: enter a name first")
        return str(duty["name"])

    async def _duty(self, body: Mapping[str, Any], now_ms: int) -> Json:
        name = _text(body, "name", NAME_MAX)
        self.board.duty = {"name": name, "since_ms": now_ms}
        self.board.note("duty", now_ms, by=name)
        return {}

    async def _confirm(self, body: Mapping[str, Any], now_ms: int) -> Json:
        by, alarm = self._on_duty(), self._alarm(body)
        if alarm.confirmed is None:
            if alarm.kind == "sos":
                update = SosUpdate(sos=alarm.id, at_ms=now_ms, by=by)
                await self._door.submit(
                    update.pack(), flow=SOS_CONFIRM_FLOW, to=alarm.units[0], precedence=Precedence.FLASH
                )
            if alarm.confirm(by, now_ms):  # somebody else may have, meanwhile
                self.board.touch("alarm", alarm.id)
                code = "sos_confirmed" if alarm.kind == "sos" else "acknowledged"
                self.board.note(code, now_ms, alarm.units[0], by=by)
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
        self.board.touch("alarm", alarm.id)
        if alarm.kind == "sos":
            self.board.note("sos_closed", now_ms, alarm.units[0], by=by, reason=reason)
        return {}

    async def _mute(self, body: Mapping[str, Any], now_ms: int) -> Json:
        by, reason = self._on_duty(), _text(body, "reason", REASON_MAX)
        minutes = body.get("minutes")
        if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes <= MUTE_MAX_MIN:
            raise ActionError(f"minutes {minutes!r}: allowed: above 0 and at most {MUTE_MAX_MIN}")
        unit = self.board.units.get(str(body.get("unit")))
        if unit is None:
            raise ActionError(f"unit {body.get('unit')!r}: not known here")
        unit.muted_until_ms = now_ms + int(minutes * 60_000)
        self.board.touch("unit", unit.id)
        self.board.note("muted", now_ms, unit.id, by=by, reason=reason)
        return {}

    async def _order(self, body: Mapping[str, Any], now_ms: int) -> Json:
        by, text = self._on_duty(), _text(body, "text", ORDER_MAX)
        wanted, lifetime_s = body.get("to", []), body.get("lifetime_s", ORDER_LIFETIME_S)
        if not isinstance(wanted, list) or not all(each in self.board.units for each in wanted):
            raise ActionError(f"to {wanted!r}: allowed: a list of units known here, empty for all")
        if isinstance(lifetime_s, bool) or not isinstance(lifetime_s, int | float) or not 60 <= lifetime_s <= 604_800:
            raise ActionError(f"lifetime_s {lifetime_s!r}: allowed: 60 to 604800")
        targets = wanted or list(self.board.units)
        if not targets:
            raise ActionError("no unit has reported yet")
        payload = Text(text=text, at_ms=now_ms, by=by).pack()
        bundles = {
            unit: await self._door.submit(
                payload, flow=ORDER_FLOW, to=unit, precedence=Precedence.IMMEDIATE, lifetime_s=float(lifetime_s)
            )
            for unit in targets
        }
        order_id = next(iter(bundles.values()))
        expires_ms = now_ms + int(lifetime_s * 1000)
        self.board.add_order(Order(id=order_id, text=text, at_ms=now_ms, expires_ms=expires_ms, by=by, bundles=bundles))
        return {"bundles": list(bundles.values())}

    async def _read(self, body: Mapping[str, Any], now_ms: int) -> Json:
        by = self._on_duty()
        for unit in self.board.units.values():
            for message in unit.messages:
                if message["id"] == body.get("message"):
                    if message["read"] is None:
                        read = Read(bundle=message["id"], at_ms=now_ms, by=by)
                        await self._door.submit(read.pack(), flow=READ_FLOW, to=unit.id, precedence=Precedence.ROUTINE)
                        message["read"] = {"by": by, "at_ms": now_ms}
                        self.board.touch("unit", unit.id)
                    return {}
        raise ActionError(f"message {body.get('message')!r}: not known here")

    def _alarm(self, body: Mapping[str, Any]) -> Alarm:
        alarm = next((each for each in self.board.alarms if each.id == body.get("alarm")), None)
        if alarm is None:
            raise ActionError(f"alarm {body.get('alarm')!r}: not known here")
        return alarm


def _text(body: Mapping[str, Any], key: str, longest: int) -> str:
    """A text that a person typed. Raises ActionError naming the key."""
    value = body.get(key)
    if not isinstance(value, str) or not 0 < len(value.strip()) <= longest:
        raise ActionError(f"{key}: a text of 1 to {longest} characters is needed")
    return value.strip()
