"""Two nodes and what runs at them, for the tests of virtual endpoints."""

import asyncio

from link_sim.link.link_profile import LinkProfile
from link_sim.profiles import PathProfile
from link_sim.virtual.changes import Schedule
from link_sim.virtual.endpoints.segment import StreamSettings
from link_sim.virtual.net import Net


def two_nodes(
    profile: LinkProfile | PathProfile | str = "clean",
    *,
    seed: int = 7,
    at: Schedule = (),
    streams: StreamSettings | None = None,
) -> Net:
    """kit and command with one link, named ``link``."""
    net = Net(seed, streams=streams)
    net.link("kit", "command", profile, name="link", at=at)
    return net


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, until its end."""
    while part := await reader.read(4096):
        writer.write(part)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


class Heard(asyncio.DatagramProtocol):
    """Keeps datagrams with the nanosecond they came at."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.came: list[tuple[int, bytes, tuple[str, int]]] = []
        self.errors: list[Exception] = []
        self.transport: asyncio.DatagramTransport | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.came.append((self.net.loop.now_ns, data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
