"""What transport tests share: a recording port, tables with defaults, running transports, and a cable of two PTYs."""

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import asynccontextmanager

import pytest

from edge_agent.core.limits import LinkLimits
from edge_agent.ports import (
    REQUIRED,
    FrameMarker,
    FrameSender,
    FramesSender,
    PluginLostError,
    Table,
    Transport,
    TransportPort,
)

PATIENCE_S = 10.0  # a test fails when what it waits for takes this long; nothing waits for it to pass


class RecordingPort(TransportPort):
    """A TransportPort that keeps what it is told and wakes those who wait for it."""

    def __init__(self, link: str = "link") -> None:
        self.link = link
        self.limits: LinkLimits | None = None
        self.is_busy = False
        self.sender: FrameSender | None = None
        self.many_sender: FramesSender | None = None
        self.marker: FrameMarker | None = None
        self.ups = 0
        self.downs: list[str] = []
        self.frames: list[tuple[Hashable | None, bytes]] = []
        self.batches: list[int] = []
        self.counts: Counter[str] = Counter()
        self._changed = asyncio.Event()

    def link_up(
        self,
        limits: LinkLimits,
        send: FrameSender,
        send_many: FramesSender | None = None,
        mark: FrameMarker | None = None,
    ) -> None:
        self.limits, self.sender, self.many_sender, self.marker = limits, send, send_many, mark
        self.ups += 1
        self._changed.set()

    def link_down(self, reason: str) -> None:
        self.downs.append(reason)
        self._changed.set()

    def link_busy(self, *, is_busy: bool) -> None:
        self.is_busy = is_busy
        self._changed.set()

    def frames_received(self, frames: Sequence[tuple[Hashable | None, bytes]]) -> None:
        assert frames, "an empty batch is not worth a call"
        self.frames += frames
        self.batches.append(len(frames))
        self._changed.set()

    def count(self, name: str, number: int = 1) -> None:
        self.counts[name] += number
        self._changed.set()

    def send(self, frame: bytes, address: Hashable | None = None) -> None:
        assert self.sender is not None
        self.sender(address, frame)

    async def until(self, holds: Callable[["RecordingPort"], object]) -> None:
        """Return when ``holds``; fails after PATIENCE_S with what is known."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not holds(self):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            lengths = [len(frame) for _, frame in self.frames]
            raise AssertionError(f"waited in vain; frames of {lengths} bytes, drops {dict(self.counts)}") from None

    async def next_link_up(self, longest_s: float) -> None:
        """Return when the transport has opened its way anew, or after ``longest_s``."""
        before = self.ups
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self.until(lambda port: port.ups > before)

    async def next_frame(self) -> tuple[Hashable | None, bytes]:
        """The oldest frame not yet taken."""
        await self.until(lambda port: port.frames)
        return self.frames.pop(0)


def table(transport: type[Transport], **values: object) -> Table:
    """What the configuration would hand over: ``values`` checked as the shell does, the rest from SETTINGS."""
    full: dict[str, object] = {}
    for key, setting in transport.SETTINGS.items():
        if key in values:
            value = [values[key]] if setting.takes_one and isinstance(values[key], str) else values[key]
            assert isinstance(value, setting.kind) or setting.kind is float, f"{key} is of another kind"
            assert setting.accepts is None or setting.accepts(value), f"{key} = {value!r}: {setting.allowed}"
            full[key] = value
        else:
            assert setting.default is not REQUIRED, f"{key} is missing"
            full[key] = setting.default
    assert values.keys() <= full.keys()
    return full


@asynccontextmanager
async def running(transport: Transport, link: str = "link") -> AsyncIterator[RecordingPort]:
    """The port of a transport that is up; afterwards it is cancelled, and must have stopped within a second."""
    port = RecordingPort(link)
    task = asyncio.create_task(transport.run(port), name=link)
    up = asyncio.create_task(port.until(lambda port: port.sender is not None))
    await asyncio.wait((task, up), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        up.cancel()
        task.result()
    await up
    try:
        yield port
    finally:
        task.cancel()
        async with asyncio.timeout(1.0):
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert task.cancelled(), "cancelling must not be swallowed"


async def loss_of(transport: Transport, port: RecordingPort | None = None) -> str:
    """The reason with which the transport ends by itself, or says that its link is down."""
    port = port or RecordingPort()
    task = asyncio.create_task(transport.run(port), name="transport")
    down = asyncio.create_task(port.until(lambda port: port.downs), name="down")
    await asyncio.wait((task, down), return_when=asyncio.FIRST_COMPLETED)
    down.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))
        return port.downs[0]
    with pytest.raises(PluginLostError) as lost:
        task.result()
    return str(lost.value)


def free_port(kind: socket.SocketKind, host: str = "127.0.0.1") -> int:
    """A port that nobody uses now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class PtyCable:
    """Two pseudo-terminals whose far ends are joined; ``damage`` may change what passes."""

    def __init__(self) -> None:
        self.masters, self._slaves = [], []
        for _ in range(2):
            master, slave = os.openpty()
            os.set_blocking(master, False)
            self.masters.append(master)
            self._slaves.append(slave)
        self.paths = [os.ttyname(slave) for slave in self._slaves]
        self.damage: Callable[[bytes], bytes] = bytes
        self._loop = asyncio.get_running_loop()
        self.resume()

    def resume(self) -> None:
        """Bytes pass."""
        for side in (0, 1):
            self._loop.add_reader(self.masters[side], self._move, side)

    def _move(self, side: int) -> None:
        moved = os.read(self.masters[side], 4096)
        os.write(self.masters[1 - side], self.damage(moved))

    def stall(self) -> None:
        """Bytes pile up in the PTYs."""
        for master in self.masters:
            self._loop.remove_reader(master)

    def unplug(self) -> None:
        """Both devices vanish."""
        self.stall()
        for descriptor in (*self.masters, *self._slaves):
            os.close(descriptor)
        self.masters, self._slaves = [], []


@asynccontextmanager
async def pty_cable() -> AsyncIterator[PtyCable]:
    """A cable that is unplugged at the end at the latest."""
    cable = PtyCable()
    try:
        yield cable
    finally:
        cable.unplug()
