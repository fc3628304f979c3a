"""What UDP links in real time cost, how exactly they keep their numbers, and what they leave behind."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from benchmarks.lateness import Lateness, watch_lateness
from benchmarks.link_sim.udp_traffic import HOST, Arrivals, UnreadSink, free_port, listening, recording
from benchmarks.rows import Bench, Figure
from edge_agent.addresses import HostPort
from link_sim.link.link_profile import LinkProfile
from link_sim.profiles import PathProfile
from link_sim.real_time.alarm import make_alarm
from link_sim.real_time.udp_proxy import UdpProxy

FRAME_BYTES, OVERHEAD_BYTES = 1200, 28
SPECIMEN: Mapping[str, object] = {  # every effect the row asks for, and a rate that only a full core exceeds
    "rate_bps": 4_000_000_000,
    "delay_s": 0.02,
    "loss_ratio": 0.01,
    "queue_bytes": 4 << 20,
    "overhead_bytes": OVERHEAD_BYTES,
}
RATES_BPS = {"9600": 9_600, "1m": 1_000_000, "100m": 100_000_000}
LATE_LIMIT_MS = 3.0  # asyncio's own timers round up to a millisecond; beyond that the machine was busy
IDLE_LATE_MS = 1.5  # for promises about an idle machine: little beyond that millisecond
_ROUNDS = 3  # of each relay in turn: the machine's mood changes between them


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay process: its id and the ports it listens on."""

    pid: int
    ports: list[int]

    def cpu_s(self) -> float:
        """CPU seconds of the process so far."""
        return time.clock_gettime((~self.pid << 3) | 2)  # clock_getcpuclockid(3) as glibc has it: CPUCLOCK_SCHED


@contextmanager
def our_links(profile: Mapping[str, object], *to_ports: int) -> Iterator[Relay]:
    """UDP proxies in one process, one for each port."""
    command = [sys.executable, "-m", "benchmarks.link_sim.udp_links", json.dumps(profile), *map(str, to_ports)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Relay(process.pid, json.loads(process.stdout.readline()))
        process.stdin.close()
        process.stdout.read()


@contextmanager
def socat(to_port: int) -> Iterator[Relay]:
    """The C relay of the same path: select, recv and send for each datagram."""
    port = free_port()
    command = ["socat", "-u", "-b", "65536", f"UDP4-LISTEN:{port},bind={HOST}", f"UDP4:{HOST}:{to_port}"]
    with subprocess.Popen(command) as process:
        while f":{port:04X} " not in _bound_ports():
            time.sleep(0.01)
        yield Relay(process.pid, [port])
        process.terminate()


def _bound_ports() -> str:
    with open("/proc/net/udp", encoding="ascii") as table:
        return table.read()


def _sender(source_port: int, rate_bps: int, seconds: float, *ports: int, frame_bytes: int = FRAME_BYTES) -> list[str]:
    arguments = (source_port, frame_bytes, rate_bps, seconds, *ports)
    return [sys.executable, "-m", "benchmarks.link_sim.udp_traffic", *map(str, arguments)]


def _frames_a_cpu_s(start: Callable[[int], AbstractContextManager[Relay]], seconds: float) -> float:
    with listening() as socket, start(socket.getsockname()[1]) as relay:
        sink, source_port = UnreadSink(socket), free_port()  # socat listens to its first sender only
        subprocess.run(_sender(source_port, 0, 0.2, *relay.ports), check=True)
        before, before_s = sink.frames(), relay.cpu_s()
        subprocess.run(_sender(source_port, 0, seconds, *relay.ports), check=True)
        time.sleep(0.1)  # what flies for 20 ms shall land
        return (sink.frames() - before) / (relay.cpu_s() - before_s)


def measure_relay(seconds: float) -> Figure:
    """Frames a CPU second of ours with delay, loss and rate on, as a share of socat's; in turns, the median pair."""
    pairs = []
    for _ in range(_ROUNDS):
        theirs = _frames_a_cpu_s(socat, seconds)
        ours = _frames_a_cpu_s(partial(our_links, SPECIMEN), seconds)
        pairs.append((ours / theirs, theirs))
    ratio, theirs = sorted(pairs)[_ROUNDS // 2]
    return Figure(value=ratio, reference=theirs)


@asynccontextmanager
async def _watched_traffic(
    profile: Mapping[str, object], offered_bps: int, seconds: float, *, frame_bytes: int = FRAME_BYTES, links: int = 1
) -> AsyncIterator[tuple[Arrivals, Relay, Lateness]]:
    """Traffic through links for so long; the block runs afterwards, with the processes still there."""
    with (
        listening() as sink,
        recording(sink) as arrivals,
        our_links(profile, *[sink.getsockname()[1]] * links) as relay,
    ):
        async with watch_lateness() as lateness:
            command = _sender(0, offered_bps, seconds, *relay.ports, frame_bytes=frame_bytes)
            process = await asyncio.create_subprocess_exec(*command)
            await process.wait()
        await asyncio.sleep(0.1)  # what flies shall land
        yield arrivals, relay, lateness


async def _rate_error(rate_bps: int, seconds: float) -> Figure:
    """Deviation of the rate at the sink, headers included, while more than that is offered."""
    frame_bytes = FRAME_BYTES if rate_bps > 100_000 else 92
    wire_bits = 8 * (frame_bytes + OVERHEAD_BYTES)
    queue_bytes = 20 * FRAME_BYTES + rate_bps // 160  # 50 ms and more: never dry while the sender sleeps
    profile = {"rate_bps": rate_bps, "overhead_bytes": OVERHEAD_BYTES, "queue_bytes": queue_bytes}
    offered_bps = round(rate_bps * 1.2) if rate_bps > 100_000 else rate_bps * 2
    async with _watched_traffic(profile, offered_bps, seconds, frame_bytes=frame_bytes) as (arrivals, _, lateness):
        at_ns = arrivals.arrived_ns
        measured_bps = (len(at_ns) - 1) * wire_bits * 1e9 / (at_ns[-1] - at_ns[0])
    return Figure(value=abs(measured_bps / rate_bps - 1), reference=measured_bps, late_p99_ms=lateness.p99_ms)


def measure_rate(rate_bps: int, seconds: float) -> Figure:
    """The error of one rate as a share of it; the reference is the rate measured."""
    return asyncio.run(_rate_error(rate_bps, seconds))


async def _delay_errors_ms(seconds: float) -> tuple[list[float], float, float]:
    """Sorted errors of a delay of 20 ms at 1.2 Mbit/s, the median lateness of a bare alarm, and of timers at p99."""
    delay_s = 0.02
    async with _watched_traffic({"delay_s": delay_s}, 1_200_000, seconds) as (arrivals, _, lateness):
        pairs = zip(arrivals.sent_ns, arrivals.arrived_ns, strict=True)
        errors_ms = sorted((arrived_ns - sent_ns) / 1e6 - 1e3 * delay_s for sent_ns, arrived_ns in pairs)
    return errors_ms, await _bare_alarm_late_ms(), lateness.p99_ms


async def _bare_alarm_late_ms() -> float:
    rung, late_ms = asyncio.Event(), []
    alarm = make_alarm(rung.set)
    for _ in range(50):
        due_ns = time.monotonic_ns() + 10_000_000
        rung.clear()
        alarm.set(due_ns)
        await rung.wait()
        late_ms.append((time.monotonic_ns() - due_ns) / 1e6)
    alarm.close()
    return sorted(late_ms)[len(late_ms) // 2]


def measure_delay(seconds: float, ratio: float) -> Figure:
    """The error of the delay in ms that ``ratio`` of the frames stay below; 0 gives the earliest."""
    errors_ms, bare_ms, late_ms = asyncio.run(_delay_errors_ms(seconds))
    return Figure(value=errors_ms[int(ratio * (len(errors_ms) - 1))], reference=bare_ms, late_p99_ms=late_ms)


def _share_of_core(sink: UnreadSink, relays: Sequence[Relay], seconds: float) -> float:
    """CPU of relays that are offered 10 Mbit/s each; raises AssertionError when less than nine tenths came through."""
    ports = [port for relay in relays for port in relay.ports]
    before_s, before = sum(relay.cpu_s() for relay in relays), sink.frames()
    subprocess.run(_sender(0, 10_000_000, seconds, *ports), check=True)
    share = (sum(relay.cpu_s() for relay in relays) - before_s) / seconds
    assert (sink.frames() - before) * 8 * FRAME_BYTES > 0.9 * len(ports) * 10_000_000 * seconds
    return share


def measure_four_links(seconds: float) -> Figure:
    """Share of a core for four links of 10 Mbit/s in one process; the reference is that of four socats together."""
    profile = {**SPECIMEN, "rate_bps": 10_500_000, "queue_bytes": 250_000}  # headers come on top of what is offered
    with listening() as socket, ExitStack() as stack:
        sink, port = UnreadSink(socket), socket.getsockname()[1]
        socats = [stack.enter_context(socat(port)) for _ in range(4)]
        theirs = _share_of_core(sink, socats, seconds)
        ours = _share_of_core(sink, [stack.enter_context(our_links(profile, *[port] * 4))], seconds)
        return Figure(value=ours, reference=theirs)


def _plain(delay_s: float = 0.0) -> PathProfile:
    numbers = LinkProfile(delay_s=delay_s)
    return PathProfile(name="bench", up=numbers, down=numbers)


async def _ready(tries: int) -> Figure:
    """Seconds from making a proxy to the first datagram out of it, the slowest try; what the machine was late."""
    took_s = []
    loop = asyncio.get_running_loop()
    async with watch_lateness() as lateness:
        with listening() as sink, listening() as source:
            sink.setblocking(False)
            upstream = HostPort(host=HOST, port=sink.getsockname()[1])
            for _ in range(tries):
                started_s = time.monotonic()
                async with UdpProxy("ready", _plain(), listen=HostPort(host=HOST, port=0), upstream=upstream) as proxy:
                    source.sendto(b"first", (HOST, proxy.address.port))
                    await loop.sock_recv(sink, 100)
                    took_s.append(time.monotonic() - started_s)
                await asyncio.sleep(0.006)  # the lateness probe ticks too
    return Figure(value=max(took_s), reference=min(took_s), late_p99_ms=lateness.p99_ms)


async def _left_behind(proxies: int) -> Figure:
    """Descriptors, tasks and timers there are after ``proxies`` with traffic in flight, beyond those before."""
    loop = asyncio.get_running_loop()

    def kept() -> int:
        gc.collect()
        timers = loop._scheduled  # type: ignore[attr-defined]  # asyncio tells nobody else
        return len(os.listdir("/proc/self/fd")) + len(asyncio.all_tasks()) + len(timers)

    before = kept()
    with listening() as sink, listening() as source:
        upstream = HostPort(host=HOST, port=sink.getsockname()[1])
        for _ in range(proxies):
            listen = HostPort(host=HOST, port=0)
            async with UdpProxy("left", _plain(3600.0), listen=listen, upstream=upstream) as proxy:
                for _ in range(20):
                    source.sendto(bytes(100), (HOST, proxy.address.port))
                while len(proxy.link.up.line) < 20:  # noqa: ASYNC110  # the kernel hands them over in its own time
                    await asyncio.sleep(0)
    return Figure(value=kept() - before, reference=before)


def rows(quick: bool) -> list[Bench]:
    """Costs are CPU time; exactness needs a calm machine and says when it was none."""
    seconds = 4.0 if quick else 10.0

    def bench(
        name: str, unit: str, goal: str, measure: Callable[[], Figure], late_limit_ms: float = LATE_LIMIT_MS
    ) -> Bench:
        return Bench(
            name=f"realtime_{name}",
            group="link-sim",
            unit=unit,
            goal=goal,
            measure=measure,
            late_limit_ms=late_limit_ms,
        )

    return [
        bench("udp_relay", "of socat", ">= 1.2", partial(measure_relay, 1.0 if quick else 3.0)),
        *(
            bench(f"rate_error_{name}", "of the rate", "<= 0.001", partial(measure_rate, bps, seconds))
            for name, bps in RATES_BPS.items()
        ),
        bench("delay_error_p50", "ms", "<= 0.2", partial(measure_delay, seconds, 0.5), IDLE_LATE_MS),
        bench("delay_error_p99", "ms", "<= 1", partial(measure_delay, seconds, 0.99), IDLE_LATE_MS),
        bench("delay_earliest", "ms", ">= 0", partial(measure_delay, seconds, 0.0)),
        bench("four_links_cpu", "of a core", "<= 0.15", partial(measure_four_links, seconds)),
        bench("ready", "s", "<= 0.05", lambda: asyncio.run(_ready(10 if quick else 50))),
        bench("left_behind", "things", "== 0", lambda: asyncio.run(_left_behind(5 if quick else 20))),
    ]
