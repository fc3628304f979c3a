"""A door to an agent that lives in memory: our port, for tests of what stands behind it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.command.delivery import DeliveredBundle
from edge_agent.command.door import Found
from edge_agent.core.bundle import Precedence
from edge_agent.core.errors import RefusalReason, RefusedError
from tests.command.deliveries import START_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """One bundle that the desk gave."""

    bundle: str
    payload: bytes
    flow: str
    to: str
    precedence: Precedence
    operation: bytes = b""


@dataclass(slots=True)
class MemoryDoor:
    """Keeps what it is given; ``refuses`` names units for which it takes nothing."""

    data_dir: Path
    clock_ms: int = START_MS
    heard: dict[str, int] = field(default_factory=dict)
    fates: dict[str, Found] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    has_left: set[str] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)
    submitted: list[Submitted] = field(default_factory=list)
    recorded: list[bytes] = field(default_factory=list)
    acknowledged: int = 0
    acknowledgement: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Queue[DeliveredBundle] = field(default_factory=asyncio.Queue)
    node_id: str = "cp-1"
    name: str = "省指挥部"
    operation: str = "台风抢险"
    incarnation: str = "aa"
    level: str = ""
    hears_reports: bool = True

    def now_ms(self) -> int:
        return self.clock_ms

    def last_heard_ms(self) -> Mapping[str, int]:
        return self.heard

    async def deliveries(self) -> AsyncIterator[DeliveredBundle]:
        while True:
            yield await self.arrived.get()

    async def acknowledge(self, position: int) -> None:
        self.acknowledged = position
        self.acknowledgement.set()

    def cancel(self, bundle: str) -> bool:
        self.cancelled.append(bundle)
        return bundle not in self.has_left

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
        await asyncio.sleep(0)  # a disk takes its time: others get a turn
        if to in self.refuses:
            raise RefusedError(RefusalReason.STORE_FULL, "no room")
        bundle = f"{self.node_id}~00000000000000bb~{precedence.name[0]}{len(self.submitted) + 1}"
        self.submitted.append(
            Submitted(bundle=bundle, payload=payload, flow=flow, to=to, precedence=precedence, operation=operation)
        )
        return bundle

    async def record(self, act: bytes) -> None:
        self.recorded.append(act)

    async def fate(self, bundle: str) -> Found | None:
        return self.fates.get(bundle)
