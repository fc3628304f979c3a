"""Disk: the store of one node. Executes the core's effects durably, and keeps what people and consumers ask for.

Methods are called on the event loop and never block it: one thread writes (``writer``), one reads
(``reader``), and both answer in batches. An effect is completed after the sync that made it durable.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from edge_agent.core.bundle import COMMAND, BundleId
from edge_agent.core.effects import (
    CloseNumbers,
    Effect,
    Erase,
    Evicted,
    Failed,
    Fetch,
    LeaseNumbers,
    ListOpen,
    LoadBundle,
    Loaded,
    LoadWindow,
    Outcome,
    Persist,
    QueueKey,
    Restored,
    SyncWindow,
)
from edge_agent.core.errors import RefusalReason
from edge_agent.disk.ages import Ages
from edge_agent.disk.answers import Answers
from edge_agent.disk.checking import Checking
from edge_agent.disk.consumers import HANDED_LEASE, Consumers, Place, read_deliveries
from edge_agent.disk.counts import miscounts
from edge_agent.disk.fates import News, read_fate, read_messages
from edge_agent.disk.file_system import MACHINE, FileSystem
from edge_agent.disk.files import digest_file
from edge_agent.disk.holdings import HeldBundle, read_largest
from edge_agent.disk.jobs import CallJob, Write
from edge_agent.disk.kept import read_kept, write_kept
from edge_agent.disk.opening import OpenStore, open_store
from edge_agent.disk.places import read_place
from edge_agent.disk.reader import Reader, read_window
from edge_agent.disk.schema import DATABASE_NAME, connect, verify_database
from edge_agent.disk.staging import Staging
from edge_agent.disk.types import (
    SEQUENCE_MAX,
    AckedBundle,
    Delivery,
    DiskClock,
    DiskFailedError,
    DiskReport,
    Fate,
    Start,
    StateUpdate,
    UnknownConsumerError,
    is_storable,
)
from edge_agent.disk.writer import Writer

RETRY_S = 2.0

ResultT = TypeVar("ResultT")


class Disk:
    """The door to the store. Made by ``open``; ``close`` must be called (a ``finally`` does it)."""

    def __init__(self, store: OpenStore, on_complete: Callable[[list[tuple[int, Outcome]]], None]) -> None:
        """For ``open`` alone."""
        self._store = store
        self._on_complete = on_complete
        self._on_acked: Callable[[list[AckedBundle]], None] | None = store.on_acked
        self._answers = Answers(asyncio.get_running_loop(), self._hand_over)
        self.kept: Mapping[str, str] = read_kept(store.consumers.rows.database)
        """What ``keep`` and ``note`` had kept when this store was opened, by name."""
        path = store.folder / DATABASE_NAME
        self._reader = Reader(path, store.ages, store.files, self._answers, self._damaged)
        self._writer = Writer(
            store.consumers,
            store.files,
            store.ballast,
            self._answers,
            store.on_evicted,
            self._reader.let_go,
            None if store.on_acked is None else self._lapsed,
        )
        fed = store.consumers.rows.stagings.fed
        self.staging = Staging(self._writer, store.files, store.ballast, self._answers.loop, self._write, fed)
        """The way in for payloads that are handed in piece by piece."""
        self._erasing: dict[int, tuple[BundleId, ...]] = {}
        self._windows: dict[int, tuple[LoadWindow, set[BundleId]]] = {}
        self._places: dict[str, Place] = {}
        self._leased: dict[str, int] = {}
        self._checking = Checking(store, self._damaged)
        self._executor = ThreadPoolExecutor(max_workers=3, thread_name_prefix="disk")
        self._threads: tuple[Future[None], ...] = (
            self._executor.submit(self._writer.run),
            self._executor.submit(self._reader.run),
        )
        self._check = self._executor.submit(self._checking.run)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        node_id: str,
        role: str,
        quota_bytes: int,
        now_s: float,
        on_complete: Callable[[list[tuple[int, Outcome]]], None],
        on_acked: Callable[[list[AckedBundle]], None] | None = None,
        on_evicted: Callable[[list[Evicted]], None] | None = None,
        flows_without_receipt: Collection[str] = (),
        clock: DiskClock | None = None,
        file_system: FileSystem = MACHINE,
    ) -> tuple["Disk", Restored]:
        """The store in folder ``path`` (made when absent) and what the core is told of it. Call it on the loop.

        ``now_s`` is the core's clock now. ``on_acked`` gets the bundles that are owed a receipt, those of an earlier
        process first; call ``settle_receipts`` once each is on its way. ``on_evicted`` gets waiting bundles given up
        for more urgent ones; without it none is. Raises StoreLockedError, StoreError.
        """
        store = open_store(
            path,
            node_id=node_id,
            destinations=frozenset((node_id, COMMAND) if role == COMMAND else (node_id,)),
            quota_bytes=quota_bytes,
            now_s=now_s,
            clock=clock or DiskClock.of_machine(),
            timestamp=datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
            on_acked=on_acked,
            on_evicted=on_evicted,
            flows_without_receipt=frozenset(flows_without_receipt),
            file_system=file_system,
        )
        disk = cls(store, on_complete)
        if on_acked is not None and store.owed:
            disk._answers.loop.call_soon(on_acked, store.owed)
        return disk, store.restored

    def _damaged(self, bundle: BundleId) -> None:
        """Any thread: a bundle's bytes are not those that were stored."""
        files = self._store.files
        self._writer.queue.put(CallJob(lambda tables: tables.rows.take_out_damaged(bundle, files)))

    async def watch(self) -> None:
        """Never returns before ``close``; raises what ended one of the threads, which is a defect."""
        await asyncio.gather(*(asyncio.wrap_future(thread) for thread in (*self._threads, self._check)))

    def close(self) -> None:
        """Finish what is queued, sync, and end the threads. Blocks for as long; nothing is answered any more."""
        self._checking.stop()
        self._reader.close()
        _, reading = self._threads
        wait((reading, self._check))  # SQLite folds its log with the last connection: of two at once neither is that
        self._writer.queue.close()
        self._executor.shutdown(wait=True)
        self._store.lock.close()

    def execute(self, effects: Sequence[Effect]) -> None:
        """Begin effects; ``on_complete`` tells their outcomes. What is to be written keeps its order. Never blocks."""
        writes: list[Write] = []
        refused: list[tuple[int, Outcome]] = []
        for effect in effects:
            if isinstance(effect, Persist):
                if is_storable(effect.bundle):
                    writes.append(effect)
                else:
                    refused.append((effect.effect_id, _too_large(effect.bundle)))
            elif isinstance(effect, Erase):
                self._erasing[effect.effect_id] = effect.bundles
                for _, gone in self._windows.values():
                    gone.update(effect.bundles)
                writes.append(effect)
            elif isinstance(effect, LeaseNumbers | SyncWindow | CloseNumbers):
                writes.append(effect)
            else:
                self._read(effect)
        if writes:
            refused += self._writer.queue.put_effects(writes)
        self._answers.give(refused, [])

    def _read(self, effect: Fetch | LoadWindow | LoadBundle | ListOpen) -> None:
        if isinstance(effect, Fetch):
            self._reader.fetch(effect)
        elif isinstance(effect, LoadBundle):
            self._reader.load_bundle(effect)
        elif isinstance(effect, ListOpen):
            self._reader.list_open(effect)
        else:
            gone = {bundle for bundles in self._erasing.values() for bundle in bundles}
            self._windows[effect.effect_id] = (effect, gone)
            self._reader.load(effect, extra=len(gone))

    def _hand_over(self, outcomes: list[tuple[int, Outcome]]) -> None:
        """On the loop: finish what needs this side's knowledge, then tell the core."""
        for at, (effect_id, outcome) in enumerate(outcomes):
            self._erasing.pop(effect_id, None)
            window = self._windows.pop(effect_id, None)
            if window is not None and isinstance(outcome, Loaded):
                outcomes[at] = (effect_id, _without(outcome, window[0].count, window[1]))
        self._on_complete(outcomes)

    def free_bytes(self) -> int:
        """What ROUTINE bundles can still take; the reserve for FLASH comes on top."""
        if self._writer.is_full:
            return 0
        ballast = self._store.ballast
        return max(
            0,
            min(
                self._store.quota.free_bytes(),
                self._writer.disk_free_bytes - self._writer.promised_bytes - ballast.size_bytes // 2,
            ),
        )

    @property
    def ages(self) -> Ages:
        """What time it is, how long something is ago, and what stamps are worth."""
        return self._store.ages

    def store_rate_bps(self) -> float:
        """How many payload bits a second the disk makes durable, as the last syncs say."""
        return self._writer.pace.bytes_s * 8

    def report(self) -> DiskReport:
        """The store in figures, as of the last commit."""
        return DiskReport(
            quota_bytes=self._store.quota.quota_bytes,
            used_bytes=self._store.quota.taken_bytes,
            free_bytes=self.free_bytes(),
            is_full=self._writer.is_full,
            was_copied=self._store.was_copied,
            set_aside=self._store.set_aside,
            damage=self._checking.damage,
            failure=self._writer.failure,
            unreadable=self._reader.failure,
        )

    async def set_states(self, updates: Sequence[StateUpdate]) -> list[BundleId]:
        """Note news of bundles, durable on return; gives back those that the store knows."""

        return [bundle for bundle, _ in await self._write_at_last(lambda tables: _note(tables, updates))]

    async def take_receipts(self, updates: Sequence[StateUpdate]) -> list[BundleId]:
        """The same; gives back those of which no copy is known to have left this node, and that may still wait here."""
        noted = await self._write_at_last(lambda tables: _note(tables, updates))
        return [bundle for bundle, news in noted if news is News.NEVER_LEFT]

    async def flush(self) -> None:
        """Return once all that was told before is in the store, or the disk has refused it."""
        with suppress(DiskFailedError):
            await self._write(lambda tables: None)

    async def fate(self, bundle: BundleId) -> Fate | None:
        """How far a bundle got, with all that was noted before; None when the store does not know it (any more)."""
        ages = self._store.ages
        try:
            return await self._write(lambda tables: read_fate(tables.rows.database, ages, bundle))
        except DiskFailedError:  # what could not be noted is not there; the rest can be read all the same
            return await self._reader.call(lambda database: read_fate(database, ages, bundle))

    async def begin_carrying(self) -> tuple[BundleId, ...]:
        """Copies leave by hand from now on; of what began here none with these names, by precedence, or later ones."""
        return await self._write(lambda tables: tables.rows.begin_carrying())

    async def waiting(self, queue: QueueKey, after: BundleId | None, count: int) -> Loaded:
        """Up to ``count`` records of one queue beyond ``after``, oldest first, with payloads that lie in the row."""
        window, ages = (
            LoadWindow(effect_id=0, queue=queue, after=after, newest_first=False, count=count),
            self._store.ages,
        )
        on_damaged = self._reader.on_damaged
        return await self._reader.call(lambda database: read_window(database, ages, window, count, on_damaged))

    async def place(self, bundle: BundleId) -> int | None:
        """How many of its queue go before a waiting bundle, counted up to ``places.PLACE_MAX``; None: no wait."""
        return await self._reader.call(lambda database: read_place(database, bundle))

    async def own_messages(self, limit: int, *, before_row: int | None = None) -> list[Fate]:
        """Bundles that people submitted here, newest first; page on with the last one's ``row``."""
        return await self._reader.call(lambda database: read_messages(database, self._store.ages, limit, before_row))

    async def largest_waiting(self, queues: Sequence[QueueKey], limit: int) -> list[HeldBundle]:
        """The largest bundles that wait in these queues, largest first."""
        return await self._reader.call(lambda database: read_largest(database, queues, limit))

    async def read_payload(self, bundle: BundleId, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a payload in the store; ``length`` None: to its end. Raises UnknownBundleError, StoreError."""
        return await self._reader.read_payload(bundle, offset, length)

    async def consumer_open(self, name: str, flow: str = "*", start: Start | BundleId = Start.NOW) -> int:
        """Attach a durable consumer and give back its cursor; ``start`` counts at first use only.

        ``flow`` is a glob as SQLite has it (``*``, ``?``, ``[a-z]``). Raises UnknownBundleError.
        """
        place = await self._write_at_last(lambda tables: tables.open(name, flow, start))
        known = self._places.get(name)
        handed = known.handed if known is not None else min(place.handed, self._store.last_position)
        self._places[name] = Place(flow, place.cursor, max(handed, place.cursor))
        self._leased[name] = place.handed
        return place.cursor

    async def consumer_next(self, name: str, after_position: int | None = None, limit: int = 64) -> list[Delivery]:
        """Up to ``limit`` deliveries beyond a position that match the consumer's flow; may be empty.

        ``after_position`` None: beyond what is acknowledged. What it gives is marked as handed out before it is given.
        Raises UnknownConsumerError.
        """
        place = self._places.get(name)
        if place is None:
            raise UnknownConsumerError(f"consumer {name!r} was not opened")
        ages, flow = self._store.ages, place.flow
        after = place.cursor if after_position is None else after_position
        begin = place.skip_barren(after)
        found, looked_to = await self._reader.call(
            lambda database: read_deliveries(database, ages, flow, begin, limit, self._damaged)
        )
        place.note_barren(found[-1].position if found else begin, looked_to)
        if not found:
            return []
        last = found[-1].position
        if last > self._leased.get(name, 0):
            leased = last + HANDED_LEASE
            await self._write_at_last(lambda tables: tables.mark_handed(name, leased))
            self._leased[name] = max(self._leased.get(name, 0), leased)
        deliveries = [replace(each, redelivered=each.position <= place.handed) for each in found]
        place.handed = max(place.handed, last)
        return deliveries

    async def consumer_ack(self, name: str, position: int) -> None:
        """Everything up to ``position`` is done with; durable on return. Raises UnknownConsumerError."""
        acked = await self._write_at_last(lambda tables: tables.acknowledge(name, position))
        if name in self._places:
            self._places[name].cursor = max(self._places[name].cursor, position)
        self._tell_acked(acked)

    async def consumer_detach(self, name: str) -> None:
        """Nobody uses this consumer now, its place is kept: receipts no longer wait for it."""
        self._tell_acked(await self._write(lambda tables: tables.detach(name, forget=False)))

    async def consumer_close(self, name: str) -> None:
        """Forget a consumer and its place."""
        acked = await self._write(lambda tables: tables.detach(name, forget=True))
        self._places.pop(name, None)
        self._leased.pop(name, None)
        self._tell_acked(acked)

    async def settle_receipts(self, bundles: Collection[BundleId]) -> None:
        """Receipts for these are accepted by the node, or none is due: they are not owed any more."""
        await self._write_at_last(lambda tables: tables.settle(bundles))

    def owe_again(self, bundle: BundleId) -> None:
        """A bundle came again by another way: ``on_acked`` gets it once more if its receipt had left before."""
        future: asyncio.Future[list[AckedBundle]] = self._answers.loop.create_future()

        def told(done: "asyncio.Future[list[AckedBundle]]") -> None:
            if not done.cancelled() and done.exception() is None:  # else the disk is full: it may come once more
                self._tell_acked(done.result())

        future.add_done_callback(told)
        self._writer.queue.put(CallJob(lambda tables: tables.owe_again(bundle), future))

    async def keep(self, name: str, text: str) -> None:
        """Keep a short text under a name, in place of the one before; durable on return. Raises DiskFailedError."""
        await self._write(lambda tables: write_kept(tables.rows.database, name, text))

    def note(self, name: str, text: str) -> None:
        """The same with the next commit, for what is told again anyway."""
        self._writer.queue.put(CallJob(lambda tables: write_kept(tables.rows.database, name, text)))

    async def verify(self) -> list[str]:
        """What is wrong in the database or in the content of large payloads; empty when all is sound. O(store)."""
        return await asyncio.to_thread(self._verify)

    def _verify(self) -> list[str]:
        path = self._store.folder / DATABASE_NAME
        file_system = self._store.files.file_system
        wrong = verify_database(path, file_system)
        with closing(connect(path, file_system)) as database:
            wrong += miscounts(database)
        for bundle, digest in self._store.list_large(path):
            try:
                if digest_file(self._store.files.whole_path(bundle)) != digest:
                    wrong.append(f"bundle {bundle}: its payload file has another content than when it was stored")
            except OSError as error:
                wrong.append(f"bundle {bundle}: {error.strerror}")
        return wrong

    def _lapsed(self, owed: list[AckedBundle]) -> None:
        """On the loop: there is room again, and the sources of what makes it are owed a word."""
        self._on_complete([])
        self._tell_acked(owed)

    def _tell_acked(self, acked: list[AckedBundle]) -> None:
        if acked and self._on_acked is not None:
            self._on_acked(acked)

    async def _write_at_last(self, function: Callable[[Consumers], ResultT]) -> ResultT:
        """The same, tried again while the disk fails: what has happened has to be noted, and nobody need end for it."""
        while True:
            try:
                return await self._write(function)
            except DiskFailedError:  # the writer says so, once
                await asyncio.sleep(RETRY_S)

    async def _write(self, function: Callable[[Consumers], ResultT]) -> ResultT:
        future: asyncio.Future[ResultT] = self._answers.loop.create_future()
        self._writer.queue.put(CallJob(function, future))
        return await future


def _note(tables: Consumers, updates: Sequence[StateUpdate]) -> list[tuple[BundleId, News]]:
    """What was noted of the bundles that the store knows."""
    keys = {each.bundle: key for each in updates if (key := tables.rows.find_key(each.bundle)) is not None}
    noted = tables.rows.fates.set_states((keys[each.bundle], each) for each in updates if each.bundle in keys)
    return [(bundle, noted[key]) for bundle, key in keys.items() if key in noted]


def _too_large(bundle: BundleId) -> Failed:
    return Failed(RefusalReason.MALFORMED, f"bundle {bundle}: its number is not below {SEQUENCE_MAX}")


def _without(window: Loaded, count: int, gone: set[BundleId]) -> Loaded:
    """A window as the core knows it: without bundles it has ended since it asked, and cut to what it asked for."""
    if not gone:
        return window
    kept = [at for at, record in enumerate(window.records) if record.id not in gone]
    shown = kept[:count]
    return Loaded(
        tuple(window.records[at] for at in shown),
        has_more=window.has_more or len(kept) > count,
        payloads=tuple(window.payloads[at] for at in shown),
    )
