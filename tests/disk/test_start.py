"""What a store knows before its threads have run."""

import asyncio
from pathlib import Path

from edge_agent.disk.answers import Answers
from edge_agent.disk.opening import open_store
from edge_agent.disk.types import DiskClock
from edge_agent.disk.writer import Writer


async def test_room_is_known_before_the_first_commit(tmp_path: Path) -> None:
    """A node that is told 0 bytes refuses every arrival, an SOS too, and is told anew only after a commit."""
    store = open_store(
        tmp_path,
        node_id="command",
        destinations=frozenset({"command"}),
        quota_bytes=100_000_000,
        now_s=0.0,
        clock=DiskClock.of_machine(),
        timestamp="20260101T000000Z",
        on_acked=None,
        on_evicted=None,
        flows_without_receipt=frozenset(),
    )
    try:
        answers = Answers(asyncio.get_running_loop(), lambda outcomes: None)
        assert Writer(store.consumers, store.files, store.ballast, answers, None).disk_free_bytes > 0
    finally:
        store.consumers.rows.database.close()
        store.lock.close()
