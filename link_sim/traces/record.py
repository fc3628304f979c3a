"""Traces of the agent's own measurements, to replay in a test; ``edge-agent record`` writes the same as a file."""

from collections.abc import Sequence

from edge_agent.link_record import LinkSample, TraceLine, trace_lines
from link_sim.errors import ProfileError
from link_sim.link.services import NS_PER_S
from link_sim.traces.files import PathTrace
from link_sim.traces.trace import LinkTrace, TraceRow

_NS_PER_US = 1000

__all__ = ["LinkSample", "trace_of"]


def trace_of(samples: Sequence[LinkSample], name: str = "recorded") -> PathTrace:
    """Both directions, as far as one end knows them: up is the way from it. Raises ProfileError for less than two."""
    try:
        lines = trace_lines(samples)
    except ValueError as error:
        raise ProfileError(f"trace {name}: {error}") from error
    length_ns = _ns(lines[-1].at_s)
    if length_ns <= _ns(lines[-2].at_s):
        raise ProfileError(f"trace {name}: times of samples must rise")
    up = tuple(_row(line, line.up_bps) for line in lines[:-1])
    down = tuple(_row(line, line.down_bps) for line in lines[:-1])
    return PathTrace(
        name=name,
        up=LinkTrace(name=name, length_ns=length_ns, rows=up),
        down=LinkTrace(name=name, length_ns=length_ns, rows=down),
    )


def _row(line: TraceLine, rate_bps: int | None) -> TraceRow:
    delay_ns = None if line.delay_s is None else _ns(line.delay_s)
    return TraceRow(_ns(line.at_s), rate_bps, delay_ns, line.loss_ratio)


def _ns(span_s: float) -> int:
    """To the microsecond, as the file has it."""
    return round(span_s * NS_PER_S / _NS_PER_US) * _NS_PER_US
