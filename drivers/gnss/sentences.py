"""What single NMEA sentences say: RMC, GGA, GNS, GLL, VTG, GSA, GST and ZDA.

Field numbers in comments count from 1 after the address, as in NMEA 0183.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import MappingProxyType

from edge_agent.core.bundle import MalformedError

_KNOT_MPS = 1852 / 3600
_KMH_MPS = 1 / 3.6
_NOT_A_FIX = MappingProxyType(
    {
        "N": "no fix",
        "M": "the receiver repeats a position set by hand",
        "S": "the receiver is in simulator mode",
        "7": "the receiver repeats a position set by hand",
        "8": "the receiver is in simulator mode",
        "0": "no fix",
    }
)
"""Mode letters (RMC, GLL, GNS) and GGA qualities under which coordinates tell nothing about where the kit is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """What one sentence says. ``is_valid`` None: it says nothing on whether there is a fix. ``decimals`` of minutes."""

    time_ms: int | None = None
    day: date | None = None
    is_valid: bool | None = None
    reason: str = ""
    lat_deg: float | None = None
    lon_deg: float | None = None
    decimals: int = 0
    alt_m: float | None = None
    speed_mps: float | None = None
    track_deg: float | None = None
    accuracy_m: float | None = None
    satellites: int | None = None
    dimension: int = 0


def read_partial(kind: str, fields: Sequence[str], now_ms: int) -> Partial | None:
    """What the sentence says, or None for a kind that tells nothing about position. Raises MalformedError."""
    reader = _READERS.get(kind)
    if reader is None:
        return None
    padded = [*fields, *[""] * 20]  # older receivers leave out the fields of later versions
    try:
        return reader(padded, now_ms)
    except ValueError as error:
        raise MalformedError(f"{kind}: {error}") from error


def _read_rmc(fields: Sequence[str], now_ms: int) -> Partial:
    # 1 time, 2 status, 3-6 position, 7 knots, 8 track, 9 date, 12 mode
    is_valid, reason = _validity(fields[1] == "A", fields[11])
    return _with_position(
        fields[2:6],
        is_valid,
        reason,
        Partial(
            time_ms=_time_ms(fields[0]),
            day=_date(fields[8], now_ms) if is_valid else None,
            speed_mps=_scaled(fields[6], _KNOT_MPS) if is_valid else None,
            track_deg=_number(fields[7]) if is_valid else None,
        ),
    )


def _read_gga(fields: Sequence[str], now_ms: int) -> Partial:
    # 1 time, 2-5 position, 6 quality, 7 satellites, 9 altitude
    is_valid, reason = _validity(fields[5] not in ("", "0"), fields[5])
    return _with_position(
        fields[1:5],
        is_valid,
        reason,
        Partial(
            time_ms=_time_ms(fields[0]),
            satellites=_count(fields[6]),
            alt_m=_number(fields[8]) if is_valid else None,
        ),
    )


def _read_gns(fields: Sequence[str], now_ms: int) -> Partial:
    # 1 time, 2-5 position, 6 one mode letter a system, 7 satellites, 9 altitude
    modes = set(fields[5]) - {"N"}
    is_valid, reason = _validity(bool(modes), min(modes) if modes else "N")
    return _with_position(
        fields[1:5],
        is_valid,
        reason,
        Partial(
            time_ms=_time_ms(fields[0]),
            satellites=_count(fields[6]),
            alt_m=_number(fields[8]) if is_valid else None,
        ),
    )


def _read_gll(fields: Sequence[str], now_ms: int) -> Partial:
    # 1-4 position, 5 time, 6 status, 7 mode
    is_valid, reason = _validity(fields[5] == "A", fields[6])
    return _with_position(fields[0:4], is_valid, reason, Partial(time_ms=_time_ms(fields[4])))


def _read_vtg(fields: Sequence[str], now_ms: int) -> Partial:
    # 1 true track, 5 knots, 7 km/h, 9 mode
    if fields[8] in _NOT_A_FIX:
        return Partial()
    knots_mps = _scaled(fields[4], _KNOT_MPS)
    speed_mps = _scaled(fields[6], _KMH_MPS) if knots_mps is None else knots_mps
    return Partial(track_deg=_number(fields[0]), speed_mps=speed_mps)


def _read_gsa(fields: Sequence[str], now_ms: int) -> Partial:
    # 2: 1 none, 2 two-dimensional, 3 three-dimensional
    return Partial(dimension=_count(fields[1]) or 0)


def _read_gst(fields: Sequence[str], now_ms: int) -> Partial:
    # 1 time, 6 and 7: standard deviations of latitude and longitude in metres
    sigma_lat_m, sigma_lon_m = _number(fields[5]), _number(fields[6])
    known = sigma_lat_m is not None and sigma_lon_m is not None
    accuracy_m = math.hypot(sigma_lat_m or 0.0, sigma_lon_m or 0.0) if known else None
    return Partial(time_ms=_time_ms(fields[0]), accuracy_m=accuracy_m)


def _read_zda(fields: Sequence[str], now_ms: int) -> Partial:
    # 1 time, 2 day, 3 month, 4 year of four digits
    if not all(fields[:4]):
        return Partial()
    day = date(int(fields[3]), int(fields[2]), int(fields[1]))
    return Partial(time_ms=_time_ms(fields[0]), day=day)


_READERS: Mapping[str, Callable[[Sequence[str], int], Partial]] = MappingProxyType(
    {
        "RMC": _read_rmc,
        "GGA": _read_gga,
        "GNS": _read_gns,
        "GLL": _read_gll,
        "VTG": _read_vtg,
        "GSA": _read_gsa,
        "GST": _read_gst,
        "ZDA": _read_zda,
    }
)


def _validity(is_claimed: bool, mode: str) -> tuple[bool, str]:
    """Whether the sentence holds a fix, else why not. Estimated positions (mode E) count: the receiver moves them."""
    if mode in _NOT_A_FIX:
        return False, _NOT_A_FIX[mode]
    return is_claimed, "" if is_claimed else "no fix"


def _with_position(fields: Sequence[str], is_valid: bool, reason: str, rest: Partial) -> Partial:
    """``rest`` with the position of four fields (ddmm.mmm, N|S, dddmm.mmm, E|W) if it is valid."""
    lat_text, north, lon_text, east = fields
    lat_deg = lon_deg = None
    if is_valid and not (lat_text and lon_text):
        is_valid, reason = False, "no fix"
    if is_valid:
        lat_deg = _angle_deg(lat_text, north, "NS", 90)
        lon_deg = _angle_deg(lon_text, east, "EW", 180)
        if lat_deg == 0 and lon_deg == 0:  # receivers without the mode fields send zeros before their first fix
            is_valid, reason, lat_deg, lon_deg = False, "no fix", None, None
    return Partial(
        time_ms=rest.time_ms,
        day=rest.day,
        is_valid=is_valid,
        reason=reason,
        lat_deg=lat_deg,
        lon_deg=lon_deg,
        decimals=len(lat_text.partition(".")[2]),
        alt_m=rest.alt_m,
        speed_mps=rest.speed_mps,
        track_deg=rest.track_deg,
        satellites=rest.satellites,
    )


def _angle_deg(text: str, side: str, sides: str, limit_deg: int) -> float:
    match = re.fullmatch(r"([0-9]{1,3})([0-9]{2}(?:\.[0-9]*)?)", text)
    if match is None or side not in sides or not side:
        raise ValueError(f"angle {text[:20]!r} {side[:4]!r}")
    degrees, minutes = int(match[1]), float(match[2])
    angle_deg = degrees + minutes / 60
    if minutes >= 60 or angle_deg > limit_deg:
        raise ValueError(f"angle {text[:20]!r} is beyond {limit_deg} degrees")
    return -angle_deg if side == sides[1] else angle_deg


def _time_ms(text: str) -> int | None:
    """Milliseconds since midnight of hhmmss.sss, None for an empty field."""
    if not text:
        return None
    match = re.fullmatch(r"([01][0-9]|2[0-3])([0-5][0-9])([0-5][0-9]|60)(\.[0-9]*)?", text)
    if match is None:
        raise ValueError(f"time {text[:20]!r}")
    hours, minutes, seconds = (int(match[number]) for number in (1, 2, 3))
    fraction_ms = round(float("0" + (match[4] or ".") + "0") * 1000)
    return (hours * 3600 + minutes * 60 + seconds) * 1000 + fraction_ms


def _date(text: str, now_ms: int) -> date | None:
    """The date of ddmmyy, in the century that brings it nearest to ``now_ms``; None for an empty field."""
    if not text:
        return None
    if not re.fullmatch("[0-9]{6}", text):
        raise ValueError(f"date {text[:20]!r}")
    this_year = datetime.fromtimestamp(now_ms / 1000, tz=UTC).year
    year = this_year - 50 + (int(text[4:6]) - this_year + 50) % 100
    return date(year, int(text[2:4]), int(text[0:2]))


def _number(text: str) -> float | None:
    if not text:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,7}(\.[0-9]{0,12})?|[+-]?\.[0-9]{1,12}", text):
        raise ValueError(f"number {text[:20]!r}")
    return float(text)


def _scaled(text: str, factor: float) -> float | None:
    number = _number(text)
    return None if number is None else number * factor


def _count(text: str) -> int | None:
    number = _number(text)
    return None if number is None else int(number)
