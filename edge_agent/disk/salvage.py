"""Salvage: what can still be read of a database set aside goes into the new one, as bundles of the store's older name.

Rows keep their numbers, so consumers go on where they were; what was handed on before may be sent again, and is known
at the other end. The file that was set aside stays as it is.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import structlog

from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.disk.damage import sound_header
from edge_agent.disk.files import WHOLE_SUFFIX, PayloadFiles
from edge_agent.disk.identity import close_numbers, to_unsigned
from edge_agent.disk.schema import COUNT_ROWS, DATABASE_NAME, PAYLOADS_NAME, SCHEMA_VERSION

SALVAGE_S = 20.0
"""For reading: an SOS waits for the start. What was not reached stays in the file that was set aside."""
ROWS_A_TIME = 256
SKIPS_MAX = 2_000  # stretches that could not be read, before the rest is given up
_NEEDED = ("boots", "origins", "queues")
_WELCOME = ("leases", "seen", "consumers", "fates")
_COLUMNS = (
    "bundles.row, origin, precedence, sequence, queue, flow, payload_bytes, boot, as_of_s, age_low_s, age_high_s,"
    " stored_ms, receipt, peer, via, digest, header, bundles.body, sum"
)
Row = tuple[Any, ...]  # Any: columns, typed by the schema

_log = structlog.get_logger()


def salvage(database: sqlite3.Connection, aside: Path, files: PayloadFiles, clock_s: Callable[[], float]) -> int:
    """Fill the new, empty database from the damaged one; how many bundles came over. All or nothing is written.

    Bundles whose rows are not sound, or whose payload file is gone, stay behind. Call it before the store has a name.
    """
    try:
        with closing(sqlite3.connect(f"{aside.as_uri()}?mode=ro", uri=True, isolation_level=None)) as damaged:
            if damaged.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
                return 0  # its rows have no sums, or other columns
            database.execute("BEGIN IMMEDIATE")
            _copy_tables(database, damaged)
            found = _copy_bundles(database, damaged, aside, clock_s)
            for statement in COUNT_ROWS:
                database.execute(statement)
            database.execute("COMMIT")
    except sqlite3.Error as error:
        if database.in_transaction:
            database.execute("ROLLBACK")
        _log.warning("store_not_salvaged", path=str(aside), reason=str(error))
        return 0
    for bundle in (each for each in found if found[each]):
        files.file_system.rename(_payloads_aside(aside) / files.whole_path(bundle).name, files.whole_path(bundle))
    files.file_system.sync_folder(files.folder)
    _log.warning("store_salvaged", path=str(aside), bundles=len(found))
    return len(found)


def _copy_tables(database: sqlite3.Connection, damaged: sqlite3.Connection) -> None:
    """All that is not bundles, as it is; the numbers given out under the older name are closed."""
    for name in (*_NEEDED, *_WELCOME):
        try:
            rows = damaged.execute(f"SELECT * FROM {name}").fetchall()
        except sqlite3.DatabaseError:
            if name in _NEEDED:
                raise
            continue
        for row in rows:
            database.execute(f"INSERT OR IGNORE INTO {name} VALUES ({', '.join('?' * len(row))})", row)
    found = damaged.execute("SELECT value FROM facts WHERE name = 'incarnation'").fetchone()
    if found is not None:
        close_numbers(database, to_unsigned(found[0]))
    database.execute("DELETE FROM leases")


def _copy_bundles(
    database: sqlite3.Connection, damaged: sqlite3.Connection, aside: Path, clock_s: Callable[[], float]
) -> dict[BundleId, bool]:
    """The bundles that came over, and whether their payload is a file."""
    names = {
        origin: (source, to_unsigned(incarnation))
        for origin, source, incarnation in database.execute("SELECT * FROM origins")
    }
    found: dict[BundleId, bool] = {}
    for *row, long_body in _readable_rows(damaged, clock_s, clock_s() + SALVAGE_S):
        number, origin, precedence, sequence, length = row[0], row[1], row[2], row[3], row[6]
        is_file, header = row[15] is not None, row[16]
        body = b"" if is_file else (row[17] if row[17] is not None else long_body) or b""
        if origin not in names or sound_header(row[18], header, body) is None:
            continue
        bundle = BundleId(*names[origin], Precedence(precedence), sequence)
        if not is_file and len(body) != length:
            continue
        if is_file and not _is_whole(_payloads_aside(aside) / f"{bundle}{WHOLE_SUFFIX}", length):
            continue
        added = database.execute(f"INSERT OR IGNORE INTO bundles VALUES ({', '.join('?' * len(row))})", row)
        if added.rowcount:
            found[bundle] = is_file
            if long_body is not None:
                database.execute("INSERT INTO bodies VALUES (?, ?)", (number, long_body))
    return found


def _readable_rows(damaged: sqlite3.Connection, clock_s: Callable[[], float], until_s: float) -> Iterator[Row]:
    """Rows of bundles with their longer bodies; around what cannot be read, ever larger steps are left out."""
    after, limit, step, skips = 0, ROWS_A_TIME, 1, 0
    while clock_s() < until_s and skips < SKIPS_MAX:
        try:
            found = damaged.execute(
                f"SELECT {_COLUMNS}, bodies.body FROM bundles LEFT JOIN bodies ON bodies.row = bundles.row"
                " WHERE bundles.row > ? ORDER BY bundles.row LIMIT ?",
                (after, limit),
            ).fetchall()
        except sqlite3.DatabaseError:
            if limit > 1:
                limit = max(1, limit // 16)
            else:
                after, step, skips = after + step, step * 2, skips + 1
            continue
        if not found:
            return
        yield from found
        after, limit, step = found[-1][0], min(ROWS_A_TIME, limit * 2), 1


def _payloads_aside(aside: Path) -> Path:
    """Where the payload files of a database set aside are."""
    return aside.with_name(aside.name.replace(DATABASE_NAME, PAYLOADS_NAME, 1))


def _is_whole(path: Path, length: int) -> bool:
    try:
        return path.stat().st_size == length
    except FileNotFoundError:
        return False
