"""The field's picture at the command post: units, alarms, orders and events, folded from what is delivered.

Sans-IO: times come in, changed documents go out (``take_changes``). A delivery applied twice is kept out by its
position in the delivery order, which is stored with its effect.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from edge_agent.command.alarm import Alarm, Json, open_group
from edge_agent.command.documents import Document, DocumentKey
from edge_agent.command.order import Order
from edge_agent.command.unit import MESSAGES_MAX, Unit, position_json
from edge_agent.core.bundle import MalformedError
from edge_agent.telemetry.payloads import (
    PICTURE_FLOW,
    POSITION_FLOW,
    READ_FLOW,
    READING_FLOW,
    REPORT_FLOW,
    SOS_FLOW,
    SOS_WITHDRAW_FLOW,
    TEXT_FLOW,
    Picture,
    Position,
    Read,
    ReadingBatch,
    Sos,
    SosUpdate,
    Text,
    UnitReport,
)

EVENTS_MAX = 200
ALARMS_MAX = 200
ORDERS_MAX = 100
PICTURES_MAX = 60
UNITS_MAX = 1000


class DeliveredBundle(Protocol):
    """One delivery as the agent's consumers get it."""

    @property
    def position(self) -> int: ...
    @property
    def bundle(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def flow(self) -> str: ...
    @property
    def precedence(self) -> str: ...
    @property
    def created_at_ms(self) -> int: ...
    @property
    def received_at_ms(self) -> int: ...
    @property
    def via(self) -> tuple[str, ...]: ...
    @property
    def payload(self) -> bytes: ...


@dataclass(slots=True)
class Board:
    """Everything the command page shows. ``drops`` counts payloads that no page could show."""

    units: dict[str, Unit] = field(default_factory=dict)
    alarms: list[Alarm] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    pictures: list[Json] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)
    duty: Json | None = None
    drops: dict[str, int] = field(default_factory=dict)
    _next_event: int = 1
    _changed: set[DocumentKey] = field(default_factory=set)

    def load(self, documents: dict[DocumentKey, Document]) -> None:
        """Take over what an earlier start of this node had written."""
        for key, content in documents.items():
            if key.kind == "unit":
                self.units[key.name] = Unit.from_document(dict(content))
            elif key.kind == "alarm":
                self.alarms.append(Alarm.from_document(dict(content)))
            elif key.kind == "order":
                self.orders.append(Order.from_document(dict(content)))
            elif key.kind == "lists":
                self.pictures, self.events = list(content["pictures"]), list(content["events"])
                self.duty, self._next_event = content["duty"], content["next_event"]
        self.alarms.sort(key=lambda alarm: alarm.raised_ms)
        self.orders.sort(key=lambda order: order.at_ms)

    def take_changes(self) -> dict[DocumentKey, Document | None]:
        """Documents that changed since the last call; None: gone."""
        sources: dict[str, dict[str, Any]] = {  # Any: units, alarms or orders
            "unit": dict(self.units),
            "alarm": {alarm.id: alarm for alarm in self.alarms},
            "order": {order.id: order for order in self.orders},
        }
        changes: dict[DocumentKey, Document | None] = {}
        for key in self._changed:
            if key.kind == "lists":
                changes[key] = {
                    "pictures": self.pictures,
                    "events": self.events,
                    "duty": self.duty,
                    "next_event": self._next_event,
                }
            else:
                kept = sources[key.kind].get(key.name)
                changes[key] = kept.to_document() if kept is not None else None
        self._changed.clear()
        return changes

    def touch(self, kind: str, name: str) -> None:
        """This document has to be written."""
        self._changed.add(DocumentKey(kind, name))

    def note(self, code: str, at_ms: int, unit: str = "", **values: object) -> None:
        """An event for the list; the page makes the sentence."""
        event = {"id": f"e-{self._next_event}", "at_ms": at_ms, "unit": unit, "code": code, "values": values}
        self._next_event += 1
        self.events.append(event)
        del self.events[:-EVENTS_MAX]
        self.touch("lists", "all")

    def unit(self, unit_id: str, now_ms: int) -> Unit:
        """The unit of this node id, joined on first use."""
        unit = self.units.get(unit_id)
        if unit is None:
            if len(self.units) >= UNITS_MAX:  # every one holds the deployment's secret, so this is a fault, not a flood
                del self.units[min(self.units.values(), key=lambda each: each.last_heard_ms).id]
            unit = self.units[unit_id] = Unit(id=unit_id, last_heard_ms=now_ms)
            self.note("joined", now_ms, unit_id)
        self.touch("unit", unit_id)
        return unit

    def add_order(self, order: Order) -> None:
        """Command has given an order; its bundles are on disk."""
        self.orders.append(order)
        self.touch("order", order.id)
        for old in self.orders[:-ORDERS_MAX]:
            self.touch("order", old.id)
        del self.orders[:-ORDERS_MAX]
        for unit in order.bundles:
            self.note("order", order.at_ms, unit, text=order.text, state="accepted")

    def heard(self, unit_id: str, at_ms: int) -> None:
        """Something authentic of this unit arrived at ``at_ms``, whatever it was."""
        unit = self.unit(unit_id, at_ms)
        if unit.hear(at_ms):
            self.note("back", at_ms, unit_id)
            for alarm in self.alarms:
                if alarm.kind == "lost" and alarm.is_open and unit_id in alarm.units:
                    alarm.clear_unit(unit_id, at_ms)
                    self.touch("alarm", alarm.id)

    def apply(self, delivery: DeliveredBundle) -> None:
        """Fold one delivery in. What no page could show is counted and otherwise ignored."""
        self.heard(delivery.source, delivery.received_at_ms)
        unit = self.unit(delivery.source, delivery.received_at_ms)
        unit.last_link = delivery.via[-1] if delivery.via else unit.last_link
        flow = delivery.flow
        takers = {
            SOS_FLOW: self._take_sos,
            SOS_WITHDRAW_FLOW: self._take_withdrawal,
            POSITION_FLOW: self._take_position,
            READING_FLOW: self._take_readings,
            PICTURE_FLOW: self._take_picture,
            REPORT_FLOW: self._take_report,
            READ_FLOW: self._take_read,
            TEXT_FLOW: self._take_text,
        }
        taker = takers.get(flow) or takers.get(flow.split(".", 1)[0])
        if taker is None:
            return
        try:
            taker(unit, delivery)
        except MalformedError:
            self.drops[f"payload_{flow}"] = self.drops.get(f"payload_{flow}", 0) + 1

    def _received(self, unit: Unit, delivery: DeliveredBundle, what: str, text: str, captured_ms: int) -> None:
        if unit.last_received is None or captured_ms >= unit.last_received["captured_ms"]:
            unit.last_received = {"what": what, "text": text, "captured_ms": captured_ms}
        unit.note_arrival(
            what=what,
            text=text,
            captured_ms=captured_ms,
            arrived_ms=delivery.received_at_ms,
            is_urgent=delivery.precedence in ("flash", "immediate"),
        )

    def _take_sos(self, unit: Unit, delivery: DeliveredBundle) -> None:
        sos = Sos.unpack(delivery.payload)
        if any(alarm.id == delivery.bundle for alarm in self.alarms):
            return
        position = position_json(Position.unpack(sos.position)) if sos.position is not None else unit.position
        alarm = Alarm(
            id=delivery.bundle,
            kind="sos",
            units=[unit.id],
            raised_ms=sos.at_ms,
            received_ms=delivery.received_at_ms,
            via=list(delivery.via),
            text=sos.text,
            position=position,
        )
        self._raise(alarm)
        self.note("sos", delivery.received_at_ms, unit.id)
        self._received(unit, delivery, "sos", sos.text, sos.at_ms)

    def _raise(self, alarm: Alarm) -> None:
        self.alarms.append(alarm)
        self.touch("alarm", alarm.id)
        over = [each for each in self.alarms if not each.is_open]
        for each in over[: max(0, len(self.alarms) - ALARMS_MAX)]:
            self.alarms.remove(each)
            self.touch("alarm", each.id)

    def _take_withdrawal(self, unit: Unit, delivery: DeliveredBundle) -> None:
        update = SosUpdate.unpack(delivery.payload)
        for alarm in self.alarms:
            if alarm.id == update.sos and unit.id in alarm.units and alarm.withdrawn_ms is None:
                alarm.withdrawn_ms = update.at_ms
                self.touch("alarm", alarm.id)
                self.note("sos_withdrawn", delivery.received_at_ms, unit.id)

    def _take_position(self, unit: Unit, delivery: DeliveredBundle) -> None:
        position = Position.unpack(delivery.payload)
        unit.take_position(position, delivery.received_at_ms)
        self._received(unit, delivery, "position", "", position.captured_at_ms)

    def _take_readings(self, unit: Unit, delivery: DeliveredBundle) -> None:
        batch = ReadingBatch.unpack(delivery.payload)
        for row in batch.rows:
            unit.take_reading(row)
        if batch.rows:
            series, value, unit_text, _, captured_ms = max(batch.rows, key=lambda row: int(row[4]))
            text = f"{series} {value:g} {unit_text}" if value is not None else series
            self._received(unit, delivery, "reading", text, captured_ms)

    def _take_picture(self, unit: Unit, delivery: DeliveredBundle) -> None:
        picture = Picture.unpack(delivery.payload)
        picture_id = delivery.bundle
        self.pictures = [
            each
            for each in self.pictures
            if not (
                picture.full_id and each["full_id"] == picture.full_id and each["is_small"] and not picture.is_small
            )
        ]
        self.pictures.append(
            {
                "id": picture_id,
                "unit": unit.id,
                "captured_ms": picture.captured_at_ms,
                "received_ms": delivery.received_at_ms,
                "is_small": picture.is_small,
                "caption": picture.caption or picture.camera,
                "mime": picture.mime,
                "full_id": picture.full_id,
            }
        )
        del self.pictures[:-PICTURES_MAX]
        self.note("picture", delivery.received_at_ms, unit.id, size="small" if picture.is_small else "full")
        self._received(unit, delivery, "picture", picture.caption, picture.captured_at_ms)

    def _take_report(self, unit: Unit, delivery: DeliveredBundle) -> None:
        for link, before, after in unit.take_report(UnitReport.unpack(delivery.payload)):
            self.note("link", delivery.received_at_ms, unit.id, **{"link": link, "from": before, "to": after})

    def _take_text(self, unit: Unit, delivery: DeliveredBundle) -> None:
        text = Text.unpack(delivery.payload)
        message = {
            "id": delivery.bundle,
            "text": text.text,
            "phrase": text.phrase,
            "at_ms": text.at_ms,
            "precedence": delivery.precedence,
            "read": None,
        }
        unit.messages.append(message)
        del unit.messages[:-MESSAGES_MAX]
        self.note("text", delivery.received_at_ms, unit.id, text=text.text, phrase=text.phrase)
        self._received(unit, delivery, "text", text.text or text.phrase, text.at_ms)

    def _take_read(self, unit: Unit, delivery: DeliveredBundle) -> None:
        read = Read.unpack(delivery.payload)
        for order in self.orders:
            if order.answer(unit.id, read.bundle, read.state, read.at_ms, read.by):
                self.touch("order", order.id)
                self.note("order", delivery.received_at_ms, unit.id, text=order.text, state=read.state)

    def tick(self, now_ms: int, listening_since_ms: int) -> bool:
        """Find who is late or lost by ``now_ms``; True when anything changed."""
        changed = False
        for unit in self.units.values():
            fallen = unit.grow_silent(now_ms, listening_since_ms)
            if fallen is None:
                continue
            changed = True
            self.touch("unit", unit.id)
            self.note(fallen, now_ms, unit.id)
            if fallen == "lost":
                self._raise_lost(unit, now_ms)
        return changed

    def _raise_lost(self, unit: Unit, now_ms: int) -> None:
        group = open_group(self.alarms, "lost", now_ms)
        if group is None:
            link = [unit.last_link] if unit.last_link else []
            alarm_id = f"lost-{unit.id}-{now_ms}"
            self._raise(
                Alarm(
                    id=alarm_id,
                    kind="lost",
                    units=[unit.id],
                    raised_ms=now_ms,
                    received_ms=now_ms,
                    via=link,
                    position=unit.position,
                )
            )
            return
        for alarm in [
            each for each in self.alarms if each.kind == "lost" and each.is_unconfirmed and each is not group
        ]:
            if now_ms - alarm.raised_ms <= 60_000:  # folded into the group that the page shows as one
                group.units += [each for each in alarm.units if each not in group.units]
                group.ends.update(alarm.ends)
                self.alarms.remove(alarm)
                self.touch("alarm", alarm.id)
        if unit.id not in group.units:
            group.units.append(unit.id)
        group.ends.pop(unit.id, None)
        self.touch("alarm", group.id)
