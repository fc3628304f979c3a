"""Virtual time: what a frame costs on a bare heap, as a datagram and in a stream; and sleeping tasks against looptime.

All rates are a CPU second's. The reference of the first three is the bare heap of the same run: ``heapq``, callbacks
with an argument that set themselves again, 100 timers. The link has rate, delay, loss and a queue that drops at its
tail. The frames of a stream are its segments and the acknowledgements that come back, one for two; without loss.
"""

import asyncio
import heapq
import random
import statistics
import time
from collections.abc import Callable

from benchmarks.rows import Bench, Figure
from link_sim.link.line import Line
from link_sim.link.link_profile import LinkProfile
from link_sim.virtual.loop import VirtualLoop
from link_sim.virtual.net import Net

TIMERS = 100
FRAME_BYTES = 1200
SEGMENT_BYTES = 1448
NS_PER_S = 1_000_000_000
GAP_NS = 1_000_000  # 1,000 frames a second, 9.6 Mbit/s
PROFILE = LinkProfile(rate_bps=12_000_000, delay_s=0.02, loss_ratio=0.01, queue_bytes=250_000, overhead_bytes=28)
LOSSLESS = LinkProfile(rate_bps=12_000_000, delay_s=0.02, queue_bytes=500_000, overhead_bytes=20)


class BareHeap:
    """The least that virtual time can be: callbacks with their arguments in a heap."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[int, ...]]] = []
        self._order = 0

    def call_at_ns(self, at_ns: int, callback: Callable[..., None], *args: int) -> None:
        """Run ``callback`` then."""
        self._order += 1
        heapq.heappush(self._heap, (at_ns, self._order, callback, args))

    def run(self) -> None:
        """Run until nothing is left."""
        heap = self._heap
        while heap:
            self.now_ns, _, callback, args = heapq.heappop(heap)
            callback(*args)


def heap_rate(events: int) -> float:
    """Events a CPU second on the bare heap; spans between them vary, as a heap's cost depends on where a timer goes."""
    heap, left, rng = BareHeap(), events, random.Random(1)
    spans_ns = [rng.randrange(GAP_NS // 2, GAP_NS * 3 // 2) for _ in range(4096)]

    def beat(number: int) -> None:
        nonlocal left
        left -= 1
        if left > 0:
            heap.call_at_ns(heap.now_ns + spans_ns[left & 4095], beat, number)

    for number in range(TIMERS):
        heap.call_at_ns(number, beat, number)
    return events / cpu_s(heap.run)


def core_rate(frames: int) -> float:
    """Frames a CPU second through one line on the bare heap."""
    heap, line, left, taken = BareHeap(), Line[int](PROFILE, 1), frames, 0
    is_armed, carry = False, line.carry

    def send() -> None:
        nonlocal left, is_armed
        left -= 1
        due_ns = carry(heap.now_ns, FRAME_BYTES, left)
        if not is_armed and due_ns is not None:
            is_armed = True
            heap.call_at_ns(due_ns, take)
        if left > 0:
            heap.call_at_ns(heap.now_ns + GAP_NS, send)

    def take() -> None:
        nonlocal taken, is_armed
        while line.take(heap.now_ns) is not None:
            taken += 1
        due_ns = line.next_due_ns()
        is_armed = due_ns is not None
        if due_ns is not None:
            heap.call_at_ns(due_ns, take)

    heap.call_at_ns(0, send)
    rate = frames / cpu_s(heap.run)
    check_most(taken, frames)
    return rate


class _Counts(asyncio.DatagramProtocol):
    """Counts datagrams."""

    def __init__(self) -> None:
        self.came = 0

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.came += 1


def datagram_rate(frames: int) -> float:
    """Datagrams a CPU second from port to port, callbacks at both ends."""
    net = Net(1)
    net.link("kit", "command", PROFILE)
    payload = bytes(FRAME_BYTES)

    async def main() -> tuple[float, int]:
        loop, left = net.loop, frames
        counts = _Counts()
        await net.node("command").create_datagram_endpoint(lambda: counts, local=1)
        transport, _ = await net.node("kit").create_datagram_endpoint(asyncio.DatagramProtocol, remote=("command", 1))

        def send() -> None:
            nonlocal left
            left -= 1
            transport.sendto(payload)
            if left > 0:
                loop.call_later(GAP_NS / NS_PER_S, send)

        loop.call_soon(send)
        before_s = time.process_time()
        await asyncio.sleep(frames * GAP_NS / NS_PER_S + 1)
        return time.process_time() - before_s, counts.came

    took_s, came = net.run(main())
    check_most(came, frames)
    return frames / took_s


def stream_rate(segments: int) -> float:
    """Frames a CPU second, both ways, of full segments from a task that writes and drains to one that reads."""
    net = Net(1)
    link = net.link("kit", "command", LOSSLESS)
    payload = bytes(SEGMENT_BYTES)

    async def main() -> float:
        done: asyncio.Future[None] = net.loop.create_future()

        async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            for _number in range(segments):
                await reader.readexactly(SEGMENT_BYTES)
            done.set_result(None)

        await net.node("command").start_server(serve, 1)
        _, writer = await net.node("kit").open_connection("command", 1)
        before_s = time.process_time()
        for _number in range(segments):
            writer.write(payload)
            await writer.drain()
        await done
        took_s = time.process_time() - before_s
        return sum(way["delivered"] for way in link.counts().values()) / took_s

    return net.run(main())


async def _sleepers(rounds: int) -> None:
    async def sleep() -> None:
        for _ in range(rounds):
            await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as group:
        for number in range(TIMERS):
            group.create_task(sleep(), name=f"sleeper {number}")


def sleep_rate(make_loop: Callable[[], asyncio.AbstractEventLoop], rounds: int) -> float:
    """Sleeps a CPU second of 100 tasks that wake together, which is where looptime is at its best."""
    loop = make_loop()
    try:
        return TIMERS * rounds / cpu_s(lambda: loop.run_until_complete(_sleepers(rounds)))
    finally:
        loop.close()


def cpu_s(run: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    before_s = time.process_time()
    run()
    return time.process_time() - before_s


def check_most(came: int, frames: int) -> None:
    """Raises AssertionError unless all but the link's loss came."""
    if not 0.98 * frames < came < frames:
        raise AssertionError(f"{came} of {frames} frames came, 1 in 100 should be lost")


def _against(measured: Callable[[], float], reference: Callable[[], float], tries: int) -> Figure:
    """The median of ratios taken side by side, and that of the reference's rates."""
    pairs = [(measured(), reference()) for _ in range(tries)]
    ratio = statistics.median(rate / against for rate, against in pairs)
    return Figure(value=ratio, reference=statistics.median(against for _, against in pairs))


def _sleepers_figure(rounds: int, tries: int) -> Figure:
    import looptime  # a development dependency, needed by this row alone

    return _against(lambda: sleep_rate(VirtualLoop, rounds), lambda: sleep_rate(looptime.new_event_loop, rounds), tries)


def rows(quick: bool) -> list[Bench]:
    """Four rows; quick: a fifth of the frames."""
    frames, tries = (20_000, 5) if quick else (100_000, 5)

    def against_heap(name: str, goal: str, rate: Callable[[int], float]) -> Bench:
        return Bench(
            name=name,
            group="link-sim",
            unit="of the bare heap (events a CPU s)",
            goal=goal,
            measure=lambda: _against(lambda: rate(frames), lambda: heap_rate(5 * frames), tries),
        )

    return [
        against_heap("virtual_link_core", ">= 0.3", core_rate),
        against_heap("virtual_datagram", ">= 0.1", datagram_rate),
        against_heap("virtual_stream", ">= 0.04", stream_rate),
        Bench(
            name="virtual_sleepers",
            group="link-sim",
            unit="x looptime (sleeps a CPU s)",
            goal=">= 1.5",
            measure=lambda: _sleepers_figure(frames // TIMERS, tries),
        ),
    ]
