"""Cables between two network namespaces, plugged and pulled while two real agents run. Real time, root only."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from benchmarks import agents
from benchmarks.rows import Bench, Figure
from edge_agent import loop as agent_loop
from edge_agent.client import AgentAbsentError, Client

NET, MODEM_NET = "10.213.18", "10.213.19"
LOOK_S = 0.02
LONGEST_S = 20.0
RESTS_S = 1.5
"""Between plugging and pulling: the kernel tells of a carrier a second after it told of one before, at the earliest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plugged:
    """Seconds of one round: until a modem no file names is up, a pulled cable is known, and one put back is up."""

    modem_s: float
    pulled_s: float
    back_s: float


@dataclass(slots=True)
class _Machines:
    """Two namespaces. A cable's .1 is the kit's end, .2 the command post's."""

    kit: str
    command: str

    def ip(self, words: str) -> None:
        """Run ``ip`` with these words."""
        subprocess.run(["ip", *words.split()], check=True)

    def plug(self, name: str, net: str) -> None:
        """A cable between both."""
        self.ip(f"-n {self.kit} link add {name} type veth peer name {name} netns {self.command}")
        for namespace, host in ((self.kit, 1), (self.command, 2)):
            self.ip(f"-n {namespace} addr add {net}.{host}/24 dev {name}")
            self.ip(f"-n {namespace} link set {name} up")


@asynccontextmanager
async def _machines() -> AsyncIterator[_Machines]:
    machines = _Machines(f"lifeline-pk{os.getpid()}", f"lifeline-pc{os.getpid()}")
    made: list[str] = []
    try:
        for name in (machines.kit, machines.command):
            machines.ip(f"netns add {name}")
            made.append(name)
            machines.ip(f"-n {name} link set lo up")
        machines.plug("v0", NET)
        yield machines
    finally:
        for name in made:
            machines.ip(f"netns del {name}")


@asynccontextmanager
async def _agent(folder: Path, node_id: str, namespace: str) -> AsyncIterator[Client]:
    """An agent in a namespace; its unix socket is reached from everywhere."""
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", namespace, sys.executable, *agents.EDGE_AGENT, "run", folder / f"{node_id}.toml"),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with Client(folder / f"{node_id}.sock") as client:
            yield client
    finally:
        process.terminate()
        await process.wait()


async def _until(kit: Client, holds: Callable[[dict[str, str]], bool]) -> float:
    """Seconds until the states of the kit's links, by name, are so."""
    began_s = time.monotonic()
    async with asyncio.timeout(LONGEST_S):
        while True:
            try:
                links = (await kit.status())["links"]
            except AgentAbsentError:
                links = []
            if holds({link["name"]: link["state"] for link in links}):
                return time.monotonic() - began_s
            await asyncio.sleep(LOOK_S)


async def _run() -> _Plugged:
    async with agents.bench_folder() as folder, _machines() as machines:
        link = '[[link]]\nname = "first"\ntransport = "udp"\nmetered = false\n'
        auto = "[links]\nauto = true\n"
        agents.write_config(folder, "kit-1", role="kit", rest=f'{auto}{link}remote = "{NET}.2:7000"\n')
        agents.write_config(folder, "command-1", role="command", rest=f'{link}listen = "0.0.0.0:7000"\n')
        async with (
            _agent(folder, "command-1", machines.command),
            _agent(folder, "kit-1", machines.kit) as kit,
        ):
            await _until(kit, lambda states: states.get("first") == "up")
            machines.plug("wwan0", MODEM_NET)
            machines.ip(f"-n {machines.kit} route add default via {MODEM_NET}.2 dev wwan0")
            modem_s = await _until(kit, lambda states: states.get("wwan0") == "up")
            await asyncio.sleep(RESTS_S)
            machines.ip(f"-n {machines.command} link set v0 down")
            pulled_s = await _until(kit, lambda states: states["first"] == "down")
            await asyncio.sleep(RESTS_S)
            machines.ip(f"-n {machines.command} link set v0 up")
            back_s = await _until(kit, lambda states: states["first"] == "up")
            return _Plugged(modem_s=modem_s, pulled_s=pulled_s, back_s=back_s)


def rows(quick: bool) -> list[Bench]:
    """Three rows of one run, for root only; the worst of three rounds, quick: of one; the reference is the best."""
    if os.geteuid() != 0 or sys.platform != "linux":
        print("rows hot_plug_*: left out, network namespaces need root", file=sys.stderr)
        return []

    @cache
    def rounds() -> list[_Plugged]:
        return [agent_loop.run(_run()) for _ in range(1 if quick else 3)]

    def worst(of: Callable[[_Plugged], float]) -> Figure:
        spans_s = [of(each) for each in rounds()]
        return Figure(value=max(spans_s), reference=min(spans_s))

    spans: tuple[tuple[str, str, Callable[[_Plugged], float]], ...] = (
        ("hot_plug_s", "<= 5", lambda each: each.modem_s),
        ("cable_pulled_s", "<= 1", lambda each: each.pulled_s),
        ("cable_back_s", "<= 1", lambda each: each.back_s),
    )
    return [
        Bench(name=name, group="links", unit="s (best)", goal=goal, measure=partial(worst, of))
        for name, goal, of in spans
    ]
