"""The file system as the store uses it: each change of a file, a name or a folder is one call here.

So that a recorder can stand in its place and tell what had been synced at any moment (``tests/powercut``).
"""

import os
import shutil
import sqlite3
import sys
from pathlib import Path

from edge_agent.disk.birth import read_birth


class FileSystem:
    """The machine's own. Keeps nothing; used by any thread. Methods raise OSError."""

    def connect(self, path: Path) -> sqlite3.Connection:
        """A connection to a database file, made when absent; without Python's own transactions."""
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=5.0)

    def open(self, path: Path) -> int:
        """A descriptor to read and write a file, made with mode 0600 when absent."""
        return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)

    def write(self, descriptor: int, offset: int, piece: bytes | memoryview) -> int:
        """Put bytes at ``offset``; gives back how many were taken. Not durable before ``sync``."""
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, piece)

    def birth(self, path: Path) -> dict[str, str]:
        """What stays with a file when it is renamed, and differs after a copy or a restore of its folder."""
        return read_birth(path)

    def reserve(self, descriptor: int, length: int) -> None:
        """Have the first ``length`` bytes of a file take room, as zeros where nothing was written."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, length)
        else:
            self.write(descriptor, 0, bytes(length))

    def sync(self, descriptor: int) -> None:
        """Make what was written to a file durable, its length too; its name is another matter (``sync_folder``)."""
        if sys.platform == "linux":
            os.fdatasync(descriptor)  # times are not synced
        else:
            os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Let go of a descriptor."""
        os.close(descriptor)

    def free_bytes(self, folder: Path) -> int:
        """What the file system that holds a folder has left."""
        return shutil.disk_usage(folder).free

    def rename(self, old: Path, new: Path) -> None:
        """Give a file or folder another name, in place of what had it."""
        old.replace(new)

    def unlink(self, path: Path) -> None:
        """Take a name away; none is fine."""
        path.unlink(missing_ok=True)

    def make_folder(self, path: Path) -> None:
        """A new folder with mode 0700."""
        path.mkdir(mode=0o700)

    def sync_folder(self, folder: Path) -> None:
        """Make names made, changed or removed in a folder durable."""
        if sys.platform != "win32":  # Windows has no handle of a folder to sync
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


MACHINE = FileSystem()
