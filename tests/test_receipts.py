"""Receipts between the stores of two nodes: ranges out, truth in, nothing believed that nobody may say."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

from edge_agent import receipts as module
from edge_agent.core.bundle import BundleHeader, BundleId, Origin, Precedence
from edge_agent.core.effects import EraseReason
from edge_agent.core.progress import Progress
from edge_agent.disk.file_system import FileSystem
from edge_agent.disk.types import AckedBundle, Start
from edge_agent.fates import FateWatch
from edge_agent.flows import FlowTable
from edge_agent.receipts import ENDS_MAX, ReceiptReader, ReceiptSender
from edge_agent.sender import BundleSender
from edge_agent.telemetry.payloads import READ_FLOW, RECEIPT_FLOW, Read
from edge_agent.telemetry.receipts import gather, read_receipts
from tests.disk.bench import Store, opened

POST = "peer-9"
"""The other node, as the bench of the store calls it."""


@dataclass(slots=True)
class Sink:
    """Takes bundles where the runner would."""

    sent: "asyncio.Queue[tuple[BundleHeader, Precedence, bytes]]" = field(default_factory=asyncio.Queue)

    async def submit(
        self, header: BundleHeader, precedence: Precedence, payload: bytes, staged: None = None
    ) -> BundleId:
        self.sent.put_nowait((header, precedence, payload))
        return BundleId("command", 1, precedence, 1)


@asynccontextmanager
async def _sending(store: Store, sink: Sink, level: str = "") -> AsyncIterator[ReceiptSender]:
    sender = BundleSender(sink, FlowTable(), lambda: 1)  # type: ignore[arg-type]  # stands where the runner stands
    receipts = ReceiptSender(store.disk, sender, store.node_id, level)
    task = asyncio.create_task(receipts.run())
    try:
        yield receipts
    finally:
        task.cancel()


def _acked(number: int, flow: str = "reading", precedence: Precedence = Precedence.IMMEDIATE) -> AckedBundle:
    header = BundleHeader(destination="command", flow=flow)
    return AckedBundle(bundle=BundleId("kit-1", 7, precedence, number), header=header)


async def test_what_was_delivered_is_told_as_ranges_with_the_level(tmp_path: Path) -> None:
    """A thousand bundles are one receipt; none is sent for a receipt or a report."""
    sink = Sink()
    async with (
        opened(tmp_path, node_id="command", role="command") as store,
        _sending(store, sink, "county") as receipts,
    ):
        receipts.owe([*(_acked(number) for number in range(1000)), _acked(5000, RECEIPT_FLOW), _acked(5001, "report")])
        async with asyncio.timeout(10):
            header, precedence, payload = await sink.sent.get()
        assert sink.sent.empty()
    assert (header.destination, header.flow, precedence) == ("kit-1", RECEIPT_FLOW, Precedence.IMMEDIATE)
    assert len(payload) < 40
    (receipt,) = read_receipts(payload, reader="kit-1", writer="command", at_ms=5)
    assert (receipt.state, receipt.level, receipt.node) == (Progress.DELIVERED, "county", "command")
    assert receipt.ranges == ((0, 1000),)


async def test_what_another_post_answers_for_is_settled_without_a_word(tmp_path: Path) -> None:
    sink = Sink()
    async with opened(tmp_path, node_id="command", role="command") as store, _sending(store, sink) as receipts:
        silent = await store.arrive(b"silent", flow="text")
        told = await store.arrive(b"told", flow="text")
        receipts.is_silent = lambda bundle: bundle == silent.id
        await store.disk.consumer_open("page", start=Start.ALL)
        await store.disk.consumer_ack("page", (await store.disk.consumer_next("page"))[-1].position)
        receipts.owe(store.acked)
        async with asyncio.timeout(10):
            _, _, payload = await sink.sent.get()
        await store.disk.flush()
        assert sink.sent.empty()
    (receipt,) = read_receipts(payload, reader=told.id.source, writer="command", at_ms=5)
    assert list(receipt.bundles()) == [told.id]


async def test_what_nobody_took_is_told_as_expired_beside_what_was_delivered(tmp_path: Path) -> None:
    sink = Sink()
    async with opened(tmp_path, node_id="command", role="command") as store, _sending(store, sink) as receipts:
        receipts.owe([_acked(1), replace(_acked(2), state=Progress.EXPIRED_THERE), _acked(3)])
        async with asyncio.timeout(10):
            payloads = [(await sink.sent.get())[2] for _ in range(2)]
    told = [read_receipts(each, reader="kit-1", writer="command", at_ms=5)[0] for each in payloads]
    assert {(each.state, each.ranges) for each in told} == {
        (Progress.DELIVERED, ((1, 2), (3, 4))),
        (Progress.EXPIRED_THERE, ((2, 3),)),
    }


async def test_a_node_on_the_way_tells_the_source_of_an_end(tmp_path: Path) -> None:
    """Not of its own bundles, not of receipts; and it remembers no more than it may."""
    sink = Sink()
    async with opened(tmp_path, node_id="relay-1", role="relay") as store, _sending(store, sink) as receipts:
        passing = store.arriving(3, destination="command")
        receipt = store.arriving(3, destination="command", flow=RECEIPT_FLOW)
        own = store.own(3)
        for record in (passing, receipt, own):
            await store.persist(record, b"abc", is_arrival=record is not own)
            await store.erase(record.id, reason=EraseReason.EXPIRED)
            receipts.tell_end(record.id, Progress.EXPIRED)
        async with asyncio.timeout(10):
            header, _, payload = await sink.sent.get()
        assert sink.sent.empty()
        for number in range(ENDS_MAX + 2):
            receipts.tell_end(BundleId("kit-2", 7, Precedence.ROUTINE, number), Progress.EXPIRED)
        assert receipts.drops == {"receipt_end_forgotten": 2}
    (told,) = read_receipts(payload, reader=POST, writer="relay-1", at_ms=5)
    assert (header.destination, told.state, list(told.bundles())) == (POST, Progress.EXPIRED, [passing.id])


@asynccontextmanager
async def _reading(store: Store) -> AsyncIterator[tuple[ReceiptReader, list[BundleId], asyncio.Event]]:
    settled: list[BundleId] = []
    arrived = asyncio.Event()
    fates = FateWatch(store.disk.fate, lambda: store.disk.set_states(()))  # type: ignore[arg-type]  # of known bundles
    reader = ReceiptReader(store.disk, fates, arrived, store.node_id, settled.extend)
    task = asyncio.create_task(reader.run())
    try:
        yield reader, settled, arrived
    finally:
        task.cancel()


async def _until_taken(store: Store, flow: str, arrived: asyncio.Event, payload: bytes, origin: Origin) -> None:
    """A bundle of the other node came, and its receipt was acknowledged."""
    await store.arrive(payload, flow=flow, origin=origin)
    before = len(store.acked)
    arrived.set()
    async with asyncio.timeout(10):
        while len(store.acked) == before:  # noqa: ASYNC110  # the store calls back, and the reader tells nobody
            await asyncio.sleep(0.01)


def _say(bundle: BundleId, state: Progress) -> bytes:
    (receipt,) = gather([bundle], state, level="city", node=POST, by="王敏")
    return receipt.pack(reader="kit-1", writer=POST)


@pytest.mark.parametrize(
    ("state", "origin", "shown", "drops"),
    [
        (Progress.DELIVERED, Origin.MACHINE, Progress.DELIVERED, {}),
        (Progress.EXPIRED, Origin.MACHINE, Progress.EXPIRED, {}),
        (Progress.HELD, Origin.MACHINE, Progress.HELD, {}),
        (Progress.READ, Origin.PERSON, Progress.READ, {}),
        (Progress.READ, Origin.MACHINE, Progress.ACCEPTED, {"receipt_of_no_person": 1}),
        (Progress.DONE, Origin.MACHINE, Progress.ACCEPTED, {"receipt_of_no_person": 1}),
    ],
)
async def test_a_receipt_moves_the_state_and_only_a_person_has_read(
    tmp_path: Path, state: Progress, origin: Origin, shown: Progress, drops: dict[str, int]
) -> None:
    async with opened(tmp_path) as store, _reading(store) as (reader, _, arrived):
        record = store.own(3)
        await store.persist(record, b"abc")
        await _until_taken(store, READ_FLOW, arrived, _say(record.id, state), origin)
        fate = await store.disk.fate(record.id)
        assert fate is not None
        assert fate.state is shown
        assert fate.detail == ("王敏 · city" if shown is state else "")
        assert reader.drops == drops


async def test_both_old_forms_and_nothing_foreign_are_applied(tmp_path: Path) -> None:
    """A list of ids as delivered, the answer of a person as a map; what speaks of others' bundles is counted."""
    async with opened(tmp_path) as store, _reading(store) as (reader, _, arrived):
        first, second = store.own(3), store.own(3)
        for record in (first, second):
            await store.persist(record, b"abc")
        foreign = BundleId("kit-2", 1, Precedence.ROUTINE, 1)
        old = msgpack.packb([str(first.id), str(foreign)])
        await _until_taken(store, RECEIPT_FLOW, arrived, old, Origin.MACHINE)
        answer = Read(bundle=str(second.id), at_ms=3, by="王敏", state="done").pack()
        await _until_taken(store, READ_FLOW, arrived, answer, Origin.PERSON)
        await _until_taken(store, RECEIPT_FLOW, arrived, b"\xc1", Origin.MACHINE)
        fates = [await store.disk.fate(record.id) for record in (first, second)]
        assert [fate.state for fate in fates if fate is not None] == [Progress.DELIVERED, Progress.DONE]
        assert reader.drops == {"receipt_foreign": 1, "receipt_malformed": 1}


async def test_a_copy_that_still_waits_is_settled_and_one_that_left_is_not_asked_for(tmp_path: Path) -> None:
    """Carried by hand it may be there before any link took it; a forwarded one would cost a look into the store."""
    async with opened(tmp_path) as store, _reading(store) as (_, settled, arrived):
        waiting, left, mine = store.own(3), store.own(3), store.own(3, origin=Origin.PERSON)
        for record in (waiting, left, mine):
            await store.persist(record, b"abc")
        await store.erase(left.id)
        for record in (waiting, left, mine):
            await _until_taken(store, RECEIPT_FLOW, arrived, _say(record.id, Progress.DELIVERED), Origin.MACHINE)
        assert settled == [waiting.id, mine.id]
        await _until_taken(store, RECEIPT_FLOW, arrived, _say(waiting.id, Progress.EXPIRED), Origin.MACHINE)
        assert settled == [waiting.id, mine.id], "an end on the way is no arrival"


@dataclass
class _Unreadable(FileSystem):
    """Reads of deliveries fail as often as told."""

    failures: int = 0

    def connect(self, path: Path) -> sqlite3.Connection:
        trouble = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # Any: what sqlite3 takes
                if trouble.failures and sql.startswith("SELECT bundles.row"):
                    trouble.failures -= 1
                    raise sqlite3.OperationalError("disk I/O error")
                return super().execute(sql, *parameters)

        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Connection)


async def test_a_receipt_that_cannot_be_read_now_is_read_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent ended for it."""
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    disk = _Unreadable()
    async with opened(tmp_path, file_system=disk) as store, _reading(store) as (_, settled, arrived):
        own = store.own()
        await store.persist(own, bytes(10))
        disk.failures = 3
        await _until_taken(store, RECEIPT_FLOW, arrived, _say(own.id, Progress.DELIVERED), Origin.MACHINE)
        assert disk.failures == 0
        assert settled == [own.id]
