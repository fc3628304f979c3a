"""Listeners: what ``start_server`` gives back in virtual time."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any, Self

from link_sim.virtual.endpoints.link_end import LinkEnd, Ports
from link_sim.virtual.endpoints.segment import Segment, StreamSettings
from link_sim.virtual.endpoints.stream import StreamTransport
from link_sim.virtual.loop import VirtualLoop


class ListeningSocket:
    """As much of a socket as programs ask a server for."""

    __slots__ = ("_name",)

    def __init__(self, name: tuple[str, int]) -> None:
        self._name = name

    def getsockname(self) -> tuple[str, int]:
        """Node and port."""
        return self._name


class Listener(asyncio.AbstractServer):
    """Opens a stream for each call to a port of a node; a server as asyncio knows it."""

    def __init__(
        self,
        loop: VirtualLoop,
        node: str,
        port: int,
        ports: Ports,
        settings: StreamSettings,
        make_protocol: Callable[[], asyncio.BaseProtocol],
        context: contextvars.Context,
    ) -> None:
        self._loop = loop
        self._node = node
        self._port = port
        self._ports = ports
        self._settings = settings
        self._make_protocol = make_protocol
        self._context = context
        self._open: dict[StreamTransport, None] = {}  # in the order they came
        self._is_closed = False
        self._waiters: list[asyncio.Future[None]] = []
        ports.listeners[port] = self

    def receive(self, frame: Segment, end: LinkEnd) -> None:
        """A call came in."""
        both = (self._port, frame.source_port)
        stream = StreamTransport(self._loop, end, both, self._settings, self._make_protocol, self._context.copy())
        self._open[stream] = None
        stream.on_gone = lambda: self._forget(stream)
        stream.answer()

    def _forget(self, stream: StreamTransport) -> None:
        self._open.pop(stream, None)
        self._wake()

    def _wake(self) -> None:
        if self._is_closed and not self._open:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()

    @property
    def sockets(self) -> tuple[ListeningSocket, ...]:
        """What it listens at; only names."""
        return () if self._is_closed else (ListeningSocket((self._node, self._port)),)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Its loop."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether calls are answered."""
        return not self._is_closed

    def close(self) -> None:
        """Answer no more calls; open streams go on."""
        if not self._is_closed:
            self._is_closed = True
            self._ports.listeners.pop(self._port, None)
            self._wake()

    def close_clients(self) -> None:
        """Close every stream that it opened."""
        for stream in list(self._open):
            stream.close()

    def abort_clients(self) -> None:
        """Reset every stream that it opened."""
        for stream in list(self._open):
            stream.abort()

    async def start_serving(self) -> None:
        """It serves from the start."""

    async def serve_forever(self) -> None:
        """Wait until cancelled, then close."""
        try:
            await self._loop.create_future()
        finally:
            self.close()

    async def wait_closed(self) -> None:
        """Wait until it is closed and its streams are over, as asyncio does since 3.12."""
        if not self._is_closed or self._open:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: Any) -> None:  # Any: what a context manager is told
        self.close()
        await self.wait_closed()
