"""A look at the whole database file while the store works already, so that a large one does not hold up the start."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import structlog

from edge_agent.disk.schema import (
    DATABASE_NAME,
    QUICK_CHECK_MAX_BYTES,
    connect,
    is_damage,
    mark_damaged,
)

CHECK_MAX_BYTES = 1 << 30  # some seconds of one core, and as much reading; ``Disk.verify`` looks at any size
_STEP_INSTRUCTIONS = 100_000  # of SQLite's machine, about 1 ms: how soon a stop is noticed

_log = structlog.get_logger()


class Checking:
    """One check. ``run`` is called on a thread of its own, ``stop`` on any other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stopping = threading.Event()
        self.damage = ""
        """What was found wrong; the next start sets the database aside."""

    def stop(self) -> None:
        """End ``run`` soon."""
        self._stopping.set()

    def run(self) -> None:
        """Check a file that was too large to be checked at opening; damage is marked for the next start."""
        path = self._folder / DATABASE_NAME
        if not QUICK_CHECK_MAX_BYTES < path.stat().st_size <= CHECK_MAX_BYTES:
            return
        try:
            with closing(connect(path)) as database:
                database.set_progress_handler(self._stopping.is_set, _STEP_INSTRUCTIONS)
                found = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.Error as error:
            if not is_damage(error):  # stopped, or the disk is in the way: the next start looks again
                return
            found = str(error)
        if found != "ok":
            self.damage = found
            mark_damaged(self._folder)
            _log.error("store_damaged", path=str(path), reason=found)
