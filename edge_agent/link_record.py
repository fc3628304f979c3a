"""A link's own measurements over time, as lines of a trace (the CSV of ``link_sim.traces.files``).

Up is the way from this node: its rate is the agent's estimate in wire bits a second. What the peer could send is not
known here and stays empty. While the link is away both rates are 0: from the first frame without an answer, not from
the moment the agent was sure, until something came again. Where frames come and none of ours arrive, only up is 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

CSV_HEADER = "t_ms,down_bps,up_bps,delay_ms,loss"
SILENCE_S = 0.5  # an acknowledgement may wait 0.2 s and a sample come late; what is shorter is no outage here
SILENCE_RTTS = 4.0  # on a slow link silence is measured in its own round trips
_AWAY = ("down", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSample:
    """What ``status`` said of one link at ``at_s`` (any clock that only rises). None: not known.

    ``state`` is that of the link, or "" while no agent answered.
    """

    at_s: float
    state: str
    rate_bps: float | None = None
    rtt_s: float | None = None
    loss_ratio: float | None = None
    sent_bytes: int = 0
    received_bytes: int = 0


class TraceLine(NamedTuple):
    """One row of the CSV, which holds from ``at_s`` on; None for what was not measured."""

    at_s: float
    down_bps: int | None
    up_bps: int | None
    delay_s: float | None
    loss_ratio: float | None


def sample_of(row: Mapping[str, Any], at_s: float) -> LinkSample:  # Any: JSON, as DESIGN section 10 lays it out
    """A sample from one row of the links in a status."""
    return LinkSample(
        at_s=at_s,
        state=row["state"],
        rate_bps=row["rate_bps"],
        rtt_s=row["rtt_s"],
        loss_ratio=row["loss_ratio"],
        sent_bytes=row["sent_bytes"],
        received_bytes=row["received_bytes"],
    )


def trace_lines(samples: Sequence[LinkSample]) -> list[TraceLine]:
    """Rows from 0 s on, equal neighbours joined, with a last one that only says where the trace ends.

    ``samples`` rise in time, at least two. Raises ValueError.
    """
    if len(samples) < 2:
        raise ValueError(f"{len(samples)} samples: a trace needs two or more")
    begun_s = samples[0].at_s
    lines = []
    for sample, is_silent in zip(samples[:-1], _silent(samples), strict=False):
        lines.append(_line(sample, sample.at_s - begun_s, is_silent=is_silent))
    joined = [next(same) for _, same in groupby(lines, key=lambda line: line[1:])]
    return [*joined, TraceLine(samples[-1].at_s - begun_s, None, None, None, None)]


def _line(sample: LinkSample, at_s: float, *, is_silent: bool) -> TraceLine:
    if not sample.state:
        return TraceLine(at_s, None, None, None, None)
    if is_silent or sample.state in _AWAY:
        return TraceLine(at_s, 0 if is_silent else None, 0, None, None)
    up_bps = None if sample.rate_bps is None else round(sample.rate_bps)
    delay_s = None if sample.rtt_s is None else sample.rtt_s / 2
    loss_ratio = None if sample.loss_ratio is None else round(min(1.0, max(0.0, sample.loss_ratio)), 4)
    return TraceLine(at_s, None, up_bps, delay_s, loss_ratio)


def _silent(samples: Sequence[LinkSample]) -> list[bool]:
    """For each sample whether nothing came, though something should have, until the next one."""
    silent = [False] * len(samples)
    first = 0
    for number in range(1, len(samples) + 1):
        if number < len(samples) and samples[number].received_bytes == samples[first].received_bytes:
            continue
        onset = _onset(samples[first:number])
        if onset is not None:
            silent[first + onset : number] = [True] * (number - first - onset)
        first = number
    return silent


def _onset(run: Sequence[LinkSample]) -> int | None:
    """Where in a run of samples, in which nothing was received, the link went away; None when it was only quiet."""
    sent = next((at - 1 for at, each in enumerate(run) if each.sent_bytes > run[0].sent_bytes), len(run))
    away = next((at for at, each in enumerate(run) if each.state in _AWAY), len(run))
    longest_s = max(SILENCE_S, SILENCE_RTTS * (run[0].rtt_s or 0.0))
    if len(run) < 2:  # something came before the next sample
        return None
    if away < len(run) or (sent < len(run) and run[-1].at_s - run[sent].at_s >= longest_s):
        return min(sent, away)
    return None


def csv_text(lines: Iterable[TraceLine]) -> str:
    """The lines as a file, times to the microsecond."""
    texts = [CSV_HEADER]
    for line in lines:
        delay_ms = "" if line.delay_s is None else f"{line.delay_s * 1000:.3f}"
        cells = (f"{line.at_s * 1000:.3f}", line.down_bps, line.up_bps, delay_ms, line.loss_ratio)
        texts.append(",".join("" if cell is None else str(cell) for cell in cells))
    return "\n".join(texts) + "\n"
