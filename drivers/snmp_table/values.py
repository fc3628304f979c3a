"""The table of OIDs: what each value of a device is called, how it is scaled, and what it means for a link. Sans-IO.

A value that is absent or no number is no value, and says so; nothing is invented.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from edge_agent.core.link_hint import POOR_QUALITY, LinkHint
from edge_agent.ports import Reading

VALUES_MAX = 32
"""Of one device: they fit one request."""
MEANINGS = ("snr_db", "signal_dbm", "rate_bps", "up")
NAME_MAX_LENGTH, UNIT_MAX_LENGTH = 64, 24  # as in telemetry.payloads.ReadingBatch
_OID = re.compile(r"\.?[012](\.[0-9]{1,10}){1,127}")
_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?)(?![0-9.eE])")
"""A figure at the front of a text: devices say "7.4 dB"."""
_KINDS: Mapping[str, type] = MappingProxyType(
    {
        "oid": str,
        "series": str,
        "unit": str,
        "scale": float,
        "offset": float,
        "means": str,
        "poor": float,
        "good": float,
        "up": list,
    }
)

Told = str | int | None
"""What a device said: a number, a text, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRule:
    """One value: told x scale + offset. ``series`` "": no reading is made of it. ``means``: what it says of the link.

    ``poor`` and ``good``: where a signal begins to be weak, and where it has nothing to fear. ``up``: what the device
    says while it is connected, before scaling.
    """

    oid: str
    series: str = ""
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    means: str = ""
    poor: float | None = None
    good: float | None = None
    up: tuple[int, ...] = ()

    def value(self, told: Told) -> float | None:
        """The scaled value; None for what is no number."""
        number = _as_number(told)
        if number is None:
            return None
        value = number * self.scale + self.offset
        return value if math.isfinite(value) else None

    def reading(self, told: Told, now_ms: int) -> Reading:
        """What the device said as a reading, without value where that cannot be."""
        value = self.value(told)
        quality = "good" if value is not None else "missing" if told is None else "not_a_number"
        return Reading(series=self.series, value=value, unit=self.unit, captured_at_ms=now_ms, quality=quality)

    def quality(self, value: float) -> float | None:
        """0 to 1 for a signal whose limits are known: a quarter where it begins to be weak."""
        if self.poor is None or self.good is None:
            return None
        share = POOR_QUALITY + (1 - POOR_QUALITY) * (value - self.poor) / (self.good - self.poor)
        return max(0.0, min(1.0, share))


def hint_of(rules: Sequence[ValueRule], told: Mapping[str, Told], good_for_s: float) -> LinkHint | None:
    """What all values together say of the link; None when that is nothing. The node judges whether it can be."""
    values: dict[str, float] = {}
    qualities: list[float] = []
    is_up: bool | None = None
    for rule in rules:
        value = rule.value(told.get(rule.oid))
        if not rule.means or value is None:
            continue
        if rule.means == "up":
            is_up = is_up is not False and _as_number(told.get(rule.oid)) in rule.up
            continue
        values[rule.means] = value
        quality = rule.quality(value)
        if quality is not None:
            qualities.append(quality)
    if is_up is None and not values:
        return None
    return LinkHint(
        quality=min(qualities, default=None),
        is_up=is_up,
        rate_bps=values.get("rate_bps"),
        signal_dbm=values.get("signal_dbm"),
        snr_db=values.get("snr_db"),
        good_for_s=good_for_s,
    )


def read_rules(tables: Sequence[object]) -> list[ValueRule]:
    """The rules of ``[[driver.value]]`` tables. Raises ValueError with every fault, one a line."""
    faults: list[str] = []
    rules: list[ValueRule] = []
    if len(tables) > VALUES_MAX:
        faults.append(f"value: {len(tables)} tables; allowed: at most {VALUES_MAX}")
    for number, table in enumerate(tables, 1):
        found = [f"value {number}: {fault}" for fault in _faults_of(table)]
        faults += found
        if not found:
            assert isinstance(table, Mapping)
            rules.append(ValueRule(**{**table, "oid": table["oid"].lstrip("."), "up": tuple(table.get("up", ()))}))
    for what, names in (("oid", [rule.oid for rule in rules]), ("series", [r.series for r in rules if r.series])):
        twice = sorted({name for name in names if names.count(name) > 1})
        faults += [f"{what} {name!r} is given twice" for name in twice]
    if faults:
        raise ValueError("\n".join(faults))
    return rules


def _faults_of(table: object) -> list[str]:
    if not isinstance(table, Mapping):
        return [f"{table!r}: allowed: a table with oid"]
    faults = [f"{key}: no such key; allowed: {', '.join(_KINDS)}" for key in table if key not in _KINDS]
    for key, kind in _KINDS.items():
        if key in table and not _is_of(table[key], kind):
            faults.append(f"{key} {table[key]!r}: allowed: {_said(kind)}")
    if faults:
        return faults
    return [fault for fault in _rules_between(table) if fault]


def _rules_between(table: Mapping[str, Any]) -> list[str]:  # Any: of the kinds in _KINDS
    oid, means = str(table.get("oid", "")), table.get("means", "")
    poor, good = table.get("poor"), table.get("good")
    is_signal = means in ("snr_db", "signal_dbm")
    return [
        "" if _OID.fullmatch(oid) else f'oid {oid!r}: allowed: numbers such as "1.3.6.1.4.1.18723.5975.1.3.0"',
        "" if means in ("", *MEANINGS) else f"means {means!r}: allowed: {', '.join(MEANINGS)}",
        "" if means or table.get("series") else "series or means is missing: nobody would see this value",
        "" if len(table.get("series", "")) <= NAME_MAX_LENGTH else f"series: allowed: {NAME_MAX_LENGTH} characters",
        "" if len(table.get("unit", "")) <= UNIT_MAX_LENGTH else f"unit: allowed: {UNIT_MAX_LENGTH} characters",
        "" if (poor is None and good is None) or is_signal else "poor, good: allowed with means = snr_db or signal_dbm",
        "" if (poor is None) == (good is None) else "poor, good: allowed: both or neither",
        "" if poor is None or good is None or poor < good else f"poor {poor} is not below good {good}",
        "" if (means == "up") == bool(table.get("up")) else 'up: allowed: whole numbers, with means = "up" only',
    ]


def _is_of(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is list:
        return isinstance(value, list) and all(isinstance(each, int) and not isinstance(each, bool) for each in value)
    return isinstance(value, kind)


def _said(kind: type) -> str:
    return {str: "a text", float: "a number", list: "a list of whole numbers"}[kind]


def _as_number(told: Told) -> float | None:
    if isinstance(told, int):
        return float(told)
    match = _NUMBER.match(told) if told else None
    return float(match[1]) if match else None
