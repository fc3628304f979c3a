"""TCP proxy: a link model between real programs, without privilege.

Clients connect to ``listen``; each connection gets one of its own to ``upstream``, and all of them share the one link,
as they would share a modem. Connecting costs a round trip of the link (the program's own connect returns at once: its
peer is the proxy). Half-close, reset and back-pressure pass through, at the pace of the link. A lost frame is a stall,
as TCP would show it; how long: link_sim/virtual/segments.py. A hold is a stall of everything, ``reset`` breaks every
connection at both ends.
"""

import asyncio
import socket
import struct
import sys
import time
from types import TracebackType
from typing import Self, cast

from edge_agent.addresses import HostPort
from link_sim.profiles import PathProfile
from link_sim.real_time.live import LiveLink, live_link
from link_sim.virtual.segments import SegmentKind, SegmentLine, Stream, spoiled_segment

CONNECTIONS_MAX = 1024  # a bound for descriptors; one more is reset at once and counted
_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # on, 0 s: close sends a reset (RFC 9293, 3.6)


class _Side(asyncio.Protocol):
    """One end of a connection: the program there, and the streams from it and to it.

    It is the ``StreamEnds`` of the stream that begins here.
    """

    def __init__(self, connection: "_Connection", line: SegmentLine) -> None:
        self._connection = connection
        self.out = Stream(line, self)
        self.transport: asyncio.Transport | None = None
        self._early: list[tuple[SegmentKind, bytes]] = []
        self.is_finished = False
        """Everything for the program here has been handed over, its end too."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._connection.side_opened(self)
        early, self._early = self._early, []
        for kind, payload in early:
            self.take(kind, payload)

    def data_received(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.pause_reading()  # until the link has taken it: the kernel then pushes back on the program
        self.out.feed(data)

    def eof_received(self) -> bool:
        self.out.say(SegmentKind.END)
        return True  # the other direction stays open

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.side_lost(self, is_reset=exc is not None)

    def pause_writing(self) -> None:
        self._connection.other(self).out.block(is_blocked=True)

    def resume_writing(self) -> None:
        self._connection.other(self).out.block(is_blocked=False)

    def want_more(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def arrived(self, kind: SegmentKind, payload: bytes) -> None:
        self._connection.other(self).take(kind, payload)

    def take(self, kind: SegmentKind, payload: bytes) -> None:
        """Something came over the link for the program here."""
        if kind is SegmentKind.OPEN:
            self._connection.opened(self)
        elif kind is SegmentKind.RESET:
            self._connection.reset()
        elif self.transport is None:
            self._early.append((kind, payload))
        elif self.transport.is_closing():
            return
        elif kind is SegmentKind.DATA:
            self.transport.write(payload)
        else:
            self.transport.write_eof()
            self.is_finished = True
            self._connection.end_if_finished()

    def abort(self) -> None:
        """Break the connection to the program here; it sees a reset."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            self.transport.abort()


class _Connection:
    """A client's side and the upstream side; the latter connects when the wish has crossed the link."""

    def __init__(self, proxy: "TcpProxy") -> None:
        self._proxy = proxy
        self.client = _Side(self, proxy.up_line)
        self.upstream = _Side(self, proxy.down_line)
        self.client.out.is_blocked = True  # until the answer to its wish to connect is back
        self._is_over = False

    def other(self, side: _Side) -> _Side:
        """The side across the link."""
        return self.upstream if side is self.client else self.client

    def side_opened(self, side: _Side) -> None:
        """A socket is connected: the other side is told over the link."""
        if side is self.client:
            self._proxy.admit(self)
        side.out.say(SegmentKind.OPEN)

    def opened(self, side: _Side) -> None:
        """That word has arrived at ``side``."""
        if side is self.upstream:
            self._proxy.connect(self)
        else:
            self.client.out.block(is_blocked=False)

    def refuse(self) -> None:
        """Nobody listens upstream: the client is told over the link."""
        self.upstream.out.say(SegmentKind.RESET)

    def side_lost(self, side: _Side, *, is_reset: bool) -> None:
        """The socket of one side is closed."""
        if is_reset and not self._is_over:
            side.out.say(SegmentKind.RESET)

    def end_if_finished(self) -> None:
        """Close both sockets once both directions have ended; what they still have to send goes out first."""
        if self.client.is_finished and self.upstream.is_finished:
            self._leave()
            for side in (self.client, self.upstream):
                if side.transport is not None:
                    side.transport.close()

    def reset(self) -> None:
        """Break it at both ends now."""
        self._leave()
        self.client.abort()
        self.upstream.abort()

    def _leave(self) -> None:
        self._is_over = True
        self._proxy.dismiss(self)


class TcpProxy:
    """A live TCP link; ``async with`` starts and ends it. ``link`` is its control, in process."""

    def __init__(self, name: str, profile: PathProfile, *, listen: HostPort, upstream: HostPort, seed: int = 1) -> None:
        self.up_line = SegmentLine(self._round_trip_s)
        self.down_line = SegmentLine(self._round_trip_s)
        self.link: LiveLink = live_link(
            name,
            profile,
            seed,
            deliver_up=self.up_line.deliver,
            deliver_down=self.down_line.deliver,
            spoil=spoiled_segment,
        )
        self.link.reset = self.reset
        self._listen = listen
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._connecting: asyncio.TaskGroup | None = None
        self._tasks: dict[_Connection, asyncio.Task[None]] = {}
        self._connections: dict[_Connection, None] = {}
        self._started_s = (0.0, 0.0)

    @property
    def address(self) -> HostPort:
        """Where it listens; the port is real once it was started with port 0."""
        if self._server is None:
            return self._listen
        return HostPort(host=self._listen.host, port=self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        """Raises OSError naming the address."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: _Connection(self).client, self._listen.host, self._listen.port, start_serving=False
            )
        except OSError as error:
            what = f"link {self.link.name}: cannot listen on {self._listen}: {error.strerror}"
            raise OSError(error.errno, what) from error
        self._connecting = await asyncio.TaskGroup().__aenter__()
        for live, line in ((self.link.up, self.up_line), (self.link.down, self.down_line)):
            live.start()
            line.start(live)
        self._started_s = (time.monotonic(), time.process_time())
        await self._server.start_serving()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.reset()
        for live, line in ((self.link.up, self.up_line), (self.link.down, self.down_line)):
            live.close()
            line.close()
        if self._connecting is not None:
            await self._connecting.__aexit__(None, None, None)
        await asyncio.sleep(0)  # the loop takes leave of aborted sockets in its next turn
        if server is not None:
            await server.wait_closed()

    def reset(self) -> None:
        """Break every connection at both ends now."""
        for connection in list(self._connections):
            connection.reset()

    def admit(self, connection: _Connection) -> None:
        """A client has connected."""
        if len(self._connections) >= CONNECTIONS_MAX:
            self.link.up.counts["connections_refused"] += 1
            connection.client.abort()
            return
        self._connections[connection] = None

    def connect(self, connection: _Connection) -> None:
        """A client's wish has crossed the link."""
        if self._connecting is not None and connection in self._connections:
            task = self._connecting.create_task(self._open(connection), name=f"link {self.link.name}: connect upstream")
            self._tasks[connection] = task

    async def _open(self, connection: _Connection) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: connection.upstream, self._upstream.host, self._upstream.port)
        except OSError:  # as the client will see it
            self.link.up.counts["upstream_refused"] += 1
            connection.refuse()
        finally:
            self._tasks.pop(connection, None)

    def dismiss(self, connection: _Connection) -> None:
        """A connection is over."""
        self._connections.pop(connection, None)
        task = self._tasks.pop(connection, None)
        if task is not None:
            task.cancel()
        self.up_line.forget(connection.client.out)
        self.down_line.forget(connection.upstream.out)

    def _round_trip_s(self) -> float:
        return self.link.up.line.profile.delay_s + self.link.down.line.profile.delay_s

    def describe(self) -> dict[str, object]:
        """The link's word on itself, with the share of a core that this process took since the start."""
        wall_s, cpu_s = time.monotonic() - self._started_s[0], time.process_time() - self._started_s[1]
        return {
            **self.link.describe(),
            "connections": len(self._connections),
            "process_cpu_ratio": cpu_s / max(wall_s, 1e-9),
            "loss_means": "a stall, as TCP would show it: a lost segment is sent again after a round trip or a timeout",
        }
