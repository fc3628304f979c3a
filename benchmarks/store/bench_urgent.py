"""A person's SOS behind a backlog at 64 kbit/s, through real agents, and what the backlog costs in memory."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache

from benchmarks import agents
from benchmarks.lateness import watch_lateness
from benchmarks.percentiles import p99
from benchmarks.rows import Bench, Figure
from benchmarks.store.backlogs import backlog_folder, write_configs
from edge_agent import loop as agent_loop
from edge_agent.addresses import HostPort
from edge_agent.client import Client, Delivery
from link_sim.link.link_profile import LinkProfile
from link_sim.profiles import UDP_IPV4_OVERHEAD_BYTES, PathProfile
from link_sim.real_time.udp_proxy import UdpProxy

RATE_BPS = 64_000
DELAY_S = 0.020
SOS_BYTES = 100
SOS_FRAME_BYTES = 200  # with everything around it; its wire time is 25 ms
FRAGMENT_S = (1400 + UDP_IPV4_OVERHEAD_BYTES) * 8 / RATE_BPS
"""One frame of the largest size, 0.18 s here: what may be on the wire when the SOS comes."""
ALLOWED_S = DELAY_S + SOS_FRAME_BYTES * 8 / RATE_BPS + FRAGMENT_S
TRAINED_S = 15.0  # the rate of the link is learnt from its backlog, and the memory of both agents has settled
ARRIVES_MAX_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Urgent:
    """One run: latencies from before ``Client.send`` to the consumer, and memory of the kit behind its backlog."""

    latencies_s: list[float]
    rss_bytes: int
    late_p99_ms: float


async def _tries(kit: Client, command: Client, tries: int) -> list[float]:
    rng, latencies_s = random.Random(3), list[float]()
    heard = command.listen("sos", since="all", consumer="duty")
    for _ in range(tries):
        begun_s = time.monotonic()
        await kit.send(os.urandom(SOS_BYTES), flow="sos", precedence="flash", origin="person")
        await asyncio.wait_for(_next(heard), ARRIVES_MAX_S)
        latencies_s.append(time.monotonic() - begun_s)
        await asyncio.sleep(rng.uniform(0.3, 0.8))
    return latencies_s


async def _next(heard: AsyncIterator[Delivery]) -> Delivery:
    return await anext(heard)


async def _waiting(kit: Client) -> int:
    return int((await kit.status())["backlog"]["routine"]["bundles"])


async def _run(waiting: int, tries: int) -> _Urgent:
    folder = await asyncio.to_thread(backlog_folder, waiting)
    post = agents.free_address()
    numbers = LinkProfile(
        rate_bps=RATE_BPS, delay_s=DELAY_S, queue_bytes=16_000, overhead_bytes=UDP_IPV4_OVERHEAD_BYTES
    )
    path = PathProfile(name="narrow", up=numbers, down=numbers)
    any_port = HostPort(host="127.0.0.1", port=0)
    async with UdpProxy("narrow", path, listen=any_port, upstream=post, seed=1) as proxy:
        write_configs(folder, kit_to=proxy.address, command_at=post)
        async with (
            agents.running(folder, "command-1", "kit-1") as (command_agent, kit_agent),
            kit_agent.client() as kit,
            command_agent.client() as command,
        ):
            await agents.until_links_up(kit_agent, 1)
            await asyncio.sleep(TRAINED_S)
            rss_bytes, before = kit_agent.rss_bytes(), await _waiting(kit)
            async with watch_lateness() as lateness:
                latencies_s = await _tries(kit, command, tries)
            after = await _waiting(kit)
            if not 0 < after < before:
                raise AssertionError(f"{before} waited before the tries and {after} after them: nothing was in the way")
            return _Urgent(latencies_s=latencies_s, rss_bytes=rss_bytes, late_p99_ms=lateness.p99_ms)


def rows(quick: bool) -> list[Bench]:
    """Three rows; quick: 20 tries in place of 60."""
    tries = 20 if quick else 60

    @cache
    def run(waiting: int, at: int) -> _Urgent:
        return agent_loop.run(_run(waiting, tries))

    measured: dict[int, int] = {}

    def urgent(waiting: int) -> Figure:
        """Latency beyond what the link itself takes; the reference is the latency."""
        measured[waiting] = measured.get(waiting, -1) + 1  # an inconclusive run is repeated, not read again
        found = run(waiting, measured[waiting])
        latency_s = p99(found.latencies_s)
        return Figure(value=latency_s - ALLOWED_S, reference=latency_s, late_p99_ms=found.late_p99_ms)

    def growth() -> Figure:
        """MB (10^6 bytes) more with a million waiting; the reference is with ten thousand."""
        few, many = run(10_000, measured.get(10_000, 0)), run(1_000_000, measured.get(1_000_000, 0))
        return Figure(value=(many.rss_bytes - few.rss_bytes) / 1e6, reference=few.rss_bytes / 1e6)

    return [
        Bench(
            name="urgent_behind_10k",
            group="store",
            unit="s p99 beyond the link's own (latency s)",
            goal="<= 0.05",
            measure=lambda: urgent(10_000),
            late_limit_ms=10.0,
        ),
        Bench(
            name="urgent_behind_1m",
            group="store",
            unit="s p99 beyond the link's own (latency s)",
            goal="<= 0.05",
            measure=lambda: urgent(1_000_000),
            late_limit_ms=10.0,
        ),
        Bench(
            name="rss_growth_1m",
            group="store",
            unit="MB more than with 10,000 (MB)",
            goal="<= 64",
            measure=growth,
        ),
    ]
