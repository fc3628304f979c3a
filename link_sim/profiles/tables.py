"""Profiles as tables of plain values: from TOML, from HTTP control, and back."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from link_sim.errors import ProfileError
from link_sim.link.delays import JitterShape
from link_sim.link.link_profile import LinkProfile
from link_sim.link.queues import QueueKind
from link_sim.profiles.measured import find_trace
from link_sim.traces.files import Way, with_loop
from link_sim.traces.trace import LinkTrace

_ENUMS: Mapping[str, type[JitterShape] | type[QueueKind]] = MappingProxyType(
    {"jitter_shape": JitterShape, "queue_kind": QueueKind}
)
_MAY_BE_NONE = frozenset(
    (
        "rate_bps",
        "burst_bytes",
        "mtu_bytes",
        "trace",
        "schedule_period_s",
        "interval_s",
        "poll_s",
        "step_period_s",
        "queue_s",
    )
)
_LOOP = "trace_loop"


def profile_from(
    where: str,
    table: Mapping[str, Any],  # Any: it comes from outside, and is judged here
    base: LinkProfile | None = None,
    *,
    way: Way | None = None,
    folder: Path | None = None,
) -> LinkProfile:
    """``base`` with the numbers of ``table``, which may hold anything. Raises ProfileError naming field and value.

    ``trace`` is a trace, the name of a shipped one, or a file, relative to ``folder``; ``way`` says which of its
    directions, else its text must ("FILE#up"). ``trace_loop`` false: its last row holds on. An empty ``rate_schedule``
    takes its period with it.
    """
    base = base or LinkProfile()
    numbers = {each.name: getattr(base, each.name) for each in fields(LinkProfile)}
    if table.get("rate_schedule") == []:  # TOML has no word for none, and an empty schedule cannot have a period
        numbers["schedule_period_s"] = None
    for name, value in table.items():
        if name not in numbers and name != _LOOP:
            known = ", ".join(sorted([*numbers, _LOOP]))
            raise ProfileError(f"{where}: {name} is not known; allowed are {known}")
        try:
            if name == "trace" and isinstance(value, str):
                numbers[name] = find_trace(value, way=way, folder=folder)
            elif name != _LOOP:
                numbers[name] = _read(name, value)
        except ProfileError as error:
            raise ProfileError(f"{where}: {name} {value!r} {error}") from error
    try:
        if _LOOP in table:
            numbers["trace"] = _looped(numbers["trace"], table[_LOOP])
        return LinkProfile(**numbers)
    except ProfileError as error:
        raise ProfileError(f"{where}: {error}") from error


def _looped(trace: LinkTrace | None, value: object) -> LinkTrace:
    if not isinstance(value, bool):
        raise ProfileError(f"{_LOOP} {value!r} is neither true nor false")
    if trace is None:
        raise ProfileError(f"{_LOOP} {value!r}: trace is missing")
    return with_loop(trace, loops=value)


def _read(name: str, value: object) -> object:
    """One value as LinkProfile has it. Raises ProfileError saying what it is not."""
    if value is None and name in _MAY_BE_NONE:
        return None
    if name in _ENUMS:
        kind = _ENUMS[name]
        try:
            return kind(value)
        except ValueError as error:
            raise ProfileError(f"is not one of {', '.join(each.value for each in kind)}") from error
    if name == "reorders":
        if not isinstance(value, bool):
            raise ProfileError("is neither true nor false")
        return value
    if name == "lost_frames":
        if not isinstance(value, (list, tuple)) or not all(type(each) is int for each in value):
            raise ProfileError("is not a list of whole numbers")
        return tuple(value)
    if name == "rate_schedule":
        return _read_schedule(value)
    if name == "trace":
        if not isinstance(value, LinkTrace):
            raise ProfileError("is not a trace")
        return value
    is_whole = not name.endswith(("_s", "_ratio")) and name != "price_per_frame"
    if isinstance(value, bool) or not isinstance(value, int if is_whole else (int, float)):
        raise ProfileError(f"is not {'a whole number' if is_whole else 'a number'}")
    return value


def _read_schedule(value: object) -> tuple[tuple[float, int], ...]:
    if isinstance(value, (list, tuple)):
        pairs = [tuple(each) for each in value if isinstance(each, (list, tuple)) and len(each) == 2]
        if len(pairs) == len(value) and all(type(at) in (int, float) and type(bps) is int for at, bps in pairs):
            return tuple((float(at), bps) for at, bps in pairs)
    raise ProfileError("is not a list of [from seconds, bit/s], such as [[0, 64000], [12.5, 9600]]")


def profile_table(numbers: LinkProfile) -> dict[str, object]:
    """A profile as a table of plain values, as ``profile_from`` takes it; a trace by its name."""
    table: dict[str, object] = {each.name: getattr(numbers, each.name) for each in fields(LinkProfile)}
    table |= {name: getattr(numbers, name).value for name in _ENUMS}
    table["trace"] = None if numbers.trace is None else numbers.trace.name
    return table
