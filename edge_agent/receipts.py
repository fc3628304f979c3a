"""Receipts: the word of a consumer travels back to the source, whose bundle is *delivered* from then on.

Both halves live in the store, so a kill -9 loses neither: a receipt is owed until the bundle that carries it is on
disk, and a received one is acknowledged only after the states it brings are. Doing either twice changes nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgpack
import structlog

from edge_agent.core.bundle import BundleId, MalformedError, Precedence
from edge_agent.core.errors import RefusedError
from edge_agent.disk import Disk
from edge_agent.disk.types import AckedBundle, FateState, Start, StateUpdate
from edge_agent.fates import FateWatch
from edge_agent.flows import DAY_S
from edge_agent.sender import BundleSender
from edge_agent.telemetry.payloads import RECEIPT_FLOW, REPORT_FLOW

UNANSWERED_FLOWS = (RECEIPT_FLOW, REPORT_FLOW)
"""No receipt for a receipt, which would never end, nor for a report, which nobody waits for."""
GATHER_S = 1.0  # receipts of lesser precedences wait this long for company
RECEIPT_BUNDLES = 256  # named by one receipt: about 11 kB
RETRY_S = 5.0
CONSUMER = "agent.receipts"

log = structlog.get_logger()


class _Debt(NamedTuple):
    """Receipts that travel together."""

    source: str
    precedence: Precedence


class ReceiptSender:
    """Sends what is owed: at once for FLASH and IMMEDIATE, gathered for a second otherwise."""

    def __init__(self, disk: Disk, sender: BundleSender, node_id: str) -> None:
        self._disk = disk
        self._sender = sender
        self._node_id = node_id
        self._owed: defaultdict[_Debt, list[BundleId]] = defaultdict(list)
        self._settled: list[BundleId] = []
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()

    def owe(self, acked: Iterable[AckedBundle]) -> None:
        """Bundles were acknowledged here by everyone they were for."""
        for each in acked:
            if each.header.flow in UNANSWERED_FLOWS or each.bundle.source == self._node_id:
                self._settled.append(each.bundle)
            else:
                precedence = min(each.bundle.precedence, Precedence.ROUTINE)
                self._owed[_Debt(each.bundle.source, precedence)].append(each.bundle)
                if precedence <= Precedence.IMMEDIATE:
                    self._urgent.set()
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
                bundles = owed[debt]
                for start in range(0, len(bundles), RECEIPT_BUNDLES):
                    await self._send(debt, bundles[start : start + RECEIPT_BUNDLES])

    async def _send(self, debt: _Debt, bundles: Sequence[BundleId]) -> None:
        payload = msgpack.packb([str(bundle) for bundle in bundles])
        while True:
            try:
                await self._sender.submit(
                    payload, flow=RECEIPT_FLOW, to=debt.source, precedence=debt.precedence, lifetime_s=DAY_S
                )
                break
            except RefusedError as error:  # it stays owed; a full store may have room again soon
                log.warning("receipt_refused", to=debt.source, reason=str(error), retry_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
        await self._disk.settle_receipts(bundles)


class ReceiptReader:
    """Takes received receipts as a durable consumer, so that each is applied at least once."""

    def __init__(self, disk: Disk, fates: FateWatch, arrived: asyncio.Event) -> None:
        self._disk = disk
        self._fates = fates
        self._arrived = arrived

    async def run(self) -> None:
        """Apply receipts for ever."""
        await self._disk.consumer_open(CONSUMER, RECEIPT_FLOW, Start.ALL)
        while True:
            self._arrived.clear()
            deliveries = await self._disk.consumer_next(CONSUMER)
            if not deliveries:
                await self._arrived.wait()
                continue
            updates: list[StateUpdate] = []
            for delivery in deliveries:
                payload = delivery.payload or b""
                updates += self._read(payload, delivery.received_at_ms)
            if updates:
                await self._disk.set_states(updates)
            await self._disk.consumer_ack(CONSUMER, deliveries[-1].position)
            for update in updates:
                self._fates.changed(update.bundle)

    def _read(self, payload: bytes, at_ms: int) -> list[StateUpdate]:
        try:
            texts = msgpack.unpackb(payload)
            if not isinstance(texts, list):
                raise MalformedError("receipt is not a list")
            bundles = [BundleId.parse(str(text)) for text in texts[:RECEIPT_BUNDLES]]
        except (ValueError, msgpack.UnpackException, MalformedError) as error:
            log.warning("receipt_malformed", reason=str(error))  # from an authentic peer: worth a line
            return []
        return [StateUpdate(bundle=bundle, state=FateState.DELIVERED, at_ms=at_ms) for bundle in bundles]
