"""Room in the store: what each precedence may fill, and the ballast that keeps a full disk able to delete.

    0 ............ machines: ROUTINE and below ...... IMMEDIATE, PRIORITY .... FLASH of machines ... FLASH of people
    |----------------------- 90 % ------------------|------ reserve ----------|-- half of it ------|- the other half -|

What is charged for a bundle is a guess: its payload and ROW_BYTES. What the pages of the database and the files take
is looked up after each commit, and what they take beyond the charges (``excess_bytes``) counts as used.

SQLite needs free disk even to delete (measured: on a full disk DELETE and a checkpoint both fail with SQLITE_FULL), so
a ballast file as large as what a checkpoint can add is given up when that happens, and laid down again later.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.core.bundle import Origin, Precedence
from edge_agent.disk.file_system import MACHINE, FileSystem

ROW_BYTES = 512
"""What a row costs beside its payload: 242 bytes measured for a queue row of 200, two more indices, and its fate."""
ALLOWANCE_BYTES = 16 << 20
"""Of the disk, beyond the quota: tables that are empty, what is kept of ended bundles, pages half full."""
LOG_BYTES = 24 << 20
"""The same, for the database's log: one transaction writes up to 4 MiB of payload and evicts 2,048 rows."""
_PRIORITY = Precedence.PRIORITY  # a member of an enum is slow to look up
BLOCK_BYTES = 4096  # what a file system gives out
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

    excess_bytes: int = 0
    """What the disk holds beyond ``used_bytes`` and the allowance, as of the last commit."""
    file_bytes: int = 0
    part_bytes: int = 0
    """Of payload files, and of those that arrive, in whole blocks."""
    has_spare_pages: bool = False
    """Whether the database has to give back pages it does not use, because others need their room."""

    @property
    def taken_bytes(self) -> int:
        """What counts against the limits."""
        return self.used_bytes + self.excess_bytes

    def measure(self, pages: int, free_pages: int) -> None:
        """A transaction has ended: take what the database has in use, and has in all, for what it costs."""
        beyond_bytes = self.file_bytes + self.part_bytes - ALLOWANCE_BYTES
        self.excess_bytes = max(0, (pages - free_pages) * BLOCK_BYTES + beyond_bytes - self.used_bytes)
        self.has_spare_pages = free_pages > 0 and pages * BLOCK_BYTES + beyond_bytes > self.quota_bytes

    def add_file(self, payload_bytes: int) -> None:
        """A payload is a file."""
        self.file_bytes += in_blocks(payload_bytes)

    def drop_file(self, payload_bytes: int) -> None:
        """Its file goes."""
        self.file_bytes -= in_blocks(payload_bytes)

    def begin_part(self, payload_bytes: int) -> None:
        """A payload will be a file."""
        self.used_bytes += payload_bytes + ROW_BYTES
        self.part_bytes += in_blocks(payload_bytes)

    def end_part(self, payload_bytes: int) -> None:
        """It is one, or goes."""
        self.used_bytes -= payload_bytes + ROW_BYTES
        self.part_bytes -= in_blocks(payload_bytes)

    @property
    def flash_reserve_bytes(self) -> int:
        """Kept for FLASH alone."""
        return min(FLASH_RESERVE_MAX_BYTES, int(self.quota_bytes * FLASH_RESERVE_SHARE))

    def limit_bytes(self, precedence: Precedence, origin: Origin) -> int:
        """How far the store may fill for a bundle of this kind."""
        if precedence > _PRIORITY:
            return int(self.quota_bytes * ROUTINE_SHARE)
        if precedence is Precedence.FLASH:
            return self.quota_bytes - (0 if origin is Origin.PERSON else self.flash_reserve_bytes // 2)
        return self.quota_bytes - self.flash_reserve_bytes

    def missing_bytes(self, payload_bytes: int, precedence: Precedence, origin: Origin) -> int:
        """How much must be evicted before a bundle fits; 0 or less when it does."""
        return self.taken_bytes + payload_bytes + ROW_BYTES - self.limit_bytes(precedence, origin)

    def free_bytes(self) -> int:
        """What ROUTINE bundles can still take, evictable ones counted as free."""
        limit_bytes = self.limit_bytes(Precedence.ROUTINE, Origin.MACHINE)
        return max(0, limit_bytes - self.taken_bytes + self.evictable_bytes)


def in_blocks(size_bytes: int) -> int:
    """What a file of this size takes."""
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES


@dataclass(slots=True)
class Ballast:
    """A file of zeros that is deleted when the disk is full. Used by the writer thread only."""

    folder: Path
    size_bytes: int
    file_system: FileSystem = MACHINE
    is_down: bool = field(init=False)
    failure: OSError | None = None
    """Why the disk did not tell its free bytes when it was last asked; nothing can be promised on it meanwhile."""
    _free_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        """Raises OSError."""
        self._free_bytes = self.file_system.free_bytes(self.folder)
        path = self.folder / BALLAST_NAME
        self.is_down = path.exists() and path.stat().st_size == self.size_bytes

    @classmethod
    def for_quota(cls, folder: Path, quota_bytes: int, file_system: FileSystem = MACHINE) -> "Ballast":
        """A ballast in proportion to the store."""
        share_bytes = int(quota_bytes * BALLAST_SHARE)
        return cls(folder, max(BALLAST_MIN_BYTES, min(BALLAST_MAX_BYTES, share_bytes)), file_system)

    def disk_free_bytes(self) -> int:
        """Free bytes of the file system that holds the store; while it does not tell, what it told last."""
        try:
            self._free_bytes = self.file_system.free_bytes(self.folder)
        except OSError as error:  # whatever would be stored is refused for it, and it is asked again
            self.failure = error
        else:
            self.failure = None
        return self._free_bytes

    def has_room(self, wanted_bytes: int) -> bool:
        """Whether the disk takes this much and keeps half a ballast free; a ballast given up is not room."""
        given_up_bytes = 0 if self.is_down else self.size_bytes
        return self.disk_free_bytes() >= wanted_bytes + given_up_bytes + self.size_bytes // 2

    def give_up(self) -> bool:
        """Free the ballast; False when that was done before, or the disk does not even take that."""
        if not self.is_down:
            return False
        try:
            self.file_system.unlink(self.folder / BALLAST_NAME)
        except OSError:  # the disk fails; whatever asked for room is told so by its own write
            return False
        self.is_down = False
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
        except OSError:  # somebody took the room meanwhile: the disk counts as full until this succeeds; or it fails
            with suppress(OSError):
                file_system.unlink(path)
            return False
        self.is_down = True
        return True
