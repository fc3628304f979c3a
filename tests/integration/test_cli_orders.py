"""``edge-agent cancel`` and ``order`` against real agents: what is taken back, what is too late, who was reached."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.agents import (
    EDGE_AGENT,
    AgentProcess,
    attempt,
    edge_agent,
    free_port,
    running,
    udp_link,
    write_pair,
)

pytestmark = pytest.mark.slow

GROUP = '[[group]]\nname = "south"\nunits = ["kit-1", "kit-2"]\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A kit, and a command post with a group of that kit and one that is never there."""

    kit: AgentProcess
    command: AgentProcess


@pytest.fixture(name="pair")
def fixture_pair(tmp_path: Path) -> Iterator[Pair]:
    address = f"127.0.0.1:{free_port()}"
    kit, command = write_pair(
        tmp_path, kit_links=udp_link("a", "remote", address), command_links=udp_link("b", "listen", address) + GROUP
    )
    made = Pair(kit=AgentProcess(kit), command=AgentProcess(command))
    with running(made.command, made.kit):
        yield made


def send(agent: AgentProcess, *arguments: object) -> str:
    answer = edge_agent("send", "--config", agent.config, *arguments, stdin=b"x")
    return str(json.loads(answer)["bundle"])


def test_what_waits_is_cancelled_and_what_has_left_is_not(pair: Pair) -> None:
    left = send(pair.kit, "--flow", "reading", "--wait", "forwarded", "--timeout", 30)
    waiting = send(pair.kit, "--flow", "text", "--to", "kit-9")
    done = attempt("cancel", waiting, "--config", pair.kit.config)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"bundle": waiting, "state": "cancelled"})
    assert edge_agent("why", waiting, "--lang", "zh", "--config", pair.kit.config).endswith("已撤销\n")
    again = attempt("cancel", waiting, "--config", pair.kit.config)
    assert (again.returncode, json.loads(again.stdout)["state"]) == (0, "cancelled")
    asked = attempt("cancel", left, "--config", pair.kit.config)
    assert asked.returncode == 3  # a person's: command is told
    assert json.loads(asked.stdout)["state"] in ("forwarded", "delivered")
    assert "was asked not to act on it" in asked.stderr.decode()
    unknown = attempt("cancel", "kit-1~0000000000000000~R5", "--config", pair.kit.config)
    assert (unknown.returncode, unknown.stdout) == (1, b"")
    assert "not known to this node" in unknown.stderr.decode()


def test_a_call_for_help_is_not_cancelled(pair: Pair) -> None:
    pair.command.kill()
    bundle = send(pair.kit, "--flow", "sos", "--precedence", "flash")
    done = attempt("cancel", bundle, "--config", pair.kit.config)
    assert done.returncode == 1
    assert "closed by command" in done.stderr.decode()
    state = json.loads(edge_agent("why", bundle, "--json", "--config", pair.kit.config))["state"]
    assert state == "accepted"


def test_an_order_to_a_group_has_a_live_roll_call_with_names(pair: Pair) -> None:
    """kit-1 gets it, and a person there reads it; kit-2 is never there and stays not reached."""
    roll = subprocess.Popen(
        [*EDGE_AGENT, "order", "--config", str(pair.command.config), "--to", "south", "--flow", "withdraw",
         "--by", "王敏", "--wait", "read", "--timeout", "25", "撤到二级避风点"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert roll.stdout is not None
    given = json.loads(roll.stdout.readline())
    assert len(given["bundles"]) == 2
    lines: list[dict[str, Any]] = []  # Any: JSON
    while not lines or lines[-1]["summary"] != "2 teams: 1 delivered, 1 not reached":
        lines.append(json.loads(roll.stdout.readline()))
    assert lines[-1]["roll"]["not_reached"] == ["kit-2"]
    _answer(pair.kit, given["order"])
    while lines[-1]["summary"] != "2 teams: 1 read, 1 not reached":
        lines.append(json.loads(roll.stdout.readline()))
    assert lines[-1]["roll"]["read"] == ["kit-1"]
    cancelled = attempt("cancel", given["order"], "--by", "王敏", "--config", pair.command.config)
    assert cancelled.returncode == 3  # one copy has arrived: the unit is told
    assert roll.wait(timeout=30) in (1, 3)
    roll.communicate()


def _answer(kit: AgentProcess, order: str) -> None:
    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom edge_agent.client import Client\n"
        "from edge_agent.config import load_api_address\n"
        "async def main():\n"
        "    async with Client(load_api_address(Path(sys.argv[1]))) as client:\n"
        "        await client.act('answer', {'id': sys.argv[2], 'answer': 'read', 'by': '李强'})\n"
        "asyncio.run(main())"
    )
    subprocess.run([EDGE_AGENT[0], "-c", program, str(kit.config), order], check=True)


def test_an_order_to_one_unit_ends_with_0_once_it_is_there_and_an_unknown_name_is_refused(pair: Pair) -> None:
    done = edge_agent(
        "order", "--config", pair.command.config, "--to", "south", "--by", "王敏", "回来", "吧", "--lifetime", "600"
    )
    assert json.loads(done)["order"].startswith("command~")
    nobody = attempt("order", "--config", pair.command.config, "--to", "kit-77", "--by", "王敏", "x")
    assert nobody.returncode == 1
    assert "kit-77" in nobody.stderr.decode()
    one = attempt(
        "order", "--config", pair.command.config, "--to", "kit-1", "--by", "王敏",
        "--wait", "delivered", "--timeout", "30", "去北堤",
    )  # fmt: skip
    assert one.returncode == 0, one.stderr.decode()
    assert json.loads(one.stdout.splitlines()[-1])["summary"] == "1 team: 1 delivered"
