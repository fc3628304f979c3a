"""Blocks inside a frame: one byte of kind, then fields in varints. Strict bounds; anything else is MalformedError.

    FRAGMENT  marks, [incarnation, source], sequence, [offset, total], [header, age low ms, age extra ms], payload
    ACK       reference, highest number, its arrival, ranges downwards, (number step, time step) of each new frame
    STORED    marks, [incarnation, source], custody: ranges of sequences; partial: sequence, ranges of bytes
    WINDOW    bytes, reserve          REFUSED  marks, [incarnation, source], sequence, reason, retry after (100 ms)
    PROBE / ECHO  8 bytes             CONTROL  msgpack array [kind, ...]            PULSE    interval (ms)
    RUN       whole bundles with headers that are alike: see ``run``
    LIVE      number or 0, length, a FRAGMENT without its kind      REPAIR  length, first number, count, repair, sum

Marks: bits 0-2 precedence, 3 source explicit (else: the sender itself, in the incarnation of its HELLO), 4 header
follows, 5 whole bundle (offset and total left out), 6 partial.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgpack

from edge_agent.core.blocks import (
    ACK,
    ACK_TIMES_MAX,
    AGE_MAX_MS,
    BRIEF,
    BRIEF_AGED,
    BRIEF_ENDS,
    BUNDLE_MAX_BYTES,
    CONTROL,
    ECHO,
    EXPLICIT,
    FRAGMENT,
    HEADER,
    HEADER_MAX_BYTES,
    LIVE,
    PARTIAL,
    PROBE,
    PROFILES_MAX,
    PULSE,
    PULSE_LONGEST_MS,
    RANGES_MAX,
    REFUSED,
    REPAIR,
    RUN,
    SEQUENCE_MAX,
    STORED,
    TOKEN_BYTES,
    WHOLE,
    WINDOW,
    Ack,
    Block,
    Brief,
    Control,
    Echo,
    Fragment,
    Live,
    Probe,
    PulseWish,
    Refused,
    Repair,
    Stored,
    StoredPartly,
    Window,
    precedence_of,
    put_source,
    read_sequence,
    read_source,
)
from edge_agent.core.bundle import MalformedError
from edge_agent.core.errors import RefusalReason
from edge_agent.core.run import read_run
from edge_agent.core.varint import ByteReader, put_varint, put_varints, unzigzag, zigzag

_REASONS = tuple(RefusalReason)
_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call


def _put_ranges_upwards(out: bytearray, ranges: Iterable[tuple[int, int]]) -> None:
    listed = list(ranges)[:RANGES_MAX]
    values, before = [len(listed)], 0
    for start, end in listed:
        values += (start - before, end - start - 1)
        before = end
    put_varints(out, values)


def put_fragment(out: bytearray, fragment: Fragment) -> None:
    """Append a FRAGMENT block."""
    source, precedence, sequence, offset, total_bytes, header, age_low_ms, age_extra_ms, payload, _ = fragment
    whole = offset == 0 and len(payload) == total_bytes
    marks = precedence | (EXPLICIT if source else 0) | (HEADER if header else 0) | (WHOLE if whole else 0)
    out.append(FRAGMENT)
    out.append(marks)
    put_source(out, source)
    put_varints(out, (sequence,) if whole else (sequence, offset, total_bytes))
    if header:
        put_varint(out, len(header))
        out += header
        put_varints(out, (age_low_ms, age_extra_ms, len(payload)))
    else:
        put_varint(out, len(payload))
    out += payload


def put_live(out: bytearray, number: int, content: bytes) -> None:
    """Append a LIVE block."""
    out.append(LIVE)
    put_varints(out, (number, len(content)))
    out += content


def put_repair(out: bytearray, content: bytes) -> None:
    """Append a REPAIR block."""
    out.append(REPAIR)
    put_varint(out, len(content))
    out += content


def live_content(fragment: Fragment) -> bytes:
    """What a LIVE block of this fragment holds."""
    out = bytearray()
    put_fragment(out, fragment)
    return bytes(out[1:])


def put_ack(out: bytearray, ack: Ack) -> None:
    """Append an ACK block. ``arrivals`` are (number, ticks), highest number first."""
    reference, highest, highest_ticks, ranges, arrivals = ack
    values = [reference, highest, highest_ticks, len(ranges)]
    upper = highest + 1
    for start, end in ranges:
        values += (upper - end, end - start - 1)
        upper = start
    values.append(len(arrivals))
    number, ticks = highest, highest_ticks
    for each_number, each_ticks in arrivals:
        values += (number - each_number, zigzag(ticks - each_ticks))
        number, ticks = each_number, each_ticks
    out.append(ACK)
    put_varints(out, values)


def put_stored(out: bytearray, stored: Stored) -> None:
    """Append a STORED block of custody."""
    out.append(STORED)
    out.append(stored.precedence | (EXPLICIT if stored.source else 0))
    put_source(out, stored.source)
    _put_ranges_upwards(out, stored.ranges)


def put_stored_partly(out: bytearray, stored: StoredPartly) -> None:
    """Append a STORED block of byte ranges."""
    out.append(STORED)
    out.append(stored.precedence | (EXPLICIT if stored.source else 0) | PARTIAL)
    put_source(out, stored.source)
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
    out.append(refused.precedence | (EXPLICIT if refused.source else 0))
    put_source(out, refused.source)
    put_varint(out, refused.sequence)
    out.append(_REASONS.index(refused.reason))
    put_varint(out, round(refused.retry_after_s * 10))


def put_token(out: bytearray, kind: int, token: bytes) -> None:
    """Append a PROBE or ECHO block."""
    out.append(kind)
    out += token


def put_pulse(out: bytearray, interval_ms: int) -> None:
    """Append a PULSE block."""
    out.append(PULSE)
    put_varint(out, interval_ms)


def put_control(out: bytearray, fields: list[Any]) -> None:  # Any: msgpack's own types
    """Append a CONTROL block."""
    packed: bytes = msgpack.packb(fields)
    out.append(CONTROL)
    put_varint(out, len(packed))
    out += packed


def _ranges_upwards(reader: ByteReader) -> tuple[tuple[int, int], ...]:
    count = reader.varint()
    if count > RANGES_MAX:
        raise MalformedError("too many ranges")
    ranges = []
    before = 0
    steps = reader.varints(2 * count)
    for at in range(0, 2 * count, 2):
        start = before + steps[at]
        before = start + steps[at + 1] + 1
        ranges.append((start, before))
    if before > 1 << 62:
        raise MalformedError("range out of bounds")
    return tuple(ranges)


def _read_fragment(reader: ByteReader) -> Fragment:
    marks = reader.byte()
    if marks >= PARTIAL:
        raise MalformedError("fragment: unknown marks")
    precedence = precedence_of(marks)
    source = read_source(reader, marks) if marks & EXPLICIT else None
    sequence = read_sequence(reader)
    offset = total_bytes = 0
    if not marks & WHOLE:
        offset, total_bytes = reader.varints(2)
    header, age_low_ms, age_extra_ms = b"", 0, 0
    if marks & HEADER:
        length = reader.varint()
        if not 0 < length <= HEADER_MAX_BYTES:
            raise MalformedError("fragment: header length")
        header = reader.take(length)
        age_low_ms, age_extra_ms = reader.varints(2)
        if age_low_ms > AGE_MAX_MS or age_extra_ms > AGE_MAX_MS:
            raise MalformedError("fragment: age out of bounds")
    payload = reader.take(reader.varint())
    if marks & WHOLE:
        total_bytes = len(payload)
    elif offset + len(payload) > total_bytes or total_bytes > BUNDLE_MAX_BYTES or not payload:
        raise MalformedError("fragment: beyond its bundle")
    if (marks & WHOLE or offset == 0) and not header:
        raise MalformedError("fragment: a bundle starts with its header")
    return _new_tuple(
        Fragment,
        (source, precedence, sequence, offset, total_bytes, header, age_low_ms, age_extra_ms, payload, None),
    )


def read_live(content: bytes) -> Fragment:
    """The piece that a LIVE block holds. Raises MalformedError."""
    reader = ByteReader(content)
    fragment = _read_fragment(reader)
    if reader.at != reader.end:
        raise MalformedError("live: longer than its piece")
    return fragment


def _read_live(reader: ByteReader) -> Live:
    number, length = reader.varints(2)
    if number > SEQUENCE_MAX:
        raise MalformedError("live: number out of bounds")
    content = reader.take(length)
    return Live(number, content, read_live(content))


def _read_ack(reader: ByteReader) -> Ack:
    reference, highest, highest_ticks, count = reader.varints(4)
    if not 0 < count <= RANGES_MAX:
        raise MalformedError("ack: ranges")
    ranges = []
    upper = highest + 1
    steps = reader.varints(2 * count + 1)
    for at in range(0, 2 * count, 2):
        end = upper - steps[at]
        upper = end - steps[at + 1] - 1
        if upper < 0:
            raise MalformedError("ack: below zero")
        ranges.append((upper, end))
    count = steps[-1]
    if count > ACK_TIMES_MAX:
        raise MalformedError("ack: times")
    arrivals = []
    number, ticks = highest, highest_ticks
    if count:
        steps = reader.varints(2 * count)
        for at in range(0, 2 * count, 2):
            number -= steps[at]
            ticks -= unzigzag(steps[at + 1])
            arrivals.append((number, ticks))
    return _new_tuple(Ack, (reference, highest, highest_ticks, tuple(ranges), tuple(arrivals)))


def _read_stored(reader: ByteReader) -> Stored | StoredPartly:
    marks = reader.byte()
    if marks & ~(7 | EXPLICIT | PARTIAL):
        raise MalformedError("stored: unknown marks")
    source = read_source(reader, marks)
    if marks & PARTIAL:
        sequence = read_sequence(reader)
        return StoredPartly(source, precedence_of(marks), sequence, _ranges_upwards(reader))
    return Stored(source, precedence_of(marks), _ranges_upwards(reader))


def _read_refused(reader: ByteReader) -> Refused:
    marks = reader.byte()
    if marks & ~(7 | EXPLICIT):
        raise MalformedError("refused: unknown marks")
    source = read_source(reader, marks)
    sequence = read_sequence(reader)
    code = reader.byte()
    if code >= len(_REASONS):
        raise MalformedError("refused: unknown reason")
    return Refused(source, precedence_of(marks), sequence, _REASONS[code], min(reader.varint() / 10, 86_400.0))


def _read_pulse(reader: ByteReader) -> PulseWish:
    interval_ms = reader.varint()
    if not 0 < interval_ms <= PULSE_LONGEST_MS:
        raise MalformedError("pulse: interval out of bounds")
    return PulseWish(interval_ms)


def _read_control(reader: ByteReader) -> Control:
    packed = reader.take(reader.varint())
    try:
        fields = msgpack.unpackb(packed, max_array_len=1024, max_str_len=256, max_bin_len=1024, max_map_len=0)
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedError("control is not msgpack") from error
    if not isinstance(fields, list) or not fields or type(fields[0]) is not int:
        raise MalformedError("control is not [kind, ...]")
    return Control(fields)


def _read_brief(reader: ByteReader, kind: int) -> Brief:
    sequence_cut, created_cut = reader.byte(), int.from_bytes(reader.take(2), "big")
    age_units = reader.byte() if kind & BRIEF_AGED else 0
    length = reader.end - reader.at if kind & BRIEF_ENDS else reader.byte()
    return Brief(kind & (PROFILES_MAX - 1), sequence_cut, created_cut, age_units, reader.take(length))


def read_blocks(body: bytes) -> Iterator[Block]:
    """The blocks of an opened frame, one by one. Raises MalformedError at the first bad one."""
    reader = ByteReader(body)
    while (at := reader.at) < reader.end:
        reader.at, kind = at + 1, body[at]
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
        elif kind == RUN:
            yield from read_run(reader)
        elif kind == PULSE:
            yield _read_pulse(reader)
        elif kind == LIVE:
            yield _read_live(reader)
        elif kind >= BRIEF:
            yield _read_brief(reader, kind)
        else:
            raise MalformedError(f"unknown block {kind}")
