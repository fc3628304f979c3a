"""Interfaces that go, come and change their addresses while an agent runs: noticed at once, and nothing is lost."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.components import require
from tests.integration.agents import AgentProcess, attempt, edge_agent, running

pytestmark = [pytest.mark.slow, pytest.mark.kernel]

NOTICED_S = 2.0  # the kernel tells of carriers once a second
USED_S = 5.0
KIT, COMMAND = f"lifeline-hk{os.getpid()}", f"lifeline-hc{os.getpid()}"


def ip(words: str) -> None:
    subprocess.run([str(require("ip")), *words.split()], check=True)


def plug(name: str, net: str) -> None:
    """A cable between both namespaces: .1 is the kit's end, .2 the command post's."""
    ip(f"-n {KIT} link add {name} type veth peer name {name} netns {COMMAND}")
    for namespace, host in ((KIT, 1), (COMMAND, 2)):
        ip(f"-n {namespace} addr add {net}.{host}/24 dev {name}")
        ip(f"-n {namespace} link set {name} up")


@contextmanager
def two_namespaces() -> Iterator[None]:
    made = []
    try:
        for name in (KIT, COMMAND):
            ip(f"netns add {name}")
            made.append(name)
            ip(f"-n {name} link set lo up")
        plug("v0", "10.213.8")
        yield
    finally:
        for name in made:
            ip(f"netns del {name}")


@pytest.fixture(name="pair")
def fixture_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AgentProcess, AgentProcess]]:
    """Kit and command post, with one link by v0 and more as interfaces come."""
    require("root")
    folder = tmp_path_factory.mktemp("hp")  # a unix socket's path is short
    edge_agent("init", folder / "made")
    kit = '[links]\nauto = true\n[[link]]\nname = "first"\ntransport = "udp"\nremote = "10.213.8.2:7000"\n'
    kit += "metered = false\n"
    command = '[[link]]\nname = "all"\ntransport = "udp"\nlisten = "0.0.0.0:7000"\nmetered = false\n'
    for name, links in (("kit", kit), ("command", command)):
        (folder / f"{name}.toml").write_text(
            f'[node]\nid = "{name}-1"\nrole = "{name}"\ndata_dir = "{name}"\n[security]\n'
            f'secret_file = "made/secret.key"\n[api]\nlisten = "unix:{name}.sock"\n{links}'
        )
    in_kit, in_command = (("ip", "netns", "exec", name) for name in (KIT, COMMAND))
    agents = AgentProcess(folder / "kit.toml", prefix=in_kit), AgentProcess(folder / "command.toml", prefix=in_command)
    with two_namespaces(), running(agents[1], agents[0]):
        agents[0].wait_for("link_changed", link="first", state="up")
        yield agents


def send(kit: AgentProcess, text: str, *, until: str, flow: str = "text") -> None:
    answer = attempt(
        "send", "--config", kit.config, "--flow", flow, "--wait", until, "--timeout", 15, stdin=text.encode(),
        prefix=kit.prefix,
    )  # fmt: skip
    assert (answer.returncode, json.loads(answer.stdout)["state"]) == (0, until), answer.stderr


def next_line(agent: AgentProcess, event: str, **fields: object) -> float:
    """Seconds until the agent says it, anew."""
    began_s = time.monotonic()
    agent.log.clear()
    agent.wait_for(event, **fields)
    return time.monotonic() - began_s


def usable_again(kit: AgentProcess) -> dict[str, Any]:  # Any: JSON
    """The row of the first link once it carries again, which takes USED_S at most."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < USED_S:
        rows = json.loads(edge_agent("status", "--config", kit.config, "--json", prefix=kit.prefix))["links"]
        row: dict[str, Any] = next(each for each in rows if each["name"] == "first")  # Any: JSON
        if row["state"] in ("up", "degraded"):
            return row
    raise AssertionError(f"not used within {USED_S} s: {row}")


def delivered(command: AgentProcess, count: int) -> list[str]:
    arguments = ("--config", command.config, "--flow", "text", "--since", "all", "--count", count)
    lines = edge_agent("listen", *arguments, prefix=command.prefix).splitlines()
    return [json.loads(line)["payload"] for line in lines]


def test_a_cable_pulled_and_plugged_in_is_noticed_at_once_and_nothing_is_lost(
    pair: tuple[AgentProcess, AgentProcess],
) -> None:
    kit, command = pair
    for number, (gone, back) in enumerate(
        (
            (lambda: ip(f"-n {KIT} link set v0 down"), lambda: ip(f"-n {KIT} link set v0 up")),
            (lambda: ip(f"-n {COMMAND} link set v0 down"), lambda: ip(f"-n {COMMAND} link set v0 up")),  # no carrier
            (lambda: ip(f"-n {KIT} link del v0"), lambda: plug("v0", "10.213.8")),
        )
    ):
        send(kit, f"before {number}", until="forwarded")
        gone()
        assert next_line(kit, "link_lost", link="first") < NOTICED_S
        send(kit, f"meanwhile {number}", until="accepted")
        back()
        row = usable_again(kit)  # the log says it of the third fall later: by then the link may be a flapping one
        assert row["state"] == "up" or (number == 2 and (row["state"], row["reason"]) == ("degraded", "flapping")), row
        send(kit, f"after {number}", until="forwarded")
    assert sorted(delivered(command, 9)) == sorted(
        f"{when} {n}" for n in range(3) for when in ("before", "meanwhile", "after")
    )


def test_an_address_that_changes_moves_the_link_without_losing_it(pair: tuple[AgentProcess, AgentProcess]) -> None:
    kit, command = pair
    send(kit, "before", until="forwarded")
    kit.log.clear()
    ip(f"-n {KIT} addr add 10.213.8.9/24 dev v0")
    ip(f"-n {KIT} addr del 10.213.8.1/24 dev v0")  # takes .9 with it unless promoted, as a lease that ends does
    ip(f"-n {KIT} addr replace 10.213.8.9/24 dev v0")
    send(kit, "after", until="forwarded")
    assert delivered(command, 2) == ["before", "after"]


def test_a_modem_plugged_in_is_used_within_seconds_though_no_file_names_it(
    pair: tuple[AgentProcess, AgentProcess],
) -> None:
    kit, command = pair
    plug("wwan0", "10.213.9")
    ip(f"-n {KIT} route add default via 10.213.9.2 dev wwan0")
    assert next_line(kit, "link_changed", link="wwan0", state="up") < USED_S
    ip(f"-n {KIT} link del v0")
    ip(f"-n {COMMAND} addr add 10.213.8.2/32 dev lo")
    send(kit, "by the modem", until="forwarded")
    assert delivered(command, 1) == ["by the modem"]
    [row] = [
        link
        for link in json.loads(edge_agent("status", "--config", kit.config, "--json", prefix=kit.prefix))["links"]
        if link["name"] == "wwan0"
    ]
    assert row["state"] == "up"


def test_a_path_that_swallows_long_frames_carries_bulk_all_the_same(pair: tuple[AgentProcess, AgentProcess]) -> None:
    """The far end of the cable takes nothing above 1,270 bytes and says nothing of it, as a tunnel may."""
    kit, command = pair
    ip(f"-n {COMMAND} link set v0 mtu 1270")
    picture = "x" * 60_000
    send(kit, picture, until="forwarded")
    assert delivered(command, 1) == [picture]
    dropped = json.loads(edge_agent("status", "--config", kit.config, "--json", prefix=kit.prefix))["dropped"]
    assert dropped["frame_size_lowered"] == 1
