"""An HTTP client behind a satellite link: http.client fetches a map tile from uvicorn.

Connecting and asking cost a round trip each, 0.6 s over a geostationary satellite; a client that opens a connection for
each tile, or gives up after half a second, is found here.
"""

import asyncio
import http.client
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from examples.bad_links.worse import worse
from link_sim.assertions import assert_gap_below
from link_sim.real_time.live_links import LiveLinks

TILE = bytes(60_000)
TILES = 3
PATIENCE_S = 4.0  # of the client, for each answer
SATELLITE = "vsat"  # 0.3 s each way, 2 Mbit/s down

pytestmark = pytest.mark.slow
Message = MutableMapping[str, Any]  # Any: as ASGI has it


async def tiles(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[..., Awaitable[None]]
) -> None:
    """An ASGI application that answers every request with the tile."""
    if scope["type"] != "http":
        return
    length = (b"content-length", str(len(TILE)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": TILE})


@asynccontextmanager
async def tile_server() -> AsyncIterator[tuple[str, int]]:
    """uvicorn on a free port, as its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(tiles, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve([listening]), name="uvicorn")
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        await serving


def fetch(host: str, port: int) -> list[float]:
    """Get every tile over one connection; when each was there, in seconds from the start."""
    started_s, arrived_s = time.monotonic(), []
    client = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    for _ in range(TILES):
        client.request("GET", "/tile")
        assert client.getresponse().read() == TILE
        arrived_s.append(time.monotonic() - started_s)
    client.close()
    return arrived_s


@pytest.mark.parametrize(
    "times", [1, pytest.param(10, marks=pytest.mark.xfail(raises=TimeoutError, strict=True, reason="ten times worse"))]
)
async def test_a_tile_is_there_within_two_seconds(link: LiveLinks, times: int) -> None:
    async with tile_server() as address, link.tcp(worse(SATELLITE, times), to=address) as proxy:
        arrived_s = await asyncio.to_thread(fetch, proxy.address.host, proxy.address.port)
    assert_gap_below(arrived_s, 2.0, start_s=0.0)
    assert arrived_s[0] > 1.2, "two round trips: connect, and ask"
