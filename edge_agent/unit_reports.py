"""A kit's own word on its links and on what still waits, sent to command every ``report_interval_s``."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from edge_agent.config import Config
from edge_agent.core.bundle import Precedence
from edge_agent.core.errors import RefusedError
from edge_agent.core.report import NodeReport
from edge_agent.disk.holdings import HeldBundle, promising
from edge_agent.disk.store import Disk
from edge_agent.disk.types import StoreError
from edge_agent.hint_rows import HintRows
from edge_agent.link_port import LinkPort
from edge_agent.outlook import HOUSEKEEPING_FLOWS, backlog, link_rate_bps, open_links
from edge_agent.sender import BundleSender
from edge_agent.status import link_rows
from edge_agent.telemetry.payloads import LARGEST_MAX, REPORT_FLOW, UnitReport

CHANGE_SPACING_RATIO = 0.2  # a changed link is told before the interval is over, but no more than 5 times in it
REPORT_WIRE_BYTES = 300  # a report of three links with its header, its frame and its acknowledgement
REPORT_SHARE_RATIO = 0.1
NAMES_LEAST_BPS = 9_600.0
"""Below it the names of the largest things that wait (about 200 bytes) are left out, and hints that did not change."""

log = structlog.get_logger()


def no_costs(now_ms: int) -> list[list[Any]]:  # Any: the types of a UnitReport's row
    """Of a node whose links cost nothing."""
    return []


@dataclass(slots=True, kw_only=True)
class UnitReporter:
    """Sends a UnitReport at once, every interval, and soon after a link changed."""

    config: Config
    sender: BundleSender
    report: Callable[[], NodeReport]
    ports: Sequence[LinkPort]
    changed: asyncio.Event
    disk: Disk
    costs: Callable[[int], list[list[Any]]] = no_costs  # Any: the types of a UnitReport's row
    """What links cost, given UTC ms (``link_costs.report_rows``)."""
    profile: Callable[[], str] = str
    """How this node uses its links; "" for the usual way."""
    _hints: HintRows = field(default_factory=HintRows)

    async def run(self) -> None:
        """Report for ever."""
        while True:
            self.changed.clear()
            interval_s = await self._send()
            await asyncio.sleep(interval_s * CHANGE_SPACING_RATIO)
            try:
                async with asyncio.timeout(interval_s * (1 - CHANGE_SPACING_RATIO)):
                    await self.changed.wait()
            except TimeoutError:
                pass  # nothing changed: the interval is over all the same

    async def _send(self) -> float:
        """Send a report; gives back after how many seconds the next one is due."""
        payload = self.payload(await self._largest())
        try:
            await self.sender.submit(payload.pack(), flow=REPORT_FLOW)
        except RefusedError as error:
            log.warning("report_refused", reason=str(error))
        return payload.due_s

    def _due_s(self, report: NodeReport) -> float:
        """The configured interval, longer while only thin links are up: reports take REPORT_SHARE_RATIO of them."""
        rate_bps = max(map(link_rate_bps, open_links(report)), default=0.0)
        if not rate_bps:
            return self.config.report_interval_s
        return max(self.config.report_interval_s, REPORT_WIRE_BYTES * 8 / (rate_bps * REPORT_SHARE_RATIO))

    async def _largest(self) -> list[HeldBundle] | None:
        """The largest things that wait; None where a link is too thin to name them."""
        report = self.report()
        if max(map(link_rate_bps, open_links(report)), default=0.0) < NAMES_LEAST_BPS:
            return None
        queues = [queue for queue in report.queues if queue.queue.flow.split(".", 1)[0] not in HOUSEKEEPING_FLOWS]
        try:
            return await self.disk.largest_waiting(promising(queues), LARGEST_MAX)
        except StoreError as error:
            log.warning("holdings_unread", reason=str(error))
            return None

    def payload(self, largest: Sequence[HeldBundle] | None = None) -> UnitReport:
        """The report as of now."""
        config, report, store = self.config, self.report(), self.disk.report()
        rate_bps = max(map(link_rate_bps, open_links(report)), default=0.0)
        return UnitReport(
            at_ms=self.sender.now_ms(),
            due_s=round(self._due_s(report), 1),
            name=config.name,
            number=config.number,
            links=[_short(row) for row in link_rows(report, self.ports)][:64],
            backlog=[[row.kind, row.bundles, row.payload_bytes, row.expected_s] for row in backlog(report)],
            held=_held(report),
            largest=None if largest is None else [self._name(held) for held in largest],
            costs=self.costs(self.sender.now_ms()) or None,
            profile=self.profile() or None,
            hints=self._hints.next_rows(report.links, is_thin=rate_bps < NAMES_LEAST_BPS, is_open=rate_bps > 0),
            store=[store.used_bytes, store.quota_bytes, store.is_full],
        )

    def _name(self, held: HeldBundle) -> list[Any]:  # Any: the types of a UnitReport's row
        age_s = max(0, self.sender.now_ms() - held.stored_ms) // 1000
        return [str(held.bundle), held.flow, held.payload_bytes, age_s]


def _held(report: NodeReport) -> list[list[Any]]:  # Any: the types of a UnitReport's row
    """What waits by precedence, without the agent's own housekeeping."""
    rows = []
    for precedence in Precedence:
        queues = [
            queue
            for queue in report.queues
            if queue.queue.precedence is precedence
            and queue.bundles
            and queue.queue.flow.split(".", 1)[0] not in HOUSEKEEPING_FLOWS
        ]
        if queues:
            rows.append(
                [
                    int(precedence),
                    sum(queue.bundles for queue in queues),
                    sum(queue.payload_bytes for queue in queues),
                    round(max(queue.oldest_age_s for queue in queues)),
                ]
            )
    return rows


def _short(row: dict[str, Any]) -> list[Any]:  # Any: the types of a UnitReport's row
    """A link's row with figures as short as they are true: a float costs nine bytes of a thin link."""
    rate_bps = row["rate_bps"] or row["goodput_bps"] or None
    rtt_s = row["rtt_s"]
    loss_ratio = row["loss_ratio"]
    return [
        row["name"],
        row["state"],
        None if rate_bps is None else round(rate_bps),
        None if rtt_s is None else round(rtt_s, 3),
        None if loss_ratio is None else (round(loss_ratio, 3) or 0),
        row["transport"],
    ]
