"""What the core asks of the outside (effects, transmits) and what it tells (events). Plain data, nothing acts.

What is made for every frame or bundle is a tuple; outcomes are not, for an empty one would be false.
Every effect is closed by ``Node.complete(effect_id, outcome, now_s)``; nothing is promised to anyone before that.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple

from edge_agent.core.bundle import BundleHeader, BundleId, BundleRecord, Precedence
from edge_agent.core.errors import RefusalReason
from edge_agent.core.intervals import IntervalSet


class Transmit(NamedTuple):
    """One frame for one link, to leave now. ``to`` is None for the link's configured remote."""

    link: str
    to: Hashable | None
    frame: bytes
    precedence: Precedence | None = None
    """The class of its bundles; None for words alone, and where nothing on the way asks for it."""


class Persist(NamedTuple):
    """Make bytes durable, then complete with Done or Failed.

    ``record`` set: the bundle is whole after this write (``payload`` is all of it when ``offset`` is 0 and nothing
    was written before, else the last piece of a ``.part``): sync the payload, then commit the row, the identity into
    the closed numbers of its source, and the sequence lease, in one transaction. ``record`` None: a piece of a
    large bundle, to be written to its ``.part`` at ``offset`` and synced; ``payload_bytes`` is the declared length.
    A whole bundle whose number was closed here before completes with Known.
    ``is_arrival`` tells a bundle received from a peer from one submitted here; of a whole one ``peer`` is who sent it
    and ``via`` our links it came by, which go into the same row: whoever reads the row knows both.
    """

    effect_id: int
    bundle: BundleId
    payload_bytes: int
    record: BundleRecord | None
    offset: int
    payload: bytes
    is_arrival: bool
    peer: str = ""
    via: tuple[str, ...] = ()
    staged: "Staged | None" = None
    """The payload came to the store before it had this name, by ``Disk.stage``: nothing of it is in ``payload``."""


class Staged(NamedTuple):
    """A payload that a program handed in piece by piece: all of it is synced in the ``.part`` named ``part``.

    ``digest`` is what the program read (BLAKE2b, 32 bytes); a file with another one is not taken.
    """

    part: BundleId
    payload_bytes: int
    digest: bytes


class EraseReason(StrEnum):
    """Why custody ended."""

    FORWARDED = "forwarded"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    PARTIAL_DROPPED = "partial_dropped"
    SETTLED = "settled"
    """The destination has it by another way, as its receipt tells."""
    EVICTED = "evicted"
    """The store gave it up for room; it tells so by ``Node.evict``, the core never asks for it."""


class Erase(NamedTuple):
    """Forget the payloads of these bundles (commit first, then unlink); their fate stays known as ``reason``.

    Of forwarded ones ``peer`` is who took custody and ``via`` the links that carried them: part of their fate.
    """

    effect_id: int
    bundles: tuple[BundleId, ...]
    reason: EraseReason
    peer: str = ""
    via: tuple[str, ...] = ()


class Fetch(NamedTuple):
    """Read payload bytes [offset, offset + length) of a bundle in custody; complete with Fetched."""

    effect_id: int
    bundle: BundleId
    offset: int
    length: int


class QueueKey(NamedTuple):
    """One queue of waiting bundles: entries of one queue differ only in sequence and age."""

    destination: str
    precedence: Precedence
    source: str
    flow: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadWindow:
    """Read up to ``count`` waiting records of one queue, in the flow's order; complete with Loaded.

    ``fifo``: rows (incarnation, sequence) above ``after``, oldest first; ``newest`` and ``latest``: below ``after``,
    newest first. ``after`` None starts at the end that is served first.
    A bundle the core has already may be given again; it is ignored.
    """

    effect_id: int
    queue: QueueKey
    after: BundleId | None
    newest_first: bool
    count: int


class LoadBundle(NamedTuple):
    """Read the record of one waiting bundle; complete with Loaded: that record, or none if it waits here no more."""

    effect_id: int
    bundle: BundleId


class Evicted(NamedTuple):
    """A waiting bundle whose row the store has given up for room: durable, and told by ``Node.evict``.

    ``reason`` says whether somebody may miss it (EVICTED) or it was of no use any more (EXPIRED, SUPERSEDED).
    """

    bundle: BundleId
    queue: QueueKey
    payload_bytes: int
    reason: EraseReason = EraseReason.EVICTED


class LeaseNumbers(NamedTuple):
    """Reserve the numbers of burst frames below ``up_to`` for this incarnation; complete with Done once synced."""

    effect_id: int
    up_to: int


class BurstWindow(NamedTuple):
    """Which burst frames of one sender's incarnation were taken: ``highest``, and in bit i whether highest - i was."""

    sender_number: int
    incarnation: int
    highest: int
    mask: int


class SyncWindow(NamedTuple):
    """Make a replay window durable before what its newest frame holds is acted upon; complete with Done."""

    effect_id: int
    window: BurstWindow


class ListOpen(NamedTuple):
    """Which of the numbers [start, stop) given out here may still reach somebody; complete with OpenNumbers.

    Of all of them Persist has completed. Open is what waits here, and what was given up here (superseded, evicted,
    damaged) after a copy of it had left by hand.
    """

    effect_id: int
    key: tuple[str, int, Precedence]
    start: int
    stop: int


class CloseNumbers(NamedTuple):
    """The source of ``key`` will never send these numbers: they are as if they had been durable here once."""

    effect_id: int
    key: tuple[str, int, Precedence]
    ranges: tuple[tuple[int, int], ...]


Effect = Persist | Erase | Fetch | LoadWindow | LoadBundle | LeaseNumbers | SyncWindow | ListOpen | CloseNumbers


@dataclass(frozen=True, slots=True)
class Done:
    """The effect is durable."""


@dataclass(frozen=True, slots=True)
class Known:
    """A whole bundle was durable here before, perhaps long ago: nothing was written, and it is not to be given out."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Payload bytes asked for by Fetch, all of them."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """Records asked for by LoadWindow or LoadBundle; ``has_more`` when rows remain beyond the last.

    ``payloads`` has one entry a record, or none at all: whole payloads that lie in the row, None for any other.
    """

    records: tuple[BundleRecord, ...]
    has_more: bool
    payloads: tuple[bytes | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The effect did not happen; ``detail`` is for people."""

    reason: RefusalReason
    detail: str


@dataclass(frozen=True, slots=True)
class OpenNumbers:
    """What ListOpen asked for, lowest first: of the numbers below ``stop`` (at most what was asked) all are told."""

    stop: int
    ranges: tuple[tuple[int, int], ...]


Outcome = Done | Known | Fetched | Loaded | OpenNumbers | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCount:
    """How much waits in one queue of the store."""

    queue: QueueKey
    header: BundleHeader  # of any one bundle of the queue: order and origin are a matter of the flow
    bundles: int
    payload_bytes: int
    oldest_age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPart:
    """A large bundle that had arrived in part: which ranges of the ``.part`` were synced."""

    bundle: BundleId
    payload_bytes: int
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a node is told of its store at construction. A new store: a fresh incarnation and nothing else.

    ``session_number`` is greater than in every earlier start of this store and was synced before the node is built.
    ``next_sequences`` are above every number ever leased. ``seen`` holds the closed numbers per (source, incarnation,
    precedence), of each at most the 1,024 highest ranges, and none that was given out here under this incarnation.
    Numbers of burst frames below ``burst_leased`` may have been used under this incarnation.
    """

    incarnation: int
    session_number: int
    next_sequences: tuple[int, ...] = (0, 0, 0, 0, 0)
    queues: tuple[QueueCount, ...] = ()
    seen: tuple[tuple[tuple[str, int, Precedence], IntervalSet], ...] = ()
    parts: tuple[StoredPart, ...] = ()
    burst_leased: int = 0
    burst_windows: tuple[BurstWindow, ...] = ()


class BundleAccepted(NamedTuple):
    """A bundle submitted here is on disk."""

    bundle: BundleId


class BundleRefused(NamedTuple):
    """A bundle was not taken, here (``peer`` None) or by the next node, which says when to try again."""

    bundle: BundleId
    reason: RefusalReason
    detail: str
    peer: str | None = None
    retry_after_s: float = 0.0


class BundlesForwarded(NamedTuple):
    """``peer`` has these on its disk; custody here has ended. ``via`` names the links that carried them."""

    bundles: tuple[BundleId, ...]
    peer: str
    via: tuple[str, ...]


class BundleDelivered(NamedTuple):
    """A bundle for this node is on its disk, once. ``via`` names our links it arrived by, ``peer`` who sent it."""

    record: BundleRecord
    peer: str
    via: tuple[str, ...]
    payload: bytes | None  # None when large: read it from the store


class CameAgain(NamedTuple):
    """A bundle that is or was here came once more by another way: a stick, or a node that is not its source."""

    bundle: BundleId


class ArrivalExpired(NamedTuple):
    """A bundle came when its lifetime had surely passed: nobody gets it, and its source is owed that word."""

    record: BundleRecord
    peer: str


class BundleClosed(NamedTuple):
    """Custody ended without forwarding: expired, superseded, cancelled, evicted, or settled by a receipt."""

    bundle: BundleId
    reason: EraseReason


class Adopted(StrEnum):
    """What came of a bundle that was carried here by hand."""

    STORED = "stored"
    KNOWN = "known"
    """It is here, or was."""
    OWN = "own"
    """It began here."""
    EXPIRED = "expired"
    REFUSED = "refused"


class BundleAdopted(NamedTuple):
    """A bundle carried here by hand was taken, or was not; ``detail`` of a refusal is for people."""

    bundle: BundleId
    adopted: Adopted
    detail: str


class IdentityMismatch(NamedTuple):
    """An alarm: the same bundle id arrived with another header; the first one stays."""

    bundle: BundleId
    peer: str


class LinkState(Enum):
    """What is believed of one link to one peer."""

    UNKNOWN = "unknown"
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


class LinkChanged(NamedTuple):
    """A link's state moved; ``peer`` is empty while nobody was heard on it."""

    link: str
    peer: str
    state: LinkState
    previous: LinkState
    reason: str
    falls: int = 0
    """How often it fell since it began to flap; 0: it does not."""


Event = (
    BundleAccepted
    | BundleAdopted
    | BundleRefused
    | BundlesForwarded
    | BundleDelivered
    | CameAgain
    | ArrivalExpired
    | BundleClosed
    | IdentityMismatch
    | LinkChanged
)
