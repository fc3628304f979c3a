"""Whole agents whose wall clock is set, jumps or begins in 1970: nothing is lost, nothing expires by it, no time lies.

There is no namespace for CLOCK_REALTIME, so the agents see it through libfaketime; their boot's clock stays true.
"""

import asyncio
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.client import Client, Delivery
from edge_agent.config import load_api_address
from tests.integration.agents import AgentProcess, free_port, running, udp_link, write_pair

DAY_S = 86_400
LATE_S = 20.0
SHORT_S = 4.0
NEAR_MS = 2_500
"""How far a time may be from the true one: a machine under load is late, and what is aged is aged by milliseconds."""

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(180)]


@dataclass(slots=True)
class WallClock:
    """The wall clock of one agent, which a test sets while it runs."""

    path: Path

    def set_ahead(self, offset_s: int) -> None:
        """Let it differ from the true one by so much."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(f"{offset_s:+d}\n")
        fresh.rename(self.path)  # never half written for who reads it at each call

    def set_back_to_1970(self) -> None:
        """As on a machine without a battery that has just begun."""
        self.set_ahead(100 - round(time.time()))


@dataclass(slots=True)
class Pair:
    kit: AgentProcess
    command: AgentProcess
    kit_clock: WallClock
    command_clock: WallClock

    def client(self, agent: AgentProcess) -> Client:
        return Client(load_api_address(agent.config))


@pytest.fixture(name="pair")
def fixture_pair(tmp_path: Path, require: Callable[[str], Path]) -> Pair:
    """A kit and a command post, each with a wall clock of its own."""
    library = subprocess.run(
        [require("faketime"), "-m", "-f", "+0", "printenv", "LD_PRELOAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    address = f"127.0.0.1:{free_port()}"
    configs = write_pair(
        tmp_path, kit_links=udp_link("a", "remote", address), command_links=udp_link("b", "listen", address)
    )
    clocks = [WallClock(tmp_path / f"{config.stem}.clock") for config in configs]
    agents = []
    for config, clock in zip(configs, clocks, strict=True):
        clock.set_ahead(0)
        environment = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(clock.path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        agents.append(AgentProcess(config, ("env", *(f"{name}={value}" for name, value in environment.items()))))
    return Pair(*agents, *clocks)


async def send(client: Client, text: str, **changes: float) -> str:
    return (await client.send(text.encode(), flow="text", precedence="routine", origin="person", **changes)).bundle


async def delivered(client: Client, count: int) -> dict[str, Delivery]:
    """The texts a post has, each once."""
    found: dict[str, Delivery] = {}
    async with asyncio.timeout(LATE_S):
        async for delivery in client.listen("text", since="all", consumer="test", count=count):
            assert delivery.bundle not in found, "delivered twice"
            found[delivery.bundle] = delivery
    return found


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_steps_at_the_kit_lose_nothing_and_end_nothing_but_what_is_over(pair: Pair) -> None:
    """A day ahead, a day back, to 1970 and right again, with bundles of hours and of seconds waiting."""
    made_ms: dict[str, int] = {}
    shown_s = 0
    with running(pair.kit):
        async with pair.client(pair.kit) as kit:
            short = await send(kit, "soon over", lifetime_s=SHORT_S)
            for number, offset_s in enumerate((0, DAY_S, -DAY_S, None, 0)):
                if offset_s is None:
                    pair.kit_clock.set_back_to_1970()
                else:
                    pair.kit_clock.set_ahead(offset_s)
                    shown_s = offset_s  # in 1970 the boot's clock goes on from there
                if number:
                    pair.kit.wait_for(("clock_stepped", "clock_stepped", "clock_lost", "clock_set")[number - 1], LATE_S)
                    pair.kit.log.clear()
                made_ms[await send(kit, f"text {number}", lifetime_s=3_600)] = now_ms() + 1000 * shown_s
                brief = await send(kit, f"brief {number}", lifetime_s=1)
                async with asyncio.timeout(LATE_S):
                    assert (await kit.wait(brief, "delivered")).state == "expired"
            async with asyncio.timeout(LATE_S):
                assert (await kit.wait(short, "delivered")).state == "expired", "what is over ends, whatever the clock"
            for bundle in made_ms:
                assert (await kit.state(bundle)).state == "accepted"
            clock = (await kit.status())["clock"]
            assert (clock["is_set"], clock["settings"]) == (True, 4)
        with running(pair.command):
            async with pair.client(pair.command) as command:
                found = await delivered(command, len(made_ms))
    assert found.keys() == made_ms.keys()
    for bundle, true_ms in made_ms.items():
        assert not found[bundle].created_at_is_estimated
        assert abs(found[bundle].created_at_ms - true_ms) < NEAR_MS


async def test_steps_at_the_post_lose_nothing_and_end_nothing_but_what_is_over(pair: Pair) -> None:
    """With an order of seconds and one of hours waiting there, and texts coming in all the while."""
    sent: list[str] = []
    with running(pair.command):
        async with pair.client(pair.command) as command:
            kept = (await command.send(b"stay", flow="order", to="kit-1", lifetime_s=3_600)).bundle
            over = (await command.send(b"go", flow="order", to="kit-1", lifetime_s=SHORT_S)).bundle
            for offset_s in (DAY_S, -DAY_S):
                pair.command_clock.set_ahead(offset_s)
                pair.command.wait_for("clock_stepped", LATE_S)
                pair.command.log.clear()
            async with asyncio.timeout(LATE_S):
                assert (await command.wait(over, "delivered")).state == "expired"
            assert (await command.state(kept)).state == "accepted"
            with running(pair.kit):
                async with pair.client(pair.kit) as kit:
                    for number, offset_s in enumerate((DAY_S, -DAY_S, None, 0)):
                        if offset_s is None:
                            pair.command_clock.set_back_to_1970()
                        else:
                            pair.command_clock.set_ahead(offset_s)
                        text = await send(kit, f"text {number}", lifetime_s=20)
                        sent.append(text)
                        async with asyncio.timeout(LATE_S):
                            assert (await kit.wait(text, "forwarded")).state == "forwarded"
                async with asyncio.timeout(LATE_S):
                    assert (await command.wait(kept, "delivered")).state == "delivered"
            found = await delivered(command, len(sent))
    assert list(found) == sent


async def test_a_kit_that_begins_in_1970_tells_true_times_once_they_are_known(pair: Pair) -> None:
    """Before its clock is set, command tells the time by the age; afterwards the kit does so itself, marked."""
    pair.kit_clock.set_back_to_1970()
    with running(pair.kit, pair.command):
        pair.kit.wait_for("clock_not_set")
        async with pair.client(pair.kit) as kit, pair.client(pair.command) as command:
            true_ms = now_ms()
            text = await send(kit, "before", lifetime_s=3_600)
            found = await delivered(command, 1)
            assert found[text].created_at_is_estimated
            assert abs(found[text].created_at_ms - true_ms) < NEAR_MS
            assert not (await kit.status())["clock"]["is_set"]
            order = (await command.send(b"stay", flow="order", to="kit-1", lifetime_s=60)).bundle
            async with asyncio.timeout(LATE_S):
                reached = await command.wait(order, "delivered")
                assert reached.state == "delivered", "the kit's boot knows how old it is, whatever year it believes in"
                await kit.wait(text, "delivered")
            before_ms = (await kit.state(text)).accepted_at_ms
            assert before_ms is not None
            assert before_ms < 1_000_000_000
            pair.kit_clock.set_ahead(0)
            pair.kit.wait_for("clock_set", LATE_S)
            after_ms = (await kit.state(text)).accepted_at_ms
            assert after_ms is not None
            assert abs(after_ms - true_ms) < NEAR_MS
        pair.kit.kill()
        pair.kit.start()
        async with pair.client(pair.kit) as kit:
            assert (await kit.state(text)).accepted_at_ms == after_ms, "over a restart too"


async def test_a_post_that_begins_in_1970_shows_true_times_once_its_clock_is_set(pair: Pair) -> None:
    pair.command_clock.set_back_to_1970()
    with running(pair.kit, pair.command):
        async with pair.client(pair.kit) as kit, pair.client(pair.command) as command:
            true_ms = now_ms()
            text = await send(kit, "early", lifetime_s=3_600)
            async with asyncio.timeout(LATE_S):
                await kit.wait(text, "forwarded")
            pair.command_clock.set_ahead(0)
            pair.command.wait_for("clock_set", LATE_S)
            found = await delivered(command, 1)
            assert abs(found[text].received_at_ms - true_ms) < NEAR_MS
            assert not found[text].created_at_is_estimated
