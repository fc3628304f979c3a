"""The clear part of a frame: class byte, ids, salts, frame number. Everything after it is sealed.

    class byte  bits 7-5 class, bit 2 four-byte id (else one), bits 1-0 length of the frame number (1, 2, 4, 8 bytes)
    DATA        id · number                          id: chosen by the receiver; one byte where two nodes share a line
    HELLO       suite · epoch · salt · number        sealed under a key of the sender's salt alone (early data)
    HELLO_ACK   id · suite · epoch · salt · number   sealed under the key of both salts
    COOKIE      id                                   reserved for floods of HELLO; parsed, counted, not sent yet
    UNKNOWN     id                                   a hint without authority: nobody here knows this id any more
    BURST       sender number (2) · epoch · incarnation (8) · number (4)   no handshake; numbers are leased

The frame number is cut so that it stays unambiguous: next - highest acknowledged < 2^(bits - 2). Source of the
rebuilding: RFC 9000, appendix A.3.
"""

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from edge_agent.core.bundle import MalformedError
from edge_agent.core.frame import SALT_BYTES


class FrameClass(IntEnum):
    """The three high bits of the class byte."""

    DATA = 0
    HELLO = 1
    HELLO_ACK = 2
    COOKIE = 3
    UNKNOWN = 4
    BURST = 5


_NUMBER_BYTES = (1, 2, 4, 8)
_WIDE = 4
_DATA_FORMS = tuple(Struct(f">B{id_form}{number_form}") for id_form in "BI" for number_form in "BHIQ")
"""The clear part of DATA by the three low bits of the class byte, which is all of it."""
_DATA = FrameClass.DATA  # a member of an enum is slow to look up
_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call
_CLASSES = {each.value: each for each in FrameClass}


class Envelope(NamedTuple):
    """The parsed clear part. ``number`` is cut to ``number_bytes``; ``length`` is where the sealed part begins."""

    frame_class: FrameClass
    receive_id: int
    is_wide_id: bool
    suite: int
    epoch: int
    salt: bytes
    sender_number: int
    number: int
    number_bytes: int
    length: int
    incarnation: int = 0


def number_bytes_for(next_number: int, highest_acked: int) -> int:
    """The fewest bytes that keep ``next_number`` unambiguous; -1 as ``highest_acked`` means nothing is acknowledged."""
    if highest_acked < 0:
        return 4 if next_number < 1 << 32 else 8  # full: numbers of a session start at 0
    distance = next_number - highest_acked
    if distance < 1 << 6:
        return 1
    return 2 if distance < 1 << 14 else 4 if distance < 1 << 30 else 8


def rebuild_number(cut: int, number_bytes: int, highest: int) -> int:
    """The full number nearest to ``highest + 1`` that ends in ``cut``. -1 as ``highest`` means none was seen."""
    if number_bytes == 8:
        return cut
    span, expected = 1 << 8 * number_bytes, highest + 1
    number = (expected & ~(span - 1)) | cut
    if number <= expected - span // 2:
        return number + span
    if number > expected + span // 2 and number >= span:
        return number - span
    return number


def put_data(receive_id: int, is_wide_id: bool, number: int, number_bytes: int) -> bytes:
    """The clear part of a DATA frame."""
    code = _NUMBER_BYTES.index(number_bytes) + (_WIDE if is_wide_id else 0)
    return _DATA_FORMS[code].pack(code, receive_id, number & (1 << 8 * number_bytes) - 1)


def put_hello(suite: int, epoch: int, salt: bytes, number: int) -> bytes:
    """The clear part of a HELLO frame; its number is never cut."""
    return bytes((FrameClass.HELLO << 5 | 2, suite, epoch)) + salt + number.to_bytes(4, "big")


def put_hello_ack(receive_id: int, is_wide_id: bool, suite: int, epoch: int, salt: bytes, number: int) -> bytes:
    """The clear part of a HELLO_ACK frame; its number is never cut."""
    id_bytes = receive_id.to_bytes(4 if is_wide_id else 1, "big")
    class_byte = FrameClass.HELLO_ACK << 5 | (4 if is_wide_id else 0) | 2
    return bytes((class_byte,)) + id_bytes + bytes((suite, epoch)) + salt + number.to_bytes(4, "big")


def put_unknown(receive_id: int, is_wide_id: bool) -> bytes:
    """A whole UNKNOWN frame."""
    id_bytes = receive_id.to_bytes(4 if is_wide_id else 1, "big")
    return bytes((FrameClass.UNKNOWN << 5 | (4 if is_wide_id else 0),)) + id_bytes


def put_burst(sender_number: int, epoch: int, incarnation: int, number: int) -> bytes:
    """The clear part of a BURST frame; its number is never cut."""
    ids = sender_number.to_bytes(2, "big") + bytes((epoch,)) + incarnation.to_bytes(8, "big")
    return bytes((FrameClass.BURST << 5 | 2,)) + ids + number.to_bytes(4, "big")


def read_envelope(frame: bytes) -> Envelope:
    """The clear part of any frame. Raises MalformedError."""
    if not frame:
        raise MalformedError("empty frame")
    first = frame[0]
    number_bytes = _NUMBER_BYTES[first & 3]
    is_wide_id = first & _WIDE > 0
    if first < 8:  # DATA, the hot path
        form = _DATA_FORMS[first]
        if len(frame) < form.size:
            raise MalformedError("frame ends early")
        _, receive_id, number = form.unpack_from(frame)
        return _new_tuple(Envelope, (_DATA, receive_id, is_wide_id, 0, 0, b"", 0, number, number_bytes, form.size, 0))
    frame_class = _CLASSES.get(first >> 5)
    if frame_class is None or first & 0x18:
        raise MalformedError("unknown frame class")
    return _read_long(frame, frame_class, is_wide_id, number_bytes)


def _read_long(frame: bytes, frame_class: FrameClass, is_wide_id: bool, number_bytes: int) -> Envelope:
    at = 1
    receive_id = suite = epoch = sender_number = incarnation = number = 0
    salt = b""
    if frame_class in (FrameClass.HELLO_ACK, FrameClass.COOKIE, FrameClass.UNKNOWN):
        width = 4 if is_wide_id else 1
        receive_id = int.from_bytes(frame[at : at + width], "big")
        at += width
    if frame_class in (FrameClass.HELLO, FrameClass.HELLO_ACK):
        if len(frame) < at + 2 + SALT_BYTES:
            raise MalformedError("frame ends early")
        suite, epoch = frame[at], frame[at + 1]
        salt = frame[at + 2 : at + 2 + SALT_BYTES]
        at += 2 + SALT_BYTES
    elif frame_class is FrameClass.BURST:
        sender_number = int.from_bytes(frame[at : at + 2], "big")
        epoch = int.from_bytes(frame[at + 2 : at + 3], "big")
        incarnation = int.from_bytes(frame[at + 3 : at + 11], "big")
        at += 11
    if frame_class not in (FrameClass.COOKIE, FrameClass.UNKNOWN):
        number = int.from_bytes(frame[at : at + number_bytes], "big")
        at += number_bytes
    if len(frame) < at:
        raise MalformedError("frame ends early")
    return Envelope(
        frame_class, receive_id, is_wide_id, suite, epoch, salt, sender_number, number, number_bytes, at, incarnation
    )
