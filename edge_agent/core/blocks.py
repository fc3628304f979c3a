"""What a frame holds: every kind of block as a value, its bounds, and the parts that several kinds share.

Their bytes are written and read by ``codec`` (one block at a time) and ``run`` (bundles whose headers are alike).
"""

from typing import Any, NamedTuple

from edge_agent.core.bundle import NODE_ID_PATTERN, BundleHeader, MalformedError, Precedence
from edge_agent.core.errors import RefusalReason
from edge_agent.core.varint import ByteReader

FRAGMENT, ACK, STORED, WINDOW, REFUSED, PROBE, ECHO, REPAIR, CONTROL, RUN, PULSE, LIVE = range(1, 13)

BRIEF, BRIEF_ENDS, BRIEF_AGED = 128, 64, 32
"""Kinds from 128 on are BRIEF; the bits below 32 are the number of its profile."""
PROFILES_MAX = 32
"""Of one session and direction; flows beyond it travel as fragments. A number never gets another meaning."""

EXPLICIT, HEADER, WHOLE, PARTIAL = 8, 16, 32, 64
"""Marks beside the precedence in bits 0-2."""
_PRECEDENCES = tuple(Precedence)

HEADER_MAX_BYTES = 320  # destination, flow, key and operation id at their longest, with msgpack's framing
BUNDLE_MAX_BYTES = 1 << 40
SEQUENCE_MAX = (1 << 42) - 1  # six bytes; a node that makes a thousand bundles a second gets there in 139 years
AGE_MAX_MS = (1 << 35) - 1  # five bytes, 397 days: beyond the longest lifetime all ages are alike
RANGES_MAX = 256  # in one block, so that one frame cannot make us work for ever
ACK_TIMES_MAX = 64
PULSE_LONGEST_MS = 1000
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
    known: BundleHeader | None = None
    """What ``header`` unpacks to, where reading the block has told already."""


class Brief(NamedTuple):
    """A whole bundle of a profile told before, named by the low bits of its numbers (``brief``)."""

    profile: int
    sequence_cut: int
    created_cut: int
    age_units: int
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


class PulseWish(NamedTuple):
    """The sender wants to hear from the other side each ``interval_ms``, 1 to PULSE_LONGEST_MS (``pulse``)."""

    interval_ms: int


class Live(NamedTuple):
    """A piece of a perishable bundle. ``number`` 0: no repair is about it; ``content`` is what a repair adds up."""

    number: int
    content: bytes
    fragment: Fragment


class Repair(NamedTuple):
    """A sum of live blocks: their first number, how many, the number of the repair, then the sum (``fec``)."""

    content: bytes


class Control(NamedTuple):
    """A rare message between two nodes: [kind, ...]."""

    fields: list[Any]  # Any: each kind checks its own


Block = (
    Fragment
    | Brief
    | Live
    | Ack
    | Stored
    | StoredPartly
    | Window
    | Refused
    | Probe
    | Echo
    | PulseWish
    | Repair
    | Control
)


def put_source(out: bytearray, source: Source | None) -> None:
    """Append a source that is not the sender itself."""
    if source is not None:
        out += source.incarnation.to_bytes(8, "big")
        name = source.node_id.encode()
        out.append(len(name))
        out += name


def precedence_of(marks: int) -> Precedence:
    """The precedence in ``marks``. Raises MalformedError."""
    if marks & 7 >= len(_PRECEDENCES):
        raise MalformedError("precedence out of range")
    return _PRECEDENCES[marks & 7]


def read_source(reader: ByteReader, marks: int) -> Source | None:
    """The source that ``marks`` announce, None for the sender itself. Raises MalformedError."""
    if not marks & EXPLICIT:
        return None
    incarnation = int.from_bytes(reader.take(8), "big")
    try:
        node_id = reader.take(reader.byte()).decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedError("source is not ASCII") from error
    if not NODE_ID_PATTERN.fullmatch(node_id):
        raise MalformedError("source is not a node id")
    return Source(node_id, incarnation)


def read_sequence(reader: ByteReader) -> int:
    """The number of a bundle. Raises MalformedError."""
    sequence = reader.varint()
    if sequence > SEQUENCE_MAX:
        raise MalformedError("sequence out of bounds")
    return sequence
