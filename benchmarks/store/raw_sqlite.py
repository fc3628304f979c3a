"""The yardstick of every store: rows into SQLite with WAL and synchronous=FULL, nothing else done.

Shape of a row as in ``facts/limits.md`` section 6: id, class, deadline, state, body and one index.
"""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

ROWS_A_COMMIT = 100


def connect_raw(path: Path) -> sqlite3.Connection:
    """An empty database; close it."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE queue (id INTEGER PRIMARY KEY, class INT, deadline REAL, state INT, body BLOB)")
    database.execute("CREATE INDEX due ON queue (class, deadline)")
    return database


def commit_rows(database: sqlite3.Connection, first: int, number: int, body: bytes) -> None:
    """One synced transaction of ``number`` rows, ids from ``first``."""
    rows = [(first + at, at % 5, 1e9 + at, 0, body) for at in range(number)]
    database.execute("BEGIN IMMEDIATE")
    database.executemany("INSERT INTO queue VALUES (?, ?, ?, ?, ?)", rows)
    database.execute("COMMIT")


def raw_rows_hz(path: Path, rows: int, body: bytes) -> float:
    """Rows a second in commits of 100."""
    with closing(connect_raw(path)) as database:
        begun_s = time.perf_counter()
        for first in range(0, rows, ROWS_A_COMMIT):
            commit_rows(database, first, ROWS_A_COMMIT, body)
        return rows / (time.perf_counter() - begun_s)
