"""Datagrams in batches: many for one system call where the kernel can do that, one by one elsewhere.

A proxy spends more on system calls than on the link model. On Linux ``recvmmsg(2)`` fills a batch at once, and
equally long datagrams for one destination leave joined by UDP_SEGMENT (udp(7), Linux 4.18), each a datagram of its own
again for whoever receives them.
"""

import contextlib
import ctypes
import errno
import mmap
import os
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import Protocol, cast

BATCH = 64  # datagrams a wake-up: after that the timers and the other sockets get their turn
DATAGRAM_MAX_BYTES = 65_535
SocketAddress = tuple[object, ...]  # as the socket module shapes it for each family
Datagrams = Sequence[tuple[bytes, Hashable]]
"""Each with its sender, equal for equal senders, which ``Inbox.address_of`` translates."""

_NAME_BYTES = 28  # sockaddr_in6, the longer of the two families
_SLOT_BYTES = 67_264  # room for the longest, and no power of two: slots would share cache lines otherwise
_SOL_UDP, _UDP_SEGMENT = 17, 103  # linux/udp.h
_JOINED_MAX_BYTES = 65_000  # below the 65,507 that UDP over IPv4 can carry (RFC 768)
_JOINED_MAX = 64  # linux/udp.h: UDP_MAX_SEGMENTS, 128 since Linux 6.9
_CANNOT_JOIN = frozenset((errno.EINVAL, errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP))
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; SCM_TIMESTAMPNS is the same
_CONTROL_BYTES = 32  # a cmsghdr of 16 bytes and a timespec of 16, on 64-bit Linux
_STAMP_LONGEST_NS = 1_000_000_000  # an older stamp is taken for a step of the clock of day
_SO_MEMINFO, _MEMINFO_WORDS, _MEMINFO_DROPS = 55, 9, 8  # asm-generic/socket.h, linux/sock_diag.h


class Inbox(Protocol):
    """Takes what waits in a socket. It may serve any number of sockets, one after another."""

    def drain(self, sock: socket.socket, *, has_names: bool) -> Datagrams:
        """At most ``BATCH`` datagrams, without senders unless ``has_names``; empty when none waits.

        Raises OSError for what the network said about an earlier datagram; the socket itself is well then.
        """

    def address_of(self, name: Hashable) -> SocketAddress:
        """The address of a sender."""

    @property
    def arrived_ns(self) -> int:
        """When the last datagram of the last batch came, on the clock of ``time.monotonic_ns``; now where unknown."""


def stamp_arrivals(sock: socket.socket) -> None:
    """Let the kernel note when datagrams arrive, for ``Inbox.arrived_ns``; a link's delay counts from then on."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # without it, delays count from when the loop gets to the socket
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def make_inbox() -> Inbox:
    """The quickest one here."""
    return BatchInbox() if sys.platform == "linux" and ctypes.sizeof(ctypes.c_void_p) == 8 else PlainInbox()


class PlainInbox:
    """One system call a datagram."""

    def __init__(self) -> None:
        self._space = bytearray(DATAGRAM_MAX_BYTES)
        self._view = memoryview(self._space)

    def drain(self, sock: socket.socket, *, has_names: bool) -> Datagrams:
        return list(self._received(sock))

    def _received(self, sock: socket.socket) -> Iterator[tuple[bytes, Hashable]]:
        for at in range(BATCH):
            try:
                frame_bytes, address = sock.recvfrom_into(self._space)
            except BlockingIOError:
                return
            except OSError:
                if at == 0:
                    raise
                return  # nothing is hidden: the kernel tells each such thing once, and frames before it are not lost
            yield bytes(self._view[:frame_bytes]), address

    def address_of(self, name: Hashable) -> SocketAddress:
        return cast(SocketAddress, name)

    @property
    def arrived_ns(self) -> int:
        return time.monotonic_ns()


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _MmsgHdr(ctypes.Structure):
    """struct mmsghdr of recvmmsg(2), on 64-bit Linux: its fields are padded by hand."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_bytes", ctypes.c_uint32),
        ("_pad", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_bytes", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("_pad2", ctypes.c_int),
        ("length", ctypes.c_uint32),
        ("_pad3", ctypes.c_uint32),
    )


class BatchInbox:
    """recvmmsg(2) through ctypes: Python has no name for it."""

    def __init__(self) -> None:
        self._recvmmsg = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._space = mmap.mmap(-1, BATCH * _SLOT_BYTES)  # memory is used only as far as datagrams reach
        self._names = mmap.mmap(-1, BATCH * _NAME_BYTES)
        self._controls = mmap.mmap(-1, BATCH * _CONTROL_BYTES)
        self._last = -1  # the slot of the last datagram received
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._space))
        names = ctypes.addressof(ctypes.c_char.from_buffer(self._names))
        controls = ctypes.addressof(ctypes.c_char.from_buffer(self._controls))
        self._vectors = (_IoVec * BATCH)(*(_IoVec(base + at * _SLOT_BYTES, DATAGRAM_MAX_BYTES) for at in range(BATCH)))
        vectors, step = ctypes.addressof(self._vectors), ctypes.sizeof(_IoVec)
        self._named = (_MmsgHdr * BATCH)()
        self._bare = (_MmsgHdr * BATCH)()
        for at in range(BATCH):
            for header in (self._named[at], self._bare[at]):
                header.iov, header.iov_count = vectors + at * step, 1
                header.control, header.control_bytes = controls + at * _CONTROL_BYTES, _CONTROL_BYTES
            self._named[at].name, self._named[at].name_bytes = names + at * _NAME_BYTES, _NAME_BYTES
        self._named_lengths, self._bare_lengths = _lengths_of(self._named), _lengths_of(self._bare)

    def drain(self, sock: socket.socket, *, has_names: bool) -> Datagrams:
        headers = self._named if has_names else self._bare
        taken = self._recvmmsg(sock.fileno(), headers, BATCH, socket.MSG_DONTWAIT, None)
        if taken < 0:
            number = ctypes.get_errno()
            if number in (errno.EAGAIN, errno.EINTR):
                return []
            raise OSError(number, os.strerror(number))
        self._last = taken - 1
        space = self._space
        if not has_names:
            lengths = self._bare_lengths[:taken].tolist()
            return [(space[at : at + size], None) for at, size in zip(_STARTS, lengths, strict=False)]
        lengths, names = self._named_lengths[:taken].tolist(), self._names[: taken * _NAME_BYTES]
        return [
            (space[at : at + size], names[name : name + _NAME_BYTES])
            for at, name, size in zip(_STARTS, _NAME_STARTS, lengths, strict=False)
        ]

    @property
    def arrived_ns(self) -> int:
        if self._last < 0:
            return time.monotonic_ns()
        seconds, nanoseconds = _STAMP.unpack_from(self._controls, self._last * _CONTROL_BYTES + 16)
        age_ns = time.time_ns() - (seconds * 1_000_000_000 + nanoseconds)
        now_ns = time.monotonic_ns()  # after the age was taken: a pause between makes a frame late, never early
        return now_ns - age_ns if 0 <= age_ns < _STAMP_LONGEST_NS else now_ns

    def address_of(self, name: Hashable) -> SocketAddress:
        raw = cast(bytes, name)
        family, port = struct.unpack_from("=H", raw)[0], struct.unpack_from("!H", raw, 2)[0]
        if family == socket.AF_INET:
            return (socket.inet_ntop(socket.AF_INET, raw[4:8]), port)
        flow, scope = struct.unpack_from("!I", raw, 4)[0], struct.unpack_from("=I", raw, 24)[0]
        return (socket.inet_ntop(socket.AF_INET6, raw[8:24]), port, flow, scope)


_STAMP = struct.Struct("=qq")
_STARTS = tuple(range(0, BATCH * _SLOT_BYTES, _SLOT_BYTES))
_NAME_STARTS = tuple(range(0, BATCH * _NAME_BYTES, _NAME_BYTES))


def _lengths_of(headers: ctypes.Array[_MmsgHdr]) -> memoryview:
    """The ``length`` of each header, as the kernel leaves it."""
    words = memoryview(headers).cast("B").cast("I")
    return words[_MmsgHdr.length.offset // 4 :: ctypes.sizeof(_MmsgHdr) // 4]


class Outbox:
    """Sends batches, and remembers whether this kernel joins datagrams."""

    def __init__(self, *, can_join: bool = sys.platform == "linux") -> None:
        self._can_join = can_join

    def send(
        self, sock: socket.socket, frames: Sequence[bytes], address: SocketAddress | None, counts: Counter[str]
    ) -> None:
        """Send to ``address``, or to the peer when it is None. What did not leave is counted by its reason."""
        at, total = 0, len(frames)
        if total == 1:  # a link of some Mbit/s: one frame a wake-up
            _send_one(sock, frames[0], address, counts)
            return
        while at < total:
            run = _run_length(frames, at) if self._can_join else 1
            if run == 1 or not self._send_joined(sock, frames[at : at + run], address):
                for frame in frames[at : at + run]:
                    _send_one(sock, frame, address, counts)
            at += run

    def _send_joined(self, sock: socket.socket, frames: Sequence[bytes], address: SocketAddress | None) -> bool:
        """Whether they have left; if not, none has."""
        size = struct.pack("=H", len(frames[0]))
        try:
            if address is None:
                sock.sendmsg(frames, ((_SOL_UDP, _UDP_SEGMENT, size),))
            else:
                sock.sendmsg(frames, ((_SOL_UDP, _UDP_SEGMENT, size),), 0, address)
        except OSError as error:  # each by itself will tell whether it is the joining or the network
            if error.errno in _CANNOT_JOIN:
                self._can_join = False
            return False
        return True


def _run_length(frames: Sequence[bytes], at: int) -> int:
    """How many from ``at`` on can leave joined: equally long ones, and one shorter after them."""
    size = len(frames[at])
    if size == 0:
        return 1
    end, limit = at + 1, min(len(frames), at + _JOINED_MAX, at + max(1, _JOINED_MAX_BYTES // size))
    while end < limit and len(frames[end]) == size:
        end += 1
    return end - at + (end < limit and 0 < len(frames[end]) < size)


def _send_one(sock: socket.socket, frame: bytes, address: SocketAddress | None, counts: Counter[str]) -> None:
    try:
        if address is None:
            sock.send(frame)
        else:
            sock.sendto(frame, address)
    except BlockingIOError:
        counts["socket_full"] += 1
    except OSError:  # nobody listens there, or the socket was closed: the datagram is lost, as in a network
        counts["socket_error"] += 1


def kernel_drops(sock: socket.socket) -> int:
    """Datagrams that found the socket's buffer full so far; 0 where the kernel does not tell."""
    if sys.platform != "linux":
        return 0
    with contextlib.suppress(OSError):
        words = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * _MEMINFO_WORDS)
        if len(words) == 4 * _MEMINFO_WORDS:
            return int(struct.unpack(f"={_MEMINFO_WORDS}I", words)[_MEMINFO_DROPS])
    return 0
