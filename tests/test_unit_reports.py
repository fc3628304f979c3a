"""What a unit tells command it still holds: by grade without housekeeping, by name where a link can afford it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.core.bundle import BundleHeader, BundleId, Precedence
from edge_agent.core.effects import LinkState, QueueKey
from edge_agent.core.report import NodeReport, QueueReport
from edge_agent.disk.store import Disk
from edge_agent.flows import FlowTable
from edge_agent.sender import BundleSender
from edge_agent.telemetry.payloads import UnitReport
from edge_agent.unit_reports import NAMES_LEAST_BPS, UnitReporter
from tests.disk.bench import Clock, opened
from tests.test_kit_rows import link

NOW_MS = 1_763_745_000_000


@dataclass(frozen=True, slots=True)
class Named:
    """What a reporter reads of its configuration."""

    name: str = "队"
    number: int = 7
    report_interval_s: float = 30.0


class Sink:
    """Takes bundles where the runner would, and ends the reporter after the first."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[bytes] = asyncio.Queue()

    async def submit(
        self, header: BundleHeader, precedence: Precedence, payload: bytes, staged: None = None
    ) -> BundleId:
        self.sent.put_nowait(payload)
        return BundleId("kit-1", 1, precedence, 1)


def _queue(flow: str, precedence: Precedence, bundles: int, payload_bytes: int, age_s: float) -> QueueReport:
    key = QueueKey("command", precedence, "kit-1", flow)
    return QueueReport(queue=key, bundles=bundles, payload_bytes=payload_bytes, oldest_age_s=age_s)


async def _first_report(disk: Disk, queues: Sequence[QueueReport], rate_bps: float) -> UnitReport:
    sink = Sink()
    report = NodeReport(
        links=(link("4g", LinkState.UP, rate_bps=rate_bps),),
        queues=tuple(queues),
        last_heard_s={},
        peer_roles={},
        counters={},
    )
    reporter = UnitReporter(
        config=Named(),  # type: ignore[arg-type]  # stands where the configuration stands
        sender=BundleSender(sink, FlowTable(), lambda: NOW_MS),  # type: ignore[arg-type]  # and the runner
        report=lambda: report,
        ports=[],
        changed=asyncio.Event(),
        disk=disk,
    )
    task = asyncio.create_task(reporter.run())
    try:
        async with asyncio.timeout(10):
            return UnitReport.unpack(await sink.sent.get())
    finally:
        task.cancel()


@pytest.mark.parametrize(("rate_bps", "is_named"), [(NAMES_LEAST_BPS, True), (NAMES_LEAST_BPS - 1, False)])
async def test_a_report_says_what_is_held_and_names_it_where_that_is_cheap(
    tmp_path: Path, rate_bps: float, *, is_named: bool
) -> None:
    async with opened(tmp_path, clock=Clock(wall_ms=NOW_MS - 65_000)) as store:
        picture = store.own(3000, flow="picture")
        await store.persist(picture, b"x" * 3000)
        queues = [
            _queue("picture", Precedence.ROUTINE, 1, 3000, 65.4),
            _queue("reading", Precedence.ROUTINE, 2, 100, 9.0),
            _queue("sos", Precedence.FLASH, 1, 40, 2.0),
            _queue("receipt", Precedence.ROUTINE, 5, 200, 99.0),
            _queue("report", Precedence.PRIORITY, 1, 90, 1.0),
        ]
        told = await _first_report(store.disk, queues, rate_bps)
        assert told.held == [[0, 1, 40, 2], [3, 3, 3100, 65]]
        assert told.largest == ([[str(picture.id), "picture", 3000, 65]] if is_named else None)
        assert told.store is not None
        assert told.store[1:] == [store.disk.report().quota_bytes, False]
