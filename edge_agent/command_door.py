"""What the command post's desk may ask of the agent, answered from its parts."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.command.delivery import DeliveredBundle
from edge_agent.command.door import Found
from edge_agent.core.bundle import BundleId, Origin, Precedence
from edge_agent.disk.types import Delivery
from edge_agent.page_parts import PageParts
from edge_agent.telemetry.payloads import READ_FLOW

PAGE_CONSUMER, ORDERS_CONSUMER = "board", "board.orders"
"""The consumer of a page, which shows everything, and of a node without one, which follows its orders."""


@dataclass(slots=True)
class AgentCommandDoor:
    """Implements ``command.desk.CommandDoor``."""

    parts: PageParts
    _heard: dict[str, "_Heard"] = field(default_factory=dict)

    @property
    def node_id(self) -> str:
        return self.parts.config.node_id

    @property
    def name(self) -> str:
        return self.parts.config.name

    @property
    def operation(self) -> str:
        return self.parts.config.operation

    @property
    def incarnation(self) -> str:
        return self.parts.incarnation if self.parts.is_shown else f"{self.parts.incarnation}/orders"

    @property
    def _consumer(self) -> str:
        return PAGE_CONSUMER if self.parts.is_shown else ORDERS_CONSUMER

    @property
    def _flow(self) -> str:
        return "*" if self.parts.is_shown else READ_FLOW

    @property
    def level(self) -> str:
        return self.parts.level

    @property
    def hears_reports(self) -> bool:
        return self.parts.is_shown

    @property
    def data_dir(self) -> Path:
        return self.parts.config.data_dir

    def now_ms(self) -> int:
        return self.parts.now_ms()

    def last_heard_ms(self) -> Mapping[str, int]:
        """The same instant has the same time at each call: a jitter of 1 ms would look like news of a silent unit."""
        offset_s = self.parts.now_ms() / 1000 - self.parts.now_s()
        for peer, at_s in self.parts.runner.report().last_heard_s.items():
            known = self._heard.get(peer)
            if known is None or known.at_s != at_s:
                self._heard[peer] = _Heard(at_s=at_s, at_ms=round((at_s + offset_s) * 1000))
        return {peer: heard.at_ms for peer, heard in self._heard.items()}

    async def deliveries(self) -> AsyncIterator[DeliveredBundle]:
        deliveries = self.parts.deliveries
        await deliveries.open(self._consumer, self._flow, "all", None)
        async with aclosing(deliveries.stored(self._consumer)) as stored:
            async for each in stored:
                yield await self._delivered(each)

    async def _delivered(self, stored: Delivery) -> DeliveredBundle:
        record = stored.record
        return DeliveredBundle(
            position=stored.position,
            bundle=str(record.id),
            source=record.id.source,
            flow=record.header.flow,
            precedence=record.id.precedence.name.lower(),
            created_at_ms=stored.created_at_ms,
            restamp_ms=stored.restamp_ms,
            received_at_ms=stored.received_at_ms,
            payload=await self.parts.deliveries.shown_payload(stored),
            via=stored.via,
            origin=record.header.origin,
        )

    async def acknowledge(self, position: int) -> None:
        await self.parts.deliveries.acknowledge(self._consumer, position)

    def cancel(self, bundle: str) -> bool:
        return self.parts.runner.cancel(BundleId.parse(bundle))

    async def submit(
        self,
        payload: bytes,
        *,
        flow: str,
        to: str,
        precedence: Precedence,
        lifetime_s: float | None = None,
        operation: bytes = b"",
    ) -> str:
        bundle = await self.parts.sender.submit(
            payload,
            flow=flow,
            to=to,
            precedence=precedence,
            lifetime_s=lifetime_s,
            origin=Origin.PERSON,
            operation_id=operation,
        )
        return str(bundle)

    async def record(self, act: bytes) -> None:
        await self.parts.acts.record(act, self.now_ms())

    async def fate(self, bundle: str) -> Found | None:
        found = await self.parts.disk.fate(BundleId.parse(bundle))
        return None if found is None else Found(found.state, found.via)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """When a peer was last heard, by the node's clock and by the wall's at that time."""

    at_s: float
    at_ms: int
