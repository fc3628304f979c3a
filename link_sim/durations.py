"""Durations in words: "60s", "250ms", "2m", "1h30m"."""

import re

from link_sim.errors import ProfileError

ALLOWED = 'a duration with its unit: "250ms", "60s", "2m", "1h30m"'
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds(text: object) -> float:
    """Seconds of a duration. Raises ProfileError saying what is allowed."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        raise ProfileError(f'{text}: a unit is missing, write "{text}s"; allowed: {ALLOWED}')
    if not isinstance(text, str):
        raise ProfileError(f"{text!r}: allowed: {ALLOWED}")
    compact = text.replace(" ", "")
    if compact.startswith("-"):
        raise ProfileError(f'"{text}": time runs forward, write "{text.strip(" -")}"; allowed: {ALLOWED}')
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ProfileError(f'"{text}": allowed: {ALLOWED}')
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def is_duration(text: object) -> bool:
    """Whether ``seconds`` takes it."""
    try:
        seconds(text)
    except ProfileError:
        return False
    return True
