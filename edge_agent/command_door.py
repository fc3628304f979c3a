"""What the command post's desk may ask of the agent, answered from its parts."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.client import Delivery
from edge_agent.core.bundle import BundleId, Origin, Precedence
from edge_agent.page_parts import PageParts

CONSUMER = "board"


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
        return self.parts.incarnation

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

    async def deliveries(self) -> AsyncIterator[Delivery]:
        await self.parts.deliveries.open(CONSUMER, "*", "all", None)
        async with aclosing(self.parts.deliveries.stream(CONSUMER)) as deliveries:
            async for delivery in deliveries:
                yield delivery

    async def acknowledge(self, position: int) -> None:
        await self.parts.deliveries.acknowledge(CONSUMER, position)

    async def submit(
        self, payload: bytes, *, flow: str, to: str, precedence: Precedence, lifetime_s: float | None = None
    ) -> str:
        bundle = await self.parts.sender.submit(
            payload, flow=flow, to=to, precedence=precedence, lifetime_s=lifetime_s, origin=Origin.PERSON
        )
        return str(bundle)

    async def fate(self, bundle: str) -> tuple[str, tuple[str, ...]] | None:
        found = await self.parts.disk.fate(BundleId.parse(bundle))
        return None if found is None else (found.state.value, found.via)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """When a peer was last heard, by the node's clock and by the wall's at that time."""

    at_s: float
    at_ms: int
