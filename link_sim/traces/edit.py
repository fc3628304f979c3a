"""Traces made of traces: loop, stretch, scale, cut, stitch, bin. Each gives a new one; none changes what it was given.

A list of chances to send (mahimahi) ends with its last chance, for there it begins again: a silence after the last
chance that a cut leaves is not kept.
"""

from bisect import bisect_left, bisect_right
from dataclasses import replace

from link_sim.errors import ProfileError
from link_sim.link.services import NS_PER_S, OPPORTUNITY_BYTES
from link_sim.traces.files import rows_of
from link_sim.traces.trace import LinkTrace, TraceRow

_LONGEST_NS = 10**18  # thirty years


def loop(trace: LinkTrace, rounds: int) -> LinkTrace:
    """The trace ``rounds`` times, one after another. Raises ProfileError."""
    if rounds < 1:
        raise ProfileError(f"trace {trace.name}: rounds {rounds}: allowed is 1 or more")
    return stitch(trace.name, *[trace] * rounds)


def stretch(trace: LinkTrace, factor: float) -> LinkTrace:
    """Everything lasts ``factor`` times as long: rates and delays stay, outages and chances to send move apart."""
    if not 0 < factor * trace.length_ns <= _LONGEST_NS:
        raise ProfileError(f"trace {trace.name}: factor {factor}: allowed is above 0")
    rows = tuple(row._replace(start_ns=round(row.start_ns * factor)) for row in trace.rows)
    chances_ns = tuple(round(time_ns * factor) for time_ns in trace.opportunities_ns)
    return replace(trace, rows=rows, opportunities_ns=chances_ns, length_ns=round(trace.length_ns * factor))


def scale(trace: LinkTrace, *, rate: float = 1.0, delay: float = 1.0, loss: float = 1.0) -> LinkTrace:
    """Other amounts at the same times; losses end at 1, chances to send are left out or repeated evenly.

    Raises ProfileError.
    """
    for name, factor in (("rate", rate), ("delay", delay), ("loss", loss)):
        if not 0 <= factor < 1e6:
            raise ProfileError(f"trace {trace.name}: {name} {factor}: allowed is 0 to 1e6")
    rows = tuple(
        TraceRow(
            row.start_ns,
            None if row.rate_bps is None else round(row.rate_bps * rate),
            None if row.delay_ns is None else round(row.delay_ns * delay),
            None if row.loss_ratio is None else min(1.0, row.loss_ratio * loss),
        )
        for row in trace.rows
    )
    chances_ns: list[int] = []
    for number, time_ns in enumerate(trace.opportunities_ns):
        chances_ns += [time_ns] * (int((number + 1) * rate) - int(number * rate))
    if trace.opportunities_ns and not chances_ns:
        raise ProfileError(f"trace {trace.name}: rate {rate}: no chance to send is left")
    length_ns = chances_ns[-1] if chances_ns else trace.length_ns
    return replace(trace, rows=rows, opportunities_ns=tuple(chances_ns), length_ns=length_ns)


def cut(trace: LinkTrace, from_s: float, until_s: float) -> LinkTrace:
    """The part from ``from_s`` until ``until_s``, beginning at 0. Raises ProfileError for what is not in it."""
    from_ns, until_ns = round(from_s * NS_PER_S), round(until_s * NS_PER_S)
    if not 0 <= from_ns < until_ns <= trace.length_ns:
        length_s = trace.length_ns / NS_PER_S
        raise ProfileError(
            f"trace {trace.name}: cut {from_s:g} to {until_s:g} s: allowed is within 0 to {length_s:g} s"
        )
    if trace.opportunities_ns:
        times_ns = trace.opportunities_ns
        # after its start and up to its end, so that the parts of one trace hold each chance once
        first = bisect_right(times_ns, from_ns) if from_ns else 0
        kept = tuple(time_ns - from_ns for time_ns in times_ns[first : bisect_right(times_ns, until_ns)])
        if not kept or kept[-1] == 0:
            raise ProfileError(f"trace {trace.name}: cut {from_s:g} to {until_s:g} s: no chance to send is in it")
        return replace(trace, opportunities_ns=kept, length_ns=kept[-1])
    starts_ns = [row.start_ns for row in trace.rows]
    first, last = bisect_right(starts_ns, from_ns) - 1, bisect_left(starts_ns, until_ns)
    rows = [row._replace(start_ns=max(0, row.start_ns - from_ns)) for row in trace.rows[first:last]]
    return replace(trace, rows=tuple(rows), length_ns=until_ns - from_ns)


def stitch(name: str, *traces: LinkTrace) -> LinkTrace:
    """One trace after another, all of rows or all of chances to send. Raises ProfileError."""
    if not traces:
        raise ProfileError(f"trace {name}: nothing to stitch")
    if len({bool(each.opportunities_ns) for each in traces}) > 1:
        raise ProfileError(f"trace {name}: rows and chances to send do not stitch; bin the chances first")
    rows: list[TraceRow] = []
    chances_ns: list[int] = []
    at_ns = 0
    for each in traces:
        rows += [row._replace(start_ns=row.start_ns + at_ns) for row in each.rows]
        chances_ns += [time_ns + at_ns for time_ns in each.opportunities_ns]
        at_ns += each.length_ns
    loops = traces[-1].loops
    return LinkTrace(name=name, length_ns=at_ns, loops=loops, rows=tuple(rows), opportunities_ns=tuple(chances_ns))


def binned(trace: LinkTrace, bin_ms: int = 100) -> LinkTrace:
    """Chances to send as rates over bins of ``bin_ms``; what is after the last whole bin is left out.

    A chance at 100 ms is in the second bin of 100 ms, one at the end in the last. Raises ProfileError.
    """
    if not trace.opportunities_ns:
        raise ProfileError(f"trace {trace.name}: it has no chances to send to bin")
    bin_ns = bin_ms * 1_000_000
    if bin_ns < 1 or trace.length_ns < bin_ns:
        raise ProfileError(f"trace {trace.name}: bin_ms {bin_ms}: allowed is 1 to {trace.length_ns // 1_000_000}")
    counts = [0] * (trace.length_ns // bin_ns)
    for time_ns in trace.opportunities_ns:
        if time_ns <= len(counts) * bin_ns:
            counts[min(time_ns // bin_ns, len(counts) - 1)] += 1
    bits = OPPORTUNITY_BYTES * 8
    rows, length_ns = rows_of((bin_ns, TraceRow(0, count * bits * NS_PER_S // bin_ns)) for count in counts)
    return LinkTrace(name=trace.name, length_ns=length_ns, loops=trace.loops, rows=rows)
