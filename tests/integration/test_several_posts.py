"""Two levels of two posts each and a kit, as processes over UDP: one is killed, and nothing is hidden or doubled."""

import asyncio
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from edge_agent.client import Client
from edge_agent.config import load_api_address
from edge_agent.telemetry.payloads import Sos
from edge_agent.telemetry.receipts import read_receipts
from tests.integration.agents import READY_S, AgentProcess, edge_agent, free_port, running, udp_link
from tests.web.page_client import PageClient, State

pytestmark = pytest.mark.slow

LEVELS = {"county-1": "county", "county-2": "county", "city-1": "city", "city-2": "city"}
GROUP = '[[group]]\nname = "all"\nunits = ["kit-1"]\n'
SENT, KILLS = 30, 8
LONGEST_S = 30.0
HEARD_S = 8.0
"""Receipts gather for a second, and one too many would come soon after."""


def write_configs(folder: Path, *, kit_node: str = "") -> dict[str, Path]:
    """Configurations of four posts and a kit with one secret, all joined with all; ``kit_node``: more of the kit's."""
    edge_agent("init", folder / "made")
    secret = folder / "made" / "secret.key"
    links: dict[str, list[str]] = {name: [] for name in (*LEVELS, "kit-1")}
    for near, far in (*combinations(LEVELS, 2), *(("kit-1", post) for post in LEVELS)):
        address = f"127.0.0.1:{free_port()}"
        links[near].append(udp_link(f"to-{far}", "remote", address))
        links[far].append(udp_link(f"from-{near}", "listen", address))
    paths = {}
    for name in links:
        role, more, command = "kit", kit_node, ""
        if name in LEVELS:
            others = json.dumps([each for each in LEVELS if each != name])
            role, more, command = "command", f'level = "{LEVELS[name]}"\n', f"[command]\ncopies_to = {others}\n{GROUP}"
        paths[name] = folder / f"{name}.toml"
        paths[name].write_text(
            f'[node]\nid = "{name}"\nrole = "{role}"\n{more}data_dir = "var/{name}"\nreport_interval_s = 60\n'
            f'[security]\nsecret_file = "{secret}"\n[api]\nlisten = "unix:{name}.sock"\n{command}'
            + "".join(links[name])
        )
    return paths


def send(config: Path, text: str, precedence: str = "routine") -> str:
    answer = edge_agent(
        "send", "--config", config, "--precedence", precedence, "--flow", "text", "-", stdin=text.encode()
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


async def receipts(kit: Path) -> Counter[tuple[str, str]]:
    """How often the kit was told of each bundle, by level."""
    told: Counter[tuple[str, str]] = Counter()
    async with Client(load_api_address(kit)) as client:
        try:
            async with asyncio.timeout(HEARD_S):
                async for each in client.listen(flow="receipt", since="all"):
                    for receipt in read_receipts(each.payload or b"", reader="kit-1", writer=each.source, at_ms=1):
                        told.update((str(bundle), receipt.level) for bundle in receipt.bundles())
        except TimeoutError:
            pass  # the caller's assertion says what is missing, or too many
    return told


async def test_each_level_answers_once(tmp_path: Path) -> None:
    """The kit's thin link carries one receipt a level, whoever of its posts shows a bundle."""
    configs = write_configs(tmp_path)
    agents = {name: AgentProcess(path) for name, path in configs.items()}
    with running(*agents.values()):
        for name in LEVELS:
            agents["kit-1"].wait_for("link_changed", peer=name, state="up")
        sent = [send(configs["kit-1"], f"{number}") for number in range(5)]
        for name in LEVELS:
            assert listed(configs[name], len(sent), consumer="page") == dict.fromkeys(sent, 1)
        told = await receipts(configs["kit-1"])
        async with Client(load_api_address(configs["kit-1"])) as client, asyncio.timeout(READY_S):
            state = await client.state(sent[0])
    assert told == {(bundle, level): 1 for bundle in sent for level in ("county", "city")}
    assert state.state == "delivered"


async def test_a_kit_that_reports_to_one_level_is_seen_and_answered_by_that_one(tmp_path: Path) -> None:
    """Whichever post took it; a call for help is seen and answered by all."""
    configs = write_configs(tmp_path, kit_node='reports_to = ["county"]\n')
    agents = {name: AgentProcess(path) for name, path in configs.items()}
    with running(*agents.values()):
        agents["kit-1"].wait_for("link_changed", peer="city-1", state="up")  # the others may come later
        sent = [send(configs["kit-1"], f"{number}") for number in range(5)]
        for name in LEVELS:
            agents["kit-1"].wait_for("link_changed", peer=name, state="up")
        sent += [send(configs["kit-1"], f"{number}") for number in range(5)]
        call = send(configs["kit-1"], "help", "flash")
        for name, level in LEVELS.items():
            seen = [*sent, call] if level == "county" else [call]
            assert listed(configs[name], len(seen), consumer="page") == dict.fromkeys(seen, 1), name
        again = send(configs["kit-1"], "help, again", "flash")
        for name, level in LEVELS.items():  # what a city shows too many would come before the last one
            seen = [*sent, call, again] if level == "county" else [call, again]
            assert listed(configs[name], len(seen)) == dict.fromkeys(seen, 1), name
        told = await receipts(configs["kit-1"])
    assert {each: told[each, "county"] for each in (*sent, call)} == dict.fromkeys((*sent, call), 1)
    assert {each: told[each, "city"] for each in (*sent, call)} == {**dict.fromkeys(sent, 0), call: 1}


async def give(config: Path, text: str) -> str:
    """The bundle of an order to the kit."""
    async with Client(load_api_address(config)) as client:
        answer = await client.act("order", {"text": text, "group": "all", "by": "王敏"})
        return str(answer["bundles"][0])


async def test_orders_of_several_posts_are_acted_on_once_though_all_are_killed_by_turns(tmp_path: Path) -> None:
    """Given at each post at any moment, also the same words at several of them; posts and kit die and come back."""
    configs = write_configs(tmp_path)
    agents = {name: AgentProcess(path) for name, path in configs.items()}
    rng = random.Random(2)
    given: list[str] = []
    with running(*agents.values()):
        for name in LEVELS:
            agents["kit-1"].wait_for("link_changed", peer=name, state="up")
        for turn in range(KILLS):
            given += [await give(configs[post], f"order of turn {turn}") for post in rng.sample(list(LEVELS), 3)]
            victim = "kit-1" if turn % 2 else rng.choice(list(LEVELS))
            await asyncio.sleep(rng.uniform(0, 0.3))
            agents[victim].kill()
            others = [post for post in LEVELS if post != victim]
            given += [await give(configs[post], f"without {victim}") for post in rng.sample(others, 2)]
            agents[victim].start()
        last = await give(configs["city-2"], "last")
        lines = edge_agent(
            *("listen", "--config", configs["kit-1"], "--flow", "order", "--since", "all"),
            *("--count", len(given) + 1),
            timeout_s=90,
        ).splitlines()
        assert Counter(json.loads(line)["bundle"] for line in lines) == dict.fromkeys([*given, last], 1)
        async with Client(load_api_address(configs["kit-1"])) as client, asyncio.timeout(READY_S):
            while {last, *given} - (shown := Counter(each["id"] for each in await client.orders())).keys():  # noqa: ASYNC110  # the local API tells no news of orders
                await asyncio.sleep(0.1)
        assert shown == dict.fromkeys([*given, last], 1)


def with_pages(configs: dict[str, Path]) -> dict[str, PageClient]:
    """Pages of the posts, which their configurations get."""
    pages = {name: PageClient(free_port(socket.SOCK_STREAM)) for name in LEVELS}
    for name, page in pages.items():
        with configs[name].open("a") as file:
            file.write(f'[web]\nlisten = "127.0.0.1:{page.port}"\n')
    return pages


async def seen_at(page: PageClient, fits: Callable[[State], object]) -> State:
    """What a page shows once it ``fits``."""
    await page.state()  # its agent may be starting
    async with page.watch() as watch:
        return await watch.until(fits, LONGEST_S)


async def act(config: Path, action: str, **body: object) -> State:
    async with Client(load_api_address(config)) as client:
        return dict(await client.act(action, body))


async def test_what_people_do_at_one_post_is_shown_at_all_though_one_is_killed(tmp_path: Path) -> None:
    """Confirmed, ordered, cancelled and answered, also while a post is away, and at two posts that cannot know it."""
    configs = write_configs(tmp_path)
    pages = with_pages(configs)
    agents = {name: AgentProcess(path) for name, path in configs.items()}
    with running(*agents.values()):
        for name in LEVELS:
            agents["kit-1"].wait_for("link_changed", peer=name, state="up")
        sos = edge_agent(
            *("send", "--config", configs["kit-1"], "--precedence", "flash", "--flow", "sos", "-"),
            stdin=Sos(at_ms=1, text="help").pack(),
        )
        call = json.loads(sos)["bundle"]
        for page in pages.values():
            await seen_at(
                page, lambda state: [each["id"] for each in state["alarms"] if each["kind"] == "sos"] == [call]
            )
        agents["city-2"].kill()
        await act(configs["county-1"], "duty", name="王敏")
        await act(configs["county-1"], "confirm", alarm=call)
        order = (await act(configs["county-2"], "order", text="leave", group="all", by="赵军"))["id"]
        await seen_at(pages["city-1"], lambda state: state["orders"] and confirmed_by(state, call) == "王敏")
        agents["county-1"].kill()  # who has a copy brings it on
        agents["city-2"].start()
        for name in ("county-2", "city-1", "city-2"):
            state = await seen_at(pages[name], lambda state: state["orders"] and confirmed_by(state, call) == "王敏")
            assert [each["id"] for each in state["orders"]] == [order], name
        async with Client(load_api_address(configs["kit-1"])) as kit, asyncio.timeout(LONGEST_S):
            while [each["state"] for each in await kit.orders()] != ["delivered"]:  # noqa: ASYNC110  # no news of orders
                await asyncio.sleep(0.1)
        await act(configs["kit-1"], "answer", id=order, answer="read", by="李强")
        for name in ("county-2", "city-1", "city-2"):
            await seen_at(pages[name], lambda state: state["orders"][0]["state"] == "read")
        second = (await act(configs["county-2"], "order", text="wait", group="all", by="赵军"))["id"]
        await seen_at(pages["city-2"], lambda state: len(state["orders"]) == 2)
        await act(configs["city-2"], "order/cancel", order=second, by="周红")
        for name in ("county-2", "city-1", "city-2"):
            state = await seen_at(pages[name], lambda state: taken_back(state["orders"][0]))
            assert state["orders"][0]["cancelled"]["by"] == "周红"
        agents["county-1"].start()
        for name in LEVELS:
            state = await seen_at(
                pages[name], lambda state: len(state["orders"]) == 2 and taken_back(state["orders"][0])
            )
            assert state["orders"][1]["state"] == "read", name
            assert [each["values"].get("by") for each in state["events"] if each["code"] == "sos_confirmed"] == ["王敏"]


def confirmed_by(state: State, call: str) -> str:
    """Who has confirmed a call, as a page shows it; empty: nobody."""
    confirmed = next((each["confirmed"] for each in state["alarms"] if each["id"] == call), None)
    return str(confirmed["by"]) if confirmed else ""


def taken_back(order: State) -> bool:
    """Whether a page shows that an order was cancelled and that its unit has heard so: two words, in any order."""
    return order["state"] == "cancelled" and order["cancelled"] is not None
