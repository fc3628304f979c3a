"""Ping logs as traces: iputils ``ping`` with or without ``-D``, and the JSON of irtt.

A round trip says nothing of its two halves: each direction gets half of it, and a ping without answer is a loss in
both, unless irtt knows which way it was lost. A row lasts from one ping to the next.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from link_sim.errors import ProfileError
from link_sim.traces.files import PathTrace, read_lines
from link_sim.traces.trace import LinkTrace, TraceRow

PING_INTERVAL_NS = 1_000_000_000  # iputils ping without -i
_ANSWER = re.compile(r"^(?:\[(\d+\.\d+)\] )?\d+ bytes from .*icmp_seq=(\d+) .*time=(\S+) ms(.*)$")
_MISSING = re.compile(r"^(?:\[(\d+\.\d+)\] )?(?:no answer yet for|From .*) icmp_seq=(\d+)")
_SEQUENCE = 1 << 16  # icmp_seq has 16 bits (RFC 792) and begins again
_LOST_UP = ("true", "true_up")
_LOST_DOWN = ("true", "true_down")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ping:
    """One ping: when it was sent, if the log tells, and its round trip, None when it was lost."""

    sent_ns: int | None
    rtt_ns: int | None
    is_lost_up: bool = False
    is_lost_down: bool = False


_GONE = _Ping(sent_ns=None, rtt_ns=None, is_lost_up=True, is_lost_down=True)


def read_ping(path: Path, *, interval_ns: int | None = None) -> PathTrace:
    """The pings of a log; numbers that are missing were lost. Raises ProfileError naming file, line and value.

    Without ``-D`` the log tells no times: then pings are ``interval_ns`` apart, 1 s when that is None.
    """
    answers: dict[int, _Ping] = {}
    rounds, last_number = 0, 0
    for line_number, line in enumerate(read_lines(path), 1):
        found = _ANSWER.match(line)
        missing = None if found else _MISSING.match(line)
        match = found or missing
        if match is None:
            continue
        number = int(match[2])
        if number < last_number - _SEQUENCE // 2:
            rounds += 1
        elif number > last_number + _SEQUENCE // 2 and rounds:
            rounds, last_number = rounds - 1, number  # an answer of before the wrap that came after it
        number_all = number + rounds * _SEQUENCE
        last_number = number
        if found is None:
            answers.setdefault(number_all, _GONE)
            continue
        rtt_ns = _rtt_ns(path, line_number, found[3])
        sent_ns = None if found[1] is None else round(float(found[1]) * 1e9) - rtt_ns
        if number_all not in answers or answers[number_all] is _GONE:  # a later (DUP!) changes nothing
            answers[number_all] = _Ping(sent_ns=sent_ns, rtt_ns=rtt_ns)
    if not any(ping.rtt_ns is not None for ping in answers.values()):
        raise ProfileError(f"{path}: no answer of ping: allowed is what iputils ping prints, such as time=12.3 ms")
    first, last = min(answers), max(answers)
    pings = [answers.get(number, _GONE) for number in range(first, last + 1)]
    return _path_trace(path, pings, interval_ns)


def _rtt_ns(path: Path, line_number: int, text: str) -> int:
    try:
        rtt_ns = round(float(text) * 1e6)
    except (ValueError, OverflowError):
        rtt_ns = -1
    if rtt_ns < 0:
        raise ProfileError(f"{path}: line {line_number}: time {text!r}: allowed is a number of milliseconds from 0")
    return rtt_ns


def read_irtt(path: Path) -> PathTrace:
    """The round trips of ``irtt client -o``. Raises ProfileError naming file, entry, field and value."""
    try:
        report = json.loads("\n".join(read_lines(path)))
        trips = report["round_trips"]
        pings = [_irtt_ping(path, number, trip) for number, trip in enumerate(trips)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProfileError(f"{path}: round_trips: {error}: allowed is the JSON that irtt client writes") from error
    if not any(ping.rtt_ns is not None for ping in pings):
        raise ProfileError(f"{path}: round_trips: none of {len(pings)} was answered: allowed is one or more")
    return _path_trace(path, pings, None)


def _irtt_ping(path: Path, number: int, trip: Mapping[str, Any]) -> _Ping:  # Any: foreign JSON
    lost = str(trip["lost"])
    sent_ns = trip["timestamps"]["client"]["send"]["monotonic"]
    rtt_ns = trip["delay"]["rtt"] if lost == "false" else None
    for field, value in (("send.monotonic", sent_ns), ("delay.rtt", rtt_ns)):
        if value is not None and (type(value) is not int or value < 0):
            raise ProfileError(f"{path}: round_trips[{number}]: {field} {value!r}: allowed are nanoseconds from 0")
    if lost not in ("false", "true", "true_up", "true_down"):
        raise ProfileError(f"{path}: round_trips[{number}]: lost {lost!r}: allowed is false, true, true_up, true_down")
    return _Ping(sent_ns=sent_ns, rtt_ns=rtt_ns, is_lost_up=lost in _LOST_UP, is_lost_down=lost in _LOST_DOWN)


def _path_trace(path: Path, pings: list[_Ping], interval_ns: int | None) -> PathTrace:
    starts_ns, length_ns = _times(pings, interval_ns)
    up, down = [], []
    for start_ns, ping in zip(starts_ns, pings, strict=True):
        delay_ns = None if ping.rtt_ns is None else ping.rtt_ns // 2
        up.append(TraceRow(start_ns, None, delay_ns, float(ping.is_lost_up)))
        down.append(TraceRow(start_ns, None, delay_ns, float(ping.is_lost_down)))
    name = path.stem
    return PathTrace(
        name=name,
        up=LinkTrace(name=name, length_ns=length_ns, rows=tuple(up)),
        down=LinkTrace(name=name, length_ns=length_ns, rows=tuple(down)),
    )


def _times(pings: list[_Ping], interval_ns: int | None) -> tuple[list[int], int]:
    """When each ping was sent, from 0 on and rising, and the length of all; gaps in the log are filled evenly."""
    known = [(at, ping.sent_ns) for at, ping in enumerate(pings) if ping.sent_ns is not None]
    if interval_ns is not None or len(known) < 2:
        step_ns = interval_ns or PING_INTERVAL_NS
        return [at * step_ns for at in range(len(pings))], len(pings) * step_ns
    step_ns = max(
        1, round(median((later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in pairwise(known)))
    )
    times_ns = [known[0][1] + (at - known[0][0]) * step_ns for at in range(known[0][0] + 1)]
    for (at, from_ns), (later_at, until_ns) in pairwise(known):
        gap = later_at - at
        times_ns += [from_ns + (until_ns - from_ns) * each // gap for each in range(1, gap + 1)]
    times_ns += [known[-1][1] + each * step_ns for each in range(1, len(pings) - known[-1][0])]
    rising: list[int] = []
    for time_ns in times_ns:  # a clock that was set back must not turn the order around
        rising.append(max(time_ns - times_ns[0], rising[-1] + 1 if rising else 0))
    return rising, rising[-1] + step_ns
