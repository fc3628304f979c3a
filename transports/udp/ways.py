"""One open UDP socket: frames out, singly or many in one call of the kernel, and whatever waits in it as one batch.

Frames of one length to one address are handed to the kernel as one long datagram that it cuts up itself (UDP_SEGMENT,
udp(7)): a twentieth of the calls. A listener on all addresses gets what came in a row as one, too (UDP_GRO); elsewhere
the call that can tell the length costs more than is won, because frames that come singly need it as well.
"""

import asyncio
import errno
import ipaddress
import socket
import struct
import sys
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.ports import TransportPort

DATAGRAMS_A_WAKE_UP = 64  # then timers and other sockets get their turn; about 0.3 ms of work
RECEIVE_MAX_BYTES = 2048  # what fills it was longer and is cut off; peers may have a larger MTU than ours
COALESCED_MAX_BYTES = 65_535  # as much as one call gives of frames that the kernel has joined

_RECEIVE_BUFFER_BYTES = 4 << 20  # 60 ms of a 500 Mbit/s burst while the process does something else
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h: beyond net.core.rmem_max, for those with CAP_NET_ADMIN
_IP_PKTINFO = 8  # linux/in.h; the socket module has it from Python 3.14
_IN_PKTINFO = struct.Struct("@i4s4s")  # interface, local address, destination
_IN6_PKTINFO = struct.Struct("@16sI")  # address, interface
_ANCILLARY_BYTES = 128  # room for one of them and a length of segments with their headers
_SOL_UDP, _UDP_SEGMENT, _UDP_GRO = 17, 103, 104  # linux/udp.h; the socket module has none of them
_SEGMENTS_MAX = 64  # UDP_MAX_SEGMENTS of Linux before 6.9
_SEGMENTED_MAX_BYTES = 60_000  # of 65,507 that a datagram may have
_SEGMENT_LENGTH = struct.Struct("@H")
_GRO_LENGTH = struct.Struct("@i")

_DELIVERY_ERRORS = {  # one datagram did not get there; what later ones do is for the node's estimates
    errno.ECONNREFUSED: "connection_refused",
    errno.EHOSTUNREACH: "host_unreachable",
    errno.EMSGSIZE: "oversize_frame",
    errno.EPERM: "send_forbidden",  # a firewall of this machine
    errno.ENOBUFS: "send_buffer_full",
    errno.EAGAIN: "send_buffer_full",
}
_DEVICE_ERRORS = frozenset({errno.ENODEV, errno.ENXIO, errno.ENETDOWN})
_SEGMENT_ERRORS = frozenset({errno.EIO, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOPROTOOPT})
"""The kernel is older than UDP_SEGMENT, or the interface cannot reckon checksums of segments."""

Address = Hashable | None
SocketAddress = tuple[Any, ...]  # Any: (host, port) or (host, port, flow, scope), as the family has it
Ancillary = tuple[int, int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a socket is no more. ``is_down``: nothing can leave now; else the next one is opened without a pause.

    ``was_up``: the node had been told that the link is there.
    """

    reason: str = ""
    is_down: bool = True
    was_up: bool = False


class Way:
    """One open socket: sends, drains, and tells when it is lost."""

    def __init__(self, udp: socket.socket, port: TransportPort, *, is_listener: bool, mtu_bytes: int) -> None:
        self._udp = udp
        self._port = port
        self._is_listener = is_listener
        self._mtu_bytes = mtu_bytes
        self._may_segment = sys.platform == "linux"
        self.lost: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self.received_datagrams = 0
        self.sent_frames = 0

    def send(self, address: Address, frame: bytes) -> None:
        """One frame to the remote."""
        if not self._fits(frame):
            return
        self.sent_frames += 1
        try:
            self._udp.send(frame)
        except OSError as error:
            self._fail(error)

    def send_to(self, address: Address, frame: bytes) -> None:
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

    def send_many(self, address: Address, frames: Sequence[bytes]) -> None:
        """Frames to the remote, in their order."""
        for segments in runs_of(frames):
            if len(segments) > 1 and self._sends_segments(segments, (), None):
                self.sent_frames += len(segments)
            else:
                for frame in segments:
                    self.send(address, frame)

    def send_many_to(self, address: Address, frames: Sequence[bytes]) -> None:
        """Frames to a peer, in their order."""
        for segments in runs_of(frames):
            if len(segments) < 2 or not isinstance(address, tuple) or not self._sends_segments_to(segments, address):
                for frame in segments:
                    self.send_to(address, frame)

    def _sends_segments_to(self, segments: Sequence[bytes], address: SocketAddress) -> bool:
        return self._sends_segments(segments, (), address)

    def _sends_segments(
        self, segments: Sequence[bytes], ancillary: tuple[Ancillary, ...], peer: SocketAddress | None
    ) -> bool:
        """Whether all left in one call; False: none did, and each has to try by itself."""
        length = len(segments[0])
        if not self._may_segment or length > self._mtu_bytes:
            return False
        cut = (_SOL_UDP, _UDP_SEGMENT, _SEGMENT_LENGTH.pack(length))
        try:
            self._udp.sendmsg(segments, (*ancillary, cut), 0, peer)
        except OSError as error:
            if error.errno in _SEGMENT_ERRORS:
                self._may_segment = False
                self._port.count("segmentation_refused")
            return False
        return True

    def drain(self) -> None:
        """Everything that waits in the socket, at most a turn's worth, to the port as one batch."""
        batch = self._drain_listener() if self._is_listener else self._drain_remote()
        self.received_datagrams += len(batch)
        if batch:
            self._port.frames_received(batch)

    def _drain_remote(self) -> list[tuple[Address, bytes]]:
        receive, batch = self._udp.recv, list[tuple[Address, bytes]]()
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

    def _drain_listener(self) -> list[tuple[Address, bytes]]:
        receive, batch = self._udp.recvfrom, list[tuple[Address, bytes]]()
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
        self.lose(error.strerror or str(error))

    def lose(self, reason: str) -> None:
        """The way is gone; the first reason counts."""
        if not self.lost.done():
            self.lost.set_result(Ending(reason=reason))

    def move(self) -> None:
        """A socket opened anew would leave by another address: this one is to be replaced."""
        if not self.lost.done():
            self.lost.set_result(Ending(is_down=False))


class WildcardWay(Way):
    """A listener on all addresses: answers leave from the very address that was asked, or a connected peer drops them.

    Addresses are (peer, ancillary data of the answer). Source: ip(7) IP_PKTINFO, ipv6(7) IPV6_PKTINFO.
    """

    def __init__(self, udp: socket.socket, port: TransportPort, *, is_listener: bool, mtu_bytes: int) -> None:
        super().__init__(udp, port, is_listener=is_listener, mtu_bytes=mtu_bytes)
        self._last: tuple[object, Ancillary | None] | None = None
        self._last_address: Address = None
        if udp.family == socket.AF_INET6:  # IPv4 peers of such a socket come with mapped addresses
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            udp.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        try:
            udp.setsockopt(_SOL_UDP, _UDP_GRO, 1)
        except OSError:  # Linux before 5.0: each frame comes by itself
            port.count("coalescing_refused")

    def send_to(self, address: Address, frame: bytes) -> None:
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

    def _sends_segments_to(self, segments: Sequence[bytes], address: SocketAddress) -> bool:
        peer, ancillary = address
        return self._sends_segments(segments, ancillary, peer)

    def _drain_listener(self) -> list[tuple[Address, bytes]]:
        receive, batch = self._udp.recvmsg, list[tuple[Address, bytes]]()
        while len(batch) < DATAGRAMS_A_WAKE_UP:
            try:
                joined, ancillary, _, peer = receive(COALESCED_MAX_BYTES, _ANCILLARY_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                self._fail(error)
                continue
            length, local = len(joined), None
            frame_bytes = length
            for each in ancillary:
                if each[0] == _SOL_UDP:
                    [frame_bytes] = _GRO_LENGTH.unpack(each[2])
                else:
                    local = each
            address = self._address(peer, local)
            if not 0 < frame_bytes < RECEIVE_MAX_BYTES:
                self._port.count(
                    "oversize_frame" if length else "empty_frame", max(1, -(-length // (frame_bytes or 1)))
                )
            elif frame_bytes == length:
                batch.append((address, joined))
            else:
                batch += [(address, joined[at : at + frame_bytes]) for at in range(0, length, frame_bytes)]
        return batch

    def _address(self, peer: object, local: Ancillary | None) -> Address:
        """What the node is to answer to; the same object while frames come from the same peer."""
        if self._last != (peer, local):
            self._last = peer, local
            self._last_address = peer, () if local is None else (_answer_from(local),)
        return self._last_address


def runs_of(frames: Sequence[bytes]) -> list[Sequence[bytes]]:
    """``frames`` in pieces that one call can send: equally long, the last one of a piece perhaps shorter."""
    runs: list[Sequence[bytes]] = []
    start, count = 0, len(frames)
    while start < count:
        length = len(frames[start])
        end, most = start + 1, start + min(_SEGMENTS_MAX, _SEGMENTED_MAX_BYTES // max(1, length))
        while end < count and end < most and len(frames[end]) == length:
            end += 1
        if start + 1 <= end < min(count, most) and len(frames[end]) < length:
            end += 1
        runs.append(frames[start:end])
        start = end
    return runs


def is_wildcard(address: SocketAddress) -> bool:
    """Whether a listener there takes what comes to any address of this machine."""
    return address[0] in ("0.0.0.0", "::")


def _answer_from(received: Ancillary) -> Ancillary:
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


def enlarge_receive_buffer(udp: socket.socket) -> None:
    """As much room as this process may have for frames that wait."""
    if sys.platform == "linux":
        try:
            udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
        except PermissionError:
            pass  # the plain option below gives what everyone may have
        else:
            return
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
