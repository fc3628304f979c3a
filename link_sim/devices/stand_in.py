"""Stand-in: a device behind a serial port, without clock and without port.

The caller feeds what arrived and takes what the device says; ``now_s`` counts from when the device was switched on and
never goes back. The same feeds and the same seed give the same bytes in real and in virtual time.
"""

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from link_sim.devices.faults import Fault, FaultKind, FaultScript
from link_sim.devices.outbox import Outbox
from link_sim.link.streams import stream

LOG_LINES_MAX = 10_000  # the newest are kept: hours of an ordinary test
COMMON_FAULTS = frozenset((FaultKind.UNPLUG, FaultKind.SILENT, FaultKind.SLOW, FaultKind.PARTIAL, FaultKind.GARBAGE))


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of a stand-in's log: when, what (snake_case), and the particulars."""

    at_s: float
    event: str
    detail: str


class StandIn(ABC):
    """Base of all stand-ins. ``log`` holds what happened, ``counts`` how often."""

    KNOWN_FAULTS: ClassVar[frozenset[FaultKind]] = COMMON_FAULTS

    def __init__(self, *, baud_rate: int | None, faults: Iterable[Fault] = (), seed: int = 1) -> None:
        self.log: deque[Happening] = deque(maxlen=LOG_LINES_MAX)
        self.counts: Counter[str] = Counter()
        self.is_plugged = True
        self._script = FaultScript(faults, self.KNOWN_FAULTS)
        self._outbox = Outbox(baud_rate)
        self._garbage = stream(seed, "garbage")
        self._now_s = 0.0

    def feed(self, received: bytes, now_s: float) -> bytes:
        """Give the device what arrived, nothing at a wake-up; returns what it says by now."""
        self._now_s = now_s
        self._plug(now_s)
        if not self.is_plugged:
            return b""
        self._wake(now_s)
        if received:
            self._receive(received, now_s)
            self._wake(now_s)  # what the host asked for may be due at once
        return self._outbox.take(now_s)

    def next_plug_s(self) -> float | None:
        """When the port goes or comes back next. A runner that is late feeds then first, lest both pass unseen."""
        return self._script.next_change_s(FaultKind.UNPLUG, self._now_s)

    def next_wakeup(self) -> float | None:
        """When to feed again though nothing arrives; None: never."""
        plug_s = self.next_plug_s()
        if not self.is_plugged:
            return plug_s
        times = (plug_s, self._outbox.next_due_s(), self._next_wake_s())
        return min((at_s for at_s in times if at_s is not None), default=None)

    @abstractmethod
    def _receive(self, received: bytes, now_s: float) -> None:
        """Take bytes from the host; nothing of them ever raises."""

    @abstractmethod
    def _wake(self, now_s: float) -> None:
        """Do what is due without bytes from the host."""

    @abstractmethod
    def _next_wake_s(self) -> float | None:
        """When ``_wake`` has something to do; None: never. Later than the last ``_wake``."""

    @abstractmethod
    def _restart(self, now_s: float) -> None:
        """Start anew, after the port came back."""

    def _plug(self, now_s: float) -> None:
        is_plugged = not self._script.is_on(FaultKind.UNPLUG, now_s)
        if is_plugged == self.is_plugged:
            return
        self.is_plugged = is_plugged
        self._note("plugged" if is_plugged else "unplugged")
        self._outbox.clear()
        if is_plugged:
            self._restart(now_s)

    def _say(self, text: bytes, *, request: str = "", after_s: float = 0.0) -> float:
        """Say ``text``, with the faults that hit ``request``; returns when it begins to leave."""
        now_s = self._now_s
        ready_s = now_s + after_s
        slow = self._script.take(FaultKind.SLOW, now_s, request)
        if slow is not None:
            ready_s += slow.value
        if self._script.take(FaultKind.SILENT, now_s, request) is not None:
            self._note("silent", request)
            return ready_s
        garbage = self._script.take(FaultKind.GARBAGE, now_s, request)
        partial = self._script.take(FaultKind.PARTIAL, now_s, request)
        if partial is not None:
            text = text[: int(partial.value)]
            self._note("partial", request)
        if garbage is not None:
            text = self._garbage.randbytes(int(garbage.value)) + text
            self._note("garbage", request)
        self._outbox.put(ready_s, text)
        return ready_s

    def _note(self, event: str, detail: str = "") -> None:
        self.log.append(Happening(self._now_s, event, detail))
        self.counts[event] += 1
