"""The way of a frame through two real agents on loopback, saturated: rate, and CPU of each side for a frame.

The kit holds a backlog on disk when the command post starts, as after an outage: what is measured is reading it,
sealing, sending, and at the other side opening, joining and making durable. Each agent has one core.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks import agents
from benchmarks.lateness import watch_lateness
from benchmarks.rows import Bench, Figure
from benchmarks.yardstick import yardstick_cpu_s
from edge_agent import loop as agent_loop
from edge_agent.client import Client

BUNDLE_BYTES = 65_536  # the largest that is stored as a row
FRAME_BYTES = 1200
WIRE_FRAME_BYTES = FRAME_BYTES + 28
BUNDLES_A_CALL = 64
WARM_UP_BYTES = 4_000_000  # the rate estimate starts from nothing
LEFT_BYTES = 3_000_000  # the last bundles wait for the disk of the other side only
LONGEST_S = 120.0
CPU_UNIT = "us a frame (yardstick)"
LATE_LIMIT_MS = 10.0
"""Agents that wait for a core send and receive few frames at a time, and each costs more; this process waits too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """The kit's counters, and CPU seconds of both whole processes, at one moment."""

    at_s: float
    backlog_bytes: int
    sent_bytes: int
    kit_cpu_s: float
    command_cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Carried:
    """One run: payload bits a second that left the backlog, and CPU of each side for a frame of 1,200 bytes."""

    goodput_bps: float
    kit_frame_s: float
    command_frame_s: float
    late_p99_ms: float


def _pin(agent: agents.Agent, core: int) -> None:
    """Give the process one core, with all threads it has and will have."""
    for thread in os.listdir(f"/proc/{agent.process.pid}/task"):
        os.sched_setaffinity(int(thread), {core})


async def _look(kit: Client, kit_agent: agents.Agent, command_agent: agents.Agent) -> _State:
    status = await kit.status()
    return _State(
        at_s=time.monotonic(),
        backlog_bytes=status["backlog"]["routine"]["bytes"],
        sent_bytes=sum(link["sent_bytes"] for link in status["links"]),
        kit_cpu_s=kit_agent.cpu_s(),
        command_cpu_s=command_agent.cpu_s(),
    )


async def _drain(kit: Client, kit_agent: agents.Agent, command_agent: agents.Agent) -> _Carried:
    """What happens between the first megabytes and the last."""
    async with asyncio.timeout(LONGEST_S):
        first = await _look(kit, kit_agent, command_agent)
        while first.sent_bytes < WARM_UP_BYTES:
            await asyncio.sleep(0.05)
            first = await _look(kit, kit_agent, command_agent)
        last = first
        async with watch_lateness() as lateness:
            while last.backlog_bytes > LEFT_BYTES:
                await asyncio.sleep(0.2)
                last = await _look(kit, kit_agent, command_agent)
    frames = (last.sent_bytes - first.sent_bytes) / WIRE_FRAME_BYTES
    return _Carried(
        goodput_bps=(first.backlog_bytes - last.backlog_bytes) * 8 / (last.at_s - first.at_s),
        kit_frame_s=(last.kit_cpu_s - first.kit_cpu_s) / frames,
        command_frame_s=(last.command_cpu_s - first.command_cpu_s) / frames,
        late_p99_ms=lateness.p99_ms,
    )


async def _carry(bundles: int) -> _Carried:
    cores = sorted(os.sched_getaffinity(0))
    address = agents.free_address()
    link = f'[[link]]\nname = "a"\ntransport = "udp"\nmtu_bytes = {FRAME_BYTES}\nmetered = false\n'
    async with agents.bench_folder() as folder:
        agents.write_config(folder, "kit-1", role="kit", rest=f'{link}remote = "{address}"\n')
        agents.write_config(folder, "command-1", role="command", rest=f'{link}listen = "0.0.0.0:{address.port}"\n')
        async with agents.running(folder, "kit-1") as (kit_agent,), kit_agent.client() as kit:
            _pin(kit_agent, cores[0])
            for _ in range(0, bundles, BUNDLES_A_CALL):
                payloads = [os.urandom(BUNDLE_BYTES) for _ in range(BUNDLES_A_CALL)]
                await kit.send_many(payloads, flow="bulk", precedence="routine")
            async with agents.running(folder, "command-1") as (command_agent,):
                _pin(command_agent, cores[-1])
                return await _drain(kit, kit_agent, command_agent)


class _Runs:
    """The newest run, shared by its rows; a row that asks again, because the machine was too late, gets another one."""

    def __init__(self, bundles: int) -> None:
        self._bundles = bundles
        self._asked: set[str] = set()
        self._newest: _Carried | None = None

    def of(self, row: str) -> _Carried:
        """What ``row`` is to be read from."""
        if self._newest is None or row in self._asked:
            self._asked.clear()
            self._newest = agent_loop.run(_carry(self._bundles))
        self._asked.add(row)
        return self._newest


def _goodput(run: _Carried) -> Figure:
    core_bps = WIRE_FRAME_BYTES * 8 / run.kit_frame_s
    return Figure(value=run.goodput_bps / 1e6, reference=core_bps / 1e6, late_p99_ms=run.late_p99_ms)


def _frame(cpu_s: float, late_p99_ms: float) -> Figure:
    return Figure(value=cpu_s * 1e6, reference=yardstick_cpu_s() * 1e6, late_p99_ms=late_p99_ms)


def rows(quick: bool) -> list[Bench]:
    """Three rows of one run; CPU is beside the yardstick in microseconds, which says what the machine gave."""
    runs = _Runs(640 if quick else 1920)  # 42 MB and 126 MB
    measured: tuple[tuple[str, str, str, Callable[[_Carried], Figure]], ...] = (
        ("datapath_goodput", "Mbit/s (a core)", ">= 200", _goodput),
        ("datapath_kit_cpu", CPU_UNIT, "<= 30", lambda run: _frame(run.kit_frame_s, run.late_p99_ms)),
        ("datapath_command_cpu", CPU_UNIT, "<= 30", lambda run: _frame(run.command_frame_s, run.late_p99_ms)),
    )

    def figure(name: str, of: Callable[[_Carried], Figure]) -> Figure:
        return of(runs.of(name))

    return [
        Bench(
            name=name,
            group="links",
            unit=unit,
            goal=goal,
            measure=partial(figure, name, of),
            late_limit_ms=LATE_LIMIT_MS,
        )
        for name, unit, goal, of in measured
    ]
