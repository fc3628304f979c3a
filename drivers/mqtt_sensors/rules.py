"""Rules that turn one MQTT message into readings, as the configuration states them. Sans-IO.

A value that is absent or no number becomes a reading without value whose quality says why; a payload that cannot be
read at all is a named drop.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import msgpack

from edge_agent.core.errors import EdgeAgentError
from edge_agent.ports import Reading

PAYLOAD_MAX_BYTES = 65_536
NAME_MAX_LENGTH = 64  # of a series in telemetry.payloads.ReadingBatch
UNIT_MAX_LENGTH = 24  # likewise
_VALUE_MAX = 1e300  # likewise
_DAY_MS = 86_400_000
_EARLIEST_MS = round(datetime(2000, 1, 1, tzinfo=UTC).timestamp() * 1000)
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*")
_TIME_UNITS_MS = MappingProxyType({"s": 1000.0, "ms": 1.0})
TIME_FORMATS = (*_TIME_UNITS_MS, "iso")
FORMATS = ("json", "msgpack")
_FIELD_KEYS = MappingProxyType({"path": str, "series": str, "unit": str, "scale": float, "offset": float})
_MAP_KEYS = MappingProxyType(
    {"topic": str, "format": str, "device": str, "time": str, "time_format": str, "fields": list, **_FIELD_KEYS}
)


class PayloadError(EdgeAgentError):
    """A message that cannot be read; the text is the name it is counted under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """One value of a payload: reading = value x scale + offset. ``path`` is dotted, "" the payload itself."""

    series: str
    path: str = ""
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRule:
    """What the messages of one topic filter hold. ``device`` may name wildcard levels: "{1}" is the first."""

    topic: str
    format: str = "json"
    device: str = ""
    time: str = ""
    time_format: str = "s"
    fields: tuple[FieldRule, ...]

    def readings(self, topic: str, payload: bytes, *, now_ms: int, is_retained: bool) -> list[Reading] | None:
        """Readings of one message, None if the topic is not of this rule. Raises PayloadError."""
        levels = wildcard_levels(self.topic, topic)
        if levels is None:
            return None
        prefix = self.device
        for number, level in enumerate(levels, 1):
            prefix = prefix.replace(f"{{{number}}}", level)
        content = _read_payload(self.format, payload)
        captured_at_ms, time_quality = self._captured_at(content, now_ms, is_retained=is_retained)
        readings = []
        for rule in self.fields:
            value, quality = _read_value(content, rule)
            series = f"{prefix}/{rule.series}" if prefix else rule.series
            if len(series) > NAME_MAX_LENGTH:
                raise PayloadError("series_name_too_long")
            readings.append(
                Reading(
                    series=series,
                    value=value,
                    unit=rule.unit,
                    captured_at_ms=captured_at_ms,
                    quality=time_quality if quality == "good" else quality,
                )
            )
        return readings

    def _captured_at(self, content: object, now_ms: int, *, is_retained: bool) -> "_Stamp":
        """When the sensor measured, else when it was heard, with what is to be said about that."""
        if not self.time:  # a retained message may be days old, and nothing in it says how old
            return _Stamp(now_ms, "retained" if is_retained else "good")
        stamp = _lookup(content, self.time)
        try:
            if self.time_format == "iso":
                if not isinstance(stamp, str):
                    return _Stamp(now_ms, "time_missing")
                moment = datetime.fromisoformat(stamp)
                stamp_ms = round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
            else:
                number = _as_number(stamp)
                if number is None:
                    return _Stamp(now_ms, "time_missing")
                stamp_ms = round(number * _TIME_UNITS_MS[self.time_format])
        except (ValueError, OverflowError):
            return _Stamp(now_ms, "time_not_valid")
        if not _EARLIEST_MS <= stamp_ms <= now_ms + _DAY_MS:
            return _Stamp(now_ms, "time_not_valid")
        return _Stamp(stamp_ms, "good")


def wildcard_levels(topic_filter: str, topic: str) -> list[str] | None:
    """The levels that ``+`` and ``#`` stood for, or None if the topic does not match (MQTT 3.1.1, 4.7)."""
    wanted, given = topic_filter.split("/"), topic.split("/")
    if given[0].startswith("$") and wanted[0] in ("+", "#"):
        return None
    levels: list[str] = []
    for number, level in enumerate(wanted):
        if level == "#":
            return [*levels, "/".join(given[number:])]
        if number >= len(given) or level not in ("+", given[number]):
            return None
        if level == "+":
            levels.append(given[number])
    return levels if len(wanted) == len(given) else None


def read_rules(rows: Sequence[object]) -> list[MapRule]:
    """The rules of ``[[driver.map]]``. Raises ValueError that names every problem."""
    problems: list[str] = []
    rules: list[MapRule] = []
    for number, row in enumerate(rows, 1):
        name = f"map #{number}"
        if not isinstance(row, Mapping):
            problems.append(f"{name}: not a table")
            continue
        before = len(problems)
        problems += _wrong_keys(name, row, _MAP_KEYS)
        fields = row.get("fields", [row] if "series" in row else [])
        if isinstance(fields, list) and not fields:
            problems.append(f"{name}: neither series nor fields given")
        if isinstance(fields, list):
            problems += _wrong_fields(name, fields, is_row=fields == [row])
        if len(problems) > before:
            continue
        problems += _wrong_values(name, row)
        if len(problems) == before:
            rules.append(_make_rule(row, fields))
    if problems:
        raise ValueError("; ".join(problems))
    return rules


def _make_rule(row: Mapping[str, Any], fields: Iterable[Mapping[str, Any]]) -> MapRule:  # Any: checked by the caller
    own = {key: row[key] for key in ("topic", "format", "device", "time", "time_format") if key in row}
    rules = tuple(FieldRule(**{key: each[key] for key in _FIELD_KEYS if key in each}) for each in fields)
    return MapRule(**own, fields=rules)


def _wrong_keys(name: str, row: Mapping[str, object], kinds: Mapping[str, type]) -> list[str]:
    problems = []
    for key, value in row.items():
        kind = kinds.get(key)
        if kind is None:
            problems.append(f"{name}: unknown key {key}; allowed: {', '.join(kinds)}")
        elif type(value) is not kind and not (kind is float and type(value) is int):
            problems.append(f"{name}: {key} = {value!r} is not a {kind.__name__}")
    return problems


def _wrong_fields(name: str, fields: Sequence[object], *, is_row: bool) -> list[str]:
    problems: list[str] = []
    for number, each in enumerate(fields, 1):
        where = name if is_row else f"{name} field #{number}"
        if not isinstance(each, Mapping):
            problems.append(f"{where}: not a table")
            continue
        if not is_row:
            problems += _wrong_keys(where, each, _FIELD_KEYS)
        series, unit = each.get("series", ""), each.get("unit", "")
        if not (isinstance(series, str) and 0 < len(series) <= NAME_MAX_LENGTH):
            problems.append(f"{where}: series = {series!r}: 1 to {NAME_MAX_LENGTH} characters")
        if not (isinstance(unit, str) and len(unit) <= UNIT_MAX_LENGTH):
            problems.append(f"{where}: unit = {unit!r}: at most {UNIT_MAX_LENGTH} characters")
        for key in ("scale", "offset"):
            number_given = each.get(key, 1.0)
            if isinstance(number_given, float) and not math.isfinite(number_given):
                problems.append(f"{where}: {key} = {number_given!r}: a finite number")
    return problems


def _wrong_values(name: str, row: Mapping[str, Any]) -> list[str]:  # Any: of the kinds in _MAP_KEYS
    problems = []
    topic, device = row.get("topic", ""), row.get("device", "")
    levels = topic.split("/")
    is_wrong = any(("+" in level or "#" in level) and len(level) > 1 for level in levels) or "#" in levels[:-1]
    if not topic or is_wrong or "\0" in topic:
        problems.append(f"{name}: topic = {topic!r}: an MQTT topic filter such as gas/+/state")
    wildcards = sum(level in ("+", "#") for level in levels)
    problems += [
        f"{name}: device = {device!r}: {{{reference}}} is not one of {wildcards} wildcard levels"
        for reference in re.findall(r"\{([^}]*)\}", device)
        if not reference.isdecimal() or not 1 <= int(reference) <= wildcards
    ]
    for key, allowed in (("format", FORMATS), ("time_format", TIME_FORMATS)):
        if row.get(key, allowed[0]) not in allowed:
            problems.append(f"{name}: {key} = {row[key]!r}: allowed: {', '.join(allowed)}")
    return problems


class _Stamp(NamedTuple):
    """A time and what is to be said about it."""

    captured_at_ms: int
    quality: str


def _read_payload(payload_format: str, payload: bytes) -> object:
    if len(payload) > PAYLOAD_MAX_BYTES:
        raise PayloadError("payload_too_large")
    try:
        if payload_format == "json":
            return json.loads(payload)
        return msgpack.unpackb(payload, strict_map_key=False)
    except (ValueError, RecursionError, msgpack.UnpackException, TypeError) as error:
        raise PayloadError(f"payload_not_{payload_format}") from error


_MISSING = object()


def _lookup(content: object, path: str) -> object:
    """What stands at the dotted path, _MISSING if nothing does. A number picks from a list."""
    for part in path.split(".") if path else ():
        if isinstance(content, Mapping) and part in content:
            content = content[part]
        elif isinstance(content, list) and part.isdecimal() and len(part) < 6 and int(part) < len(content):
            content = content[int(part)]
        else:
            return _MISSING
    return content


def _as_number(value: object) -> float | None:
    """A number, a switch as 0 or 1, or a text that is just a number; None for anything else."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    if isinstance(value, bool | int | float):
        return float(value)
    return None


def _read_value(content: object, rule: FieldRule) -> "_Value":
    found = _lookup(content, rule.path)
    if found is _MISSING or found is None:
        return _Value(None, "missing")
    try:
        number = _as_number(found)
    except OverflowError:  # an integer beyond any float
        return _Value(None, "out_of_range")
    if number is None or math.isnan(number):
        return _Value(None, "not_a_number")
    scaled = number * rule.scale + rule.offset
    if not -_VALUE_MAX <= scaled <= _VALUE_MAX:
        return _Value(None, "out_of_range")
    return _Value(scaled, "good")


class _Value(NamedTuple):
    """A value, or None, and its quality."""

    value: float | None
    quality: str
