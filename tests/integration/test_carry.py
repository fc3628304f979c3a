"""Bundles carried by hand between agents that never hear each other: no doubles, and the receipts find a way back."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.client import Client
from tests.integration.agents import AgentProcess, attempt, edge_agent, running, write_pair

pytestmark = pytest.mark.slow

LONGEST_S = 30.0
PICTURE = bytes(range(256)) * 1_200  # a file in both stores


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """A kit and a command post without any link."""

    kit: AgentProcess
    command: AgentProcess
    stick: Path

    def export(self, agent: AgentProcess, name: str, *arguments: str) -> dict[str, object]:
        done = edge_agent("export", self.stick / name, "--config", agent.config, *arguments)
        told: dict[str, object] = json.loads(done)
        return told

    def take_in(self, agent: AgentProcess, name: str) -> dict[str, object]:
        told: dict[str, object] = json.loads(edge_agent("import", self.stick / name, "--config", agent.config))
        return told


@pytest.fixture(name="apart")
def fixture_apart(tmp_path: Path) -> Iterator[Apart]:
    kit, command = write_pair(tmp_path, kit_links="", command_links="")
    stick = tmp_path / "stick"
    stick.mkdir()
    made = Apart(kit=AgentProcess(kit), command=AgentProcess(command), stick=stick)
    with running(made.command, made.kit):
        yield made


def send(agent: AgentProcess, payload: bytes, *arguments: str) -> str:
    answer = edge_agent("send", "--config", agent.config, "--flow", "text", *arguments, stdin=payload)
    return str(json.loads(answer)["bundle"])


def listen(agent: AgentProcess, count: int) -> list[dict[str, object]]:
    """What a durable consumer gets, acknowledged."""
    done = edge_agent(
        "listen", "--config", agent.config, "--flow", "text", "--since", "all", "--consumer", "outlet",
        "--count", count, timeout_s=LONGEST_S,
    )  # fmt: skip
    return [json.loads(line) for line in done.splitlines()]


def state(agent: AgentProcess, bundle: str) -> str:
    return str(json.loads(edge_agent("why", bundle, "--json", "--config", agent.config))["state"])


async def delivered(agent: AgentProcess, bundle: str) -> str:
    """The state once the agent's receipt is applied."""
    async with asyncio.timeout(LONGEST_S), Client(agent.config.parent / "kit-1.sock") as client:
        return (await client.wait(bundle, "delivered")).state


async def receipts_wait(agent: AgentProcess) -> None:
    """Until the receipts of what was read are bundles that wait here."""
    async with asyncio.timeout(LONGEST_S), Client(agent.config.parent / "command.sock") as client:
        while not (await client.status())["backlog"]["routine"]["bundles"]:  # noqa: ASYNC110  # no news of a backlog
            await asyncio.sleep(0.05)


async def test_a_stick_there_and_back_delivers_each_once_and_brings_the_receipts(apart: Apart) -> None:
    payloads = {b"two injured", b"", PICTURE, "需要担架".encode()}
    sent = {send(apart.kit, payload, "--precedence", "routine"): payload for payload in sorted(payloads)}
    told = apart.export(apart.kit, "there", "--to", "command")
    assert told["left_out"] == 0
    assert (apart.stick / "there").stat().st_size == told["bytes"]
    assert not list(apart.stick.glob("*.tmp"))
    assert PICTURE[:64] not in (apart.stick / "there").read_bytes()
    assert {state(apart.kit, bundle) for bundle in sent} == {"accepted"}  # custody stays with the kit
    first = apart.take_in(apart.command, "there")
    assert first["stored"] == told["bundles"]
    assert (first["known"], first["refused"], first["damage"]) == (0, 0, "")
    lines = listen(apart.command, len(sent))
    assert {str(line["bundle"]) for line in lines} == set(sent)
    assert {line["payload"] for line in lines if "payload" in line} == {"two injured", "", "需要担架"}
    again = apart.take_in(apart.command, "there")
    assert (again["stored"], again["known"]) == (0, first["stored"])
    await receipts_wait(apart.command)
    apart.export(apart.command, "back")
    back = apart.take_in(apart.kit, "back")
    assert back["stored"] == 1
    for bundle in sent:
        assert await delivered(apart.kit, bundle) == "delivered"
    backlog = json.loads(edge_agent("status", "--config", apart.kit.config, "--json"))["backlog"]
    assert backlog["routine"]["bundles"] == 0  # the receipt ended custody
    assert apart.export(apart.kit, "empty", "--to", "command")["bundles"] in (0, 1)  # a report may wait by now


def test_a_node_does_not_take_its_own_bundles_and_says_so(apart: Apart) -> None:
    bundle = send(apart.kit, b"x")
    told = apart.export(apart.kit, "mine")
    report = apart.take_in(apart.kit, "mine")
    assert report["own"] == told["bundles"]
    assert report["stored"] == 0
    assert state(apart.kit, bundle) == "accepted"


def test_imported_bundles_survive_a_kill_and_a_second_import_after_it(apart: Apart) -> None:
    bundle = send(apart.kit, b"once")
    apart.export(apart.kit, "there")
    stored = apart.take_in(apart.command, "there")["stored"]
    apart.command.kill()
    apart.command.start()
    assert apart.take_in(apart.command, "there")["known"] == stored
    (line,) = listen(apart.command, 1)
    assert (line["bundle"], line["payload"], line["via"]) == (bundle, "once", [])
    send(apart.kit, b"later")
    apart.export(apart.kit, "both", "--to", "command")
    apart.take_in(apart.command, "both")
    (line,) = listen(apart.command, 1)  # the first one is not given out again
    assert line["payload"] == "later"


def test_a_cut_stick_gives_what_is_whole_and_names_the_record(apart: Apart) -> None:
    for number in range(5):
        send(apart.kit, bytes([number]) * 60_000)
    told = apart.export(apart.kit, "there", "--to", "command")
    file = apart.stick / "there"
    file.write_bytes(file.read_bytes()[:-100_000])
    done = attempt("import", file, "--config", apart.command.config)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert 0 < report["stored"] < int(str(told["bundles"]))
    assert report["damage"] == f"record {report['stored'] + 1}: the file is cut off"
    assert report["damage"] in done.stderr.decode()
    assert len(listen(apart.command, 3)) == 3


def test_what_is_no_such_file_or_cannot_be_written_is_said(apart: Apart) -> None:
    (apart.stick / "other").write_bytes(b"a photo")
    wrong = attempt("import", apart.stick / "other", "--config", apart.command.config)
    assert (wrong.returncode, wrong.stdout) == (1, b"")
    assert "is not a file of carried bundles" in wrong.stderr.decode()
    absent = attempt("import", apart.stick / "absent", "--config", apart.command.config)
    assert absent.returncode == 2
    nowhere = attempt("export", apart.stick / "no" / "folder", "--config", apart.kit.config)
    assert nowhere.returncode == 1
    assert "No such file or directory" in nowhere.stderr.decode()
