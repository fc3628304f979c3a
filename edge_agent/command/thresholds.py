"""Readings against the limits that the command post was given: which of them become an alarm, and when that is over.

A kit's own thresholds need no link and come as bundles; these watch what arrived, for series that nobody watches there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_agent.command.alarm import Alarm, admit_alike
from edge_agent.command.limits import ReadingLimit, limit_of
from edge_agent.command.unit import Unit

BACK_NEARNESS = 0.95
"""A value counts as back this far within its limit: one that trembles about it is one alarm, not a hundred an hour."""


@dataclass(slots=True)
class Verdict:
    """``touched``: ids of alarms that changed; ``raised``: the words of an alarm that is new, else empty."""

    touched: list[str] = field(default_factory=list)
    raised: str = ""


def judge(alarms: list[Alarm], limits: Sequence[ReadingLimit], unit: Unit, series: str, received_ms: int) -> Verdict:
    """Raise or end what the newest value of ``series`` calls for. A missing value tells nothing."""
    reading = unit.readings[series]
    limit = limit_of(limits, unit.id, series)
    nearness = 0.0 if limit is None else limit.nearness(reading["value"])
    if nearness is None:
        return Verdict()
    if limit is not None and nearness >= 1 and series not in unit.beyond:
        unit.beyond.append(series)
        return _raise(alarms, limit, unit, series, received_ms)
    if nearness < BACK_NEARNESS and series in unit.beyond:
        unit.beyond.remove(series)
        return _end(alarms, unit, series, received_ms)
    return Verdict()


def _raise(alarms: list[Alarm], limit: ReadingLimit, unit: Unit, series: str, received_ms: int) -> Verdict:
    reading = unit.readings[series]
    kind = "threat" if limit.life_threat else "alarm"
    text = f"{series} {reading['value']:g} {reading['unit_text']}".rstrip()
    known = [each for each in _open(alarms, unit, series) if each.kind == kind]
    for alarm in known:  # it was not over: the value had come back and nobody had taken it yet
        alarm.ends.pop(unit.id, None)
        alarm.text = text if len(alarm.units) == 1 else alarm.text
    if known:
        return Verdict(touched=[alarm.id for alarm in known])
    alarm = Alarm(
        id=f"{kind}-{unit.id}-{series}-{received_ms}",
        kind=kind,
        units=[unit.id],
        raised_ms=reading["captured_ms"],
        received_ms=received_ms,
        via=[unit.last_link] if unit.last_link else [],
        text=text,
        series=series,
        position=unit.position,
    )
    return Verdict(touched=admit_alike(alarms, alarm), raised=text)


def _end(alarms: list[Alarm], unit: Unit, series: str, received_ms: int) -> Verdict:
    over = [alarm for alarm in _open(alarms, unit, series) if alarm.kind == "threat"]
    for alarm in over:
        alarm.clear_unit(unit.id, received_ms)
    return Verdict(touched=[alarm.id for alarm in over])


def _open(alarms: list[Alarm], unit: Unit, series: str) -> list[Alarm]:
    """Alarms about this series of this unit that are not over."""
    return [alarm for alarm in alarms if alarm.is_open and alarm.series == series and unit.id in alarm.units]
