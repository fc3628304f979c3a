"""Receipts: the word of a node further on travels back to the source, which then knows how far its bundle got.

Both halves live in the store, so a kill -9 loses neither: a receipt of delivery is owed until the bundle that carries
it is on disk, and a received one is acknowledged only after the states it brings are. Doing either twice changes
nothing. The end of a bundle on its way through this node (expired, given up) is told once; the source counts its
lifetime itself.
"""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import structlog

from edge_agent.core.bundle import BundleId, MalformedError, Origin, Precedence
from edge_agent.core.errors import RefusedError
from edge_agent.core.post_words import ACT_FLOW, POST_FLOWS
from edge_agent.core.progress import ARRIVED, PERSON_ONLY, Progress
from edge_agent.disk.store import Disk
from edge_agent.disk.types import AckedBundle, Delivery, Start, StateUpdate, StoreError
from edge_agent.fates import FateWatch
from edge_agent.flows import DAY_S
from edge_agent.sender import BundleSender
from edge_agent.telemetry.payloads import READ_FLOW, RECEIPT_FLOW, REPORT_FLOW
from edge_agent.telemetry.receipts import Receipt, gather, read_receipts

UNANSWERED_FLOWS = (RECEIPT_FLOW, REPORT_FLOW, ACT_FLOW, *POST_FLOWS)
"""No receipt for a receipt, which would never end, nor for a report or a word between posts,
which nobody waits for."""
GATHER_S = 1.0  # receipts of lesser precedences wait this long for company
RETRY_S = 5.0
ENDS_MAX = 4096
"""Ends of passing bundles that wait to be told; beyond it the oldest is not told, and counted."""
CONSUMERS = {RECEIPT_FLOW: "agent.receipts", READ_FLOW: "agent.reads"}
RECEIPT_FLOWS = tuple(CONSUMERS)

log = structlog.get_logger()


class _Debt(NamedTuple):
    """Receipts that travel together."""

    source: str
    precedence: Precedence
    state: Progress


class _End(NamedTuple):
    """What became of a bundle that was only passing."""

    bundle: BundleId
    state: Progress


class ReceiptSender:
    """Sends what is owed: at once for FLASH and IMMEDIATE, gathered for a second otherwise."""

    def __init__(self, disk: Disk, sender: BundleSender, node_id: str, level: str = "") -> None:
        """``level``: of command, named in every receipt; empty for other roles."""
        self._disk = disk
        self._sender = sender
        self._node_id = node_id
        self._level = level
        self.is_silent: Callable[[BundleId], bool] = lambda bundle: False
        """Whether another post tells the source of a bundle."""
        self._owed: defaultdict[_Debt, list[BundleId]] = defaultdict(list)
        self._ends: deque[_End] = deque()
        self._settled: list[BundleId] = []
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self.drops: Counter[str] = Counter()

    def owe(self, acked: Iterable[AckedBundle]) -> None:
        """Bundles were acknowledged here by everyone they were for, or ended here before anybody took them."""
        for each in acked:
            is_unanswered = each.header.flow in UNANSWERED_FLOWS or each.bundle.source == self._node_id
            if is_unanswered or self.is_silent(each.bundle):
                self._settled.append(each.bundle)
            else:
                precedence = min(each.bundle.precedence, Precedence.ROUTINE)
                self._owed[_Debt(each.bundle.source, precedence, each.state)].append(each.bundle)
                if precedence <= Precedence.IMMEDIATE:
                    self._urgent.set()
            self._news.set()

    def tell_end(self, bundle: BundleId, state: Progress) -> None:
        """A bundle of another node ended here, on its way."""
        if bundle.source == self._node_id:
            return
        self._ends.append(_End(bundle, state))
        if len(self._ends) > ENDS_MAX:
            self._ends.popleft()
            self.drops["receipt_end_forgotten"] += 1
        self._news.set()

    async def run(self) -> None:
        """Send receipts for ever."""
        while True:
            await self._news.wait()
            if not self._urgent.is_set():
                try:
                    async with asyncio.timeout(GATHER_S):
                        await self._urgent.wait()
                except TimeoutError:
                    pass  # the gathering is over
            self._news.clear()
            self._urgent.clear()
            owed, self._owed = self._owed, defaultdict(list)
            settled, self._settled = self._settled, []
            if settled:
                await self._disk.settle_receipts(settled)
            for debt in sorted(owed, key=lambda each: each.precedence):
                for receipt in self._gather(owed[debt], debt.state):
                    await self._send(receipt, debt.precedence)
                    await self._disk.settle_receipts(list(receipt.bundles()))
            await self._send_ends()

    def _gather(self, bundles: Iterable[BundleId], state: Progress) -> list[Receipt]:
        return gather(bundles, state, level=self._level, node=self._node_id)

    async def _send_ends(self) -> None:
        ends, self._ends = self._ends, deque()
        told: defaultdict[Progress, list[BundleId]] = defaultdict(list)
        for bundle, state in ends:
            try:
                fate = await self._disk.fate(bundle)
            except StoreError as error:  # as when too many ends wait: its source counts the lifetime itself
                log.warning("receipt_end_unread", bundle=str(bundle), reason=str(error))
                self.drops["receipt_end_forgotten"] += 1
                continue
            if fate is not None and fate.header.flow not in UNANSWERED_FLOWS:
                told[state].append(bundle)
        for state, bundles in told.items():
            for receipt in self._gather(bundles, state):
                await self._send(receipt, Precedence.ROUTINE)

    async def _send(self, receipt: Receipt, precedence: Precedence) -> None:
        payload = receipt.pack(reader=receipt.source, writer=self._node_id)
        while True:
            try:
                await self._sender.submit(
                    payload, flow=RECEIPT_FLOW, to=receipt.source, precedence=precedence, lifetime_s=DAY_S
                )
                return
            except RefusedError as error:  # it stays owed; a full store may have room again soon
                log.warning("receipt_refused", to=receipt.source, reason=str(error), retry_s=RETRY_S)
                await asyncio.sleep(RETRY_S)


async def send_word(
    sender: BundleSender, bundle: BundleId, state: Progress, *, node: str, level: str = "", by: str = "", at_ms: int = 0
) -> None:
    """Tell the source of ``bundle`` what a person did, or what this node did in a person's stead, with it.

    Raises RefusedError.
    """
    (receipt,) = gather([bundle], state, level=level, node=node, at_ms=at_ms, by=by)
    origin = Origin.PERSON if state in PERSON_ONLY else Origin.MACHINE
    payload = receipt.pack(reader=bundle.source, writer=node)
    await sender.submit(payload, flow=READ_FLOW, to=bundle.source, origin=origin)


class ReceiptReader:
    """Takes received receipts as durable consumers, so that each is applied at least once.

    ``drops`` counts those that were not applied, by name.
    """

    def __init__(
        self,
        disk: Disk,
        fates: FateWatch,
        arrived: asyncio.Event,
        node_id: str,
        settle: Callable[[Sequence[BundleId]], None],
    ) -> None:
        """``settle`` is told of bundles that arrived: copies that still wait here need not go."""
        self._disk = disk
        self._fates = fates
        self._arrived = arrived
        self._node_id = node_id
        self._settle = settle
        self.drops: Counter[str] = Counter()

    async def run(self) -> None:
        """Apply receipts for ever."""
        for flow, consumer in CONSUMERS.items():
            await self._disk.consumer_open(consumer, flow, Start.ALL)
        while True:
            self._arrived.clear()
            try:
                has_taken = [each for each in CONSUMERS.values() if await self._take(each)]
            except StoreError as error:  # they are on the disk: whoever reads them later loses nothing
                log.warning("receipts_unread", reason=str(error), retry_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
                continue
            if not has_taken:
                await self._arrived.wait()

    async def _take(self, consumer: str) -> bool:
        """Apply what waits for one consumer, some of it; False when nothing does."""
        deliveries: Sequence[Delivery] = await self._disk.consumer_next(consumer)
        if not deliveries:
            return False
        updates = [update for delivery in deliveries for update in self._read(delivery)]
        if updates:
            arrived = {update.bundle for update in updates if update.state in ARRIVED}
            self._settle([bundle for bundle in await self._disk.take_receipts(updates) if bundle in arrived])
        for update in updates:
            self._fates.changed(update.bundle)
        await self._disk.consumer_ack(consumer, deliveries[-1].position)
        return True

    def _read(self, delivery: Delivery) -> list[StateUpdate]:
        record = delivery.record
        try:
            receipts = read_receipts(
                delivery.payload or b"", reader=self._node_id, writer=record.id.source, at_ms=delivery.received_at_ms
            )
        except MalformedError as error:
            self.drops["receipt_malformed"] += 1
            log.warning("receipt_malformed", source=record.id.source, reason=str(error))  # authentic: worth a line
            return []
        updates: list[StateUpdate] = []
        for receipt in receipts:
            if receipt.source != self._node_id:
                self.drops["receipt_foreign"] += 1
            elif receipt.state in PERSON_ONLY and record.header.origin is not Origin.PERSON:
                self.drops["receipt_of_no_person"] += 1
            else:
                updates += _updates(receipt, delivery.told_ms(receipt.at_ms))
        return updates


def _updates(receipt: Receipt, at_ms: int) -> list[StateUpdate]:
    detail = " · ".join(filter(None, (receipt.by, receipt.level)))
    return [StateUpdate(bundle=bundle, state=receipt.state, at_ms=at_ms, detail=detail) for bundle in receipt.bundles()]
