"""Byte stuffing: nothing is lost, no zero is left, growth is bounded, damage is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.bundle import MalformedError
from edge_agent.core.cobs import stuff, stuffed_max_bytes, unstuff

# Long runs without zeros are what random bytes almost never hold, and where the 254-byte rule bites.
_RUNS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 520)), max_size=6).map(
    lambda runs: b"".join(b"\0" * zeros + b"\x07" * filled for zeros, filled in runs)
)
_PLAIN = st.binary(max_size=600) | _RUNS


@given(plain=_PLAIN)
def test_stuffing_comes_back_without_zeros_and_within_the_bound(plain: bytes) -> None:
    stuffed = stuff(plain)
    assert unstuff(stuffed) == plain
    assert 0 not in stuffed
    assert len(stuffed) <= stuffed_max_bytes(len(plain))


@pytest.mark.parametrize(
    ("plain", "stuffed"),
    [  # the examples of the paper and of its Wikipedia article
        (b"", b"\x01"),
        (b"\0", b"\x01\x01"),
        (b"\0\0", b"\x01\x01\x01"),
        (b"\0\x11\0", b"\x01\x02\x11\x01"),
        (b"\x11\x22\0\x33", b"\x03\x11\x22\x02\x33"),
        (b"\x11\0\0\0", b"\x02\x11\x01\x01\x01"),
        (bytes(range(1, 255)), b"\xff" + bytes(range(1, 255))),
        (bytes(range(255)), b"\x01\xff" + bytes(range(1, 255))),
        (bytes(range(1, 256)), b"\xff" + bytes(range(1, 255)) + b"\x02\xff"),
        (bytes(range(2, 256)) + b"\0", b"\xff" + bytes(range(2, 256)) + b"\x01\x01"),
        (bytes(range(3, 256)) + b"\0\x01", b"\xfe" + bytes(range(3, 256)) + b"\x02\x01"),
    ],
)
def test_published_examples(plain: bytes, stuffed: bytes) -> None:
    assert stuff(plain) == stuffed
    assert unstuff(stuffed) == plain


@pytest.mark.parametrize("stuffed", [b"", b"\0", b"\x02", b"\x03\x11\0", b"\xff\x01", b"\x01\x05\x01"])
def test_what_stuffing_cannot_have_made_is_refused(stuffed: bytes) -> None:
    with pytest.raises(MalformedError):
        unstuff(stuffed)


@given(stuffed=st.binary(max_size=300))
def test_any_bytes_are_unstuffed_or_refused(stuffed: bytes) -> None:
    try:
        plain = unstuff(stuffed)
    except MalformedError:
        return
    assert len(plain) < len(stuffed)
