"""A position in 12 or 14 bytes, for links on which each byte takes a part of a second.

    4 bits    form, 1: no payload in msgpack begins with a byte below 0x20
    28 bits   latitude + 90 in millionths of a degree (0.11 m), 29 bits longitude + 180
    35 bits   tenths of a second since 2020 (until 2128)
    2 bytes   speed in quarters of a metre a second, track in 255ths of a turn; 255: not known. Both left out: not known

What a receiver says of itself (accuracy, satellites, altitude) stays on the kit then: place goes first.
"""

from typing import NamedTuple

from edge_agent.core.bundle import MalformedError

NARROW_BYTES, NARROW_MOVING_BYTES = 12, 14
_FORM = 1
_LAT_BITS, _LON_BITS, _TIME_BITS = 28, 29, 35
_UNITS_A_DEG = 1_000_000
_YEAR_2020_MS = 1_577_836_800_000
_TIME_UNIT_MS = 100
_SPEED_UNIT_MPS = 0.25
_TRACK_STEPS = 255
_UNKNOWN = 255


class NarrowFix(NamedTuple):
    """What the narrow form holds. Degrees in WGS-84, UTC milliseconds since 1970, degrees from north."""

    lat_deg: float
    lon_deg: float
    captured_at_ms: int
    speed_mps: float | None
    track_deg: float | None


def is_narrow_fix(packed: bytes) -> bool:
    """Whether this payload is of the narrow form (and not a msgpack map)."""
    return len(packed) > 0 and packed[0] >> 4 == _FORM


def pack_narrow_fix(fix: NarrowFix) -> bytes:
    """12 bytes, or 14 for one that moves. Raises ValueError before 2020: no clock was set then."""
    lat = min(max(round((fix.lat_deg + 90) * _UNITS_A_DEG), 0), 180 * _UNITS_A_DEG)
    lon = min(max(round((fix.lon_deg + 180) * _UNITS_A_DEG), 0), 360 * _UNITS_A_DEG)
    time = round((fix.captured_at_ms - _YEAR_2020_MS) / _TIME_UNIT_MS)
    if not 0 <= time < 1 << _TIME_BITS:
        raise ValueError(f"captured_at_ms {fix.captured_at_ms}: a narrow position is of 2020 to 2128")
    bits = ((_FORM << _LAT_BITS | lat) << _LON_BITS | lon) << _TIME_BITS | time
    packed = bits.to_bytes(NARROW_BYTES, "big")
    if fix.speed_mps is None and fix.track_deg is None:
        return packed
    speed = _UNKNOWN if fix.speed_mps is None else min(_UNKNOWN - 1, max(0, round(fix.speed_mps / _SPEED_UNIT_MPS)))
    track = _UNKNOWN if fix.track_deg is None else round(fix.track_deg / 360 * _TRACK_STEPS) % _TRACK_STEPS
    return packed + bytes((speed, track))


def read_narrow_fix(packed: bytes) -> NarrowFix:
    """What ``pack_narrow_fix`` wrote, to its resolution. Raises MalformedError for anything else."""
    if not is_narrow_fix(packed) or len(packed) not in (NARROW_BYTES, NARROW_MOVING_BYTES):
        raise MalformedError("narrow position: form or length")
    bits = int.from_bytes(packed[:NARROW_BYTES], "big")
    time = bits & (1 << _TIME_BITS) - 1
    lon = bits >> _TIME_BITS & (1 << _LON_BITS) - 1
    lat = bits >> _TIME_BITS + _LON_BITS & (1 << _LAT_BITS) - 1
    if lat > 180 * _UNITS_A_DEG or lon > 360 * _UNITS_A_DEG:
        raise MalformedError("narrow position: beyond the globe")
    speed, track = packed[NARROW_BYTES:] or (_UNKNOWN, _UNKNOWN)
    return NarrowFix(
        round(lat / _UNITS_A_DEG - 90, 6),
        round(lon / _UNITS_A_DEG - 180, 6),
        _YEAR_2020_MS + time * _TIME_UNIT_MS,
        None if speed == _UNKNOWN else speed * _SPEED_UNIT_MPS,
        None if track == _UNKNOWN else round(track * 360 / _TRACK_STEPS, 1),
    )
