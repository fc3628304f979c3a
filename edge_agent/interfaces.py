"""The network interfaces of this machine: what they are called, whether they carry, their addresses and default routes.

A netlink socket tells of every change (rtnetlink(7)); nothing is polled. Linux only. Written against the four kinds of
message that are needed (docs/adr/0040-interfaces-are-watched-with-a-socket-of-our-own.md).
"""

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, device type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, destination length, ..., table, protocol, scope, type, flags
_ATTRIBUTE = struct.Struct("=HH")
_ERROR, _DONE = 2, 3
_NEW_LINK, _DEL_LINK, _GET_LINK = 16, 17, 18
_NEW_ADDRESS, _DEL_ADDRESS, _GET_ADDRESS = 20, 21, 22
_NEW_ROUTE, _DEL_ROUTE, _GET_ROUTE = 24, 25, 26
_GROUPS = 1 | 0x10 | 0x40 | 0x100 | 0x400  # RTMGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE
_REQUEST, _DUMP = 1, 0x300
_UP, _LOOPBACK, _LOWER_UP = 1, 8, 0x10000  # IFF_RUNNING follows a carrier by up to a second
_IFLA_NAME, _IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 3, 1, 2, 8
_TENTATIVE_OR_FAILED = 0x40 | 0x08  # IFA_F_TENTATIVE, IFA_F_DADFAILED: cannot be used yet, or never
_RTA_OIF, _RTA_TABLE = 4, 15
_TABLE_MAIN = 254
_UNICAST = 1
_RECEIVE_BYTES = 1 << 16
_DUMP_WAIT_S = 2.0
SETTLES_S = 0.1  # an interface that comes tells of itself, of addresses and of routes one after the other


@dataclass(slots=True)
class Interface:
    """One interface. ``carries``: administratively up, and with a carrier."""

    index: int
    name: str = ""
    carries: bool = False
    is_loopback: bool = False
    addresses: set[str] = field(default_factory=set)
    """As text, without a prefix length; link-local ones left out."""
    default_routes: set[int] = field(default_factory=set)
    """Families with a default route by this interface."""


class InterfaceWatch:
    """All interfaces as of the last ``read``. Raises OSError where there is no netlink."""

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise OSError(errno.ENOTSUP, "interfaces are watched on Linux only")
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self.interfaces: dict[int, Interface] = {}
        try:
            self._socket.bind((0, _GROUPS))
            self._read_all()
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable when something has changed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Watch no more."""
        self._socket.close()

    def read(self) -> None:
        """Take in all that has changed. Never blocks."""
        while True:
            try:
                received = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._read_all()  # more changed at once than the kernel keeps: look at everything again
                return
            for kind, content in _messages(received):
                self._take(kind, content)

    def named(self, name: str) -> Interface | None:
        """The interface of that name."""
        return next((each for each in self.interfaces.values() if each.name == name), None)

    def holder(self, address: str) -> Interface | None:
        """The interface that has this address; None when none has."""
        return next((each for each in self.interfaces.values() if address in each.addresses), None)

    def _read_all(self) -> None:
        self.interfaces.clear()
        self._socket.settimeout(_DUMP_WAIT_S)
        for kind, family_first in ((_GET_LINK, _LINK), (_GET_ADDRESS, _ADDRESS), (_GET_ROUTE, _ROUTE)):
            request = bytes(family_first.size)
            self._socket.send(_HEADER.pack(_HEADER.size + len(request), kind, _REQUEST | _DUMP, kind, 0) + request)
            self._read_dump()
        self._socket.setblocking(False)

    def _read_dump(self) -> None:
        while True:
            for kind, content in _messages(self._socket.recv(_RECEIVE_BYTES)):
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    [code] = struct.unpack_from("=i", content)
                    raise OSError(-code, os.strerror(-code))
                self._take(kind, content)

    def _take(self, kind: int, content: bytes) -> None:
        with contextlib.suppress(struct.error):  # a message shorter than its kind tells nothing
            if kind in (_NEW_LINK, _DEL_LINK):
                self._take_link(content, is_gone=kind == _DEL_LINK)
            elif kind in (_NEW_ADDRESS, _DEL_ADDRESS):
                self._take_address(content, is_gone=kind == _DEL_ADDRESS)
            elif kind in (_NEW_ROUTE, _DEL_ROUTE):
                self._take_route(content, is_gone=kind == _DEL_ROUTE)

    def _take_link(self, content: bytes, *, is_gone: bool) -> None:
        family, _, index, flags, _ = _LINK.unpack_from(content)
        if family != socket.AF_UNSPEC:
            return  # what a bridge says of its ports
        if is_gone:
            self.interfaces.pop(index, None)
            return
        interface = self._at(index)
        interface.carries = flags & (_UP | _LOWER_UP) == _UP | _LOWER_UP
        interface.is_loopback = bool(flags & _LOOPBACK)
        if not flags & _UP:
            interface.default_routes.clear()  # the kernel drops IPv4 routes of it without a word
        name = _attributes(content, _LINK.size).get(_IFLA_NAME, b"")
        interface.name = name.rstrip(b"\0").decode(errors="replace")

    def _take_address(self, content: bytes, *, is_gone: bool) -> None:
        family, _, flags, _, index = _ADDRESS.unpack_from(content)
        attributes = _attributes(content, _ADDRESS.size)
        packed = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
        if packed is None or family not in (socket.AF_INET, socket.AF_INET6):
            return
        if len(wide := attributes.get(_IFA_FLAGS, b"")) == 4:
            [flags] = struct.unpack("=I", wide)
        address = ipaddress.ip_address(packed)
        if address.is_link_local:
            return
        if is_gone or flags & _TENTATIVE_OR_FAILED:
            self._at(index).addresses.discard(str(address))
        else:
            self._at(index).addresses.add(str(address))

    def _take_route(self, content: bytes, *, is_gone: bool) -> None:
        family, destination_bits, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(content)
        attributes = _attributes(content, _ROUTE.size)
        if len(wide := attributes.get(_RTA_TABLE, b"")) == 4:
            [table] = struct.unpack("=I", wide)
        out = attributes.get(_RTA_OIF, b"")
        if destination_bits or table != _TABLE_MAIN or kind != _UNICAST or len(out) != 4:
            return
        [index] = struct.unpack("=i", out)
        routes = self._at(index).default_routes
        if is_gone:
            routes.discard(family)
        else:
            routes.add(family)

    def _at(self, index: int) -> Interface:
        return self.interfaces.setdefault(index, Interface(index))


class Changes:
    """Calls ``on_change`` after interfaces have changed; without a watch it never does."""

    def __init__(self, watch: InterfaceWatch | None) -> None:
        self.watch = watch
        self.on_change: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        if watch is not None:
            self._loop.add_reader(watch.fileno(), self._readable)

    def close(self) -> None:
        """Hear no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self.watch is not None:
            self._loop.remove_reader(self.watch.fileno())
            self.watch.close()

    async def wait(self, longest_s: float) -> None:
        """Return after the next change, or after ``longest_s``."""
        self._changed.clear()
        try:
            async with asyncio.timeout(longest_s):
                await self._changed.wait()
        except TimeoutError:
            pass  # tried again all the same: not everything that mends a link is a change of an interface

    def _readable(self) -> None:
        assert self.watch is not None
        self.watch.read()
        if self._timer is None:
            self._timer = self._loop.call_later(SETTLES_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._changed.set()
        if self.on_change is not None:
            self.on_change()


def _messages(received: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each message."""
    at = 0
    while at + _HEADER.size <= len(received):
        length, kind, _, _, _ = _HEADER.unpack_from(received, at)
        if length < _HEADER.size:
            return
        yield kind, received[at + _HEADER.size : at + length]
        at += length + 3 & ~3


def _attributes(content: bytes, at: int) -> dict[int, bytes]:
    """Values by kind of what follows the fixed part."""
    found: dict[int, bytes] = {}
    at = at + 3 & ~3
    while at + _ATTRIBUTE.size <= len(content):
        length, kind = _ATTRIBUTE.unpack_from(content, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = content[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found
