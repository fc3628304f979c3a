"""What a store did to its disk and what it promised, in one order: the material of a power cut."""

import threading
from dataclasses import dataclass, field
from typing import NamedTuple

ROOT = ""  # the store's own folder; "payloads" is the other one


class Write(NamedTuple):
    """Bytes given to a file."""

    node: int
    offset: int
    data: bytes


class Resize(NamedTuple):
    """A file is this long from now on."""

    node: int
    length: int


class Sync(NamedTuple):
    """All that was done to a file before is durable."""

    node: int


class SyncFailed(NamedTuple):
    """A sync of a file failed: what was done to it before may be on disk or not, and no later sync brings it there.

    (Linux marks the pages clean all the same.)
    """

    node: int


class Link(NamedTuple):
    """A name that is new there; ``old`` is the one it had in the same folder, if any."""

    folder: str
    name: str
    node: int
    old: str = ""
    is_folder: bool = False


class Unlink(NamedTuple):
    """A name is gone."""

    folder: str
    name: str


class SyncFolder(NamedTuple):
    """All names of a folder are durable as they are."""

    folder: str


class Said(NamedTuple):
    """A promise was made to somebody outside."""

    line: str


Entry = Write | Resize | Sync | SyncFailed | Link | Unlink | SyncFolder | Said


@dataclass(slots=True)
class Journal:
    """Entries of one run, from all threads. ``base`` is what was durable before: content by node, names by folder."""

    contents: dict[int, bytes] = field(default_factory=dict)
    names: dict[str, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    entries: list[Entry] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _nodes: int = 0

    def note(self, entry: Entry) -> None:
        """Add the next one."""
        with self._lock:
            self.entries.append(entry)

    def new_node(self) -> int:
        """A number for a new file or folder, never given before in this or an earlier run."""
        with self._lock:
            self._nodes += 1
            return self._nodes

    def start_above(self, node: int) -> None:
        """Numbers up to this one are taken."""
        self._nodes = max(self._nodes, node)
