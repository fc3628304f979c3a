"""Opening a store: lock, database, identity, counters, and the sweep of files that no row speaks of."""

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog

from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.effects import Evicted, Restored, StoredPart
from edge_agent.disk.ages import Ages, open_ages
from edge_agent.disk.consumers import Consumers, last_position, read_owed
from edge_agent.disk.file_system import MACHINE, FileSystem
from edge_agent.disk.files import PART_SUFFIX, WHOLE_SUFFIX, PayloadFiles, make_folder
from edge_agent.disk.identity import Identity, begin_session, to_unsigned
from edge_agent.disk.quota import Ballast, Quota
from edge_agent.disk.reader import read_queue_counts
from edge_agent.disk.rows import Rows
from edge_agent.disk.salvage import salvage
from edge_agent.disk.schema import connect, is_damage, is_disk_full, mark_damaged, open_database
from edge_agent.disk.stagings import STAGED_SOURCE
from edge_agent.disk.types import AckedBundle, DiskClock, StoreError, StoreLockedError

LOCK_NAME = "store.lock"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStore:
    """The parts of an open store."""

    folder: Path
    lock: BinaryIO
    consumers: Consumers
    files: PayloadFiles
    ballast: Ballast
    quota: Quota
    ages: Ages
    restored: Restored
    owed: list[AckedBundle]
    last_position: int
    was_copied: bool
    set_aside: Path | None
    on_acked: Callable[[list[AckedBundle]], None] | None
    on_evicted: Callable[[list[Evicted]], None] | None

    def list_large(self, path: Path) -> list[tuple[BundleId, bytes]]:
        """Every bundle whose payload is a file, with the digest it should have."""
        with closing(connect(path, self.files.file_system)) as database:
            return _list_large(database)


def open_store(
    folder: Path,
    *,
    node_id: str,
    destinations: frozenset[str],
    quota_bytes: int,
    now_s: float,
    clock: DiskClock,
    timestamp: str,
    on_acked: Callable[[list[AckedBundle]], None] | None,
    on_evicted: Callable[[list[Evicted]], None] | None,
    flows_without_receipt: frozenset[str],
    file_system: FileSystem = MACHINE,
) -> OpenStore:
    """Everything up to the first effect; the session number is synced. Raises StoreLockedError, StoreError."""
    lock = _lock(folder / LOCK_NAME)
    set_aside: Path | None = None
    try:
        ballast = Ballast.for_quota(folder, quota_bytes, file_system)
        while True:
            database, found_aside = _open_with_ballast(folder, ballast, timestamp, clock)
            set_aside = found_aside or set_aside
            try:
                identity = begin_session(database, folder, file_system)
                ages = open_ages(database, clock, now_s)
                rows = Rows(
                    database=database,
                    ages=ages,
                    quota=Quota(quota_bytes),
                    node_id=node_id,
                    incarnation=identity.incarnation,
                    starts=identity.starts,
                    destinations=destinations,
                    can_evict_waiting=on_evicted is not None,
                )
                files = PayloadFiles(make_folder(folder, file_system), file_system)
                _sweep(rows, files)
                consumers = Consumers(rows, flows_without_receipt)
                consumers.load()
                restored = _restored(rows, identity, ages, now_s)
                owed = read_owed(database) + consumers.debts.told()
                position = last_position(database)
                break
            except sqlite3.DatabaseError as error:
                database.close()
                if not is_damage(error) or set_aside is not None:
                    raise
                mark_damaged(folder)  # deeper than the check at opening looked: aside with it, once
    except (OSError, sqlite3.Error, StoreError) as error:
        lock.close()
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"store {folder} cannot be opened: {error}") from error
    ballast.lay_down()
    return OpenStore(
        folder=folder,
        lock=lock,
        consumers=consumers,
        files=files,
        ballast=ballast,
        quota=rows.quota,
        ages=ages,
        restored=restored,
        owed=owed,
        last_position=position,
        was_copied=identity.was_copied,
        set_aside=set_aside,
        on_acked=on_acked,
        on_evicted=on_evicted,
    )


def _open_with_ballast(
    folder: Path, ballast: Ballast, timestamp: str, clock: DiskClock
) -> tuple[sqlite3.Connection, Path | None]:
    """The database, able to take the few rows of a start: on a full disk the ballast makes room for them.

    One that is damaged is set aside, and what can be read of it is in the new one.
    """
    if not ballast.has_room(0):
        ballast.give_up()
    file_system = ballast.file_system
    try:
        database, aside = open_database(folder, timestamp=timestamp, file_system=file_system)
    except sqlite3.Error as error:
        if not (is_disk_full(error) and ballast.give_up()):
            raise
        database, aside = open_database(folder, timestamp=timestamp, file_system=file_system)
    if aside is not None:
        salvage(database, aside, PayloadFiles(make_folder(folder, file_system), file_system), clock.boottime_s)
    return database, aside


def _restored(rows: Rows, identity: Identity, ages: Ages, now_s: float) -> Restored:
    return Restored(
        incarnation=identity.incarnation,
        session_number=identity.session_number,
        next_sequences=rows.next_sequences,
        queues=read_queue_counts(rows.database, ages, now_s),
        seen=rows.seen_by_name(),
        parts=tuple(
            StoredPart(bundle=bundle, payload_bytes=part.payload_bytes, ranges=tuple(part.ranges))
            for bundle, part in rows.parts.held.items()
            if part.ranges and bundle.source != STAGED_SOURCE
        ),
        burst_leased=rows.bursts.leased,
        burst_windows=rows.bursts.windows(),
    )


def _sweep(rows: Rows, files: PayloadFiles) -> None:
    """Make files and rows agree: take back a final name without a row, delete what no row speaks of."""
    rows.database.execute("BEGIN IMMEDIATE")
    large = {bundle for bundle, _ in _list_large(rows.database)}
    wholes = {path for path in files.folder.iterdir() if path.suffix == WHOLE_SUFFIX}
    nameless = wholes - {files.whole_path(bundle) for bundle in large}
    for bundle, part in list(rows.parts.held.items()):
        if files.part_path(bundle).exists():
            continue
        name = rows.stagings.named(bundle) if bundle.source == STAGED_SOURCE else bundle
        whole = None if name is None else files.whole_path(name)
        if whole in nameless and whole.stat().st_size == part.payload_bytes:
            files.unfinish(bundle, whole)
        else:
            rows.parts.forget(bundle, rows.key(bundle))
    known = {files.whole_path(bundle).name for bundle in large}
    known |= {files.part_path(bundle).name for bundle in rows.parts.held}
    swept = 0
    for path in files.folder.iterdir():
        if path.suffix in (PART_SUFFIX, WHOLE_SUFFIX) and path.name not in known:
            files.file_system.unlink(path)
            swept += 1
    if swept:
        _log.info("store_orphans_swept", files=swept)
    missing = [bundle for bundle in large if not files.whole_path(bundle).exists()]
    for bundle in missing:
        _log.error("payload_missing", bundle=str(bundle))
        rows.give_up_missing(bundle)
    rows.counts.write()
    rows.carried.write()
    rows.database.execute("COMMIT")
    rows.begin()


def _list_large(database: sqlite3.Connection) -> list[tuple[BundleId, bytes]]:
    found = database.execute(
        "SELECT source, incarnation, precedence, sequence, digest FROM bundles"
        " JOIN origins ON origins.origin = bundles.origin WHERE digest IS NOT NULL"
    )
    return [
        (BundleId(source, to_unsigned(incarnation), Precedence(precedence), sequence), digest)
        for source, incarnation, precedence, sequence, digest in found
    ]


def _lock(path: Path) -> BinaryIO:
    """Hold the store for this process; the operating system lets go of it however the process ends.

    Makes the folder when it is not there. Raises StoreLockedError, StoreError.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = path.open("ab")
    except OSError as error:
        raise StoreError(f"store {path.parent} cannot be opened: {error}") from error
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StoreLockedError(f"store {path.parent} is in use by another process") from error
    return lock
