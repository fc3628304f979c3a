"""The two promises of the classes on one link, judged frame by frame.

Over any 10 s a lower class gets at most its share of what leaves while a higher one is ready; over 60 s every class
that is ready all the time gets its share, while FLASH is ready at least something. When the last link to a node dies
the wait begins anew with the next one: after an outage FLASH goes first, whoever had waited before it.
"""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from edge_agent.core.bundle import Precedence
from edge_agent.core.scheduler import QUANTUM_BYTES, STARVED_S

WINDOW_S = 10.0
LATE_S = 5.0
"""Beyond ``STARVED_S``: the frame that serves a starved class may wait for a pacer, a window, a turn."""
IDLE_S = 1.0
"""Longer gaps between frames count as this much: a link that is away owes nobody anything."""
_CLASSES, _FLASH = tuple(Precedence), Precedence.FLASH  # looked up once: each frame asks many times


@dataclass(slots=True)
class _Window:
    """Bytes of the last ``WINDOW_S`` seconds during which something higher was ready."""

    frames: deque[tuple[float, int, int]] = field(default_factory=deque)
    all_bytes: int = 0
    own_bytes: int = 0

    def add(self, now_s: float, frame_bytes: int, own_bytes: int) -> None:
        frames = self.frames
        frames.append((now_s, frame_bytes, own_bytes))
        self.all_bytes += frame_bytes
        self.own_bytes += own_bytes
        while frames[0][0] <= now_s - WINDOW_S:
            _, gone_bytes, gone_own_bytes = frames.popleft()
            self.all_bytes -= gone_bytes
            self.own_bytes -= gone_own_bytes


@dataclass(slots=True)
class ExcessJudge:
    """One contact's account of who got what. ``share_ratio`` is what each lower class is promised of a link."""

    share_ratio: float
    _windows: list[_Window] = field(default_factory=lambda: [_Window() for _ in _CLASSES])

    def note(
        self, now_s: float, led_by: Precedence, frame_bytes: int, ready: Sequence[bool], longest_frame_bytes: int
    ) -> str:
        """One frame that ``led_by`` began left, and ``ready`` still wait. Says what is wrong, or nothing."""
        slack_bytes = _slack_bytes(longest_frame_bytes)
        is_higher_ready = False
        for precedence in _CLASSES:
            if is_higher_ready:
                window = self._windows[precedence]
                window.add(now_s, frame_bytes, frame_bytes if led_by == precedence else 0)
                if led_by == precedence and window.own_bytes > self.share_ratio * window.all_bytes + slack_bytes:
                    return (
                        f"{precedence.name} got {window.own_bytes} of {window.all_bytes} bytes in {WINDOW_S:g} s "
                        f"while a higher class was ready; allowed is {self.share_ratio:g} and {slack_bytes} bytes"
                    )
            is_higher_ready = is_higher_ready or ready[precedence]
        return ""


@dataclass(slots=True)
class _Wait:
    """A class that has been ready at every frame of late. ``active_s`` leaves out the time in which no frame left."""

    last_s: float
    active_s: float = 0.0
    all_bytes: int = 0
    own_bytes: int = 0
    is_share_owed: bool = True
    """Not while FLASH was ready or several links worked: then it is something, however little."""


@dataclass(slots=True)
class NeglectJudge:
    """What one node owes the classes that wait for one peer, over all links to it."""

    share_ratio: float
    _waits: list[_Wait | None] = field(default_factory=lambda: [None] * len(_CLASSES))

    def forget(self) -> None:
        """No link to the peer works any more."""
        self._waits = [None] * len(_CLASSES)

    def note(
        self,
        now_s: float,
        class_bytes: Sequence[int],
        ready: Sequence[bool],
        carried: Collection[Precedence],
        longest_frame_bytes: int,
        *,
        is_alone: bool,
    ) -> str:
        """One frame left on a link that may carry ``carried``. Says what is wrong, or nothing."""
        frame_bytes = sum(class_bytes)
        for precedence in carried:
            wait = self._waits[precedence]
            if not ready[precedence]:
                self._waits[precedence] = None
                continue
            if wait is None:
                self._waits[precedence] = _Wait(now_s)
                continue
            wait.active_s += min(now_s - wait.last_s, IDLE_S)
            wait.last_s = now_s
            wait.all_bytes += frame_bytes
            wait.own_bytes += class_bytes[precedence]
            wait.is_share_owed = wait.is_share_owed and is_alone and not ready[_FLASH]
            if wait.active_s < STARVED_S + LATE_S:
                continue
            self._waits[precedence] = _Wait(now_s)
            least_bytes = self.share_ratio * wait.all_bytes - _slack_bytes(longest_frame_bytes)
            owed_bytes = max(1.0, least_bytes if wait.is_share_owed else 1.0)
            if wait.own_bytes < owed_bytes:
                return (
                    f"{precedence.name} was ready for {wait.active_s:.3f} s of sending and got {wait.own_bytes} of "
                    f"{wait.all_bytes} bytes; owed are {owed_bytes:.0f}"
                )
        return ""


def _slack_bytes(longest_frame_bytes: int) -> int:
    """A turn is granted whole, and its last frame may overshoot."""
    return QUANTUM_BYTES + 2 * longest_frame_bytes
