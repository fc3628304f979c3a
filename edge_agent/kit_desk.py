"""The kit's desk: what its page shows, and what a person presses there.

An SOS is a bundle on disk before the page is answered. A phrase is on disk at once too, in the page's own memory, and
becomes a bundle when it can no longer be taken back; a restart in between sends it.
"""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import structlog

from edge_agent.core.bundle import CLOCK_FLOOR_MS, BundleId, MalformedError, Origin, Precedence
from edge_agent.core.errors import ActionError, RefusedError
from edge_agent.core.progress import ENDS, PERSON_ONLY
from edge_agent.disk.types import Fate
from edge_agent.escalation import Escalation, is_copy
from edge_agent.kit_bearings import Bearings
from edge_agent.kit_mail import KitMail
from edge_agent.kit_memory import (
    HeldPhrase,
    KitMemory,
    KitOrder,
    PageMemoryError,
    PhotoNote,
    SosRecord,
)
from edge_agent.kit_orders import KitOrders
from edge_agent.kit_photo import PhotoSender
from edge_agent.kit_rows import (
    PHRASE_HOLD_MS,
    PHRASE_KEY_PREFIX,
    Json,
    Outlook,
    age_key,
    clock_step_s,
    held_row,
    is_stamp,
    link_json,
    missing_json,
    order_row,
    own_rows,
    position_json,
    row_id,
    sos_json,
    store_json,
)
from edge_agent.link_costs import add_costs
from edge_agent.page_parts import PageParts
from edge_agent.page_watchers import Watchers
from edge_agent.telemetry.payloads import (
    CANCEL_FLOW,
    SOS_FLOW,
    SOS_WITHDRAW_FLOW,
    TEXT_FLOW,
    Ask,
    Sos,
    SosUpdate,
    Text,
)

SOS_UNDO_MS = 10_000
SOS_UNDO_GRACE_MS = 1_000  # a press in the last second is still on its way when the time is over
MESSAGES_SHOWN = 100
MESSAGES_READ = 300  # more than are shown, so that all that wait are counted
TEXT_MAX = 2_000
PHRASES = ("at_position", "need_stretcher", "need_people", "road_cut", "returning", "all_safe")
GRADES = {precedence.name.lower(): precedence for precedence in Precedence}
RETRY_S = 5.0

log = structlog.get_logger()


class KitDesk:
    """Implements ``web.desk.Desk`` for every role that is not command."""

    role = "kit"

    def __init__(self, parts: PageParts) -> None:
        """Open the page's memory."""
        self._parts = parts
        self._memory = KitMemory(parts.config.data_dir)
        self._orders = KitOrders(parts, self._memory, self._tell)
        self._mail = KitMail(parts, self._memory, self._orders, self._tell)
        self._escalation = Escalation(parts)
        self._photos = PhotoSender(parts, self._memory)
        self._watchers = Watchers()
        self._started_ms = parts.now_ms()
        self._urgency = 0
        self._is_changed = True
        self._raising = asyncio.Lock()
        self._due_s: dict[str, float] = {}  # when each held phrase leaves, by the node's clock
        self._held_news = asyncio.Event()
        self._bearings = Bearings(parts, self._memory)
        self.watch, self.unwatch = self._watchers.watch, self._watchers.unwatch

    async def run(self) -> None:
        """Take deliveries, send held phrases, follow the news, for ever."""
        try:
            await self._recover()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._mail.run(), name="page:mail")
                group.create_task(self._orders.run(), name="page:orders")
                group.create_task(self._escalation.run(), name="page:escalation")
                group.create_task(self._release_phrases(), name="page:phrases")
                group.create_task(self._follow_news(), name="page:news")
                group.create_task(self._bearings.run(), name="page:bearings")
        finally:
            self._memory.close()

    def urgency(self) -> Hashable:
        """Counts what happened to the SOS."""
        return self._urgency

    def _tell(self, is_urgent: bool = False) -> None:
        self._urgency += is_urgent
        self._is_changed = True
        self._watchers.tell()

    async def _follow_news(self) -> None:
        news = self._parts.news
        while True:
            await news.changed.wait()
            news.changed.clear()
            self._tell()

    async def _keep_if_possible(self, item: SosRecord) -> None:
        try:
            await self._memory.keep(item)
        except PageMemoryError as error:  # the SOS itself is a bundle in the store, and shown from memory
            log.error("page_memory_failed", kind=item.KIND, reason=str(error))

    async def _recover(self) -> None:
        """Find what a kill came between: an SOS or a phrase that is in the store and not yet in the page's memory."""
        fates = await self._parts.disk.own_messages(MESSAGES_READ)
        calls = [fate for fate in fates if fate.header.flow == SOS_FLOW and not is_copy(fate)]
        known = {record.id for record in self._memory.all(SosRecord)}
        unknown = list(takewhile(lambda fate: str(fate.bundle) not in known, calls))  # those after the last one kept
        for fate in reversed(unknown):
            at_ms = fate.created_ms
            await self._keep_if_possible(SosRecord(id=str(fate.bundle), at_ms=at_ms, undo_until_ms=at_ms + SOS_UNDO_MS))
        for fate in reversed(fates):
            if fate.header.flow == SOS_WITHDRAW_FLOW and fate.payload is not None:
                await self._note_withdrawal(fate)
            held = self._memory.get(HeldPhrase, fate.header.key)
            if held is not None:
                await self._forget(held)
        now_s = self._parts.now_s()
        self._due_s = {held.id: now_s for held in self._memory.all(HeldPhrase)}

    async def _note_withdrawal(self, fate: Fate) -> None:
        try:
            update = SosUpdate.unpack(fate.payload or b"")
        except MalformedError:
            return  # sent by a program, to no effect
        record = self._memory.get(SosRecord, update.sos)
        if record is not None and record.withdrawn_ms is None:
            record.withdrawn_ms = update.at_ms
            await self._keep_if_possible(record)

    async def state_json(self, now_ms: int) -> str:
        """``state`` as text."""
        return json.dumps(await self.state(now_ms), ensure_ascii=False, separators=(",", ":"))

    async def state(self, now_ms: int) -> Json:
        """The whole state as docs/api.md lays it out."""
        parts, memory = self._parts, self._memory
        if self._is_changed:
            self._is_changed = False
            await parts.disk.flush()
        fates = await parts.disk.own_messages(MESSAGES_READ)
        report, now_s = parts.runner.report(), parts.now_s()
        outlook = Outlook(report=report, news=parts.news, now_s=now_s, now_ms=now_ms)
        photos = {note.id: note for note in memory.all(PhotoNote)}
        sent = own_rows(fates, photos, outlook)
        known = {row["id"] for row in sent}
        held = [held_row(each, self._until_ms(each, now_ms)) for each in memory.all(HeldPhrase) if each.id not in known]
        is_set = now_ms >= CLOCK_FLOOR_MS
        rows = [self._told(row) for row in (*sent, *held, *self.orders())]
        rows.sort(key=lambda row: age_key(row["at_ms"], is_clock_set=is_set), reverse=True)
        position, heard_ms = self._bearings.position(), self._bearings.command_heard_ms(now_ms)
        return {
            "started_ms": parts.disk.ages.told_ms(self._started_ms),
            "is_clock_set": is_set,
            "clock_step_s": clock_step_s(parts.disk.ages.clock_state()),
            "node": {"id": parts.config.node_id, "number": parts.config.number, "name": parts.config.name},
            "command_heard_ms": heard_ms,
            "profile": parts.terms.profile.value,
            "links": add_costs(link_json(report, parts.links, now_s, now_ms), parts.terms, now_ms),
            "missing": missing_json(report, parts.devices, position, now_ms, is_command_known=heard_ms is not None),
            "position": None if position is None else position_json(position),
            "messages": rows[:MESSAGES_SHOWN],
            "waiting": sum(row["kind"] != "order" and row["state"] == "accepted" for row in rows),
            "sos": await self._sos(fates),
            "siren": next((order.id for order in memory.all(KitOrder) if order.is_siren), None),
            "store": store_json(parts.disk.report()),
        }

    def orders(self) -> list[Json]:
        """Orders this unit got, newest first, as rows of its page."""
        found = [order_row(order) for order in self._memory.all(KitOrder) if order.received_ms]
        return found[::-1]

    def _until_ms(self, held: HeldPhrase, now_ms: int) -> int:
        due_s = self._due_s.get(held.id, 0.0)
        return now_ms + max(0, round((due_s - self._parts.now_s()) * 1000))

    async def _sos(self, fates: list[Fate]) -> Json | None:
        record = self._open_sos()
        if record is None:
            return None
        fate = next((each for each in fates if str(each.bundle) == record.id), None)
        if fate is None:
            fate = await self._parts.disk.fate(BundleId.parse(record.id))
        return self._told(sos_json(record, fate, self._parts.runner.report()))

    def _told(self, row: Json) -> Json:
        """With the stamps of this kit's clock put right where it was set later."""
        told_ms = self._parts.disk.ages.told_ms
        return {name: told_ms(value) if is_stamp(name, value) else value for name, value in row.items()}

    def _open_sos(self) -> SosRecord | None:
        """The newest call for help that is not over."""
        return next((each for each in reversed(self._memory.all(SosRecord)) if each.is_open), None)

    async def picture(self, picture_id: str) -> tuple[bytes, str] | None:
        """None: a kit's page shows no pictures of its store."""
        return None

    def track(self, unit: str) -> list[Json] | None:
        """None: a kit's page has no map."""
        return None

    def tiles(self, numbers: Sequence[int]) -> Path | None:
        """None: a kit's page has no map."""
        return None

    def actor(self, body: Mapping[str, Any]) -> str:
        """Who does it, for the audit log: a kit knows nobody by name."""
        return ""

    async def act(self, action: str, body: Mapping[str, Any], now_ms: int) -> Json:
        """Do what a person pressed. Raises ActionError, RefusedError, PageMemoryError with the reason."""
        actions: dict[str, Callable[[Mapping[str, Any], int], Awaitable[Json]]] = {
            "sos": self._raise_sos,
            "sos/withdraw": self._withdraw_sos,
            "text": self._send_text,
            "phrase": self._hold_phrase,
            "cancel": self._cancel,
            "photo": self._photos.send,
            "answer": self._answer,
            "profile": partial(self._choose, "profile"),
            "link": partial(self._choose, "link"),
        }
        if action not in actions:
            raise ActionError(f"action {action!r}: allowed at a kit: {', '.join(actions)}")
        answer = await actions[action](body, now_ms)
        self._tell(action.startswith("sos"))
        return answer

    async def _raise_sos(self, body: Mapping[str, Any], now_ms: int) -> Json:
        async with self._raising:
            record = self._open_sos()
            if record is None or record.withdrawn_ms is not None or record.confirmed is not None:
                sos = Sos(at_ms=now_ms, position=self._bearings.packed_position())
                bundle = await self._parts.sender.submit(
                    sos.pack(), flow=SOS_FLOW, precedence=Precedence.FLASH, created_at_ms=now_ms, origin=Origin.PERSON
                )
                record = self._memory.get(SosRecord, str(bundle)) or SosRecord(id=str(bundle), at_ms=now_ms)
                record.undo_until_ms = now_ms + SOS_UNDO_MS
                await self._keep_if_possible(record)
        return {"id": record.id, "undo_until_ms": record.undo_until_ms}

    async def _withdraw_sos(self, body: Mapping[str, Any], now_ms: int) -> Json:
        async with self._raising:
            record = self._memory.get(SosRecord, str(body.get("id")))
            if record is None:
                raise ActionError(f"SOS {body.get('id')!r}: not known here")
            if record.withdrawn_ms is not None:
                return {}
            if now_ms > record.undo_until_ms + SOS_UNDO_GRACE_MS:
                raise ActionError("the 10 seconds are over: command closes the call once you say that you are safe")
            update = SosUpdate(sos=record.id, at_ms=now_ms)
            await self._parts.sender.submit(
                update.pack(), flow=SOS_WITHDRAW_FLOW, precedence=Precedence.FLASH, origin=Origin.PERSON
            )
            record.withdrawn_ms = now_ms
            await self._keep_if_possible(record)
        return {}

    async def _send_text(self, body: Mapping[str, Any], now_ms: int) -> Json:
        text, grade = body.get("text"), body.get("precedence", "immediate")
        if not isinstance(text, str) or not 0 < len(text.strip()) <= TEXT_MAX:
            raise ActionError(f"text: 1 to {TEXT_MAX} characters are needed")
        if not isinstance(grade, str) or grade not in GRADES:
            raise ActionError(f"precedence {grade!r}: allowed: {', '.join(GRADES)}")
        bundle = await self._submit_text(
            text.strip(), "", now_ms, self._bearings.packed_position(), GRADES[grade], key=""
        )
        return {"id": str(bundle)}

    async def _submit_text(
        self, text: str, phrase: str, at_ms: int, position: bytes | None, precedence: Precedence, key: str
    ) -> BundleId:
        payload = Text(text=text, at_ms=at_ms, phrase=phrase, position=position).pack()
        return await self._parts.sender.submit(
            payload, flow=TEXT_FLOW, precedence=precedence, key=key, created_at_ms=at_ms, origin=Origin.PERSON
        )

    async def _hold_phrase(self, body: Mapping[str, Any], now_ms: int) -> Json:
        phrase = body.get("phrase")
        if phrase not in PHRASES:
            raise ActionError(f"phrase {phrase!r}: allowed: {', '.join(PHRASES)}")
        name = f"{PHRASE_KEY_PREFIX}{secrets.token_hex(4)}"
        held = HeldPhrase(id=name, at_ms=now_ms, phrase=phrase, position=self._bearings.packed_position())
        self._due_s[name] = self._parts.now_s() + PHRASE_HOLD_MS / 1000
        try:
            await self._memory.keep(held)
        except PageMemoryError:
            self._due_s.pop(name, None)
            self._memory.let_go(held)
            raise
        self._held_news.set()
        return {"id": name, "undo_until_ms": now_ms + PHRASE_HOLD_MS}

    async def _release_phrases(self) -> None:
        """Send each held phrase when its time is over, for ever."""
        while True:
            self._held_news.clear()
            due_s = min(self._due_s.values(), default=None)
            try:
                async with asyncio.timeout_at(due_s):
                    await self._held_news.wait()
            except TimeoutError:
                await self._release_due()

    async def _release_due(self) -> None:
        now_s = self._parts.now_s()
        for name in [each for each, due_s in self._due_s.items() if due_s <= now_s]:
            held = self._memory.get(HeldPhrase, name)
            del self._due_s[name]  # from here on it can be cancelled as a bundle only
            if held is None:
                continue
            try:
                await self._submit_text("", held.phrase, held.at_ms, held.position, Precedence.IMMEDIATE, key=name)
                await self._forget(held)
            except RefusedError as error:  # the person was told that it is stored, so it stays so
                log.warning("phrase_refused", phrase=held.phrase, reason=str(error), retry_s=RETRY_S)
                self._due_s[name] = now_s + RETRY_S
            self._tell()

    async def _forget(self, held: HeldPhrase) -> None:
        """A phrase that was sent need not be held any more."""
        try:
            await self._memory.forget(held)
        except PageMemoryError as error:  # a restart finds its bundle and forgets it then
            log.error("page_memory_failed", kind=held.KIND, reason=str(error))

    async def _cancel(self, body: Mapping[str, Any], now_ms: int) -> Json:
        name = str(body.get("id"))
        if name in self._due_s:
            del self._due_s[name]
            held = self._memory.get(HeldPhrase, name)
            if held is not None:
                await self._memory.forget(held)
            return {}
        for fate in await self._parts.disk.own_messages(MESSAGES_READ):
            if row_id(fate) == name:
                await self._take_back(fate, now_ms)
                return {}
        raise ActionError(f"message {name!r}: not known here")

    async def _take_back(self, fate: Fate, now_ms: int) -> None:
        """Cancel what was sent: here if nothing has left, else where it is or will be."""
        if fate.header.flow.split(".", 1)[0] == SOS_FLOW:
            raise ActionError("a call for help is withdrawn in its first 10 seconds, and then closed by command")
        if fate.state in PERSON_ONLY:
            raise ActionError("command has read it already: send a new message")
        if fate.state in ENDS or self._parts.runner.cancel(fate.bundle):
            return
        ask = Ask(bundle=str(fate.bundle), at_ms=now_ms, by=self._parts.config.name)
        await self._parts.sender.submit(
            ask.pack(), flow=CANCEL_FLOW, to=fate.header.destination, precedence=fate.bundle.precedence
        )

    async def _choose(self, action: str, body: Mapping[str, Any], now_ms: int) -> Json:
        """A profile, or what a link costs."""
        await self._parts.terms.act(action, body)
        return {}

    async def _answer(self, body: Mapping[str, Any], now_ms: int) -> Json:
        await self._orders.answer(
            str(body.get("id")), str(body.get("answer")), str(body.get("by") or self._parts.config.name), now_ms
        )
        return {}
