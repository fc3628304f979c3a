"""What every transport keeps to: frames intact both ways, bounds, and a stop that leaves nothing behind."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_agent.core.limits import LinkLimits, LinkShape
from edge_agent.ports import Transport
from tests.descriptors import open_descriptors
from tests.transports.brokers import broker
from tests.transports.harness import RecordingPort, free_port, pty_cable, running, table
from transports.mqtt import MqttTransport
from transports.serial_radio import SerialRadioTransport
from transports.udp import UdpTransport


@dataclass(slots=True, kw_only=True)
class Way:
    """Two transports that reach each other, over real sockets, terminals or brokers."""

    near: Transport
    far: Transport
    shape: LinkShape
    more: list[Transport] = field(default_factory=list)  # further peers of ``far``, where it is a listener


async def udp_way(stack: AsyncExitStack, folder: Path, host: str) -> Way:
    where = f"[{host}]" if ":" in host else host
    address = f"{where}:{free_port(socket.SOCK_DGRAM, host)}"
    peers: list[Transport] = [UdpTransport(table(UdpTransport, remote=address)) for _ in range(4)]
    return Way(
        near=peers[0],
        far=UdpTransport(table(UdpTransport, listen=address)),
        shape=LinkShape.DATAGRAM,
        more=peers[1:],
    )


async def serial_way(stack: AsyncExitStack, folder: Path, *, half_duplex: bool) -> Way:
    cable = await stack.enter_async_context(pty_cable())
    near, far = (
        SerialRadioTransport(
            table(SerialRadioTransport, port=path, baud_rate=115_200, half_duplex=half_duplex, turnaround_s=0.0)
        )
        for path in cable.paths
    )
    return Way(near=near, far=far, shape=LinkShape.STREAM)


async def mqtt_way(stack: AsyncExitStack, folder: Path, kind: str) -> Way:
    address = f"127.0.0.1:{await stack.enter_async_context(broker(kind, folder))}"
    peers: list[Transport] = [
        MqttTransport(table(MqttTransport, broker=address, topic_prefix="team/7")) for _ in range(4)
    ]
    return Way(
        near=peers[0],
        far=MqttTransport(table(MqttTransport, broker=address, topic_prefix="team/7", listen=True)),
        shape=LinkShape.TUNNELLED,
        more=peers[1:],
    )


WAYS = {
    "udp4": lambda stack, folder: udp_way(stack, folder, "127.0.0.1"),
    "udp6": lambda stack, folder: udp_way(stack, folder, "::1"),
    "serial": lambda stack, folder: serial_way(stack, folder, half_duplex=False),
    "serial_half_duplex": lambda stack, folder: serial_way(stack, folder, half_duplex=True),
    "mqtt_nats": lambda stack, folder: mqtt_way(stack, folder, "nats"),
    "mqtt_mosquitto": lambda stack, folder: mqtt_way(stack, folder, "mosquitto"),
}
ALL = [pytest.param(name, marks=[] if name.startswith("udp") else pytest.mark.device) for name in WAYS]
LISTENERS = [each for each in ALL if not str(each.values[0]).startswith("serial")]


@pytest.fixture(name="way")
async def fixture_way(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Way]:
    async with AsyncExitStack() as stack:
        yield await WAYS[request.param](stack, tmp_path)


def frames_of_all_sorts(mtu_bytes: int) -> list[bytes]:
    rng = random.Random(1)
    return [
        b"\x00",
        b"\xff",
        b"\x00\x01",
        rng.randbytes(64),
        bytes(mtu_bytes),
        b"\xff" * (mtu_bytes - 1),
        rng.randbytes(mtu_bytes),
    ]


def limits_of(port: RecordingPort) -> LinkLimits:
    assert port.limits is not None
    return port.limits


@pytest.mark.parametrize("way", ALL, indirect=True)
async def test_frames_go_both_ways_intact_in_order_and_once(way: Way) -> None:
    async with running(way.far, "far") as far, running(way.near, "near") as near:
        assert limits_of(near).shape is way.shape
        frames = frames_of_all_sorts(limits_of(near).mtu_bytes)
        for frame in frames:
            near.send(frame)
            address, received = await far.next_frame()
            assert received == frame
            far.send(frame[::-1], address)
            assert await near.next_frame() == (None, frame[::-1])
        assert not near.counts
        assert not far.counts


@pytest.mark.parametrize("way", ALL, indirect=True)
async def test_a_frame_above_the_mtu_is_refused_and_counted_and_the_next_one_arrives(way: Way) -> None:
    async with running(way.far, "far") as far, running(way.near, "near") as near:
        near.send(bytes(limits_of(near).mtu_bytes + 1))
        assert near.counts == {"oversize_frame": 1}
        near.send(b"next")
        assert (await far.next_frame())[1] == b"next"


@pytest.mark.parametrize("way", LISTENERS, indirect=True)
async def test_one_listener_serves_several_peers_and_answers_each(way: Way) -> None:
    async with AsyncExitStack() as stack:
        far = await stack.enter_async_context(running(way.far, "far"))
        peers = [await stack.enter_async_context(running(each, f"peer{n}")) for n, each in enumerate(way.more)]
        for number, peer in enumerate(peers):
            peer.send(b"from %d" % number)
        arrived = [await far.next_frame() for _ in peers]
        assert len({address for address, _ in arrived}) == len(peers)
        for address, frame in arrived:
            far.send(frame.replace(b"from", b"to"), address)
        for number, peer in enumerate(peers):
            assert await peer.next_frame() == (None, b"to %d" % number)
        far.send(b"to nobody", None)
        assert far.counts == {"no_address": 1}


@pytest.mark.parametrize("way", ALL, indirect=True)
async def test_stopping_releases_everything_and_it_runs_again(way: Way) -> None:
    """That a cancel takes less than a second is asserted by ``running``; a sender kept too long is harmless."""
    await asyncio.to_thread(int)  # the worker thread that resolves names lives on, and may open what it needs now
    before = open_descriptors()
    for _ in range(3):
        async with running(way.far, "far") as far, running(way.near, "near") as near:
            near.send(b"again")
            assert (await far.next_frame())[1] == b"again"
        near.send(b"too late")
        assert open_descriptors() <= before


@pytest.mark.parametrize("way", ALL, indirect=True)
async def test_cancelled_while_it_starts_nothing_is_left(way: Way) -> None:
    await asyncio.to_thread(int)
    before = open_descriptors()
    for turns in range(12):
        task = asyncio.create_task(way.near.run(RecordingPort()))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(1.0):
            with pytest.raises(asyncio.CancelledError):
                await task
    await asyncio.get_running_loop().shutdown_default_executor()  # connecting workers end, and what they opened closes
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert open_descriptors() <= before
