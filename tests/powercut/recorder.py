"""A file system that notes every change: the store's own calls, and those of SQLite by a VFS of apsw.

apsw brings an SQLite of its own beside Python's; the code of the store is the same, and so is the file format.
"""

import errno
import itertools
import os
import random
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import apsw

from edge_agent.disk.file_system import FileSystem
from tests.powercut.apsw_connection import ApswConnection
from tests.powercut.journal import Journal, Link, Resize, Sync, SyncFailed, SyncFolder, Unlink, Write

_VFS_NUMBERS = itertools.count()
_UNSYNCED_NAMES = ("-journal", "-wal")  # SQLite syncs the folder of these with the first sync of a new one
_VOLATILE = "-shm"  # shared memory: made anew from the WAL after a cut


class RestoredFileSystem(FileSystem):
    """Files laid out after a cut: each has the birth it had before, and so is no copy."""

    def __init__(self, root: Path, nodes: Mapping[Path, int], journal: Journal) -> None:
        self.root = root
        self.journal = journal
        self._nodes = dict(nodes)
        journal.start_above(max(nodes.values(), default=0))

    def birth(self, path: Path) -> dict[str, str]:
        """The node, as an inode that nothing else ever had."""
        path.stat()  # raises as the machine's own does
        return {"inode": str(self.node(path))}

    def node(self, path: Path) -> int:
        """The node of a path; one that is new gets its number here."""
        found = self._nodes.get(path)
        if found is None:
            found = self._nodes[path] = self.journal.new_node()
        return found

    def rename(self, old: Path, new: Path) -> None:
        """As the machine's; the node goes with the name."""
        super().rename(old, new)
        self._nodes[new] = self._nodes.pop(old)

    def unlink(self, path: Path) -> None:
        """As the machine's; the next file of that name is another one."""
        super().unlink(path)
        self._nodes.pop(path, None)


class RecordingFileSystem(RestoredFileSystem):
    """The same, and each change goes into the journal before its call returns. ``close_vfs`` when it is done with."""

    def __init__(self, root: Path, nodes: Mapping[Path, int], journal: Journal) -> None:
        super().__init__(root, nodes, journal)
        self.failing_ratio = 0.0
        """Of writes and syncs, how many fail from now on."""
        self._chance = random.Random(len(nodes))
        self._descriptors: dict[int, int] = {}
        self._vfs = _RecordingVfs(self)

    def close_vfs(self) -> None:
        """No connection is open any more."""
        self._vfs.unregister()

    def connect(self, path: Path) -> sqlite3.Connection:
        """A connection by way of the recording VFS; it has what the store uses of ``sqlite3.Connection``."""
        return ApswConnection(apsw.Connection(str(path), vfs=self._vfs.name))  # type: ignore[return-value]  # its likeness

    def open(self, path: Path) -> int:
        """As the machine's; a new file is a new name."""
        is_new = not path.exists()
        descriptor = super().open(path)
        self._descriptors[descriptor] = self.made(path) if is_new else self.node(path)
        return descriptor

    def write(self, descriptor: int, offset: int, piece: bytes | memoryview) -> int:
        """As the machine's."""
        if self.fails():
            raise OSError(errno.EIO, "injected")
        written = super().write(descriptor, offset, piece)
        self.journal.note(Write(self._descriptors[descriptor], offset, bytes(piece[:written])))
        return written

    def reserve(self, descriptor: int, length: int) -> None:
        """As the machine's."""
        super().reserve(descriptor, length)
        self.journal.note(Resize(self._descriptors[descriptor], os.fstat(descriptor).st_size))

    def sync(self, descriptor: int) -> None:
        """Noted only: the machine stays on."""
        if self.fails():
            self.journal.note(SyncFailed(self._descriptors[descriptor]))
            raise OSError(errno.EIO, "injected")
        self.journal.note(Sync(self._descriptors[descriptor]))

    def close(self, descriptor: int) -> None:
        """As the machine's; closing syncs nothing."""
        del self._descriptors[descriptor]
        super().close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """As the machine's."""
        assert old.parent == new.parent, "a rename between folders is two entries, and the model has one"
        super().rename(old, new)
        self.journal.note(Link(self.name_of(new.parent), new.name, self.node(new), old.name))

    def unlink(self, path: Path) -> None:
        """As the machine's."""
        is_there = path.exists()
        super().unlink(path)
        if is_there:
            self.journal.note(Unlink(self.name_of(path.parent), path.name))

    def make_folder(self, path: Path) -> None:
        """As the machine's."""
        super().make_folder(path)
        self.made(path, is_folder=True)

    def sync_folder(self, folder: Path) -> None:
        """Noted only."""
        self.journal.note(SyncFolder(self.name_of(folder)))

    def fails(self) -> bool:
        """Whether the disk fails this time."""
        return self.failing_ratio > 0 and self._chance.random() < self.failing_ratio

    def made(self, path: Path, *, is_folder: bool = False) -> int:
        """A new name in the journal; its node."""
        self._nodes.pop(path, None)
        node = self.node(path)
        self.journal.note(Link(self.name_of(path.parent), path.name, node, is_folder=is_folder))
        return node

    def forgotten(self, path: Path) -> None:
        """A name that SQLite took away."""
        self._nodes.pop(path, None)
        self.journal.note(Unlink(self.name_of(path.parent), path.name))

    def name_of(self, folder: Path) -> str:
        """The folder as the journal calls it."""
        return "" if folder == self.root else folder.relative_to(self.root).as_posix()


class _RecordingVfs(apsw.VFS):
    """SQLite's calls, on their way to its own VFS."""

    def __init__(self, files: RecordingFileSystem) -> None:
        self.name = f"recorder-{next(_VFS_NUMBERS)}"
        self.files = files
        super().__init__(self.name, "")

    def xOpen(self, name: "str | apsw.URIFilename | None", flags: list[int]) -> apsw.VFSFile:  # noqa: N802  # SQLite's name
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name or "")
        is_new = not path.exists()
        file = _RecordingFile(name, flags, self.files, path)
        if is_new and not path.name.endswith(_VOLATILE):
            self.files.made(path)
            file.syncs_folder = path.name.endswith(_UNSYNCED_NAMES)
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802  # SQLite's name
        path = Path(filename)
        is_there = path.exists()
        super().xDelete(filename, syncdir)
        if is_there and not path.name.endswith(_VOLATILE):
            self.files.forgotten(path)
        if syncdir:
            self.files.sync_folder(path.parent)


class _RecordingFile(apsw.VFSFile):
    def __init__(
        self, name: "str | apsw.URIFilename | None", flags: list[int], files: RecordingFileSystem, path: Path
    ) -> None:
        super().__init__("", name, flags)
        self._files, self._path = files, path
        self.syncs_folder = False

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # SQLite's name
        if self._files.fails():
            raise apsw.IOError("injected")
        super().xWrite(data, offset)
        self._files.journal.note(Write(self._files.node(self._path), offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  # SQLite's name
        super().xTruncate(newsize)
        self._files.journal.note(Resize(self._files.node(self._path), newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802  # SQLite's name
        if self._files.fails():
            self._files.journal.note(SyncFailed(self._files.node(self._path)))
            raise apsw.IOError("injected")
        self._files.journal.note(Sync(self._files.node(self._path)))
        if self.syncs_folder:
            self.syncs_folder = False
            self._files.sync_folder(self._path.parent)
