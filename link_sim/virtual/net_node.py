"""Net nodes: places that ordinary asyncio code runs at, with ports and links of their own."""

import asyncio
import contextvars
import errno
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from link_sim.link.streams import stream
from link_sim.virtual.endpoints.datagram import DatagramPort
from link_sim.virtual.endpoints.link_end import LinkEnd, Ports, unreachable
from link_sim.virtual.endpoints.listener import Listener
from link_sim.virtual.endpoints.segment import StreamSettings
from link_sim.virtual.endpoints.serial import SerialPort
from link_sim.virtual.endpoints.stream import StreamTransport
from link_sim.virtual.loop import VirtualLoop

LOOPBACK = frozenset(("", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::"))
STREAM_LIMIT_BYTES = 65_536  # asyncio's own default for readers
Result = TypeVar("Result")
ClientCallback = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]


class Surroundings(Protocol):
    """What a node needs of its net."""

    seed: int
    streams: StreamSettings

    @property
    def loop(self) -> VirtualLoop:
        """The loop it runs in."""


class NetNode:
    """A place with a name. Code runs at it inside ``with node.here()`` or as a task of ``node.create_task``.

    Hosts are names of nodes: ``command``, ``command@lte`` over the link of that name, ``localhost`` for
    the node itself.
    """

    def __init__(self, name: str, net: Surroundings) -> None:
        self.name = name
        self.ports = Ports()
        self.ends: dict[str, list[LinkEnd]] = {}
        self._net = net

    def add(self, end: LinkEnd) -> None:
        """One more link from here."""
        self.ends.setdefault(end.peer, []).append(end)

    @contextmanager
    def here(self) -> Iterator["NetNode"]:
        """Code inside, and the tasks it makes, run at this node."""
        token = _here.set(self)
        try:
            yield self
        finally:
            _here.reset(token)

    def create_task(self, coro: Coroutine[Any, Any, Result], *, name: str | None = None) -> "asyncio.Task[Result]":
        """A task that runs at this node; its name is the node's unless given. The caller keeps it, and awaits it."""
        with self.here():
            return self._net.loop.create_task(
                coro, name=name or f"{self.name}: {getattr(coro, '__qualname__', 'task')}"
            )

    def resolve(self, host: str | None, via: str | None = None) -> LinkEnd:
        """The link to a peer. Raises OSError naming what there is."""
        name, _, link = (host or "").partition("@")
        link = via or link
        ends = self.ends.get(self.name if name in LOOPBACK else name, [])
        for end in ends:
            if not link or end.link == link:
                return end
        known = ", ".join(f"{each.peer}@{each.link}" for each in self._all_ends()) or "nobody"
        raise unreachable(f"{self.name} to {host or 'localhost'}{f' via {via}' if via else ''}; reachable are {known}")

    def _all_ends(self) -> list[LinkEnd]:
        return [end for ends in self.ends.values() for end in ends if end.peer != self.name]

    async def open_connection(
        self, peer: "NetNode | str", port: int, *, via: Any = None, limit: int = STREAM_LIMIT_BYTES
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A stream to a port of a peer. ``via``: a link or its name. Raises OSError as a socket does."""
        reader = asyncio.StreamReader(limit=limit, loop=self._net.loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._net.loop)
        transport, _ = await self.create_connection(lambda: protocol, _name(peer), port, via=via)
        return reader, asyncio.StreamWriter(transport, protocol, reader, self._net.loop)

    async def create_connection(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str | None, port: int, *, via: Any = None
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """As the loop's ``create_connection``, from this node. Raises OSError as a socket does."""
        with self.here():
            context = contextvars.copy_context()
        end = self.resolve(host, _link_name(via))
        local = self.ports.ephemeral(lambda number: (number, port) in end.streams)
        transport = StreamTransport(
            self._net.loop, end, (local, _checked(port)), self._net.streams, protocol_factory, context
        )
        try:
            await transport.call()
        except asyncio.CancelledError:
            transport.abort()
            raise
        return transport, transport.get_protocol()

    async def start_server(
        self, client_connected_cb: ClientCallback, port: int, *, limit: int = STREAM_LIMIT_BYTES
    ) -> asyncio.AbstractServer:
        """As asyncio.start_server, at this node; port 0: one that is free. Raises OSError when it is taken."""
        loop = self._net.loop

        def make_protocol() -> asyncio.StreamReaderProtocol:
            reader = asyncio.StreamReader(limit=limit, loop=loop)
            return asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=loop)

        return await self.create_server(make_protocol, port)

    async def create_server(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], port: int
    ) -> asyncio.AbstractServer:
        """As the loop's ``create_server``, at this node. Raises OSError when the port is taken."""
        port = _checked(port) or self.ports.ephemeral(self.ports.listeners.__contains__)
        self._check_free(port, port in self.ports.listeners)
        with self.here():
            context = contextvars.copy_context()
        return Listener(self._net.loop, self.name, port, self.ports, self._net.streams, protocol_factory, context)

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *,
        local: int = 0,
        remote: "tuple[NetNode | str, int] | None" = None,
        via: Any = None,
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        """As the loop's ``create_datagram_endpoint``, at this node; ``local`` 0: a port that is free.

        Raises OSError when the port is taken or the peer cannot be reached.
        """
        port = _checked(local) or self.ports.ephemeral(self.ports.datagrams.__contains__)
        self._check_free(port, port in self.ports.datagrams)
        link = _link_name(via)
        end = None if remote is None else (self.resolve(_name(remote[0]), link), _checked(remote[1]))
        with self.here():
            transport = DatagramPort(
                self._net.loop, self.name, port, self.ports, lambda host: self.resolve(host, link), end
            )
            protocol = protocol_factory()
            transport.start(protocol)
        return transport, protocol

    async def open_serial(
        self, link: Any, *, limit: int = STREAM_LIMIT_BYTES
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """This node's end of a link, or of one by its name, as a serial port. Raises OSError when it is open."""
        reader = asyncio.StreamReader(limit=limit, loop=self._net.loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._net.loop)
        transport = self.create_serial(lambda: protocol, link)
        return reader, asyncio.StreamWriter(transport, protocol, reader, self._net.loop)

    def create_serial(self, protocol_factory: Callable[[], asyncio.BaseProtocol], link: Any) -> SerialPort:
        """This node's end of a link as the transport of a protocol. Raises OSError when it is open or not there."""
        name = _link_name(link)
        for end in self._all_ends():
            if end.link == name:
                break
        else:
            raise FileNotFoundError(errno.ENOENT, f"node {self.name}: no link {name!r}")
        if end.serial is not None:
            raise OSError(errno.EBUSY, f"node {self.name}: link {name!r} is open already")
        noise = stream(self._net.seed, end.link, end.out.direction, "noise")
        with self.here():
            port = SerialPort(self._net.loop, end, protocol_factory(), noise)
            port.start()
        return port

    def _check_free(self, port: int, is_taken: bool) -> None:
        if is_taken:
            raise OSError(errno.EADDRINUSE, f"node {self.name}: port {port} is in use")


_here: contextvars.ContextVar[NetNode] = contextvars.ContextVar("link_sim_node")


def here() -> NetNode:
    """The node that the caller runs at. Raises RuntimeError outside of any."""
    node = _here.get(None)
    if node is None:
        text = "which node is this? Run it inside `with node.here():` or as node.create_task(...)"
        raise RuntimeError(f"{text}, or call node.open_connection, node.start_server, node.create_datagram_endpoint")
    return node


def _name(peer: NetNode | str) -> str:
    return peer if isinstance(peer, str) else peer.name


def _link_name(link: Any) -> str | None:
    """The name of a link given as such, or by its name; None for none."""
    if link is None or isinstance(link, str):
        return link
    name: str = link.name
    return name


def _checked(port: int) -> int:
    if not isinstance(port, int) or not 0 <= port <= 65_535:
        raise OverflowError(f"port {port!r}: allowed is 0 to 65535")
    return port
