"""What receiving a queued UDP frame costs in CPU: the transport that drains, against asyncio's own datagram transport.

Both run in one process, turn about, on frames that wait in the socket already: sending them is not counted.
"""

import asyncio
import socket
import time
from collections.abc import Hashable, Sequence

from benchmarks.rows import Bench, Figure
from edge_agent.core.limits import LinkLimits
from edge_agent.loop import AgentLoop
from edge_agent.ports import FrameMarker, FrameSender, FramesSender, TransportPort
from transports.udp import UdpTransport

FRAME = bytes(1200)
FRAMES_A_ROUND = 64  # fit into a socket buffer of the default 208 KiB
ROUNDS = 300


class _Arrivals(asyncio.DatagramProtocol, TransportPort):
    """The end of both ways: counts frames, and says when a round is complete."""

    def __init__(self) -> None:
        self.link = "bench"
        self.frames = 0
        self.is_up = asyncio.Event()
        self.is_complete = asyncio.Event()

    def link_up(
        self,
        limits: LinkLimits,
        send: FrameSender,
        send_many: FramesSender | None = None,
        mark: FrameMarker | None = None,
    ) -> None:
        self.is_up.set()

    def link_down(self, reason: str) -> None:
        raise AssertionError(f"the link is down: {reason}")

    def link_busy(self, *, is_busy: bool) -> None:
        raise AssertionError("a datagram link is never busy")

    def frames_received(self, frames: Sequence[tuple[Hashable | None, bytes]]) -> None:
        self._add(len(frames))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._add(1)

    def count(self, name: str, number: int = 1) -> None:
        raise AssertionError(f"a frame was dropped: {name}")

    def _add(self, frames: int) -> None:
        self.frames += frames
        if self.frames == FRAMES_A_ROUND:
            self.is_complete.set()


async def _cpu_s(arrivals: _Arrivals, peer: socket.socket) -> float:
    """CPU seconds of the process from a full socket to the last frame handed over."""
    arrivals.frames = 0
    arrivals.is_complete.clear()
    for _ in range(FRAMES_A_ROUND):
        peer.send(FRAME)
    before_s = time.process_time()
    await arrivals.is_complete.wait()
    return time.process_time() - before_s


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _measure(rounds: int) -> Figure:
    drained, stock, address = _Arrivals(), _Arrivals(), ("127.0.0.1", _free_port())
    table = {key: setting.default for key, setting in UdpTransport.SETTINGS.items()}
    ours = UdpTransport({**table, "listen": f"{address[0]}:{address[1]}"})
    theirs, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: stock, local_addr=("127.0.0.1", 0))
    drained_s, stock_s = 0.0, 0.0
    async with asyncio.TaskGroup() as group:
        running = group.create_task(ours.run(drained), name="udp")
        await drained.is_up.wait()
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to_ours,
            socket.socket(type=socket.SOCK_DGRAM) as to_stock,
        ):
            to_ours.connect(address)
            to_stock.connect(theirs.get_extra_info("sockname"))
            for _ in range(rounds):
                drained_s += await _cpu_s(drained, to_ours)
                stock_s += await _cpu_s(stock, to_stock)
        running.cancel()
    theirs.close()
    return Figure(value=drained_s / stock_s, reference=stock_s / rounds / FRAMES_A_ROUND * 1e6)


def _ratio(rounds: int) -> Figure:
    with asyncio.Runner(loop_factory=AgentLoop) as runner:
        return runner.run(_measure(rounds))


def rows(quick: bool) -> list[Bench]:
    """One row; its reference is the stock transport's CPU microseconds a frame."""
    return [
        Bench(
            name="udp_receive_cpu",
            group="first-light",
            unit="of asyncio's own (us a frame)",
            goal="<= 0.5",
            measure=lambda: _ratio(ROUNDS // 10 if quick else ROUNDS),
        )
    ]
