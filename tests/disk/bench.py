"""A store on real files for tests: effects are awaited, consumers used as the agent uses them."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge_agent.core.bundle import BundleHeader, BundleId, BundleRecord, FlowOrder, Origin, Precedence
from edge_agent.core.effects import (
    BurstWindow,
    Effect,
    Erase,
    EraseReason,
    Evicted,
    Fetch,
    Fetched,
    LeaseNumbers,
    Loaded,
    LoadWindow,
    Outcome,
    Persist,
    QueueKey,
    Restored,
    Staged,
    SyncWindow,
)
from edge_agent.disk.digests import DIGEST_BYTES
from edge_agent.disk.file_system import MACHINE, FileSystem
from edge_agent.disk.store import Disk
from edge_agent.disk.types import AckedBundle, DiskClock

QUOTA_BYTES = 64 << 20
PEER_INCARNATION = 0xFEDC_BA98_7654_3210  # above 2^63: the signed column must bring it back


@dataclass(slots=True)
class Clock:
    """A clock that tests move."""

    boot_id: str = "boot-1"
    boottime_s: float = 1_000.0
    wall_ms: int = 1_800_000_000_000

    def as_disk_clock(self) -> DiskClock:
        return DiskClock(boot_id=self.boot_id, boottime_s=lambda: self.boottime_s, wall_ms=lambda: self.wall_ms)

    def pass_time(self, seconds: float) -> None:
        """Time goes by while the machine runs."""
        self.boottime_s += seconds
        self.wall_ms += round(seconds * 1000)

    def reboot(self, *, off_s: float, wall_step_ms: int | None = None) -> None:
        """The machine was off; the wall clock moved by ``wall_step_ms`` meanwhile (None: as long as it was off)."""
        self.boot_id = f"{self.boot_id}+"
        self.boottime_s = 5.0
        self.wall_ms += round(off_s * 1000) if wall_step_ms is None else wall_step_ms


@dataclass(slots=True)
class Store:
    """An open store and what it was told to say."""

    disk: Disk
    restored: Restored
    node_id: str
    acked: list[AckedBundle]
    evicted: list[Evicted]
    _waiting: dict[int, "asyncio.Future[Outcome]"]
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _sequences: dict[tuple[str, int], int] = field(default_factory=dict)
    window_payloads: dict[BundleId, bytes | None] = field(default_factory=dict)
    """What the last window brought beside its records."""

    def begin(self, make: Callable[[int], Effect]) -> "asyncio.Future[Outcome]":
        """Execute an effect; the future gets its outcome."""
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self.disk.execute([make(number)])
        return future

    def persist(self, record: BundleRecord, payload: bytes, *, is_arrival: bool = False) -> "asyncio.Future[Outcome]":
        """Persist a whole bundle in one effect."""
        return self.persist_piece(record.id, record.payload_bytes, 0, payload, record=record, is_arrival=is_arrival)

    def persist_piece(
        self,
        bundle: BundleId,
        payload_bytes: int,
        offset: int,
        payload: bytes,
        *,
        record: BundleRecord | None = None,
        is_arrival: bool = True,
        peer: str = "",
        via: tuple[str, ...] = (),
    ) -> "asyncio.Future[Outcome]":
        """Persist one piece; with ``record`` the last."""
        return self.begin(
            lambda number: Persist(
                effect_id=number,
                bundle=bundle,
                payload_bytes=payload_bytes,
                record=record,
                offset=offset,
                payload=payload,
                is_arrival=is_arrival,
                peer=peer,
                via=via,
            )
        )

    def persist_staged(self, record: BundleRecord, staged: Staged) -> "asyncio.Future[Outcome]":
        """Persist what was handed in piece by piece."""
        return self.begin(
            lambda number: Persist(
                number, record.id, record.payload_bytes, record, 0, b"", is_arrival=False, staged=staged
            )
        )

    def erase(
        self,
        *bundles: BundleId,
        reason: EraseReason = EraseReason.FORWARDED,
        peer: str = "cmd",
        via: tuple[str, ...] = ("4g",),
    ) -> "asyncio.Future[Outcome]":
        return self.begin(lambda number: Erase(number, bundles, reason, peer, via))

    def lease(self, up_to: int) -> "asyncio.Future[Outcome]":
        return self.begin(lambda number: LeaseNumbers(number, up_to))

    def sync(self, window: BurstWindow) -> "asyncio.Future[Outcome]":
        return self.begin(lambda number: SyncWindow(number, window))

    async def fetch(self, bundle: BundleId, offset: int, length: int) -> Outcome:
        return await self.begin(lambda number: Fetch(effect_id=number, bundle=bundle, offset=offset, length=length))

    async def fetch_all(self, record: BundleRecord) -> bytes:
        """The whole payload by Fetch."""
        outcome = await self.fetch(record.id, 0, record.payload_bytes)
        assert isinstance(outcome, Fetched), outcome
        return outcome.payload

    async def window(
        self, key: QueueKey, *, after: BundleId | None = None, newest_first: bool = False, count: int = 1_000
    ) -> Loaded:
        outcome = await self.begin(
            lambda number: LoadWindow(effect_id=number, queue=key, after=after, newest_first=newest_first, count=count)
        )
        assert isinstance(outcome, Loaded), outcome
        self.window_payloads = dict(zip((each.id for each in outcome.records), outcome.payloads, strict=True))
        return replace(outcome, payloads=())

    def own(self, payload_bytes: int = 10, **changes: Any) -> BundleRecord:  # Any: fields of BundleHeader and record
        """A record of a bundle made here, with the next number of its precedence."""
        precedence = changes.pop("precedence", Precedence.ROUTINE)
        return self._record(self.node_id, self.restored.incarnation, precedence, payload_bytes, "command", changes)

    def arriving(self, payload_bytes: int = 10, **changes: Any) -> BundleRecord:  # Any: as above
        """A record of a bundle from another node, for this one unless told otherwise."""
        precedence = changes.pop("precedence", Precedence.ROUTINE)
        incarnation = changes.pop("incarnation", PEER_INCARNATION)
        return self._record("peer-9", incarnation, precedence, payload_bytes, self.node_id, changes)

    def _record(
        self,
        source: str,
        incarnation: int,
        precedence: Precedence,
        payload_bytes: int,
        destination: str,
        changes: dict[str, Any],
    ) -> BundleRecord:
        space = (f"{source}{incarnation}", int(precedence))
        seen = dict(self.restored.seen).get((source, incarnation, precedence))
        arrived = seen.last_range()[1] if seen else 0
        begun = [part.bundle for part in self.restored.parts if part.bundle[:3] == (source, incarnation, precedence)]
        arrived = max([arrived, *(bundle.sequence + 1 for bundle in begun)])  # the rest of a part is not another bundle
        first = self.restored.next_sequences[precedence] if source == self.node_id else arrived
        sequence = changes.pop("sequence", None)
        if sequence is None:
            sequence = self._sequences.get(space, first)
            self._sequences[space] = sequence + 1
        ages = {name: changes.pop(name) for name in ("as_of_s", "age_low_s", "age_high_s") if name in changes}
        header = BundleHeader(destination=destination, flow="reading", lifetime_s=86_400.0)
        return BundleRecord(
            id=BundleId(source, incarnation, precedence, sequence),
            header=replace(header, **changes),
            payload_bytes=payload_bytes,
            **{"as_of_s": 0.0, **ages},
        )

    async def arrive(self, payload: bytes = b"x", **changes: Any) -> BundleRecord:  # Any: as above
        """A bundle for this node, durable."""
        record = self.arriving(len(payload), **changes)
        await self.persist(record, payload, is_arrival=True)
        return record


@asynccontextmanager
async def opened(
    folder: Path,
    *,
    node_id: str = "kit-1",
    role: str = "kit",
    quota_bytes: int = QUOTA_BYTES,
    now_s: float = 0.0,
    clock: Clock | None = None,
    can_evict: bool = False,
    flows_without_receipt: tuple[str, ...] = (),
    file_system: FileSystem = MACHINE,
) -> AsyncIterator[Store]:
    """A store, closed cleanly at the end."""
    waiting: dict[int, asyncio.Future[Outcome]] = {}
    acked: list[AckedBundle] = []
    evicted: list[Evicted] = []

    def complete(outcomes: list[tuple[int, Outcome]]) -> None:
        for number, outcome in outcomes:
            future = waiting.pop(number)  # KeyError: an effect was completed twice
            if not future.cancelled():  # who waited is gone: a power cut on its way
                future.set_result(outcome)

    disk, restored = Disk.open(
        folder,
        node_id=node_id,
        role=role,
        quota_bytes=quota_bytes,
        now_s=now_s,
        on_complete=complete,
        on_acked=acked.extend,
        on_evicted=evicted.extend if can_evict else None,
        flows_without_receipt=flows_without_receipt,
        clock=(clock or Clock()).as_disk_clock(),
        file_system=file_system,
    )
    try:
        yield Store(disk, restored, node_id, acked, evicted, waiting)
    finally:
        disk.close()
        for thread in disk._threads:
            thread.result()  # a thread that ended by a defect says so here


def queue_of(record: BundleRecord) -> QueueKey:
    """The queue a record waits in."""
    return QueueKey(record.header.destination, record.id.precedence, record.id.source, record.header.flow)


def digest_of(payload: bytes) -> bytes:
    """As the store has it of a payload that is a file."""
    return hashlib.blake2b(payload, digest_size=DIGEST_BYTES).digest()


def pattern(length: int, seed: int = 1) -> bytes:
    """Bytes that differ from place to place and from seed to seed."""
    start = seed % 251
    return (_RAMP * ((length + start) // len(_RAMP) + 1))[start : start + length]


_RAMP = bytes(number * number % 251 ^ number % 239 for number in range(251 * 239))
PERSON = {"origin": Origin.PERSON, "flow": "text"}
NEWEST = {"order": FlowOrder.NEWEST}
