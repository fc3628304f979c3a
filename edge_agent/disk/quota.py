"""Room in the store: what each precedence may fill, and the ballast that keeps a full disk able to delete.

    0 ............ machines: ROUTINE and below ...... IMMEDIATE, PRIORITY .... FLASH of machines ... FLASH of people
    |----------------------- 90 % ------------------|------ reserve ----------|-- half of it ------|- the other half -|

SQLite needs free disk even to delete (measured: on a full disk DELETE and a checkpoint both fail with SQLITE_FULL), so
a ballast file as large as what a checkpoint can add is given up when that happens, and laid down again later.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.core.bundle import Origin, Precedence
from edge_agent.disk.file_system import MACHINE, FileSystem

ROW_BYTES = 512
"""What a row costs beside its payload: 242 bytes measured for a queue row of 200, two more indices, and its fate."""
ROUTINE_SHARE = 0.9
FLASH_RESERVE_SHARE = 0.05
FLASH_RESERVE_MAX_BYTES = 64 << 20  # 100,000 SOS; more would only be taken from pictures
BALLAST_NAME = "ballast"
BALLAST_SHARE = 1 / 16
BALLAST_MIN_BYTES = 1 << 20
BALLAST_MAX_BYTES = 16 << 20  # four times the WAL at which SQLite checkpoints by itself


@dataclass(slots=True)
class Quota:
    """Bytes used against bytes allowed. Changed by the writer thread only; the loop's thread reads single integers."""

    quota_bytes: int
    used_bytes: int = 0
    evictable_bytes: int = 0
    """Of those used: deliveries whose receipts are settled. They count as free, because they go when room is needed."""

    @property
    def flash_reserve_bytes(self) -> int:
        """Kept for FLASH alone."""
        return min(FLASH_RESERVE_MAX_BYTES, int(self.quota_bytes * FLASH_RESERVE_SHARE))

    def limit_bytes(self, precedence: Precedence, origin: Origin) -> int:
        """How far the store may fill for a bundle of this kind."""
        if precedence is Precedence.FLASH:
            return self.quota_bytes - (0 if origin is Origin.PERSON else self.flash_reserve_bytes // 2)
        if precedence <= Precedence.PRIORITY:
            return self.quota_bytes - self.flash_reserve_bytes
        return int(self.quota_bytes * ROUTINE_SHARE)

    def missing_bytes(self, payload_bytes: int, precedence: Precedence, origin: Origin) -> int:
        """How much must be evicted before a bundle fits; 0 or less when it does."""
        return self.used_bytes + payload_bytes + ROW_BYTES - self.limit_bytes(precedence, origin)

    def free_bytes(self) -> int:
        """What ROUTINE bundles can still take, evictable ones counted as free."""
        limit_bytes = self.limit_bytes(Precedence.ROUTINE, Origin.MACHINE)
        return max(0, limit_bytes - self.used_bytes + self.evictable_bytes)


@dataclass(slots=True)
class Ballast:
    """A file of zeros that is deleted when the disk is full. Used by the writer thread only."""

    folder: Path
    size_bytes: int
    file_system: FileSystem = MACHINE
    is_down: bool = field(init=False)

    def __post_init__(self) -> None:
        path = self.folder / BALLAST_NAME
        self.is_down = path.exists() and path.stat().st_size == self.size_bytes

    @classmethod
    def for_quota(cls, folder: Path, quota_bytes: int, file_system: FileSystem = MACHINE) -> "Ballast":
        """A ballast in proportion to the store."""
        share_bytes = int(quota_bytes * BALLAST_SHARE)
        return cls(folder, max(BALLAST_MIN_BYTES, min(BALLAST_MAX_BYTES, share_bytes)), file_system)

    def disk_free_bytes(self) -> int:
        """Free bytes of the file system that holds the store."""
        return shutil.disk_usage(self.folder).free

    def has_room(self, wanted_bytes: int) -> bool:
        """Whether the disk takes this much and keeps half a ballast free; a ballast given up is not room."""
        given_up_bytes = 0 if self.is_down else self.size_bytes
        return self.disk_free_bytes() >= wanted_bytes + given_up_bytes + self.size_bytes // 2

    def give_up(self) -> bool:
        """Free the ballast; False when that was done before."""
        if not self.is_down:
            return False
        self.is_down = False
        self.file_system.unlink(self.folder / BALLAST_NAME)
        return True

    def lay_down(self) -> bool:
        """Take the room again when there is plenty; whether the ballast is down now."""
        if self.is_down:
            return True
        if self.disk_free_bytes() < 2 * self.size_bytes:  # else the disk would count as full again at once
            return False
        file_system, path = self.file_system, self.folder / BALLAST_NAME
        try:
            file_system.unlink(path)  # one of another size
            descriptor = file_system.open(path)
            try:
                file_system.reserve(descriptor, self.size_bytes)
                file_system.sync(descriptor)
            finally:
                file_system.close(descriptor)
            file_system.sync_folder(self.folder)
        except OSError:  # somebody else took the room meanwhile; the disk counts as full until this succeeds
            file_system.unlink(path)
            return False
        self.is_down = True
        return True
