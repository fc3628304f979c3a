"""Orders at a unit: acted on once however often they arrive; a cancelled or expired one never.

An order whose lifetime is surely over is shown as expired. One that may be too old (its upper age is beyond its
lifetime, also because the machine was off for nobody knows how long) is held until a person has asked. Command is told
each of these, and of a cancellation that came in time. Runs also where there is no page.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import structlog

from edge_agent.core.bundle import COMMAND, BundleId, MalformedError, Precedence
from edge_agent.core.errors import ActionError, RefusedError
from edge_agent.core.progress import Progress
from edge_agent.disk.ages import Moment
from edge_agent.disk.types import Delivery
from edge_agent.kit_memory import KitMemory, KitOrder, PageMemoryError
from edge_agent.page_parts import PageParts
from edge_agent.receipts import send_word
from edge_agent.telemetry.payloads import ORDER_FLOW, WITHDRAW_FLOW, Ask, Text

TEXT_SHOWN_MAX = 4_000
LOOK_S = 1.0  # lifetimes are minutes
TIMED_FLOWS = (ORDER_FLOW, WITHDRAW_FLOW)
"""A report that was delivered stays what it is; an order ends with its lifetime while nobody has answered it."""

log = structlog.get_logger()


class KitOrders:
    """Takes orders and what is said of them. ``drops`` counts what no order could be made of."""

    def __init__(self, parts: PageParts, memory: KitMemory, tell: Callable[[bool], None]) -> None:
        """``tell`` is called after each change, with True when a person has to look at once."""
        self._parts = parts
        self._memory = memory
        self._tell = tell
        self.drops: Counter[str] = Counter()

    async def run(self) -> None:
        """End orders whose time is over while nobody answered, for ever."""
        while True:
            try:
                await self.look()
            except (PageMemoryError, RefusedError) as error:  # there may be room again at the next look
                log.error("order_not_settled", reason=str(error))
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """End what is surely over by now, and hold for a person what may be."""
        for order in self._orders():
            if order.state not in ("delivered", "held") or not order.expires_ms:
                continue
            ago = self._parts.disk.ages.elapsed(Moment(order.boot_id, order.taken_s))
            if ago.low_s >= order.ends_after_s:
                await self._say(order, Progress.EXPIRED_THERE)  # told first: a failure leaves both to the next look
                order.is_expired = True
            elif not order.is_held and ago.high_s >= order.doubtful_after_s:
                await self._say(order, Progress.HELD)
                order.is_held = True
            else:
                continue
            await self._memory.keep(order)
            self._tell(order.flow == WITHDRAW_FLOW)

    async def _say(self, order: KitOrder, state: Progress, by: str = "", at_ms: int = 0) -> None:
        for bundle in (order.id, *order.copies):
            await send_word(
                self._parts.sender,
                BundleId.parse(bundle),
                state,
                node=self._parts.config.node_id,
                by=by,
                at_ms=at_ms,
            )

    async def take(self, stream: str, delivery: Delivery, payload: bytes) -> None:
        """One order or text. A kill or a full store in here tells command twice, and never not at all.

        Raises MalformedError, PageMemoryError, RefusedError.
        """
        record = delivery.record
        name = str(record.id)
        early = self._memory.get(KitOrder, name)
        if early is not None and early.received_ms:
            early = None  # the order itself, come again
        order = self._find(delivery)
        if order is None:
            try:
                order = self._make(delivery, payload, early)
            except MalformedError:
                await send_word(
                    self._parts.sender, record.id, Progress.REFUSED_THERE, node=self._parts.config.node_id
                )  # whoever gave it must not believe that somebody can read it
                raise
            if order.cancelled is None and order.flow in TIMED_FLOWS:
                order.is_expired = record.is_expired(self._parts.now_s())
            if order.cancelled is None and not order.is_expired:
                order.is_held = record.age_high_at(self._parts.now_s()) > record.header.lifetime_s
            await self._memory.keep(order)
            self._tell(order.is_siren)
        elif name not in (order.id, *order.copies):
            order.copies.append(name)
            if early is not None and order.may_be_cancelled:
                order.cancelled = early.cancelled
            await self._memory.keep(order)
            self._tell(order.flow == WITHDRAW_FLOW)
        if early is not None and order.id != name:
            await self._memory.forget(early)
        word = order.last_word
        if word is not None:
            await self._say(order, word, by=order.answered_by, at_ms=order.answered_ms)
        await self._memory.pass_by(stream, delivery.position)

    def _find(self, delivery: Delivery) -> KitOrder | None:
        """The order this is, or a copy of: copies share an operation."""
        known = self._known(str(delivery.record.id))
        operation = delivery.record.header.operation_id.hex()
        if known is not None or not operation:
            return known
        return next((each for each in self._orders() if each.operation == operation), None)

    def _known(self, name: str) -> KitOrder | None:
        """The order that came as this bundle, or of which it is a copy."""
        return next((each for each in self._orders() if name in (each.id, *each.copies)), None)

    def _orders(self) -> list[KitOrder]:
        """What has come; without cancellations that came first."""
        return [each for each in self._memory.all(KitOrder) if each.received_ms]

    def _make(self, delivery: Delivery, payload: bytes, early: KitOrder | None) -> KitOrder:
        record, header = delivery.record, delivery.record.header
        try:
            text = Text.unpack(payload)
        except MalformedError:
            text = _plain_text(payload, header.created_at_ms)  # "edge-agent send" sends what was typed
        now_s, taken = self._parts.now_s(), self._parts.disk.ages.moment()
        left_s = header.lifetime_s - record.age_low_at(now_s)
        return KitOrder(
            id=str(record.id),
            at_ms=delivery.told_ms(text.at_ms),
            source=record.id.source,
            text=text.text,
            phrase=text.phrase,
            by=text.by,
            precedence=record.id.precedence.name.lower(),
            received_ms=delivery.received_at_ms,
            via=list(delivery.via),
            flow=header.flow.split(".", 1)[0],
            operation=header.operation_id.hex(),
            expires_ms=self._parts.now_ms() + round(left_s * 1000) if header.flow in TIMED_FLOWS else 0,
            boot_id=taken.boot_id,
            taken_s=taken.boottime_s,
            doubtful_after_s=header.lifetime_s - record.age_high_at(now_s),
            ends_after_s=left_s,
            cancelled=early.cancelled if early is not None else None,
        )

    async def take_cancel(self, stream: str, delivery: Delivery, payload: bytes) -> None:
        """A post takes an order back, its own or another one's; or something of ours is not wanted any more."""
        ask, sender = _ask(payload, delivery), delivery.record.id.source
        bundle = BundleId.parse(ask.bundle)
        if bundle.source == sender or self._may_cancel(sender, bundle):
            await self._cancel_order(bundle, ask, bundle.source)
        elif bundle.source != self._parts.config.node_id:
            self.drops["cancel_foreign"] += 1
        elif bundle.precedence is Precedence.FLASH:
            self.drops["cancel_of_flash"] += 1  # nothing silences a call for help
        else:
            self._parts.runner.cancel(bundle)
        await self._memory.pass_by(stream, delivery.position)

    async def take_pull(self, stream: str, delivery: Delivery, payload: bytes) -> None:
        """Command wants one thing that waits here before the rest of its kind."""
        bundle = BundleId.parse(Ask.unpack(payload).bundle)
        if not self._parts.runner.promote(bundle):
            self.drops["pull_not_waiting"] += 1  # it has left by now, or was given up
        await self._memory.pass_by(stream, delivery.position)

    def _may_cancel(self, sender: str, bundle: BundleId) -> bool:
        """Whether a post takes back what another post gave: both were met, or the order of the other one is here."""
        roles = self._parts.runner.report().peer_roles
        is_order = roles.get(bundle.source) == COMMAND or self._known(str(bundle)) is not None
        return roles.get(sender) == COMMAND and is_order

    async def _cancel_order(self, bundle: BundleId, ask: Ask, source: str) -> None:
        order = self._known(str(bundle)) or self._memory.get(KitOrder, str(bundle))
        if order is None:  # it came first, by another link: the order itself is never acted on
            order = KitOrder(id=str(bundle), at_ms=ask.at_ms, source=source)
        if order.may_be_cancelled:
            order.cancelled = {"by": ask.by, "at_ms": ask.at_ms}
            await self._memory.keep(order)
            self._tell(order.flow == WITHDRAW_FLOW)
        if order.received_ms and order.cancelled is not None:
            await self._say(order, Progress.CANCELLED_THERE, by=ask.by)

    async def answer(self, order_id: str, answer: str, by: str, now_ms: int) -> None:
        """A person has read it ("read") or carried it out ("done"). Raises ActionError, RefusedError."""
        order = self._known(order_id)
        if order is None:
            raise ActionError(f"order {order_id!r}: not known here")
        if answer not in ("read", "done"):
            raise ActionError(f"answer {answer!r}: allowed: read, done")
        if order.cancelled is not None or order.is_expired:
            raise ActionError(f"order {order_id!r}: it is {order.state}, nobody may act on it")
        if order.answer in (answer, "done"):
            return
        await self._say(order, Progress(answer), by=by, at_ms=now_ms)
        order.answer, order.answered_ms, order.answered_by = answer, now_ms, by
        await self._memory.keep(order)
        self._tell(order.flow == WITHDRAW_FLOW)


def _ask(payload: bytes, delivery: Delivery) -> Ask:
    """What is asked; the time of a node whose clock was not set is put right."""
    ask = Ask.unpack(payload)
    return replace(ask, at_ms=delivery.told_ms(ask.at_ms))


def _plain_text(payload: bytes, at_ms: int) -> Text:
    """What somebody typed into a command line. Raises MalformedError when it is no text."""
    try:
        return Text(text=payload.decode().strip()[:TEXT_SHOWN_MAX], at_ms=at_ms)
    except UnicodeDecodeError as error:
        raise MalformedError("neither a Text nor UTF-8") from error
