"""Payloads that are files: ``ID.part`` while it arrives, ``ID.payload`` once it is whole; each byte synced before told.

Used by the writer thread, except ``read``, which opens files of its own.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.core.bundle import BundleId
from edge_agent.disk.digests import RunningDigest, new_digest
from edge_agent.disk.file_system import MACHINE, FileSystem
from edge_agent.disk.schema import PAYLOADS_NAME

OPEN_FILES_MAX = 16  # more partials than this at a time are rare; the oldest is closed and opened again
HASH_STEP_BYTES = 1 << 20
PART_SUFFIX = ".part"
WHOLE_SUFFIX = ".payload"
DAMAGED_SUFFIX = ".damaged"


class ShortWriteError(OSError):
    """The file system took fewer bytes than it was given, which is how a full disk begins to show."""


def make_folder(store: Path, file_system: FileSystem = MACHINE) -> Path:
    """The folder of payload files, made durable when it is new."""
    folder = store / PAYLOADS_NAME
    if not folder.exists():
        file_system.make_folder(folder)
        file_system.sync_folder(store)
    return folder


@dataclass(slots=True)
class PayloadFiles:
    """The files of one store."""

    folder: Path
    file_system: FileSystem = MACHINE
    _open: OrderedDict[BundleId, int] = field(default_factory=OrderedDict)
    _digests: dict[BundleId, RunningDigest] = field(default_factory=dict)
    """Of each ``.part`` that was written to since the start."""

    def part_path(self, bundle: BundleId) -> Path:
        """Where a bundle lies while it arrives."""
        return self.folder / f"{bundle}{PART_SUFFIX}"

    def whole_path(self, bundle: BundleId) -> Path:
        """Where a whole bundle lies."""
        return self.folder / f"{bundle}{WHOLE_SUFFIX}"

    def write(self, bundle: BundleId, offset: int, piece: bytes | memoryview) -> None:
        """Put bytes into the ``.part``; not durable before ``sync``. Raises OSError."""
        descriptor = self._descriptor(bundle)
        written = self.file_system.write(descriptor, offset, piece)
        if written != len(piece):
            raise ShortWriteError(f"{self.part_path(bundle)}: {written} of {len(piece)} bytes written")
        self._digest(bundle).take(offset, piece)

    def read_on(self, bundle: BundleId, end: int, step_bytes: int) -> int:
        """Let the digest of the ``.part`` catch up by at most ``step_bytes``; gives back by how many. Raises OSError.

        ``end``: everything before it is in the file.
        """
        running = self._digest(bundle)
        return running.read_on(self._descriptor(bundle), end, step_bytes) if running.done_bytes < end else 0

    def digest(self, bundle: BundleId, length: int) -> bytes | None:
        """BLAKE2b of a ``.part`` of ``length`` bytes; None while ``read_on`` has not reached its end."""
        running = self._digest(bundle)
        return running.digest() if running.done_bytes == length else None

    def _digest(self, bundle: BundleId) -> RunningDigest:
        running = self._digests.get(bundle)
        if running is None:
            running = self._digests[bundle] = RunningDigest()
        return running

    def sync(self, bundle: BundleId) -> None:
        """Make what was written to the ``.part`` durable. Raises OSError."""
        self.file_system.sync(self._descriptor(bundle))

    def finish(self, part: BundleId, bundle: BundleId) -> None:
        """The ``.part`` is whole and synced: give it its final name, durably. Raises OSError."""
        self.close(part)
        self._digests.pop(part, None)
        self.file_system.rename(self.part_path(part), self.whole_path(bundle))
        self.file_system.sync_folder(self.folder)

    def unfinish(self, part: BundleId, whole: Path) -> None:
        """Take a final name back: the row that should go with it was not written."""
        self.file_system.rename(whole, self.part_path(part))

    def set_aside(self, bundle: BundleId) -> None:
        """Give a file whose content is wrong a name that nothing reads or sweeps; none is fine. Raises OSError."""
        whole = self.whole_path(bundle)
        if whole.exists():
            self.file_system.rename(whole, whole.with_name(f"{whole.name}{DAMAGED_SUFFIX}"))
            self.file_system.sync_folder(self.folder)

    def remove(self, bundle: BundleId) -> None:
        """Delete whatever there is of a bundle; its row is gone already, so a crash in between leaves an orphan."""
        self.close(bundle)
        self._digests.pop(bundle, None)
        self.file_system.unlink(self.part_path(bundle))
        self.file_system.unlink(self.whole_path(bundle))

    def close(self, bundle: BundleId) -> None:
        """Close the ``.part`` if it is open."""
        descriptor = self._open.pop(bundle, None)
        if descriptor is not None:
            self.file_system.close(descriptor)

    def close_all(self) -> None:
        """Close every file."""
        for bundle in list(self._open):
            self.close(bundle)

    def _descriptor(self, bundle: BundleId) -> int:
        descriptor = self._open.get(bundle)
        if descriptor is not None:
            self._open.move_to_end(bundle)
            return descriptor
        path = self.part_path(bundle)
        is_new = not path.exists()
        descriptor = self.file_system.open(path)
        self._open[bundle] = descriptor
        if is_new:
            self.file_system.sync_folder(self.folder)
        if len(self._open) > OPEN_FILES_MAX:
            self.close(next(iter(self._open)))
        return descriptor


def digest_file(path: Path) -> bytes:
    """BLAKE2b of a file. Raises OSError. O(file)."""
    digest = new_digest()
    with path.open("rb") as file:
        while chunk := file.read(HASH_STEP_BYTES):
            digest.update(chunk)
    return digest.digest()
