"""Variable-length integers (LEB128, seven bits a byte, low first), bounded to 63 bits. Source: DWARF 5, section 7.6."""

from collections.abc import Iterable, Sequence

from edge_agent.core.bundle import MalformedError

VARINT_MAX = (1 << 63) - 1
SHORT_RUN = 4
"""A longer list of varints is looked at as a whole first: it may be bytes that are their own values."""


def put_varint(out: bytearray, value: int) -> None:
    """Append ``value`` (0 to VARINT_MAX)."""
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def put_varints(out: bytearray, values: Iterable[int]) -> None:
    """Append each of ``values``: most are short, and a call costs more than their one byte."""
    for value in values:
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)


def put_signed(out: bytearray, value: int) -> None:
    """Append a signed value, small magnitudes short (zigzag)."""
    put_varint(out, zigzag(value))


def zigzag(value: int) -> int:
    """A signed value as one from 0 up: 0, -1, 1, -2, 2 become 0, 1, 2, 3, 4."""
    return value << 1 if value >= 0 else (-value << 1) - 1


def unzigzag(value: int) -> int:
    """What ``zigzag`` was given."""
    return -((value + 1) >> 1) if value & 1 else value >> 1


class ByteReader:
    """Walks over bytes from a stranger; every read is bounded. Raises MalformedError where they end too early."""

    __slots__ = ("at", "body", "end")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0
        self.end = len(body)

    def byte(self) -> int:
        """The next byte."""
        at = self.at
        if at >= self.end:
            raise MalformedError("block ends early")
        self.at = at + 1
        return self.body[at]

    def varint(self) -> int:
        """The next varint, 0 to VARINT_MAX."""
        at = self.at
        if at < self.end and (value := self.body[at]) < 128:
            self.at = at + 1
            return value
        return self.varints(1)[0]

    def varints(self, count: int) -> Sequence[int]:
        """The next ``count`` varints."""
        at, body = self.at, self.body
        if count > SHORT_RUN:
            short = body[at : at + count]
            if short.isascii() and len(short) == count:  # each below 128, as in most lists of steps
                self.at = at + count
                return short
        values: list[int] = []
        append = values.append
        try:
            for _ in range(count):
                value = body[at]
                at += 1
                if value > 127:
                    byte, shift = body[at], 7
                    at += 1
                    value += (byte << 7) - 128  # the mark of each byte that is followed by another is taken off then
                    while byte > 127:
                        if shift == 56:
                            raise MalformedError("varint too long or cut")
                        byte, shift = body[at], shift + 7
                        at += 1
                        value += (byte << shift) - (1 << shift)
                    if byte == 0:  # a longer form of a shorter number: one number, one encoding
                        raise MalformedError("varint out of range")
                append(value)
        except IndexError:
            raise MalformedError("varint too long or cut") from None
        self.at = at
        return values

    def signed(self) -> int:
        """The next zigzag value."""
        return unzigzag(self.varint())

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        at = self.at
        if length > self.end - at:
            raise MalformedError("block ends early")
        self.at = at + length
        return self.body[at : at + length]
