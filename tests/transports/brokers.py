"""Real MQTT brokers on loopback: nats-server and mosquitto."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests import components
from tests.transports.harness import PATIENCE_S, free_port

BROKERS = ("nats", "mosquitto")


@asynccontextmanager
async def broker(kind: str, folder: Path, *, port: int | None = None, extra: str = "") -> AsyncIterator[int]:
    """A broker that is ready, as its TCP port; ``extra`` is added to its configuration."""
    port = port or free_port(socket.SOCK_STREAM)
    config = folder / f"{kind}.conf"
    if kind == "nats":
        program, ready = components.require("nats-server"), b"Server is ready"
        config.write_text(
            f'server_name = "test"\nhost = "127.0.0.1"\nport = {free_port(socket.SOCK_STREAM)}\n'
            f'jetstream {{ store_dir = "{folder}" }}\nmqtt {{ host = "127.0.0.1", port = {port} }}\n{extra}'
        )
    else:
        program, ready = components.require("mosquitto"), b" running"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n{extra}")
    process = await asyncio.create_subprocess_exec(
        program, "-c", config, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        await _until_ready(process, ready)
        yield port
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _until_ready(process: asyncio.subprocess.Process, ready: bytes) -> None:
    assert process.stderr is not None
    said = b""
    async with asyncio.timeout(PATIENCE_S):
        while line := await process.stderr.readline():
            said += line
            if ready in line:
                return
    raise AssertionError(f"the broker ended: {said.decode()}")
