"""Alarms finer than an event loop: asyncio on epoll rounds every wait up to whole milliseconds.

On Linux a timerfd that the loop watches, set earlier by what waking up has taken of late: an idle processor needs a
tenth of a millisecond for it. Elsewhere the loop's own timer, which is 0.9 ms late at the median.
"""

import asyncio
import ctypes
import os
import struct
import sys
import time
from collections.abc import Callable
from typing import Protocol

from link_sim.link.services import NS_PER_S

_CLOCK_MONOTONIC = 1  # linux/time.h; the clock of time.monotonic_ns
_TFD_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)  # what sys/timerfd.h names TFD_... (Linux)
_TFD_TIMER_ABSTIME = 1
_TIMER_SPEC = struct.Struct("@llll")  # struct itimerspec: interval, then time, each in s and ns
_LEAD_MAX_NS = 250_000  # what takes longer is no wake-up but a busy machine, and nobody shall spin for that
_LONGER_NS, _SHORTER_NS = 2_000, 16_000  # one wake-up in nine comes before the lead is over, and spins


class Alarm(Protocol):
    """Calls back once at a time of ``time.monotonic_ns``, or soon after."""

    def set(self, at_ns: int | None) -> None:
        """Ring at ``at_ns`` instead of any earlier wish; None: not at all."""

    def close(self) -> None:
        """Never ring again."""


def make_alarm(ring: Callable[[], None]) -> Alarm:
    """The finest alarm here. Call it in the loop that shall watch it."""
    loop = asyncio.get_running_loop()
    return _TimerFdAlarm(loop, ring) if sys.platform == "linux" else _LoopAlarm(loop, ring)


class _LoopAlarm:
    """The loop's own timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at_ns: int | None) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if at_ns is not None:
            self._handle = self._loop.call_later(max(0, at_ns - time.monotonic_ns()) / NS_PER_S, self._ring)

    def close(self) -> None:
        self.set(None)


class Lead:
    """How long before its time to set a timer, so that whoever it wakes is there on time."""

    def __init__(self) -> None:
        self.ns = 0
        """What eight wake-ups in nine took at least, of late."""

    def note(self, took_ns: int) -> None:
        """One wake-up took so long from the timer's time on. O(1)."""
        if took_ns > self.ns:
            self.ns = min(self.ns + _LONGER_NS, _LEAD_MAX_NS)
        else:
            self.ns = max(self.ns - _SHORTER_NS, 0)


class _TimerFdAlarm:
    """timerfd_create(2) through ctypes; Python has it from 3.13 only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._spec = bytearray(_TIMER_SPEC.size)
        self._spec_at = ctypes.byref((ctypes.c_char * _TIMER_SPEC.size).from_buffer(self._spec))
        self._fd = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create: " + os.strerror(ctypes.get_errno()))
        self._at_ns: int | None = None
        self._fires_ns = 0
        self._is_waited_for = False
        self._lead = Lead()
        self._loop = loop
        self._ring = ring
        loop.add_reader(self._fd, self._on_readable)

    def _on_readable(self) -> None:
        at_ns, now_ns = self._at_ns, time.monotonic_ns()
        if at_ns is None or now_ns < self._fires_ns:
            return  # it was set anew between the loop's wake-up and here, which took back what was to be read
        if self._is_waited_for:
            self._lead.note(now_ns - self._fires_ns)
        while now_ns < at_ns:  # for the lead at most
            now_ns = time.monotonic_ns()
        self._at_ns = None
        self._ring()
        if self._at_ns is None and self._fd >= 0:
            self.set(None)  # setting takes back what is to be read, so that reading it costs nothing

    def set(self, at_ns: int | None) -> None:
        self._at_ns, fires_ns = at_ns, 0
        if at_ns is not None:
            self._fires_ns = fires_ns = max(1, at_ns - self._lead.ns)  # a time of 0 would disarm it
            self._is_waited_for = fires_ns > time.monotonic_ns()
        _TIMER_SPEC.pack_into(self._spec, 0, 0, 0, *divmod(fires_ns, NS_PER_S))
        if self._settime(self._fd, _TFD_TIMER_ABSTIME, self._spec_at, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime: " + os.strerror(ctypes.get_errno()))

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
