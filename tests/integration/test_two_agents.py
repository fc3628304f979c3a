"""Kit and command post as two processes over UDP: what was accepted is delivered once, whoever is killed."""

import asyncio
import base64
import json
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.api_messages import pack_message
from edge_agent.client import Client
from edge_agent.config import load_api_address
from edge_agent.telemetry.payloads import UnitReport
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

PRECEDENCES = ("flash", "immediate", "priority", "routine", "deferred")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two agents that can reach each other, and their configurations."""

    kit: AgentProcess
    command: AgentProcess


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    address = f"127.0.0.1:{free_port()}"
    kit, command = write_pair(
        tmp_path, kit_links=udp_link("a", "remote", address), command_links=udp_link("b", "listen", address)
    )
    made = Pair(kit=AgentProcess(kit), command=AgentProcess(command))
    with running(made.command, made.kit):
        yield made


def client_of(agent: AgentProcess) -> Client:
    """A Python program's way to the agent; close it."""
    return Client(load_api_address(agent.config))


def listen(config: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A listener that is attached: its consumer exists in the agent."""
    return subprocess.Popen(
        [*EDGE_AGENT, "listen", "--config", str(config), *arguments], stdout=subprocess.PIPE, text=True
    )


def test_send_reaches_listen_in_all_five_precedences(pair: Pair) -> None:
    listener = listen(pair.command.config, "--flow", "text", "--count", "5", "--since", "all")
    sent = {}
    for precedence in PRECEDENCES:
        payload = f"{precedence} 求救".encode()
        answer = edge_agent(
            "send", "--config", pair.kit.config, "--flow", "text", "--precedence", precedence,
            "--wait", "delivered", "--timeout", 30, stdin=payload,
        )  # fmt: skip
        reached = json.loads(answer)
        assert set(reached) == {"bundle", "state", "accepted_at"}
        assert reached["state"] == "delivered"
        sent[reached["bundle"]] = (precedence, payload.decode())
    lines = [json.loads(line) for line in listener.communicate(timeout=30)[0].splitlines()]
    assert {line["bundle"]: (line["precedence"], line["payload"]) for line in lines} == sent
    assert set(lines[0]) == {
        "bundle", "source", "flow", "precedence", "created_at", "received_at", "bytes", "payload", "via", "redelivered",
    }  # fmt: skip
    assert all(line["via"] == ["b"] and line["source"] == "kit-1" and not line["redelivered"] for line in lines)


def test_an_order_reaches_a_kit_and_bytes_come_as_base64(pair: Pair) -> None:
    pair.kit.wait_for("link_changed", state="up")
    pair.command.wait_for("link_changed", state="up")
    listener = listen(pair.kit.config, "--count", "2", "--since", "all", "--flow", "[of]*")
    base = ("send", "--config", pair.command.config, "--to", "kit-1", "--wait", "delivered", "--timeout", 30, "--flow")
    edge_agent(*base, "order", stdin="去北堤".encode())
    edge_agent(*base, "file", stdin=b"\xff\x00")
    order, file = [json.loads(line) for line in listener.communicate(timeout=30)[0].splitlines()]
    assert (order["payload"], order["precedence"]) == ("去北堤", "immediate")
    assert (file["payload_b64"], file["bytes"], file["precedence"]) == ("/wA=", 2, "routine")


def test_what_nobody_reads_is_forwarded_and_not_delivered(pair: Pair) -> None:
    forwarded = edge_agent(
        "send", "--config", pair.kit.config, "--flow", "x", "--wait", "forwarded", "--timeout", 30, stdin=b"x"
    )
    bundle = json.loads(forwarded)["bundle"]
    assert json.loads(forwarded)["state"] == "forwarded"
    late = attempt(
        "send", "--config", pair.kit.config, "--flow", "x", "--wait", "delivered", "--timeout", 1, stdin=b"y"
    )
    assert late.returncode == 3
    assert json.loads(late.stdout)["state"] in ("accepted", "forwarded")
    assert "it stays queued" in late.stderr.decode()
    told = edge_agent("why", bundle, "--config", pair.kit.config)
    assert told.endswith(": forwarded to command by a, not yet delivered\n")
    told = edge_agent("why", bundle, "--lang", "zh", "--config", pair.kit.config)
    assert told.endswith("已转交指挥部(经a),尚未送达\n")


def test_why_names_the_link_that_is_down(pair: Pair) -> None:
    pair.command.kill()
    answer = edge_agent("send", "--config", pair.kit.config, "--flow", "text", stdin=b"x")
    bundle = json.loads(answer)["bundle"]
    pair.kit.wait_for("link_changed", state="down")
    told = edge_agent("why", bundle, "--lang", "zh", "--config", pair.kit.config)
    assert told == "等待中:没有一条链路通;a断(无应答)\n"
    facts = json.loads(edge_agent("why", bundle, "--json", "--lang", "en", "--config", pair.kit.config))
    assert (facts["sentence"], facts["state"]) == ("waiting: no link is up; a is down (no answer)", "accepted")
    assert [(link["link"], link["obstacle"]) for link in facts["waiting"]["links"]] == [("a", "down")]


def test_why_of_a_bundle_nobody_knows_says_so_in_both_languages(pair: Pair) -> None:
    unknown = "kit-1~0000000000000000~R5"
    for language, expected in (("en", "not known to this node"), ("zh", "本机没有这一条")):
        done = attempt("why", unknown, "--lang", language, "--config", pair.kit.config)
        assert done.returncode == 1
        assert expected in done.stderr.decode()


def test_status_has_the_promised_shape(pair: Pair) -> None:
    pair.kit.wait_for("link_changed", state="up")
    status = json.loads(edge_agent("status", "--config", pair.kit.config, "--json"))
    assert status["node"] == "kit-1"
    assert status["uptime_s"] > 0
    (link,) = status["links"]
    assert (link["name"], link["state"], link["peer"]) == ("a", "up", "command")
    assert link.keys() >= {
        "name", "state", "reason", "rtt_s", "loss_ratio", "goodput_bps", "others_ratio", "sent_bytes", "received_bytes",
        "cost",
    }  # fmt: skip
    assert tuple(status["backlog"]) == PRECEDENCES
    assert set(status["backlog"]["flash"]) == {"bundles", "bytes", "oldest_age_s"}
    assert status["store"]["quota_bytes"] == 1_000_000_000


def test_a_kit_reports_its_links_and_backlog_by_itself(pair: Pair) -> None:
    listener = listen(pair.command.config, "--flow", "report", "--count", "3")
    lines = [json.loads(line) for line in listener.communicate(timeout=30)[0].splitlines()]
    reports = [UnitReport.unpack(base64.b64decode(line["payload_b64"])) for line in lines]
    assert {line["precedence"] for line in lines} == {"priority"}
    assert (reports[-1].name, reports[-1].due_s) == ("kit-1", 1.0)
    assert [(row[0], row[1], row[5]) for row in reports[-1].links] == [("a", "up", "udp")]
    assert reports[-1].backlog == []


def test_the_api_answers_on_loopback_tcp_too(tmp_path: Path) -> None:
    kit, _ = write_pair(tmp_path, kit_links="", command_links="")
    port = free_port(socket.SOCK_STREAM)
    kit.write_text(kit.read_text().replace("unix:kit-1.sock", f"127.0.0.1:{port}"))
    with running(AgentProcess(kit)):
        assert json.loads(edge_agent("status", "--config", kit, "--json"))["node"] == "kit-1"


def test_a_durable_consumer_goes_on_where_it_stopped(pair: Pair) -> None:
    first = listen(pair.command.config, "--consumer", "outlet", "--since", "all", "--flow", "text", "--count", "1")
    for text in (b"1", b"2"):
        edge_agent(
            "send", "--config", pair.kit.config, "--flow", "text", "--wait", "forwarded", "--timeout", 30, stdin=text
        )
    assert json.loads(first.communicate(timeout=30)[0])["payload"] == "1"
    second = listen(pair.command.config, "--consumer", "outlet", "--flow", "text", "--count", "1")
    assert json.loads(second.communicate(timeout=30)[0])["payload"] == "2"


@pytest.mark.parametrize("victim", ["kit", "command"])
async def test_kill_9_during_a_stream_loses_and_doubles_nothing(pair: Pair, victim: str) -> None:
    """40 bundles of all precedences, three kills in the stream; every accepted one is delivered, once."""
    listener = listen(pair.command.config, "--flow", "text", "--since", "all")
    assert listener.stdout is not None
    seen: Counter[str] = Counter()
    killed: AgentProcess = getattr(pair, victim)
    waiting = []
    for number in range(40):
        if number in (8, 20, 32):
            killed.kill()
            killed.start()
        async with client_of(pair.kit) as client:
            sent = await client.send(f"{number}".encode(), flow="text", precedence=PRECEDENCES[number % 5])
        waiting.append(sent.bundle)
        if number == 0:  # the listener is attached from here on
            seen[json.loads(listener.stdout.readline())["bundle"]] += 1
    last = edge_agent(
        "send", "--config", pair.kit.config, "--flow", "text", "--precedence", "deferred", "--wait", "delivered",
        "--timeout", 50, stdin=b"last",
    )  # fmt: skip
    waiting.append(json.loads(last)["bundle"])
    deadline_s = time.monotonic() + 50
    while len(seen) < len(waiting) and time.monotonic() < deadline_s:
        line = json.loads(listener.stdout.readline())
        seen[line["bundle"]] += not line["redelivered"]
    listener.kill()
    listener.communicate()
    assert set(seen) == set(waiting)
    assert max(seen.values()) == 1  # 0: handed out just before the kill, so that it may have been seen, and says so
    async with asyncio.timeout(40), client_of(pair.kit) as client:
        for bundle in waiting:
            assert (await client.wait(bundle, "delivered")).state == "delivered"


def test_a_send_that_waits_survives_kill_9_of_both_sides(pair: Pair) -> None:
    """``--wait delivered`` goes on waiting while both agents are killed and started, and ends with "delivered"."""
    pair.command.kill()
    listener = None
    sender = subprocess.Popen(
        [
            *EDGE_AGENT,
            "send",
            "--config",
            str(pair.kit.config),
            "--flow",
            "text",
            "--wait",
            "delivered",
            "--timeout",
            "50",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert sender.stdin is not None
    sender.stdin.write(b"help")
    sender.stdin.close()
    while (
        json.loads(edge_agent("status", "--config", pair.kit.config, "--json"))["backlog"]["immediate"]["bundles"] != 1
    ):
        assert sender.poll() is None
    pair.kit.kill()
    pair.kit.start()
    pair.command.start()
    listener = listen(pair.command.config, "--flow", "text", "--since", "all", "--count", "1")
    assert sender.wait(timeout=50) == 0
    assert sender.stdout is not None
    assert json.loads(sender.stdout.read())["state"] == "delivered"
    assert json.loads(listener.communicate(timeout=30)[0])["payload"] == "help"


def test_sigterm_stops_an_agent_within_two_seconds_whoever_is_connected(pair: Pair) -> None:
    bundle = json.loads(edge_agent("send", "--config", pair.kit.config, "--flow", "x", "--to", "kit-2", stdin=b"x"))[
        "bundle"
    ]
    path = pair.kit.config.parent / "kit-1.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        for connection, request in (
            (listener, {"op": "listen", "flow": "*"}),
            (waiting, {"op": "wait", "bundle": bundle, "state": "delivered"}),
        ):
            connection.connect(str(path))
            connection.sendall(pack_message(request))
        assert b"consumer" in listener.recv(4096)  # attached; the other one was asked before that was answered
        begun_s = time.monotonic()
        assert pair.kit.stop() == 0
        assert time.monotonic() - begun_s < 2.0
        assert waiting.recv(1) == b""
    assert not path.exists()
    pair.kit.wait_for("agent_stopped")
    assert not [line for line in pair.kit.log if line["event"] in ("not_json", "agent_stop_forced")]
