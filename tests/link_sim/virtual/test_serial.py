"""Serial ports in virtual time."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_sim.link.link_profile import LinkProfile
from link_sim.profiles import PathProfile, serial_profile, serial_rate_bps
from link_sim.virtual.changes import outage
from tests.link_sim.virtual.worlds import two_nodes


@given(payload=st.binary(min_size=1, max_size=3000), baud_rate=st.sampled_from([1200, 9600, 115_200]))
def test_bytes_take_their_time_at_a_baud_rate(payload: bytes, baud_rate: int) -> None:
    net = two_nodes(serial_profile(baud_rate))

    async def main() -> int:
        _, writer = await net.node("kit").open_serial("link")
        reader, _ = await net.node("command").open_serial(net.links["link"])
        writer.write(payload)
        assert await reader.readexactly(len(payload)) == payload
        return net.loop.now_ns

    assert net.run(main()) == -(-len(payload) * 8 * 10**9 // serial_rate_bps(baud_rate))


def test_a_writer_waits_for_a_slow_line_and_a_hold_loses_nothing() -> None:
    net = two_nodes(serial_profile(9600), at=[(5, outage(20, hold=True))])
    payload = bytes(range(256)) * 100

    async def main() -> tuple[float, float]:
        _, writer = await net.node("kit").open_serial("link")
        reader, _ = await net.node("command").open_serial("link")
        drained_s = net.loop.create_future()

        async def write() -> None:
            for at in range(0, len(payload), 1000):
                writer.write(payload[at : at + 1000])
                await writer.drain()
            drained_s.set_result(net.loop.time())

        async with asyncio.TaskGroup() as group:
            group.create_task(write(), name="write")
            assert await reader.readexactly(len(payload)) == payload
        return await drained_s, net.loop.time()

    drained_s, read_s = net.run(main())
    line_s = len(payload) / 960
    assert line_s + 20 <= read_s < line_s + 20.1
    assert read_s - 10 < drained_s < read_s  # the last 4 KiB in the queue and as many in the port's own buffer


def test_a_noisy_line_spoils_its_share_and_a_lossy_one_sends_nothing_again() -> None:
    noisy = LinkProfile(rate_bps=serial_rate_bps(9600), noise_ratio=0.1)
    lossy = LinkProfile(rate_bps=serial_rate_bps(9600), loss_ratio=0.5)
    net = two_nodes(PathProfile(name="bad", up=noisy, down=lossy))

    async def main() -> tuple[int, int]:
        kit_reader, kit_writer = await net.node("kit").open_serial("link")
        reader, writer = await net.node("command").open_serial("link")
        kit_writer.write(bytes(2000))
        writer.write(bytes(2000))
        await asyncio.sleep(10)
        return sum(map(bool, await reader.readexactly(2000))), len(kit_reader._buffer)  # type: ignore[attr-defined]

    spoiled, arrived = net.run(main())
    assert 140 < spoiled < 260
    assert 800 < arrived < 1200


def test_a_port_is_opened_once_and_by_its_own_nodes() -> None:
    net = two_nodes(serial_profile(9600))
    net.node("elsewhere")

    async def main() -> None:
        _, writer = await net.node("kit").open_serial("link")
        with pytest.raises(OSError, match="is open already"):
            await net.node("kit").open_serial("link")
        with pytest.raises(FileNotFoundError, match="no link 'link'"):
            await net.node("elsewhere").open_serial("link")
        writer.close()
        await writer.wait_closed()
        _, writer = await net.node("kit").open_serial("link")
        writer.write(b"to nobody")
        await asyncio.sleep(1)
        assert net.links["link"].ends[1].counts["unheard"] > 0

    net.run(main())
