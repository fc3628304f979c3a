"""What is wrong with a disk, in the words of its file system.

SQLite says "disk I/O error" for most of it. A person can act on "Read-only file system", and only a full disk is helped
by room.
"""

import errno
import sqlite3
from pathlib import Path

from edge_agent.core.effects import Failed
from edge_agent.core.errors import RefusalReason
from edge_agent.disk.schema import is_disk_full, is_io_failure

TRIED_NAME = "store.lock"
"""There in any store, and not SQLite's: closing a file of its own would let go of its locks."""


def failure_of(error: sqlite3.Error | OSError, folder: Path) -> Failed:
    """Why a job was refused: the disk is full, or it does not work."""
    reason = RefusalReason.STORE_FULL if is_full(error, folder) else RefusalReason.STORE_FAILED
    return Failed(reason, explain(error, folder))


def is_full(error: sqlite3.Error | OSError, folder: Path) -> bool:
    """Whether room would help."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return is_disk_full(error) and _refusal(folder) is None


def explain(error: sqlite3.Error | OSError, folder: Path) -> str:
    """The error, with what the file system says to whoever would write a file."""
    refusal = _refusal(folder) if isinstance(error, sqlite3.Error) and is_io_failure(error) else None
    return str(error) if refusal is None else f"{error}: {refusal.strerror}"


def _refusal(folder: Path) -> OSError | None:
    try:
        with (folder / TRIED_NAME).open("ab"):
            return None
    except OSError as error:  # the answer that was asked for
        return error
