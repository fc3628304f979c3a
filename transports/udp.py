"""Frames in UDP datagrams: one remote, or a listener that serves any number of peers. IPv4 and IPv6.

The socket is drained by up to 64 datagrams a wake-up and handed over as one batch; frames leave at once. No task, no
queue and no copy of ours stands between the node and the kernel.
"""

import asyncio
import errno
import ipaddress
import socket
import struct
import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edge_agent.addresses import parse_host_port
from edge_agent.core.limits import LinkLimits, LinkShape
from edge_agent.ports import PluginLostError, Setting, Table, TransportPort

MTU_DEFAULT_BYTES = 1400  # with headers inside 1500 less a tunnel (GRE, WireGuard, PPPoE)
MTU_MAX_BYTES = 1452  # 1500 less IPv6 and UDP headers
OVERHEAD_V4_BYTES = 28
OVERHEAD_V6_BYTES = 48
DATAGRAMS_A_WAKE_UP = 64  # then timers and other sockets get their turn; about 0.3 ms of work
RECEIVE_MAX_BYTES = 2048  # what fills it was longer and is cut off; peers may have a larger MTU than ours

_RECEIVE_BUFFER_BYTES = 4 << 20  # 60 ms of a 500 Mbit/s burst while the process does something else
_SEND_BUFFER_BYTES = 1 << 15  # small, because precedence ends in the kernel
_LISTENER_SEND_BUFFER_BYTES = 1 << 18  # shared by its peers
_SILENCE_S = 60.0  # a remote known by name is looked up again when frames got no answer for this long
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h: beyond net.core.rmem_max, for those with CAP_NET_ADMIN
_IP_PKTINFO = 8  # linux/in.h; the socket module has it from Python 3.14
_IN_PKTINFO = struct.Struct("@i4s4s")  # interface, local address, destination
_IN6_PKTINFO = struct.Struct("@16sI")  # address, interface
_ANCILLARY_BYTES = 128  # room for one of them with its header

_DELIVERY_ERRORS = {  # one datagram did not get there; what later ones do is for the node's estimates
    errno.ECONNREFUSED: "connection_refused",
    errno.EHOSTUNREACH: "host_unreachable",
    errno.EMSGSIZE: "oversize_frame",
    errno.EPERM: "send_forbidden",  # a firewall of this machine
    errno.ENOBUFS: "send_buffer_full",
    errno.EAGAIN: "send_buffer_full",
}
_DEVICE_ERRORS = frozenset({errno.ENODEV, errno.ENXIO, errno.ENETDOWN})

SocketAddress = tuple[Any, ...]  # Any: (host, port) or (host, port, flow, scope), as the family has it


def _is_address(text: str) -> bool:
    parse_host_port(text)  # raises ValueError, which refuses
    return True


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a socket connects to or listens, from one answer of the resolver."""

    family: int
    address: SocketAddress


class UdpTransport:
    """One UDP link. ``bind_address`` and ``bind_interface`` choose the way out on a machine with several."""

    SETTINGS: ClassVar[Mapping[str, Setting]] = {
        "remote": Setting(kind=str, allowed='"HOST:PORT" of the other side', default="", accepts=_is_address),
        "listen": Setting(kind=str, allowed='"HOST:PORT" to serve peers on', default="", accepts=_is_address),
        "bind_address": Setting(kind=str, allowed="an IP address of this machine", default="", accepts=bool),
        "bind_interface": Setting(
            kind=str,
            allowed="the name of a network interface, 1 to 15 characters",
            default="",
            accepts=lambda name: 0 < len(name.encode()) < 16,
        ),
        "mtu_bytes": Setting(
            kind=int,
            allowed=f"128 to {MTU_MAX_BYTES} bytes",
            default=MTU_DEFAULT_BYTES,
            accepts=lambda mtu_bytes: 128 <= mtu_bytes <= MTU_MAX_BYTES,
        ),
    }

    def __init__(self, table: Table) -> None:
        if bool(table["remote"]) == bool(table["listen"]):
            raise ValueError("give exactly one of remote and listen")
        if table["listen"] and table["bind_address"]:
            raise ValueError("bind_address goes with remote; a listener's address is in listen")
        self._is_listener = bool(table["listen"])
        self._where = parse_host_port(table["listen"] or table["remote"])
        self._bind_address: str = table["bind_address"]
        self._bind_interface: str = table["bind_interface"]
        self._mtu_bytes: int = table["mtu_bytes"]
        self._places_tried = 0  # so that a name with several addresses gets each of them in turn

    async def run(self, port: TransportPort) -> None:
        """Carry frames until cancelled. Raises PluginLostError when the way is gone."""
        places = await self._resolve()
        udp, place = self._open(places)
        kind = _WildcardWay if self._is_listener and _is_wildcard(place) and sys.platform == "linux" else _Way
        way = kind(udp, port, is_listener=self._is_listener, mtu_bytes=self._mtu_bytes)
        loop = asyncio.get_running_loop()
        try:
            loop.add_reader(udp.fileno(), way.drain)
            overhead_bytes = OVERHEAD_V6_BYTES if place.family == socket.AF_INET6 else OVERHEAD_V4_BYTES
            limits = LinkLimits(
                shape=LinkShape.DATAGRAM,
                mtu_bytes=self._mtu_bytes,
                overhead_bytes=overhead_bytes,
            )
            port.link_up(limits, way.send_to if self._is_listener else way.send)
            await self._watch(way, place)
        finally:
            loop.remove_reader(udp.fileno())
            udp.close()

    async def _watch(self, way: "_Way", place: _Place) -> None:
        """Return never: raise when the socket is lost, or when a silent remote's name now means another address."""
        may_move = not self._is_listener and not _is_ip_address(self._where.host)
        while True:
            received_before, sent_before = way.received_datagrams, way.sent_frames
            done, _ = await asyncio.wait((way.lost,), timeout=_SILENCE_S if may_move else None)
            if done:
                raise PluginLostError(f"{self._name()}: {way.lost.result()}")
            if way.received_datagrams != received_before or way.sent_frames == sent_before:
                continue
            try:
                places = await self._resolve()
            except PluginLostError:
                continue  # no resolver in reach: the address we have may still work
            if place not in places or len(places) > 1:
                self._places_tried += 1
                raise PluginLostError(f"{self._name()}: no answer from {place.address[0]}, trying its next address")

    async def _resolve(self) -> list[_Place]:
        loop = asyncio.get_running_loop()
        flags = socket.AI_PASSIVE if self._is_listener else 0
        try:
            answers = await loop.getaddrinfo(self._where.host, self._where.port, type=socket.SOCK_DGRAM, flags=flags)
        except socket.gaierror as error:
            raise PluginLostError(f"{self._name()}: cannot resolve {self._where.host}: {error.strerror}") from error
        return [_Place(family=family, address=address) for family, _, _, _, address in answers]

    def _open(self, places: list[_Place]) -> tuple[socket.socket, _Place]:
        """The first place that opens, beginning after those tried in vain. Raises PluginLostError if none does."""
        start = self._places_tried % len(places)
        reason = ""
        for place in places[start:] + places[:start]:
            udp = socket.socket(place.family, socket.SOCK_DGRAM)
            try:
                self._prepare(udp, place)
            except OSError as error:
                udp.close()
                reason = error.strerror or str(error)
            else:
                return udp, place
        raise PluginLostError(f"{self._name()}: {reason}")

    def _prepare(self, udp: socket.socket, place: _Place) -> None:
        udp.setblocking(False)
        _enlarge_receive_buffer(udp)
        send_buffer_bytes = _LISTENER_SEND_BUFFER_BYTES if self._is_listener else _SEND_BUFFER_BYTES
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        if self._bind_interface:
            self._bind_to_interface(udp)
        if self._is_listener:
            if place.family == socket.AF_INET6:  # "[::]:7000" serves IPv4 peers too, whatever the system's default
                udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            udp.bind(place.address)
            return
        if self._bind_address:
            udp.bind((self._bind_address, 0))
        udp.connect(place.address)

    def _bind_to_interface(self, udp: socket.socket) -> None:
        if sys.platform != "linux":
            raise OSError(errno.ENOTSUP, "bind_interface works on Linux only")
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._bind_interface.encode() + b"\0")

    def _name(self) -> str:
        """The link in the words of its configuration, for errors."""
        text = f"udp {'listen' if self._is_listener else 'remote'} {self._where}"
        if self._bind_address:
            text += f" from {self._bind_address}"
        if self._bind_interface:
            text += f" by {self._bind_interface}"
        return text


class _Way:
    """One open socket: sends, drains, and tells when it is lost."""

    def __init__(self, udp: socket.socket, port: TransportPort, *, is_listener: bool, mtu_bytes: int) -> None:
        self._udp = udp
        self._port = port
        self._is_listener = is_listener
        self._mtu_bytes = mtu_bytes
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.received_datagrams = 0
        self.sent_frames = 0

    def send(self, address: Hashable | None, frame: bytes) -> None:
        """One frame to the remote."""
        if not self._fits(frame):
            return
        self.sent_frames += 1
        try:
            self._udp.send(frame)
        except OSError as error:
            self._fail(error)

    def send_to(self, address: Hashable | None, frame: bytes) -> None:
        """One frame to a peer, by an address that ``drain`` reported."""
        if not self._fits(frame):
            return
        if not isinstance(address, tuple):
            self._port.count("no_address")
            return
        try:
            self._udp.sendto(frame, address)
        except OSError as error:
            self._fail(error)

    def drain(self) -> None:
        """Everything that waits in the socket, at most a turn's worth, to the port as one batch."""
        batch = self._drain_listener() if self._is_listener else self._drain_remote()
        self.received_datagrams += len(batch)
        if batch:
            self._port.frames_received(batch)

    def _drain_remote(self) -> list[tuple[Hashable | None, bytes]]:
        receive, batch = self._udp.recv, list[tuple[Hashable | None, bytes]]()
        for _ in range(DATAGRAMS_A_WAKE_UP):
            try:
                frame = receive(RECEIVE_MAX_BYTES)
            except BlockingIOError:
                break
            except OSError as error:  # what an earlier datagram of ours met (ICMP)
                self._fail(error)
                continue
            if 0 < len(frame) < RECEIVE_MAX_BYTES:
                batch.append((None, frame))
            else:
                self._refuse(frame)
        return batch

    def _drain_listener(self) -> list[tuple[Hashable | None, bytes]]:
        receive, batch = self._udp.recvfrom, list[tuple[Hashable | None, bytes]]()
        for _ in range(DATAGRAMS_A_WAKE_UP):
            try:
                frame, address = receive(RECEIVE_MAX_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                self._fail(error)
                continue
            if 0 < len(frame) < RECEIVE_MAX_BYTES:
                batch.append((address, frame))
            else:
                self._refuse(frame)
        return batch

    def _refuse(self, frame: bytes) -> None:
        self._port.count("oversize_frame" if frame else "empty_frame")

    def _fits(self, frame: bytes) -> bool:
        if len(frame) > self._mtu_bytes:
            self._port.count("oversize_frame")
            return False
        return True

    def _fail(self, error: OSError) -> None:
        """Count what concerns one datagram; end the link for what concerns them all."""
        code = error.errno or 0
        name = _DELIVERY_ERRORS.get(code)
        # A listener outlives a peer out of reach; only its own device takes it down.
        if name is not None or (self._is_listener and code not in _DEVICE_ERRORS):
            self._port.count(name or "send_failed")
            return
        self._port.count("send_failed")
        if not self.lost.done():
            self.lost.set_result(error.strerror or str(error))


class _WildcardWay(_Way):
    """A listener on all addresses: answers leave from the very address that was asked, or a connected peer drops them.

    Addresses are (peer, ancillary data of the answer). Source: ip(7) IP_PKTINFO, ipv6(7) IPV6_PKTINFO.
    """

    def __init__(self, udp: socket.socket, port: TransportPort, *, is_listener: bool, mtu_bytes: int) -> None:
        super().__init__(udp, port, is_listener=is_listener, mtu_bytes=mtu_bytes)
        if udp.family == socket.AF_INET6:  # IPv4 peers of such a socket come with mapped addresses
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            udp.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)

    def send_to(self, address: Hashable | None, frame: bytes) -> None:
        """One frame to a peer, from the address it wrote to."""
        if not self._fits(frame):
            return
        if not isinstance(address, tuple):
            self._port.count("no_address")
            return
        peer, ancillary = address
        try:
            self._udp.sendmsg((frame,), ancillary, 0, peer)
        except OSError as error:
            self._fail(error)

    def _drain_listener(self) -> list[tuple[Hashable | None, bytes]]:
        receive, batch = self._udp.recvmsg, list[tuple[Hashable | None, bytes]]()
        for _ in range(DATAGRAMS_A_WAKE_UP):
            try:
                frame, ancillary, _, peer = receive(RECEIVE_MAX_BYTES, _ANCILLARY_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                self._fail(error)
                continue
            if 0 < len(frame) < RECEIVE_MAX_BYTES:
                batch.append(((peer, tuple(_answer_from(each) for each in ancillary)), frame))
            else:
                self._refuse(frame)
        return batch


def _is_wildcard(place: _Place) -> bool:
    return place.address[0] in ("0.0.0.0", "::")


def _answer_from(received: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
    """Ancillary data that sends from where ``received`` was sent to: the same address, by whatever interface."""
    level, kind, content = received
    if level == socket.IPPROTO_IP and len(content) == _IN_PKTINFO.size:
        _, local, _ = _IN_PKTINFO.unpack(content)
        return level, kind, _IN_PKTINFO.pack(0, local, bytes(4))
    if level == socket.IPPROTO_IPV6 and len(content) == _IN6_PKTINFO.size:
        local, _ = _IN6_PKTINFO.unpack(content)
        if not ipaddress.IPv6Address(local).is_link_local:  # those mean nothing without their interface
            return level, kind, _IN6_PKTINFO.pack(local, 0)
    return level, kind, content


def _enlarge_receive_buffer(udp: socket.socket) -> None:
    if sys.platform == "linux":
        try:
            udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
        except PermissionError:
            pass  # the plain option below gives what everyone may have
        else:
            return
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
