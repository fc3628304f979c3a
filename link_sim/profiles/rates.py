"""Profiles at another rate: a schedule or a trace keeps its ups, downs and pauses, and only its mean is another."""

from collections.abc import Sequence
from dataclasses import replace

from link_sim.errors import ProfileError
from link_sim.link.link_profile import LinkProfile
from link_sim.link.services import NS_PER_S, OPPORTUNITY_BYTES
from link_sim.profiles.tables import profile_from
from link_sim.traces.edit import scale
from link_sim.traces.trace import LinkTrace


def at_rate(where: str, profile: LinkProfile, rate_bps: int) -> LinkProfile:
    """``profile`` with ``rate_bps``, in the mean over time where a schedule or a trace says the rate.

    The mean is that of one period, or of the last step, which holds for ever, of a schedule without one. Of a trace it
    is that of what was measured; the rest gets ``rate_bps``. Raises ProfileError naming ``where`` and the value.
    """
    profile_from(where, {"rate_bps": rate_bps})  # the number by itself
    try:
        if profile.trace is not None and profile.trace.has_rates:
            trace = _traced(profile.trace, rate_bps)
            return replace(profile, rate_bps=rate_bps, rate_schedule=(), schedule_period_s=None, trace=trace)
        if profile.rate_schedule:
            return replace(profile, rate_schedule=_scheduled(profile, rate_bps))
    except ProfileError as error:
        raise ProfileError(f"{where}: rate_bps {rate_bps}: {error}") from error
    return replace(profile, rate_bps=rate_bps)


def _scheduled(profile: LinkProfile, rate_bps: int) -> tuple[tuple[float, int], ...]:
    starts_s = [from_s for from_s, _ in profile.rate_schedule]
    rates = [bps for _, bps in profile.rate_schedule]
    spans_s = [0.0] * (len(rates) - 1) + [1.0]
    if profile.schedule_period_s is not None:
        ends_s = [*starts_s[1:], profile.schedule_period_s]
        spans_s = [end_s - start_s for start_s, end_s in zip(starts_s, ends_s, strict=True)]
    mean_bps = _mean(rates, spans_s)
    if not mean_bps:
        raise ProfileError(
            "the last step of rate_schedule is 0 bit/s for ever, and no factor gives it another mean;"
            " give the link another rate_schedule"
        )
    return tuple(zip(starts_s, _scaled(rates, rate_bps / mean_bps), strict=True))


def _traced(trace: LinkTrace, rate_bps: int) -> LinkTrace:
    if trace.opportunities_ns:
        mean_bps = len(trace.opportunities_ns) * OPPORTUNITY_BYTES * 8 * NS_PER_S / trace.length_ns
        return scale(trace, rate=rate_bps / mean_bps)
    ends_ns = [row.start_ns for row in trace.rows[1:]] + [trace.length_ns]
    spans_ns = [end_ns - row.start_ns for row, end_ns in zip(trace.rows, ends_ns, strict=True)]
    measured = [(row.rate_bps, span_ns) for row, span_ns in zip(trace.rows, spans_ns, strict=True)]
    rates = [(bps, span_ns) for bps, span_ns in measured if bps is not None]
    mean_bps = _mean([bps for bps, _ in rates], [span_ns for _, span_ns in rates])
    factor = rate_bps / mean_bps if mean_bps else 1.0  # nothing but pauses: they stay
    scaled = iter(_scaled([bps for bps, _ in rates], factor))
    return replace(
        trace, rows=tuple(row if row.rate_bps is None else row._replace(rate_bps=next(scaled)) for row in trace.rows)
    )


def _mean(rates: Sequence[int], spans: Sequence[float]) -> float:
    return sum(bps * span for bps, span in zip(rates, spans, strict=True)) / sum(spans)


def _scaled(rates: Sequence[int], factor: float) -> list[int]:
    """Each times ``factor``; what carried something still does."""
    return [max(1, round(bps * factor)) if bps else 0 for bps in rates]
