"""The plugin as an integrator meets it: a test file of theirs, run by pytest in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

TEN_LINES = """
import asyncio
from link_sim.virtual.changes import outage

async def test_a_call_survives_a_tunnel(net):
    kit, command = net.node("kit"), net.node("command")
    net.link(kit, command, {profile!r}, at=[(10, outage(8, hold=True))])
    async def serve(reader, writer):
        writer.write(await reader.readline())
    await command.start_server(serve, 8883)
    reader, writer = await kit.open_connection("command", 8883)
    await asyncio.sleep(11 - net.loop.time())
    writer.write(b"two injured\\n")
    async with asyncio.timeout({patience_s}):
        assert await reader.readline() == b"two injured\\n"
    print("DIGEST", net.digest())
"""
FAR = """
from dataclasses import replace
from link_sim.profiles import profile
near = profile("vsat")
far = replace(near, up=replace(near.up, delay_s=3.0), down=replace(near.down, delay_s=3.0))  # ten times
"""


def run_pytest(folder: Path, text: str, *options: str) -> tuple[int, str]:
    """Exit status and output of pytest over one file, with the plugins that a user of the wheel has."""
    (folder / "test_theirs.py").write_text(text)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-s",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(folder),
            *options,
            "test_theirs.py",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def digests(output: str) -> list[str]:
    return [line.split()[-1] for line in output.splitlines() if "DIGEST" in line]


@pytest.mark.slow
def test_ten_lines_are_green_with_one_digest_and_red_when_the_satellite_is_far(tmp_path: Path) -> None:
    text = TEN_LINES.format(profile="vsat", patience_s=9)
    first, again = run_pytest(tmp_path, text), run_pytest(tmp_path, text, "-o", "asyncio_mode=auto")
    assert first[0] == again[0] == 0, first[1] + again[1]
    assert digests(first[1]) == digests(again[1]) != []
    text = FAR + TEN_LINES.format(profile="vsat", patience_s=9).replace("'vsat'", "far")
    status, output = run_pytest(tmp_path, text)
    assert status == 1
    assert "TimeoutError" in output
    assert "1; the same links again: --link-seed 1" in output


@pytest.mark.slow
def test_the_seed_is_the_command_lines(tmp_path: Path) -> None:
    text = "async def test_it(net, link_seed):\n    assert net.seed == link_seed == 77\n"
    assert run_pytest(tmp_path, text, "--link-seed", "77")[0] == 0
    status, output = run_pytest(tmp_path, text)
    assert status == 1
    assert "--link-seed 1" in output


@pytest.mark.slow
def test_a_virtual_hour_takes_no_time_and_plain_and_parametrized_tests_stay_what_they_were(tmp_path: Path) -> None:
    text = """
import asyncio, pytest, time

async def test_an_hour(virtual_loop):
    before = time.monotonic()
    await asyncio.sleep(3600)
    assert virtual_loop.time() >= 3600
    assert time.monotonic() - before < 5

@pytest.mark.parametrize("hours", [1, 2])
async def test_hours(net, hours):
    await asyncio.sleep(3600 * hours)
    assert net.loop.time() == 3600 * hours

class TestInAClass:
    async def test_method(self, net):
        await asyncio.sleep(60)

def test_plain(net):
    assert net.run(asyncio.sleep(60, "done")) == "done"

@pytest.mark.asyncio
async def test_real_time_is_left_to_pytest_asyncio():
    assert asyncio.get_running_loop().time() > 1
"""
    status, output = run_pytest(tmp_path, text)
    assert status == 0, output
    assert "6 passed" in output


@pytest.mark.slow
def test_a_stuck_test_ends_and_says_who_waits(tmp_path: Path) -> None:
    text = "import asyncio\n\nasync def test_it(net):\n    await asyncio.Event().wait()\n"
    status, output = run_pytest(tmp_path, text)
    assert status == 1
    assert "test_theirs.py" in output
    assert "Stuck" in output


@pytest.mark.slow
def test_links_in_real_time_carry_and_a_late_one_makes_a_failure_inconclusive(tmp_path: Path) -> None:
    text = """
import asyncio, pytest
from link_sim.real_time.live import LiveLink

@pytest.mark.asyncio
async def test_echo(link):
    async def serve(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with link.tcp("4g", to=server.sockets[0].getsockname()) as proxy:
        reader, writer = await asyncio.open_connection(proxy.address.host, proxy.address.port)
        writer.write(b"hello\\n")
        assert await reader.readline() == b"hello\\n"
        writer.close()
    server.close()

@pytest.mark.asyncio
async def test_late(link, monkeypatch):
    async with link.udp("4g", to=("127.0.0.1", 9)):
        monkeypatch.setattr(LiveLink, "complaints", lambda self: ["up: 40 ms late"])
        assert False
"""
    status, output = run_pytest(tmp_path, text, "-rx")
    assert status == 0, output
    assert "1 passed, 1 xfailed" in output
    assert "inconclusive: 4g: up: 40 ms late" in output


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("assert_gap_below([1, 2, 9], 5)", "silent for 7 s, from 2 to 9 s; limit 5 s"),
        ("assert_gap_below([], 5)", "nothing came"),
        ("assert_gap_below([1.0], 5, end_s=10)", "silent for 9 s"),
        ("assert_delivered_within({1: 0.0, 2: 1.0}, {1: 0.5}, 2)", "1 of 2 within 2 s, 1 of them wanted; 2 never came"),
        ("assert_delivered_within({}, {}, 2)", "nothing was sent"),
        ("assert_no_duplicates([1, 2, 1])", "1 2 times"),
        ("assert_in_order([1, 3, 2])", "number 2 is 2, after 3"),
    ],
)
def test_assertions_say_what_was_found(call: str, said: str) -> None:
    from link_sim import assertions

    with pytest.raises(AssertionError, match=said):
        eval(call, vars(assertions))


def test_assertions_let_pass_what_holds() -> None:
    from link_sim import assertions

    assertions.assert_gap_below([1, 2, 3], 1.5, start_s=0, end_s=4)
    assertions.assert_delivered_within({1: 0.0, 2: 1.0}, {1: 0.5, 2: 9.0}, 2, ratio=0.5)
    assertions.assert_no_duplicates(range(5))
    assertions.assert_in_order([1, 2, 3])
