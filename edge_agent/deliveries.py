"""Deliveries to programs: each consumer gets what it has not acknowledged, then what comes, and may stop any time."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from edge_agent.client import Delivery
from edge_agent.core.bundle import BundleId
from edge_agent.core.post_words import POST_FLOWS
from edge_agent.disk.store import Disk
from edge_agent.disk.types import DamagedError, Start, UnknownBundleError
from edge_agent.disk.types import Delivery as StoredDelivery

BATCH = 64
SHOWN_MAX_BYTES = 16 << 20
"""Of a payload on a page: a photo has 12 MB at most."""
PASSING_PREFIX = "passing."
"""Begins the names of consumers that end with their connection."""
_GLOB_SIGNS = frozenset("*?[")


class Deliveries:
    """The consumers of one node, and the news that wakes them."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._flows: dict[str, str] = {}
        self._news: dict[asyncio.Event, str] = {}
        self.shows: Callable[[StoredDelivery], bool] = lambda stored: True
        """Whether people and programs here see a delivery; another post shows what they do not."""

    def arrived(self, flow: str) -> None:
        """A bundle of ``flow`` for this node is on disk: whoever may want it looks. Of patterns only the disk knows."""
        for news, wanted in self._news.items():
            if wanted == flow or not _GLOB_SIGNS.isdisjoint(wanted):
                news.set()

    async def open(self, name: str | None, flow: str, since: str | None, after: int | None) -> str:
        """The name of a consumer that starts where it is told. Raises MalformedError for a wrong ``since``."""
        start: Start | BundleId = Start.NOW
        if since is not None:
            start = Start.ALL if since == "all" else BundleId.parse(since)
        name = name or f"{PASSING_PREFIX}{secrets.token_hex(6)}"
        await self._disk.consumer_open(name, flow, start)
        self._flows[name] = flow
        if after is not None:
            await self._disk.consumer_ack(name, after)
        return name

    async def close(self, name: str) -> None:
        """Nobody listens under this name now; one without a name of its own is forgotten."""
        self._flows.pop(name, None)
        if name.startswith(PASSING_PREFIX):
            await self._disk.consumer_close(name)
        else:
            await self._disk.consumer_detach(name)

    async def acknowledge(self, name: str, position: int) -> None:
        """Durable: everything up to ``position`` is done with."""
        await self._disk.consumer_ack(name, position)

    async def stream(self, name: str, inline_bytes: int) -> AsyncGenerator[Delivery, None]:
        """What the consumer has not acknowledged, then what comes, for ever; larger payloads are left out."""
        async with aclosing(self.stored(name)) as deliveries:
            async for stored in deliveries:
                try:
                    delivery = await self._read(stored, inline_bytes)
                except (UnknownBundleError, DamagedError):
                    continue  # given up for room, or set aside, since its row was read: the next look would not show it
                yield delivery

    async def stored(self, name: str) -> AsyncGenerator[StoredDelivery, None]:
        """The same with ages, and without the payloads that are files."""
        news = asyncio.Event()
        self._news[news] = self._flows.get(name, "*")
        after: int | None = None
        try:
            while True:
                news.clear()
                batch = await self._disk.consumer_next(name, after, BATCH)
                for stored in batch:
                    after = stored.position
                    if stored.record.header.flow in POST_FLOWS:
                        continue  # what is in them arrives under its own name
                    if self.shows(stored):
                        yield stored
                if not batch:
                    await news.wait()
        finally:
            self._news.pop(news, None)

    async def shown_payload(self, stored: StoredDelivery) -> bytes:
        """The payload for this node's own pages; empty, which none of them can show, if too large for one, or gone."""
        if stored.payload is not None:
            return stored.payload
        if stored.record.payload_bytes > SHOWN_MAX_BYTES:
            return b""
        try:
            return await self._disk.read_payload(stored.record.id)
        except (UnknownBundleError, DamagedError):
            return b""  # given up for room, or set aside, since its row was read

    async def _read(self, stored: StoredDelivery, inline_bytes: int) -> Delivery:
        payload, payload_bytes = stored.payload, stored.record.payload_bytes
        if payload_bytes > inline_bytes:
            payload = None
        elif payload is None:
            payload = await self._disk.read_payload(stored.record.id)
        bundle = stored.record.id
        return Delivery(
            position=stored.position,
            bundle=str(bundle),
            source=bundle.source,
            flow=stored.record.header.flow,
            precedence=bundle.precedence.name.lower(),
            created_at_ms=stored.created_at_ms,
            created_at_is_estimated=stored.is_restamped,
            received_at_ms=stored.received_at_ms,
            payload=payload,
            via=stored.via,
            redelivered=stored.redelivered,
            payload_bytes=payload_bytes,
            digest=stored.digest.hex(),
        )
