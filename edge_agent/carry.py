"""Bundles in a file that people carry: how waiting ones are written, and how a file is read, also a damaged one.

    file   = magic, version (1 byte), salt (16), chunk, chunk, ...
    chunk  = length (4 bytes, big-endian; the top bit marks the last one), sealed bytes (``security.carry_seal``)
    plain  = record, record, ...        across chunks
    record = length (4 bytes), msgpack [source, incarnation, precedence, sequence, header, payload bytes,
             least age ms, greatest age ms, UTC ms], payload

The ages are those at the time of writing, which the last field names by the writer's clock.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

import msgpack

from edge_agent.core.bundle import (
    CLOCK_FLOOR_MS,
    LIFETIME_MAX_S,
    BundleHeader,
    BundleId,
    BundleRecord,
    MalformedError,
    Precedence,
)
from edge_agent.core.errors import EdgeAgentError
from edge_agent.disk.types import is_storable
from edge_agent.security.carry_seal import CHUNK_BYTES, OVERHEAD_BYTES, SALT_BYTES, CarryCipher, CarrySealError

MAGIC = b"LIFELINE CARRY\n"
VERSION = 1
HEAD_BYTES = len(MAGIC) + 1 + SALT_BYTES
PAYLOAD_MAX_BYTES = 64 << 20
"""A larger payload waits for a link: it would have to be in memory whole."""
META_MAX_BYTES = 1024
_LAST = 1 << 31


class CarryFileError(EdgeAgentError):
    """A file is not one of ours, or of a newer version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """One bundle of a file. Ages are those when it was written, at ``wall_ms`` (UTC) by that node's clock."""

    bundle: BundleId
    header: BundleHeader
    payload: bytes
    age_low_ms: int
    age_high_ms: int
    wall_ms: int

    def record_at(self, now_s: float, wall_ms: int) -> BundleRecord:
        """The record of an arrival now. Its least age gains nothing; its greatest the time by both clocks.

        Where a clock is not to be trusted (not set, or running backwards), the greatest age has no bound worth a name.
        """
        gap_ms = wall_ms - self.wall_ms
        is_known = self.wall_ms >= CLOCK_FLOOR_MS and gap_ms >= 0
        age_high_s = (self.age_high_ms + gap_ms) / 1000 if is_known else float(LIFETIME_MAX_S)
        return BundleRecord(
            id=self.bundle,
            header=self.header,
            payload_bytes=len(self.payload),
            as_of_s=now_s,
            age_low_s=self.age_low_ms / 1000,
            age_high_s=max(age_high_s, self.age_low_ms / 1000),
        )


def pack_meta(record: BundleRecord, now_s: float, wall_ms: int) -> bytes:
    """What stands before a bundle's payload."""
    bundle = record.id
    meta: bytes = msgpack.packb(
        [
            bundle.source,
            bundle.incarnation,
            int(bundle.precedence),
            bundle.sequence,
            record.header.pack(),
            record.payload_bytes,
            max(0, round(record.age_low_at(now_s) * 1000)),
            max(0, round(record.age_high_at(now_s) * 1000)),
            wall_ms,
        ]
    )
    return struct.pack(">I", len(meta)) + meta


@dataclass(slots=True)
class CarryWriter:
    """Plain bytes in, pieces of the file out."""

    secret: bytes = field(repr=False)
    _cipher: CarryCipher = field(init=False)
    _plain: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._cipher = CarryCipher(self.secret)

    def head(self) -> bytes:
        """The beginning of the file."""
        return MAGIC + bytes((VERSION,)) + self._cipher.salt

    def put(self, plain: bytes) -> bytes:
        """The chunks that became full; the last chunk is for ``finish``."""
        self._plain += plain
        pieces = bytearray()
        while len(self._plain) > CHUNK_BYTES:
            pieces += self._chunk(bytes(self._plain[:CHUNK_BYTES]), is_last=False)
            del self._plain[:CHUNK_BYTES]
        return bytes(pieces)

    def finish(self) -> bytes:
        """The end of the file."""
        return self._chunk(bytes(self._plain), is_last=True)

    def _chunk(self, plain: bytes, *, is_last: bool) -> bytes:
        sealed = self._cipher.seal(plain, is_last=is_last)
        return struct.pack(">I", len(sealed) | (_LAST if is_last else 0)) + sealed


@dataclass(slots=True)
class CarryReader:
    """The file in, in pieces of any size; whole bundles out, until its end or the first damage.

    ``damage`` is empty while all is well; else it says which record could not be read and why. What came before it is
    good, and nothing after it is looked at.
    """

    secret: bytes = field(repr=False)
    damage: str = ""
    records: int = 0
    _cipher: CarryCipher | None = None
    _sealed: bytearray = field(default_factory=bytearray)
    _plain: bytearray = field(default_factory=bytearray)
    _is_ended: bool = False

    def feed(self, piece: bytes) -> list[Carried]:
        """Bundles that became whole. Raises CarryFileError when the file's beginning is not ours."""
        if self.damage or self._is_ended:
            if piece and self._is_ended:
                self._note("something follows the end of the file")
            return []
        self._sealed += piece
        if self._cipher is None and not self._begin():
            return []
        found: list[Carried] = []
        while not self.damage and self._open_chunk():
            self._take_records(found)
        return found

    def finish(self) -> None:
        """The file has no more bytes: notes damage unless that was its end. Raises CarryFileError for an empty file."""
        if self._cipher is None:
            raise CarryFileError(f"is shorter than the {HEAD_BYTES} bytes that such a file begins with")
        if not self.damage and not self._is_ended:
            self._note("the file is cut off")

    def _begin(self) -> bool:
        if not MAGIC.startswith(bytes(self._sealed[: len(MAGIC)])):
            raise CarryFileError("is not a file of carried bundles")
        if len(self._sealed) < HEAD_BYTES:
            return False
        version = self._sealed[len(MAGIC)]
        if version != VERSION:
            raise CarryFileError(f"has version {version}, this program reads version {VERSION}")
        self._cipher = CarryCipher(self.secret, bytes(self._sealed[len(MAGIC) + 1 : HEAD_BYTES]))
        del self._sealed[:HEAD_BYTES]
        return True

    def _open_chunk(self) -> bool:
        """Open the next chunk if it is here."""
        assert self._cipher is not None  # the beginning was read
        if self._is_ended or len(self._sealed) < 4:
            return False
        (word,) = struct.unpack_from(">I", self._sealed)
        length, is_last = word & ~_LAST, bool(word & _LAST)
        if length > CHUNK_BYTES + OVERHEAD_BYTES:
            self._note("is not of this deployment, or was changed")
            return False
        if len(self._sealed) < 4 + length:
            return False
        try:
            self._plain += self._cipher.open(bytes(self._sealed[4 : 4 + length]), is_last=is_last)
        except CarrySealError as error:
            self._note(str(error))
            return False
        del self._sealed[: 4 + length]
        self._is_ended = is_last
        return True

    def _take_records(self, found: list[Carried]) -> None:
        while len(self._plain) >= 4:
            (length,) = struct.unpack_from(">I", self._plain)
            if length > META_MAX_BYTES:
                self._note(f"announces {length} bytes of description, at most {META_MAX_BYTES} are taken")
                return
            if len(self._plain) < 4 + length:
                break
            try:
                fields = _read_meta(bytes(self._plain[4 : 4 + length]))
            except MalformedError as error:
                self._note(str(error))
                return
            end = 4 + length + fields.payload_bytes
            if len(self._plain) < end:
                break
            found.append(fields.carried(bytes(self._plain[4 + length : end])))
            self.records += 1
            del self._plain[:end]
        if self._is_ended and (self._plain or self._sealed):
            self._note("the last record is not whole" if self._plain else "something follows the end of the file")

    def _note(self, what: str) -> None:
        self.damage = f"record {self.records + 1}: {what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meta:
    bundle: BundleId
    header: BundleHeader
    payload_bytes: int
    age_low_ms: int
    age_high_ms: int
    wall_ms: int

    def carried(self, payload: bytes) -> Carried:
        return Carried(
            bundle=self.bundle,
            header=self.header,
            payload=payload,
            age_low_ms=self.age_low_ms,
            age_high_ms=self.age_high_ms,
            wall_ms=self.wall_ms,
        )


def _read_meta(packed: bytes) -> _Meta:
    try:
        fields: list[Any] = msgpack.unpackb(packed)  # Any: checked below
        source, incarnation, precedence, sequence, header, *numbers = fields
        payload_bytes, age_low_ms, age_high_ms, wall_ms = numbers
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise MalformedError("its description is not what this version writes") from error
    if any(type(number) is not int or number < 0 for number in (incarnation, sequence, *numbers)):
        raise MalformedError("a number of its description is negative or not an integer")
    if payload_bytes > PAYLOAD_MAX_BYTES or not isinstance(header, bytes) or precedence not in tuple(Precedence):
        raise MalformedError("its size, header or precedence is not allowed")
    bundle = BundleId.parse(str(BundleId(str(source), incarnation & (1 << 64) - 1, Precedence(precedence), sequence)))
    if not is_storable(bundle):
        raise MalformedError("its number is not allowed")
    return _Meta(
        bundle=bundle,
        header=BundleHeader.unpack(header),
        payload_bytes=payload_bytes,
        age_low_ms=age_low_ms,
        age_high_ms=age_high_ms,
        wall_ms=wall_ms,
    )
