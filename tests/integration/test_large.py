"""A payload larger than the memory its processes may have: through, whole and once, whoever is killed on its way."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.agents import EDGE_AGENT, AgentProcess, attempt, free_port, running, udp_link, write_pair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MEMORY_BYTES = 96 << 20  # an agent needs 70 MB of what this counts, stacks of its threads included
PAYLOAD_BYTES = 104 << 20
FIRST, SECOND = PAYLOAD_BYTES // 5, PAYLOAD_BYTES // 2
BOUNDED = ("prlimit", f"--data={MEMORY_BYTES}")
LONGEST_S = 600.0


@pytest.fixture(name="big")
def fixture_big(tmp_path: Path) -> Iterator[Path]:
    """A file of bytes that are nowhere twice; removed at once, for a run keeps its folders."""
    path = tmp_path / "big"
    with path.open("wb") as file:
        for _ in range(PAYLOAD_BYTES >> 20):
            file.write(os.urandom(1 << 20))
    yield path
    path.unlink()


def write_configs(folder: Path) -> tuple[Path, Path]:
    address = f"127.0.0.1:{free_port()}"
    return write_pair(
        folder, kit_links=udp_link("a", "remote", address), command_links=udp_link("b", "listen", address)
    )


def begin(*arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen([*BOUNDED, *EDGE_AGENT, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def reach(folder: Path, size: int) -> int:
    """Return once a ``.part`` in ``folder`` has ``size`` bytes: the moment of a kill is the point of it."""
    until_s = time.monotonic() + LONGEST_S
    while time.monotonic() < until_s:
        sizes = [path.stat().st_size for path in folder.glob("*.part")]
        if sizes and max(sizes) >= size:
            return max(sizes)
        time.sleep(0.01)
    raise AssertionError(f"{folder}: no part reached {size} bytes")


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def peak_bytes(agent: AgentProcess) -> int:
    lines = Path(f"/proc/{agent.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def test_a_payload_larger_than_memory_arrives_once_whoever_is_killed(tmp_path: Path, big: Path) -> None:
    kit_config, command_config = write_configs(tmp_path)
    kit, command = AgentProcess(kit_config, prefix=BOUNDED), AgentProcess(command_config, prefix=BOUNDED)
    kit_files, command_files = (tmp_path / "var" / node / "payloads" for node in ("kit-1", "command"))
    saved = tmp_path / "saved"
    saved.mkdir()
    send = ("send", "--config", kit_config, "--flow", "film", big)
    save = ("listen", "--config", command_config, "--consumer", "c", "--since", "all", "--flow", "film", "--count", 1)
    with running(command, kit):
        sender = begin(*send)
        reach(kit_files, FIRST)
        kill(sender)
        sender = begin(*send)
        (part,) = kit_files.glob("*.part")
        handed_in = part.stat().st_size
        assert handed_in >= FIRST
        reach(kit_files, SECOND)
        kit.kill()
        kit.start()
        told = json.loads(sender.communicate(timeout=LONGEST_S)[0])
        assert told["state"] == "accepted"
        assert list(kit_files.iterdir()) == [kit_files / f"{told['bundle']}.payload"], "it was handed in twice"

        reach(command_files, FIRST)
        command.kill()
        command.start()
        reach(command_files, SECOND)
        kit.kill()
        kit.start()

        listener = begin(*save, "--save", saved)
        reach(saved, FIRST)
        kill(listener)
        listener = begin(*save, "--save", saved)
        (line,) = listener.communicate(timeout=LONGEST_S)[0].splitlines()
        arrived = json.loads(line)
        assert (arrived["bundle"], arrived["bytes"]) == (told["bundle"], PAYLOAD_BYTES)
        assert subprocess.run(["cmp", arrived["file"], big], check=False).returncode == 0
        Path(arrived["file"]).unlink()
        assert max(peak_bytes(kit), peak_bytes(command)) < MEMORY_BYTES
        waited = attempt("listen", "--config", command_config, "--flow", "film", "--since", "all", "--count", 1)
        assert json.loads(waited.stdout)["payload"] is None, "too large for a line"


def test_what_the_store_cannot_hold_is_refused_before_its_first_byte(tmp_path: Path, big: Path) -> None:
    kit_config, _ = write_configs(tmp_path)
    kit_config.write_text(f"{kit_config.read_text()}[store]\nquota_bytes = 100000000\n")
    with running(AgentProcess(kit_config)):
        refused = attempt("send", "--config", kit_config, "--flow", "film", big)
        assert refused.returncode == 1
        assert f"takes at most 90000000 bytes of ROUTINE, {PAYLOAD_BYTES} are asked" in refused.stderr.decode()
        assert list((tmp_path / "var/kit-1/payloads").iterdir()) == []
