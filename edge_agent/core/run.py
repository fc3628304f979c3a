"""RUN: bundles of one source and precedence whose headers differ in their creation time only, delta-coded.

    RUN     marks, [incarnation, source], header before the time, header after it (each with its length), count - 1,
            sequence, created ms, age low ms, age extra ms, length, payload; then of each further bundle a step, payload
    step    2 x zigzag(change of the difference of creation times) + (flags follow), [flags], then what those say:
            1 sequence (signed, from the one after the last), 2 length, 4 age extra, 8 change of created + age low
            (signed; else it is the same moment), 16 the age is that of the last one

Readings of one flow come with steady differences, and created + age low is the same moment for all: 1 to 2 bytes each.
A reader makes of it the fragments that would have come one by one, with the very headers (their hashes name them).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgpack

from edge_agent.core.blocks import (
    AGE_MAX_MS,
    EXPLICIT,
    HEADER_MAX_BYTES,
    RUN,
    SEQUENCE_MAX,
    Fragment,
    precedence_of,
    put_source,
    read_sequence,
    read_source,
)
from edge_agent.core.bundle import CREATED_MAX_MS, BundleHeader, MalformedError
from edge_agent.core.varint import ByteReader, put_signed, put_varint

_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call
RUN_MAX = 128
"""Bundles in one run: their count is one byte, to be written when the last one is in."""
RUN_GROWTH_BYTES = 4
"""At most so much longer is a run of one bundle than its FRAGMENT (created at 0; usually it is shorter)."""
_GAP, _LENGTH, _EXTRA, _MOVED, _SAME_AGE = 1, 2, 4, 8, 16
_FLAGS_MAX = 32


@dataclass(slots=True)
class RunWriter:
    """A whole bundle at the end of a frame's body, and those like it that follow; ``body`` belongs to the draft.

    The first stands there as a FRAGMENT; it becomes a RUN when a second one joins it.
    """

    at: int
    """Where in the body it begins."""
    last: Fragment
    created_ms: int
    header: BundleHeader
    before: bytes = b""
    after: bytes = b""
    count: int = 1
    _count_at: int = 0
    _difference_ms: int = 0

    def step(self, created_ms: int, fragment: Fragment) -> bytes | None:
        """What stands before the payload of one more bundle; None when it is not like the others."""
        last = self.last
        if fragment.source != last.source or fragment.precedence != last.precedence or self.count >= RUN_MAX:
            return None
        if not self.before:
            self._learn_header()
        if not self._is_alike(fragment.header, created_ms):
            return None
        out, flags = bytearray(), 0
        if fragment.sequence != last.sequence + 1:
            flags = _GAP
            put_signed(out, fragment.sequence - last.sequence - 1)
        if fragment.total_bytes != last.total_bytes:
            flags |= _LENGTH
            put_varint(out, fragment.total_bytes)
        if fragment.age_extra_ms != last.age_extra_ms:
            flags |= _EXTRA
            put_varint(out, fragment.age_extra_ms)
        moved_ms = created_ms + fragment.age_low_ms - self.created_ms - last.age_low_ms
        if moved_ms and fragment.age_low_ms == last.age_low_ms:
            flags |= _SAME_AGE
        elif moved_ms:
            flags |= _MOVED
            put_signed(out, moved_ms)
        change_ms = created_ms - self.created_ms - self._difference_ms
        first = bytearray()
        put_varint(first, (change_ms << 1 if change_ms >= 0 else (-change_ms << 1) - 1) << 1 | (flags > 0))
        if flags:
            first.append(flags)
        return bytes(first + out)

    def _is_alike(self, header: bytes, created_ms: int) -> bool:
        """Whether a packed header differs from those before in its creation time at most."""
        before, after = self.before, self.after
        if len(header) == len(self.last.header):  # so the creation times are of one length, and stand in one place
            return header.startswith(before) and header.endswith(after)
        return header == b"".join((before, msgpack.packb(created_ms), after))

    def _learn_header(self) -> None:
        packed, at = self.last.header, self.header.created_offset()
        self.before = packed[:at]
        self.after = packed[at + len(msgpack.packb(self.created_ms)) :]

    def join(self, body: bytearray, step: bytes, created_ms: int, fragment: Fragment) -> None:
        """Append the bundle that ``step`` was made for."""
        if self.count == 1:
            self._begin(body)
        body += step
        body += fragment.payload
        self._difference_ms = created_ms - self.created_ms
        self.last, self.created_ms = fragment, created_ms
        self.count += 1
        body[self._count_at] = self.count - 1

    def _begin(self, body: bytearray) -> None:
        first = self.last
        del body[self.at :]
        body.append(RUN)
        body.append(first.precedence | (EXPLICIT if first.source else 0))
        put_source(body, first.source)
        for part in (self.before, self.after):
            put_varint(body, len(part))
            body += part
        self._count_at = len(body)
        body.append(0)
        put_varint(body, first.sequence)
        put_varint(body, self.created_ms)
        put_varint(body, first.age_low_ms)
        put_varint(body, first.age_extra_ms)
        put_varint(body, first.total_bytes)
        body += first.payload


def read_run(reader: ByteReader) -> Iterator[Fragment]:
    """The fragments of a RUN, one by one. Raises MalformedError at the first bad one."""
    marks = reader.byte()
    if marks & ~(7 | EXPLICIT):
        raise MalformedError("run: unknown marks")
    precedence, source = precedence_of(marks), read_source(reader, marks)
    before, after = reader.take(reader.varint()), reader.take(reader.varint())
    if len(before) + len(after) + 9 > HEADER_MAX_BYTES:
        raise MalformedError("run: header length")
    left = reader.byte()
    sequence, created_ms, age_low_ms = read_sequence(reader), reader.varint(), reader.varint()
    extra_ms, length = reader.varint(), reader.varint()
    moment_ms, difference_ms = created_ms + age_low_ms, 0
    template: BundleHeader | None = None
    while True:
        if not 0 <= created_ms < CREATED_MAX_MS:
            raise MalformedError("run: creation time out of range")
        if not (0 <= age_low_ms <= AGE_MAX_MS and extra_ms <= AGE_MAX_MS and 0 <= sequence <= SEQUENCE_MAX):
            raise MalformedError("run: age or sequence out of bounds")
        packed = before + msgpack.packb(created_ms) + after
        if template is None:
            header = template = _template(packed, len(before), created_ms)
        else:
            header = template.made_at(created_ms, packed)
        payload = reader.take(length)
        yield _new_tuple(
            Fragment, (source, precedence, sequence, 0, length, packed, age_low_ms, extra_ms, payload, header)
        )
        if not left:
            return
        left -= 1
        first = reader.varint()
        change, flags = first >> 1, reader.byte() if first & 1 else 0
        if flags >= _FLAGS_MAX or (first & 1 and not flags):
            raise MalformedError("run: unknown flags")
        difference_ms += -((change + 1) >> 1) if change & 1 else change >> 1
        created_ms += difference_ms
        sequence += 1 + (reader.signed() if flags & _GAP else 0)
        if flags & _LENGTH:
            length = reader.varint()
        if flags & _EXTRA:
            extra_ms = reader.varint()
        if flags & _SAME_AGE:
            moment_ms += difference_ms
        if flags & _MOVED:
            moment_ms += reader.signed()
        age_low_ms = moment_ms - created_ms


def _template(packed: bytes, at: int, created_ms: int) -> BundleHeader:
    """The first header of a run, whose creation time must stand at ``at``. Raises MalformedError."""
    header = BundleHeader.unpack(packed)
    if header.created_at_ms != created_ms or header.created_offset() != at or header.pack() != packed:
        raise MalformedError("run: header")
    return header
