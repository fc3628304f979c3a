"""Event log: one JSON object a line, in the order of time, for every frame offered and everything else that is told."""

import json
from typing import TextIO

from link_sim.line import Line
from link_sim.model import Verdict
from link_sim.services import NS_PER_S


class EventLog:
    """Writes events to a text file as they come. Times are seconds of the run."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def watch(self, name: str, line: Line[bytes]) -> None:
        """Log every frame that is offered to a direction: its bytes, fate, and when it left and comes out."""

        def judged(now_ns: int, frame_bytes: int, frame: bytes, verdict: Verdict) -> None:
            due_ns = verdict.deliver_at_ns
            self.add(
                now_ns / NS_PER_S,
                "frame",
                direction=name,
                bytes=frame_bytes,
                fate=verdict.fate.word,
                sent_s=verdict.sent_ns / NS_PER_S,
                due_s=None if due_ns is None else due_ns / NS_PER_S,
            )

        def taken(now_ns: int, offered_ns: int, frame: bytes) -> None:
            self.add(now_ns / NS_PER_S, "arrived", direction=name, bytes=len(frame), offered_s=offered_ns / NS_PER_S)

        line.observe(judged, taken)

    def add(self, t_s: float, event: str, **about: object) -> None:
        """One event."""
        self._out.write(json.dumps({"t_s": t_s, "event": event, **about}, separators=(",", ":")) + "\n")
