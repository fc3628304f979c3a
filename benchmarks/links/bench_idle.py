"""An agent with four links up, its page served and nothing to carry: CPU, and how often it wakes the processor."""

import asyncio
import socket
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks import agents
from benchmarks.rows import Bench, Figure
from edge_agent import loop as agent_loop

LINKS = 4
SETTLES_S = 6.0  # after the start: pages load, links are measured, reports leave


@dataclass(frozen=True, slots=True, kw_only=True)
class _Idle:
    """Of one agent: its share of one core, and how often a second one of its threads went to sleep."""

    cpu_ratio: float
    wakeups_hz: float


def _sleeps(agent: agents.Agent) -> int:
    """How often threads of the process waited for something so far: each ends with a wake-up."""
    count = 0
    for status in Path(f"/proc/{agent.process.pid}/task").glob("*/status"):
        count += int(status.read_text().partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return count


async def _watch(agent: agents.Agent, span_s: float) -> _Idle:
    began_s, cpu_s, sleeps = time.monotonic(), agent.cpu_s(), _sleeps(agent)
    await asyncio.sleep(span_s)
    passed_s = time.monotonic() - began_s
    return _Idle(cpu_ratio=(agent.cpu_s() - cpu_s) / passed_s, wakeups_hz=(_sleeps(agent) - sleeps) / passed_s)


async def _run(span_s: float) -> tuple[_Idle, _Idle]:
    """Kit and command post, each with its page but nobody looking at it."""
    addresses = [agents.free_address() for _ in range(LINKS)]
    async with agents.bench_folder() as folder:
        for node_id, role, key in (("kit-1", "kit", "remote"), ("command-1", "command", "listen")):
            links = [agents.udp_link(f"link-{at}", key, address) for at, address in enumerate(addresses)]
            page = f'[web]\nlisten = "{agents.free_address(socket.SOCK_STREAM)}"\n'
            agents.write_config(folder, node_id, role=role, rest="".join(links) + page)
        async with agents.running(folder, "command-1", "kit-1") as (command, kit):
            await agents.until_links_up(kit, LINKS)
            await asyncio.sleep(SETTLES_S)
            on_kit, at_command = await asyncio.gather(_watch(kit, span_s), _watch(command, span_s))
            return on_kit, at_command


def rows(quick: bool) -> list[Bench]:
    """Two rows of one run: the kit, which runs on a battery; the reference is the command post."""
    span_s = 15.0 if quick else 60.0

    @cache
    def idle() -> tuple[_Idle, _Idle]:
        return agent_loop.run(_run(span_s))

    def cpu() -> Figure:
        kit, command = idle()
        return Figure(value=kit.cpu_ratio, reference=command.cpu_ratio)

    def wakeups() -> Figure:
        kit, command = idle()
        return Figure(value=kit.wakeups_hz, reference=command.wakeups_hz)

    return [
        Bench(name="idle_agent_cpu", group="links", unit="of a core (command)", goal="<= 0.01", measure=cpu),
        Bench(name="idle_agent_wakeups", group="links", unit="a second (command)", goal="<= 30", measure=wakeups),
    ]
