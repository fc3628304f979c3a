"""What command nodes send each other: copies of what arrived, and which numbers each of them has. msgpack arrays.

COPY   [1, answers, source, incarnation, precedence, sequence, header, least age ms, greatest age ms, payload]
HAVE   [1, level, is_whole, asks, [source, incarnation, precedence, start, stop, start, stop, ...], ...]
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

from edge_agent.core.blocks import SEQUENCE_MAX
from edge_agent.core.bundle import NODE_ID_PATTERN, BundleHeader, BundleId, BundleRecord, MalformedError, Precedence
from edge_agent.core.closed_numbers import ClosedKey
from edge_agent.core.intervals import IntervalSet

COPY_FLOW, HAVE_FLOW = "posts.copy", "posts.have"
POST_FLOWS = (COPY_FLOW, HAVE_FLOW)
ACT_FLOW = "posts.act"
"""What a person did at a post: a bundle for ``command`` that begins in its own store and is copied from there."""
_ACT_MARK = 0xAC7
_FORM = 1
_COPY_FIELDS, _HAVE_FIELDS = 9, 4
_AGE_MAX_MS = 1 << 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A bundle as it was when its copy left. ``answers``: who takes the copy sends the receipt of its level."""

    record: BundleRecord
    payload: bytes
    answers: bool


def pack_copies(copies: Iterable[Copy], now_s: float) -> bytes:
    """The payload of a bundle that carries these, with their ages of this moment."""
    items = []
    for copy in copies:
        bundle, record = copy.record.id, copy.record
        ages = [max(0, round(age_s * 1000)) for age_s in (record.age_low_at(now_s), record.age_high_at(now_s))]
        names = [bundle.source, bundle.incarnation, int(bundle.precedence), bundle.sequence]
        items.append([copy.answers, *names, record.header.pack(), *ages, copy.payload])
    packed: bytes = msgpack.packb([_FORM, *items])
    return packed


def read_copies(packed: bytes, way: BundleRecord, now_s: float) -> list[Copy]:
    """What ``pack_copies`` wrote; each has aged as long as ``way``, which brought it. Raises MalformedError."""
    return [_read_copy(item, way, now_s) for item in _fields(packed, 1)[1:]]


def _read_copy(fields: Any, way: BundleRecord, now_s: float) -> Copy:  # Any: a peer's
    if not isinstance(fields, list) or len(fields) != _COPY_FIELDS:
        raise MalformedError("copy: fields")
    answers, source, incarnation, precedence, sequence, header, age_low_ms, age_high_ms, payload = fields
    key = _key([source, incarnation, precedence])
    if any(type(each) is not int or not 0 <= each < _AGE_MAX_MS for each in (age_low_ms, age_high_ms)):
        raise MalformedError("copy: ages")
    if type(sequence) is not int or not 0 <= sequence < SEQUENCE_MAX:
        raise MalformedError("copy: number")
    if not (isinstance(header, bytes) and isinstance(payload, bytes)):
        raise MalformedError("copy: header or payload")
    record = BundleRecord(
        BundleId(*key, sequence),
        BundleHeader.unpack(header),
        len(payload),
        now_s,
        age_low_ms / 1000 + way.age_low_at(now_s),
        max(age_low_ms, age_high_ms) / 1000 + way.age_high_at(now_s),
    )
    return Copy(record=record, payload=payload, answers=answers is True)


@dataclass(frozen=True, slots=True, kw_only=True)
class HaveWord:
    """Numbers of bundles that the sender has. ``is_whole``: all it has; ``asks``: it wants to hear the same."""

    level: str
    is_whole: bool
    asks: bool
    numbers: Mapping[ClosedKey, IntervalSet]

    def pack(self) -> bytes:
        """The bytes."""
        keys = [
            [source, incarnation, int(precedence), *(edge for each in ranges for edge in each)]
            for (source, incarnation, precedence), ranges in self.numbers.items()
        ]
        packed: bytes = msgpack.packb([_FORM, self.level, self.is_whole, self.asks, *keys])
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> "HaveWord":
        """What ``pack`` wrote. Raises MalformedError."""
        fields = _fields(packed, _HAVE_FIELDS)
        level, is_whole, asks = fields[1:_HAVE_FIELDS]
        if not (isinstance(level, str) and len(level) <= 16):
            raise MalformedError("have: level")
        numbers: dict[ClosedKey, IntervalSet] = {}
        for each in fields[_HAVE_FIELDS:]:
            if not isinstance(each, list) or len(each) % 2 == 0:
                raise MalformedError("have: ranges")
            ranges = numbers.setdefault(_key(each[:3]), IntervalSet())
            for start, end in zip(each[3::2], each[4::2], strict=True):
                if type(start) is not int or type(end) is not int or not 0 <= start < end <= SEQUENCE_MAX:
                    raise MalformedError("have: a range")
                ranges.add(start, end)
        return cls(level=level, is_whole=is_whole is True, asks=asks is True, numbers=numbers)


def act_incarnation(incarnation: int) -> int:
    """Under which a store with this incarnation numbers its acts, without gaps; the store itself never sends by it."""
    return (incarnation ^ 1 << 63) >> 12 << 12 | _ACT_MARK


def may_be_act(key: ClosedKey) -> bool:
    """Whether these numbers may be those of acts; one other incarnation in 4,096 looks like it."""
    return key[1] & 0xFFF == _ACT_MARK


def _fields(packed: bytes, least: int) -> list[Any]:  # Any: a peer's
    try:
        fields = msgpack.unpackb(packed)
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedError("a word between posts is not msgpack") from error
    if not isinstance(fields, list) or len(fields) < least or fields[0] != _FORM:
        raise MalformedError("a word between posts has another form")
    return fields


def _key(fields: list[Any]) -> ClosedKey:  # Any: a peer's
    if len(fields) != 3:
        raise MalformedError("whose numbers: fields")
    source, incarnation, precedence = fields
    if not (isinstance(source, str) and NODE_ID_PATTERN.fullmatch(source)):
        raise MalformedError("whose numbers: source")
    if type(incarnation) is not int or not 0 <= incarnation < 1 << 64:
        raise MalformedError("whose numbers: incarnation")
    if type(precedence) is not int or precedence not in tuple(Precedence):
        raise MalformedError("whose numbers: precedence")
    return source, incarnation, Precedence(precedence)
