"""What command says to a kit's page: orders, who confirmed or closed the SOS, what was read.

Each flow has a durable consumer of its own, so that only what this page shows counts as delivered; a delivery is
acknowledged after what it brings is on disk.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing

import structlog

from edge_agent.core.bundle import BundleId, MalformedError
from edge_agent.core.errors import RefusedError
from edge_agent.disk.types import Delivery, FateState, StateUpdate
from edge_agent.kit_memory import KitMemory, KitOrder, PageMemoryError, SosRecord
from edge_agent.page_parts import PageParts
from edge_agent.telemetry.payloads import (
    ORDER_FLOW,
    READ_FLOW,
    SOS_CLOSE_FLOW,
    SOS_CONFIRM_FLOW,
    TEXT_FLOW,
    Read,
    SosUpdate,
    Text,
)

RETRY_S = 2.0
TEXT_SHOWN_MAX = 4_000

log = structlog.get_logger()


class KitMail:
    """Takes deliveries for the page. ``drops`` counts what no page could show."""

    def __init__(self, parts: PageParts, memory: KitMemory, tell: Callable[[bool], None]) -> None:
        """``tell`` is called after each change, with True when it is about an SOS."""
        self._parts = parts
        self._memory = memory
        self._tell = tell
        self.drops: Counter[str] = Counter()

    async def run(self) -> None:
        """Take deliveries for ever."""
        takers: Mapping[str, Callable[[str, Delivery, bytes], Awaitable[None]]] = {
            ORDER_FLOW: self._take_order,
            TEXT_FLOW: self._take_order,
            SOS_CONFIRM_FLOW: self._take_confirmation,
            SOS_CLOSE_FLOW: self._take_closing,
            READ_FLOW: self._take_read,
        }
        async with asyncio.TaskGroup() as group:
            for flow, take in takers.items():
                group.create_task(self._consume(flow, take), name=f"page:{flow}")

    async def _consume(self, flow: str, take: Callable[[str, Delivery, bytes], Awaitable[None]]) -> None:
        consumer = f"page.kit.{flow}"
        stream = f"{self._parts.incarnation}/{flow}"
        applied = self._memory.applied_position(stream)
        await self._parts.deliveries.open(consumer, flow, "all", None)
        async with aclosing(self._parts.deliveries.stored(consumer)) as deliveries:
            async for delivery in deliveries:
                if delivery.position > applied:
                    await self._apply(stream, delivery, take)
                await self._parts.deliveries.acknowledge(consumer, delivery.position)

    async def _apply(
        self, stream: str, delivery: Delivery, take: Callable[[str, Delivery, bytes], Awaitable[None]]
    ) -> None:
        payload = delivery.payload
        if payload is None:
            payload = await self._parts.disk.read_payload(delivery.record.id)
        while True:
            try:
                await take(stream, delivery, payload)
                return
            except MalformedError as error:
                self.drops[f"payload_{delivery.record.header.flow}"] += 1
                log.warning("payload_malformed", bundle=str(delivery.record.id), reason=str(error))
                return
            except (PageMemoryError, RefusedError) as error:  # not kept, so not acknowledged; there may be room again
                log.error("page_memory_failed", bundle=str(delivery.record.id), reason=str(error), retry_s=RETRY_S)
                await asyncio.sleep(RETRY_S)

    async def _take_order(self, stream: str, delivery: Delivery, payload: bytes) -> None:
        record = delivery.record
        order = self._memory.get(KitOrder, str(record.id))
        if order is None:
            try:
                text = Text.unpack(payload)
            except MalformedError:
                text = _plain_text(payload, record.header.created_at_ms)  # "edge-agent send" sends what was typed
            order = KitOrder(
                id=str(record.id),
                at_ms=text.at_ms,
                source=record.id.source,
                text=text.text,
                phrase=text.phrase,
                by=text.by,
                precedence=record.id.precedence.name.lower(),
                received_ms=delivery.received_at_ms,
                via=list(delivery.via),
                is_held=record.age_high_at(self._parts.now_s()) > record.header.lifetime_s,
            )
            await self._memory.keep(order)
            self._tell(False)
        if (
            order.is_held
        ):  # shown already; a kill or a full store from here on tells command twice, and never not at all
            held = Read(bundle=order.id, at_ms=self._parts.now_ms(), state="held")
            await self._parts.sender.submit(held.pack(), flow=READ_FLOW, to=order.source)
        await self._memory.pass_by(stream, delivery.position)

    async def _take_confirmation(self, stream: str, delivery: Delivery, payload: bytes) -> None:
        update = SosUpdate.unpack(payload)
        record = await self._sos(update)
        if record.confirmed is None:
            record.confirmed = {"by": update.by, "at_ms": update.at_ms, "reason": update.reason}
        await self._memory.keep(record, stream=stream, position=delivery.position)
        self._tell(True)

    async def _take_closing(self, stream: str, delivery: Delivery, payload: bytes) -> None:
        update = SosUpdate.unpack(payload)
        record = await self._sos(update)
        record.closed = {"by": update.by, "at_ms": update.at_ms, "reason": update.reason}
        await self._memory.keep(record, stream=stream, position=delivery.position)
        self._tell(True)

    async def _sos(self, update: SosUpdate) -> SosRecord:
        """The SOS an update speaks of. Raises MalformedError when this kit knows of none."""
        known = self._memory.get(SosRecord, update.sos)
        if known is not None:
            return known
        bundle = BundleId.parse(update.sos)
        fate = await self._parts.disk.fate(bundle)
        if fate is None or bundle.source != self._parts.config.node_id:
            raise MalformedError(f"sos: {update.sos} is none of this kit's")
        return SosRecord(id=update.sos, at_ms=fate.header.created_at_ms)

    async def _take_read(self, stream: str, delivery: Delivery, payload: bytes) -> None:
        read = Read.unpack(payload)
        state = {"read": FateState.READ, "done": FateState.DONE}.get(read.state)
        if state is not None:
            update = StateUpdate(bundle=BundleId.parse(read.bundle), state=state, at_ms=read.at_ms, detail=read.by)
            await self._parts.disk.set_states([update])
        await self._memory.pass_by(stream, delivery.position)
        self._tell(False)


def _plain_text(payload: bytes, at_ms: int) -> Text:
    """What somebody typed into a command line. Raises MalformedError when it is no text."""
    try:
        return Text(text=payload.decode().strip()[:TEXT_SHOWN_MAX], at_ms=at_ms)
    except UnicodeDecodeError as error:
        raise MalformedError("neither a Text nor UTF-8") from error
