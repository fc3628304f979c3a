"""UDP proxy: a link model between real programs, without privilege.

Clients send to ``listen``; each gets a connected socket of its own towards ``upstream``, so that answers find their
way back. All clients share the one link, as they would share a modem.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from types import TracebackType
from typing import Self

from edge_agent.addresses import HostPort
from link_sim.link.model import spoiled
from link_sim.profiles import PathProfile
from link_sim.real_time.datagrams import Outbox, SocketAddress, kernel_drops, make_inbox, stamp_arrivals
from link_sim.real_time.live import LiveLink, live_link

CLIENTS_MAX = 256  # the one silent for longest goes when another comes
_SOCKET_BUFFER_BYTES = 4 << 20  # the kernel gives what it allows; drops there would not be the model's


@dataclass(slots=True, eq=False)
class _Client:
    """One program behind the proxy: its name and address, and its socket towards upstream."""

    name: Hashable
    address: SocketAddress
    upstream: socket.socket
    heard: int = 0  # the count of batches when it was heard last


_Flying = tuple[_Client, bytes]
_client_of = itemgetter(0)


class UdpProxy:
    """A live UDP link; ``async with`` starts and ends it. ``link`` is its control, in process."""

    def __init__(self, name: str, profile: PathProfile, *, listen: HostPort, upstream: HostPort, seed: int = 1) -> None:
        self.link: LiveLink = live_link(
            name, profile, seed, deliver_up=self._deliver_up, deliver_down=self._deliver_down, spoil=_spoiled
        )
        self._listen = listen
        self._upstream = upstream
        self._upstream_info: tuple[socket.AddressFamily, SocketAddress] | None = None
        self._socket: socket.socket | None = None
        self._clients: dict[Hashable, _Client] = {}
        self._heard = 0
        self._dropped_before = 0  # at sockets of clients that were dismissed
        self._inbox = make_inbox()
        self._outbox = Outbox()
        self._started_s = (0.0, 0.0)

    @property
    def address(self) -> HostPort:
        """Where it listens; the port is real once it was started with port 0."""
        if self._socket is None:
            return self._listen
        return HostPort(host=self._listen.host, port=self._socket.getsockname()[1])

    async def start(self) -> None:
        """Open the sockets. Raises OSError naming the address."""
        loop = asyncio.get_running_loop()
        self._upstream_info = await _resolve(self._upstream)
        family, address = await _resolve(self._listen)
        self._socket = _udp_socket(family)
        try:
            self._socket.bind(address)
        except OSError as error:
            self.close()
            what = f"link {self.link.name}: cannot listen on {self._listen}: {error.strerror}"
            raise OSError(error.errno, what) from error
        for line in (self.link.up, self.link.down):
            line.start()
        self._started_s = (time.monotonic(), time.process_time())
        loop.add_reader(self._socket, self._drain_clients, self._socket)

    def close(self) -> None:
        """Close everything; nothing is left behind."""
        loop = asyncio.get_running_loop()
        for line in (self.link.up, self.link.down):
            line.close()
        for each in [client.upstream for client in self._clients.values()] + ([self._socket] if self._socket else []):
            loop.remove_reader(each)
            each.close()
        self._clients.clear()
        self._socket = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _drain_clients(self, sock: socket.socket) -> None:
        try:
            received = self._inbox.drain(sock, has_names=True)
        except OSError:  # an answer of ours met a closed port; the socket itself is well
            self.link.down.counts["socket_error"] += 1
            return
        clients, offers, last, client = self._clients, [], None, None
        self._heard += 1
        for frame, name in received:
            if name != last or client is None:
                last, client = name, clients.get(name) or self._admit(name)
                client.heard = self._heard
            offers.append(((client, frame), len(frame)))
        self.link.up.offer_all(offers, self._inbox.arrived_ns)

    def _admit(self, name: Hashable) -> _Client:
        if len(self._clients) >= CLIENTS_MAX:
            self._dismiss(min(self._clients.values(), key=lambda client: client.heard))
        assert self._upstream_info is not None
        family, upstream_address = self._upstream_info
        upstream = _udp_socket(family)
        upstream.connect(upstream_address)
        client = self._clients[name] = _Client(name, self._inbox.address_of(name), upstream)
        asyncio.get_running_loop().add_reader(upstream, self._drain_upstream, client)
        return client

    def _dismiss(self, client: _Client) -> None:
        self.link.up.counts["clients_dismissed"] += 1
        self._dropped_before += kernel_drops(client.upstream)
        asyncio.get_running_loop().remove_reader(client.upstream)
        client.upstream.close()
        del self._clients[client.name]

    def _drain_upstream(self, client: _Client) -> None:
        try:
            received = self._inbox.drain(client.upstream, has_names=False)
        except OSError:  # nobody listens upstream yet; it may later
            self.link.up.counts["socket_error"] += 1
            return
        arrived_ns = self._inbox.arrived_ns
        self.link.down.offer_all([((client, frame), len(frame)) for frame, _ in received], arrived_ns)

    def _deliver_up(self, due: Sequence[_Flying]) -> None:
        for client, frames in _by_client(due):
            self._outbox.send(client.upstream, frames, None, self.link.up.counts)

    def _deliver_down(self, due: Sequence[_Flying]) -> None:
        if self._socket is None:
            return
        for client, frames in _by_client(due):
            self._outbox.send(self._socket, frames, client.address, self.link.down.counts)

    def _count_drops(self) -> None:
        """What the kernel dropped in front of the link is not the model's doing, and makes the run inconclusive."""
        if self._socket is not None:
            self.link.up.counts["kernel_dropped"] = kernel_drops(self._socket)
        dropped = sum(kernel_drops(client.upstream) for client in self._clients.values())
        self.link.down.counts["kernel_dropped"] = self._dropped_before + dropped

    def describe(self) -> dict[str, object]:
        """The link's word on itself, with the share of a core that this process took since the start."""
        self._count_drops()
        wall_s, cpu_s = time.monotonic() - self._started_s[0], time.process_time() - self._started_s[1]
        return {**self.link.describe(), "clients": len(self._clients), "process_cpu_ratio": cpu_s / max(wall_s, 1e-9)}


def _by_client(due: Sequence[_Flying]) -> Iterable[tuple[_Client, list[bytes]]]:
    """Runs of frames of one client, in order."""
    if len(due) == 1:
        client, frame = due[0]
        return ((client, [frame]),)
    return ((client, [frame for _, frame in run]) for client, run in groupby(due, _client_of))


def _spoiled(item: _Flying, damage: int) -> _Flying:
    return item[0], spoiled(item[1], damage)


async def _resolve(address: HostPort) -> tuple[socket.AddressFamily, SocketAddress]:
    """Family and socket address of a name or number. Raises OSError naming it."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        raise OSError(error.errno, f"{address}: {error.strerror}") from error
    family, _, _, _, sockaddr = found[0]
    return family, sockaddr


def _udp_socket(family: socket.AddressFamily) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setblocking(False)
    stamp_arrivals(made)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        with contextlib.suppress(OSError):  # macOS refuses sizes above its limit; its default then stays
            made.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER_BYTES)
    return made
