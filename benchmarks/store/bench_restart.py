"""From starting a kit's process to its first frame, with a backlog on its disk."""

import asyncio
import socket
import time

from benchmarks import agents
from benchmarks.lateness import watch_lateness
from benchmarks.rows import Bench, Figure
from benchmarks.store.backlogs import backlog_folder, write_configs
from edge_agent import loop as agent_loop
from edge_agent.addresses import HostPort

FIRST_FRAME_MAX_S = 60.0


async def _first_frame_s(waiting: int) -> float:
    """Seconds until the first datagram of ``kit-1`` reaches a socket that never answers."""
    folder, loop = backlog_folder(waiting), asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        nobody.setblocking(False)
        address = HostPort(host="127.0.0.1", port=nobody.getsockname()[1])
        write_configs(folder, kit_to=address, command_at=agents.free_address())
        begun_s = time.monotonic()
        agent = await agents.start(folder, "kit-1")
        try:
            async with asyncio.timeout(FIRST_FRAME_MAX_S):
                await loop.sock_recv(nobody, 2048)
            return time.monotonic() - begun_s
        finally:
            await agents.stop(agent)


async def _restart(waiting: int, tries: int) -> Figure:
    """The slowest of some starts; the reference is the quickest with one bundle waiting."""
    async with watch_lateness() as lateness:
        starts_s = [await _first_frame_s(waiting) for _ in range(tries)]
        alone_s = min([await _first_frame_s(1) for _ in range(tries)])
    return Figure(value=max(starts_s), reference=alone_s, late_p99_ms=lateness.p99_ms)


def _row(name: str, waiting: int, goal: str, tries: int) -> Bench:
    return Bench(
        name=name,
        group="store",
        unit="s to the first frame (one waiting)",
        goal=goal,
        measure=lambda: agent_loop.run(_prepared(waiting, tries)),
        late_limit_ms=10.0,
    )


async def _prepared(waiting: int, tries: int) -> Figure:
    await asyncio.to_thread(backlog_folder, waiting)  # in a loop of its own
    await asyncio.to_thread(backlog_folder, 1)
    return await _restart(waiting, tries)


def rows(quick: bool) -> list[Bench]:
    """Two rows; quick: one start of each."""
    tries = 1 if quick else 5
    return [
        _row("restart_100k", 100_000, "<= 1", tries),
        _row("restart_1m", 1_000_000, "<= 3", tries),
    ]
