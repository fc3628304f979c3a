"""Varints: one number, one encoding; whatever else stands in the bytes is MalformedError."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.bundle import MalformedError
from edge_agent.core.varint import VARINT_MAX, ByteReader, put_signed, put_varint, put_varints
from tests.core.planted import finds, holds

NUMBERS = st.one_of(
    st.integers(0, VARINT_MAX), st.sampled_from([(1 << bits) + off for bits in range(7, 63, 7) for off in (-1, 0)])
)


def comes_back(put: Callable[[bytearray, int], None]) -> Callable[[int], None]:
    """What is written is read, to the last byte of it and no further."""

    def check(number: int) -> None:
        out = bytearray()
        put(out, number)
        reader = ByteReader(bytes(out) + b"\x55")
        assert reader.varint() == number
        assert reader.at == len(out)

    return check


def put_without_last_group(out: bytearray, value: int) -> None:
    """The planted fault: the highest seven bits of a long number are left out."""
    put_varint(out, value if value < 1 << 56 else value & ((1 << 56) - 1))


def test_numbers_come_back() -> None:
    holds(comes_back(put_varint), NUMBERS)
    finds(comes_back(put_without_last_group), NUMBERS)


@given(st.integers(-(1 << 61), 1 << 61))
def test_signed_numbers_come_back(number: int) -> None:
    out = bytearray()
    put_signed(out, number)
    assert ByteReader(bytes(out)).signed() == number


@given(st.binary(max_size=12))
def test_any_bytes_hold_one_number_in_its_only_form_or_are_malformed(body: bytes) -> None:
    """What reads as a number is written as the same bytes: no second form of it exists to slip past a comparison."""
    reader = ByteReader(body)
    try:
        number = reader.varint()
    except MalformedError:
        return
    out = bytearray()
    put_varint(out, number)
    assert bytes(out) == body[: reader.at]


@pytest.mark.parametrize("body", [b"", b"\x80", b"\xff" * 9, b"\xff" * 20, b"\x80\x00", b"\x81\x80\x00"])
def test_cut_endless_and_padded_numbers_are_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError):
        ByteReader(body).varint()


def test_a_reader_never_reads_beyond_its_end() -> None:
    reader = ByteReader(b"abc")
    assert reader.take(3) == b"abc"
    for read in (reader.byte, reader.varint, lambda: reader.take(1)):
        with pytest.raises(MalformedError):
            read()


@given(st.lists(NUMBERS), st.integers(0, 3))
def test_several_numbers_are_those_that_stand_there_one_by_one(numbers: list[int], more: int) -> None:
    out = bytearray()
    put_varints(out, numbers)
    one_by_one = bytearray()
    for number in numbers:
        put_varint(one_by_one, number)
    assert out == one_by_one
    reader = ByteReader(bytes(out))
    assert list(reader.varints(len(numbers))) == numbers
    assert reader.at == reader.end
    with pytest.raises(MalformedError):
        ByteReader(bytes(out)).varints(len(numbers) + 1 + more)
