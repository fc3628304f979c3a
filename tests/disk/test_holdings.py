"""The largest things that wait, by name: found in short queues, never by reading a long one."""

from pathlib import Path

from edge_agent.core.bundle import Precedence
from edge_agent.core.effects import QueueKey
from edge_agent.core.report import QueueReport
from edge_agent.disk.holdings import QUEUE_BUNDLES_MAX, QUEUES_MAX, promising
from tests.disk.bench import Clock, opened, pattern, queue_of


def _queue(flow: str, bundles: int, payload_bytes: int) -> QueueReport:
    return QueueReport(
        queue=QueueKey("command", Precedence.ROUTINE, "kit-1", flow),
        bundles=bundles,
        payload_bytes=payload_bytes,
        oldest_age_s=1.0,
    )


async def test_the_largest_that_wait_are_named_largest_first(tmp_path: Path) -> None:
    """Also one whose payload is a file; what has left or was delivered here is not among them."""
    async with opened(tmp_path, clock=Clock(wall_ms=77)) as store:
        records = [store.own(length, flow="picture") for length in (500, 90_000, 20, 3000)]
        reading = store.own(4000, flow="reading")
        for record in (*records, reading):
            await store.persist(record, pattern(record.payload_bytes))
        await store.erase(records[3].id)
        await store.arrive(b"x" * 70_000, flow="picture")
        found = await store.disk.largest_waiting([queue_of(records[0]), queue_of(reading)], 3)
        assert [(held.bundle, held.flow, held.payload_bytes, held.stored_ms) for held in found] == [
            (records[1].id, "picture", 90_000, 77),
            (reading.id, "reading", 4000, 77),
            (records[0].id, "picture", 500, 77),
        ]


def test_only_short_queues_of_large_bundles_are_searched() -> None:
    queues = [_queue("history", QUEUE_BUNDLES_MAX + 1, 10**12), _queue("empty", 0, 0)]
    queues += [_queue(f"flow-{n}", 2, 2 * n) for n in range(QUEUES_MAX + 3)]
    assert [queue.flow for queue in promising(queues)] == [f"flow-{n}" for n in range(QUEUES_MAX + 2, 2, -1)]
