"""Documents of a page's own memory: small values by name, and how far the deliveries were applied, in one SQLite file.

A delivery's effect and its position are one transaction, so a bundle handed out again after a crash changes nothing.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

_SCHEMA = """
create table if not exists documents (kind text, name text, content blob, primary key (kind, name)) without rowid;
create table if not exists applied (incarnation text primary key, position integer) without rowid;
"""


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """What a document is and which one."""

    kind: str
    name: str


Document = Mapping[str, Any]  # Any: msgpack's own types


class Documents:
    """One file. Not for several threads at once; every call may wait for the disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("pragma journal_mode=wal")
        self._database.execute("pragma synchronous=full")
        self._database.executescript(_SCHEMA)

    def load(self) -> dict[DocumentKey, Document]:
        """All documents."""
        rows = self._database.execute("select kind, name, content from documents")
        return {DocumentKey(kind, name): msgpack.unpackb(content) for kind, name, content in rows}

    def applied_position(self, incarnation: str) -> int:
        """The position up to which deliveries of this store were applied; 0 for a store not seen before."""
        row = self._database.execute("select position from applied where incarnation = ?", (incarnation,)).fetchone()
        return int(row[0]) if row else 0

    def save(self, changed: Mapping[DocumentKey, Document | None], incarnation: str, position: int) -> None:
        """Write (None: remove) documents and the position, together and synced."""
        self._database.execute("begin immediate")
        for key, content in changed.items():
            if content is None:
                self._database.execute("delete from documents where kind = ? and name = ?", (key.kind, key.name))
            else:
                packed = msgpack.packb(dict(content))
                self._database.execute("replace into documents values (?, ?, ?)", (key.kind, key.name, packed))
        self._database.execute("replace into applied values (?, ?)", (incarnation, position))
        self._database.execute("commit")

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
