"""First light on loopback, no impairment: what kit and command post carry, protected and stored, and what it costs.

Bundles of 64 KiB, FIFO, ROUTINE, with receipts, from ``Client.send`` to ``Client.listen``; one UDP link; this process
is sender and consumer and shares the machine with both agents.
"""

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks import agents
from benchmarks.lateness import watch_lateness
from benchmarks.rows import Bench, Figure
from edge_agent import loop as agent_loop
from edge_agent.client import Client

BUNDLE_BYTES = 65_536  # the largest that is stored as a row
SENDERS = 8  # wait for their own acceptance each: enough to keep the group commit busy
OFFERED_BPS = 50_000_000
WARM_UP_BUNDLES = 64  # the rate estimate starts from nothing
ARRIVES_S = 60.0
COMMITS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class _Carried:
    """One run. ``goodput_bps`` counts bytes of bundles in the consumer's hands; CPU seconds are of whole processes."""

    goodput_bps: float
    wall_s: float
    kit_cpu_s: float
    command_cpu_s: float
    commit_bps: float
    late_p99_ms: float


@dataclass(slots=True)
class _Load:
    """``bundles`` to send, at ``offered_bps`` or as fast as the kit accepts them."""

    bundles: int
    offered_bps: float | None
    begun_s: float
    _next: int = 0

    async def send(self, kit: Client) -> None:
        """One of the senders."""
        while self._next < self.bundles:
            number, self._next = self._next, self._next + 1
            if self.offered_bps is not None:
                due_s = self.begun_s + number * BUNDLE_BYTES * 8 / self.offered_bps
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await kit.send(os.urandom(BUNDLE_BYTES), flow="bulk", precedence="routine")


async def _consume(command: Client, bundles: int) -> None:
    """Return when so many bundles were delivered."""
    async for _ in command.listen("bulk", since="all", consumer="bench", count=bundles):
        pass


async def _carry(kit: Client, command: Client, load: _Load) -> float:
    """Seconds from the first send to the last delivery."""
    async with asyncio.timeout(ARRIVES_S + load.bundles * BUNDLE_BYTES * 8 / OFFERED_BPS), asyncio.TaskGroup() as group:
        for number in range(SENDERS):
            group.create_task(load.send(kit), name=f"sender {number}")
        group.create_task(_consume(command, load.bundles), name="consumer")
    return time.monotonic() - load.begun_s


async def _run(bundles: int, offered_bps: float | None) -> _Carried:
    address = agents.free_address()
    async with agents.bench_folder() as folder:
        agents.write_config(folder, "kit-1", role="kit", rest=agents.udp_link("a", "remote", address))
        agents.write_config(folder, "command-1", role="command", rest=agents.udp_link("a", "listen", address))
        async with (
            agents.running(folder, "command-1", "kit-1") as (command_agent, kit_agent),
            kit_agent.client() as kit,
            command_agent.client() as command,
        ):
            await agents.until_links_up(kit_agent, 1)
            await _carry(kit, command, _Load(WARM_UP_BUNDLES, offered_bps, time.monotonic()))
            kit_before_s, command_before_s = kit_agent.cpu_s(), command_agent.cpu_s()
            async with watch_lateness() as lateness:
                wall_s = await _carry(kit, command, _Load(bundles, offered_bps, time.monotonic()))
            return _Carried(
                goodput_bps=bundles * BUNDLE_BYTES * 8 / wall_s,
                wall_s=wall_s,
                kit_cpu_s=kit_agent.cpu_s() - kit_before_s,
                command_cpu_s=command_agent.cpu_s() - command_before_s,
                commit_bps=_commit_bps(folder),
                late_p99_ms=lateness.p99_ms,
            )


def _commit_bps(folder: Path) -> float:
    """Bits a second of one SQLite writer that syncs each bundle by itself: WAL, synchronous=FULL, the same disk."""
    with contextlib.closing(sqlite3.connect(folder / "commits.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE bundle (payload BLOB)")
        payload, begun_s = os.urandom(BUNDLE_BYTES), time.monotonic()
        for _ in range(COMMITS):
            database.execute("INSERT INTO bundle VALUES (?)", (payload,))
        return COMMITS * BUNDLE_BYTES * 8 / (time.monotonic() - begun_s)


def _goodput(bundles: int) -> Figure:
    carried = agent_loop.run(_run(bundles, None))
    return Figure(value=carried.goodput_bps / 1e6, reference=carried.commit_bps / 1e6, late_p99_ms=carried.late_p99_ms)


def _cpu_at_offer(run: Callable[[], _Carried], cpu_s: Callable[[_Carried], float]) -> Figure:
    """CPU seconds for each second's worth of the offer that was carried: less carried is not less cost."""
    carried = run()
    offers_carried = carried.goodput_bps * carried.wall_s / OFFERED_BPS
    return Figure(value=cpu_s(carried) / offers_carried, reference=carried.goodput_bps / 1e6)


def rows(quick: bool) -> list[Bench]:
    """Three rows; both CPU rows come from one run. Quick: a quarter of the bundles."""
    bundles = 480 if quick else 1920  # 5 s and 20 s of 50 Mbit/s

    @cache
    def paced() -> _Carried:
        return agent_loop.run(_run(bundles, OFFERED_BPS))

    return [
        Bench(
            name="loopback_goodput",
            group="first-light",
            unit="Mbit/s (SQLite FULL)",
            goal=">= 50",
            measure=lambda: _goodput(bundles),
            late_limit_ms=10.0,  # three busy processes on two cores are late by 6 to 9 ms themselves
        ),
        Bench(
            name="loopback_kit_cpu",
            group="first-light",
            unit="CPU s for 50 Mbit (Mbit/s carried)",
            goal="<= 1",
            measure=lambda: _cpu_at_offer(paced, lambda carried: carried.kit_cpu_s),
        ),
        Bench(
            name="loopback_command_cpu",
            group="first-light",
            unit="CPU s for 50 Mbit (Mbit/s carried)",
            goal="<= 1",
            measure=lambda: _cpu_at_offer(paced, lambda carried: carried.command_cpu_s),
        ),
    ]
