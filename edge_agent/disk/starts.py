"""The count of starts and leases, kept in the database and beside it, so that a database put back by a restore shows.

It rises with each start and with each lease of numbers, and the file beside the database follows before a number of
that start or lease is used. So when the file is behind, a process was killed in between; when the database is behind,
it is older than what was sent under its name. The file also says where it was born, since a backup may contain it.
"""

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge_agent.disk.birth import differences
from edge_agent.disk.file_system import MACHINE, FileSystem

STARTS_NAME = "store.starts"
SESSION_FACT = "session_number"
_TEMPORARY_NAME = f"{STARTS_NAME}.new"
_SESSION_NUMBER_MAX = 1 << 62  # what a HELLO carries has 63 bits; anything above was not written here
_FILE_BYTES_MAX = 256  # what is written here has about 90

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """What the file says. ``moved`` names what its content says of its own birth and is not so."""

    session_number: int
    moved: tuple[str, ...]

    def evidence(self, session_number: int) -> list[str]:
        """What tells that a database with this count was put back; empty when nothing does."""
        found = [SESSION_FACT] if self.session_number > session_number else []
        return found + [f"{STARTS_NAME} {name}" for name in self.moved]


@dataclass(slots=True)
class StartCount:
    """The count of an open store. ``rise`` belongs to a transaction, ``write_outside`` comes after its commit."""

    database: sqlite3.Connection
    folder: Path
    session_number: int
    file_system: FileSystem = MACHINE
    _outside: int = 0
    _is_failing: bool = False

    def load(self) -> None:
        """Take the row as it is (a transaction was rolled back)."""
        found = self.database.execute("SELECT value FROM facts WHERE name = ?", (SESSION_FACT,)).fetchone()
        self.session_number = int(found[0])

    def rise(self) -> None:
        """Numbers are leased in the transaction under way."""
        self.session_number += 1
        self.database.execute("UPDATE facts SET value = ? WHERE name = ?", (self.session_number, SESSION_FACT))

    def write_outside(self) -> None:
        """Bring the file to what is committed. One that cannot be written is told, and tried at the next commit."""
        if self.session_number == self._outside:
            return
        try:
            _write_starts(self.folder, self.session_number, self.file_system)
        except OSError as error:  # the disk is full: a restore may go unnoticed, but an SOS does not wait for that
            if not self._is_failing:
                self._is_failing = True
                _log.warning("store_starts_unwritten", path=str(self.folder / STARTS_NAME), reason=str(error))
            return
        self._outside, self._is_failing = self.session_number, False


def read_starts(folder: Path, file_system: FileSystem = MACHINE) -> Starts | None:
    """The file beside the database; None when it is absent or not as it was written here, which is no evidence."""
    path = folder / STARTS_NAME
    try:
        with path.open("rb") as file:
            text = file.read(_FILE_BYTES_MAX)
        here = file_system.birth(path)
    except FileNotFoundError:  # a store of an earlier program, or a new one
        return None
    except OSError as error:
        _log.warning("store_starts_unreadable", path=str(path), reason=str(error))
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    session_number = found.pop(SESSION_FACT, None) if isinstance(found, dict) else None
    if type(session_number) is not int or not 0 < session_number < _SESSION_NUMBER_MAX:
        _log.warning("store_starts_unreadable", path=str(path), reason=f"content {text[:80]!r}")
        return None
    return Starts(session_number=session_number, moved=tuple(differences(found, here)))


def _write_starts(folder: Path, session_number: int, file_system: FileSystem) -> None:
    """Replace the file durably. Raises OSError."""
    temporary = folder / _TEMPORARY_NAME
    file_system.unlink(temporary)  # left by a kill: its birth would not be that of now
    descriptor = file_system.open(temporary)
    try:
        content = {SESSION_FACT: session_number, **file_system.birth(temporary)}
        file_system.write(descriptor, 0, json.dumps(content).encode() + b"\n")
        file_system.sync(descriptor)
    finally:
        file_system.close(descriptor)
    file_system.rename(temporary, folder / STARTS_NAME)
    file_system.sync_folder(folder)
