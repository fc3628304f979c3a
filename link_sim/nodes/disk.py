"""Memory disk: a store for one simulated node, with a commit latency and the memory of a real disk.

Effects become durable together: a commit begins when the last one ends (the group commit of the real store). What had
not committed when the node crashed is gone.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, BundleRecord, Precedence
from edge_agent.core.effects import (
    BurstWindow,
    CloseNumbers,
    Done,
    Effect,
    Erase,
    EraseReason,
    Failed,
    Fetch,
    Fetched,
    Known,
    LeaseNumbers,
    ListOpen,
    LoadBundle,
    Loaded,
    LoadWindow,
    OpenNumbers,
    Outcome,
    Persist,
    QueueCount,
    QueueKey,
    Restored,
    StoredPart,
    SyncWindow,
)
from edge_agent.core.errors import RefusalReason
from edge_agent.core.intervals import IntervalSet

_ROW_PAYLOAD_BYTES = 1024  # what the real store gives with a window
_LEASE_NUMBERS = 4096  # more than a node can have submitted and not yet committed

SeenKey = tuple[str, int, Precedence]


@dataclass(slots=True)
class _Row:
    record: BundleRecord
    payload: bytes
    is_waiting: bool  # False: it has arrived at its destination


@dataclass(slots=True)
class _Part:
    """What has arrived of a large bundle, synced."""

    payload: bytearray
    ranges: IntervalSet = field(default_factory=IntervalSet)


class _Queue:
    """Waiting bundles of one queue in the order of (incarnation, sequence); erased ones are skipped, then swept."""

    __slots__ = ("_erased", "_ids", "live", "payload_bytes")

    def __init__(self) -> None:
        self._ids: list[BundleId] = []
        self._erased: set[BundleId] = set()
        self.live = 0
        self.payload_bytes = 0

    def add(self, row: _Row) -> None:
        insort(self._ids, row.record.id)
        self.live += 1
        self.payload_bytes += row.record.payload_bytes

    def erase(self, row: _Row) -> None:
        self._erased.add(row.record.id)
        self.live -= 1
        self.payload_bytes -= row.record.payload_bytes
        if len(self._erased) * 2 > len(self._ids):
            self._ids = [each for each in self._ids if each not in self._erased]
            self._erased.clear()

    def after(self, bundle: BundleId | None, newest_first: bool) -> Iterator[BundleId]:
        """Live ids beyond ``bundle`` in the order of service."""
        if newest_first:
            end = len(self._ids) if bundle is None else bisect_left(self._ids, bundle)
            places = range(end - 1, -1, -1)
        else:
            start = 0 if bundle is None else bisect_right(self._ids, bundle)
            places = range(start, len(self._ids))
        return (self._ids[at] for at in places if self._ids[at] not in self._erased)


class NodeDisk(Protocol):
    """What a world, its ledger and its checker need of the disk of a node. ``failing`` set: every Persist fails so."""

    failing: RefusalReason | None

    def __contains__(self, bundle: BundleId) -> bool: ...
    def bundles(self) -> Iterator[BundleId]: ...
    def record(self, bundle: BundleId) -> BundleRecord | None: ...
    def payload(self, bundle: BundleId) -> bytes | None: ...
    def waiting(self) -> dict[QueueKey, int]: ...
    def execute(self, effect: Effect) -> Outcome: ...
    def start(self, now_s: float) -> Restored: ...


class DiskMaker(Protocol):
    """Makes the disk of a node that joins a world; ``now_s`` is the world's clock."""

    def __call__(self, *, node_id: str, role: str, incarnation: int, now_s: Callable[[], float]) -> NodeDisk: ...


def make_memory_disk(*, node_id: str, role: str, incarnation: int, now_s: Callable[[], float]) -> NodeDisk:
    """A disk in memory, which needs no clock."""
    return MemoryDisk(node_id=node_id, role=role, incarnation=incarnation)


class MemoryDisk:
    """Rows, parts and counters of one node. ``failing`` set: every Persist fails with that reason."""

    def __init__(self, *, node_id: str, role: str, incarnation: int) -> None:
        self._destinations = {node_id, COMMAND} if role == COMMAND else {node_id}
        self._node_id = node_id
        self._incarnation = incarnation
        self._session_number = 0
        self._leases = [0] * len(Precedence)
        self._rows: dict[BundleId, _Row] = {}
        self._parts: dict[BundleId, _Part] = {}
        self._queues: dict[QueueKey, _Queue] = {}
        self._seen: dict[SeenKey, IntervalSet] = {}
        self._carried = [0] * len(Precedence)
        self._adrift: set[BundleId] = set()
        self._burst_leased = 0
        self._burst_windows: dict[tuple[int, int], BurstWindow] = {}
        self.failing: RefusalReason | None = None

    def __contains__(self, bundle: BundleId) -> bool:
        """Whether the whole bundle is here, durable."""
        return bundle in self._rows

    def bundles(self) -> Iterator[BundleId]:
        """Every whole bundle here."""
        return iter(self._rows)

    def record(self, bundle: BundleId) -> BundleRecord | None:
        """The row of a bundle, if it is here."""
        row = self._rows.get(bundle)
        return row.record if row else None

    def payload(self, bundle: BundleId) -> bytes | None:
        """The payload of a bundle, if it is here."""
        row = self._rows.get(bundle)
        return row.payload if row else None

    def waiting(self) -> dict[QueueKey, int]:
        """How many bundles each queue has that waits for another node."""
        return {key: queue.live for key, queue in self._queues.items() if queue.live}

    def execute(self, effect: Effect) -> Outcome:
        """Make one effect true now and give back its outcome; the caller decides when now is."""
        if isinstance(effect, Persist):
            return self._persist(effect)
        if isinstance(effect, Erase):
            return self._erase(effect)
        if isinstance(effect, Fetch):
            return self._fetch(effect)
        if isinstance(effect, LoadWindow):
            return self._load(effect)
        if isinstance(effect, LoadBundle):
            row = self._rows.get(effect.bundle)
            return Loaded((row.record,) if row is not None and row.is_waiting else (), has_more=False)
        if isinstance(effect, ListOpen):
            return self._list_open(effect)
        if isinstance(effect, CloseNumbers):
            for start, end in effect.ranges:
                self._seen.setdefault(effect.key, IntervalSet()).add(start, end)
            return Done()
        return self._note_burst(effect)

    def begin_carrying(self) -> list[BundleRecord]:
        """What waits here leaves as copies by hand: numbers given up later may still come."""
        self._carried = list(self._leases)
        return [row.record for row in self._rows.values() if row.is_waiting]

    def _list_open(self, effect: ListOpen) -> OpenNumbers:
        waiting = (bundle for bundle, row in self._rows.items() if row.is_waiting)
        numbers = [each.sequence for each in (*waiting, *self._adrift) if each[:3] == effect.key]
        found = IntervalSet((each, each + 1) for each in sorted(numbers) if effect.start <= each < effect.stop)
        return OpenNumbers(effect.stop, tuple(found))

    def begin_anew(self, incarnation: int) -> None:
        """The folder was restored or copied: another name from now on, and no number of the old one is new here."""
        for precedence in Precedence:
            key = (self._node_id, self._incarnation, precedence)
            self._seen.setdefault(key, IntervalSet()).add(0, self._leases[precedence])
        self._incarnation, self._leases, self._carried = incarnation, [0] * len(Precedence), [0] * len(Precedence)

    def _persist(self, effect: Persist) -> Outcome:
        if self.failing is not None:
            return Failed(self.failing, "the simulated disk fails")
        part = self._parts.get(effect.bundle)
        is_lone = effect.offset == 0 and len(effect.payload) == effect.payload_bytes and part is None
        if not is_lone:
            if part is None:
                part = self._parts[effect.bundle] = _Part(bytearray(effect.payload_bytes))
            end = effect.offset + len(effect.payload)
            part.payload[effect.offset : end] = effect.payload
            part.ranges.add(effect.offset, end)
        if effect.record is None:
            return Done()
        payload = effect.payload
        if part is not None:
            if not part.ranges.covers(0, effect.payload_bytes):
                return Failed(RefusalReason.STORE_FAILED, f"bundle {effect.bundle}: part has holes: {part.ranges}")
            payload = bytes(part.payload)
            del self._parts[effect.bundle]
        if effect.bundle.sequence in self._seen.get(effect.bundle[:3], ()):
            return Known()
        self._insert(effect.record, payload, effect.is_arrival)
        return Done()

    def _insert(self, record: BundleRecord, payload: bytes, is_arrival: bool) -> None:
        bundle = record.id
        is_waiting = not (is_arrival and record.header.destination in self._destinations)
        row = self._rows[bundle] = _Row(record, payload, is_waiting)
        if is_waiting:
            waits_in = queue_key(record)
            queue = self._queues.get(waits_in)
            if queue is None:
                queue = self._queues[waits_in] = _Queue()
            queue.add(row)
        key, sequence = bundle[:3], bundle.sequence
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = IntervalSet()
        seen.add(sequence, sequence + 1)
        if bundle.source == self._node_id and bundle.incarnation == self._incarnation:
            self._leases[bundle.precedence] = max(self._leases[bundle.precedence], sequence + _LEASE_NUMBERS)

    def _erase(self, effect: Erase) -> Outcome:
        for bundle in effect.bundles:
            self._parts.pop(bundle, None)
            row = self._rows.pop(bundle, None)
            if row is not None and row.is_waiting:
                self._queues[queue_key(row.record)].erase(row)
            if effect.reason is EraseReason.SUPERSEDED and bundle.sequence < self._carried[bundle.precedence]:
                self._adrift.add(bundle)
        return Done()

    def _fetch(self, effect: Fetch) -> Outcome:
        payload = self.payload(effect.bundle)
        end = effect.offset + effect.length
        if payload is None or end > len(payload):
            return Failed(RefusalReason.STORE_FAILED, f"bundle {effect.bundle}: no bytes {effect.offset} to {end}")
        return Fetched(payload[effect.offset : end])

    def _note_burst(self, effect: LeaseNumbers | SyncWindow) -> Outcome:
        if isinstance(effect, LeaseNumbers):
            self._burst_leased = max(self._burst_leased, effect.up_to)
        else:
            window = effect.window
            self._burst_windows[window.sender_number, window.incarnation] = window
        return Done()

    def _load(self, effect: LoadWindow) -> Outcome:
        queue = self._queues.get(effect.queue)
        rows: list[_Row] = []
        has_more = False
        for bundle in queue.after(effect.after, effect.newest_first) if queue else ():
            if len(rows) == effect.count:
                has_more = True
                break
            rows.append(self._rows[bundle])
        payloads = tuple(row.payload if len(row.payload) <= _ROW_PAYLOAD_BYTES else None for row in rows)
        return Loaded(tuple(row.record for row in rows), has_more, payloads)

    def start(self, now_s: float) -> Restored:
        """What a node that starts now is told; counts the session and leases fresh numbers, durable at once."""
        self._session_number += 1
        next_sequences = tuple(self._leases)
        self._leases = [number + _LEASE_NUMBERS for number in self._leases]
        return Restored(
            incarnation=self._incarnation,
            session_number=self._session_number,
            next_sequences=next_sequences,
            queues=tuple(self._queue_counts(now_s)),
            seen=tuple((key, numbers.copy()) for key, numbers in self._seen.items()),
            parts=tuple(
                StoredPart(bundle=bundle, payload_bytes=len(part.payload), ranges=tuple(part.ranges))
                for bundle, part in self._parts.items()
            ),
            burst_leased=self._burst_leased,
            burst_windows=tuple(self._burst_windows.values()),
        )

    def _queue_counts(self, now_s: float) -> Iterator[QueueCount]:
        for key, queue in self._queues.items():
            if not queue.live:
                continue
            records = [self._rows[bundle].record for bundle in queue.after(None, newest_first=False)]
            header: BundleHeader = records[0].header
            oldest_age_s = max(record.age_low_at(now_s) for record in records)
            yield QueueCount(
                queue=key,
                header=header,
                bundles=queue.live,
                payload_bytes=queue.payload_bytes,
                oldest_age_s=oldest_age_s,
            )


def queue_key(record: BundleRecord) -> QueueKey:
    """The queue that a record waits in."""
    header = record.header
    return QueueKey(header.destination, record.id.precedence, record.id.source, header.flow)
