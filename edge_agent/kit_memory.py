"""What a kit's page remembers beside the store: held phrases, the SOS and what command said of it, orders, photos.

A small file of its own ("page.db"). What is kept is on disk before the call returns, and written at once with the
position of the delivery it came from, so that a kill at any moment changes nothing twice.
"""

import asyncio
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import structlog

from edge_agent.command.documents import Document, DocumentKey, Documents, open_documents
from edge_agent.core.bundle import LIFETIME_MAX_S
from edge_agent.core.errors import EdgeAgentError
from edge_agent.core.progress import Progress
from edge_agent.telemetry.payloads import WITHDRAW_FLOW

DATABASE_NAME = "page.db"
LOCAL = "local"  # what a person did here comes from no delivery

Json = dict[str, Any]  # Any: JSON

RememberedT = TypeVar("RememberedT", bound="Remembered")

log = structlog.get_logger()


class PageMemoryError(EdgeAgentError):
    """What the page should remember is not on disk; the message says why."""


@dataclass(slots=True, kw_only=True)
class Remembered:
    """Base of what is kept. ``KEPT`` of each kind are kept, those that came last: ``number`` counts them, whatever a
    clock says (``at_ms``, UTC).
    """

    KIND: ClassVar[str]
    KEPT: ClassVar[int]

    id: str
    at_ms: int = 0
    number: int = 0

    @classmethod
    def from_document(cls, content: Document) -> Self:
        """What was kept; fields of another version are left out."""
        names = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in names})


@dataclass(slots=True, kw_only=True)
class HeldPhrase(Remembered):
    """A phrase that can still be taken back; ``position`` is a packed Position."""

    KIND = "held"
    KEPT = 50

    phrase: str = ""
    position: bytes | None = None


@dataclass(slots=True, kw_only=True)
class SosRecord(Remembered):
    """A call for help of this kit; ``id`` is its bundle. ``confirmed`` and ``closed``: by whom, when, why."""

    KIND = "sos"
    KEPT = 20

    undo_until_ms: int = 0
    withdrawn_ms: int | None = None
    confirmed: Json | None = None
    closed: Json | None = None

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to do something about it."""
        return self.closed is None and (self.withdrawn_ms is None or self.confirmed is None)


@dataclass(slots=True, kw_only=True)
class KitOrder(Remembered):
    """An order or text from command; ``id`` is its bundle, ``copies`` are bundles of the same operation.

    ``is_held``: it may be too old to act on without asking; ``is_expired``: it surely is. ``cancelled``: by whom, when.
    ``received_ms`` 0: only its cancellation has come. ``expires_ms`` 0: it has no end; else it is in doubt
    ``doubtful_after_s`` and surely over ``ends_after_s`` after it was taken, at ``taken_s`` of the boot ``boot_id``.
    """

    KIND = "order"
    KEPT = 100

    source: str = ""
    text: str = ""
    phrase: str = ""
    by: str = ""
    precedence: str = "immediate"
    received_ms: int = 0
    via: list[str] | None = None
    is_held: bool = False
    answer: str = ""
    answered_ms: int = 0
    answered_by: str = ""
    flow: str = "order"
    operation: str = ""
    copies: list[str] = field(default_factory=list)
    expires_ms: int = 0
    boot_id: str = ""
    taken_s: float = 0.0
    doubtful_after_s: float = 0.0
    ends_after_s: float = LIFETIME_MAX_S
    is_expired: bool = False
    cancelled: Json | None = None

    @property
    def state(self) -> str:
        """The word for it: what was finished stays so; then what nobody may act on; then what a person said."""
        if self.answer == "done":
            return "done"
        if self.cancelled is not None:
            return "cancelled"
        return self.answer or ("expired" if self.is_expired else "held" if self.is_held else "delivered")

    @property
    def may_be_cancelled(self) -> bool:
        """Whether taking it back still means anything: it is not finished, over or taken back already."""
        return self.answer != "done" and not self.is_expired and self.cancelled is None

    @property
    def is_siren(self) -> bool:
        """Whether it sounds until a person answers."""
        return self.flow == WITHDRAW_FLOW and self.received_ms > 0 and self.state in ("delivered", "held")

    @property
    def last_word(self) -> Progress | None:
        """What command has to be told when it comes, again or as a copy; None: a receipt of delivery says it all."""
        words = {
            "cancelled": Progress.CANCELLED_THERE,
            "expired": Progress.EXPIRED_THERE,
            "held": Progress.HELD,
            "read": Progress.READ,
            "done": Progress.DONE,
        }
        return words.get(self.state)


@dataclass(slots=True, kw_only=True)
class PhotoNote(Remembered):
    """What the row of a photo says; ``id`` is in both of its versions."""

    KIND = "photo"
    KEPT = 200

    caption: str = ""


@dataclass(slots=True, kw_only=True)
class LastKnown(Remembered):
    """The last own position (packed) and when command was last heard: they outlive a restart."""

    KIND = "last"
    KEPT = 1

    position: bytes | None = None
    command_heard_ms: int | None = None


def _place(item: Remembered) -> tuple[int, int, str]:
    return item.number, item.at_ms, item.id  # those of an earlier version have no number


_KINDS: tuple[type[Remembered], ...] = (HeldPhrase, SosRecord, KitOrder, PhotoNote, LastKnown)


class KitMemory:
    """One file, read at once and written by one call at a time.

    Where it cannot be opened (a full disk) the page works all the same, because an SOS is a bundle in the store: what
    is kept is then known to this process only, each call says so, and the next one tries the file again.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / DATABASE_NAME
        self._documents: Documents | None = None
        self._saving = asyncio.Lock()
        self._all: dict[type[Remembered], dict[str, Remembered]] = {kind: {} for kind in _KINDS}
        kinds = {kind.KIND: kind for kind in _KINDS}
        try:
            self._documents = open_documents(self._path)
        except sqlite3.OperationalError as error:
            log.error("page_memory_failed", path=str(self._path), reason=str(error))
            return
        for key, content in self._documents.load().items():
            kind = kinds.get(key.kind)
            if kind is not None:
                self._all[kind][key.name] = kind.from_document(content)

    def close(self) -> None:
        """Let go of the file."""
        if self._documents is not None:
            self._documents.close()

    def all(self, kind: type[RememberedT]) -> list[RememberedT]:
        """Everything of one kind, oldest first."""
        found = [each for each in self._all[kind].values() if isinstance(each, kind)]
        return sorted(found, key=_place)

    def get(self, kind: type[RememberedT], name: str) -> RememberedT | None:
        """One, or None."""
        found = self._all[kind].get(name)
        return found if isinstance(found, kind) else None

    def applied_position(self, stream: str) -> int:
        """The position up to which a stream of deliveries is kept here."""
        return 0 if self._documents is None else self._documents.applied_position(stream)

    async def keep(self, item: Remembered, *, stream: str = LOCAL, position: int = 0) -> None:
        """Remember ``item``, and what it came from. Raises PageMemoryError: it is not on disk."""
        kept = self._all[type(item)]
        item.number = item.number or 1 + max((each.number for each in kept.values()), default=0)
        kept[item.id] = item
        changes: dict[DocumentKey, Document | None] = {DocumentKey(item.KIND, item.id): asdict(item)}
        for old in sorted(kept.values(), key=_place)[: max(0, len(kept) - item.KEPT)]:
            del kept[old.id]
            changes[DocumentKey(old.KIND, old.id)] = None
        await self._save(changes, stream, position)

    async def forget(self, item: Remembered) -> None:
        """Remember ``item`` no more. Raises PageMemoryError: a restart will bring it back."""
        self._all[type(item)].pop(item.id, None)
        await self._save({DocumentKey(item.KIND, item.id): None}, LOCAL, 0)

    def let_go(self, item: Remembered) -> None:
        """Take back a ``keep`` that failed."""
        self._all[type(item)].pop(item.id, None)

    async def pass_by(self, stream: str, position: int) -> None:
        """Deliveries of ``stream`` up to ``position`` need nothing kept."""
        await self._save({}, stream, position)

    async def _save(self, changes: Mapping[DocumentKey, Document | None], stream: str, position: int) -> None:
        async with self._saving:
            try:
                await asyncio.to_thread(self._write, changes, stream, position)
            except sqlite3.Error as error:
                raise PageMemoryError(f"{DATABASE_NAME}: {error}") from error

    def _write(self, changes: Mapping[DocumentKey, Document | None], stream: str, position: int) -> None:
        """In a thread, one at a time."""
        if self._documents is None:
            self._documents = open_documents(self._path)
        self._documents.save(changes, stream, position)
