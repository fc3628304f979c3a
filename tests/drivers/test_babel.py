"""The babel driver: against two real babeld in network namespaces, and its reading against everything."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.babel import BabelDriver
from drivers.babel.neighbours import LINE_MAX_BYTES, NEIGHBOURS_MAX, Neighbours
from edge_agent.ports import PluginLostError
from tests.components import require
from tests.drivers.recording_port import RecordingPort, full_table, stopped

GREETING = b"BABEL 1.0\nversion babeld-1.12.1\nhost kit\nmy-id bc:06:05:c2:c9:21:0b:3d\nok\n"
ADDED = (
    b"add neighbour 55731f7bfe70 address fe80::e430:6ff:fe66:a365 if v0 reach f800 ureach 0000 "
    b"rxcost 96 txcost 96 rtt 4.434 rttcost 0 cost 96\n"
)


def changed(cost: int, name: str = "55731f7bfe70", interface: str = "v0") -> bytes:
    return (
        f"change neighbour {name} address fe80::{name[:4]} if {interface} reach ff00 ureach 0000 "
        f"rxcost 256 txcost 256 cost {cost}\n"
    ).encode()


@asynccontextmanager
async def running(port: RecordingPort, **settings: object) -> AsyncIterator["asyncio.Task[None]"]:
    table = full_table(BabelDriver.SETTINGS, link="mesh", **settings)
    run = asyncio.create_task(BabelDriver(table).run(port), name="babel")
    try:
        yield run
    finally:
        if not run.done():
            await stopped(run)


def quality(neighbours: Neighbours, *, interface: str = "", neighbour: str = "") -> tuple[float | None, bool | None]:
    hint = neighbours.hint(interface=interface, neighbour=neighbour, good_for_s=20.0)
    assert hint.is_sound
    return hint.quality, hint.is_up


@pytest.mark.parametrize(
    ("cost", "expected"),
    [(96, (1.0, True)), (256, (1.0, True)), (1024, (0.25, True)), (8256, (256 / 8256, True)), (65535, (0.0, False))],
)
def test_a_cost_is_how_often_a_frame_must_be_sent(cost: int, expected: tuple[float, bool]) -> None:
    neighbours = Neighbours()
    assert neighbours.feed(changed(cost))
    assert quality(neighbours) == pytest.approx(expected)


def test_the_best_neighbour_counts_of_an_interface_or_one_address_where_these_are_given() -> None:
    neighbours = Neighbours()
    neighbours.feed(changed(512, "aaaa0", "wlan0") + changed(2048, "bbbb0", "wlan0") + changed(96, "cccc0", "eth0"))
    assert quality(neighbours) == (1.0, True)
    assert quality(neighbours, interface="wlan0") == (0.5, True)
    assert quality(neighbours, neighbour="fe80::bbbb") == (0.125, True)
    assert quality(neighbours, interface="wlan1") == (0.0, False)
    assert neighbours.feed(b"flush neighbour cccc0 address fe80::cccc if eth0\n")
    assert quality(neighbours) == (0.5, True)


@given(cuts=st.lists(st.integers(0, len(GREETING + ADDED)), max_size=6))
def test_what_babeld_says_may_be_cut_anywhere(cuts: list[int]) -> None:
    said, neighbours = GREETING + ADDED, Neighbours()
    for start, end in pairwise(sorted({0, *cuts, len(said)})):
        neighbours.feed(said[start:end])
    assert neighbours.is_babel
    assert neighbours.answers == 1
    assert [each.cost for each in neighbours.table.values()] == [96]


@given(
    noise=st.one_of(
        st.binary(max_size=3_000),
        st.lists(
            st.sampled_from(
                b"add change flush neighbour cost 65536 -1 if v0 address fe80::1 ok bad \xff 1e9".split(b" ")
            ),
            max_size=40,
        ).map(b" ".join),
    )
)
def test_noise_invents_no_neighbour_and_the_next_line_is_read(noise: bytes) -> None:
    neighbours = Neighbours()
    neighbours.feed(noise)
    assert all(0 <= each.cost <= 0xFFFF for each in neighbours.table.values())
    neighbours.feed(b"\n")
    neighbours.feed(changed(300, "feed0"))
    assert neighbours.table["feed0"].cost == 300


@pytest.mark.parametrize("cost", [b"-1", b"65536", b"x", b""])
def test_lines_that_cannot_be_are_counted(cost: bytes) -> None:
    neighbours = Neighbours()
    assert not neighbours.feed(b"add neighbour 1 address fe80::1 if v0 cost " + cost + b"\n")
    assert neighbours.drops == {"babel_malformed": 1}
    assert not neighbours.table


def test_bounds_are_kept() -> None:
    neighbours = Neighbours()
    neighbours.feed(b"x" * 10 * LINE_MAX_BYTES)
    neighbours.feed(b"y" * LINE_MAX_BYTES + b"\n")
    assert neighbours.drops["babel_oversize"] == 1
    for number in range(NEIGHBOURS_MAX + 5):
        neighbours.feed(changed(256, f"{number:04x}0"))
    assert len(neighbours.table) == NEIGHBOURS_MAX
    assert neighbours.drops["babel_overrun"] == 5


async def test_another_service_and_a_missing_socket_are_named(tmp_path: Path) -> None:
    path = tmp_path / "other.sock"

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\nok\n")

    server = await asyncio.start_unix_server(greet, path)
    async with server:
        with pytest.raises(PluginLostError, match=r"not babeld's configuration socket"):
            await BabelDriver(full_table(BabelDriver.SETTINGS, link="mesh", socket=str(path))).run(RecordingPort())
    missing = tmp_path / "none.sock"
    with pytest.raises(PluginLostError, match=r"none\.sock: No such file"):
        await BabelDriver(full_table(BabelDriver.SETTINGS, link="mesh", socket=str(missing))).run(RecordingPort())


@contextmanager
def mesh(folder: Path) -> Iterator[str]:
    """Two namespaces with a babeld each; the kit's has its socket in ``folder``. Gives back the other namespace."""
    require("root")
    ip, babeld = str(require("ip")), str(require("babeld"))
    names = f"lifeline-bk{os.getpid()}", f"lifeline-bn{os.getpid()}"
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for name in names:
            subprocess.run([ip, "netns", "add", name], check=True)
        kit, other = names
        subprocess.run(
            [ip, "-n", kit, "link", "add", "v0", "type", "veth", "peer", "name", "v0", "netns", other], check=True
        )
        for name in names:
            subprocess.run([ip, "-n", name, "link", "set", "v0", "addrgenmode", "eui64"], check=True)
            subprocess.run([ip, "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.v0.accept_dad=0"], check=True)
            subprocess.run([ip, "-n", name, "link", "set", "v0", "up"], check=True)
            where = ["-G", str(folder / "babel.sock")] if name == kit else []
            state = ["-S", str(folder / f"{name}.state"), "-I", str(folder / f"{name}.pid")]
            command = [ip, "netns", "exec", name, babeld, *state, *where, "-h", "1", "-H", "1", "v0"]
            daemons.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        give_up_s = time.monotonic() + 10
        while not (folder / "babel.sock").exists() and time.monotonic() < give_up_s:
            time.sleep(0.05)
        yield other
    finally:
        for daemon in daemons:
            daemon.terminate()
            daemon.wait(10)
        for name in names:
            subprocess.run([ip, "netns", "del", name], check=False)


def _set(namespace: str, state: str) -> None:
    subprocess.run([str(require("ip")), "-n", namespace, "link", "set", "v0", state], check=True)


@pytest.mark.kernel
@pytest.mark.slow
async def test_a_neighbour_of_a_real_mesh_that_goes_and_comes_back_is_followed(tmp_path: Path) -> None:
    port, path = RecordingPort(), tmp_path / "babel.sock"
    with mesh(tmp_path) as other:
        async with running(port, socket=str(path), interval_s=1.0):
            await port.until(lambda: bool(port.hints) and port.hints[-1][1].is_up is True)
            assert port.hints[-1][1].quality == 1.0
            assert port.hints[-1][1].note.startswith("babel ")
            _set(other, "down")
            seen = len(port.hints)
            await port.until(lambda: port.hints[-1][1].is_up is False)
            assert len(port.hints) > seen
            _set(other, "up")
            await port.until(lambda: port.hints[-1][1].is_up is True)
    assert {link for link, _ in port.hints} == {"mesh"}
    assert port.states == ["available"]
    assert not port.counts
