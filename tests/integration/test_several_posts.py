"""Two levels of two posts each and a kit, as processes over UDP: one is killed, and nothing is hidden or doubled."""

import asyncio
import json
import random
import time
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from edge_agent.client import Client
from edge_agent.config import load_api_address
from edge_agent.telemetry.receipts import read_receipts
from tests.integration.agents import READY_S, AgentProcess, edge_agent, free_port, running, udp_link

pytestmark = pytest.mark.slow

LEVELS = {"county-1": "county", "county-2": "county", "city-1": "city", "city-2": "city"}
SENT, KILLS = 30, 8
HEARD_S = 8.0
"""Receipts gather for a second, and one too many would come soon after."""


def write_configs(folder: Path) -> dict[str, Path]:
    """Configurations of four posts and a kit with one secret, all joined with all."""
    edge_agent("init", folder / "made")
    secret = folder / "made" / "secret.key"
    links: dict[str, list[str]] = {name: [] for name in (*LEVELS, "kit-1")}
    for near, far in (*combinations(LEVELS, 2), *(("kit-1", post) for post in LEVELS)):
        address = f"127.0.0.1:{free_port()}"
        links[near].append(udp_link(f"to-{far}", "remote", address))
        links[far].append(udp_link(f"from-{near}", "listen", address))
    paths = {}
    for name in links:
        role, level, command = "kit", "", ""
        if name in LEVELS:
            others = json.dumps([each for each in LEVELS if each != name])
            role, level, command = "command", f'level = "{LEVELS[name]}"\n', f"[command]\ncopies_to = {others}\n"
        paths[name] = folder / f"{name}.toml"
        paths[name].write_text(
            f'[node]\nid = "{name}"\nrole = "{role}"\n{level}data_dir = "var/{name}"\nreport_interval_s = 60\n'
            f'[security]\nsecret_file = "{secret}"\n[api]\nlisten = "unix:{name}.sock"\n{command}'
            + "".join(links[name])
        )
    return paths


def send(config: Path, text: str) -> str:
    answer = edge_agent(
        "send", "--config", config, "--precedence", "routine", "--flow", "text", "-", stdin=text.encode()
    )
    return str(json.loads(answer)["bundle"])


def listed(config: Path, count: int, consumer: str = "") -> Counter[str]:
    """Bundles of flow text that a post gives to a consumer that wants all."""
    name = ("--consumer", consumer) if consumer else ()
    lines = edge_agent(
        "listen", "--config", config, "--flow", "text", "--since", "all", "--count", str(count), *name, timeout_s=90
    ).splitlines()
    return Counter(json.loads(line)["bundle"] for line in lines)


def test_one_post_that_is_killed_hides_and_doubles_nothing(tmp_path: Path) -> None:
    configs = write_configs(tmp_path)
    agents = {name: AgentProcess(path) for name, path in configs.items()}
    with running(*agents.values()):
        for name in LEVELS:
            agents["kit-1"].wait_for("link_changed", peer=name, state="up")
        sent = [send(configs["kit-1"], f"before {number}") for number in range(SENT)]
        agents["county-1"].kill()
        sent += [send(configs["kit-1"], f"after {number}") for number in range(SENT)]
        for name in LEVELS:
            if name != "county-1":
                assert listed(configs[name], 2 * SENT) == dict.fromkeys(sent, 1), name
        agents["county-1"].start()
        assert listed(configs["county-1"], 2 * SENT) == dict.fromkeys(sent, 1)
        sent.append(send(configs["kit-1"], "last"))
        for name in LEVELS:  # what came twice would come before the last one
            assert listed(configs[name], 2 * SENT + 1) == dict.fromkeys(sent, 1), name


def test_posts_that_are_killed_by_turns_hide_and_double_nothing(tmp_path: Path) -> None:
    """Each at a moment of its own while bundles, some of them files, are on their way between posts."""
    configs = write_configs(tmp_path)
    agents = {name: AgentProcess(path) for name, path in configs.items()}
    rng = random.Random(1)
    sent = []
    with running(*agents.values()):
        for name in LEVELS:
            agents["kit-1"].wait_for("link_changed", peer=name, state="up")
        for turn in range(KILLS):
            victim = rng.choice(list(LEVELS))
            texts = [f"{turn} {number} {'x' * rng.choice([0, 0, 90_000])}" for number in range(3)]
            sent.extend([send(configs["kit-1"], text) for text in texts])
            time.sleep(rng.uniform(0, 0.3))
            agents[victim].kill()
            sent.append(send(configs["kit-1"], f"{turn} without {victim}"))
            agents[victim].start()
        sent.append(send(configs["kit-1"], "last"))
        for name in LEVELS:
            assert listed(configs[name], len(sent)) == dict.fromkeys(sent, 1), name


async def test_each_level_answers_once(tmp_path: Path) -> None:
    """The kit's thin link carries one receipt a level, whoever of its posts shows a bundle."""
    configs = write_configs(tmp_path)
    agents = {name: AgentProcess(path) for name, path in configs.items()}
    told: Counter[tuple[str, str]] = Counter()
    with running(*agents.values()):
        for name in LEVELS:
            agents["kit-1"].wait_for("link_changed", peer=name, state="up")
        sent = [send(configs["kit-1"], f"{number}") for number in range(5)]
        for name in LEVELS:
            assert listed(configs[name], len(sent), consumer="page") == dict.fromkeys(sent, 1)
        async with Client(load_api_address(configs["kit-1"])) as client:
            try:
                async with asyncio.timeout(HEARD_S):
                    async for each in client.listen(flow="receipt", since="all"):
                        for receipt in read_receipts(each.payload or b"", reader="kit-1", writer=each.source, at_ms=1):
                            told.update((str(bundle), receipt.level) for bundle in receipt.bundles())
            except TimeoutError:
                pass  # the assertion below says what is missing, or too many
            async with asyncio.timeout(READY_S):
                state = await client.state(sent[0])
    assert told == {(bundle, level): 1 for bundle in sent for level in ("county", "city")}
    assert state.state == "delivered"
