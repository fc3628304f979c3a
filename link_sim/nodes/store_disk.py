"""Store disk: the agent's own store as the disk of a simulated node, on real files, without its threads.

It stands in for ``MemoryDisk``, so that the explorer's crashes and restarts meet what kits run. An effect is a
transaction of its own when the world says that it committed; nothing is synced, for the machine stays on, and reads
share the writer's connection, for none comes inside a transaction.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import msgpack

from edge_agent.core.bundle import COMMAND, BundleId, BundleRecord, Precedence
from edge_agent.core.effects import (
    CloseNumbers,
    Effect,
    Erase,
    Failed,
    Fetch,
    Fetched,
    LeaseNumbers,
    ListOpen,
    LoadBundle,
    LoadWindow,
    Outcome,
    Persist,
    QueueKey,
    Restored,
    SyncWindow,
)
from edge_agent.core.errors import RefusalReason
from edge_agent.disk.answers import Call
from edge_agent.disk.damage import is_sound
from edge_agent.disk.file_system import FileSystem
from edge_agent.disk.identity import fingerprint, to_signed, to_unsigned
from edge_agent.disk.opening import OpenStore, open_store
from edge_agent.disk.reader import Reader
from edge_agent.disk.schema import DATABASE_NAME, open_database
from edge_agent.disk.types import DiskClock
from edge_agent.disk.writer import Writer
from link_sim.nodes.disk import queue_key
from link_sim.nodes.ledger import BrokenPromiseError

QUOTA_BYTES = 8 << 30  # no world comes near it
EPOCH_MS = 1_767_225_600_000
STEPS_MAX = 10_000  # of one effect: a large payload moves in steps of 1 MiB
_CLASSES = tuple(Precedence)
_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call
_EVERY_ROW = (
    "SELECT origin, precedence, sequence, digest IS NOT NULL, sum, header, coalesce(bundles.body, bodies.body, x'')"
    " FROM bundles LEFT JOIN bodies ON bodies.row = bundles.row"
)


class UnsyncedFileSystem(FileSystem):
    """The machine's file system for a process that is never killed and is alone: nothing is waited for."""

    def __init__(self) -> None:
        self._free_bytes: dict[Path, int] = {}

    def free_bytes(self, folder: Path) -> int:
        """Asked once: no world comes near the end of the disk, and the store asks at each commit."""
        if folder not in self._free_bytes:
            self._free_bytes[folder] = super().free_bytes(folder)
        return self._free_bytes[folder]

    def connect(self, path: Path) -> sqlite3.Connection:
        """The only connection to a database file: it keeps its locks, for to ask for them costs half of a read."""
        database = super().connect(path)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        return database

    def sync(self, descriptor: int) -> None:
        """Not needed."""

    def sync_folder(self, folder: Path) -> None:
        """Not needed."""


class _Outcomes:
    """What ``Answers`` is to the store's threads, for a caller who waits."""

    def __init__(self) -> None:
        self.by_effect: dict[int, Outcome] = {}

    def give(self, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        """Kept until they are taken; calls at once."""
        self.by_effect.update(outcomes)
        for call in calls:
            call()


class StoreDisk:
    """The store in ``folder``; ``failing`` set: every Persist fails with that reason. ``close`` when the world ends.

    What the ledger asks (is it there, with which payload) is answered from the files; only which records were written
    is remembered beside them, and compared with the store's own counts at each start.
    """

    def __init__(self, folder: Path, *, node_id: str, role: str, incarnation: int, now_s: Callable[[], float]) -> None:
        self._folder = folder
        self._node_id = node_id
        self._destinations = frozenset((node_id, COMMAND) if role == COMMAND else (node_id,))
        self._incarnation = incarnation
        self._clock = DiskClock(boot_id="world", boottime_s=now_s, wall_ms=lambda: EPOCH_MS + round(now_s() * 1000))
        self._file_system = UnsyncedFileSystem()
        self._records: dict[BundleId, BundleRecord] = {}
        self._ever: set[BundleId] = set()
        self._found_whole: BundleId | None = None
        """Read whole since the last write, and so still there."""
        self._waiting: Counter[QueueKey] = Counter()
        self._store: OpenStore | None = None
        self.failing: RefusalReason | None = None

    def start(self, now_s: float) -> Restored:
        """What a node that starts now is told; what the last one had open is let go of as by a kill."""
        self.close()
        self._found_whole = None
        if not (self._folder / DATABASE_NAME).exists():
            self._found()
        self._store = store = open_store(
            self._folder,
            node_id=self._node_id,
            destinations=self._destinations,
            quota_bytes=QUOTA_BYTES,
            now_s=now_s,
            clock=self._clock,
            timestamp="world",
            on_acked=None,
            on_evicted=None,
            flows_without_receipt=frozenset(),
            file_system=self._file_system,
        )
        self._outcomes = _Outcomes()
        store.consumers.rows.database.execute("PRAGMA synchronous = OFF")
        self._writer = Writer(store.consumers, store.files, store.ballast, self._outcomes, None)  # type: ignore[arg-type]  # its likeness
        self._reader = Reader(self._folder / DATABASE_NAME, store.ages, store.files, self._outcomes)  # type: ignore[arg-type]  # as above
        self.database = store.consumers.rows.database  # between two transactions it reads what a second one would
        self._compare(store.restored)
        return store.restored

    def close(self) -> None:
        """Let go of files, connections and the lock."""
        if self._store is not None:
            self._reader.close_files()
            self._writer.tables.rows.database.close()
            self._store.files.close_all()
            self._store.lock.close()
            self._store = None

    def _found(self) -> None:
        """A new store under the incarnation that the world's seed gives."""
        self._folder.mkdir(parents=True, exist_ok=True)
        database, _ = open_database(self._folder, timestamp="world", file_system=self._file_system)
        facts = (
            ("incarnation", to_signed(self._incarnation)),
            ("fingerprint", msgpack.packb(fingerprint(self._folder))),
        )
        database.executemany("INSERT INTO facts VALUES (?, ?)", facts)
        database.close()

    def _compare(self, restored: Restored) -> None:
        """What waits by the store's own counts against what was written and not erased."""
        found = {count.queue: count.bundles for count in restored.queues}
        if found != self.waiting():
            raise BrokenPromiseError(f"store of {self._node_id}: {found} wait, {self.waiting()} were written")

    def __contains__(self, bundle: BundleId) -> bool:
        """Whether the whole bundle is here: read once, for the ledger asks again of what was written last."""
        if bundle != self._found_whole:
            self._found_whole = bundle if self.payload(bundle) is not None else None
        return self._found_whole is not None

    def bundles(self) -> Iterator[BundleId]:
        """Every whole bundle here: each row of the store compared with its sum, each file read. O(everything)."""
        found = self.database.execute("SELECT origin, source, incarnation FROM origins")
        origins = {origin: (source, to_unsigned(incarnation)) for origin, source, incarnation in found}
        rows = self.database.execute(_EVERY_ROW)  # at once: one by one they are most of what an audit costs
        for origin, precedence, sequence, is_file, total, header, body in rows:
            bundle = _new_tuple(BundleId, (*origins[origin], _CLASSES[precedence], sequence))
            record = self._records.get(bundle)
            if record is None:
                continue
            is_whole = len(body) == record.payload_bytes and is_sound(total, header, body)
            if self.payload(bundle) is not None if is_file else is_whole:
                yield bundle

    def record(self, bundle: BundleId) -> BundleRecord | None:
        """What was written of a bundle, if it is here."""
        return self._records.get(bundle)

    def payload(self, bundle: BundleId) -> bytes | None:
        """The payload of a bundle as the files have it, if it is here."""
        record = self._records.get(bundle)
        if record is None:
            return None
        outcome = self._read(Fetch(effect_id=-1, bundle=bundle, offset=0, length=record.payload_bytes))
        return outcome.payload if isinstance(outcome, Fetched) else None

    def waiting(self) -> dict[QueueKey, int]:
        """How many bundles each queue has that waits for another node."""
        return {key: number for key, number in self._waiting.items() if number}

    def execute(self, effect: Effect) -> Outcome:
        """Make one effect true now and give back its outcome; the caller decides when now is."""
        if isinstance(effect, (Fetch, LoadWindow, LoadBundle, ListOpen)):
            return self._read(effect)
        if isinstance(effect, Persist) and self.failing is not None:
            return Failed(self.failing, "the simulated disk fails")
        outcome = self._write(effect)
        if isinstance(effect, Persist):
            if effect.record is not None and not isinstance(outcome, Failed):
                self._note(effect.record, is_arrival=effect.is_arrival)
        elif isinstance(effect, Erase):
            for bundle in effect.bundles:
                self._forget(bundle)
        return outcome

    def _write(self, effect: Persist | Erase | LeaseNumbers | SyncWindow | CloseNumbers) -> Outcome:
        self._found_whole = None
        for _, refusal in self._writer.queue.put_effects([effect]):
            return refusal
        for _ in range(STEPS_MAX):
            self._writer.step()
            if effect.effect_id in self._outcomes.by_effect:
                return self._outcomes.by_effect.pop(effect.effect_id)
        raise BrokenPromiseError(f"store of {self._node_id}: {effect} has no outcome")

    def _read(self, effect: Fetch | LoadWindow | LoadBundle | ListOpen) -> Outcome:
        if isinstance(effect, Fetch):
            self._reader.fetch(effect)
        elif isinstance(effect, LoadBundle):
            self._reader.load_bundle(effect)
        elif isinstance(effect, ListOpen):
            self._reader.list_open(effect)
        else:
            self._reader.load(effect, extra=0)
        self._reader.step(self.database)
        return self._outcomes.by_effect.pop(effect.effect_id)

    def _is_waiting(self, record: BundleRecord) -> bool:
        return record.header.destination not in self._destinations

    def _note(self, record: BundleRecord, *, is_arrival: bool) -> None:
        if record.id in self._ever:
            return  # twice is once
        self._ever.add(record.id)
        self._records[record.id] = record
        if not is_arrival or self._is_waiting(record):
            self._waiting[queue_key(record)] += 1

    def _forget(self, bundle: BundleId) -> None:
        record = self._records.get(bundle)
        if record is not None and self._is_waiting(record):
            del self._records[bundle]
            self._waiting[queue_key(record)] -= 1


class StoreFolder:
    """Stores of the nodes of one world, in a folder for temporary files; gone, and closed, at the end of ``with``."""

    def __init__(self, disk_class: type[StoreDisk] = StoreDisk) -> None:
        self._disk_class = disk_class
        self._folder = TemporaryDirectory(prefix="world-")
        self._disks: list[StoreDisk] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for disk in self._disks:
            disk.close()
        self._folder.cleanup()

    def make(self, *, node_id: str, role: str, incarnation: int, now_s: Callable[[], float]) -> StoreDisk:
        """The disk of one node; as ``World`` wants it."""
        folder = Path(self._folder.name) / node_id
        disk = self._disk_class(folder, node_id=node_id, role=role, incarnation=incarnation, now_s=now_s)
        self._disks.append(disk)
        return disk
