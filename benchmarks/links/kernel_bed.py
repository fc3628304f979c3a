"""A bed in network namespaces: the same links in real time below the kernel, for our agents or for MPTCP. Root only."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from benchmarks.links.beds import BedLink, links_of
from link_sim.kernel import KernelPair, Namespace
from link_sim.profiles import PathProfile
from link_sim.traces.trace import LinkTrace

SINK_PORT = 5201
SUBFLOWS_MOST = 8


@dataclass(slots=True)
class KernelBed:
    """One bed: ``pair.a`` is the field, ``pair.b`` command."""

    links: list[BedLink]
    pair: KernelPair

    def carried_bytes(self) -> dict[str, int]:
        """What each link took of what the field sent."""
        return {name: path.link.up.carried()["carried_bytes"] for name, path in self.pair.paths.items()}

    async def carrying(self, span_s: float) -> BedLink:
        """The link that carries the most in a time from now on."""
        before = self.carried_bytes()
        await asyncio.sleep(span_s)
        after = self.carried_bytes()
        return max(self.links, key=lambda link: after[link.name] - before[link.name])

    def capacity_bytes(self, start_s: float, end_s: float) -> float:
        """What all links could have carried between two moments of CLOCK_MONOTONIC."""
        return sum(link.capacity_bytes(start_s, end_s) for link in self.links)


@asynccontextmanager
async def kernel_bed(name: str) -> AsyncIterator[KernelBed]:
    """Bed "A", "B" (its first trace, from its beginning) or "C". Raises PermissionError without root."""
    now_ns = time.monotonic_ns()
    links = [_from_now(link, now_ns) for link in links_of(name)]
    async with KernelPair({link.name: link.profile for link in links}) as pair:
        yield KernelBed(links, pair)


def _from_now(link: BedLink, now_ns: int) -> BedLink:
    """The link with its traces moved so that they begin now, whatever the machine's clock says."""
    ways = [
        way if way.trace is None else replace(way, trace=_moved(way.trace, now_ns))
        for way in (link.profile.up, link.profile.down)
    ]
    return BedLink(PathProfile(name=link.name, up=ways[0], down=ways[1]), link.own_bps)


def _moved(trace: LinkTrace, now_ns: int) -> LinkTrace:
    length_ns = trace.length_ns
    moved = sorted((at_ns + now_ns) % length_ns or length_ns for at_ns in trace.opportunities_ns)
    return replace(trace, opportunities_ns=(*moved, length_ns))  # the last chance is the length


@dataclass(slots=True)
class MptcpRun:
    """A transfer by the kernel: ``arrivals`` grow while it runs, as the sink prints them."""

    arrivals: list[tuple[float, float]] = field(default_factory=list)


def _ip(namespace: Namespace, *words: str) -> None:
    subprocess.run([*namespace.prefix, "ip", *words], check=True, pass_fds=(), capture_output=True)


def _ready_for_mptcp(bed: KernelBed, *, is_backup: bool) -> None:
    """Each address of the field has a way of its own to the first address of command, and may open a subflow."""
    field_side, far = bed.pair.a, bed.pair.b
    for side in (field_side, far):
        _ip(side, "mptcp", "limits", "set", "subflows", str(SUBFLOWS_MOST), "add_addr_accepted", "0")
        subprocess.run([*side.prefix, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"], check=True)
    for number, path in enumerate(bed.pair.paths.values()):
        table = str(100 + number)
        _ip(field_side, "route", "add", "default", "dev", path.device, "table", table)
        _ip(field_side, "rule", "add", "from", str(path.a_address), "table", table)
        if number:
            flags = ["subflow", "backup"] if is_backup else ["subflow"]
            _ip(field_side, "mptcp", "endpoint", "add", str(path.a_address), "dev", path.device, *flags)


@asynccontextmanager
async def mptcp(bed: KernelBed, kind: str, congestion: str, *, is_backup: bool = False) -> AsyncIterator[MptcpRun]:
    """Bulk or messages from the field to command over all links, from now on."""
    _ready_for_mptcp(bed, is_backup=is_backup)
    first = next(iter(bed.pair.paths.values()))
    far = (str(first.b_address), str(SINK_PORT))
    run = MptcpRun()
    sink = await _end(bed.pair.b, "sink", *far, kind)
    try:
        assert sink.stdout is not None
        if await sink.stdout.readline() != b"ready\n":
            raise OSError("the sink of MPTCP did not begin")
        source = await _end(bed.pair.a, "source", *far, str(first.a_address), congestion, kind)
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(_read(sink.stdout, run), name="read the sink")
                yield run
                reading.cancel()
        finally:
            await _stop(source)
    finally:
        await _stop(sink)


async def _end(namespace: Namespace, *words: str) -> asyncio.subprocess.Process:
    program = (sys.executable, "-m", "benchmarks.links.mptcp_end", *words)
    return await asyncio.create_subprocess_exec(*namespace.prefix, *program, stdout=asyncio.subprocess.PIPE)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def _read(lines: asyncio.StreamReader, run: MptcpRun) -> None:
    while line := await lines.readline():
        at_s, what = line.split()
        run.arrivals.append((float(at_s), float(what)))


def prefixes(bed: KernelBed) -> dict[str, Sequence[str]]:
    """What makes each node's program run in its place."""
    return {"kit-1": bed.pair.a.prefix, "command-1": bed.pair.b.prefix}
