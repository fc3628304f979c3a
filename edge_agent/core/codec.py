"""Blocks inside a frame: one byte of kind, then fields in varints. Strict bounds; anything else is MalformedError.

    FRAGMENT  marks, [incarnation, source], sequence, [offset, total], [header, age low ms, age extra ms], payload
    ACK       reference, highest number, its arrival, ranges downwards, (number step, time step) of each new frame
    STORED    marks, [incarnation, source], custody: ranges of sequences; partial: sequence, ranges of bytes
    WINDOW    bytes, reserve          REFUSED  marks, [incarnation, source], sequence, reason, retry after (100 ms)
    PROBE / ECHO  8 bytes             REPAIR   opaque (erasure coding)             CONTROL  msgpack array [kind, ...]

Marks: bits 0-2 precedence, 3 source explicit (else: the sender itself, in the incarnation of its HELLO), 4 header
follows, 5 whole bundle (offset and total left out), 6 partial.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgpack

from edge_agent.core.bundle import NODE_ID_PATTERN, MalformedError, Precedence
from edge_agent.core.errors import RefusalReason
from edge_agent.core.varint import ByteReader, put_signed, put_varint

FRAGMENT, ACK, STORED, WINDOW, REFUSED, PROBE, ECHO, REPAIR, CONTROL = range(1, 10)

_EXPLICIT, _HEADER, _WHOLE, _PARTIAL = 8, 16, 32, 64
_PRECEDENCES = tuple(Precedence)
_REASONS = tuple(RefusalReason)

HEADER_MAX_BYTES = 320  # destination, flow, key and operation id at their longest, with msgpack's framing
BUNDLE_MAX_BYTES = 1 << 40
SEQUENCE_MAX = (1 << 42) - 1  # six bytes; a node that makes a thousand bundles a second gets there in 139 years
AGE_MAX_MS = (1 << 35) - 1  # five bytes, 397 days: beyond the longest lifetime all ages are alike
RANGES_MAX = 256  # in one block, so that one frame cannot make us work for ever
ACK_TIMES_MAX = 64
TOKEN_BYTES = 8
TICK_S = 16e-6
"""Unit of arrival times in ACK: fine enough for a 3 ms queue target, 4 bytes for an hour."""


class Source(NamedTuple):
    """A bundle's source where it is not the frame's sender."""

    node_id: str
    incarnation: int


class Fragment(NamedTuple):
    """A piece of one bundle. ``header`` is packed and empty unless it starts the bundle."""

    source: Source | None
    precedence: Precedence
    sequence: int
    offset: int
    total_bytes: int
    header: bytes
    age_low_ms: int
    age_extra_ms: int
    payload: bytes


class Ack(NamedTuple):
    """Frames that arrived. ``reference``: 0 = the session this frame travels in, else the acker's receive id + 1.

    ``ranges`` are half-open, highest first; ``arrivals`` holds (number, ticks by the acker's clock) of new frames.
    """

    reference: int
    highest: int
    highest_ticks: int
    ranges: tuple[tuple[int, int], ...]
    arrivals: tuple[tuple[int, int], ...]


class Stored(NamedTuple):
    """Custody of whole bundles: ``ranges`` of sequences."""

    source: Source | None
    precedence: Precedence
    ranges: tuple[tuple[int, int], ...]


class StoredPartly(NamedTuple):
    """All that is durable of one bundle: ``ranges`` of bytes. What the sender believed beyond it is void."""

    source: Source | None
    precedence: Precedence
    sequence: int
    ranges: tuple[tuple[int, int], ...]


class Window(NamedTuple):
    """Bytes the receiver will hold open for this peer, and the part above it kept for FLASH and IMMEDIATE."""

    window_bytes: int
    reserve_bytes: int


class Refused(NamedTuple):
    """One bundle the receiver will not take before ``retry_after_s``."""

    source: Source | None
    precedence: Precedence
    sequence: int
    reason: RefusalReason
    retry_after_s: float


class Probe(NamedTuple):
    """Asks for an Echo of the same token."""

    token: bytes


class Echo(NamedTuple):
    """Answers a Probe."""

    token: bytes


class Repair(NamedTuple):
    """Erasure-coded symbol; opaque until the receiver knows the code."""

    content: bytes


class Control(NamedTuple):
    """A rare message between two nodes: [kind, ...]."""

    fields: list[Any]  # Any: each kind checks its own


Block = Fragment | Ack | Stored | StoredPartly | Window | Refused | Probe | Echo | Repair | Control


def _put_source(out: bytearray, source: Source | None) -> None:
    if source is not None:
        out += source.incarnation.to_bytes(8, "big")
        name = source.node_id.encode()
        out.append(len(name))
        out += name


def _put_ranges_upwards(out: bytearray, ranges: Iterable[tuple[int, int]]) -> None:
    listed = list(ranges)[:RANGES_MAX]
    put_varint(out, len(listed))
    before = 0
    for start, end in listed:
        put_varint(out, start - before)
        put_varint(out, end - start - 1)
        before = end


def put_fragment(out: bytearray, fragment: Fragment) -> None:
    """Append a FRAGMENT block."""
    source, precedence, sequence, offset, total_bytes, header, age_low_ms, age_extra_ms, payload = fragment
    whole = offset == 0 and len(payload) == total_bytes
    marks = precedence | (_EXPLICIT if source else 0) | (_HEADER if header else 0) | (_WHOLE if whole else 0)
    out.append(FRAGMENT)
    out.append(marks)
    _put_source(out, source)
    put_varint(out, sequence)
    if not whole:
        put_varint(out, offset)
        put_varint(out, total_bytes)
    if header:
        put_varint(out, len(header))
        out += header
        put_varint(out, age_low_ms)
        put_varint(out, age_extra_ms)
    put_varint(out, len(payload))
    out += payload


def put_ack(out: bytearray, ack: Ack) -> None:
    """Append an ACK block. ``arrivals`` are (number, ticks), highest number first."""
    out.append(ACK)
    put_varint(out, ack.reference)
    put_varint(out, ack.highest)
    put_varint(out, ack.highest_ticks)
    put_varint(out, len(ack.ranges))
    upper = ack.highest + 1
    for start, end in ack.ranges:
        put_varint(out, upper - end)
        put_varint(out, end - start - 1)
        upper = start
    put_varint(out, len(ack.arrivals))
    number, ticks = ack.highest, ack.highest_ticks
    for each_number, each_ticks in ack.arrivals:
        put_varint(out, number - each_number)
        put_signed(out, ticks - each_ticks)
        number, ticks = each_number, each_ticks


def put_stored(out: bytearray, stored: Stored) -> None:
    """Append a STORED block of custody."""
    out.append(STORED)
    out.append(stored.precedence | (_EXPLICIT if stored.source else 0))
    _put_source(out, stored.source)
    _put_ranges_upwards(out, stored.ranges)


def put_stored_partly(out: bytearray, stored: StoredPartly) -> None:
    """Append a STORED block of byte ranges."""
    out.append(STORED)
    out.append(stored.precedence | (_EXPLICIT if stored.source else 0) | _PARTIAL)
    _put_source(out, stored.source)
    put_varint(out, stored.sequence)
    _put_ranges_upwards(out, stored.ranges)


def put_window(out: bytearray, window: Window) -> None:
    """Append a WINDOW block."""
    out.append(WINDOW)
    put_varint(out, window.window_bytes)
    put_varint(out, window.reserve_bytes)


def put_refused(out: bytearray, refused: Refused) -> None:
    """Append a REFUSED block."""
    out.append(REFUSED)
    out.append(refused.precedence | (_EXPLICIT if refused.source else 0))
    _put_source(out, refused.source)
    put_varint(out, refused.sequence)
    out.append(_REASONS.index(refused.reason))
    put_varint(out, round(refused.retry_after_s * 10))


def put_token(out: bytearray, kind: int, token: bytes) -> None:
    """Append a PROBE or ECHO block."""
    out.append(kind)
    out += token


def put_control(out: bytearray, fields: list[Any]) -> None:  # Any: msgpack's own types
    """Append a CONTROL block."""
    packed: bytes = msgpack.packb(fields)
    out.append(CONTROL)
    put_varint(out, len(packed))
    out += packed


def _precedence(marks: int) -> Precedence:
    if marks & 7 >= len(_PRECEDENCES):
        raise MalformedError("precedence out of range")
    return _PRECEDENCES[marks & 7]


def _source(reader: ByteReader, marks: int) -> Source | None:
    if not marks & _EXPLICIT:
        return None
    incarnation = int.from_bytes(reader.take(8), "big")
    try:
        node_id = reader.take(reader.byte()).decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedError("source is not ASCII") from error
    if not NODE_ID_PATTERN.fullmatch(node_id):
        raise MalformedError("source is not a node id")
    return Source(node_id, incarnation)


def _sequence(reader: ByteReader) -> int:
    sequence = reader.varint()
    if sequence > SEQUENCE_MAX:
        raise MalformedError("sequence out of bounds")
    return sequence


def _ranges_upwards(reader: ByteReader) -> tuple[tuple[int, int], ...]:
    count = reader.varint()
    if count > RANGES_MAX:
        raise MalformedError("too many ranges")
    ranges = []
    before = 0
    for _ in range(count):
        start = before + reader.varint()
        before = start + reader.varint() + 1
        ranges.append((start, before))
    if before > 1 << 62:
        raise MalformedError("range out of bounds")
    return tuple(ranges)


def _read_fragment(reader: ByteReader) -> Fragment:
    marks = reader.byte()
    if marks >= _PARTIAL:
        raise MalformedError("fragment: unknown marks")
    precedence = _precedence(marks)
    source = _source(reader, marks)
    sequence = _sequence(reader)
    offset = total_bytes = 0
    if not marks & _WHOLE:
        offset = reader.varint()
        total_bytes = reader.varint()
    header, age_low_ms, age_extra_ms = b"", 0, 0
    if marks & _HEADER:
        length = reader.varint()
        if not 0 < length <= HEADER_MAX_BYTES:
            raise MalformedError("fragment: header length")
        header = reader.take(length)
        age_low_ms = reader.varint()
        age_extra_ms = reader.varint()
        if age_low_ms > AGE_MAX_MS or age_extra_ms > AGE_MAX_MS:
            raise MalformedError("fragment: age out of bounds")
    payload = reader.take(reader.varint())
    if marks & _WHOLE:
        total_bytes = len(payload)
    elif offset + len(payload) > total_bytes or total_bytes > BUNDLE_MAX_BYTES or not payload:
        raise MalformedError("fragment: beyond its bundle")
    if (marks & _WHOLE or offset == 0) and not header:
        raise MalformedError("fragment: a bundle starts with its header")
    return Fragment(source, precedence, sequence, offset, total_bytes, header, age_low_ms, age_extra_ms, payload)


def _read_ack(reader: ByteReader) -> Ack:
    reference = reader.varint()
    highest = reader.varint()
    highest_ticks = reader.varint()
    count = reader.varint()
    if not 0 < count <= RANGES_MAX:
        raise MalformedError("ack: ranges")
    ranges = []
    upper = highest + 1
    for _ in range(count):
        end = upper - reader.varint()
        upper = end - reader.varint() - 1
        if upper < 0:
            raise MalformedError("ack: below zero")
        ranges.append((upper, end))
    count = reader.varint()
    if count > ACK_TIMES_MAX:
        raise MalformedError("ack: times")
    arrivals = []
    number, ticks = highest, highest_ticks
    for _ in range(count):
        number -= reader.varint()
        ticks -= reader.signed()
        arrivals.append((number, ticks))
    return Ack(reference, highest, highest_ticks, tuple(ranges), tuple(arrivals))


def _read_stored(reader: ByteReader) -> Stored | StoredPartly:
    marks = reader.byte()
    if marks & ~(7 | _EXPLICIT | _PARTIAL):
        raise MalformedError("stored: unknown marks")
    source = _source(reader, marks)
    if marks & _PARTIAL:
        sequence = _sequence(reader)
        return StoredPartly(source, _precedence(marks), sequence, _ranges_upwards(reader))
    return Stored(source, _precedence(marks), _ranges_upwards(reader))


def _read_refused(reader: ByteReader) -> Refused:
    marks = reader.byte()
    if marks & ~(7 | _EXPLICIT):
        raise MalformedError("refused: unknown marks")
    source = _source(reader, marks)
    sequence = _sequence(reader)
    code = reader.byte()
    if code >= len(_REASONS):
        raise MalformedError("refused: unknown reason")
    return Refused(source, _precedence(marks), sequence, _REASONS[code], min(reader.varint() / 10, 86_400.0))


def _read_control(reader: ByteReader) -> Control:
    packed = reader.take(reader.varint())
    try:
        fields = msgpack.unpackb(packed, max_array_len=1024, max_str_len=256, max_bin_len=1024, max_map_len=0)
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedError("control is not msgpack") from error
    if not isinstance(fields, list) or not fields or type(fields[0]) is not int:
        raise MalformedError("control is not [kind, ...]")
    return Control(fields)


def read_blocks(body: bytes) -> Iterator[Block]:
    """The blocks of an opened frame, one by one. Raises MalformedError at the first bad one."""
    reader = ByteReader(body)
    while reader.at < reader.end:
        kind = reader.byte()
        if kind == FRAGMENT:
            yield _read_fragment(reader)
        elif kind == ACK:
            yield _read_ack(reader)
        elif kind == STORED:
            yield _read_stored(reader)
        elif kind == WINDOW:
            yield Window(reader.varint(), reader.varint())
        elif kind == REFUSED:
            yield _read_refused(reader)
        elif kind == PROBE:
            yield Probe(reader.take(TOKEN_BYTES))
        elif kind == ECHO:
            yield Echo(reader.take(TOKEN_BYTES))
        elif kind == REPAIR:
            yield Repair(reader.take(reader.varint()))
        elif kind == CONTROL:
            yield _read_control(reader)
        else:
            raise MalformedError(f"unknown block {kind}")
