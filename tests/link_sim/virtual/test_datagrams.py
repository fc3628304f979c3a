"""Datagram ports in virtual time."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_sim.link.link_profile import LinkProfile
from link_sim.virtual.net import Net
from tests.link_sim.virtual.worlds import Heard, two_nodes


async def open_port(net: Net, node: str, port: int, **options: object) -> Heard:
    """A port whose protocol keeps what comes. ``options`` are those of the node's call."""
    _, protocol = await net.node(node).create_datagram_endpoint(
        lambda: Heard(net),
        local=port,
        **options,  # type: ignore[arg-type]  # mypy: each option has its own type
    )
    assert isinstance(protocol, Heard)
    return protocol


@given(
    rate_bps=st.integers(1, 10**9),
    delay_ns=st.integers(0, 10**9),
    overhead_bytes=st.integers(0, 60),
    sizes=st.lists(st.integers(0, 2000), min_size=1, max_size=10),
)
def test_datagrams_arrive_when_rate_and_delay_say_to_the_nanosecond(
    rate_bps: int, delay_ns: int, overhead_bytes: int, sizes: list[int]
) -> None:
    profile = LinkProfile(rate_bps=rate_bps, delay_s=delay_ns / 1e9, overhead_bytes=overhead_bytes)
    net = two_nodes(profile)

    async def main() -> list[int]:
        heard = await open_port(net, "command", 5000)
        sender = await open_port(net, "kit", 5001, remote=("command", 5000))
        assert sender.transport is not None
        for size in sizes:
            sender.transport.sendto(bytes(size))
        await asyncio.sleep(200_000)
        return [at_ns for at_ns, _, _ in heard.came]

    work, expected = 0, []
    for size in sizes:
        work += (size + overhead_bytes) * 8 * 10**9
        expected.append(-(-work // rate_bps) + round(delay_ns / 1e9 * 10**9))
    assert net.run(main()) == [at_ns for at_ns in expected if at_ns <= 200_000 * 10**9]


def test_answers_go_back_over_the_link_they_came_by() -> None:
    net = two_nodes("vsat")
    lte = net.link("kit", "command", "4g", name="lte")

    async def main() -> None:
        server = await open_port(net, "command", 5000)
        sat = await open_port(net, "kit", 1, remote=("command", 5000))
        fast = await open_port(net, "kit", 2, remote=("command", 5000), via=lte)
        for port in (sat, fast):
            assert port.transport is not None
            port.transport.sendto(b"from " + str(port.transport.get_extra_info("sockname")[1]).encode())
        await asyncio.sleep(1)
        assert [(data, addr) for _, data, addr in server.came] == [
            (b"from 2", ("kit@lte", 2)),
            (b"from 1", ("kit", 1)),
        ]
        assert server.transport is not None
        for _, data, addr in server.came:
            server.transport.sendto(b"to " + data, addr)
        await asyncio.sleep(1)
        assert [data for _, data, _ in fast.came] == [b"to from 2"]
        assert [data for _, data, _ in sat.came] == [b"to from 1"]
        assert fast.came[0][0] < sat.came[0][0]
        assert lte.counts()["down"]["delivered"] == 1

    net.run(main())


def test_what_is_wrong_is_told_and_what_meets_nobody_is_counted() -> None:
    net = two_nodes("clean")

    async def main() -> None:
        port = await open_port(net, "kit", 1)
        with pytest.raises(OSError, match="port 1 is in use"):
            await open_port(net, "kit", 1)
        with pytest.raises(OverflowError, match="0 to 65535"):
            await open_port(net, "kit", 70_000)
        assert port.transport is not None
        port.transport.sendto(b"x", ("nobody", 1))
        port.transport.sendto(bytes(70_000), ("command", 1))
        port.transport.sendto(b"x", ("command", 9))
        port.transport.sendto(b"to myself", ("localhost", 1))
        await asyncio.sleep(1)
        assert ["unreachable" in str(error) for error in port.errors] == [True, False]
        assert [data for _, data, _ in port.came] == [b"to myself"]
        assert net.links["link"].ends[1].counts == {"unheard": 1}
        port.transport.close()
        await asyncio.sleep(0)
        assert port.is_lost
        await open_port(net, "kit", 1)

    net.run(main())


def test_unmodified_code_opens_ports_by_the_loop() -> None:
    net = two_nodes(LinkProfile(delay_s=0.25, corrupt_ratio=1.0))

    async def serve() -> Heard:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(lambda: Heard(net), local_addr=("0.0.0.0", 5000))
        return protocol

    async def send() -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("command", 5000))
        transport.sendto(b"\0\0\0\0")

    async def main() -> tuple[int, bytes]:
        heard = await net.node("command").create_task(serve())
        await net.node("kit").create_task(send())
        await asyncio.sleep(1)
        at_ns, data, _ = heard.came[0]
        return at_ns, data

    at_ns, data = net.run(main())
    assert at_ns == 250_000_000
    assert sum(byte.bit_count() for byte in data) == 1  # damaged by one bit, as the profile wants


def test_a_protocol_that_raises_is_told_of_and_the_next_datagram_comes() -> None:
    net = two_nodes("clean")

    class Fragile(Heard):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            super().datagram_received(data, addr)
            raise ValueError(data)

    async def main() -> tuple[int, int]:
        told: list[object] = []
        net.loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        _, heard = await net.node("command").create_datagram_endpoint(lambda: Fragile(net), local=1)
        sender = await open_port(net, "kit", 2)
        assert sender.transport is not None
        for _ in range(3):
            sender.transport.sendto(b"x", ("command", 1))
        await asyncio.sleep(1)
        assert isinstance(heard, Fragile)
        return len(told), len(heard.came)

    assert net.run(main()) == (3, 3)
