"""Frames in UDP datagrams: one remote, or a listener that serves any number of peers. IPv4 and IPv6.

The socket is drained by up to 64 datagrams a wake-up and handed over as one batch; frames leave at once. No task, no
queue and no copy of ours stands between the node and the kernel. Where interfaces can be watched (Linux), a link is
down at once when its own goes, and back at once when that returns; when its address changes the socket is opened anew.
"""

import asyncio
import errno
import ipaddress
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from edge_agent.addresses import HostPort, parse_host_port
from edge_agent.core.limits import LinkLimits, LinkShape
from edge_agent.interfaces import Changes, InterfaceWatch
from edge_agent.ports import FrameMarker, PluginLostError, Setting, Table, TransportPort
from transports.udp.marks import Marks
from transports.udp.ways import Ending, SocketAddress, Way, WildcardWay, enlarge_receive_buffer, is_wildcard

MTU_DEFAULT_BYTES = 1400  # with headers inside 1500 less a tunnel (GRE, WireGuard, PPPoE)
MTU_MAX_BYTES = 1452  # 1500 less IPv6 and UDP headers
OVERHEAD_V4_BYTES = 28
OVERHEAD_V6_BYTES = 48
RETRY_S = 5.0  # what no interface tells of: a route of another table, a name server that answers again

_SEND_BUFFER_BYTES = 1 << 15  # small, because precedence ends in the kernel
_LISTENER_SEND_BUFFER_BYTES = 1 << 18  # shared by its peers
_SILENCE_S = 60.0  # a remote known by name is looked up again when frames got no answer for this long
_NEW_PORT_S = 30.0  # frames without an answer for this long and as long again leave from another port
_NEXT_REMOTE_S = 2.0  # of several remotes, one that answered nothing for this long and as long again is left
_ABSENT_ERRORS = frozenset({errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENXIO, errno.ENETDOWN, errno.ENETUNREACH})
"""What an interface or an address that comes would mend."""


def _is_address(text: str) -> bool:
    parse_host_port(text)  # raises ValueError, which refuses
    return True


def _are_addresses(texts: list[object]) -> bool:
    are_some = 0 < len(texts) <= 16 and len(set(map(str, texts))) == len(texts)
    return are_some and all(isinstance(text, str) and _is_address(text) for text in texts)


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
        "remote": Setting(
            kind=list,
            allowed='"HOST:PORT" of the other side, or a list of up to 16 addresses of it, the best one first',
            default=[],
            accepts=_are_addresses,
            takes_one=True,
        ),
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
        "dscp": Setting(
            kind=bool,
            allowed="true to mark datagrams by the precedence of what is in them (EF, CS5, AF41, AF21, LE), else false",
            default=True,
        ),
    }

    def __init__(self, table: Table) -> None:
        if bool(table["remote"]) == bool(table["listen"]):
            raise ValueError("give exactly one of remote and listen")
        if table["listen"] and table["bind_address"]:
            raise ValueError("bind_address goes with remote; a listener's address is in listen")
        self._is_listener = bool(table["listen"])
        remotes = table["remote"] if isinstance(table["remote"], list) else [table["remote"]]
        self._wheres: list[HostPort] = [
            parse_host_port(each) for each in ([table["listen"]] if self._is_listener else remotes)
        ]
        self._bind_address: str = table["bind_address"]
        self._bind_interface: str = table["bind_interface"]
        self._mtu_bytes: int = table["mtu_bytes"]
        self._is_marked: bool = table["dscp"]
        self._places_tried = 0  # so that several addresses get their turn

    async def run(self, port: TransportPort) -> None:
        """Carry frames until cancelled. Raises PluginLostError when the way is gone and no interface would mend it."""
        try:
            watch = InterfaceWatch()
        except OSError:  # another system, or one that forbids it: the socket itself tells what it meets
            watch = None
        changes, said = Changes(watch), ""
        try:
            while True:
                ending = await self._carry(port, changes)
                if ending.is_down:
                    if watch is None:
                        raise PluginLostError(ending.reason)
                    if ending.reason != said or ending.was_up:
                        port.link_down(ending.reason)
                    said = ending.reason
                    await changes.wait(RETRY_S)
        finally:
            changes.close()

    async def _carry(self, port: TransportPort, changes: Changes) -> Ending:
        """What ended one socket, after which the next one is tried. Raises PluginLostError."""
        try:
            places = await self._resolve()
            udp, place = self._open(places)
        except socket.gaierror as error:
            return Ending(reason=f"{self._name()}: cannot resolve {error.args[-1]}")
        except OSError as error:
            reason = f"{self._name()}: {error.strerror or error}"
            if error.errno in _ABSENT_ERRORS:
                return Ending(reason=reason)
            raise PluginLostError(reason) from error
        loop = asyncio.get_running_loop()
        try:
            if reason := self._trouble(udp, changes.watch):
                return Ending(reason=f"{self._name()}: {reason}")
            kind = WildcardWay if self._is_listener and is_wildcard(place.address) and sys.platform == "linux" else Way
            way = kind(udp, port, is_listener=self._is_listener, mtu_bytes=self._mtu_bytes)
            index = self._index(changes.watch)
            changes.on_change = lambda: self._reconsider(way, udp, place, changes.watch, index)
            loop.add_reader(udp.fileno(), way.drain)
            self._announce(port, way, place, Marks(udp).mark if self._is_marked else None)
            return await self._watch(way, place, len(places))
        finally:
            changes.on_change = None
            loop.remove_reader(udp.fileno())
            udp.close()

    def _announce(self, port: TransportPort, way: Way, place: _Place, mark: FrameMarker | None) -> None:
        limits = LinkLimits(
            shape=LinkShape.DATAGRAM,
            mtu_bytes=self._mtu_bytes,
            overhead_bytes=OVERHEAD_V6_BYTES if place.family == socket.AF_INET6 else OVERHEAD_V4_BYTES,
        )
        if self._is_listener:
            port.link_up(limits, way.send_to, way.send_many_to, mark)
        else:
            port.link_up(limits, way.send, way.send_many, mark)

    async def _watch(self, way: Way, place: _Place, places: int) -> Ending:
        """What ended the socket: lost, moved, or a remote that is silent while another address may answer."""
        has_several = not self._is_listener and len(self._wheres) > 1
        may_move = not self._is_listener and not all(_is_ip_address(where.host) for where in self._wheres)
        pause_s: float | None = _NEXT_REMOTE_S if has_several else _SILENCE_S if may_move else _NEW_PORT_S
        if self._is_listener:
            pause_s = None
        silent_pauses = 0
        while True:
            received_before, sent_before = way.received_datagrams, way.sent_frames
            done, _ = await asyncio.wait((way.lost,), timeout=pause_s)
            if done:
                ending = way.lost.result()
                return Ending(reason=f"{self._name()}: {ending.reason}", is_down=ending.is_down, was_up=True)
            if way.received_datagrams != received_before or (way.sent_frames == sent_before and not silent_pauses):
                silent_pauses = 0
                continue
            silent_pauses += 1
            if has_several or not may_move:
                if silent_pauses > 1:  # a NAT on the way may have lost its mind: another port of ours is another way
                    self._places_tried += has_several
                    return Ending(is_down=False)
                continue
            try:
                found = await self._resolve()
            except socket.gaierror:
                continue  # no resolver in reach: the address we have may still work
            if place not in found or places > 1:
                self._places_tried += 1
                reason = f"{self._name()}: no answer from {place.address[0]}, trying its next address"
                return Ending(reason=reason, was_up=True)

    def _reconsider(
        self, way: Way, udp: socket.socket, place: _Place, watch: InterfaceWatch | None, index: int | None
    ) -> None:
        """Interfaces or addresses have changed: end a socket that has lost its own, or that would now have another."""
        if reason := self._trouble(udp, watch):
            way.lose(reason)
        elif self._index(watch) != index or self._would_move(udp, place):
            way.move()

    def _index(self, watch: InterfaceWatch | None) -> int | None:
        """The number of the interface that was asked for: one plugged in again has another."""
        interface = watch.named(self._bind_interface) if watch is not None and self._bind_interface else None
        return None if interface is None else interface.index

    def _trouble(self, udp: socket.socket, watch: InterfaceWatch | None) -> str:
        """Why nothing can leave or come by this socket, as far as interfaces tell; empty when it can."""
        if watch is None:
            return ""
        watch.read()
        if self._bind_interface:
            interface = watch.named(self._bind_interface)
            if interface is None:
                return "No such device"
        elif self._is_listener:
            return ""
        else:
            source = str(udp.getsockname()[0]).partition("%")[0]
            address = ipaddress.ip_address(source)
            if address.is_loopback or address.is_link_local or address.is_unspecified:
                return ""
            interface = watch.holder(source)
            if interface is None:
                return f"address {source} is gone"
        return "" if interface.carries else f"{interface.name} is down or has no carrier"

    def _would_move(self, udp: socket.socket, place: _Place) -> bool:
        """Whether a socket opened now would have another address of ours, or none."""
        if self._is_listener:
            return False
        try:
            probe = self._open_one(place)
        except OSError:
            return True
        with probe:
            return bool(probe.getsockname()[0] != udp.getsockname()[0])

    async def _resolve(self) -> list[_Place]:
        """Every address of every remote, in their order. Raises socket.gaierror when none has any."""
        loop, places = asyncio.get_running_loop(), list[_Place]()
        flags = socket.AI_PASSIVE if self._is_listener else 0
        failed: socket.gaierror | None = None
        for where in self._wheres:
            try:
                answers = await loop.getaddrinfo(where.host, where.port, type=socket.SOCK_DGRAM, flags=flags)
            except socket.gaierror as error:
                failed = socket.gaierror(error.errno, f"{where.host}: {error.strerror}")
            else:
                places += [_Place(family=family, address=address) for family, _, _, _, address in answers]
        if failed is not None and not places:
            raise failed
        return places

    def _open(self, places: list[_Place]) -> tuple[socket.socket, _Place]:
        """The first place that opens, beginning after those tried in vain. Raises OSError if none does."""
        start = self._places_tried % len(places)
        failed: OSError | None = None
        for place in places[start:] + places[:start]:
            try:
                return self._open_one(place), place
            except OSError as error:
                failed = error
        assert failed is not None, "there is a place"
        raise failed

    def _open_one(self, place: _Place) -> socket.socket:
        udp = socket.socket(place.family, socket.SOCK_DGRAM)
        try:
            self._prepare(udp, place)
        except OSError:
            udp.close()
            raise
        return udp

    def _prepare(self, udp: socket.socket, place: _Place) -> None:
        udp.setblocking(False)
        enlarge_receive_buffer(udp)
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
        text = f"udp {'listen' if self._is_listener else 'remote'} {', '.join(map(str, self._wheres))}"
        if self._bind_address:
            text += f" from {self._bind_address}"
        if self._bind_interface:
            text += f" by {self._bind_interface}"
        return text
