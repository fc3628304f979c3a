"""The command post's desk: keeps the board true and durable, and does what its people press.

Nothing is acknowledged to the store before the board has written it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import structlog

from edge_agent.command.acts import tell_orders
from edge_agent.command.board import Board
from edge_agent.command.delivery import DeliveredBundle
from edge_agent.command.documents import open_documents
from edge_agent.command.door import CommandDoor
from edge_agent.command.groups import UnitGroup
from edge_agent.command.layers import MapLayer, find_tiles, layers_json
from edge_agent.command.limits import ReadingLimit
from edge_agent.command.order import page_word
from edge_agent.command.passing_on import ESCALATE_AFTER_S, PassingOn
from edge_agent.command.pictures import PictureFolder
from edge_agent.command.presses import Presses
from edge_agent.command.roll import call_roll
from edge_agent.command.view import BoardView
from edge_agent.command.writer import BoardWriter
from edge_agent.core.bundle import BundleId, MalformedError, Precedence
from edge_agent.core.errors import ActionError, RefusedError
from edge_agent.core.progress import Progress
from edge_agent.telemetry.payloads import CANCEL_FLOW, PICTURE_FLOW, READ_FLOW, Ask, Picture
from edge_agent.telemetry.receipts import gather

TICK_S = 1.0
RETRY_S = 5.0
JUMP_MS = 30_000
"""So long without a look the clock was set ahead, or the machine slept: nobody is blamed for what was not heard."""
FATES_MAX = 100
"""Copies of orders whose fate is looked up in one tick: the store has more to do, and the next tick takes others."""

Json = dict[str, Any]  # Any: JSON

log = structlog.get_logger()


class CommandDesk:
    """Implements what the web server asks of a desk, for role ``command``."""

    role = "command"

    def __init__(
        self,
        door: CommandDoor,
        *,
        limits: Sequence[ReadingLimit] = (),
        layers: Sequence[MapLayer] = (),
        groups: Sequence[UnitGroup] = (),
        others: Sequence[str] = (),
        fellows: Sequence[str] = (),
        escalate_after_s: float = ESCALATE_AFTER_S,
    ) -> None:
        """``others``: command nodes that are told of a call nobody confirmed here within ``escalate_after_s``;
        ``fellows``: those that show what people here do, and tell what theirs do."""
        self._door = door
        self._layers = tuple(layers)
        self._groups = tuple(groups)
        self.board = Board(limits=tuple(limits), node_id=door.node_id, posts=tuple(others), fellows=tuple(fellows))
        self._passing_on = PassingOn(self.board, door, escalate_after_s)
        self._documents = open_documents(door.data_dir / "board.db")
        self._pictures = PictureFolder(door.data_dir / "pictures")
        self._writer = BoardWriter(self.board, self._documents, door.incarnation, door.acknowledge)
        self._view = BoardView(self.board, limits)
        self._presses = Presses(self.board, door, groups)
        self._watchers: set[asyncio.Event] = set()
        self._acts = asyncio.Event()
        self._frames_ms: dict[str, int] = {}
        self._since_ms = self._looked_ms = door.now_ms()
        self._fates_asked = 0
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
                group.create_task(self._keep_orders(), name="board:orders")
                group.create_task(self._give_acts(), name="board:acts")
                group.create_task(self._writer.run(), name="board:writer")
        finally:
            self._documents.close()

    async def _consume(self) -> None:
        async for delivery in self._door.deliveries():
            if delivery.position <= self._writer.applied:
                self._writer.came_again(delivery.position)  # written before a crash, not yet acknowledged
                continue
            if delivery.flow == PICTURE_FLOW:
                await self._keep_picture(delivery)
            self.board.apply(delivery)
            if delivery.flow == CANCEL_FLOW:
                await self._answer_cancel(delivery)
            self._writer.applied = delivery.position
            self._tell()

    async def _answer_cancel(self, delivery: DeliveredBundle) -> None:
        """Tell a unit that its report is marked as taken back; twice after a crash, which changes nothing."""
        try:
            bundle = BundleId.parse(Ask.unpack(delivery.payload).bundle)
        except MalformedError:
            return  # the board counts it
        if bundle.source != delivery.source:
            return
        (receipt,) = gather([bundle], Progress.CANCELLED_THERE, level=self._door.level, node=self._door.node_id)
        payload = receipt.pack(reader=delivery.source, writer=self._door.node_id)
        try:
            await self._door.submit(payload, flow=READ_FLOW, to=delivery.source, precedence=Precedence.IMMEDIATE)
        except RefusedError as error:
            log.warning("cancel_not_answered", bundle=str(bundle), reason=str(error))

    async def _keep_picture(self, delivery: DeliveredBundle) -> None:
        try:
            picture = Picture.unpack(delivery.payload)
        except MalformedError:
            return  # the board counts it
        try:
            await asyncio.to_thread(self._pictures.put, delivery.bundle, picture.image)
        except OSError as error:  # what comes behind it matters more, and its bundle is in the store
            self.board.drops["picture_not_kept"] += 1
            log.error("picture_not_kept", bundle=delivery.bundle, reason=error.strerror or str(error))

    async def _keep_time(self) -> None:
        while True:
            self.look(self._door.now_ms())
            self._tell()
            await asyncio.sleep(TICK_S)

    def look(self, now_ms: int) -> None:
        """Find who was heard and who is silent."""
        self._since_ms = min(self._since_ms, now_ms)  # our clock may have been set back
        if now_ms - self._looked_ms > JUMP_MS:
            self._since_ms = now_ms
        self._looked_ms = now_ms
        for unit, heard_ms in self._door.last_heard_ms().items():
            if unit in self.board.units and self._frames_ms.get(unit) != heard_ms:
                self._frames_ms[unit] = heard_ms
                self.board.heard(unit, heard_ms)
        self.board.tick(now_ms, self._since_ms)

    async def _keep_orders(self) -> None:
        while True:
            now_ms = self._door.now_ms()
            is_news = await self.follow_orders(now_ms)
            await self._presses.call_back_cancelled()
            tell_orders(self.board, self._door.name)
            if await self._passing_on.look(now_ms) or is_news:
                self._tell()
            await asyncio.sleep(TICK_S)

    async def follow_orders(self, now_ms: int) -> bool:
        """Ask what became of copies that are on their way, some at each call; True when there was news."""
        copies = [(order, *copy) for order in self.board.orders for copy in order.open_bundles(now_ms).items()]
        first = self._fates_asked % max(1, len(copies))
        self._fates_asked = first + FATES_MAX
        is_news = False
        for order, unit, bundle in islice(copies[first:] + copies[:first], FATES_MAX):
            fate = await self._door.fate(bundle)
            if fate is not None and order.advance(unit, fate.state, now_ms, fate.via):
                is_news = True
                self.board.touch("order", order.id)
                self.board.note("order", now_ms, unit, text=order.text, state=page_word(order.state_of(unit)))
        return is_news

    def orders(self) -> list[Json]:
        """Orders given here, newest first, each with its roll call by name and the bundles that carry its copies."""
        board = self.board
        return [
            {**each.to_json(), "names": call_roll(each, board.name_of), "bundles": each.bundles}
            for each in reversed(board.orders)
        ]

    async def _give_acts(self) -> None:
        """Tell the other posts what people did here, once it is in the board on the disk, for ever."""
        while True:
            self._acts.clear()
            while self.board.outbox:
                act = self.board.outbox[0]
                try:
                    await self._writer.settle()
                    await self._door.record(act)
                except (ActionError, RefusedError) as error:  # as when the disk is full: it stays to be told
                    log.warning("act_waits", reason=str(error), retry_s=RETRY_S)
                    await asyncio.sleep(RETRY_S)
                    continue
                if self.board.outbox and self.board.outbox[0] is act:
                    del self.board.outbox[0]
                    self.board.touch("lists", "all")
            await self._acts.wait()

    def _tell(self) -> None:
        self._writer.changed()
        if self.board.outbox:
            self._acts.set()
        for event in self._watchers:
            event.set()

    def _around(self) -> Json:
        return {
            "node": {"id": self._door.node_id, "name": self._door.name},
            "operation": self._door.operation,
            "not_saved": self._writer.failure or None,
            "layers": layers_json(self._layers),
            "groups": [{"name": each.name, "units": each.members(self.board.units)} for each in self._groups],
        }

    async def state(self, now_ms: int) -> Json:
        """The whole state as docs/api.md lays it out. Parts are shared with later states: nobody may change them."""
        return {**self._around(), **self._view.content(now_ms)}

    def state_text(self, now_ms: int) -> str:
        """``state`` as JSON text; of units that did not change the text is kept."""
        return self._view.text(now_ms, self._around())

    async def picture(self, picture_id: str) -> tuple[bytes, str] | None:
        """Image and type of a picture that is shown; None when there is none."""
        known = next((each for each in self.board.pictures if each["id"] == picture_id), None)
        if known is None:
            return None
        image = await asyncio.to_thread(self._pictures.get, picture_id)
        return (image, known["mime"]) if image is not None else None

    def track(self, unit: str) -> list[Json] | None:
        """Where a unit was, as far as is kept; None for a unit that is not known."""
        known = self.board.units.get(unit)
        return None if known is None else known.track

    def tiles(self, numbers: Sequence[int]) -> Path | None:
        """The file behind a map layer's address; None when there is none. Asks the disk."""
        return find_tiles(self._layers, numbers)

    def actor(self, body: Mapping[str, Any]) -> str:
        """Who does it, for the audit log: whom the action names, or who is on duty."""
        return str(body.get("by") or (self.board.duty or {}).get("name", ""))

    async def act(self, action: str, body: Mapping[str, Any], now_ms: int) -> Json:
        """Do what a person pressed; returns once it is on disk.

        Raises ActionError with the reason, RefusedError when a bundle was not taken.
        """
        answer = await self._presses.press(action, body, now_ms)
        self._tell()
        await self._writer.settle()
        return answer
