"""One node in this process as the agent builds it: core, runner and store, no link, no API."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import SystemRandom

from edge_agent.collector import collect_seldom
from edge_agent.core.bundle import BundleHeader, Origin, Precedence
from edge_agent.core.frame import NullKeys
from edge_agent.core.node import Node
from edge_agent.core.report import NodeSettings
from edge_agent.disk.store import Disk
from edge_agent.runner import Runner

QUOTA_BYTES = 8_000_000_000
SUBMITS_AT_ONCE = 1_000  # as many as one group takes; the core allows 8,192
READING = BundleHeader(destination="command", flow="reading")
SOS = BundleHeader(destination="command", flow="sos", origin=Origin.PERSON)


@asynccontextmanager
async def local_node(folder: Path, node_id: str = "kit-1") -> AsyncIterator[Runner]:
    """A kit's node on the store in ``folder``; on an ``AgentLoop``, whose clock is the node's."""
    loop = asyncio.get_running_loop()
    thresholds = gc.get_threshold()
    collect_seldom()
    disk, restored = Disk.open(
        folder,
        node_id=node_id,
        role="kit",
        quota_bytes=QUOTA_BYTES,
        now_s=loop.time(),
        on_complete=lambda outcomes: runner.complete(outcomes, disk.free_bytes()),
    )
    node = Node(NodeSettings(node_id=node_id), NullKeys(), SystemRandom(), restored, loop.time())
    runner = Runner(node, execute=disk.execute, on_event=lambda event: None, loop=loop)
    try:
        yield runner
    finally:
        runner.close()
        disk.close()
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def submit_many(
    runner: Runner, number: int, make: Callable[[int], bytes], header: Callable[[int], BundleHeader] | None = None
) -> None:
    """Have ``number`` ROUTINE bundles accepted, up to ``SUBMITS_AT_ONCE`` at a time; back when all are on disk."""
    numbers: Iterator[int] = iter(range(number))

    async def submit() -> None:
        for each in numbers:
            await runner.submit(READING if header is None else header(each), Precedence.ROUTINE, make(each))

    async with asyncio.TaskGroup() as group:
        for worker in range(min(SUBMITS_AT_ONCE, number)):
            group.create_task(submit(), name=f"submit {worker}")
