"""The one thread that reads the store: on a connection of its own, so that no read waits for a sync."""

import asyncio
import os
import queue
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import structlog

from edge_agent.core.bundle import BundleHeader, BundleId, BundleRecord, HeaderReader, Precedence
from edge_agent.core.effects import (
    Failed,
    Fetch,
    Fetched,
    ListOpen,
    LoadBundle,
    Loaded,
    LoadWindow,
    Outcome,
    QueueCount,
    QueueKey,
)
from edge_agent.core.errors import EdgeAgentError, RefusalReason
from edge_agent.disk.ages import Ages
from edge_agent.disk.answers import Answers, Call
from edge_agent.disk.damage import is_sound, sound_header
from edge_agent.disk.files import PayloadFiles
from edge_agent.disk.identity import to_signed, to_unsigned
from edge_agent.disk.open_numbers import read_open
from edge_agent.disk.schema import connect
from edge_agent.disk.types import DamagedError, StoreError, UnknownBundleError, is_storable

ResultT = TypeVar("ResultT")
OLDEST_ROWS = 16  # numbers rise with time but for bundles that arrive out of order, or were old when they came
OPEN_FILES_MAX = 8  # one for each link that carries a large bundle
WINDOW_PAYLOAD_BYTES = 1 << 20  # of short payloads given with one window, so that none of them needs a Fetch

_log = structlog.get_logger()
_RECORDS = (
    "SELECT source, incarnation, precedence, sequence, payload_bytes, digest IS NULL, sum, header, body,"
    " boot, as_of_s, age_low_s, age_high_s FROM bundles JOIN origins ON origins.origin = bundles.origin"
)
_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, without its call
_PRECEDENCES = tuple(Precedence)  # looking a member up by its value costs a microsecond
_WHERE_ID = "WHERE source = ? AND incarnation = ? AND precedence = ? AND sequence = ?"


class _NoConnection(sqlite3.Connection):
    """Stands where there is no connection: whatever is asked of it fails for the reason why."""

    def __init__(self, reason: sqlite3.Error) -> None:
        super().__init__(":memory:")
        self._reason = reason

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # Any: what sqlite3 takes
        raise self._reason


@dataclass(slots=True)
class Reader:
    """``fetch``, ``load``, ``call`` and ``close`` come from the loop's thread, ``run`` is the thread."""

    path: Path
    ages: Ages
    files: PayloadFiles
    answers: Answers
    on_damaged: Callable[[BundleId], None] = lambda bundle: None
    """Called on this thread with each bundle whose bytes are not those that were stored."""
    failure: str = ""
    """Why there is no connection; empty: there is one."""
    _jobs: "queue.SimpleQueue[Callable[[sqlite3.Connection], None] | None]" = field(default_factory=queue.SimpleQueue)
    _open: OrderedDict[BundleId, int] = field(default_factory=OrderedDict)

    def fetch(self, effect: Fetch) -> None:
        """Read a stretch of a payload."""

        def job(database: sqlite3.Connection) -> None:
            outcome: Outcome
            try:
                payload = self._read(database, effect.bundle, effect.offset, effect.length)
                if len(payload) == effect.length:
                    outcome = Fetched(payload)
                else:
                    end = effect.offset + effect.length
                    detail = f"bundle {effect.bundle}: no bytes {effect.offset} to {end}"
                    outcome = Failed(RefusalReason.STORE_FAILED, detail)
            except (sqlite3.Error, OSError, StoreError) as error:
                outcome = Failed(RefusalReason.STORE_FAILED, str(error))
            self.answers.give([(effect.effect_id, outcome)], [])

        self._jobs.put(job)

    def load(self, effect: LoadWindow, *, extra: int) -> None:
        """Read a window of a queue, ``extra`` rows longer than asked: as many may be on their way out."""

        def job(database: sqlite3.Connection) -> None:
            outcome: Outcome
            try:
                count = effect.count + extra
                window = read_window(database, self.ages, effect, count + 1, self.on_damaged)
                has_more = window.has_more or len(window.records) > count
                outcome = Loaded(window.records[:count], has_more, window.payloads[:count])
            except sqlite3.Error as error:
                outcome = Failed(RefusalReason.STORE_FAILED, str(error))
            self.answers.give([(effect.effect_id, outcome)], [])

        self._jobs.put(job)

    def load_bundle(self, effect: LoadBundle) -> None:
        """Read the record of one bundle that waits."""
        self._answer(effect, lambda database: read_waiting(database, self.ages, effect.bundle, self.on_damaged))

    def list_open(self, effect: ListOpen) -> None:
        """Read which numbers given out here are open."""
        self._answer(effect, lambda database: read_open(database, effect))

    def _answer(self, effect: LoadBundle | ListOpen, read: Callable[[sqlite3.Connection], Outcome]) -> None:
        def job(database: sqlite3.Connection) -> None:
            outcome: Outcome
            try:
                outcome = read(database)
            except sqlite3.Error as error:
                outcome = Failed(RefusalReason.STORE_FAILED, str(error))
            self.answers.give([(effect.effect_id, outcome)], [])

        self._jobs.put(job)

    def call(self, read: Callable[[sqlite3.Connection], ResultT]) -> "asyncio.Future[ResultT]":
        """The result of ``read`` on this thread. The future fails with StoreError when the store does."""
        future: asyncio.Future[ResultT] = self.answers.loop.create_future()

        def job(database: sqlite3.Connection) -> None:
            try:
                result = read(database)
            except EdgeAgentError as error:
                self.answers.give([], [_failing(future, error)])
            except (sqlite3.Error, OSError) as error:
                self.answers.give([], [_failing(future, StoreError(f"store {self.path}: {error}"))])
            else:
                self.answers.give([], [lambda: None if future.done() else future.set_result(result)])

        self._jobs.put(job)
        return future

    def read_payload(self, bundle: BundleId, offset: int, length: int | None) -> "asyncio.Future[bytes]":
        """Bytes of a payload; ``length`` None: to its end."""
        return self.call(lambda database: self._read(database, bundle, offset, length))

    def let_go(self, bundles: Iterable[BundleId]) -> None:
        """Any thread: the files of these are deleted; one that is open would keep its room on the disk."""

        def job(database: sqlite3.Connection) -> None:
            for bundle in gone:
                descriptor = self._open.pop(bundle, None)
                if descriptor is not None:
                    with suppress(OSError):  # it is closed all the same, and nothing was written to it
                        os.close(descriptor)

        gone = tuple(bundles)
        self._jobs.put(job)

    def close(self) -> None:
        """Answer what is queued, then end the thread."""
        self._jobs.put(None)

    def run(self) -> None:
        """The thread. Returns after ``close``; whatever else ends it is a defect."""
        database = self._open_database()
        try:
            while (job := self._jobs.get()) is not None:
                if self.failure:
                    database.close()
                    database = self._open_database()
                job(database)
        finally:
            database.close()
            self.close_files()

    def _open_database(self) -> sqlite3.Connection:
        """The connection, or while the disk gives none, one whose every statement fails for that reason."""
        try:
            database = connect(self.path, self.files.file_system, can_write=False)
        except sqlite3.Error as error:  # whoever asks for something is told so, and it is tried again for the next
            if not self.failure:
                _log.error("store_unreadable", path=str(self.path), reason=str(error))
            self.failure = str(error)
            return _NoConnection(error)
        if self.failure:
            _log.warning("store_readable_again", path=str(self.path))
        self.failure = ""
        return database

    def close_files(self) -> None:
        """Close every payload file that is open."""
        while self._open:
            os.close(self._open.popitem()[1])

    def step(self, database: sqlite3.Connection) -> bool:
        """Answer the next in the queue; False at its end. For who has no thread, too."""
        job = self._jobs.get()
        if job is None:
            return False
        job(database)
        return True

    def _read(self, database: sqlite3.Connection, bundle: BundleId, offset: int, length: int | None) -> bytes:
        descriptor = self._open.get(bundle)
        if descriptor is None:
            found = (
                is_storable(bundle)
                and database.execute(
                    "SELECT digest IS NOT NULL, coalesce(bundles.body, bodies.body), sum, header FROM bundles"
                    " JOIN origins ON origins.origin = bundles.origin LEFT JOIN bodies ON bodies.row = bundles.row"
                    f" {_WHERE_ID}",
                    (bundle.source, to_signed(bundle.incarnation), int(bundle.precedence), bundle.sequence),
                ).fetchone()
            )
            if not found:
                raise UnknownBundleError(f"bundle {bundle} is not in the store (any more)")
            is_file, body, total, header = found
            if not is_file:
                whole: bytes = body or b""
                if not is_sound(total, header, whole):
                    self.on_damaged(bundle)
                    raise DamagedError(f"bundle {bundle}: its bytes are not those that were stored")
                return whole[offset:] if length is None else whole[offset : offset + length]
            try:
                descriptor = self._open_file(bundle)
            except FileNotFoundError as error:  # given up for room this moment, which the writer knows, or deleted
                self.on_damaged(bundle)
                raise DamagedError(f"bundle {bundle}: its payload file is gone") from error
        else:
            self._open.move_to_end(bundle)
        wanted = os.fstat(descriptor).st_size - offset if length is None else length
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, max(0, wanted))

    def _open_file(self, bundle: BundleId) -> int:
        descriptor = os.open(self.files.whole_path(bundle), os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._open[bundle] = descriptor
        if len(self._open) > OPEN_FILES_MAX:
            os.close(self._open.popitem(last=False)[1])
        return descriptor


def _failing(future: "asyncio.Future[ResultT]", error: EdgeAgentError) -> Call:
    return lambda: None if future.done() else future.set_exception(error)


def read_window(
    database: sqlite3.Connection, ages: Ages, effect: LoadWindow, limit: int, on_damaged: Callable[[BundleId], None]
) -> Loaded:
    """Waiting records of one queue in the order of service. An incarnation begun later counts as newer."""
    queue_key, after = effect.queue, effect.after
    order, beyond = ("DESC", "<") if effect.newest_first else ("ASC", ">")
    where = ""
    values: list[object] = [queue_key.destination, int(queue_key.precedence), queue_key.source, queue_key.flow]
    if after is not None:
        where = (
            f" AND (bundles.origin, sequence) {beyond}"
            " ((SELECT origin FROM origins WHERE source = ? AND incarnation = ?), ?)"
        )
        values += [after.source, to_signed(after.incarnation), after.sequence]
    found = database.execute(
        f"{_RECORDS} WHERE queue ="
        " (SELECT queue FROM queues WHERE destination = ? AND precedence = ? AND source = ? AND flow = ?)"
        f"{where} ORDER BY bundles.origin {order}, sequence {order} LIMIT ?",
        (*values, limit),
    )
    return _loaded(found, ages, on_damaged)


def read_waiting(
    database: sqlite3.Connection, ages: Ages, bundle: BundleId, on_damaged: Callable[[BundleId], None]
) -> Loaded:
    """The record of one bundle that waits for another node; none when it does not."""
    if not is_storable(bundle):
        return Loaded((), has_more=False)
    found = database.execute(
        f"{_RECORDS} {_WHERE_ID} AND queue IS NOT NULL",
        (bundle.source, to_signed(bundle.incarnation), int(bundle.precedence), bundle.sequence),
    )
    return _loaded(found, ages, on_damaged)


def _loaded(
    found: Iterable[tuple[Any, ...]], ages: Ages, on_damaged: Callable[[BundleId], None]
) -> Loaded:  # Any: columns of ``_RECORDS``
    """Records and short payloads; a damaged one is left out, and the window may have more behind it."""
    records, payloads = [], []
    room_bytes, is_short, unpack = WINDOW_PAYLOAD_BYTES, False, HeaderReader().read
    age_of = ages.read
    for (
        source,
        incarnation,
        precedence,
        sequence,
        payload_bytes,
        is_row,
        total,
        packed,
        body,
        boot,
        as_of_s,
        age_low_s,
        age_high_s,
    ) in found:
        bundle = _new_tuple(BundleId, (source, to_unsigned(incarnation), _PRECEDENCES[precedence], sequence))
        header = sound_header(total if body is not None or not is_row else None, packed, body or b"", unpack)
        if header is None:
            on_damaged(bundle)
            is_short = True
            continue
        room_bytes -= len(body) if body is not None else 0
        payloads.append(body if room_bytes >= 0 else None)
        aged = age_of(boot, as_of_s, age_low_s, age_high_s)
        records.append(_new_tuple(BundleRecord, (bundle, header, payload_bytes, *aged)))
    return Loaded(tuple(records), has_more=is_short, payloads=tuple(payloads))


def read_queue_counts(database: sqlite3.Connection, ages: Ages, now_s: float) -> tuple[QueueCount, ...]:
    """How much waits in each queue, by its counter; how old the oldest is, by those that are first in line."""
    found = database.execute(
        "SELECT queue, destination, precedence, source, flow, bundles, payload_bytes"
        " FROM counts JOIN queues USING (queue) WHERE bundles > 0"
    ).fetchall()
    counts = []
    for queue_id, destination, precedence, source, flow, bundles, payload_bytes in found:
        first = database.execute(
            "SELECT header, boot, as_of_s, age_low_s, age_high_s FROM bundles WHERE queue = ?"
            " ORDER BY origin, sequence LIMIT ?",
            (queue_id, OLDEST_ROWS),
        ).fetchall()
        if not first:  # the counter is wrong, which ``Disk.verify`` tells; the core must not wait for nothing
            continue
        headers = [header for packed, *_ in first if (header := sound_header(None, packed, b"")) is not None]
        aged = [ages.read(*times) for _, *times in first]
        counts.append(
            QueueCount(
                queue=QueueKey(destination, Precedence(precedence), source, flow),
                header=headers[0] if headers else BundleHeader(destination=destination, flow=flow),
                bundles=bundles,
                payload_bytes=payload_bytes,
                oldest_age_s=max(each.age_low_s + now_s - each.as_of_s for each in aged),
            )
        )
    return tuple(counts)
