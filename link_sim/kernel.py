"""Kernel links: two network namespaces joined by TUN devices that a link model drives. Linux, and root only.

What runs inside uses the kernel's own TCP, MPTCP or anything else that speaks IP; each ``Path`` between the two places
is a pair of devices and one link. Namespaces have no name and devices belong to open descriptors, so that nothing is
left behind, even after ``kill -9``. Up is from ``a`` to ``b``. A frame is an IP packet.

    async with KernelPair({"sat": profile("vsat"), "lte": profile("4g")}) as pair:
        server = pair.b.call(lambda: socket.create_server((str(pair.paths["sat"].b_address), 5201)))
        client = await asyncio.create_subprocess_exec(*pair.a.prefix, "curl", ...)
"""

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path as FilePath
from types import TracebackType
from typing import Self, TypeVar

from link_sim.link.model import spoiled
from link_sim.profiles import UDP_IPV4_OVERHEAD_BYTES, PathProfile
from link_sim.real_time.live import LiveLine, LiveLink, live_link

DEVICE_MTU_BYTES = 1500  # where the profile has none: that of Ethernet
_DRAIN = 64  # packets a wake-up, as with datagrams
_PACKET_MAX_BYTES = 65_535
_CLONE_NEWNET = 0x4000_0000  # linux/sched.h
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x4004_54CA, 0x0001, 0x1000  # linux/if_tun.h
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFMTU = 0x8916, 0x891C, 0x8922  # linux/sockios.h
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCGIFINDEX, _SIOCSIFTXQLEN = 0x8913, 0x8914, 0x8933, 0x8943
_IFF_UP = 0x1
_TX_QUEUE_PACKETS = 4000  # drops belong to the model's queue, not to the device in front of it
_TX_DROPPED_COLUMN = 11  # /proc/net/dev: eight columns of receiving, then bytes, packets, errs, drop

Result = TypeVar("Result")


class Namespace:
    """A network namespace that lives as long as this object, with its loopback up."""

    def __init__(self) -> None:
        """Raises PermissionError without root."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = -1
        with ThreadPoolExecutor(1) as thread:  # a namespace is a property of a thread; this one ends in it
            self._fd = thread.submit(self._make).result()

    def _make(self) -> int:
        if self._libc.unshare(_CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"a network namespace needs root: {os.strerror(number)}")
        _bring_up("lo")
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def call(self, function: Callable[[], Result]) -> Result:
        """Run ``function`` inside, in a thread that ends with it, and wait; sockets it opens stay inside."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self._enter_and_call, function).result()

    def _enter_and_call(self, function: Callable[[], Result]) -> Result:
        if self._libc.setns(self._fd, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")
        return function()

    @property
    def path(self) -> FilePath:
        """Where ``nsenter --net=`` and ``ip netns attach`` find it."""
        return FilePath(f"/proc/{os.getpid()}/fd/{self._fd}")

    @property
    def prefix(self) -> tuple[str, ...]:
        """Words before a command line that make it run inside (nsenter of util-linux)."""
        return ("nsenter", f"--net={self.path}")

    def close(self) -> None:
        """Give it up; the kernel ends it with the last program and socket inside."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One pair of devices, both called ``device``, and its link."""

    device: str
    link: LiveLink
    a_address: IPv4Address
    b_address: IPv4Address
    a_address_v6: IPv6Address
    b_address_v6: IPv6Address


class KernelPair:
    """Two places, ``a`` and ``b``, and a path between them for each profile; ``async with`` makes and ends them.

    Addresses are 10.213.N.1 and .2 (/30), fd00:213:N::1 and ::2 (/64), N from 1 in the order of ``profiles``.
    """

    a: Namespace
    b: Namespace

    def __init__(self, profiles: Mapping[str, PathProfile], *, seed: int = 1) -> None:
        """Raises ValueError for a name that is no device name."""
        for name in profiles:
            if not name.isascii() or not name.isalnum() or len(name) > 15:  # IFNAMSIZ of linux/if.h, without the NUL
                raise ValueError(f"path {name!r}: allowed is 1 to 15 letters and digits, for a device bears it")
        self.paths: dict[str, Path] = {}
        self._profiles = dict(profiles)
        self._seed = seed
        self._ends: list[_TunEnd] = []
        self._namespaces: list[Namespace] = []

    async def __aenter__(self) -> Self:
        """Raises PermissionError without root, OSError where the kernel has no TUN devices."""
        try:
            for _ in "ab":
                self._namespaces.append(Namespace())
            self.a, self.b = self._namespaces
            for number, (name, profile) in enumerate(self._profiles.items(), start=1):
                self.paths[name] = self._join(number, name, profile)
        except BaseException:
            self.close()
            raise
        return self

    def _join(self, number: int, name: str, profile: PathProfile) -> Path:
        whole = _whole(profile)
        mtus = [way.mtu_bytes or DEVICE_MTU_BYTES for way in (whole.up, whole.down)]
        a, b = (
            _TunEnd(namespace, name, number, host, mtu_bytes)
            for namespace, host, mtu_bytes in zip((self.a, self.b), (1, 2), mtus, strict=True)
        )
        self._ends += (a, b)
        link = live_link(name, whole, self._seed, deliver_up=b.write, deliver_down=a.write, spoil=spoiled)
        a.start(link.up, link.down)
        b.start(link.down, link.up)
        return Path(
            device=name,
            link=link,
            a_address=a.address,
            b_address=b.address,
            a_address_v6=a.address_v6,
            b_address_v6=b.address_v6,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything; descriptors of sockets inside are the caller's."""
        for path in self.paths.values():
            for line in (path.link.up, path.link.down):
                line.close()
        for end in self._ends:
            end.close()
        for namespace in self._namespaces:
            namespace.close()
        self._ends.clear()
        self._namespaces.clear()
        self.paths.clear()

    def describe(self) -> list[dict[str, object]]:
        """Each link's word on itself."""
        for end in self._ends:
            end.count_drops()
        return [path.link.describe() for path in self.paths.values()]


class _TunEnd:
    """A TUN device in a namespace: packets that the kernel sends are offered to a line, delivered ones go in here."""

    def __init__(self, namespace: Namespace, name: str, number: int, host: int, mtu_bytes: int) -> None:
        self.address = IPv4Address(f"10.213.{number}.{host}")
        self.address_v6 = IPv6Address(f"fd00:213:{number:x}::{host}")
        self._namespace = namespace
        self._name = name
        self._out: LiveLine[bytes] | None = None
        self._into: LiveLine[bytes] | None = None
        self._fd = namespace.call(lambda: self._make(mtu_bytes))

    def _make(self, mtu_bytes: int) -> int:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, _TUNSETIFF, _request(self._name, struct.pack("=H", _IFF_TUN | _IFF_NO_PI)))
            self._configure(mtu_bytes)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _configure(self, mtu_bytes: int) -> None:
        name = self._name
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for request, value in (
                (_SIOCSIFMTU, struct.pack("=i", mtu_bytes)),
                (_SIOCSIFTXQLEN, struct.pack("=i", _TX_QUEUE_PACKETS)),
                (_SIOCSIFADDR, _sockaddr(self.address)),
                (_SIOCSIFNETMASK, _sockaddr(IPv4Address("255.255.255.252"))),
            ):
                fcntl.ioctl(control, request, _request(name, value))
        with contextlib.suppress(OSError):  # a kernel without IPv6 carries IPv4; chatter of neighbours is not wanted
            for key, setting in (("router_solicitations", "0"), ("addr_gen_mode", "1"), ("accept_dad", "0")):
                FilePath(f"/proc/sys/net/ipv6/conf/{name}/{key}").write_text(setting)
        _bring_up(name)
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control:
            index = struct.unpack_from("=i", fcntl.ioctl(control, _SIOCGIFINDEX, _request(name, bytes(4))), 16)[0]
            fcntl.ioctl(control, _SIOCSIFADDR, struct.pack("=16sIi", self.address_v6.packed, 64, index))

    def start(self, out: LiveLine[bytes], into: LiveLine[bytes]) -> None:
        """Begin to read, in the running loop; ``into`` is the line that ends here."""
        self._out, self._into = out, into
        out.start()
        asyncio.get_running_loop().add_reader(self._fd, self._drain)

    def _drain(self) -> None:
        assert self._out is not None
        packets: list[tuple[bytes, int]] = []
        with contextlib.suppress(BlockingIOError):
            for _ in range(_DRAIN):
                packet = os.read(self._fd, _PACKET_MAX_BYTES)
                packets.append((packet, len(packet)))
        self._out.offer_all(packets)

    def write(self, due: Sequence[bytes]) -> None:
        """Hand packets to the kernel here."""
        for packet in due:
            try:
                os.write(self._fd, packet)
            except OSError as error:  # a spoiled packet that is no IP any more, or a device that was taken down
                is_spoiled = error.errno == errno.EINVAL
                if self._into is not None:
                    self._into.counts["not_ip" if is_spoiled else "device_error"] += 1

    def count_drops(self) -> None:
        """Packets that found the device's own queue full make the run inconclusive."""
        lines = self._namespace.call(lambda: FilePath("/proc/thread-self/net/dev").read_text()).splitlines()
        for line in lines:
            name, _, numbers = line.partition(":")
            if name.strip() == self._name and self._out is not None:
                self._out.counts["kernel_dropped"] = int(numbers.split()[_TX_DROPPED_COLUMN])

    def close(self) -> None:
        """Remove the device."""
        if self._out is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)


def _whole(profile: PathProfile) -> PathProfile:
    """The profile for whole IP packets, which bring along the 28 bytes that profiles count for UDP datagrams."""
    up, down = (
        replace(
            way,
            overhead_bytes=max(0, way.overhead_bytes - UDP_IPV4_OVERHEAD_BYTES),
            mtu_bytes=None if way.mtu_bytes is None else way.mtu_bytes + UDP_IPV4_OVERHEAD_BYTES,
        )
        for way in (profile.up, profile.down)
    )
    return PathProfile(name=profile.name, up=up, down=down)


def _request(name: str, value: bytes) -> bytes:
    """struct ifreq of linux/if.h: 16 bytes of name, 24 of value."""
    return struct.pack("=16s24s", name.encode(), value)


def _sockaddr(address: IPv4Address) -> bytes:
    return struct.pack("=HH4s8x", socket.AF_INET, 0, address.packed)


def _bring_up(name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = struct.unpack_from("=H", fcntl.ioctl(control, _SIOCGIFFLAGS, _request(name, bytes(2))), 16)[0]
        fcntl.ioctl(control, _SIOCSIFFLAGS, _request(name, struct.pack("=H", flags | _IFF_UP)))
