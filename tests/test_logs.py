"""A log that cannot be written costs lines, which are counted, and never the agent."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.cli import EXIT_USAGE
from edge_agent.client import Client
from edge_agent.config import load_api_address
from edge_agent.logs import LogStream
from tests.integration.agents import EDGE_AGENT, AgentProcess, attempt, free_port, running, udp_link, write_pair

DISK_BYTES = 64 << 10


def test_lines_that_a_full_device_does_not_take_are_counted() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        stream = LogStream(full)
        stream.write("one\n")
        stream.write("two\n")
    assert stream.lost_lines == 2


def test_a_pipe_that_is_full_and_does_not_block_costs_lines() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(writing, "wb", buffering=0) as pipe, open(reading, "rb", buffering=0) as reader:
        stream = LogStream(pipe)
        while not stream.lost_lines:
            stream.write("x" * 999 + "\n")
        taken = reader.read(1 << 20)
        stream.write("after\n")
        assert stream.lost_lines == 1
        assert reader.read(1 << 20)[-6:] == b"after\n"
        assert set(taken.split(b"\n")[:-1]) == {b"x" * 999}


@pytest.mark.kernel
def test_once_the_disk_has_room_lines_are_whole_again_and_the_first_tells_the_loss(
    tmp_path: Path, require: Callable[[str], Path]
) -> None:
    require("root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(tmp_path)], check=True)
    try:
        (tmp_path / "stranger").write_bytes(bytes(DISK_BYTES // 2))
        with (tmp_path / "log").open("wb", buffering=0) as file:
            stream = LogStream(file)
            lines = 0
            while not stream.lost_lines:
                stream.write(json.dumps({"event": "n" * 300}) + "\n")
                lines += 1
            stream.write("gone too\n")
            (tmp_path / "stranger").unlink()
            stream.write(json.dumps(stream.add_loss(None, "info", {"event": "last"})) + "\n")
            stream.write(json.dumps(stream.add_loss(None, "info", {"event": "told once"})) + "\n")
        whole, torn = [], []
        for line in (tmp_path / "log").read_text().splitlines():
            try:
                whole.append(json.loads(line))
            except ValueError:
                torn.append(line)
        assert len(torn) <= 1
        assert len(whole) == lines - 1 + 2
        assert whole[-2:] == [{"event": "last", "log_lines_lost": 2}, {"event": "told once"}]
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def start_unread(config: Path) -> subprocess.Popen[str]:
    """A ready agent whose standard error is a pipe without a reader."""
    agent = subprocess.Popen([*EDGE_AGENT, "run", str(config), "--log", "json"], stderr=subprocess.PIPE, text=True)
    assert agent.stderr is not None
    with agent.stderr:
        assert any("agent_ready" in line for line in agent.stderr)
    return agent


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_an_agent_whose_log_nobody_reads_any_more_goes_on_and_counts(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    kit_config, command_config = write_pair(
        tmp_path, kit_links=udp_link("a", "remote", address), command_links=udp_link("a", "listen", address)
    )
    kit = start_unread(kit_config)
    try:
        with running(AgentProcess(command_config)):  # the kit's link comes up, which it says
            async with Client(load_api_address(kit_config)) as client:
                sos = await client.send(b"help", flow="sos", precedence="flash", origin="person")
                assert (await client.wait(sos.bundle, "forwarded")).state != "accepted"
                assert (await client.status())["dropped"]["log_line_unwritten"] >= 1
        kit.send_signal(signal.SIGTERM)
        assert kit.wait(timeout=10) == 0
    finally:
        kit.kill()
        kit.wait()


def test_a_program_without_standard_error_says_what_it_has_to_by_its_exit_status(tmp_path: Path) -> None:
    done = attempt("run", tmp_path / "none.toml", prefix=("sh", "-c", 'exec "$@" 2>&-', "sh"))
    assert done.returncode == EXIT_USAGE
