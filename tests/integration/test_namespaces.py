"""Done-when 4 of the first issue: two shipped configurations in two network namespaces, over IPv4 and IPv6."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.components import require
from tests.integration.agents import EDGE_AGENT, AgentProcess, attempt, edge_agent, running

pytestmark = [pytest.mark.slow, pytest.mark.kernel]

CONFIGS = Path(__file__).parents[2] / "config"
PRECEDENCES = ("flash", "immediate", "priority", "routine", "deferred")
KIT_ADDRESS = {4: "10.213.7.1/24", 6: "fd00:213::1/64"}
COMMAND_ADDRESS = {4: "10.213.7.2/24", 6: "fd00:213::2/64"}


@contextmanager
def namespaces(version: int) -> Iterator[tuple[str, str]]:
    """Two namespaces joined by a veth pair; names hold the process id, so that two runs do not meet."""
    ip = str(require("ip"))
    names = f"lifeline-k{os.getpid()}", f"lifeline-c{os.getpid()}"
    made: list[str] = []
    try:
        for name in names:
            subprocess.run([ip, "netns", "add", name], check=True)
            made.append(name)
            subprocess.run([ip, "-n", name, "link", "set", "lo", "up"], check=True)
        kit, command = names
        subprocess.run(
            [ip, "-n", kit, "link", "add", "v0", "type", "veth", "peer", "name", "v0", "netns", command], check=True
        )
        for name, address in ((kit, KIT_ADDRESS[version]), (command, COMMAND_ADDRESS[version])):
            nodad = ["nodad"] if version == 6 else []  # an address on trial cannot be bound yet
            subprocess.run([ip, "-n", name, "addr", "add", address, "dev", "v0", *nodad], check=True)
            subprocess.run([ip, "-n", name, "link", "set", "v0", "up"], check=True)
        yield kit, command
    finally:
        for name in made:
            subprocess.run([ip, "netns", "del", name], check=True)


def shipped(folder: Path, name: str, host: str) -> Path:
    """A shipped configuration as an operator edits it: the address of the command post, and no devices."""
    edge = folder / name
    edge.mkdir()
    text = (CONFIGS / f"{name}.toml").read_text()
    text = re.sub(r'remote = "127\.0\.0\.1:', f'remote = "{host}:', text)
    text = re.sub(r'listen = "0\.0\.0\.0:', f'listen = "{host}:', text)
    text = re.sub(r"(?m)^\[\[driver\]\][^\[]*(\[\[driver\.map\]\][^\[]*(?:\[[^\[]*)*)?", "", text)
    text = re.sub(r"(?m)^\[web\]\nlisten[^\n]*\n", "", text)
    (edge / "agent.toml").write_text(text)
    return edge / "agent.toml"


@pytest.mark.parametrize("version", [4, 6])
def test_shipped_configurations_move_bundles_between_namespaces_and_survive_kill_9(
    tmp_path_factory: pytest.TempPathFactory, version: int
) -> None:
    require("root")
    tmp_path = tmp_path_factory.mktemp("ns")  # a unix socket's path is short
    host = COMMAND_ADDRESS[version].split("/")[0]
    host = f"[{host}]" if version == 6 else host
    edge_agent("init", tmp_path / "made")
    configs = shipped(tmp_path, "portable-kit", host), shipped(tmp_path, "command-post", host)
    for config in configs:
        secret = config.parent / "secret.key"
        secret.touch(mode=0o600)
        secret.write_bytes((tmp_path / "made/secret.key").read_bytes())
    with namespaces(version) as (kit_ns, command_ns):
        in_kit, in_command = (("ip", "netns", "exec", name) for name in (kit_ns, command_ns))
        kit, command = AgentProcess(configs[0], prefix=in_kit), AgentProcess(configs[1], prefix=in_command)
        with running(command, kit):
            arguments = ("--config", str(command.config), "--flow", "text", "--since", "all", "--count", "7")
            listener = subprocess.Popen(
                [*in_command, *EDGE_AGENT, "listen", *arguments], stdout=subprocess.PIPE, text=True
            )
            send = ("send", "--config", kit.config, "--flow", "text", "--wait", "delivered", "--timeout", 40)
            for precedence in PRECEDENCES:
                answer = edge_agent(*send, "--precedence", precedence, stdin=precedence.encode(), prefix=in_kit)
                assert json.loads(answer)["state"] == "delivered"
            for victim in (kit, command):
                victim.kill()
                victim.start()
                done = attempt(*send, stdin=b"after kill -9", prefix=in_kit)
                assert (done.returncode, json.loads(done.stdout)["state"]) == (0, "delivered")
            lines = [json.loads(line) for line in listener.communicate(timeout=40)[0].splitlines()]
    assert [line["payload"] for line in lines] == [*PRECEDENCES, "after kill -9", "after kill -9"]
    assert len({line["bundle"] for line in lines}) == 7
