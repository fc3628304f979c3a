"""The serial line between two real pseudo-terminals, as a program with a port open sees it."""

import asyncio
import contextlib
import os
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Outage
from link_sim.profiles import PathProfile, profile, serial_profile
from link_sim.real_time.live import LATE_LIMIT_MS
from link_sim.real_time.pty_proxy import PtyProxy

pytestmark = [pytest.mark.device, pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")]
FAST = PathProfile(name="fast", up=LinkProfile(), down=LinkProfile())


def both(numbers: LinkProfile) -> PathProfile:
    return PathProfile(name="test", up=numbers, down=numbers)


class Port:
    """One program's open port."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.received = b""
        self.stamps: list[tuple[float, int]] = []
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.fd, self._read)

    def _read(self) -> None:
        self.received += os.read(self.fd, 4096)
        self.stamps.append((time.monotonic(), len(self.received)))
        self._changed.set()

    async def until_bytes(self, count: int) -> bytes:
        async with asyncio.timeout(20):
            while len(self.received) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.received

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.fd)
        os.close(self.fd)


@contextmanager
def ports(proxy: PtyProxy) -> Iterator[tuple[Port, Port]]:
    a, b = Port(proxy.a_path), Port(proxy.b_path)
    try:
        yield a, b
    finally:
        a.close()
        b.close()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """The kernel hands bytes from one side of a terminal to the other in its own time."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # there is no event: the kernel does not tell
            await asyncio.sleep(0)


async def test_every_byte_value_passes_both_ways_unchanged() -> None:
    """Raw mode: no echo, no newline or control character is touched."""
    every = bytes(range(256)) * 4
    async with PtyProxy("radio", FAST) as proxy:
        with ports(proxy) as (a, b):
            os.write(a.fd, every)
            assert await b.until_bytes(len(every)) == every
            os.write(b.fd, every[::-1])
            assert await a.until_bytes(len(every)) == every[::-1]


async def test_bytes_arrive_at_the_speed_of_the_line_and_never_faster() -> None:
    """9600 baud 8N1 carries 960 bytes a second: 480 bytes take half a second, in small pieces."""
    async with PtyProxy("radio", profile("radio9600")) as proxy:
        with ports(proxy) as (a, b):
            started_s = time.monotonic()
            os.write(a.fd, bytes(480))
            await b.until_bytes(480)
            for at_s, count in b.stamps:
                assert count <= (at_s - started_s) * 960 + 1
            late_ms = proxy.link.up.lateness().p99_ms
            if late_ms > LATE_LIMIT_MS:
                pytest.xfail(f"inconclusive: this machine was {late_ms} ms late")
            assert b.stamps[-1][0] - started_s == pytest.approx(0.5, abs=4 * LATE_LIMIT_MS / 1000)
            assert len(b.stamps) > 60


@pytest.mark.parametrize("is_cut", [False, True])
async def test_a_full_line_pushes_back_on_the_writer_whether_anybody_hears_it_or_not(*, is_cut: bool) -> None:
    slow = both(LinkProfile(rate_bps=80_000, queue_bytes=256))
    async with PtyProxy("radio", slow) as proxy:
        with ports(proxy) as (a, b):
            if is_cut:
                proxy.link.cut(Outage.DROP)
            written, whole = 0, os.urandom(30_000)
            while written < len(whole):
                try:
                    written += os.write(a.fd, whole[written : written + 4096])
                except BlockingIOError:
                    break
            assert 256 < written < 30_000  # the kernel's buffer took some, then pushed back
            proxy.link.slow(100_000_000)
            if not is_cut:
                assert await b.until_bytes(written) == whole[:written]
            assert proxy.link.up.line.model.counts()["queue_full"] == 0


async def test_a_cut_line_swallows_bytes_and_a_held_one_keeps_them() -> None:
    async with PtyProxy("radio", FAST) as proxy:
        with ports(proxy) as (a, b):
            proxy.link.cut(Outage.DROP)
            os.write(a.fd, b"lost")
            await until(lambda: proxy.link.up.line.model.counts()["outage"] > 0)
            proxy.link.cut(Outage.HOLD)
            os.write(a.fd, b"kept")
            await turns()
            assert b.received == b""
            proxy.link.mend()
            assert await b.until_bytes(4) == b"kept"


async def test_noise_spoils_its_share_of_bytes_the_same_with_the_same_seed() -> None:
    received = []
    for _ in range(2):
        async with PtyProxy("radio", both(LinkProfile(noise_ratio=0.1)), seed=5) as proxy:
            with ports(proxy) as (a, b):
                os.write(a.fd, bytes(4000))
                received.append(await b.until_bytes(4000))
    assert received[0] == received[1]
    assert 300 < sum(byte != 0 for byte in received[0]) < 500


async def test_a_reader_that_does_not_read_loses_bytes_as_a_port_does() -> None:
    async with PtyProxy("radio", FAST) as proxy:
        a = Port(proxy.a_path)
        for _ in range(4000):  # how much the kernel keeps and when it moves it is its own affair
            with contextlib.suppress(BlockingIOError):
                os.write(a.fd, bytes(1000))
            await turns()
            if proxy.link.up.counts["overrun_bytes"]:
                break
        assert proxy.link.up.counts["overrun_bytes"] > 0
        a.close()


async def test_a_program_may_close_its_port_and_come_back() -> None:
    async with PtyProxy("radio", FAST) as proxy:
        for _ in range(2):
            with ports(proxy) as (a, b):
                os.write(a.fd, b"hello")
                assert await b.until_bytes(5) == b"hello"


async def test_symbolic_links_come_and_go_and_no_file_is_replaced(tmp_path: Path) -> None:
    a_link, b_link = tmp_path / "radio-a", tmp_path / "radio-b"
    a_link.symlink_to("left-over")
    async with PtyProxy("radio", FAST, a_link=a_link, b_link=b_link) as proxy:
        assert (a_link.readlink(), b_link.readlink()) == (proxy.a_path, proxy.b_path)
    assert not a_link.is_symlink()
    assert not b_link.is_symlink()
    b_link.write_text("a file")
    with pytest.raises(FileExistsError, match="radio-b"):
        await PtyProxy("radio", FAST, b_link=b_link).start()
    assert b_link.read_text() == "a file"


def test_a_serial_profile_counts_start_and_stop_bits() -> None:
    assert serial_profile(9600).rate_bps == 7680
    assert profile("radio9600").up.rate_bps == 7680


async def test_the_port_is_raw_from_the_start() -> None:
    async with PtyProxy("radio", FAST) as proxy:
        with ports(proxy) as (a, _):
            local_flags = termios.tcgetattr(a.fd)[3]
            assert not local_flags & (termios.ECHO | termios.ICANON | termios.ISIG)
