"""PTY bench: stand-ins on pseudo-terminals in real time. POSIX only."""

import asyncio
import contextlib
import os
import pty
import time
import tty
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from link_sim.devices.errors import DeviceError
from link_sim.devices.stand_in import StandIn
from link_sim.link.services import NS_PER_S
from link_sim.real_time.alarm import Alarm, make_alarm

_READ_MAX_BYTES = 4096


class _Port:
    """One pseudo-terminal, open as long as its device is plugged in."""

    def __init__(self) -> None:
        self.master, self._slave = pty.openpty()
        tty.setraw(self._slave)  # held open, so that a program that closes its end does not hang the line up
        os.set_blocking(self.master, False)
        self.path = Path(os.ttyname(self._slave))

    def close(self) -> None:
        """Hang up: a program that has it open reads its end."""
        for each in (self.master, self._slave):
            os.close(each)


class PtyBench:
    """Stand-ins by name, each on a port; ``async with`` switches them on and off.

    With ``folder`` the ports are symbolic links there, named as the devices, which vanish and come back with an
    unplugged device as those of /dev do; a link left over is replaced, a file is not.
    """

    def __init__(self, devices: Mapping[str, StandIn], *, folder: Path | None = None) -> None:
        self._devices = dict(devices)
        self._folder = folder
        self._ports: dict[str, _Port] = {}
        self._alarm: Alarm | None = None
        self._started_ns = 0
        self._changed = asyncio.Event()

    def path(self, name: str) -> Path:
        """The port of a device. Raises DeviceError when there is none of that name, or it is unplugged."""
        if name not in self._devices:
            raise DeviceError(f"device {name}: allowed is {', '.join(self._devices) or 'none, the bench is empty'}")
        if self._folder is not None:
            return self._folder / name
        if name not in self._ports:
            raise DeviceError(
                f"device {name}: it is unplugged, or the bench does not run; a folder gives lasting names"
            )
        return self._ports[name].path

    async def until_plugged(self, name: str) -> Path:
        """The port of a device, as soon as it is plugged in."""
        while name in self._devices and name not in self._ports:
            self._changed.clear()
            await self._changed.wait()
        return self.path(name)

    def now_s(self) -> float:
        """Seconds since the devices were switched on: the clock of their faults."""
        return (time.monotonic_ns() - self._started_ns) / NS_PER_S

    async def __aenter__(self) -> Self:
        self._started_ns = time.monotonic_ns()
        self._alarm = make_alarm(self.turn)
        try:
            self.turn()
        except OSError:
            self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Switch all off and remove the symbolic links."""
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None
        for name in list(self._ports):
            self._unplug(name)

    def _read(self, name: str) -> None:
        port = self._ports.get(name)
        if port is None:
            return
        try:
            received = os.read(port.master, _READ_MAX_BYTES)
        except BlockingIOError:
            return
        self._feed(name, received)
        self.turn()

    def turn(self) -> None:
        """Feed whatever is due: after each read and alarm; call it after a change made from outside, a mended line."""
        for name in self._devices:
            self._feed(name, b"")
        if self._alarm is not None:
            times = (device.next_wakeup() for device in self._devices.values())
            next_s = min((at_s for at_s in times if at_s is not None), default=None)
            self._alarm.set(None if next_s is None else self._started_ns + int(next_s * NS_PER_S) + 1)

    def _feed(self, name: str, received: bytes) -> None:
        device, now_s = self._devices[name], self.now_s()
        while (plug_s := device.next_plug_s()) is not None and plug_s <= now_s:
            self._step(name, b"", plug_s)
        self._step(name, received, now_s)

    def _step(self, name: str, received: bytes, now_s: float) -> None:
        device = self._devices[name]
        said = device.feed(received, now_s)
        if device.is_plugged and name not in self._ports:
            self._plug(name)
        elif not device.is_plugged and name in self._ports:
            self._unplug(name)
        if said:
            self._write(name, said)

    def _write(self, name: str, said: bytes) -> None:
        """Hand bytes to the program; what its buffer does not take is lost and counted, as on a real port."""
        written_bytes = 0
        with contextlib.suppress(BlockingIOError):
            written_bytes = os.write(self._ports[name].master, said)
        if written_bytes < len(said):
            self._devices[name].counts["overrun_bytes"] += len(said) - written_bytes

    def _plug(self, name: str) -> None:
        port = self._ports[name] = _Port()
        if self._folder is not None:
            place = self._folder / name
            if place.is_symlink():
                place.unlink()
            place.symlink_to(port.path)
        asyncio.get_running_loop().add_reader(port.master, self._read, name)
        self._changed.set()

    def _unplug(self, name: str) -> None:
        port = self._ports.pop(name)
        asyncio.get_running_loop().remove_reader(port.master)
        if self._folder is not None:
            place = self._folder / name
            if place.is_symlink() and place.readlink() == port.path:
                place.unlink()
        port.close()
