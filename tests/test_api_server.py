"""The local API under a store that fails and under defects: what one program meets costs nobody else an answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge_agent import api_listener
from edge_agent.agent import guard_connection
from edge_agent.api import ApiServer
from edge_agent.api_messages import Message
from edge_agent.client import AgentAbsentError, AgentRefusedError, BundleState, Client, Delivery
from edge_agent.core.bundle import BundleId
from edge_agent.disk.types import StoreError

BUNDLE = "kit-1~00000000000000aa~R1"


@dataclass
class _Failing(AsyncIterator[Delivery]):
    error: Exception

    async def __anext__(self) -> Delivery:
        raise self.error


@dataclass
class Door:
    """Stands where the agent stands; ``error`` is what its store, or a defect in it, raises."""

    error: Exception
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def state(self, bundle: BundleId) -> BundleState:
        raise self.error

    async def open_consumer(self, name: str | None, flow: str, since: str | None, after: int | None) -> str:
        return name or "passing"

    def deliveries(self, consumer: str, inline_bytes: int) -> AsyncIterator[Delivery]:
        return _Failing(self.error)

    async def close_consumer(self, consumer: str) -> None:
        self.closed.set()

    def status(self) -> Message:
        return {"node": "kit-1"}


@asynccontextmanager
async def _serving(folder: Path, door: Door) -> AsyncIterator[Client]:
    """A program that was connected before any other."""
    server = ApiServer(door, folder / "api.sock", guard_connection)  # type: ignore[arg-type]  # as much as is asked here
    task = asyncio.create_task(server.run())
    await server.tried.wait()
    try:
        async with Client(folder / "api.sock") as client:
            assert await client.status() == {"node": "kit-1"}
            yield client
            assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _one_delivery(client: Client) -> None:
    async for _ in client.listen(consumer="outlet"):
        pass


async def _one_state(client: Client) -> Any:  # Any: nobody looks
    return await client.state(BUNDLE)


@pytest.mark.parametrize("error", [StoreError("disk I/O error"), KeyError("a defect")])
@pytest.mark.parametrize("ask", [_one_delivery, _one_state])
async def test_what_one_program_meets_costs_no_other_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Client], Awaitable[object]], error: Exception
) -> None:
    monkeypatch.setattr(api_listener, "RETRY_S", 0.0)
    door = Door(error)
    async with _serving(tmp_path, door) as other:
        async with Client(tmp_path / "api.sock") as client:
            asking = asyncio.ensure_future(ask(client))
            if ask is _one_state:
                with pytest.raises((AgentAbsentError, AgentRefusedError)):
                    await asking
            else:
                await door.closed.wait()
                asking.cancel()
        assert await other.status() == {"node": "kit-1"}


async def test_a_store_that_fails_is_named_to_who_asks(tmp_path: Path) -> None:
    async with _serving(tmp_path, Door(StoreError("disk I/O error"))) as client:
        with pytest.raises(AgentRefusedError, match="disk I/O error") as refused:
            await client.state(BUNDLE)
        assert refused.value.reason == "store_failed"
