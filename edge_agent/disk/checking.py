"""A look at the database file and the payload files while the store works already, so that none holds up the start."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import structlog

from edge_agent.core.bundle import BundleId
from edge_agent.disk.files import digest_file
from edge_agent.disk.opening import OpenStore
from edge_agent.disk.schema import (
    DATABASE_NAME,
    QUICK_CHECK_MAX_BYTES,
    DamageMark,
    connect,
    is_damage,
)

CHECK_FILES_BYTES = 256 << 20  # of payload files, the oldest first; what is above is looked at by ``Disk.verify``
CHECK_MAX_BYTES = 1 << 30  # some seconds of one core, and as much reading; ``Disk.verify`` looks at any size
MARK_RETRY_S = 10.0
_STEP_INSTRUCTIONS = 100_000  # of SQLite's machine, about 1 ms: how soon a stop is noticed

_log = structlog.get_logger()


class Checking:
    """One check. ``run`` is called on a thread of its own, ``stop`` on any other."""

    def __init__(self, store: OpenStore, on_damaged: Callable[[BundleId], None]) -> None:
        """``on_damaged`` is called on the thread with each bundle whose payload file has another content."""
        self._store = store
        self._on_damaged = on_damaged
        self._stopping = threading.Event()
        self._mark = DamageMark(store.folder)
        self.damage = ""
        """What was found wrong in the database; the next start sets it aside."""

    def stop(self) -> None:
        """End ``run`` soon."""
        self._stopping.set()

    def run(self) -> None:
        """Check a database that was too large to be checked at opening, then the payload files."""
        path = self._store.folder / DATABASE_NAME
        self._check_database(path)
        self._check_files(path)
        while self._mark.is_owed and not self._stopping.wait(MARK_RETRY_S):
            self._mark.put()

    def _check_database(self, path: Path) -> None:
        """Damage is marked for the next start."""
        try:
            if not QUICK_CHECK_MAX_BYTES < path.stat().st_size <= CHECK_MAX_BYTES:
                return
            with closing(connect(path)) as database:
                database.set_progress_handler(self._stopping.is_set, _STEP_INSTRUCTIONS)
                found = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
        except (sqlite3.Error, OSError) as error:
            if not is_damage(error):  # stopped, or the disk is in the way: the next start looks again
                return
            found = str(error)
        if found != "ok":
            self.damage = found
            self._mark.put()
            _log.error("store_damaged", path=str(path), reason=found)

    def _check_files(self, path: Path) -> None:
        left_bytes = CHECK_FILES_BYTES
        try:
            large = self._store.list_large(path)
        except sqlite3.Error as error:
            _log.warning("store_files_unchecked", path=str(path), reason=str(error))
            return
        for bundle, digest in large:
            file = self._store.files.whole_path(bundle)
            try:
                left_bytes -= file.stat().st_size
                if left_bytes < 0 or self._stopping.is_set():
                    return
                is_sound = digest_file(file) == digest
            except FileNotFoundError:  # its custody ended meanwhile
                continue
            except OSError as error:
                _log.warning("payload_file_failed", bundle=str(bundle), reason=str(error))
                continue
            if not is_sound:
                self._on_damaged(bundle)
