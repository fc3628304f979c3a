"""Event log: one JSON object a line, in the order of time, for every frame offered and everything else that is told."""

import json
from typing import Any, TextIO

from link_sim.link.line import Line
from link_sim.link.model import Fate, Verdict
from link_sim.link.services import NEVER_NS, NS_PER_S


class EventLog:
    """Writes events to a text file as they come. Times are seconds of the run."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def watch(self, name: str, line: Line[bytes]) -> None:
        """Log every frame that is offered to a direction: its bytes, fate, and when it left and comes out."""

        def judged(now_ns: int, frame_bytes: int, frame: bytes, verdict: Verdict) -> None:
            self.offered(name, now_ns, frame_bytes, verdict.fate, sent_at_ns(line, verdict), verdict.deliver_at_ns)

        def taken(now_ns: int, offered_ns: int, frame: bytes) -> None:
            self.arrived(name, now_ns, len(frame), offered_ns)

        line.observe(judged, taken)

    def offered(
        self, name: str, now_ns: int, frame_bytes: int, fate: Fate, sent_ns: int | None, due_ns: int | None
    ) -> None:
        """A frame was offered; ``sent_ns`` and ``due_ns`` None: nobody knows when, or never."""
        times = {"sent_s": _seconds(sent_ns), "due_s": _seconds(due_ns)}
        self.add(now_ns / NS_PER_S, "frame", direction=name, bytes=frame_bytes, fate=fate.word, **times)

    def arrived(self, name: str, now_ns: int, frame_bytes: int, offered_ns: int) -> None:
        """A frame came out."""
        self.add(now_ns / NS_PER_S, "arrived", direction=name, bytes=frame_bytes, offered_s=offered_ns / NS_PER_S)

    def add(self, t_s: float, event: str, **about: object) -> None:
        """One event."""
        self._out.write(json.dumps({"t_s": t_s, "event": event, **about}, separators=(",", ":")) + "\n")


def sent_at_ns(line: Line[Any], verdict: Verdict) -> int | None:  # Any: frames of every endpoint
    """When a frame that was judged just now has left, on the caller's clock; None in a hold and for never."""
    held_ns = line.model.held_ns
    return None if held_ns is None or verdict.sent_ns >= NEVER_NS else verdict.sent_ns + held_ns


def _seconds(at_ns: int | None) -> float | None:
    return None if at_ns is None else at_ns / NS_PER_S
