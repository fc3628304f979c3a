"""Budgets, profiles and what a person said of a link: with real agents and stores, over kill -9."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.agents import AgentProcess, attempt, edge_agent, free_port, running, udp_link, write_pair

pytestmark = pytest.mark.slow

BUDGET_BYTES = 200_000


def pair(folder: Path, keys: str) -> tuple[AgentProcess, AgentProcess]:
    """A kit with one link of these keys, and command."""
    address = f"127.0.0.1:{free_port()}"
    kit_link = f'[[link]]\nname = "4g"\ntransport = "udp"\nremote = "{address}"\nkeepalive_s = 2\n{keys}\n'
    kit, command = write_pair(folder, kit_links=kit_link, command_links=udp_link("lan", "listen", address))
    return AgentProcess(kit), AgentProcess(command)


def status(agent: AgentProcess) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(edge_agent("status", "--config", agent.config, "--json"))
    return found


def row(agent: AgentProcess) -> dict[str, Any]:
    found: dict[str, Any] = status(agent)["links"][0]
    return found


def send(agent: AgentProcess, precedence: str, size: int, *, wait: str = "forwarded", timeout_s: int = 20) -> str:
    """The bundle; the state waited for is reached."""
    words = ("--precedence", precedence, "--flow", "text", "--wait", wait, "--timeout", timeout_s)
    told = edge_agent("send", "--config", agent.config, *words, stdin=bytes(size))
    return str(json.loads(told)["bundle"])


def kept(folder: Path) -> dict[str, Any]:
    """What the kit's store has of its links' spending, read as after a kill."""
    with closing(sqlite3.connect(f"file:{folder / 'var/kit-1/store.db'}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT value FROM facts WHERE name = 'kept.link_spent'").fetchone()
    return json.loads(found[0]) if found else {}


def until_kept(folder: Path, least_bytes: int) -> int:
    """Wait until the store has so many bytes of today; gives back how many."""
    end_s = time.monotonic() + 30
    while sum(kept(folder).get("4g", {}).get("day", ())) < least_bytes:
        assert time.monotonic() < end_s, kept(folder)
        time.sleep(0.1)
    return sum(kept(folder)["4g"]["day"])


def test_a_spent_budget_stays_spent_over_kill_9_and_flash_still_goes(tmp_path: Path) -> None:
    kit, command = pair(tmp_path, f"metered = true\ncost_per_mb = 10\nbytes_per_day = {BUDGET_BYTES}")
    with running(command, kit):
        send(kit, "routine", 150_000)
        spending = row(kit)["spending"]
        assert 150_000 < spending["day_bytes"] < BUDGET_BYTES
        assert spending["day_left_bytes"] == BUDGET_BYTES - spending["day_bytes"]
        assert spending["month_cost"] == pytest.approx(spending["month_bytes"] / 1e5)
        assert spending["classes"]["routine"]["day_bytes"] > 150_000
        assert spending["classes"]["routine"]["left_bytes"] == spending["day_left_bytes"]
        assert spending["classes"]["flash"]["left_bytes"] is None
        assert spending["received"]["day_bytes"] > 0
        waiting = send(kit, "routine", 100_000, wait="accepted")
        assert until_kept(tmp_path, BUDGET_BYTES) < BUDGET_BYTES * 1.2
        kit.kill()
        before = sum(kept(tmp_path)["4g"]["day"])
        kit.start()
        spending = row(kit)["spending"]
        assert spending["day_bytes"] >= before
        assert spending["is_spent"]
        send(kit, "flash", 500)
        assert row(kit)["spending"]["classes"]["flash"]["day_bytes"] > 500
        assert "has used up its bytes of the day" in edge_agent("why", waiting, "--config", kit.config, "--lang", "en")
        assert "今日流量已用完" in edge_agent("why", waiting, "--config", kit.config, "--lang", "zh")
        edge_agent("profile", "emergency", "--config", kit.config)
        send(kit, "immediate", 500)
        assert row(kit)["spending"]["is_spent"]  # the overspend shows


def test_a_profile_outlives_kill_9_and_is_shown(tmp_path: Path) -> None:
    kit, command = pair(tmp_path, "metered = true")
    with running(command, kit):
        send(kit, "routine", 100)
        assert json.loads(edge_agent("profile", "quiet", "--config", kit.config)) == {"profile": "quiet"}
        kit.kill()
        kit.start()
        assert status(kit)["profile"] == "quiet"
        assert "profile: quiet" in edge_agent("status", "--config", kit.config)
        waiting = send(kit, "routine", 100, wait="accepted")
        send(kit, "immediate", 100)
        assert "carries no ROUTINE under the quiet profile" in edge_agent(
            "why", waiting, "--config", kit.config, "--lang", "en"
        )
        edge_agent("profile", "normal", "--config", kit.config)
        send(kit, "routine", 100)


def test_a_person_says_what_a_link_costs_and_it_is_remembered(tmp_path: Path) -> None:
    kit, command = pair(tmp_path, "ask_cost = true")
    with running(command, kit):
        assert (row(kit)["asks_cost"], row(kit)["tariff"], row(kit)["metered"]) == (True, None, None)
        assert row(kit)["spending"]["day_budget_bytes"] == 20_000_000
        waiting = send(kit, "routine", 100, wait="accepted")
        send(kit, "priority", 100)
        assert "until its cost is told" in edge_agent("why", waiting, "--config", kit.config, "--lang", "en")
        assert "edge-agent link 4g free|metered|emergency" in edge_agent("status", "--config", kit.config)
        told = edge_agent("link", "4g", "free", "--config", kit.config)
        assert json.loads(told) == {"link": "4g", "tariff": "free"}
        kit.kill()
        kit.start()
        assert (row(kit)["tariff"], row(kit)["metered"], row(kit)["spending"]["day_budget_bytes"]) == (
            "free",
            False,
            None,
        )
        send(kit, "routine", 100)
        edge_agent("link", "4g", "emergency", "--config", kit.config)
        send(kit, "immediate", 100)
        late = send(kit, "priority", 100, wait="accepted")
        assert "4g does not carry PRIORITY" in edge_agent("why", late, "--config", kit.config, "--lang", "en")


def test_what_cannot_be_chosen_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    kit, command = pair(tmp_path, "metered = true")
    with running(command, kit):
        refused = attempt("link", "4g", "free", "--config", kit.config)
        assert refused.returncode == 1
        assert b"described in the configuration: change metered there" in refused.stderr
        unknown = attempt("link", "5g", "free", "--config", kit.config)
        assert (unknown.returncode, b"link '5g': allowed: 4g" in unknown.stderr) == (1, True)
    assert attempt("profile", "loud", "--config", kit.config).returncode == 2
    assert attempt("link", "4g", "cheap", "--config", kit.config).returncode == 2


def test_command_chooses_the_profile_of_a_unit(tmp_path: Path) -> None:
    kit, command = pair(tmp_path, "metered = true")
    with running(command, kit):
        send(kit, "routine", 100)
        words = ("profile", "emergency", "--to", "kit-1", "--config", command.config)
        assert b"nobody is on duty" in attempt(*words).stderr
        edge_agent(*words, "--by", "王敏")
        end_s = time.monotonic() + 20
        while status(kit)["profile"] != "emergency":
            assert time.monotonic() < end_s
        assert status(command)["profile"] == "normal"
        refused = attempt("profile", "quiet", "--to", "Kit 9", "--config", command.config, "--by", "王敏")
        assert (refused.returncode, b"unit 'Kit 9': allowed: the id of a node" in refused.stderr) == (1, True)
