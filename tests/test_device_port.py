"""Readings leave alone while nothing waits, together while an earlier batch is on its way, and never wait for long."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from edge_agent.config import DriverConfig
from edge_agent.core.bundle import BundleHeader, BundleId, Precedence
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.core.link_hint import LinkHint
from edge_agent.device_port import BATCH_ROWS, BATCH_S, DevicePort
from edge_agent.flows import FlowTable
from edge_agent.ports import Reading
from edge_agent.sender import BundleSender
from edge_agent.telemetry.payloads import ReadingBatch
from tests import virtual_loop


class Sink:
    """Takes bundles where the runner would, and remembers when."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, BundleId, BundleHeader, bytes]] = []
        self.refusal: RefusedError | None = None

    async def submit(
        self, header: BundleHeader, precedence: Precedence, payload: bytes, staged: None = None
    ) -> BundleId:
        if self.refusal is not None:
            raise self.refusal
        bundle = BundleId("kit-1", 1, precedence, len(self.sent))
        self.sent.append((asyncio.get_running_loop().time(), bundle, header, payload))
        return bundle

    def rows(self) -> list[int]:
        """How many readings each batch held."""
        return [len(ReadingBatch.unpack(payload).rows) for *_, payload in self.sent]


def refuses_hint(link: str, source: str, hint: LinkHint) -> bool:
    """A node that has no such link."""
    assert (link, source) == ("4g", "gas")
    return False


Scenario = Callable[[DevicePort, Sink], Coroutine[Any, Any, None]]


def play(tmp_path: Path, scenario: Scenario) -> Sink:
    """Run a scenario beside the port's own task, in virtual time."""
    sink = Sink()

    async def main() -> None:
        config = DriverConfig(name="gas", kind="mqtt_sensors", flow="reading", table={})
        sender = BundleSender(sink, FlowTable(), lambda: 1)  # type: ignore[arg-type]  # stands where the runner stands
        loop = asyncio.get_running_loop()
        port = DevicePort(
            config, sender, data_dir=tmp_path, granted_bytes=lambda flow, s: 0, hint_link=refuses_hint, loop=loop
        )
        flushing = asyncio.create_task(port.flush_readings(), name="flush")
        await scenario(port, sink)
        flushing.cancel()

    virtual_loop.run(main())
    return sink


def reading(value: float) -> Reading:
    return Reading(series="ch4", value=value, unit="%LEL", captured_at_ms=int(value))


def test_a_hint_that_the_node_refuses_is_counted_at_the_device(tmp_path: Path) -> None:
    async def scenario(port: DevicePort, sink: Sink) -> None:
        port.hint_link("4g", LinkHint(quality=0.5))
        assert port.drops.totals["link_hint_refused"] == 1

    play(tmp_path, scenario)


def test_a_lone_reading_leaves_at_once(tmp_path: Path) -> None:
    async def scenario(port: DevicePort, sink: Sink) -> None:
        begun_s = asyncio.get_running_loop().time()
        await port.publish([reading(5)])
        await asyncio.sleep(0.01)
        assert sink.sent[0][0] - begun_s < 0.01
        assert sink.sent[0][2].created_at_ms == 5

    assert play(tmp_path, scenario).rows() == [1]


def test_readings_gather_while_a_batch_waits_and_leave_when_it_has_gone(tmp_path: Path) -> None:
    async def scenario(port: DevicePort, sink: Sink) -> None:
        for value in range(5):
            await port.publish([reading(value)])
            await asyncio.sleep(0.1)
        port.settled(sink.sent[0][1])
        await asyncio.sleep(0.01)

    assert play(tmp_path, scenario).rows() == [1, 4]


def test_readings_wait_no_longer_than_the_batching_time_nor_beyond_a_full_batch(tmp_path: Path) -> None:
    async def scenario(port: DevicePort, sink: Sink) -> None:
        await port.publish([reading(0)])
        await asyncio.sleep(0.1)
        await port.publish([reading(1)])
        await asyncio.sleep(BATCH_S + 0.1)
        assert sink.sent[1][0] - sink.sent[0][0] == pytest.approx(BATCH_S + 0.1, abs=0.01)
        await port.publish([reading(value) for value in range(BATCH_ROWS)])
        await asyncio.sleep(0.01)

    assert play(tmp_path, scenario).rows() == [1, 1, BATCH_ROWS]


def test_refused_readings_are_counted_and_shown(tmp_path: Path) -> None:
    async def scenario(port: DevicePort, sink: Sink) -> None:
        sink.refusal = RefusedError(RefusalReason.STORE_FULL, "no room")
        await port.publish([reading(0), reading(1)])
        await asyncio.sleep(0.1)
        assert port.drops.totals == {"readings_refused": 2}
        assert port.reason == "store_full: no room"

    assert play(tmp_path, scenario).rows() == []
