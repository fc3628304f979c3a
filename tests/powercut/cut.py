"""A disk after a power cut: what had been synced, and of the rest whatever chance left.

Of what was not synced, each file and each folder keeps nothing, all, the first part, or any subset of its changes in
any mixture, with the last ones torn at sectors. That is what POSIX permits; no file system is as bad as all of it.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.powercut.journal import ROOT, Entry, Journal, Link, Resize, Said, Sync, SyncFailed, Unlink, Write

SECTOR_BYTES = 512


@dataclass(slots=True)
class CutDisk:
    """Content by node and names by folder, as found after the cut; ``promises`` were made before it."""

    contents: dict[int, bytearray]
    names: dict[str, dict[str, int]]
    promises: list[str] = field(default_factory=list)
    unsynced: int = 0
    """Changes that were at the mercy of chance."""

    def lay_out(self, folder: Path) -> dict[Path, int]:
        """Write it into an empty folder; gives back the node of every path."""
        nodes: dict[Path, int] = {}
        for name, node in self.names[ROOT].items():
            path = folder / name
            nodes[path] = node
            if name not in self.names:
                path.write_bytes(self.contents.get(node, b""))
                continue
            path.mkdir()
            for inner, inner_node in self.names[name].items():
                nodes[path / inner] = inner_node
                (path / inner).write_bytes(self.contents.get(inner_node, b""))
        return nodes


def cut_power(journal: Journal, at: int, rng: random.Random) -> CutDisk:
    """The disk when power fails after ``at`` entries of the journal."""
    disk = CutDisk(
        contents={node: bytearray(content) for node, content in journal.contents.items()},
        names={folder: dict(names) for folder, names in journal.names.items()},
    )
    files: dict[int, list[Entry]] = {}
    folders: dict[str, list[Entry]] = {}
    for entry in journal.entries[:at]:
        if isinstance(entry, Said):
            disk.promises.append(entry.line)
        elif isinstance(entry, Write | Resize):
            files.setdefault(entry.node, []).append(entry)
        elif isinstance(entry, Sync):
            _apply(disk, files.pop(entry.node, ()))
        elif isinstance(entry, SyncFailed):
            if lost := files.pop(entry.node, ()):
                _apply(disk, _left(lost, rng))
        elif isinstance(entry, Link | Unlink):
            folders.setdefault(entry.folder, []).append(entry)
        else:
            _apply(disk, folders.pop(entry.folder, ()))
    for changes in (*files.values(), *folders.values()):
        disk.unsynced += len(changes)
        _apply(disk, _left(changes, rng))
    return disk


def _left(changes: Sequence[Entry], rng: random.Random) -> list[Entry]:
    """What chance keeps of changes that were not synced."""
    kind = rng.randrange(4)
    if kind == 0:
        return []
    if kind == 1:
        return list(changes)
    if kind == 2:
        kept = list(changes[: rng.randrange(len(changes)) + 1])
        return kept[:-1] + _torn(kept[-1], rng)
    return [part for entry in changes if rng.random() < 0.5 for part in _torn(entry, rng)]


def _torn(entry: Entry, rng: random.Random) -> list[Entry]:
    """One change, or the sectors of it that arrived."""
    if not isinstance(entry, Write) or rng.random() < 0.5:
        return [entry]
    parts, start, end = list[Entry](), entry.offset, entry.offset + len(entry.data)
    while start < end:
        stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if rng.random() < 0.5:
            parts.append(Write(entry.node, start, entry.data[start - entry.offset : stop - entry.offset]))
        start = stop
    return parts


def _apply(disk: CutDisk, entries: Iterable[Entry]) -> None:
    for entry in entries:
        if isinstance(entry, Write):
            content = disk.contents.setdefault(entry.node, bytearray())
            content.extend(bytes(max(0, entry.offset - len(content))))
            content[entry.offset : entry.offset + len(entry.data)] = entry.data
        elif isinstance(entry, Resize):
            content = disk.contents.setdefault(entry.node, bytearray())
            del content[entry.length :]
            content.extend(bytes(entry.length - len(content)))
        elif isinstance(entry, Link):
            names = disk.names.setdefault(entry.folder, {})
            if entry.old and names.get(entry.old) == entry.node:
                del names[entry.old]
            names[entry.name] = entry.node
            if entry.is_folder:
                disk.names.setdefault(entry.name, {})
        elif isinstance(entry, Unlink):
            disk.names.setdefault(entry.folder, {}).pop(entry.name, None)
