"""When the writer's next transaction is due: at once for whatever anybody waits for."""

import math
from pathlib import Path

import pytest

from edge_agent.core.bundle import BundleHeader, BundleId, BundleRecord, Precedence
from edge_agent.core.effects import Erase, EraseReason, Persist
from edge_agent.disk.file_system import MACHINE
from edge_agent.disk.files import PayloadFiles
from edge_agent.disk.job_queue import FLOOD_JOBS, GATHER_S, GATHERED_JOBS, JobQueue
from edge_agent.disk.jobs import RowsJob

NOW_S = 100.0
MOST_BYTES = 1 << 20


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    return JobQueue(PayloadFiles(tmp_path, MACHINE), clock=lambda: NOW_S)


def persist(number: int, precedence: Precedence = Precedence.ROUTINE, *, is_arrival: bool = True) -> Persist:
    bundle = BundleId("kit-1", 1, precedence, number)
    header = BundleHeader(destination="command", flow="reading")
    record = BundleRecord(id=bundle, header=header, payload_bytes=1, as_of_s=0.0)
    return Persist(number, bundle, 1, record, 0, b"x", is_arrival)


def erase(number: int, reason: EraseReason = EraseReason.FORWARDED) -> Erase:
    return Erase(number, (BundleId("kit-1", 1, Precedence.ROUTINE, number),), reason)


def taken(queue: JobQueue, most_bytes: int) -> int:
    """How many effects the next batch holds."""
    return sum(len(job.effects) if isinstance(job, RowsJob) else 1 for job in queue.take(most_bytes))


def pass_flood(queue: JobQueue) -> None:
    for number in range(FLOOD_JOBS):
        queue.put_effects([persist(number)])
    assert taken(queue, MOST_BYTES) == FLOOD_JOBS


def test_a_lone_bundle_is_due_at_once(queue: JobQueue) -> None:
    assert queue.due_s == math.inf
    queue.put_effects([persist(1)])
    assert queue.due_s <= NOW_S
    assert taken(queue, MOST_BYTES) == 1
    assert queue.due_s == math.inf


def test_in_a_flood_arrivals_gather_and_nothing_else_does(queue: JobQueue) -> None:
    for hasty in (persist(50, is_arrival=False), persist(50, Precedence.IMMEDIATE), erase(50, EraseReason.CANCELLED)):
        pass_flood(queue)
        queue.put_effects([persist(40)])
        assert queue.due_s == NOW_S + GATHER_S
        queue.put_effects([hasty])
        assert queue.due_s <= NOW_S
        assert taken(queue, MOST_BYTES) == 2


def test_rows_that_another_node_has_wait_for_company_but_not_for_ever(queue: JobQueue) -> None:
    for number in range(GATHERED_JOBS - 1):
        queue.put_effects([erase(number)])
        assert queue.due_s == NOW_S + GATHER_S
    queue.put_effects([erase(GATHERED_JOBS)])
    assert queue.due_s <= NOW_S


def test_what_is_left_of_a_batch_is_due_at_once(queue: JobQueue) -> None:
    pass_flood(queue)
    for number in range(3):
        queue.put_effects([persist(number)])
    assert taken(queue, 2) == 2
    assert queue.due_s <= NOW_S


def test_a_stop_does_not_wait_for_company(queue: JobQueue) -> None:
    queue.put_effects([erase(1)])
    queue.close()
    assert queue.wait()
    assert queue.take(MOST_BYTES)
    assert not queue.wait()
