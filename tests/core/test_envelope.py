"""The clear part of frames: numbers cut as short as they may be come back, and any bytes are a frame or malformed."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.bundle import MalformedError
from edge_agent.core.envelope import (
    FrameClass,
    number_bytes_for,
    put_burst,
    put_data,
    put_hello,
    put_hello_ack,
    put_unknown,
    read_envelope,
    rebuild_number,
)
from tests.core.planted import finds, holds

HIGHEST = st.one_of(st.integers(-1, 300), st.integers(-1, 1 << 40))
AHEAD = st.one_of(st.integers(1, 300), st.sampled_from([63, 64, 65, 16_383, 16_384, 16_385]), st.integers(1, 1 << 31))


def comes_back(number_bytes: Callable[[int, int], int]) -> Callable[[int, int, float], None]:
    """The receiver has seen anything between what the sender knows acknowledged and this very frame, or more.

    The sender's window bounds what it may have seen beyond: frames after this one, no further than this one is.
    """

    def check(acked: int, ahead: int, seen_ratio: float) -> None:
        number = acked + ahead
        length = number_bytes(number, acked)
        reach = min(ahead, 1 << 30) if acked >= 0 else 0
        if acked < 0 and number >= 1 << 31:
            return  # "full" is four bytes: half of their span, which no session sends without an acknowledgement
        seen = acked + round(seen_ratio * (ahead + reach - 1))
        assert rebuild_number(number & ((1 << (8 * length)) - 1), length, seen) == number, (acked, number, seen)

    return check


def one_step_too_short(next_number: int, highest_acked: int) -> int:
    """The planted fault: one byte up to a distance of 256, as if nothing were ever reordered or lost."""
    distance = next_number - highest_acked
    return 1 if highest_acked >= 0 and distance < 1 << 8 else number_bytes_for(next_number, highest_acked)


def test_numbers_come_back_at_every_distance() -> None:
    strategies = (HIGHEST, AHEAD, st.floats(0, 1))
    holds(comes_back(number_bytes_for), *strategies, examples=400)
    finds(comes_back(one_step_too_short), *strategies, examples=400)


@given(
    st.booleans(),
    st.integers(0, 255),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(0, (1 << 64) - 1),
    st.binary(max_size=5),
)
def test_data_comes_back(is_wide: bool, receive_id: int, number_bytes: int, number: int, rest: bytes) -> None:
    header = put_data(receive_id, is_wide, number, number_bytes)
    envelope = read_envelope(header + rest)
    cut = number & ((1 << (8 * number_bytes)) - 1)
    assert (envelope.frame_class, envelope.receive_id, envelope.number) == (FrameClass.DATA, receive_id, cut)
    assert (envelope.is_wide_id, envelope.number_bytes, envelope.length) == (is_wide, number_bytes, len(header))


@given(st.integers(0, 255), st.integers(0, 255), st.binary(min_size=16, max_size=16), st.integers(0, (1 << 32) - 1))
def test_long_headers_come_back(suite: int, epoch: int, salt: bytes, number: int) -> None:
    hello = read_envelope(put_hello(suite, epoch, salt, number) + b"x")
    assert hello[:1] + hello[3:6] + hello[7:8] == (FrameClass.HELLO, suite, epoch, salt, number)
    answer = read_envelope(put_hello_ack(number, True, suite, epoch, salt, number))
    assert answer[:2] + answer[3:6] == (FrameClass.HELLO_ACK, number, suite, epoch, salt)
    burst = read_envelope(put_burst(number & 0xFFFF, epoch, number << 32 | 7, number))
    assert burst.frame_class is FrameClass.BURST
    assert (burst.sender_number, burst.epoch, burst.number) == (number & 0xFFFF, epoch, number)
    assert burst.incarnation == number << 32 | 7
    hint = read_envelope(put_unknown(number, True))
    assert (hint.frame_class, hint.receive_id) == (FrameClass.UNKNOWN, number)


@given(
    st.sampled_from(
        [
            put_data(7, False, 5, 1),
            put_data(7, True, 5, 8),
            put_hello(1, 0, bytes(16), 3),
            put_hello_ack(9, False, 1, 0, bytes(16), 3),
            put_unknown(9, True),
            put_burst(1, 0, 2, 9),
        ]
    )
)
def test_every_cut_of_a_header_is_malformed(header: bytes) -> None:
    for end in range(len(header)):
        try:
            read_envelope(header[:end])
        except MalformedError:
            continue
        raise AssertionError(f"{end} bytes of {header.hex()} are taken")


@given(st.binary(max_size=40))
def test_any_bytes_are_a_frame_or_malformed(frame: bytes) -> None:
    try:
        envelope = read_envelope(frame)
    except MalformedError:
        return
    assert envelope.length <= len(frame)
