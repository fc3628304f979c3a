"""PTY proxy: two serial ports joined by a line of a given speed. POSIX only.

A program opens ``a_path``, another ``b_path``; what one writes comes out of the other as fast as the baud rate lets
it, in pieces of a few bytes, each when its last bit would have arrived. Up is from a to b. The writer feels
back-pressure when the profile's ``queue_bytes`` and the kernel's own buffer (up to 16 KiB) are full; a reader that does
not read loses bytes, as with a real port.
"""

import asyncio
import contextlib
import os
import pty
import random
import time
import tty
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from link_sim.link.services import NS_PER_S
from link_sim.link.streams import derived_seed
from link_sim.profiles import PathProfile
from link_sim.real_time.alarm import Alarm, make_alarm
from link_sim.real_time.live import LiveLine, LiveLink, live_link

PIECE_S = 0.004  # a piece is what the line carries in that time: fine beside a frame, 250 wake-ups a second at most
_READ_MAX_BYTES = 4096


class _End:
    """One PTY: programs open ``path``; bytes read here are offered to ``line``, delivered ones are written here."""

    def __init__(self, seed: int) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)  # held open, so that a program that closes its end does not hang the line up
        os.set_blocking(self._master, False)
        self.path = Path(os.ttyname(self._slave))
        self._noise = random.Random(seed)
        self._out: LiveLine[bytes] | None = None
        self._alarm: Alarm | None = None
        self._is_reading = False

    def start(self, out: LiveLine[bytes]) -> None:
        """Begin to read, in the running loop, and to offer what is read to ``out``."""
        self._out = out
        self._alarm = make_alarm(self._resume)
        out.on_change = self._resume
        self._resume()

    def close(self) -> None:
        """Hang up."""
        if self._out is not None:
            self._out.on_change = None
        self._pause()
        if self._alarm is not None:
            self._alarm.close()
        for each in (self._master, self._slave):
            os.close(each)

    def _resume(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            asyncio.get_running_loop().add_reader(self._master, self._read)

    def _pause(self) -> None:
        if self._is_reading:
            self._is_reading = False
            asyncio.get_running_loop().remove_reader(self._master)

    def _read(self) -> None:
        """Take what the line has room for; the rest stays in the kernel, whose buffer pushes back on the writer."""
        if self._out is None or self._alarm is None:
            return
        line = self._out.line
        room_bytes = line.profile.queue_bytes - self._out.waiting_bytes()
        if room_bytes < 1:
            self._pause()
            if line.model.held_ns is not None:  # in a hold nothing moves until a change, which resumes
                self._alarm.set(time.monotonic_ns() + round(PIECE_S * NS_PER_S))
            return
        with contextlib.suppress(BlockingIOError):
            read = os.read(self._master, min(room_bytes, _READ_MAX_BYTES))
            piece_bytes = _piece_bytes(line.profile.rate_bps)
            for start in range(0, len(read), piece_bytes):
                piece = self._spoil(read[start : start + piece_bytes], line.profile.noise_ratio)
                self._out.offer(piece, len(piece))

    def _spoil(self, piece: bytes, noise_ratio: float) -> bytes:
        if noise_ratio == 0:
            return piece
        draw = self._noise.random
        spoiled = bytes(byte ^ self._noise.randrange(1, 256) if draw() < noise_ratio else byte for byte in piece)
        if self._out is not None and spoiled != piece:
            self._out.counts["pieces_spoiled"] += 1
        return spoiled

    def write(self, piece: bytes, line: LiveLine[bytes]) -> None:
        """Hand bytes to the program at this end; what its buffer does not take is lost and counted."""
        try:
            written_bytes = os.write(self._master, piece)
        except BlockingIOError:
            written_bytes = 0
        if written_bytes < len(piece):
            line.counts["overrun_bytes"] += len(piece) - written_bytes


class PtyProxy:
    """A live serial line; ``async with`` starts and ends it. ``link`` is its control, in process.

    ``a_link`` and ``b_link`` are symbolic links that point to the ports while it runs; a link left over is replaced, a
    file is not.
    """

    def __init__(
        self,
        name: str,
        profile: PathProfile,
        *,
        seed: int = 1,
        a_link: Path | None = None,
        b_link: Path | None = None,
    ) -> None:
        self.link: LiveLink = live_link(
            name, _raw(profile), seed, deliver_up=self._deliver_to_b, deliver_down=self._deliver_to_a
        )
        self._seed = seed
        self._links = (a_link, b_link)
        self._ends: tuple[_End, _End] | None = None

    @property
    def a_path(self) -> Path:
        """The port whose bytes go up; valid while it runs."""
        return self._running()[0].path

    @property
    def b_path(self) -> Path:
        """The other port."""
        return self._running()[1].path

    def _running(self) -> tuple[_End, _End]:
        if self._ends is None:
            raise RuntimeError(f"link {self.link.name} does not run")
        return self._ends

    async def start(self) -> None:
        """Open both ports. Raises OSError naming the path when a symbolic link cannot be made."""
        a, b = self._ends = (self._make_end("up"), self._make_end("down"))
        try:
            for end, place in zip((a, b), self._links, strict=True):
                if place is not None:
                    _point(place, end.path)
        except OSError:
            self.close()
            raise
        self.link.up.start()
        self.link.down.start()
        a.start(self.link.up)
        b.start(self.link.down)

    def _make_end(self, way: str) -> _End:
        return _End(derived_seed(self._seed, self.link.name, way, "noise"))

    def close(self) -> None:
        """Close both ports and remove the symbolic links."""
        for line in (self.link.up, self.link.down):
            line.close()
        ends, self._ends = self._ends, None
        for end, place in zip(ends or (), self._links, strict=False):
            if place is not None and place.is_symlink() and place.readlink() == end.path:
                place.unlink()
            end.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _deliver_to_b(self, due: Sequence[bytes]) -> None:
        self._running()[1].write(b"".join(due), self.link.up)

    def _deliver_to_a(self, due: Sequence[bytes]) -> None:
        self._running()[0].write(b"".join(due), self.link.down)

    def describe(self) -> dict[str, object]:
        """The link's word on itself, with both paths."""
        return {**self.link.describe(), "a": str(self.a_path), "b": str(self.b_path)}


def _raw(profile: PathProfile) -> PathProfile:
    """The profile for bytes as they come: framing is in what the programs write, and a byte stream has no MTU."""
    up, down = (replace(way, overhead_bytes=0, mtu_bytes=None) for way in (profile.up, profile.down))
    return PathProfile(name=profile.name, up=up, down=down)


def _piece_bytes(rate_bps: int | None) -> int:
    return _READ_MAX_BYTES if rate_bps is None else max(1, round(rate_bps * PIECE_S / 8))


def _point(place: Path, target: Path) -> None:
    """Make ``place`` a symbolic link to ``target``. Raises FileExistsError when something else is there."""
    if place.is_symlink():
        place.unlink()
    place.symlink_to(target)
