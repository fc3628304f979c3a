"""What command says to a kit's page: orders, who confirmed or closed the SOS, what was read.

Each flow has a durable consumer of its own, so that only what this page shows counts as delivered; a delivery is
acknowledged after what it brings is on disk.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

import structlog

from edge_agent.core.bundle import BundleId, MalformedError
from edge_agent.core.errors import ActionError, RefusedError
from edge_agent.core.progress import Progress
from edge_agent.disk.types import Delivery, StateUpdate, StoreError
from edge_agent.kit_memory import KitMemory, PageMemoryError, SosRecord
from edge_agent.kit_orders import KitOrders
from edge_agent.page_parts import PageParts
from edge_agent.telemetry.payloads import (
    CANCEL_FLOW,
    ORDER_FLOW,
    PROFILE_FLOW,
    PULL_FLOW,
    SOS_CLOSE_FLOW,
    SOS_CONFIRM_FLOW,
    TEXT_FLOW,
    WITHDRAW_FLOW,
    ProfileAsk,
    SosUpdate,
)

RETRY_S = 2.0

log = structlog.get_logger()


class KitMail:
    """Takes deliveries for the page. ``drops`` counts what no page could show."""

    def __init__(self, parts: PageParts, memory: KitMemory, orders: KitOrders, tell: Callable[[bool], None]) -> None:
        """``tell`` is called after each change, with True when it is about an SOS."""
        self._parts = parts
        self._orders = orders
        self._memory = memory
        self._tell = tell
        self.drops: Counter[str] = Counter()

    async def run(self) -> None:
        """Take deliveries for ever."""
        takers: dict[str, Callable[[str, Delivery, bytes], Awaitable[None]]] = {
            ORDER_FLOW: self._orders.take,
            WITHDRAW_FLOW: self._orders.take,
            CANCEL_FLOW: self._orders.take_cancel,
            PULL_FLOW: self._orders.take_pull,
            PROFILE_FLOW: self._take_profile,
            SOS_CONFIRM_FLOW: self._take_confirmation,
            SOS_CLOSE_FLOW: self._take_closing,
        }
        if self._parts.is_shown:
            takers[TEXT_FLOW] = self._orders.take  # without a page a program may listen for it
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
        payload = await self._parts.deliveries.shown_payload(delivery)
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

    async def _take_profile(self, stream: str, delivery: Delivery, payload: bytes) -> None:
        ask = ProfileAsk.unpack(payload)
        try:
            await self._parts.terms.set_profile(ask.profile)
        except ActionError as error:
            raise MalformedError(str(error)) from error
        except StoreError as error:
            raise PageMemoryError(str(error)) from error
        log.info("profile_asked", profile=ask.profile, by=ask.by, source=delivery.record.id.source)
        await self._memory.pass_by(stream, delivery.position)

    async def _take_confirmation(self, stream: str, delivery: Delivery, payload: bytes) -> None:
        update = _told(payload, delivery)
        record = await self._sos(update)
        if record.confirmed is None:
            record.confirmed = {"by": update.by, "at_ms": update.at_ms, "reason": update.reason}
        await self._note(update, Progress.READ)
        await self._memory.keep(record, stream=stream, position=delivery.position)
        self._tell(True)

    async def _take_closing(self, stream: str, delivery: Delivery, payload: bytes) -> None:
        update = _told(payload, delivery)
        record = await self._sos(update)
        record.closed = {"by": update.by, "at_ms": update.at_ms, "reason": update.reason}
        await self._note(update, Progress.DONE)
        await self._memory.keep(record, stream=stream, position=delivery.position)
        self._tell(True)

    async def _note(self, update: SosUpdate, state: Progress) -> None:
        """The call itself is read, or done: a person at command has said so."""
        news = StateUpdate(bundle=BundleId.parse(update.sos), state=state, at_ms=update.at_ms, detail=update.by)
        await self._parts.disk.set_states([news])

    async def _sos(self, update: SosUpdate) -> SosRecord:
        """The SOS an update speaks of. Raises MalformedError when this kit knows of none."""
        known = self._memory.get(SosRecord, update.sos)
        if known is not None:
            return known
        bundle = BundleId.parse(update.sos)
        fate = await self._parts.disk.fate(bundle)
        if fate is None or bundle.source != self._parts.config.node_id:
            raise MalformedError(f"sos: {update.sos} is none of this kit's")
        return SosRecord(id=update.sos, at_ms=fate.created_ms)


def _told(payload: bytes, delivery: Delivery) -> SosUpdate:
    """What command says of a call; the time of a post whose clock was not set is put right."""
    update = SosUpdate.unpack(payload)
    return replace(update, at_ms=delivery.told_ms(update.at_ms))
