"""Trace files: our CSV of both directions, and mahimahi's lists of chances to send.

The CSV begins with ``t_ms,down_bps,up_bps,delay_ms,loss``. A row holds from its ``t_ms`` until the next one's, an
empty cell was not measured, and the last line has only the ``t_ms`` of the end. ``delay_ms`` is one way, ``loss`` a
share from 0 to 1; both count for each direction. "up" is the way from the mobile end. Ping logs: ``ping_logs``.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import accumulate
from pathlib import Path

from link_sim.errors import ProfileError
from link_sim.traces.trace import LinkTrace, TraceRow

CSV_HEADER = "t_ms,down_bps,up_bps,delay_ms,loss"
_NS_PER_MS = 1_000_000
_LONGEST_MS = 1e11  # three years: what is beyond is another unit
_LIMITS = {"t_ms": _LONGEST_MS, "down_bps": 1e13, "up_bps": 1e13, "delay_ms": 3.6e6, "loss": 1.0}
_BYTES_MAX = 256 << 20  # a day of pings ten times a second is a hundredth of it


class Way(Enum):
    """The direction a trace is asked for."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class PathTrace:
    """Both directions of a recorded link; None where a file tells of one only."""

    name: str
    up: LinkTrace | None
    down: LinkTrace | None

    def way(self, way: Way) -> LinkTrace:
        """One direction. Raises ProfileError when the file tells of the other only."""
        found = self.up if way is Way.UP else self.down
        if found is None:
            raise ProfileError(f"trace {self.name}: it tells nothing of {way.value}")
        return found


def read_trace(path: Path) -> PathTrace:
    """A trace by the suffix of its file: .csv, .up, .down, .log or .txt of ping, .json of irtt. Raises ProfileError."""
    if path.suffix == ".csv":
        return read_csv(path)
    if path.suffix in (".up", ".down"):
        trace = read_mahimahi(path)
        is_up = path.suffix == ".up"
        return PathTrace(name=path.name, up=trace if is_up else None, down=None if is_up else trace)
    if path.suffix in (".log", ".txt", ".json"):
        from link_sim.traces.ping_logs import read_irtt, read_ping  # they need this module's PathTrace

        return read_irtt(path) if path.suffix == ".json" else read_ping(path)
    raise ProfileError(f"trace {path}: suffix {path.suffix!r}: allowed is .csv, .up, .down, .log, .txt or .json")


def read_lines(path: Path) -> list[str]:
    """The lines of a text file. Raises ProfileError."""
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise ProfileError(f"trace {path}: allowed is a file of at most {_BYTES_MAX} bytes")
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"trace {path}: {error}") from error


def read_csv(path: Path) -> PathTrace:
    """Both directions of our CSV. Raises ProfileError naming file, line, field, value and what is allowed."""
    lines = read_lines(path)
    if not lines or lines[0].strip().removeprefix("\ufeff") != CSV_HEADER:
        raise ProfileError(f"{path}: line 1: {lines[0] if lines else ''!r}: allowed is {CSV_HEADER}")
    up: list[TraceRow] = []
    down: list[TraceRow] = []
    last_ms = -1.0
    end_ns = 0
    for number, line in enumerate(lines[1:], 2):
        cells = _cells(f"{path}: line {number}", line)
        t_ms, down_bps, up_bps, delay_ms, loss_ratio = cells
        if t_ms is None or t_ms <= last_ms or (number == 2 and t_ms != 0):
            allowed = "0 in the first row" if number == 2 else f"above {last_ms:g}, that of the line before"
            raise ProfileError(f"{path}: line {number}: t_ms {line.split(',')[0]!r}: allowed is {allowed}")
        last_ms, end_ns = t_ms, round(t_ms * _NS_PER_MS)
        if number == len(lines) and cells[1:] == [None] * 4:
            break
        delay_ns = None if delay_ms is None else round(delay_ms * _NS_PER_MS)
        down.append(TraceRow(end_ns, _whole(down_bps), delay_ns, loss_ratio))
        up.append(TraceRow(end_ns, _whole(up_bps), delay_ns, loss_ratio))
    else:
        raise ProfileError(f"{path}: line {len(lines)}: the last line must hold only t_ms, the end of the trace")
    if not up:
        raise ProfileError(f"{path}: line 2: it ends before its first row")
    name = path.stem
    return PathTrace(
        name=name,
        up=LinkTrace(name=name, length_ns=end_ns, rows=tuple(up)),
        down=LinkTrace(name=name, length_ns=end_ns, rows=tuple(down)),
    )


def _cells(where: str, line: str) -> list[float | None]:
    texts = [text.strip() for text in line.split(",")]
    texts += [""] * (len(_LIMITS) - len(texts)) if len(texts) == 1 else []
    if len(texts) != len(_LIMITS):
        raise ProfileError(f"{where}: {len(texts)} fields: allowed are {len(_LIMITS)}, {CSV_HEADER}")
    cells: list[float | None] = []
    for (field, most), text in zip(_LIMITS.items(), texts, strict=True):
        try:
            number = float(text) if text else None
        except ValueError:
            number = math.nan
        if number is not None and not 0 <= number <= most:  # nan compares false, and is refused here too
            raise ProfileError(f"{where}: {field} {text!r}: allowed is 0 to {most:g}, or nothing for not measured")
        cells.append(number)
    return cells


def _whole(rate_bps: float | None) -> int | None:
    return None if rate_bps is None else round(rate_bps)


def write_csv(trace: PathTrace, path: Path) -> None:
    """Write our CSV; what ``read_csv`` then gives has the same rows. Raises ProfileError for what it cannot hold.

    It holds one delay and one loss for both directions, and rates only as rows (``trace_edit.binned`` makes rows of
    chances to send).
    """
    up, down = trace.up, trace.down
    for each in (up, down):
        if each is not None and each.opportunities_ns:
            raise ProfileError(f"trace {each.name}: chances to send have no place in a CSV; bin them first")
    ways = [each for each in (up, down) if each is not None]
    if not ways or any(each.length_ns != ways[0].length_ns for each in ways):
        raise ProfileError(f"trace {trace.name}: both directions of a CSV have one length; cut them")
    lines = [CSV_HEADER]
    for start_ns in sorted({row.start_ns for each in ways for row in each.rows}):
        rows = [each.row_at(start_ns) for each in ways]
        if any((row.delay_ns, row.loss_ratio) != (rows[0].delay_ns, rows[0].loss_ratio) for row in rows):
            at = f"at {_milliseconds(start_ns)} ms"
            raise ProfileError(
                f"trace {trace.name}: {at} the directions differ in delay or loss; write a file for each"
            )
        down_bps = None if down is None else down.row_at(start_ns).rate_bps
        up_bps = None if up is None else up.row_at(start_ns).rate_bps
        delay_ms = None if rows[0].delay_ns is None else _milliseconds(rows[0].delay_ns)
        cells = (_milliseconds(start_ns), down_bps, up_bps, delay_ms, rows[0].loss_ratio)
        lines.append(",".join("" if cell is None else str(cell) for cell in cells))
    lines.append(f"{_milliseconds(ways[0].length_ns)},,,,")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _milliseconds(span_ns: int) -> str:
    """Exactly, without zeros at the end."""
    whole, rest = divmod(span_ns, _NS_PER_MS)
    return f"{whole}.{rest:06d}".rstrip("0") if rest else str(whole)


def read_mahimahi(path: Path) -> LinkTrace:
    """A list of chances to send 1,500 bytes each, in milliseconds. It begins again after its last line.

    Raises ProfileError naming file, line, value and what is allowed.
    """
    times_ms: list[int] = []
    for number, line in enumerate(read_lines(path), 1):
        text = line.strip()
        last_ms = times_ms[-1] if times_ms else 0
        if not text.isascii() or not text.isdigit() or not last_ms <= int(text) <= _LONGEST_MS:
            raise ProfileError(
                f"{path}: line {number}: time {text!r}: allowed is a whole number of milliseconds, {last_ms} or more"
            )
        times_ms.append(int(text))
    if not times_ms or times_ms[-1] == 0:
        raise ProfileError(f"{path}: line {max(1, len(times_ms))}: allowed is one time above 0 or more")
    return mahimahi_trace(path.name, times_ms)


def mahimahi_trace(name: str, times_ms: Sequence[int]) -> LinkTrace:
    """A trace of chances to send, which do not fall and whose last one is where it begins again."""
    times_ns = tuple(time_ms * _NS_PER_MS for time_ms in times_ms)
    return LinkTrace(name=name, length_ns=times_ns[-1], opportunities_ns=times_ns)


def write_mahimahi(trace: LinkTrace, path: Path) -> None:
    """Write the chances to send, each in the millisecond in which it is over (mahimahi knows whole ones).

    A trace of rates becomes chances first: one for each 12,000 bits that have passed. Raises ProfileError.
    """
    times_ns = trace.opportunities_ns or chances_ns(trace)
    if not times_ns:
        raise ProfileError(f"trace {trace.name}: it carries less than one frame of 1,500 bytes, or has no rates")
    lines = (str(-(-time_ns // _NS_PER_MS)) for time_ns in times_ns)
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def chances_ns(trace: LinkTrace) -> tuple[int, ...]:
    """When each 12,000 bits of a trace of rates have passed, in one round; rows without a rate pass nothing."""
    work, chance = 0, 1500 * 8 * 1_000_000_000
    times_ns: list[int] = []
    ends_ns = [row.start_ns for row in trace.rows[1:]] + [trace.length_ns]
    for row, end_ns in zip(trace.rows, ends_ns, strict=True):
        rate_bps, at_ns = row.rate_bps or 0, row.start_ns
        while rate_bps and work + rate_bps * (end_ns - at_ns) >= chance:
            span_ns = -(-(chance - work) // rate_bps)
            at_ns += span_ns
            work += rate_bps * span_ns - chance
            times_ns.append(at_ns)
        work += rate_bps * (end_ns - at_ns)
    return tuple(times_ns)


def with_loop(trace: LinkTrace, *, loops: bool) -> LinkTrace:
    """The same trace, beginning again at its end or not. Raises ProfileError for chances to send, which always do."""
    if trace.opportunities_ns and not loops:
        raise ProfileError(f"trace {trace.name}: a list of chances to send always begins again")
    return replace(trace, loops=loops)


def rows_of(spans: Iterable[tuple[int, TraceRow]]) -> tuple[tuple[TraceRow, ...], int]:
    """Rows one after another from spans of (length ns, row), with the length of all."""
    given = [(span_ns, row) for span_ns, row in spans if span_ns > 0]
    starts = [0, *accumulate(span_ns for span_ns, _ in given)]
    rows = tuple(row._replace(start_ns=start_ns) for start_ns, (_, row) in zip(starts, given, strict=False))
    return rows, starts[-1]
