"""The UDP proxy between real sockets. Times are judged with the proxy's own lateness: above its limit is no verdict."""

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from edge_agent.addresses import HostPort
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Outage
from link_sim.profiles import PathProfile
from link_sim.real_time.live import LATE_LIMIT_MS, LiveLink
from link_sim.real_time.udp_proxy import CLIENTS_MAX, UdpProxy

HOST = "127.0.0.1"


def both(profile: LinkProfile) -> PathProfile:
    return PathProfile(name="test", up=profile, down=profile)


class Sink(asyncio.DatagramProtocol):
    """Keeps what arrives, with its time; answers when told to."""

    def __init__(self, *, echoes: bool = False) -> None:
        self.echoes = echoes
        self.arrived: list[tuple[float, bytes, object]] = []
        self.transport: asyncio.DatagramTransport | None = None
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.arrived.append((time.monotonic(), data, addr))
        self._changed.set()
        if self.echoes and self.transport is not None:
            self.transport.sendto(b"re:" + data, addr)  # type: ignore[arg-type]  # as asyncio gave it

    async def until(self, condition: Callable[[], bool], within_s: float = 20.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def open_sink(host: str = HOST, *, echoes: bool = False) -> tuple[Sink, HostPort]:
    sink = Sink(echoes=echoes)
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: sink, local_addr=(host, 0))
    assert sink.transport is not None
    return sink, HostPort(host=host, port=sink.transport.get_extra_info("sockname")[1])


async def open_client(proxy: UdpProxy) -> Sink:
    client = Sink()
    address = (proxy.address.host, proxy.address.port)
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: client, remote_addr=address)
    return client


def send(client: Sink, payload: bytes) -> None:
    assert client.transport is not None
    client.transport.sendto(payload)


async def turns() -> None:
    """Let the loop see what was sent over loopback: it is in the receiver's socket when ``sendto`` returns."""
    for _ in range(5):
        await asyncio.sleep(0)


def skip_if_late(link: LiveLink) -> None:
    late_ms = max(line.lateness().p99_ms for line in (link.up, link.down))
    if late_ms > LATE_LIMIT_MS:
        pytest.xfail(f"inconclusive: this machine was {late_ms} ms late")


@pytest.mark.parametrize("host", [HOST, "::1"])
async def test_datagrams_go_through_and_answers_find_their_client(host: str) -> None:
    sink, upstream = await open_sink(host, echoes=True)
    async with UdpProxy("4g", both(LinkProfile()), listen=HostPort(host=host, port=0), upstream=upstream) as proxy:
        clients = [await open_client(proxy) for _ in range(3)]
        for number, client in enumerate(clients):
            send(client, b"from %d" % number)
        for number, client in enumerate(clients):
            await client.until(lambda client=client: len(client.arrived) == 1)
            assert client.arrived[0][1] == b"re:from %d" % number
        assert len({address for _, _, address in sink.arrived}) == 3


@pytest.mark.slow
async def test_delay_is_kept_and_never_cut_short() -> None:
    _, upstream = await open_sink(echoes=True)
    profile = both(LinkProfile(delay_s=0.030))
    async with UdpProxy("4g", profile, listen=HostPort(host=HOST, port=0), upstream=upstream) as proxy:
        client = await open_client(proxy)
        trips_s = []
        for number in range(20):
            sent_s = time.monotonic()
            send(client, b"%d" % number)
            await client.until(lambda number=number: len(client.arrived) == number + 1)
            trips_s.append(client.arrived[-1][0] - sent_s)
        assert min(trips_s) >= 0.060
        skip_if_late(proxy.link)
        assert sorted(trips_s)[10] < 0.060 + 4 * LATE_LIMIT_MS / 1000


@pytest.mark.slow
async def test_rate_is_kept_with_overhead_counted() -> None:
    """100 frames of 972 + 28 bytes at 1 Mbit/s take 0.8 s: the first and the last arrive 0.792 s apart."""
    sink, upstream = await open_sink()
    profile = both(LinkProfile(rate_bps=1_000_000, overhead_bytes=28))
    async with UdpProxy("4g", profile, listen=HostPort(host=HOST, port=0), upstream=upstream) as proxy:
        client = await open_client(proxy)
        started_s = time.monotonic()
        for number in range(100):
            send(client, bytes([number]) * 972)
        await sink.until(lambda: len(sink.arrived) == 100)
        assert [payload[0] for _, payload, _ in sink.arrived] == list(range(100))
        assert sink.arrived[-1][0] - started_s >= 0.8
        skip_if_late(proxy.link)
        assert sink.arrived[-1][0] - sink.arrived[0][0] == pytest.approx(0.792, abs=4 * LATE_LIMIT_MS / 1000)


async def test_cuts_hold_or_drop_and_restore_brings_back_the_first_numbers() -> None:
    sink, upstream = await open_sink()
    profile = both(LinkProfile(delay_s=0.001, loss_ratio=0.0))
    async with UdpProxy("4g", profile, listen=HostPort(host=HOST, port=0), upstream=upstream) as proxy:
        client, link = await open_client(proxy), proxy.link
        link.cut(Outage.HOLD)
        send(client, b"held")
        await turns()
        assert link.up.line.model.counts()["held"] == 1
        assert sink.arrived == []
        link.mend()
        await sink.until(lambda: len(sink.arrived) == 1)
        link.cut(Outage.DROP)
        send(client, b"dropped")
        await turns()
        assert link.up.line.model.counts()["outage"] == 1
        link.set({"rate_bps": 64_000, "loss_ratio": 1.0})
        link.restore()
        assert link.up.line.profile == profile.up
        send(client, b"after")
        await sink.until(lambda: len(sink.arrived) == 2)
        assert [payload for _, payload, _ in sink.arrived] == [b"held", b"after"]


async def test_a_closed_port_upstream_is_counted_and_survived() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    upstream = HostPort(host=HOST, port=port)
    async with UdpProxy("4g", both(LinkProfile()), listen=HostPort(host=HOST, port=0), upstream=upstream) as proxy:
        client = await open_client(proxy)
        for _ in range(3):
            send(client, b"anybody?")
            await turns()
        assert proxy.link.up.counts["socket_error"] > 0
        sink = Sink(echoes=True)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: sink, local_addr=(HOST, port))
        send(client, b"now")
        await client.until(lambda: bool(client.arrived))


async def test_the_client_silent_for_longest_makes_room_and_nothing_stays_open() -> None:
    sink, upstream = await open_sink()
    listen = HostPort(host=HOST, port=0)
    async with UdpProxy("4g", both(LinkProfile()), listen=listen, upstream=upstream) as proxy:
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(CLIENTS_MAX + 1)]
        for at, client in enumerate(clients):
            client.sendto(b"one", (HOST, proxy.address.port))
            await sink.until(lambda at=at: len(sink.arrived) == at + 1)
        assert proxy.describe()["clients"] == CLIENTS_MAX
        assert proxy.link.up.counts["clients_dismissed"] == 1
        address = (HOST, proxy.address.port)
        for client in clients:
            client.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(address)  # nobody holds it


async def test_a_port_in_use_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        listen = HostPort(host=HOST, port=taken.getsockname()[1])
        proxy = UdpProxy("4g", both(LinkProfile()), listen=listen, upstream=listen)
        with pytest.raises(OSError, match=f"link 4g: cannot listen on {listen}"):
            await proxy.start()


def test_profiles_of_the_two_directions_differ_in_randomness() -> None:
    profile = both(LinkProfile(loss_ratio=0.5))
    proxy = UdpProxy("4g", profile, listen=HostPort(host=HOST, port=0), upstream=HostPort(host=HOST, port=1))
    models = [line.line.model for line in (proxy.link.up, proxy.link.down)]
    fates = [[model.offer(0, 100).fate for _ in range(64)] for model in models]
    assert fates[0] != fates[1]
    assert replace(profile.up, loss_ratio=0.5) == profile.up
