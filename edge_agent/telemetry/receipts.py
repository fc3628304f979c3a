"""What a receipt says and its bytes: one state of many bundles of one source, as ranges of their numbers.

Form: msgpack array [state, level, node, at_ms, source, incarnation, precedence, ranges, by], state as its number. What
the reader can tell by itself is empty: ``node`` when it made the receipt's own bundle, ``at_ms`` when the time of
arrival is near enough, ``source`` when it is the node that reads. ``ranges`` are first number, length, gap, length,
gap, length ... So a thousand bundles in a row cost no more than one: about 25 bytes.

The forms of version 1 are still read: an array of whole ids means that all of them were delivered; a map is the
``Read`` of one bundle.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import msgpack

from edge_agent.core.bundle import NODE_ID_PATTERN, BundleId, MalformedError, Precedence
from edge_agent.core.intervals import IntervalSet
from edge_agent.core.progress import Progress
from edge_agent.telemetry.payloads import Read

RECEIPT_BUNDLES_MAX = 4096
"""Bundles one receipt may name: the reader makes a state of each."""
RECEIPT_RANGES_MAX = 512
SEQUENCE_MAX = 1 << 62
TEXT_MAX = 64
_FIELDS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """``state`` of the bundles (source, incarnation, precedence, ``ranges``) as ``node`` of ``level`` saw it.

    ``at_ms`` is when, UTC; 0: not said. ``by`` is the person. ``ranges`` are half open, ascending and apart.
    """

    state: Progress
    source: str
    incarnation: int
    precedence: Precedence
    ranges: tuple[tuple[int, int], ...]
    level: str = ""
    node: str = ""
    at_ms: int = 0
    by: str = ""

    def bundles(self) -> Iterator[BundleId]:
        """The bundles it speaks of."""
        for start, end in self.ranges:
            for number in range(start, end):
                yield BundleId(self.source, self.incarnation, self.precedence, number)

    def pack(self, *, reader: str, writer: str) -> bytes:
        """Its bytes for the node ``reader``, in a bundle of ``writer``."""
        numbers: list[int] = []
        before = 0
        for start, end in self.ranges:
            numbers += (start - before, end - start)
            before = end
        content = [
            self.state.code,
            self.level,
            "" if self.node == writer else self.node,
            self.at_ms,
            "" if self.source == reader else self.source,
            self.incarnation,
            int(self.precedence),
            numbers,
            self.by,
        ]
        packed: bytes = msgpack.packb(content)
        return packed


def gather(
    bundles: Iterable[BundleId], state: Progress, *, level: str, node: str, at_ms: int = 0, by: str = ""
) -> list[Receipt]:
    """As few receipts as the bounds allow that say ``state`` of all ``bundles``, in the order of their sources."""
    numbers: dict[tuple[str, int, Precedence], IntervalSet] = {}
    for bundle in bundles:
        numbers.setdefault(bundle[:3], IntervalSet()).add(bundle.sequence, bundle.sequence + 1)
    receipts: list[Receipt] = []
    for (source, incarnation, precedence), known in numbers.items():
        whole = Receipt(
            state=state,
            source=source,
            incarnation=incarnation,
            precedence=precedence,
            ranges=(),
            level=level,
            node=node,
            at_ms=at_ms,
            by=by,
        )
        receipts += [replace(whole, ranges=ranges) for ranges in _within_bounds(known)]
    return receipts


def _within_bounds(numbers: IntervalSet) -> Iterator[tuple[tuple[int, int], ...]]:
    part: list[tuple[int, int]] = []
    count = 0
    for range_start, end in numbers:
        start = range_start
        while start < end:
            stop = min(end, start + RECEIPT_BUNDLES_MAX - count)
            part.append((start, stop))
            count += stop - start
            start = stop
            if count == RECEIPT_BUNDLES_MAX or len(part) == RECEIPT_RANGES_MAX:
                yield tuple(part)
                part, count = [], 0
    if part:
        yield tuple(part)


def read_receipts(packed: bytes, *, reader: str, writer: str, at_ms: int) -> list[Receipt]:
    """What a receipt in a bundle of ``writer`` that came at ``at_ms`` says to ``reader``. Raises MalformedError."""
    try:
        content = msgpack.unpackb(packed, max_array_len=4 * RECEIPT_RANGES_MAX)
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedError("receipt: not msgpack") from error
    if isinstance(content, dict):
        return [_of_read(Read.unpack(packed), writer)]
    if not isinstance(content, list):
        raise MalformedError("receipt: not an array")
    if not content or isinstance(content[0], str):
        return _of_ids(content, writer, at_ms)
    return [_of_array(content, reader, writer, at_ms)]


def _of_read(read: Read, writer: str) -> Receipt:
    bundle = BundleId.parse(read.bundle)
    return Receipt(
        state=Progress(read.state),
        source=bundle.source,
        incarnation=bundle.incarnation,
        precedence=bundle.precedence,
        ranges=((bundle.sequence, bundle.sequence + 1),),
        node=writer,
        at_ms=read.at_ms,
        by=read.by,
    )


def _of_ids(texts: list[object], writer: str, at_ms: int) -> list[Receipt]:
    if len(texts) > RECEIPT_BUNDLES_MAX:
        raise MalformedError(f"receipt: {len(texts)} ids, allowed: {RECEIPT_BUNDLES_MAX}")
    bundles = [BundleId.parse(str(text)) for text in texts]
    return gather(bundles, Progress.DELIVERED, level="", node=writer, at_ms=at_ms)


def _of_array(content: list[object], reader: str, writer: str, at_ms: int) -> Receipt:
    if len(content) < _FIELDS:
        raise MalformedError(f"receipt: {len(content)} fields, expected {_FIELDS}")
    code, level, node, said_ms, source, incarnation, precedence, numbers, by = content[:_FIELDS]
    for name, text in (("level", level), ("node", node), ("by", by)):
        if not isinstance(text, str) or len(text) > TEXT_MAX:
            raise MalformedError(f"receipt: {name} is not a text of at most {TEXT_MAX} characters")
    for name, number, limit in (
        ("state", code, len(Progress)),
        ("at_ms", said_ms, 1 << 48),
        ("incarnation", incarnation, 1 << 64),
        ("precedence", precedence, len(Precedence)),
    ):
        if type(number) is not int or not 0 <= number < limit:
            raise MalformedError(f"receipt: {name} {number!r} is not a number below {limit}")
    if not isinstance(source, str) or (source and NODE_ID_PATTERN.fullmatch(source) is None):
        raise MalformedError("receipt: source")
    return Receipt(
        state=Progress.of_code(code),  # type: ignore[arg-type]  # the four numbers were checked above
        source=source or reader,
        incarnation=incarnation,  # type: ignore[arg-type]
        precedence=Precedence(precedence),  # type: ignore[arg-type]
        ranges=_ranges(numbers),
        level=str(level),
        node=str(node) or writer,
        at_ms=said_ms or at_ms,  # type: ignore[arg-type]
        by=str(by),
    )


def _ranges(numbers: object) -> tuple[tuple[int, int], ...]:
    if not isinstance(numbers, list) or not numbers or len(numbers) % 2 or len(numbers) > 2 * RECEIPT_RANGES_MAX:
        raise MalformedError(f"receipt: ranges are not 1 to {RECEIPT_RANGES_MAX} pairs")
    if any(type(number) is not int or not 0 <= number < SEQUENCE_MAX for number in numbers):
        raise MalformedError("receipt: a number of a range")
    ranges: list[tuple[int, int]] = []
    at = count = 0
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        start, end = at + gap, at + gap + length
        count += length
        if not length or end > SEQUENCE_MAX or count > RECEIPT_BUNDLES_MAX or (ranges and not gap):
            raise MalformedError("receipt: ranges are not apart and ascending, or name too many bundles")
        ranges.append((start, end))
        at = end
    return tuple(ranges)
