"""The command line, as its own process."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from link_sim.cli import main
from link_sim.profiles import profile

pytestmark = pytest.mark.slow


@asynccontextmanager
async def proxy(*arguments: str) -> AsyncIterator[tuple[dict[str, object], asyncio.subprocess.Process]]:
    """A running proxy and its first line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "link_sim.cli", "proxy", *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(20):
            assert process.stdout is not None
            yield json.loads(await process.stdout.readline()), process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def udp_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


async def report_of(process: asyncio.subprocess.Process) -> dict[str, dict[str, dict[str, int]]]:
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    report = json.loads(await process.stdout.readline())
    assert await process.wait() == 0
    return report  # type: ignore[no-any-return]  # json


async def test_udp_proxy_prints_where_it_listens_obeys_control_and_reports() -> None:
    loop = asyncio.get_running_loop()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kit,
    ):
        sink.bind(("127.0.0.1", 0))
        sink.setblocking(False)
        to = f"127.0.0.1:{sink.getsockname()[1]}"
        control = ("--control", "127.0.0.1:0", "--name", "sat", "--profile", "clean", "--up-profile", "4g")
        async with proxy("udp", "--listen", "127.0.0.1:0", "--to", to, *control) as (ready, process):
            host, _, port = str(ready["listen"]).rpartition(":")
            kit.sendto(b"frame", (host, int(port)))
            assert await loop.sock_recv(sink, 100) == b"frame"
            address = str(ready["control"]).removeprefix("http://").removesuffix("/links")
            reader, writer = await asyncio.open_connection(address.split(":")[0], int(address.split(":")[1]))
            writer.write(b"GET /links/sat HTTP/1.1\r\n\r\n")
            answer = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
            writer.close()
            assert (answer["up"]["rate_bps"], answer["down"]["rate_bps"]) == (10_000_000, None)
            report = await report_of(process)
            assert report["up"]["frames"]["delivered"] == 1


async def test_tcp_proxy_carries_bytes_and_says_what_it_doubts() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read(100)).upper())
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    to = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, proxy("tcp", "--listen", "127.0.0.1:0", "--to", to, "--profile", "4g") as (ready, process):
        assert ready["doubts"] == []
        host, _, port = str(ready["listen"]).rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"hello")
        assert await reader.read() == b"HELLO"
        writer.close()
        report = await report_of(process)
        assert "stall" in str(report["loss_means"])
        assert report["up"]["frames"]["delivered"] >= 2  # the wish to connect, and the word


async def test_a_profile_beyond_this_machine_says_so_at_start(tmp_path: Path) -> None:
    path = tmp_path / "fibre.toml"
    path.write_text("rate_bps = 10_000_000_000_000\n")
    arguments = ("--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--profile", str(path))
    async with proxy("udp", *arguments) as (ready, process):
        assert "up: rate_bps 10000000000000 cannot be kept" in str(ready["doubts"])
        assert "cannot be kept" in str((await report_of(process))["doubts"])


@pytest.mark.device
async def test_pty_proxy_makes_its_links_and_removes_them(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    async with proxy("pty", "--baud-rate", "115200", "--a", str(a), "--b", str(b)) as (ready, process):
        assert (ready["a"], ready["b"]) == (str(a), str(b))
        ends = [os.open(path, os.O_RDWR | os.O_NOCTTY) for path in (a, b)]
        os.write(ends[0], b"hello")
        read = b""
        while len(read) < 5:
            read += await asyncio.to_thread(os.read, ends[1], 100)
        assert read == b"hello"
        for end in ends:
            os.close(end)
        report = await report_of(process)
        assert report["up"]["rate_bps"] == 92_160
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--profile", "5g"],
            "profile '5g': allowed is ",
        ),
        (["--listen", "nowhere", "--to", "127.0.0.1:1"], "'nowhere' is not HOST:PORT"),
        (["--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--control", "0.0.0.0:1"], "control 0.0.0.0:1: allowed is"),
        (["--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--profile", "none.toml"], "profile none.toml"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["proxy", "udp", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_profile_file_names_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "cave.toml"
    path.write_text("delay_s = 0.2\n[up]\nrate_bps = 9600\n[down]\nloss_ratio = 0.1\n")
    cave = profile(str(path))
    assert (cave.name, cave.up.rate_bps, cave.up.delay_s, cave.down.rate_bps, cave.down.loss_ratio) == (
        "cave",
        9600,
        0.2,
        None,
        0.1,
    )
    for text, said in (("[up]\nspeed = 1\n", r"cave.toml \[up\]: speed is not known"), ("delay_s = ", "cave.toml: ")):
        path.write_text(text)
        with pytest.raises(Exception, match=said):
            profile(str(path))
