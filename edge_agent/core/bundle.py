"""Bundle: the one unit everything travels in, with its identity and its header.

A bundle is named by (source, incarnation, precedence, sequence): the incarnation is 64 random bits drawn when a
store is created, and each precedence counts in a sequence space of its own, so that urgent numbers close early.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import NamedTuple

import msgpack

from edge_agent.core.errors import EdgeAgentError

NODE_ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
FLOW_NAME_MAX_BYTES = 64
KEY_MAX_BYTES = 64
OPERATION_ID_MAX_BYTES = 16
CREATED_MAX_MS = 1 << 48
LIFETIME_MAX_S = 366 * 86_400  # a year of drill data; longer is an archive, not a lifetime
COMMAND = "command"
"""The destination that means every command level this node reports to, and a node role."""
LEVELS = ("county", "city", "province")
"""Command levels, in the order of their marks on the wire."""


class Precedence(IntEnum):
    """Order of service; a smaller value goes first. The value is the code on the wire."""

    FLASH = 0
    IMMEDIATE = 1
    PRIORITY = 2
    ROUTINE = 3
    DEFERRED = 4


_LETTERS = "".join(precedence.name[0] for precedence in Precedence)


class FlowOrder(Enum):
    """Order inside one flow: oldest first, newest first, or only the newest of each key."""

    FIFO = "fifo"
    NEWEST = "newest"
    LATEST = "latest"


class Origin(Enum):
    """Who made a bundle; people go before machines inside a precedence."""

    PERSON = "person"
    MACHINE = "machine"


class MalformedError(EdgeAgentError):
    """Bytes or text that do not hold what they should; counted where they came from a peer."""


class BundleId(NamedTuple):
    """Name of one bundle, the same on every node for ever. A tuple, because it keys every table of the hot path."""

    source: str
    incarnation: int
    precedence: Precedence
    sequence: int

    def __str__(self) -> str:
        return f"{self.source}~{self.incarnation:016x}~{_LETTERS[self.precedence]}{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> "BundleId":
        """The id that ``str`` wrote. Raises MalformedError."""
        match = re.fullmatch(r"([a-z0-9][a-z0-9._-]{0,31})~([0-9a-f]{16})~([FIPRD])([0-9]{1,19})", text)
        if match is None:
            raise MalformedError(f"bundle id {text!r}: expected SOURCE~INCARNATION~PRECEDENCE+NUMBER")
        source, incarnation, letter, sequence = match.groups()
        precedence = Precedence(_LETTERS.index(letter))
        return cls(source, int(incarnation, 16), precedence, int(sequence))


CLOCK_FLOOR_MS = 1_735_689_600_000
"""2025-01-01: before this software was written no clock was right. An earlier stamp is of a clock nobody had set."""


@dataclass(frozen=True, kw_only=True)  # no slots: ``made_at`` copies a dict, a tenth of what setting fields costs
class BundleHeader:
    """What travels with the payload and never changes on the way.

    ``created_at_ms`` is UTC milliseconds since 1970 by the source's clock, for people only. ``key`` names what a
    ``latest`` bundle is the newest of. ``deadline_s`` > 0 makes the bundle perishable: useless that long after
    creation, never stored. ``levels``: of ``command`` that it is for, in the order of LEVELS; empty: all.
    """

    destination: str
    flow: str
    order: FlowOrder = FlowOrder.FIFO
    origin: Origin = Origin.MACHINE
    created_at_ms: int = 0
    lifetime_s: float = 86_400.0
    key: str = ""
    deadline_s: float = 0.0
    operation_id: bytes = b""
    levels: tuple[str, ...] = ()
    _packed: bytes = field(default=b"", init=False, repr=False, compare=False)
    """What ``pack`` gave, or ``unpack`` was given: it is asked for at each hop and by each store."""

    def pack(self) -> bytes:
        """msgpack array [destination, flow, marks, created ms, lifetime ms, key, deadline ms, operation].

        Marks are order + 4 origin + 8 county + 16 city + 32 province; a program that knows no levels refuses these.
        """
        if self._packed:
            return self._packed
        marks = _ORDERS.index(self.order) + 4 * (self.origin is Origin.MACHINE)
        if self.levels:
            marks += sum(8 << at for at, level in enumerate(LEVELS) if level in self.levels)
        fields: list[object] = [self.destination, self.flow, marks, self.created_at_ms, round(self.lifetime_s * 1000)]
        extra = [self.key, round(self.deadline_s * 1000), self.operation_id]
        if any(extra):
            fields += extra
        packed: bytes = msgpack.packb(fields)
        object.__setattr__(self, "_packed", packed)
        return packed

    def created_offset(self) -> int:
        """Where in ``pack()`` the creation time begins: behind the array's byte, two texts and the marks."""
        lengths = len(self.destination.encode()), len(self.flow.encode())
        return 2 + sum(length + (1 if length < 32 else 2) for length in lengths)  # msgpack: fixstr, str 8

    def made_at(self, created_at_ms: int, packed: bytes = b"") -> "BundleHeader":
        """The same header with another creation time, ``packed`` where that is known; quicker than ``replace``."""
        twin = object.__new__(BundleHeader)
        fields = twin.__dict__
        fields.update(self.__dict__)
        fields["created_at_ms"], fields["_packed"] = created_at_ms, packed
        return twin

    @classmethod
    def unpack(cls, packed: bytes) -> "BundleHeader":
        """The header that ``pack`` wrote. Raises MalformedError for anything else."""
        try:
            fields = msgpack.unpackb(packed, max_str_len=256, max_bin_len=OPERATION_ID_MAX_BYTES, max_array_len=8)
        except (ValueError, msgpack.UnpackException) as error:
            raise MalformedError("header is not msgpack") from error
        if not isinstance(fields, list) or len(fields) not in (5, 8):
            raise MalformedError("header is not an array of 5 or 8")
        destination, flow, marks, created_at_ms, lifetime_ms = fields[:5]
        key, deadline_ms, operation_id = fields[5:] or ("", 0, b"")
        if not (isinstance(destination, str) and NODE_ID_PATTERN.fullmatch(destination)):
            raise MalformedError("header: destination")
        if not (isinstance(flow, str) and 0 < len(flow.encode()) <= FLOW_NAME_MAX_BYTES):
            raise MalformedError("header: flow")
        if not (isinstance(key, str) and len(key.encode()) <= KEY_MAX_BYTES and isinstance(operation_id, bytes)):
            raise MalformedError("header: key or operation")
        numbers = (marks, created_at_ms, lifetime_ms, deadline_ms)
        if any(type(number) is not int or number < 0 for number in numbers):
            raise MalformedError("header: a number is negative or not an integer")
        if (
            marks & 3 >= len(_ORDERS)
            or marks >= 8 << len(LEVELS)
            or lifetime_ms > LIFETIME_MAX_S * 1000
            or created_at_ms >= CREATED_MAX_MS
        ):
            raise MalformedError("header: a number is out of range")
        header = cls(
            destination=destination,
            flow=flow,
            order=_ORDERS[marks & 3],
            origin=Origin.MACHINE if marks & 4 else Origin.PERSON,
            created_at_ms=created_at_ms,
            lifetime_s=lifetime_ms / 1000,
            key=key,
            deadline_s=deadline_ms / 1000,
            operation_id=operation_id,
            levels=tuple(level for at, level in enumerate(LEVELS) if marks & 8 << at) if marks > 7 else (),
        )
        object.__setattr__(header, "_packed", bytes(packed))
        return header


_ORDERS = (FlowOrder.FIFO, FlowOrder.NEWEST, FlowOrder.LATEST)


class HeaderReader:
    """Unpacks headers one after another; one that differs from the last in its creation time only costs little."""

    def __init__(self) -> None:
        self._last: BundleHeader | None = None
        self._packed = self._before = self._after = b""

    def read(self, packed: bytes) -> BundleHeader:
        """The header that ``pack`` wrote. Raises MalformedError."""
        last = self._last
        if last is not None and len(packed) == len(self._packed):
            if packed == self._packed:
                return last
            before, after = self._before, self._after
            if before and packed.startswith(before) and packed.endswith(after):
                created_at_ms = int.from_bytes(packed[len(before) : len(packed) - len(after)], "big")
                if created_at_ms < CREATED_MAX_MS:
                    return last.made_at(created_at_ms, packed)
        header = BundleHeader.unpack(packed)
        at = header.created_offset()
        self._last, self._packed = header, packed
        is_long = packed[at] == _UINT64
        self._before, self._after = (packed[: at + 1], packed[at + 9 :]) if is_long else (b"", b"")
        return header


_UINT64 = 0xCF  # msgpack: a number of eight bytes follows, as it does for any time since 1970


class BundleRecord(NamedTuple):
    """One bundle in custody: what a store keeps beside the payload. A tuple, because one is made for every bundle.

    The two ages bound how old the bundle was at ``as_of_s`` (this process's monotonic clock): data expires by the
    lower, an order is acted on only while the upper is inside its lifetime.
    """

    id: BundleId
    header: BundleHeader
    payload_bytes: int
    as_of_s: float
    age_low_s: float = 0.0
    age_high_s: float = 0.0

    def age_low_at(self, now_s: float) -> float:
        """Least possible age in seconds at ``now_s``."""
        return self.age_low_s + now_s - self.as_of_s

    def age_high_at(self, now_s: float) -> float:
        """Greatest possible age in seconds at ``now_s``."""
        return self.age_high_s + now_s - self.as_of_s

    def is_expired(self, now_s: float) -> bool:
        """Whether the lifetime has surely passed."""
        return self.age_low_at(now_s) >= self.header.lifetime_s
