"""What the store gives and takes beyond the core's effects: deliveries, fates, states, its clock, and its errors."""

import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edge_agent.core.bundle import CLOCK_FLOOR_MS, BundleHeader, BundleId, BundleRecord
from edge_agent.core.errors import EdgeAgentError
from edge_agent.core.progress import Progress

ROW_PAYLOAD_BYTES = 65_536
"""Largest payload that is a row of the database; a larger one is a file (DESIGN section 5)."""


SEQUENCE_MAX = 1 << 62
"""Numbers at and above it are refused: SQLite has 63 bits, and an interval's end is one more than its last number."""


def is_storable(bundle: BundleId) -> bool:
    """Whether the tables can hold this name; a peer may send any number."""
    return 0 <= bundle.sequence < SEQUENCE_MAX and 0 <= bundle.incarnation < 1 << 64


class StoreError(EdgeAgentError):
    """The store cannot do what was asked; the message names the path or the thing."""


class StoreLockedError(StoreError):
    """Another process works on the same data directory."""


class DiskFailedError(StoreError):
    """The disk did not take it now: it fails, or the store is being closed."""


class UnknownBundleError(StoreError):
    """The store holds no such bundle (any more)."""


class DamagedError(StoreError):
    """A bundle's bytes on the disk are not those that were stored."""


class UnknownConsumerError(StoreError):
    """A consumer was used before it was opened."""


FateState = Progress
"""How far a bundle got, as the store keeps it: see core.progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateUpdate:
    """News of one bundle: it is ``state`` since ``at_ms`` (UTC); ``detail`` is for people and replaces the last one."""

    bundle: BundleId
    state: FateState
    at_ms: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What the store knows of one bundle, also after its custody ended. Times are UTC ms; None: did not happen.

    ``payload`` is kept for a person's own short messages, so that pages can still show them; else None. ``row`` rises
    with the age of the entry and pages through ``Disk.own_messages``; 0 for a bundle that is still in the store.
    ``created_ms`` is that of the header, put right where this node's clock was set later; for bundles made here.
    """

    bundle: BundleId
    header: BundleHeader
    payload_bytes: int
    state: FateState
    accepted_ms: int | None = None
    closed_ms: int | None = None  # refused, cancelled, superseded, expired or evicted
    forwarded_ms: int | None = None
    delivered_ms: int | None = None
    read_ms: int | None = None
    done_ms: int | None = None
    peer: str = ""
    via: tuple[str, ...] = ()
    detail: str = ""
    payload: bytes | None = None
    row: int = 0
    created_ms: int = 0

    @property
    def is_restamped(self) -> bool:
        """Whether ``created_ms`` is an estimate, because nobody had set the clock then."""
        return 0 < self.header.created_at_ms < CLOCK_FLOOR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One bundle for this node, as a consumer gets it. ``redelivered``: this consumer may have had it before.

    ``payload`` None: larger than ROW_PAYLOAD_BYTES, to be read by ``Disk.read_payload``. ``restamp_ms`` is what to
    add to what the source stamped while its clock was not set (``told_ms`` does it): the bundle's age says when that
    was. 0: its clock was set, or ours is not.
    """

    position: int
    record: BundleRecord
    received_at_ms: int
    peer: str
    via: tuple[str, ...]
    payload: bytes | None
    redelivered: bool
    restamp_ms: int = 0
    digest: bytes = b""
    """BLAKE2b of a payload that is a file."""

    @property
    def created_at_ms(self) -> int:
        """When it was made, UTC ms."""
        return self.told_ms(self.record.header.created_at_ms)

    @property
    def is_restamped(self) -> bool:
        """Whether ``created_at_ms`` is an estimate, or nothing, because nobody had set the source's clock."""
        return 0 < self.record.header.created_at_ms < CLOCK_FLOOR_MS

    def told_ms(self, stamp_ms: int) -> int:
        """A stamp of the source, put right if its clock was not set."""
        return stamp_ms + self.restamp_ms if 0 < stamp_ms < CLOCK_FLOOR_MS else stamp_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class AckedBundle:
    """A bundle whose source is owed a receipt: every consumer waiting for it acknowledged it, or nobody ever will."""

    bundle: BundleId
    header: BundleHeader
    state: FateState = FateState.DELIVERED
    """What the source is to hear; else that it expired or was superseded here before anybody took it."""


class Start(StrEnum):
    """Where a consumer that is new begins, unless it names a bundle."""

    NOW = "now"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskReport:
    """The store in figures. ``set_aside`` is where a damaged predecessor lies, found at this start.

    ``damage`` is what was found wrong in the database in use; the next start sets it aside. ``failure``: why the disk
    takes nothing, as of the last commit. ``unreadable``: why nothing of what it holds can be read.
    """

    quota_bytes: int
    used_bytes: int
    free_bytes: int
    is_full: bool
    was_copied: bool
    set_aside: Path | None
    damage: str = ""
    failure: str = ""
    unreadable: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """What became of the wall clock in this boot.

    ``settings`` counts how often it was set, moved or lost; ``step_s`` is by how much it was moved last, None where it
    was not set before or is not now; ``settled_ago_s`` how long that is ago, None where it never was.
    """

    is_set: bool
    settings: int
    step_s: float | None
    settled_ago_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskClock:
    """The clocks of the store: seconds since this boot, and UTC ms. ``boot_id`` differs between boots."""

    boot_id: str
    boottime_s: Callable[[], float]
    wall_ms: Callable[[], int]

    @classmethod
    def of_machine(cls) -> "DiskClock":
        """The machine's own clocks. Where no boot can be told from another, every process counts as a boot."""

        def wall_ms() -> int:
            return time.time_ns() // 1_000_000

        if sys.platform == "linux":
            clock_id = time.CLOCK_BOOTTIME
            boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            return cls(boot_id=boot_id, boottime_s=lambda: time.clock_gettime(clock_id), wall_ms=wall_ms)
        else:
            return cls(boot_id=uuid.uuid4().hex, boottime_s=time.monotonic, wall_ms=wall_ms)
