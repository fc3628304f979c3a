"""What a failed test leaves of its links, as an integrator meets it; a passed one leaves nothing."""

import json
import re
from pathlib import Path

import pytest

from tests.link_sim.test_pytest_plugin import run_pytest

pytestmark = pytest.mark.slow
TALK = """
import asyncio, pytest

async def talk(net):
    net.link("kit", "command", "vsat")
    async def serve(reader, writer):
        writer.write(await reader.readline())
    await net.node("command").start_server(serve, 8883)
    reader, writer = await net.node("kit").open_connection("command", 8883)
    writer.write(b"two injured\\n")
    assert await reader.readline() == b"two injured\\n"
"""
MIXED = f"""{TALK}
async def test_passes(net):
    await talk(net)

async def test_fails(net):
    await talk(net)
    assert False

@pytest.mark.xfail
async def test_is_meant_to_fail(net):
    await talk(net)
    assert False

@pytest.mark.parametrize("name", ["a/b", "a?b"])
async def test_names(net, name):
    await talk(net)
    assert False

def test_without_traffic(net):
    net.link("kit", "command")
    assert False

@pytest.fixture
def late(net):
    yield
    assert False, "torn down"

async def test_torn_down(net, late):
    await talk(net)
"""
LIVE = """
import asyncio, pytest
from link_sim.real_time.live import LiveLink

async def talk(link):
    async def serve(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with link.tcp("4g", to=server.sockets[0].getsockname()) as proxy:
        reader, writer = await asyncio.open_connection(proxy.address.host, proxy.address.port)
        proxy.link.cut()
        proxy.link.mend()
        writer.write(b"hello\\n")
        assert await reader.readline() == b"hello\\n"
        writer.close()
    server.close()

@pytest.mark.asyncio
async def test_fails(link, monkeypatch):
    monkeypatch.setattr(LiveLink, "complaints", lambda self: [])  # whatever this machine does beside
    await talk(link)
    assert False

@pytest.mark.asyncio
async def test_is_late(link, monkeypatch):
    monkeypatch.setattr(LiveLink, "complaints", lambda self: ["40 ms late"])
    await talk(link)
    assert False
"""


def named(output: str) -> list[Path]:
    """The files that the reports name, in order."""
    return [Path(line) for line in output.splitlines() if re.fullmatch(r"/.*(jsonl|pcapng|svg)", line)]


def events(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_failure_names_its_seed_and_its_files_and_nothing_else_is_written(tmp_path: Path) -> None:
    status, output = run_pytest(tmp_path, MIXED, "--link-seed", "5", "--link-evidence", "left")
    assert status == 1
    assert "4 failed, 2 passed, 1 xfailed, 1 error" in output
    paths = named(output)
    assert sorted(paths) == sorted(each for each in (tmp_path / "left").glob("*/*"))
    assert [path.name for path in paths] == ["events.jsonl", "frames.pcapng", "plot.svg"] * 4
    tests = [events(path)[0]["test"] for path in paths[::3]]
    names = ["torn_down", "fails", "names[a/b]", "names[a?b]"]  # pytest tells errors first
    assert tests == [f"test_theirs.py::test_{name}" for name in names]
    assert all(events(path)[0]["seed"] == 5 for path in paths[::3])
    assert output.count("seed 5; the same links again: --link-seed 5") == 5
    assert output.count("no evidence of net: nothing was sent over a link") == 1


def test_the_default_is_the_temporary_folder_which_a_passed_test_leaves_alone(tmp_path: Path) -> None:
    base = tmp_path / "base"
    passing = f"{TALK}\nasync def test_passes(net):\n    await talk(net)\n"
    status, output = run_pytest(tmp_path, passing, f"--basetemp={base}")
    assert status == 0, output
    assert not base.exists()
    status, output = run_pytest(tmp_path, MIXED, f"--basetemp={base}", "-k", "test_fails", "-n", "2")
    assert status == 1
    paths = named(output)
    assert len(paths) == 3
    assert all(path.is_file() and path.is_relative_to(base) for path in paths)


@pytest.mark.parametrize(("wish", "expected"), [("all", 2), ("failed", 1), ("none", 0)])
def test_which_tests_leave_it_is_asked_for(tmp_path: Path, wish: str, expected: int) -> None:
    keys = ("-o", f"link_evidence_of={wish}", "-o", "link_evidence=left")
    status, output = run_pytest(tmp_path, MIXED, *keys, "-k", "test_fails or test_passes")
    assert status == 1
    assert "seed 1; the same links again" in output
    assert len(list(tmp_path.glob("left/*/plot.svg"))) == expected


def test_a_folder_that_cannot_be_made_hides_no_failure(tmp_path: Path) -> None:
    (tmp_path / "left").write_text("a file")
    status, output = run_pytest(tmp_path, MIXED, "--link-evidence", "left", "-k", "test_fails")
    assert status == 1
    assert "assert False" in output
    assert "no evidence of net: [Errno" in output
    status, output = run_pytest(tmp_path, MIXED, "-p", "no:tmpdir", "-k", "test_fails")
    assert (status, "it needs --link-evidence DIR" in output) == (1, True)


def test_a_wrong_wish_is_refused(tmp_path: Path) -> None:
    status, output = run_pytest(tmp_path, MIXED, "-o", "link_evidence_of=some")
    assert status == 4
    assert "link_evidence_of = some: allowed is failed, all, none" in output


def test_links_in_real_time_leave_the_same(tmp_path: Path) -> None:
    status, output = run_pytest(tmp_path, LIVE, "--link-evidence", "left", "-rx")
    assert status == 1
    assert "1 failed, 1 xfailed" in output
    log, _, _ = named(output)
    told = {(each["event"], each.get("direction")) for each in events(log)}
    assert told >= {(event, f"4g/{way}") for event in ("link", "change", "frame", "arrived") for way in ("up", "down")}
    assert 0 <= events(log)[-1]["t_s"] < 60
    assert re.search(r"inconclusive: 4g: 40 ms late; /.*test_is_late-link/events\.jsonl", output)
