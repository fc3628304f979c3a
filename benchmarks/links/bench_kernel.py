"""The beds in network namespaces, against the kernel's MPTCP on the same links in the same run. Real time, root only.

Ours is two agents, from ``Client.send`` to the bundle at ``Client.listen``, durable on both sides. MPTCP's figure is
the better of cubic and bbr, or of cubic with and without the other links as backup.
"""

import asyncio
import os
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise

from benchmarks import agents
from benchmarks.lateness import Lateness, watch_lateness
from benchmarks.links.beds import BedLink
from benchmarks.links.bench_silent import HOLE_LEAST_S
from benchmarks.links.holes import time_without_hole_s
from benchmarks.links.kernel_bed import KernelBed, kernel_bed, mptcp, prefixes
from benchmarks.links.mptcp_end import MESSAGE_BYTES, MESSAGE_EVERY_S
from benchmarks.rows import Bench, Figure
from edge_agent import loop as agent_loop
from edge_agent.addresses import HostPort
from edge_agent.client import Client

WARM_S, SPAN_S, QUICK_SPAN_S = 6.0, 12.0, 8.0
BUNDLE_BYTES = 65_536
CUT_AFTER_S, CARRYING_S, AFTER_CUT_S = 5.0, 1.0, 8.0
JUDGED_S = 1.0
"""Pauses that begin so soon after the cut are the switch; later ones are what the survivor's own way is like."""
GOODPUT_GOAL = {"A": 0.945, "B": 0.9, "C": 0.955}
GAP_GOAL_S = {"A": 0.11, "B": 0.11, "C": 0.08}
PORT = 7001
LATE_LIMIT_MS = 5.0
_NUMBER = struct.Struct("!I")


@asynccontextmanager
async def _agents(bed: KernelBed) -> AsyncIterator[tuple[Client, Client]]:
    """A kit in the field and its command post, all links up."""
    paths = bed.pair.paths.items()
    near = "".join(
        agents.udp_link(name, "remote", HostPort(host=str(path.b_address), port=PORT)) for name, path in paths
    )
    far = "".join(
        agents.udp_link(name, "listen", HostPort(host=str(path.b_address), port=PORT)) for name, path in paths
    )
    async with agents.bench_folder() as folder:
        agents.write_config(folder, "kit-1", role="kit", rest=near)
        agents.write_config(folder, "command-1", role="command", rest=far)
        async with agents.running(folder, "command-1", "kit-1", prefixes=prefixes(bed)) as (command, kit):
            await agents.until_links_up(kit, len(bed.links))
            async with kit.client() as kit_client, command.client() as command_client:
                yield kit_client, command_client


async def _our_goodput(bed: KernelBed, span_s: float) -> float:
    """Bytes of bundles at the consumer in the window, of what all links could have carried."""
    most_bytes = max(
        bed.capacity_bytes(0, WARM_S + span_s), sum(link.own_bps for link in bed.links) / 8 * (WARM_S + span_s)
    )
    payloads = [
        _NUMBER.pack(number).ljust(BUNDLE_BYTES, b"\0") for number in range(int(1.3 * most_bytes / BUNDLE_BYTES))
    ]
    came: list[tuple[float, int]] = []
    async with _agents(bed) as (kit, command), asyncio.TaskGroup() as group:
        listening = group.create_task(_note_bytes(command, came), name="listen")
        sending = group.create_task(_send_all(kit, payloads), name="send")
        start_s = await _window(span_s)
        listening.cancel()
        sending.cancel()
    return _carried(came, start_s, span_s) / bed.capacity_bytes(start_s, start_s + span_s)


async def _send_all(kit: Client, payloads: list[bytes]) -> None:
    for payload in payloads:
        await kit.send(payload, flow="bulk", precedence="routine")


async def _note_bytes(command: Client, came: list[tuple[float, int]]) -> None:
    async for _ in command.listen("bulk", since="all"):
        came.append((time.monotonic(), BUNDLE_BYTES))  # noqa: PERF401 - the others read it meanwhile


async def _window(span_s: float) -> float:
    """Let the links warm up and a window pass; gives back when it began."""
    await asyncio.sleep(WARM_S)
    start_s = time.monotonic()
    await asyncio.sleep(span_s)
    return start_s


def _carried(came: list[tuple[float, int]], start_s: float, span_s: float) -> float:
    return sum(size for at_s, size in came if start_s <= at_s < start_s + span_s)


async def _mptcp_goodput(congestion: str, bed: KernelBed, span_s: float) -> float:
    async with mptcp(bed, "bulk", congestion) as run:
        start_s = await _window(span_s)
    came = [(at_s, int(size)) for at_s, size in run.arrivals]
    return _carried(came, start_s, span_s) / bed.capacity_bytes(start_s, start_s + span_s)


async def _our_gap_s(bed: KernelBed) -> float:
    """The longest pause of messages when the carrying link falls silent, beyond what the survivor's way is longer."""
    came: list[float] = []
    async with _agents(bed) as (kit, command), asyncio.TaskGroup() as group:
        listening = group.create_task(_note_times(command, came), name="listen")
        sending = group.create_task(_send_messages(kit), name="send")
        dead, cut_s = await _cut_the_carrying(bed)
        sending.cancel()
        await asyncio.sleep(1.0)
        listening.cancel()
    return _gap_s(bed, dead, cut_s, came)


async def _send_messages(kit: Client) -> None:
    begun_s, number = time.monotonic(), 0
    async with asyncio.TaskGroup() as group:
        while True:
            await asyncio.sleep(max(0.0, begun_s + number * MESSAGE_EVERY_S - time.monotonic()))
            payload = _NUMBER.pack(number).ljust(MESSAGE_BYTES, b".")
            group.create_task(kit.send(payload, flow="live", precedence="immediate", lifetime_s=60.0))
            number += 1


async def _note_times(command: Client, came: list[float]) -> None:
    async for _ in command.listen("live", since="all"):
        came.append(time.monotonic())  # noqa: PERF401 - as above


async def _cut_the_carrying(bed: KernelBed) -> tuple[BedLink, float]:
    """Cut the link that carries the messages, and wait; gives back which and when.

    That is when the quickest survivor has no hole of its own in the second that is judged.
    """
    await asyncio.sleep(CUT_AFTER_S)
    dead = await bed.carrying(CARRYING_S)
    survivor = min((link for link in bed.links if link is not dead), key=lambda link: link.profile.up.delay_s)
    await asyncio.sleep(time_without_hole_s(survivor.profile.up, time.monotonic(), JUDGED_S, HOLE_LEAST_S))
    cut_s = time.monotonic()
    bed.pair.paths[dead.name].link.cut()
    await asyncio.sleep(AFTER_CUT_S)
    return dead, cut_s


def _gap_s(bed: KernelBed, dead: BedLink, cut_s: float, came: list[float]) -> float:
    around_s = sorted(at_s for at_s in came if at_s >= cut_s - 0.2)
    if not around_s:
        return AFTER_CUT_S
    around_s.append(cut_s + AFTER_CUT_S)  # messages that stopped for good are a gap, too
    longer_s = min(link.profile.up.delay_s for link in bed.links if link is not dead) - dead.profile.up.delay_s
    pauses_s = [later - sooner for sooner, later in pairwise(around_s) if sooner <= cut_s + JUDGED_S]
    return max(pauses_s) - max(0.0, longer_s)


async def _mptcp_gap_s(is_backup: bool, bed: KernelBed) -> float:
    async with mptcp(bed, "messages", "cubic", is_backup=is_backup) as run:
        dead, cut_s = await _cut_the_carrying(bed)
    return _gap_s(bed, dead, cut_s, [at_s for at_s, _ in run.arrivals])


async def _against(
    name: str,
    ours: Callable[[KernelBed], Awaitable[float]],
    theirs: Sequence[Callable[[KernelBed], Awaitable[float]]],
    better: Callable[[list[float]], float],
) -> Figure:
    """Each one on a bed of its own, one after the other."""
    lateness: list[Lateness] = []

    async def on_bed(measure: Callable[[KernelBed], Awaitable[float]]) -> float:
        async with watch_lateness() as late, kernel_bed(name) as bed:
            value = await measure(bed)
        lateness.append(late)
        return value

    value = await on_bed(ours)
    reference = better([await on_bed(each) for each in theirs])
    return Figure(value=value, reference=reference, late_p99_ms=max(late.p99_ms for late in lateness))


def _goodput(name: str, span_s: float) -> Figure:
    theirs = [partial(_mptcp_goodput, congestion, span_s=span_s) for congestion in ("cubic", "bbr")]
    return agent_loop.run(_against(name, partial(_our_goodput, span_s=span_s), theirs, max))


def _gap(name: str) -> Figure:
    return agent_loop.run(
        _against(name, _our_gap_s, [partial(_mptcp_gap_s, is_backup) for is_backup in (True, False)], min)
    )


def rows(quick: bool) -> list[Bench]:
    """Six rows, for root only; quick: windows of 8 s in place of 12."""
    if os.geteuid() != 0:
        print("rows kernel_*: left out, network namespaces need root", file=sys.stderr)
        return []
    span_s = QUICK_SPAN_S if quick else SPAN_S
    return [
        *(
            Bench(
                name=f"kernel_goodput_{name.lower()}",
                group="links",
                unit="of the sum (MPTCP)",
                goal=f">= {goal}",
                measure=partial(_goodput, name, span_s),
                late_limit_ms=LATE_LIMIT_MS,
            )
            for name, goal in GOODPUT_GOAL.items()
        ),
        *(
            Bench(
                name=f"kernel_silent_gap_{name.lower()}",
                group="links",
                unit="s beyond the longer way (MPTCP)",
                goal=f"<= {goal}",
                measure=partial(_gap, name),
                late_limit_ms=LATE_LIMIT_MS,
            )
            for name, goal in GAP_GOAL_S.items()
        ),
    ]
