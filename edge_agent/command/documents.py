"""Documents of a page's own memory: small values by name, and how far the deliveries were applied, in one SQLite file.

A delivery's effect and its position are one transaction, so a bundle handed out again after a crash changes nothing.
"""

import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import structlog

from edge_agent.ports import PluginLostError

VERSION = 1
_SCHEMA = """
create table if not exists documents (kind text, name text, content blob, primary key (kind, name)) without rowid;
create table if not exists applied (incarnation text primary key, position integer) without rowid;
"""

log = structlog.get_logger()


class NewerMemoryError(PluginLostError):
    """The file was written by a newer program, and this one would not know what it says."""


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """What a document is and which one."""

    kind: str
    name: str


Document = Mapping[str, Any]  # Any: msgpack's own types


def pack_document(content: Document) -> bytes:
    """A document as it is stored; ``Documents.save`` takes it in place of the content."""
    packed: bytes = msgpack.packb(dict(content))
    return packed


class Documents:
    """One file. Every call may wait for the disk, and for a call that another thread has begun."""

    def __init__(self, path: Path) -> None:
        """Raises NewerMemoryError, sqlite3.Error."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._turn = threading.Lock()  # a cancelled task leaves its thread at work: close must not pull the file away
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._prepare(path)
        except BaseException:  # whatever ends the opening, the file must not stay open: it may be renamed next
            self._database.close()
            raise

    def _prepare(self, path: Path) -> None:
        self._database.execute("pragma journal_mode=wal")
        self._database.execute("pragma synchronous=full")
        version = int(self._database.execute("pragma user_version").fetchone()[0])  # 0: new, or older than the number
        if version > VERSION:
            raise NewerMemoryError(
                f"{path} has version {version}, this program knows up to {VERSION}:"
                " start the newer program, or move the file away to begin an empty one"
            )
        self._database.executescript(f"begin; {_SCHEMA} pragma user_version = {VERSION}; commit;")

    def load(self) -> dict[DocumentKey, Document]:
        """All documents."""
        rows = self._database.execute("select kind, name, content from documents")
        return {DocumentKey(kind, name): msgpack.unpackb(content) for kind, name, content in rows}

    def applied_position(self, incarnation: str) -> int:
        """The position up to which deliveries of this store were applied; 0 for a store not seen before."""
        row = self._database.execute("select position from applied where incarnation = ?", (incarnation,)).fetchone()
        return int(row[0]) if row else 0

    def save(self, changed: Mapping[DocumentKey, Document | bytes | None], incarnation: str, position: int) -> None:
        """Write (None: remove) documents and the position, together and synced.

        Raises sqlite3.Error, and TypeError or ValueError for what cannot be packed; nothing is written then.
        """
        rows = {
            key: content if content is None or isinstance(content, bytes) else pack_document(content)
            for key, content in changed.items()
        }
        with self._turn:
            self._database.execute("begin immediate")
            try:
                for key, packed in rows.items():
                    if packed is None:
                        self._database.execute(
                            "delete from documents where kind = ? and name = ?", (key.kind, key.name)
                        )
                    else:
                        self._database.execute("replace into documents values (?, ?, ?)", (key.kind, key.name, packed))
                self._database.execute("replace into applied values (?, ?)", (incarnation, position))
                self._database.execute("commit")
            finally:
                if self._database.in_transaction:  # a full disk has ended some transactions by itself
                    self._database.execute("rollback")

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            self._database.close()


def open_documents(path: Path) -> Documents:
    """The file, or a new one in place of a damaged one, which is set aside and never deleted.

    Raises sqlite3.OperationalError when it cannot be opened for want of room or rights, NewerMemoryError.
    """
    try:
        return Documents(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        log.error("page_memory_damaged", set_aside=str(aside), reason=str(error))
        return Documents(path)
