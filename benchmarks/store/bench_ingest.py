"""How fast bundles become durable: in process, against raw SQLite and JetStream, through the client, and a lone SOS."""

import random
import statistics
import time
from pathlib import Path

from benchmarks import agents
from benchmarks.rows import Bench, Figure
from benchmarks.store.jetstream import jetstream_hz
from benchmarks.store.local_node import SOS, local_node, submit_many
from benchmarks.store.raw_sqlite import commit_rows, connect_raw, raw_rows_hz
from edge_agent import loop as agent_loop
from edge_agent.core.bundle import Precedence

BODY_BYTES = 200  # as the peers of facts/peers-store-forward.md were given


def _body(number: int) -> bytes:
    return random.Random(number).randbytes(BODY_BYTES)


async def _ingest_hz(folder: Path, bundles: int) -> float:
    """Accepted bundles a second by one process, each on disk when it counts."""
    bodies = [_body(number) for number in range(bundles)]
    async with local_node(folder / "store") as runner:
        await submit_many(runner, 1_000, bodies.__getitem__)  # the first rows of a database cost more
        begun_s = time.perf_counter()
        await submit_many(runner, bundles, bodies.__getitem__)
        return bundles / (time.perf_counter() - begun_s)


async def _in_process(bundles: int) -> Figure:
    async with agents.bench_folder() as folder:
        raw_hz = [raw_rows_hz(folder / "before.db", bundles, _body(1))]
        ingest_hz = await _ingest_hz(folder, bundles)
        raw_hz.append(raw_rows_hz(folder / "after.db", bundles, _body(1)))
        return Figure(value=ingest_hz / statistics.mean(raw_hz), reference=statistics.mean(raw_hz))


async def _over_jetstream(bundles: int, messages: int) -> Figure:
    async with agents.bench_folder() as folder:
        server_hz = await jetstream_hz(folder, messages, _body(1))
        ingest_hz = await _ingest_hz(folder, bundles)
        return Figure(value=ingest_hz / server_hz, reference=server_hz)


async def _through_client(bundles: int) -> Figure:
    """Bundles a second that an agent answered one client as accepted; the reference is its CPU seconds for 1,000."""
    bodies = [_body(number) for number in range(bundles)]
    async with agents.bench_folder() as folder:
        nobody = agents.free_address()
        agents.write_config(folder, "kit-1", role="kit", rest=agents.udp_link("a", "remote", nobody))
        async with agents.running(folder, "kit-1") as (agent,), agent.client() as client:
            before_s, begun_s = agent.cpu_s(), time.perf_counter()
            told = await client.send_many(bodies, flow="reading", precedence="routine")
            wall_s, cpu_s = time.perf_counter() - begun_s, agent.cpu_s() - before_s
    assert all(each.bundle for each in told), "a bundle was refused"
    return Figure(value=bundles / wall_s, reference=cpu_s / bundles * 1_000)


async def _lone_flash(tries: int) -> Figure:
    """Median seconds from submit to accepted, as a multiple of one commit of one row; taken in turns."""
    accepted_s, commits_s = list[float](), list[float]()
    async with agents.bench_folder() as folder, local_node(folder / "store") as runner:
        database = connect_raw(folder / "raw.db")
        try:
            for number in range(tries):
                begun_s = time.perf_counter()
                commit_rows(database, number, 1, _body(number))
                commits_s.append(time.perf_counter() - begun_s)
                begun_s = time.perf_counter()
                await runner.submit(SOS, Precedence.FLASH, _body(number))
                accepted_s.append(time.perf_counter() - begun_s)
        finally:
            database.close()
    commit_s = statistics.median(commits_s)
    return Figure(value=statistics.median(accepted_s) / commit_s, reference=commit_s)


def rows(quick: bool) -> list[Bench]:
    """Four rows; quick: a quarter of the bundles."""
    bundles = 20_000 if quick else 80_000

    return [
        Bench(
            name="durable_ingest",
            group="store",
            unit="of raw SQLite (rows/s)",
            goal=">= 0.2",
            measure=lambda: agent_loop.run(_in_process(bundles)),
        ),
        Bench(
            name="durable_ingest_jetstream",
            group="store",
            unit="x JetStream synced (msg/s)",
            goal=">= 5",
            measure=lambda: agent_loop.run(_over_jetstream(bundles, 2_000 if quick else 10_000)),
        ),
        Bench(
            name="client_ingest",
            group="store",
            unit="bundles/s (CPU s per 1,000)",
            goal=">= 5000",
            measure=lambda: agent_loop.run(_through_client(bundles // 4)),
        ),
        Bench(
            name="lone_flash_accepted",
            group="store",
            unit="x one raw commit (s)",
            goal="<= 2",
            measure=lambda: agent_loop.run(_lone_flash(100 if quick else 400)),
        ),
    ]
