"""Positions in 12 or 14 bytes: what comes back is what went in, to the resolution that the form states."""

from collections.abc import Callable
from contextlib import suppress

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.bundle import MalformedError
from edge_agent.telemetry.payloads import Position
from edge_agent.telemetry.positions import (
    NarrowFix,
    is_narrow_fix,
    pack_narrow_fix,
    read_narrow_fix,
)
from tests.core.planted import finds, holds

TODAY_MS = 1_767_225_600_000
FIXES = st.builds(
    NarrowFix,
    st.floats(-90, 90),
    st.floats(-180, 180),
    st.integers(1_577_836_800_000, 1_577_836_800_000 + (1 << 35) * 100 - 200),
    st.one_of(st.none(), st.floats(0, 63)),
    st.one_of(st.none(), st.floats(0, 360)),
)


def comes_back(pack: Callable[[NarrowFix], bytes]) -> Callable[[NarrowFix], None]:
    """Within 0.06 m of latitude, 0.05 s, an eighth of a metre a second and three quarters of a degree."""

    def check(fix: NarrowFix) -> None:
        packed = pack(fix)
        assert len(packed) == (12 if fix.speed_mps is None and fix.track_deg is None else 14)
        read = read_narrow_fix(packed)
        assert abs(read.lat_deg - fix.lat_deg) <= 0.51e-6
        assert abs(read.lon_deg - fix.lon_deg) <= 0.51e-6
        assert abs(read.captured_at_ms - fix.captured_at_ms) <= 50
        assert (read.speed_mps is None) is (fix.speed_mps is None)
        assert (read.track_deg is None) is (fix.track_deg is None)
        assert abs((read.speed_mps or 0) - (fix.speed_mps or 0)) <= 0.126
        turn_deg = abs((read.track_deg or 0) - (fix.track_deg or 0))
        assert min(turn_deg, 360 - turn_deg) <= 0.76

    return check


def with_west_for_east(fix: NarrowFix) -> bytes:
    """The planted fault: the sign of the longitude is lost."""
    return pack_narrow_fix(fix._replace(lon_deg=abs(fix.lon_deg)))


def test_positions_come_back() -> None:
    holds(comes_back(pack_narrow_fix), FIXES)
    finds(comes_back(with_west_for_east), FIXES)


@given(st.binary(max_size=20))
def test_any_bytes_are_a_position_or_malformed(packed: bytes) -> None:
    with suppress(MalformedError):
        Position.unpack(packed)


def test_a_reader_takes_both_forms() -> None:
    position = Position(
        lat_deg=30.518887, lon_deg=104.075963, captured_at_ms=TODAY_MS, alt_m=512.0, speed_mps=1.5, track_deg=0.0
    )
    narrow = position.pack_narrow()
    assert len(narrow) == 14
    assert len(position.pack_narrow(is_bare=True)) == 12
    assert is_narrow_fix(narrow)
    assert not is_narrow_fix(position.pack())
    assert Position.unpack(position.pack()) == position
    read = Position.unpack(narrow)
    assert (read.lat_deg, read.lon_deg, read.captured_at_ms) == (30.518887, 104.075963, TODAY_MS)
    assert (read.speed_mps, read.track_deg, read.alt_m) == (1.5, 0.0, None)


@pytest.mark.parametrize(
    "position",
    [
        Position(lat_deg=1.0, lon_deg=2.0, captured_at_ms=5),
        Position(lat_deg=1.0, lon_deg=2.0, captured_at_ms=TODAY_MS, datum="GCJ-02"),
    ],
)
def test_what_the_narrow_form_cannot_hold_goes_as_a_map(position: Position) -> None:
    """A clock that was never set, and another datum."""
    assert isinstance(msgpack.unpackb(position.pack_narrow()), dict)
    assert Position.unpack(position.pack_narrow()) == position


@pytest.mark.parametrize(
    ("packed", "says"),
    [
        (b"\x10" * 13, "length"),
        (b"\x10" + b"\xff" * 11, "globe"),
        (b"\x10" + bytes(2), "length"),
        (b"\x20" + bytes(11), "not msgpack"),
    ],
)
def test_each_bound_has_its_word(packed: bytes, says: str) -> None:
    with pytest.raises(MalformedError, match=says):
        Position.unpack(packed)
