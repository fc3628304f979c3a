"""The two promises of the classes on one link, judged frame by frame.

Over any 10 s a lower class gets at most its share of what leaves while a higher one is ready; over 60 s every class
that is ready all the time gets its share, while FLASH is ready at least something.
"""

from collections import deque
from dataclasses import dataclass, field

from edge_agent.core.bundle import Precedence
from edge_agent.core.scheduler import QUANTUM_BYTES, STARVED_S

WINDOW_S = 10.0
LATE_S = 5.0
"""Beyond ``STARVED_S``: the frame that serves a starved class may wait for a pacer, a window, a turn."""


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
class _Wait:
    """A class that has been ready at every frame since ``since_s``."""

    since_s: float
    all_bytes: int = 0
    own_bytes: int = 0
    frames: int = 0
    met_flash: bool = False


@dataclass(slots=True)
class ShareJudge:
    """One contact's account. ``share_ratio`` is what each lower class is promised of a link."""

    share_ratio: float
    _windows: list[_Window] = field(default_factory=lambda: [_Window() for _ in Precedence])
    _waits: list[_Wait | None] = field(default_factory=lambda: [None] * len(Precedence))

    def forget(self) -> None:
        """Nothing can be said of the time before: another link took part."""
        self._waits = [None] * len(Precedence)

    def note(
        self, now_s: float, led_by: Precedence, class_bytes: list[int], ready: list[bool], frame_limit_bytes: int
    ) -> str:
        """One frame that carried ``class_bytes`` left, and ``ready`` are still waiting. Says what is wrong, or nothing.

        ``frame_limit_bytes``: the longest frame of the link, by which a turn may overshoot.
        """
        slack_bytes = QUANTUM_BYTES + 2 * frame_limit_bytes
        return self._note_excess(now_s, led_by, class_bytes, ready, slack_bytes) or self._note_neglect(
            now_s, class_bytes, ready, slack_bytes
        )

    def _note_excess(
        self, now_s: float, led_by: Precedence, class_bytes: list[int], ready: list[bool], slack_bytes: int
    ) -> str:
        frame_bytes = sum(class_bytes)
        is_higher_ready = False
        for precedence in Precedence:
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

    def _note_neglect(self, now_s: float, class_bytes: list[int], ready: list[bool], slack_bytes: int) -> str:
        frame_bytes = sum(class_bytes)
        for precedence in Precedence:
            wait = self._waits[precedence]
            if not ready[precedence]:
                self._waits[precedence] = None
                continue
            if wait is None:
                wait = self._waits[precedence] = _Wait(now_s)
                continue
            wait.all_bytes += frame_bytes
            wait.own_bytes += class_bytes[precedence]
            wait.frames += 1
            wait.met_flash = wait.met_flash or ready[Precedence.FLASH]
            if now_s - wait.since_s < STARVED_S + LATE_S or wait.frames < 2 * len(Precedence):
                continue
            self._waits[precedence] = _Wait(now_s)
            owed_bytes = 1.0 if wait.met_flash else self.share_ratio * wait.all_bytes - slack_bytes
            if wait.own_bytes < owed_bytes:
                return (
                    f"{precedence.name} was ready for {now_s - wait.since_s:.3f} s and got {wait.own_bytes} of "
                    f"{wait.all_bytes} bytes; owed are {owed_bytes:.0f}"
                )
        return ""
