"""Datagrams say how urgent they are: the field in the IP header, as a receiver's kernel reports it."""

import asyncio
import socket

import pytest

from edge_agent.core.bundle import Precedence
from tests.transports.harness import RecordingPort, running, table
from transports.udp import UdpTransport
from transports.udp.marks import CODE_POINTS, EXPEDITED, LOWER_EFFORT, SIGNALLING

IP_RECVTOS = 13  # linux/in.h; the socket module has it from Python 3.14
HOSTS = ["127.0.0.1", "::1"]


def receiver(host: str) -> socket.socket:
    """A socket that reports the field of each datagram it gets."""
    udp = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(5.0)
    udp.bind((host, 0))
    if ":" in host:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    else:
        udp.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
    return udp


def heard(udp: socket.socket) -> tuple[bytes, int]:
    """The next datagram, and its code point."""
    frame, [(_, _, field)], _, _ = udp.recvmsg(2048, 128)
    return frame, int.from_bytes(field[:1]) >> 2


def remote(udp: socket.socket, **settings: object) -> UdpTransport:
    host, port = udp.getsockname()[:2]
    return UdpTransport(table(UdpTransport, remote=f"[{host}]:{port}" if ":" in host else f"{host}:{port}", **settings))


def send(port: RecordingPort, precedence: Precedence | None, frame: bytes) -> None:
    assert port.marker is not None
    port.marker(precedence)
    port.send(frame)


@pytest.mark.parametrize("host", HOSTS)
async def test_each_class_has_its_mark_on_the_wire(host: str) -> None:
    with receiver(host) as udp:
        async with running(remote(udp), "near") as near:
            for precedence, code_point in CODE_POINTS.items():
                send(near, precedence, f"{precedence}".encode())
                assert await asyncio.to_thread(heard, udp) == (f"{precedence}".encode(), code_point)


@pytest.mark.parametrize("host", HOSTS)
async def test_frames_in_one_call_of_the_kernel_are_all_marked(host: str) -> None:
    with receiver(host) as udp:
        async with running(remote(udp), "near") as near:
            assert near.marker is not None
            assert near.many_sender is not None
            near.marker(Precedence.DEFERRED)
            near.many_sender(None, [bytes(1000)] * 5)
            near.marker(Precedence.FLASH)
            near.many_sender(None, [bytes(500)] * 2)
            marks = [(await asyncio.to_thread(heard, udp))[1] for _ in range(7)]
            assert marks == [LOWER_EFFORT] * 5 + [EXPEDITED] * 2


@pytest.mark.parametrize("host", HOSTS)
async def test_a_listener_marks_what_it_answers(host: str) -> None:
    """On one socket for both families an IPv4 peer comes with a mapped address."""
    with receiver(host) as udp, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::", 0))
        number = taken.getsockname()[1]
        taken.close()
        async with running(UdpTransport(table(UdpTransport, listen=f"[::]:{number}")), "far") as far:
            udp.sendto(b"hello", (host, number))
            await far.until(lambda port: port.frames)
            assert far.marker is not None
            far.marker(None)
            far.send(b"answer", far.frames[0][0])
            assert await asyncio.to_thread(heard, udp) == (b"answer", SIGNALLING)


async def test_who_wants_no_mark_gets_none() -> None:
    with receiver(HOSTS[0]) as udp:
        async with running(remote(udp, dscp=False), "near") as near:
            assert near.marker is None
            near.send(b"plain")
            assert await asyncio.to_thread(heard, udp) == (b"plain", 0)


def test_the_urgent_go_before_the_rest_and_nothing_is_marked_as_control() -> None:
    assert CODE_POINTS[Precedence.FLASH] == EXPEDITED
    assert len({CODE_POINTS[each] for each in Precedence}) == len(Precedence)
    assert max(CODE_POINTS.values()) < 48  # network control, RFC 4594 section 3.1, is the network's own
