"""Statistics of traces, weighted by time: rates, delays, losses, outages, gaps between chances to send.

A percentile is the least value for which half its own time and that of all values below it are that share of the
measured time. An outage lasts 1 s or longer and has less than 10 kbit/s, or loses everything; percentiles of outages
are interpolated.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import median

from link_sim.link.services import NS_PER_S
from link_sim.traces.trace import LinkTrace, TraceRow

OUTAGE_BPS = 10_000
OUTAGE_NS = NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How a value is spread over the measured time."""

    mean: float
    p5: float
    p50: float
    p95: float
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outages:
    """Outages, or gaps, and their share of the whole time; all 0 when there is none."""

    count: int
    median_s: float
    p90_s: float
    longest_s: float
    share_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStats:
    """One direction of a trace; None where nothing was measured."""

    length_s: float
    rows: int
    median_row_s: float | None
    rate_bps: Spread | None
    delay_s: Spread | None
    loss_ratio: float | None
    outages: Outages


def stats(trace: LinkTrace) -> TraceStats:
    """The statistics of one round. Chances to send count as 1,500 bytes over the time since the one before."""
    if trace.opportunities_ns:
        return _chance_stats(trace)
    spans = list(_spans(trace))
    losses = [(span_ns, row.loss_ratio) for span_ns, row in spans if row.loss_ratio is not None]
    lost_ns = sum(span_ns * ratio for span_ns, ratio in losses)
    return TraceStats(
        length_s=trace.length_ns / NS_PER_S,
        rows=len(spans),
        median_row_s=median(span_ns for span_ns, _ in spans) / NS_PER_S,
        rate_bps=spread([(span_ns, row.rate_bps) for span_ns, row in spans if row.rate_bps is not None]),
        delay_s=spread([(span_ns, row.delay_ns / NS_PER_S) for span_ns, row in spans if row.delay_ns is not None]),
        loss_ratio=lost_ns / sum(span_ns for span_ns, _ in losses) if losses else None,
        outages=_row_outages(spans, trace.length_ns),
    )


def gaps(trace: LinkTrace, at_least_s: float = 1.0) -> Outages:
    """Gaps of that length or longer between chances to send; the time before the first is left out."""
    least_ns = round(at_least_s * NS_PER_S)
    lengths_ns = (later - earlier for earlier, later in pairwise(trace.opportunities_ns))
    return outages_of(lengths_ns, least_ns, trace.length_ns)


def _chance_stats(trace: LinkTrace) -> TraceStats:
    seconds = trace.length_ns / NS_PER_S
    mean_bps = len(trace.opportunities_ns) * 12_000 / seconds
    from link_sim.traces.edit import binned  # which needs nothing of this module

    spans = list(_spans(binned(trace))) if seconds >= 0.1 else []
    rates = spread([(span_ns, row.rate_bps or 0) for span_ns, row in spans])
    if rates is not None:
        rates = Spread(mean=mean_bps, p5=rates.p5, p50=rates.p50, p95=rates.p95, least=rates.least, most=rates.most)
    return TraceStats(
        length_s=seconds,
        rows=len(trace.opportunities_ns),
        median_row_s=None,
        rate_bps=rates,
        delay_s=None,
        loss_ratio=None,
        outages=gaps(trace),
    )


def _spans(trace: LinkTrace) -> Iterable[tuple[int, TraceRow]]:
    ends_ns = [row.start_ns for row in trace.rows[1:]] + [trace.length_ns]
    return ((end_ns - row.start_ns, row) for row, end_ns in zip(trace.rows, ends_ns, strict=True))


def _row_outages(spans: Sequence[tuple[int, TraceRow]], length_ns: int) -> Outages:
    runs = groupby(spans, key=lambda span: is_out(span[1]))
    return outages_of([sum(span_ns for span_ns, _ in run) for out, run in runs if out], OUTAGE_NS, length_ns)


def is_out(row: TraceRow) -> bool:
    """Whether the link is away in a row."""
    return (row.rate_bps is not None and row.rate_bps < OUTAGE_BPS) or row.loss_ratio == 1


def outages_of(lengths_ns: Iterable[int], at_least_ns: int, whole_ns: int) -> Outages:
    """Those of a length or longer."""
    kept = sorted(length_ns for length_ns in lengths_ns if length_ns >= at_least_ns)
    if not kept:
        return Outages(count=0, median_s=0.0, p90_s=0.0, longest_s=0.0, share_ratio=0.0)
    at = 0.9 * (len(kept) - 1)
    low = int(at)
    p90_ns = kept[low] + (at - low) * (kept[min(low + 1, len(kept) - 1)] - kept[low])
    return Outages(
        count=len(kept),
        median_s=median(kept) / NS_PER_S,
        p90_s=p90_ns / NS_PER_S,
        longest_s=kept[-1] / NS_PER_S,
        share_ratio=sum(kept) / whole_ns,
    )


def spread(weighted: Sequence[tuple[int, float]]) -> Spread | None:
    """Mean and percentiles of values, each with its weight; None without any."""
    if not weighted:
        return None
    ordered = sorted(weighted, key=lambda pair: pair[1])
    whole = sum(weight for weight, _ in ordered)
    return Spread(
        mean=sum(weight * value for weight, value in ordered) / whole,
        p5=_percentile(ordered, 0.05 * whole),
        p50=_percentile(ordered, 0.5 * whole),
        p95=_percentile(ordered, 0.95 * whole),
        least=ordered[0][1],
        most=ordered[-1][1],
    )


def _percentile(ordered: Sequence[tuple[int, float]], weight: float) -> float:
    reached = 0
    for each, value in ordered:
        reached += each
        if reached - each / 2 >= weight:
            return value
    return ordered[-1][1]
