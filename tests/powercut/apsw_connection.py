"""An apsw connection with what the store uses of ``sqlite3.Connection``: same calls, same errors."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import apsw

ResultT = TypeVar("ResultT")
Row = tuple[Any, ...]  # Any: what SQLite gives

_KINDS: tuple[tuple[type[apsw.Error], type[sqlite3.DatabaseError]], ...] = (
    (apsw.ConstraintError, sqlite3.IntegrityError),
    (apsw.CorruptError, sqlite3.DatabaseError),
    (apsw.NotADBError, sqlite3.DatabaseError),
)


def translated(call: Callable[[], ResultT]) -> ResultT:
    """What ``call`` gives back, its apsw errors as those that Python's own module raises."""
    try:
        return call()
    except apsw.Error as error:
        kind = next((made for cause, made in _KINDS if isinstance(error, cause)), sqlite3.OperationalError)
        raised = kind(str(error))
        raised.sqlite_errorcode = getattr(error, "extendedresult", 0)
        raised.sqlite_errorname = type(error).__name__
        raise raised from error


class ApswCursor:
    """The result of one statement."""

    def __init__(self, cursor: apsw.Cursor, lastrowid: int, rowcount: int) -> None:
        self._cursor = cursor
        self.lastrowid = lastrowid
        self.rowcount = rowcount

    def fetchone(self) -> Row | None:
        return translated(self._cursor.fetchone)

    def fetchall(self) -> list[Row]:
        return translated(self._cursor.fetchall)

    def fetchmany(self, size: int) -> list[Row]:
        return [row for _ in range(size) if (row := self.fetchone()) is not None]

    def __iter__(self) -> Iterator[Row]:
        while (row := self.fetchone()) is not None:
            yield row


class ApswConnection:
    """A connection without transactions of its own."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        connection.set_busy_timeout(5_000)

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    @property
    def total_changes(self) -> int:
        return self._connection.total_changes()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> ApswCursor:  # Any: what SQLite takes
        connection = self._connection
        cursor = translated(lambda: connection.execute(sql, tuple(values)))
        return ApswCursor(cursor, connection.last_insert_rowid(), connection.changes())

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> ApswCursor:  # Any: as above
        connection, before = self._connection, self._connection.total_changes()
        cursor = translated(lambda: connection.executemany(sql, [tuple(row) for row in rows]))
        return ApswCursor(cursor, connection.last_insert_rowid(), connection.total_changes() - before)

    def executescript(self, script: str) -> None:
        translated(lambda: self._connection.execute(script).fetchall())

    def close(self) -> None:
        translated(self._connection.close)
