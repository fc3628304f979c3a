"""The database file of the store: its tables, how it is opened, and what becomes of a damaged one."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge_agent.disk.file_system import MACHINE, FileSystem
from edge_agent.disk.types import StoreError

DATABASE_NAME = "store.db"
PAYLOADS_NAME = "payloads"
DAMAGE_MARK = "store.damaged"
"""A file that tells the next start to set the database aside."""
SCHEMA_VERSION = 3
QUICK_CHECK_MAX_BYTES = 16 << 20  # about 20 ms; a larger file is checked by ``checking`` while the store works already
_JOURNAL_BYTES_MAX = 8 << 20

_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE boots (
    boot INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, first_s REAL NOT NULL, last_s REAL NOT NULL,
    first_wall_ms INTEGER NOT NULL, last_wall_ms INTEGER NOT NULL
);
CREATE TABLE leases (precedence INTEGER PRIMARY KEY, next_sequence INTEGER NOT NULL);
CREATE TABLE origins (
    origin INTEGER PRIMARY KEY, source TEXT NOT NULL, incarnation INTEGER NOT NULL, UNIQUE (source, incarnation)
);
CREATE TABLE queues (
    queue INTEGER PRIMARY KEY, destination TEXT NOT NULL, precedence INTEGER NOT NULL, source TEXT NOT NULL,
    flow TEXT NOT NULL, UNIQUE (destination, precedence, source, flow)
);
CREATE TABLE bundles (
    row INTEGER PRIMARY KEY AUTOINCREMENT,   -- the position of a delivery; never given twice
    origin INTEGER NOT NULL, precedence INTEGER NOT NULL, sequence INTEGER NOT NULL,
    queue INTEGER,                           -- waits for the next node in this queue; NULL: delivered here
    flow TEXT,                               -- of a delivery; that of a waiting bundle is its queue's
    payload_bytes INTEGER NOT NULL,
    boot INTEGER NOT NULL, as_of_s REAL NOT NULL, age_low_s REAL NOT NULL, age_high_s REAL NOT NULL,
    stored_ms INTEGER NOT NULL,
    receipt INTEGER,                         -- of a delivery: 0 not acknowledged, 1 receipt owed, 2 settled
    peer TEXT, via TEXT,
    digest BLOB,                             -- BLAKE2b of a payload that is a file
    header BLOB NOT NULL,
    body BLOB                                -- a payload of up to 1 KiB; longer ones are in bodies, so that an
);                                           -- update of this row does not write them again
CREATE UNIQUE INDEX bundle_ids ON bundles (origin, precedence, sequence);
CREATE INDEX waiting ON bundles (queue, origin, sequence) WHERE queue IS NOT NULL;
CREATE INDEX deliveries ON bundles (row) WHERE receipt IS NOT NULL;
CREATE INDEX owed ON bundles (row) WHERE receipt = 1;
CREATE INDEX settled ON bundles (precedence, row) WHERE receipt = 2;
CREATE TABLE bodies (row INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE seen (
    origin INTEGER NOT NULL, precedence INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
    PRIMARY KEY (origin, precedence, start)
) WITHOUT ROWID;
CREATE TABLE parts (
    origin INTEGER NOT NULL, precedence INTEGER NOT NULL, sequence INTEGER NOT NULL, payload_bytes INTEGER NOT NULL,
    ranges BLOB NOT NULL, PRIMARY KEY (origin, precedence, sequence)
) WITHOUT ROWID;
CREATE TABLE fates (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    origin INTEGER NOT NULL, precedence INTEGER NOT NULL, sequence INTEGER NOT NULL,
    is_message INTEGER NOT NULL, header BLOB NOT NULL, payload_bytes INTEGER NOT NULL, state INTEGER NOT NULL,
    accepted_ms INTEGER, closed_ms INTEGER, forwarded_ms INTEGER, delivered_ms INTEGER, read_ms INTEGER,
    done_ms INTEGER,
    peer TEXT NOT NULL DEFAULT '', via TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '', payload BLOB
);
CREATE UNIQUE INDEX fate_ids ON fates (origin, precedence, sequence);
CREATE INDEX messages ON fates (row) WHERE is_message = 1;
CREATE TABLE consumers (
    name TEXT PRIMARY KEY, flow TEXT NOT NULL, cursor INTEGER NOT NULL, handed INTEGER NOT NULL
) WITHOUT ROWID;
"""
_TABLES_2 = """
CREATE TABLE burst_windows (
    row INTEGER PRIMARY KEY,                 -- rises with each write: the lowest was not heard for longest
    sender_number INTEGER NOT NULL, incarnation INTEGER NOT NULL, highest INTEGER NOT NULL, mask INTEGER NOT NULL,
    UNIQUE (sender_number, incarnation)
);
"""
"""What version 2 has more than version 1."""
_TABLES_3 = """
ALTER TABLE bundles ADD COLUMN sum INTEGER;  -- CRC-32 of header and body; NULL: stored by an earlier version
CREATE INDEX large ON bundles (row) WHERE digest IS NOT NULL;
CREATE TABLE counts (queue INTEGER PRIMARY KEY, bundles INTEGER NOT NULL, payload_bytes INTEGER NOT NULL);
CREATE TABLE usage (
    precedence INTEGER NOT NULL,
    kind INTEGER NOT NULL,                   -- 0 waits for the next node, 1 delivered here, 2 delivered and settled
    bundles INTEGER NOT NULL, payload_bytes INTEGER NOT NULL, PRIMARY KEY (precedence, kind)
) WITHOUT ROWID;
CREATE TABLE spans (
    row INTEGER PRIMARY KEY,
    origin INTEGER NOT NULL, precedence INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
    queue INTEGER NOT NULL, state INTEGER NOT NULL, payload_bytes INTEGER, accepted_ms INTEGER,
    closed_ms INTEGER NOT NULL, delivered_ms INTEGER, peer TEXT NOT NULL, via TEXT NOT NULL
);
CREATE INDEX span_ids ON spans (origin, precedence, start);
CREATE TABLE damaged (
    row INTEGER PRIMARY KEY, found_ms INTEGER NOT NULL, origin INTEGER NOT NULL, precedence INTEGER NOT NULL,
    sequence INTEGER NOT NULL, queue INTEGER, flow TEXT, receipt INTEGER, payload_bytes INTEGER NOT NULL, digest BLOB,
    sum INTEGER, header BLOB NOT NULL, body BLOB
);
"""
COUNT_ROWS = (
    "INSERT INTO counts SELECT queue, count(*), sum(payload_bytes) FROM bundles WHERE queue IS NOT NULL GROUP BY queue",
    "INSERT INTO usage SELECT precedence, CASE WHEN queue IS NOT NULL THEN 0 WHEN receipt = 2 THEN 2 ELSE 1 END,"
    " count(*), sum(payload_bytes) FROM bundles GROUP BY 1, 2",
)
"""Fill the empty counters from the rows."""
_TABLES_3 += "".join(f"{statement};\n" for statement in COUNT_ROWS)
"""What version 3 has more: sums that show damage, and counters in rows, so that a start counts nothing."""

_log = structlog.get_logger()


class _DamagedError(Exception):
    """The file is no database of ours any more; caught in ``open_database`` alone."""


def open_database(
    folder: Path, *, timestamp: str, file_system: FileSystem = MACHINE
) -> tuple[sqlite3.Connection, Path | None]:
    """The writer's connection, and where a damaged database was set aside (None: there was none).

    Raises StoreError for a store of a newer version, sqlite3.Error when the disk does not even take an empty one.
    """
    path = folder / DATABASE_NAME
    try:
        if (folder / DAMAGE_MARK).exists():
            raise _DamagedError("found damaged while it was used")
        return _open(path, file_system), None
    except (sqlite3.DatabaseError, _DamagedError) as error:
        if not is_damage(error):
            raise
        aside = _set_aside(folder, timestamp, file_system)
        _log.error("store_set_aside", path=str(path), moved_to=str(aside), reason=str(error))
    return _open(path, file_system), aside


def mark_damaged(folder: Path) -> None:
    """Have the next ``open_database`` set the database aside. Raises OSError."""
    (folder / DAMAGE_MARK).touch()


@dataclass(slots=True)
class DamageMark:
    """The same for a store in use, by one thread: a disk that does not take it ends nobody, and is asked again."""

    folder: Path
    is_owed: bool = False
    """Damage was found, and the disk has not taken the mark yet."""

    def put(self) -> None:
        """Damage was found, or the mark is owed."""
        try:
            mark_damaged(self.folder)
        except OSError as error:
            if not self.is_owed:
                _log.warning("store_damage_unmarked", path=str(self.folder / DAMAGE_MARK), reason=str(error))
            self.is_owed = True
        else:
            self.is_owed = False


def connect(path: Path, file_system: FileSystem = MACHINE, *, can_write: bool = True) -> sqlite3.Connection:
    """A connection for one thread at a time, without Python's own transactions; every commit is synced."""
    database = file_system.connect(path)
    try:
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA temp_store = MEMORY")
        # Some builds write zeros over all that is deleted: half of the bytes written for a bundle that came and went
        database.execute("PRAGMA secure_delete = FAST")
        database.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES_MAX}")
        if not can_write:
            database.execute("PRAGMA query_only = 1")
    except sqlite3.Error:
        database.close()
        raise
    return database


def is_damage(error: Exception) -> bool:
    """Whether an error says that the file's content is wrong, not that the disk or a lock is in the way."""
    if isinstance(error, _DamagedError):
        return True
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_io_failure(error: Exception) -> bool:
    """Whether an error says that a write or a sync did not reach the disk."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR


def is_disk_full(error: Exception) -> bool:
    """Whether an error says that there is no room (SQLITE_FULL; a full disk can also show as a failed write)."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_FULL or code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)


def verify_database(path: Path, file_system: FileSystem = MACHINE) -> list[str]:
    """What SQLite finds wrong in the whole file; empty when it is sound. O(file)."""
    with closing(connect(path, file_system)) as database:
        found = [str(row[0]) for row in database.execute("PRAGMA integrity_check(20)")]
    return [] if found == ["ok"] else found


def _open(path: Path, file_system: FileSystem) -> sqlite3.Connection:
    database = connect(path, file_system)
    try:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before WAL, or it is silently ignored
        database.execute("PRAGMA journal_mode = WAL")
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise StoreError(f"store {path} has version {version}, this program knows up to {SCHEMA_VERSION}")
        if version == 0:
            _create(database, path)
            file_system.sync_folder(path.parent)
        elif path.stat().st_size <= QUICK_CHECK_MAX_BYTES:
            found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise _DamagedError(str(found))
        if 0 < version < SCHEMA_VERSION:
            _migrate(database, version)
    except BaseException:  # whatever ends the opening, the file must not stay open: it may be renamed next
        database.close()
        raise
    return database


def _create(database: sqlite3.Connection, path: Path) -> None:
    if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise _DamagedError("tables without a version")
    _run_script(database, _TABLES, _TABLES_2, _TABLES_3)


def _migrate(database: sqlite3.Connection, version: int) -> None:
    """Bring an older store up to date, all or nothing. O(rows), once; on a full disk it stays as it was."""
    _run_script(database, *(_TABLES_2, _TABLES_3)[version - 1 :])
    _log.info("store_migrated", from_version=version, to_version=SCHEMA_VERSION)


def _run_script(database: sqlite3.Connection, *scripts: str) -> None:
    database.executescript(f"BEGIN; {' '.join(scripts)} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _set_aside(folder: Path, timestamp: str, file_system: FileSystem) -> Path:
    """Rename the database and its payload files; nothing is deleted, nothing of it is swept later."""
    aside = folder / f"{DATABASE_NAME}.damaged-{timestamp}"
    for suffix in ("", "-wal", "-shm"):
        source = folder / f"{DATABASE_NAME}{suffix}"
        if source.exists():
            file_system.rename(source, folder / f"{aside.name}{suffix}")
    payloads = folder / PAYLOADS_NAME
    if payloads.exists():
        file_system.rename(payloads, folder / f"{PAYLOADS_NAME}.damaged-{timestamp}")
    file_system.unlink(folder / DAMAGE_MARK)
    file_system.sync_folder(folder)
    return aside
