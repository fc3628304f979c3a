"""The field's picture at the command post: units, alarms, orders and events, folded from what is delivered.

Sans-IO: times come in, changed documents go out (``take_changes``). A delivery applied twice is kept out by its
position in the delivery order, which is stored with its effect.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_agent.command.acts import take_act, take_early
from edge_agent.command.alarm import Alarm, Json, admit_alike
from edge_agent.command.calls import take_sos, take_update, take_withdrawal
from edge_agent.command.delivery import DeliveredBundle
from edge_agent.command.documents import Document, DocumentKey
from edge_agent.command.limits import ReadingLimit
from edge_agent.command.order import Order, page_word
from edge_agent.command.thresholds import judge
from edge_agent.command.unit import MESSAGES_MAX, Unit
from edge_agent.core.bundle import BundleId, MalformedError, Origin
from edge_agent.core.post_words import ACT_FLOW
from edge_agent.core.progress import PERSON_ONLY
from edge_agent.telemetry.payloads import (
    CANCEL_FLOW,
    PICTURE_FLOW,
    POSITION_FLOW,
    READ_FLOW,
    READING_FLOW,
    REPORT_FLOW,
    SOS_CLOSE_FLOW,
    SOS_CONFIRM_FLOW,
    SOS_FLOW,
    SOS_WITHDRAW_FLOW,
    TEXT_FLOW,
    Ask,
    Picture,
    ReadingBatch,
    Text,
    UnitReport,
)
from edge_agent.telemetry.receipts import Receipt, read_receipts

EVENTS_MAX = 200
ORDERS_MAX = 100
PICTURES_MAX = 60
UNITS_MAX = 1000
EARLY_CANCELS_MAX = 64
"""Reports taken back before they came, by another link, or never to come: the oldest are forgotten."""
HEARD_WRITTEN_MS = 10_000
"""How often frames that changed nothing else are written down; lost contact is minutes."""


@dataclass(slots=True)
class Board:
    """Everything the command page shows. ``drops`` counts payloads that no page could show.

    A reading beyond one of ``limits`` is an alarm. ``posts`` are the other command nodes, which are no units; with
    ``fellows`` it shares what people do: ``outbox`` is what they are not told yet, ``early_acts`` what they did with
    something that has yet to come.
    ``early_withdrawals``: when (UTC ms) each SOS that has yet to come was withdrawn; ``early_cancels``: likewise of
    reports. ``revisions`` rises with what is to be drawn again: (kind, unit for "unit" and "readings", else "").
    """

    limits: Sequence[ReadingLimit] = ()
    node_id: str = ""
    posts: Collection[str] = ()
    fellows: Collection[str] = ()
    units: dict[str, Unit] = field(default_factory=dict)
    alarms: list[Alarm] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    pictures: list[Json] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)
    duty: Json | None = None
    drops: Counter[str] = field(default_factory=Counter)
    early_withdrawals: dict[str, int] = field(default_factory=dict)
    early_cancels: dict[str, int] = field(default_factory=dict)
    outbox: list[bytes] = field(default_factory=list)
    early_acts: list[list[Any]] = field(default_factory=list)  # Any: packed act, post, two times
    revisions: Counter[tuple[str, str]] = field(default_factory=Counter)
    _next_event: int = 1
    _heard_written_ms: int = 0
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
                self.early_withdrawals = dict(content.get("early_withdrawals", {}))
                self.early_cancels = dict(content.get("early_cancels", {}))
                self.outbox, self.early_acts = list(content.get("outbox", ())), list(content.get("early_acts", ()))
        heard = documents.get(_HEARD, {})
        for unit in self.units.values():
            unit.last_heard_ms = max(unit.last_heard_ms, heard.get(unit.id, 0))
        self.alarms.sort(key=lambda alarm: alarm.raised_ms)
        self.orders.sort(key=lambda order: order.at_ms)

    def take_changes(self) -> dict[DocumentKey, Document | None]:
        """Documents that changed since the last call; None: gone. They are the board's own: pack them at once."""
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
                    "early_withdrawals": self.early_withdrawals,
                    "early_cancels": self.early_cancels,
                    "outbox": self.outbox,
                    "early_acts": self.early_acts,
                }
            elif key == _HEARD:
                changes[key] = {unit.id: unit.last_heard_ms for unit in self.units.values()}
            else:
                kept = sources[key.kind].get(key.name)
                changes[key] = kept.to_document() if kept is not None else None
        self._changed.clear()
        return changes

    def touch(self, kind: str, name: str) -> None:
        """This document has to be written, and drawn again."""
        self._changed.add(DocumentKey(kind, name))
        self.revisions[kind, name if kind == "unit" else ""] += 1

    def put_back(self, changes: Iterable[DocumentKey]) -> None:
        """These changes, once taken, could not be written."""
        self._changed.update(changes)

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
                oldest = min(self.units.values(), key=lambda each: each.last_heard_ms)
                del self.units[oldest.id]
                self.touch("unit", oldest.id)
                for kind in ("unit", "readings"):
                    del self.revisions[kind, oldest.id]
            unit = self.units[unit_id] = Unit(id=unit_id, last_heard_ms=now_ms)
            self.note("joined", now_ms, unit_id)
        self.touch("unit", unit_id)
        return unit

    def add_order(self, order: Order) -> None:
        """Command has given an order, here or at another post; its bundles are on disk."""
        self.orders.append(order)
        self.orders.sort(key=lambda each: each.at_ms)
        self.touch("order", order.id)
        for old in self.orders[:-ORDERS_MAX]:
            self.touch("order", old.id)
        del self.orders[:-ORDERS_MAX]
        where = {"where": order.where} if order.where else {}
        for unit in order.bundles:
            self.note("order", order.at_ms, unit, text=order.text, state="accepted", **where)

    def heard(self, unit_id: str, at_ms: int) -> None:
        """Something authentic of this unit arrived at ``at_ms``, whatever it was."""
        unit = self.units.get(unit_id) or self.unit(unit_id, at_ms)
        before = unit.state
        if unit.hear(at_ms):
            self.note("back", at_ms, unit_id)
            for alarm in self.alarms:
                if alarm.kind == "lost" and alarm.is_open and unit_id in alarm.units:
                    alarm.clear_unit(unit_id, at_ms)
                    self.touch("alarm", alarm.id)
        if unit.state != before:
            self.touch("unit", unit_id)
        elif abs(at_ms - self._heard_written_ms) >= HEARD_WRITTEN_MS:
            self._heard_written_ms = at_ms
            self.touch(_HEARD.kind, _HEARD.name)

    def apply(self, delivery: DeliveredBundle) -> None:
        """Fold one delivery in. What no page could show is counted and otherwise ignored."""
        if delivery.source in self.posts or delivery.flow == ACT_FLOW:
            self._apply_post(delivery)
            return
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
            CANCEL_FLOW: self._take_cancel,
            TEXT_FLOW: self._take_text,
        }
        taker = takers.get(flow) or takers.get(flow.split(".", 1)[0])
        if taker is None or flow in _POST_UPDATES:  # these go the other way
            return
        try:
            taker(unit, delivery)
        except MalformedError:
            self.drops[f"payload_{flow}"] += 1

    def _apply_post(self, delivery: DeliveredBundle) -> None:
        """What another command post passes on, or did; it is no unit, and its silence is no lost contact."""
        try:
            if delivery.flow == ACT_FLOW:
                take_act(self, delivery)
            elif delivery.flow == SOS_FLOW:
                take_sos(self, delivery)
            elif delivery.flow in _POST_UPDATES:
                take_update(self, delivery)
        except MalformedError:
            self.drops[f"payload_{delivery.flow}"] += 1

    def name_of(self, unit_id: str) -> str:
        """What people call a unit; its id until it has said."""
        unit = self.units.get(unit_id)
        return unit.name if unit is not None and unit.name else unit_id

    def alarm(self, name: str) -> Alarm | None:
        """The alarm of that id; None when there is none (any more)."""
        return next((alarm for alarm in self.alarms if alarm.id == name), None)

    def received(self, unit: Unit, delivery: DeliveredBundle, what: str, text: str, captured_ms: list[int]) -> None:
        """A bundle told something of these moments."""
        arrived_ms = delivery.received_at_ms
        is_urgent = delivery.precedence in ("flash", "immediate")
        past_ms = [min(each, arrived_ms) for each in captured_ms]
        unit.note_arrival(what=what, text=text, captured_ms=past_ms, arrived_ms=arrived_ms, is_urgent=is_urgent)

    def _take_sos(self, unit: Unit, delivery: DeliveredBundle) -> None:
        take_sos(self, delivery)

    def _take_withdrawal(self, unit: Unit, delivery: DeliveredBundle) -> None:
        take_withdrawal(self, unit.id, delivery)

    def _touch_alarms(self, names: list[str]) -> None:
        for name in names:
            self.touch("alarm", name)

    def _take_position(self, unit: Unit, delivery: DeliveredBundle) -> None:
        position = delivery.read_position(delivery.payload)
        unit.take_position(position, delivery.received_at_ms)
        self.received(unit, delivery, "position", "", [position.captured_at_ms])

    def _take_readings(self, unit: Unit, delivery: DeliveredBundle) -> None:
        batch, received_ms = ReadingBatch.unpack(delivery.payload), delivery.received_at_ms
        if not batch.rows:
            return
        said = [[*row[:4], delivery.said_ms(row[4])] for row in batch.rows]
        newest_ms = max(row[4] for row in said)
        ahead_ms = newest_ms - delivery.moment_ms(newest_ms)  # the unit's clock, and the plot's shape
        rows = [[*row[:4], row[4] - ahead_ms] for row in said]
        for row in sorted(rows, key=lambda row: int(row[4])):
            if unit.take_reading(row, received_ms):
                verdict = judge(self.alarms, self.limits, unit, row[0], received_ms)
                self._touch_alarms(verdict.touched)
                if verdict.raised:
                    self.note("alarm", received_ms, unit.id, text=verdict.raised)
        self.revisions["readings", unit.id] += 1
        series, value, unit_text, _, _ = max(rows, key=lambda row: int(row[4]))
        text = f"{series} {value:g} {unit_text}" if value is not None else series
        self.received(unit, delivery, "reading", text, [row[4] for row in rows])

    def _take_picture(self, unit: Unit, delivery: DeliveredBundle) -> None:
        picture = Picture.unpack(delivery.payload)
        same = [each for each in self.pictures if picture.full_id and _same_picture(each, unit, picture)]
        self.received(unit, delivery, "picture", picture.caption, [delivery.said_ms(picture.captured_at_ms)])
        if picture.is_small and any(not each["is_small"] for each in same):
            return  # the full one came first, by a faster link
        self.pictures = [each for each in self.pictures if each not in same or not each["is_small"]]
        self.pictures.append(
            {
                "id": delivery.bundle,
                "unit": unit.id,
                "captured_ms": delivery.moment_ms(picture.captured_at_ms),
                "received_ms": delivery.received_at_ms,
                "is_small": picture.is_small,
                "caption": picture.caption or picture.camera,
                "mime": picture.mime,
                "full_id": picture.full_id,
            }
        )
        del self.pictures[:-PICTURES_MAX]
        self.note("picture", delivery.received_at_ms, unit.id, size="small" if picture.is_small else "full")

    def _take_report(self, unit: Unit, delivery: DeliveredBundle) -> None:
        report = UnitReport.unpack(delivery.payload)
        for link, before, after in unit.take_report(report, delivery.bundle, delivery.received_at_ms):
            self.note("link", delivery.received_at_ms, unit.id, **{"link": link, "from": before, "to": after})

    def _take_text(self, unit: Unit, delivery: DeliveredBundle) -> None:
        text = Text.unpack(delivery.payload)
        message = {
            "id": delivery.bundle,
            "text": text.text,
            "phrase": text.phrase,
            "at_ms": delivery.moment_ms(text.at_ms),
            "is_estimated": delivery.is_estimated(text.at_ms),
            "precedence": delivery.precedence,
            "read": None,
            "cancelled_ms": self.early_cancels.pop(delivery.bundle, None),
        }
        if text.position is not None:
            unit.take_position(delivery.read_position(text.position), delivery.received_at_ms)
        unit.messages.append(message)
        del unit.messages[:-MESSAGES_MAX]
        take_early(self, delivery.bundle)
        self.note("text", delivery.received_at_ms, unit.id, text=text.text, phrase=text.phrase)
        self.received(unit, delivery, "text", text.text or text.phrase, [delivery.said_ms(text.at_ms)])

    def _take_read(self, unit: Unit, delivery: DeliveredBundle) -> None:
        for receipt in read_receipts(
            delivery.payload, reader=self.node_id, writer=delivery.source, at_ms=delivery.received_at_ms
        ):
            if receipt.state in PERSON_ONLY and delivery.origin is not Origin.PERSON:
                self.drops["receipt_of_no_person"] += 1
                continue
            for bundle in receipt.bundles():
                self._answered(unit, str(bundle), receipt, delivery.received_at_ms)

    def _answered(self, unit: Unit, bundle: str, receipt: Receipt, received_ms: int) -> None:
        for order in self.orders:
            if order.answer(unit.id, bundle, receipt.state, receipt.at_ms, receipt.by):
                self.touch("order", order.id)
                self.note("order", received_ms, unit.id, text=order.text, state=page_word(receipt.state))

    def _take_cancel(self, unit: Unit, delivery: DeliveredBundle) -> None:
        """The unit takes back a report that is here already: it stays, marked."""
        ask = Ask.unpack(delivery.payload)
        if BundleId.parse(ask.bundle).source != unit.id:
            return  # only who wrote it may take it back
        at_ms = delivery.moment_ms(ask.at_ms)
        known = next((message for message in unit.messages if message["id"] == ask.bundle), None)
        if known is None:
            self.early_cancels[ask.bundle] = at_ms
            if len(self.early_cancels) > EARLY_CANCELS_MAX:
                del self.early_cancels[next(iter(self.early_cancels))]
            self.touch("lists", "all")
        elif known.get("cancelled_ms") is None:
            known["cancelled_ms"] = at_ms
            self.note("text_cancelled", delivery.received_at_ms, unit.id, text=known["text"])

    def tick(self, now_ms: int, listening_since_ms: int) -> bool:
        """Find who is late or lost by ``now_ms``; True when anything changed."""
        changed = False
        for unit in self.units.values():
            unit.mind_clock(now_ms)
            has_settled, fallen = unit.settle(now_ms), unit.grow_silent(now_ms, listening_since_ms)
            if fallen is None and not has_settled:
                continue
            changed = True
            self.touch("unit", unit.id)
            if fallen is not None:
                self.note(fallen, now_ms, unit.id)
            if fallen == "lost":
                alarm = Alarm(
                    id=f"lost-{unit.id}-{now_ms}",
                    kind="lost",
                    units=[unit.id],
                    raised_ms=now_ms,
                    received_ms=now_ms,
                    via=[unit.last_link] if unit.last_link else [],
                    position=unit.position,
                )
                self._touch_alarms(admit_alike(self.alarms, alarm))
        return changed


_POST_UPDATES = (SOS_CONFIRM_FLOW, SOS_CLOSE_FLOW)
_HEARD = DocumentKey("heard", "all")
"""When each unit was last heard, apart from the units: frames alone come often and change nothing else."""


def _same_picture(known: Json, unit: Unit, picture: Picture) -> bool:
    return bool(known["unit"] == unit.id and known["full_id"] == picture.full_id)
