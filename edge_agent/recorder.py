"""``edge-agent record``: samples one link of the running agent and writes its trace."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_agent.client import AgentAbsentError, Client
from edge_agent.core.errors import EdgeAgentError
from edge_agent.link_record import LinkSample, csv_text, sample_of, trace_lines

SAVE_S = 60.0  # a power cut costs the last minute of a recording
SAMPLES_MAX = 1_000_000  # a day at ten a second


class NoSuchLinkError(EdgeAgentError):
    """The agent has no such link, or several peers on it; the message says which there are."""


@dataclass(slots=True, kw_only=True)
class Recorder:
    """Asks for the status each ``interval_s`` until it is stopped, or for ``span_s``, and writes ``out``."""

    client: Client
    link: str
    peer: str | None
    out: Path
    interval_s: float
    span_s: float | None
    samples: list[LinkSample] = field(default_factory=list)

    async def run(self, stopped: asyncio.Event) -> int:
        """Record until ``stopped``; the number of rows written. Raises NoSuchLinkError, AgentAbsentError, OSError."""
        loop = asyncio.get_running_loop()
        begun_s = next_s = saved_s = loop.time()
        until_s = None if self.span_s is None else begun_s + self.span_s
        while not stopped.is_set() and len(self.samples) < SAMPLES_MAX:
            await self._sample()
            if until_s is not None and loop.time() >= until_s:
                break
            if loop.time() >= saved_s + SAVE_S:
                saved_s = loop.time()
                self.save()
            next_s = max(next_s + self.interval_s, loop.time())
            with contextlib.suppress(TimeoutError):  # the time for the next sample has come
                async with asyncio.timeout_at(next_s if until_s is None else min(next_s, until_s)):
                    await stopped.wait()
        return self.save()

    async def _sample(self) -> None:
        asked_s = time.monotonic()
        try:
            status = await self.client.status()
        except AgentAbsentError:
            if not self.samples:
                raise
            self.samples.append(LinkSample(at_s=asked_s, state=""))  # it restarts: nothing is measured meanwhile
            return
        self.samples.append(sample_of(self._row(status), asked_s))

    def _row(self, status: Mapping[str, Any]) -> Mapping[str, Any]:  # Any: JSON, as DESIGN section 10 lays it out
        rows = [row for row in status["links"] if row["name"] == self.link]
        if not rows:
            names = ", ".join(sorted({row["name"] for row in status["links"]})) or "none"
            raise NoSuchLinkError(f"--link {self.link}: this agent has: {names}")
        fitting = [row for row in rows if self.peer in (None, row["peer"])]
        if len(fitting) == 1:
            return fitting[0]  # type: ignore[no-any-return]  # a row is a mapping, see above
        peers = ", ".join(sorted(row["peer"] for row in rows))
        if not fitting and self.samples:
            return {**dict.fromkeys(("rate_bps", "rtt_s", "loss_ratio")), "state": "down", **_NOTHING_CARRIED}
        raise NoSuchLinkError(f"--link {self.link}: --peer is one of: {peers}")

    def save(self) -> int:
        """Write what there is, at once or not at all; the number of rows. Raises OSError."""
        if len(self.samples) < 2:
            return 0
        lines = trace_lines(self.samples)
        part = self.out.with_name(self.out.name + ".part")
        part.write_text(csv_text(lines), encoding="utf-8")
        part.replace(self.out)
        return len(lines) - 1


_NOTHING_CARRIED: Mapping[str, int] = {"sent_bytes": 0, "received_bytes": 0}


async def record(recorder: Recorder, say: Callable[[str], None]) -> None:
    """Record until Ctrl-C, SIGTERM or the end of the span, and say what was written. Raises as ``Recorder.run``."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    rows = await recorder.run(stopped)
    if not rows:
        raise NoSuchLinkError(f"nothing recorded: stopped before the second sample, {recorder.interval_s:g} s")
    span_s = recorder.samples[-1].at_s - recorder.samples[0].at_s
    say(f"wrote {recorder.out}: {rows} rows, {span_s:.1f} s")
