"""Streams in virtual time: what ordinary asyncio code sees over links good and bad."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Outage
from link_sim.profiles import PathProfile
from link_sim.virtual.changes import outage
from link_sim.virtual.endpoints.segment import HEADER_BYTES, StreamSettings
from link_sim.virtual.endpoints.send_side import SendSide
from link_sim.virtual.net import Net
from tests.link_sim.virtual.worlds import echo, two_nodes

NS_PER_MS = 1_000_000


async def transfer(net: Net, payload: bytes, parts: list[int]) -> bytes:
    """``payload`` sent to command in writes of those sizes, and what comes back from its echo."""
    server = await net.node("command").start_server(echo, 8883)
    reader, writer = await net.node("kit").open_connection("command", 8883)

    async def send() -> None:
        at = 0
        for part in parts:
            writer.write(payload[at : at + part])
            await writer.drain()
            at += part
        writer.write(payload[at:])
        writer.write_eof()

    async with asyncio.TaskGroup() as group:
        group.create_task(send(), name="send")
        got = await reader.read()
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    return got


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 60_000),
    parts=st.lists(st.integers(1, 9000), max_size=6),
    seed=st.integers(0, 1000),
    loss_ratio=st.sampled_from([0.0, 0.02, 0.2]),
    jitter_s=st.sampled_from([0.0, 0.02]),
    duplicate_ratio=st.sampled_from([0.0, 0.1]),
    corrupt_ratio=st.sampled_from([0.0, 0.05]),
    mtu_bytes=st.sampled_from([None, 78, 600]),
    window_bytes=st.sampled_from([2_000, 262_144]),
)
def test_bytes_come_out_as_they_went_in_over_a_link_that_loses_reorders_doubles_and_damages(
    length: int,
    parts: list[int],
    seed: int,
    loss_ratio: float,
    jitter_s: float,
    duplicate_ratio: float,
    corrupt_ratio: float,
    mtu_bytes: int | None,
    window_bytes: int,
) -> None:
    profile = LinkProfile(
        rate_bps=1_000_000,
        delay_s=0.03,
        jitter_s=jitter_s,
        reorders=bool(jitter_s),
        loss_ratio=loss_ratio,
        duplicate_ratio=duplicate_ratio,
        corrupt_ratio=corrupt_ratio,
        mtu_bytes=mtu_bytes,
        queue_bytes=20_000,
    )
    net = two_nodes(profile, seed=seed, streams=StreamSettings(window_bytes=window_bytes))
    payload = random.Random(seed).randbytes(length)
    assert net.run(transfer(net, payload, parts)) == payload


def test_opening_and_one_byte_take_what_the_link_takes_to_the_nanosecond() -> None:
    """9,600 bit/s: the empty segment of 32 bytes takes 26,666,667 ns, and every way 100 ms more."""
    net = two_nodes(LinkProfile(rate_bps=9600, delay_s=0.1))
    empty_ns, byte_ns = -(-HEADER_BYTES * 8 * 10**9 // 9600), -(-(HEADER_BYTES + 1) * 8 * 10**9 // 9600)

    async def main() -> tuple[int, int]:
        arrived: asyncio.Future[int] = net.loop.create_future()

        async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.readexactly(1)
            arrived.set_result(net.loop.now_ns)

        await net.node("command").start_server(serve, 1)
        _, writer = await net.node("kit").open_connection("command", 1)
        opened_ns = net.loop.now_ns
        await asyncio.sleep(1)
        began_ns = net.loop.now_ns
        writer.write(b"x")
        return opened_ns, await arrived - began_ns

    assert net.run(main()) == (2 * (empty_ns + 100 * NS_PER_MS), byte_ns + 100 * NS_PER_MS)


def test_a_long_transfer_fills_the_link() -> None:
    """Goodput is the rate less headers, and nothing is sent twice over a link that loses nothing."""
    net = two_nodes(LinkProfile(rate_bps=2_000_000, delay_s=0.02, queue_bytes=300_000, overhead_bytes=20))

    async def main() -> float:
        done: asyncio.Future[float] = net.loop.create_future()

        async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.readexactly(1_448_000)
            done.set_result(net.loop.time())

        await net.node("command").start_server(serve, 1)
        _, writer = await net.node("kit").open_connection("command", 1)
        writer.write(bytes(1_448_000))
        done_s = await done
        assert sum(net.links["link"].counts()["up"].values()) == 1000 + 2  # the opening and its acknowledgement
        return done_s

    wire_s = 1000 * 1500 * 8 / 2_000_000
    assert wire_s < net.run(main()) < wire_s + 0.3


def test_a_loss_costs_a_round_trip_and_a_lost_tail_a_timer() -> None:
    """Frames of the way up: 0 opening, 1 acknowledgement, then the segments."""

    def took_s(*lost_frames: int) -> float:
        up, down = LinkProfile(delay_s=0.05, lost_frames=lost_frames), LinkProfile(delay_s=0.05)
        net = two_nodes(PathProfile(name="link", up=up, down=down))

        async def main() -> float:
            done: asyncio.Future[float] = net.loop.create_future()

            async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
                await reader.readexactly(8 * 1448)
                done.set_result(net.loop.time())

            await net.node("command").start_server(serve, 1)
            _, writer = await net.node("kit").open_connection("command", 1)
            writer.write(bytes(8 * 1448))
            return await done

        return net.run(main())

    assert took_s() == pytest.approx(0.15, abs=1e-9)
    assert took_s(3) == pytest.approx(0.25, abs=1e-9)  # three later segments tell, one round trip on
    assert took_s(9) >= 0.15 + 0.2  # the last one: nothing later tells, the timer of 0.2 s or more does
    assert took_s(0) == pytest.approx(1.15, abs=1e-9)  # the opening: its first timer is 1 s


def test_a_reader_that_does_not_read_stops_the_writer() -> None:
    net = two_nodes(LinkProfile(delay_s=0.01))

    async def main() -> None:
        release = asyncio.Event()
        sums: asyncio.Future[int] = net.loop.create_future()

        async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await release.wait()
            sums.set_result(len(await reader.read(-1)))

        await net.node("command").start_server(serve, 1)
        _, writer = await net.node("kit").open_connection("command", 1)
        written_bytes = 0

        async def flood() -> None:
            nonlocal written_bytes
            while True:
                writer.write(bytes(10_000))
                written_bytes += 10_000
                await writer.drain()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(flood(), 7200)  # two hours of a closed window do not break it
        # the window, the reader's own 128 KiB and the writer's 64 KiB, and no more
        assert 262_144 < written_bytes < 262_144 + 131_072 + 65_536 + 40_000
        release.set()
        writer.write_eof()
        assert await sums == written_bytes

    net.run(main())


def test_a_window_that_opens_is_learned_even_when_the_news_is_lost() -> None:
    """Every frame down is lost for three seconds while the reader begins to read: a probe finds out."""
    net = two_nodes(LinkProfile(delay_s=0.01), streams=StreamSettings(window_bytes=20_000))

    async def main() -> int:
        async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            transport = _.transport
            assert isinstance(transport, asyncio.Transport)
            transport.pause_reading()
            await asyncio.sleep(5)
            net.links["link"].cut(side="down")
            transport.resume_reading()
            await asyncio.sleep(3)
            net.links["link"].mend()
            sums.set_result(len(await reader.readexactly(50_000)))

        sums: asyncio.Future[int] = net.loop.create_future()
        await net.node("command").start_server(serve, 1)
        _, writer = await net.node("kit").open_connection("command", 1)
        writer.write(bytes(50_000))
        return await sums

    assert net.run(main()) == 50_000


def test_nobody_listens_refuses_and_nobody_answers_times_out() -> None:
    net = two_nodes(LinkProfile(delay_s=0.1))

    async def main() -> tuple[float, float]:
        kit, loop = net.node("kit"), net.loop
        with pytest.raises(ConnectionRefusedError, match="command:9"):
            await kit.open_connection("command", 9)
        refused_s = loop.time()
        net.links["link"].cut(Outage.DROP)
        with pytest.raises(TimeoutError, match="7 tries"):
            await kit.open_connection("command", 9)
        with pytest.raises(OSError, match="reachable are command@link"):
            await kit.open_connection("elsewhere", 9)
        with pytest.raises(OSError, match="via lte"):
            await kit.open_connection("command", 9, via="lte")
        return refused_s, loop.time() - refused_s

    refused_s, late_s = net.run(main())
    assert refused_s == pytest.approx(0.2)
    assert late_s == pytest.approx(127)  # 1 + 2 + 4 + ... + 64


def test_a_dead_link_ends_a_stream_and_a_held_one_does_not() -> None:
    def ends(hold: bool, length_s: float) -> str:
        net = two_nodes(LinkProfile(delay_s=0.05), at=[(1, outage(length_s, hold=hold))])

        async def main() -> str:
            await net.node("command").start_server(echo, 1)
            reader, writer = await net.node("kit").open_connection("command", 1)
            await asyncio.sleep(2)
            writer.write(b"still there?")
            try:
                return (await reader.readexactly(12)).decode()
            except TimeoutError:
                return f"gone at {net.loop.time():.0f} s"

        return net.run(main())

    assert ends(hold=True, length_s=300) == "still there?"
    assert ends(hold=False, length_s=300) == "still there?"
    assert ends(hold=False, length_s=5000).startswith("gone at ")


def test_closing_resetting_and_writing_to_one_that_left() -> None:
    net = two_nodes(LinkProfile(delay_s=0.01))

    async def main() -> None:
        seen: list[str] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            order = await reader.readline()
            seen.append(order.decode().strip())
            if order == b"reset\n":
                writer.transport.abort()
            elif order == b"close\n":
                writer.write(b"bye")
                writer.close()

        kit = net.node("kit")
        await net.node("command").start_server(serve, 1)
        reader, writer = await kit.open_connection("command", 1)
        writer.write(b"reset\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.write(b"more")
        with pytest.raises(ConnectionResetError):
            await writer.drain()

        reader, writer = await kit.open_connection("command", 1)
        writer.write(b"close\n")
        assert await reader.read() == b"bye"
        writer.write(b"to nobody")
        await asyncio.sleep(1)
        with pytest.raises(ConnectionResetError):
            await writer.drain()
        assert seen == ["reset", "close"]

    net.run(main())


def test_half_close_keeps_the_other_direction_open_and_nothing_is_left_behind() -> None:
    net = two_nodes(LinkProfile(delay_s=0.01, loss_ratio=0.2))

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            whole = await reader.read()
            await asyncio.sleep(10)
            writer.write(whole[::-1])
            writer.close()

        server = await net.node("command").start_server(serve, 1)
        reader, writer = await net.node("kit").open_connection("command", 1)
        writer.write(b"abc" * 1000)
        writer.write_eof()
        assert await reader.read() == b"cba" * 1000
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(200)  # late segments and lingering
        assert [end.streams for end in net.links["link"].ends] == [{}, {}]
        assert not net.node("command").ports.listeners

    net.run(main())


def test_unmodified_asyncio_code_finds_nodes_by_name() -> None:
    """A small HTTP exchange that knows nothing of the simulator but the context it runs in."""

    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        body = f"you are {writer.get_extra_info('peername')[0]}, asked {request.split()[1].decode()}".encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(web, "0.0.0.0", 80) as server:
            await server.serve_forever()

    async def get(host: str) -> bytes:
        await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_connection(host, 80)
        writer.write(b"GET /status HTTP/1.1\r\nhost: command\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer.partition(b"\r\n\r\n")[2]

    net = two_nodes("vsat")
    net.link("kit", "command", "4g")

    async def main() -> tuple[bytes, bytes, float]:
        kit, command = net.node("kit"), net.node("command")
        serving = command.create_task(serve())
        first = await kit.create_task(get("command"))
        satellite_s = net.loop.time()
        second = await kit.create_task(get("command@4g"))
        assert net.loop.time() - satellite_s < 0.5 < satellite_s
        with pytest.raises(RuntimeError, match="which node is this"):
            await asyncio.open_connection("command", 80)
        own = await command.create_task(get("localhost"))
        serving.cancel()
        assert own == b"you are command, asked /status"
        return first, second, satellite_s

    first, second, satellite_s = net.run(main())
    assert first == b"you are kit, asked /status"
    assert second == b"you are kit@4g, asked /status"
    assert satellite_s == pytest.approx(0.1 + 4 * 0.3, abs=0.05)  # opening and answer: two round trips of 600 ms


def test_a_server_runs_at_its_node_and_connects_onwards_from_there() -> None:
    net = two_nodes("clean")
    net.link("command", "district", "clean")

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, onward_writer = await asyncio.open_connection("district", 2)
        onward_writer.write(await reader.readline())
        writer.write(await onward.readline())
        onward_writer.close()
        writer.close()

    async def main() -> bytes:
        await net.node("district").start_server(echo, 2)
        await net.node("command").start_server(relay, 1)
        reader, writer = await net.node("kit").open_connection("command", 1)
        writer.write(b"pass it on\n")
        return await reader.read()

    assert net.run(main()) == b"pass it on\n"


def test_closing_with_bytes_unread_resets_the_other_end() -> None:
    net = two_nodes(LinkProfile(delay_s=0.1))

    async def main() -> None:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert isinstance(writer.transport, asyncio.Transport)
            writer.transport.pause_reading()
            await asyncio.sleep(1)
            writer.close()

        await net.node("command").start_server(serve, 1)
        reader, writer = await net.node("kit").open_connection("command", 1)
        await asyncio.sleep(0.3)  # until the other end has paused
        writer.write(b"nobody reads this")
        with pytest.raises(ConnectionResetError):
            await reader.read()

    net.run(main())


def test_a_late_answer_to_a_segment_sent_twice_teaches_no_round_trip_time() -> None:
    """Karn's rule: the timer is still that of the start, 1 s, and not one of 0.2 s made from a wrong measurement."""

    def next_timer_s(is_sent_twice: bool) -> float:
        send = SendSide(StreamSettings(), 1448, 262_144)
        send.write(b"a")
        assert send.next_piece(0) is not None
        if is_sent_twice:
            send.expire(NS_PER_MS)
            assert send.next_piece(NS_PER_MS) is not None
        send.acknowledge(1, 262_144, (), 2 * NS_PER_MS)
        send.write(b"b")
        assert send.next_piece(10 * NS_PER_MS) is not None
        assert send.deadline_ns is not None
        return (send.deadline_ns - 10 * NS_PER_MS) / 1e9

    assert next_timer_s(is_sent_twice=False) == 0.2
    assert next_timer_s(is_sent_twice=True) == 1.0
