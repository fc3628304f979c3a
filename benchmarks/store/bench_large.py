"""One payload of 2 GB from a program's file to a program's file: what the processes need of memory, and an SOS."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks import agents
from benchmarks.lateness import watch_lateness
from benchmarks.percentiles import p99
from benchmarks.rows import Bench, Figure
from edge_agent import loop as agent_loop
from edge_agent.client import Client, Delivery

PAYLOAD_BYTES = 2_000_000_000
QUICK_BYTES = 256_000_000
PIECE_BYTES = 1 << 20
SOS_BYTES = 100
SOS_EVERY_S = 1.0
LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Large:
    """One run: the most memory that any of the four processes had, and latencies of SOS meanwhile."""

    peak_bytes: int
    latencies_s: list[float]
    late_p99_ms: float


def _write_file(path: Path, payload_bytes: int) -> None:
    with path.open("wb") as file:
        for left in range(payload_bytes, 0, -PIECE_BYTES):
            file.write(os.urandom(min(left, PIECE_BYTES)))


def _peak_bytes(pid: int) -> int:
    """``VmHWM`` of a process that runs."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


async def _run_program(*arguments: object) -> int:
    """Peak of memory of one ``edge-agent`` command that must succeed."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, *agents.EDGE_AGENT, *map(str, arguments), stdout=asyncio.subprocess.DEVNULL
    )
    peak_bytes = 0
    while program.returncode is None:
        with suppress(OSError):  # it ended between the two looks
            peak_bytes = max(peak_bytes, _peak_bytes(program.pid))
        await asyncio.sleep(LOOK_EVERY_S)
    if program.returncode:
        raise AssertionError(f"edge-agent {arguments}: exit status {program.returncode}")
    return peak_bytes


async def _call_for_help(kit: Client, command: Client, latencies_s: list[float]) -> None:
    """SOS after SOS, from before ``Client.send`` to the consumer, until cancelled."""
    heard = command.listen("sos", since="all", consumer="duty")
    while True:
        begun_s = time.monotonic()
        await kit.send(os.urandom(SOS_BYTES), flow="sos", precedence="flash", origin="person")
        await _next(heard)
        latencies_s.append(time.monotonic() - begun_s)
        await asyncio.sleep(SOS_EVERY_S)


async def _next(heard: AsyncIterator[Delivery]) -> Delivery:
    return await anext(heard)


async def _move(folder: Path, big: Path) -> list[int]:
    """The file by way of both agents; peaks of memory of the two programs."""
    saved = folder / "saved"
    saved.mkdir()
    config = ("--flow", "film", "--config")
    listening = ("listen", "--since", "all", "--count", 1, "--save", saved, *config, folder / "command-1.toml")
    async with asyncio.TaskGroup() as group:
        listener = group.create_task(_run_program(*listening), name="listener")
        sender = group.create_task(_run_program("send", big, *config, folder / "kit-1.toml"), name="sender")
    (arrived,) = saved.iterdir()
    compared = await asyncio.create_subprocess_exec("cmp", arrived, big)
    if await compared.wait():
        raise AssertionError(f"{arrived} is not what was sent")
    return [listener.result(), sender.result()]


async def _run(payload_bytes: int) -> _Large:
    async with agents.bench_folder() as folder:
        big = folder / "big"
        await asyncio.to_thread(_write_file, big, payload_bytes)
        post, quota = agents.free_address(), f"[store]\nquota_bytes = {2 * payload_bytes}\n"
        agents.write_config(folder, "kit-1", role="kit", rest=quota + agents.udp_link("a", "remote", post))
        agents.write_config(folder, "command-1", role="command", rest=quota + agents.udp_link("a", "listen", post))
        async with (
            agents.running(folder, "command-1", "kit-1") as (command_agent, kit_agent),
            kit_agent.client() as kit,
            command_agent.client() as command,
        ):
            await agents.until_links_up(kit_agent, 1)
            latencies_s: list[float] = []
            async with watch_lateness() as lateness, asyncio.TaskGroup() as group:
                calling = group.create_task(_call_for_help(kit, command, latencies_s), name="sos")
                peaks_bytes = await _move(folder, big)
                calling.cancel()
            peaks_bytes += [_peak_bytes(agent.process.pid) for agent in (kit_agent, command_agent)]
            return _Large(peak_bytes=max(peaks_bytes), latencies_s=latencies_s, late_p99_ms=lateness.p99_ms)


def rows(quick: bool) -> list[Bench]:
    """Two rows of one run; quick: 256 MB in place of 2 GB."""
    payload_bytes = QUICK_BYTES if quick else PAYLOAD_BYTES

    @cache  # a run that was inconclusive is not repeated: it takes minutes, and memory does not depend on the machine
    def run() -> _Large:
        return agent_loop.run(_run(payload_bytes))

    def flash() -> Figure:
        """Latency from before ``Client.send`` to the consumer; the reference is how many there were."""
        found = run()
        return Figure(value=p99(found.latencies_s), reference=len(found.latencies_s), late_p99_ms=found.late_p99_ms)

    return [
        Bench(
            name="large_payload_rss",
            group="store",
            unit="MB at most of kit, command, sender or listener (MB of payload)",
            goal="<= 200",
            measure=lambda: Figure(value=run().peak_bytes / 1e6, reference=payload_bytes / 1e6),
        ),
        Bench(
            name="large_payload_flash",
            group="store",
            unit="s p99 of an SOS beside it (tries)",
            goal="<= 0.25",
            measure=flash,
            late_limit_ms=10.0,
        ),
    ]
