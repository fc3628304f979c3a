"""A backlog over loopback from one real agent to another: bundles a second, durable on both sides."""

import asyncio
import time

from benchmarks import agents
from benchmarks.lateness import watch_lateness
from benchmarks.rows import Bench, Figure
from benchmarks.store.backlogs import make_backlog, write_configs
from edge_agent import loop as agent_loop
from edge_agent.client import Client

LOOK_S = 0.05
DRAINS_MAX_S = 180.0


async def _drain(waiting: int) -> Figure:
    """From the kit's link being up to its store being empty; the reference is CPU seconds of both for 1,000."""
    folder = await asyncio.to_thread(make_backlog, waiting)
    post = agents.free_address()
    write_configs(folder, kit_to=post, command_at=post)
    async with (
        agents.running(folder, "command-1") as (command_agent,),
        agents.running(folder, "kit-1") as (kit_agent,),
        watch_lateness() as lateness,
        kit_agent.client() as kit,
        asyncio.timeout(DRAINS_MAX_S),
    ):
        await agents.until_links_up(kit_agent, 1)
        begun_s, before_s = time.monotonic(), kit_agent.cpu_s() + command_agent.cpu_s()
        first = left = await _waiting(kit)
        while left:
            await asyncio.sleep(LOOK_S)
            left = await _waiting(kit)
        wall_s, cpu_s = time.monotonic() - begun_s, kit_agent.cpu_s() + command_agent.cpu_s() - before_s
    return Figure(value=first / wall_s, reference=cpu_s / first * 1_000, late_p99_ms=lateness.p99_ms)


async def _waiting(kit: Client) -> int:
    return int((await kit.status())["backlog"]["routine"]["bundles"])


def rows(quick: bool) -> list[Bench]:
    """One row; quick: 50,000 bundles in place of 200,000."""
    return [
        Bench(
            name="drain_loopback",
            group="store",
            unit="bundles/s (CPU s of both for 1,000)",
            goal=">= 15000",
            measure=lambda: agent_loop.run(_drain(50_000 if quick else 200_000)),
            late_limit_ms=50.0,  # as loopback_goodput: lateness only slows it down
        ),
    ]
