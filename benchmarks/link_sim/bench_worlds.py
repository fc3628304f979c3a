"""Worlds of core nodes: what ten minutes cost, and whether equal seeds give equal digests whatever runs beside them."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.rows import Bench, Figure
from edge_agent.core.bundle import BundleHeader, FlowOrder, Precedence
from edge_agent.core.report import NodeSettings
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World

ROOT = Path(__file__).parents[2]
MINUTES_S = 600
RUNS, RUNS_A_PROCESS = 1000, 50
PYTHONS = ("3.12", "3.13", "3.14")
READING = BundleHeader(destination="command", flow="reading")
PICTURE = BundleHeader(destination="command", flow="picture")
POSITION = BundleHeader(destination="command", flow="position", order=FlowOrder.LATEST, key="kit-1")


def _ten_minutes() -> Figure:
    """CPU seconds of ten minutes of one kit with two links; the reference is frames a second, which must be 300."""
    world = World(1)
    world.add_node(NodeSettings(node_id="command", role="command"))
    world.add_node(NodeSettings(node_id="kit-1"))
    path = LinkProfile(rate_bps=5_000_000, delay_s=0.02, overhead_bytes=28, queue_bytes=62_500)
    for link in ("a", "b"):
        world.connect(link, "kit-1", "command", path)
    for header, precedence, size, every_s in (
        (READING, Precedence.ROUTINE, 120, 0.05),
        (POSITION, Precedence.PRIORITY, 40, 1.0),
        (PICTURE, Precedence.ROUTINE, 40_000, 0.135),
    ):
        payload = bytes(size)
        world.every(
            every_s,
            lambda header=header, precedence=precedence, payload=payload: world.submit(  # type: ignore[misc]  # bound now
                "kit-1", header, precedence, payload
            ),
            start_s=1.0,
            until_s=MINUTES_S,
        )
    before_s = time.process_time()
    world.run_until(MINUTES_S + 5)
    cpu_s = time.process_time() - before_s
    world.audit()
    frames = sum(fates["delivered"] for fates in world.frames().values())
    if frames < 300 * MINUTES_S:
        raise AssertionError(f"{frames / MINUTES_S:.0f} frames a second, 300 were meant")
    return Figure(value=cpu_s, reference=frames / MINUTES_S)


def _digests(runs: int) -> Figure:
    """Share of runs with the first one's digest: many processes with hash seeds of their own, two cores kept busy."""
    pythons = [sys.executable] * (runs // RUNS_A_PROCESS) + _other_pythons()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        with ThreadPoolExecutor(max_workers=4) as pool:
            said = list(pool.map(_run_some, pythons))
    finally:
        for each in busy:
            each.kill()
            each.wait()
    found = [digest for digests in said for digest in digests]
    return Figure(value=sum(digest == found[0] for digest in found) / len(found), reference=len(found))


def _run_some(python: str) -> list[str]:
    done = subprocess.run(
        [python, "-m", "benchmarks.link_sim.digest_of_links", str(RUNS_A_PROCESS)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "random", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def _other_pythons() -> list[str]:
    """Other Pythons at hand: on the path, or kept by pyenv."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python{version}") for version in PYTHONS]
    found += [str(each) for version in PYTHONS for each in kept.glob(f"{version}.*/bin/python{version}")]
    return [each for each in found if each is not None and _works(each)]


def _works(python: str) -> bool:
    """Whether it is a Python and not a signpost to one that is not chosen."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def rows(quick: bool) -> Iterable[Bench]:
    """Rows of this file."""
    runs = RUNS // 5 if quick else RUNS
    return [
        Bench(
            name="agent_ten_minutes_cpu",
            group="link-sim",
            unit="CPU s (frames/s)",
            goal="<= 20",
            measure=_ten_minutes,
        ),
        Bench(
            name="digest_equal_runs",
            group="link-sim",
            unit="of all runs (runs)",
            goal="== 1",
            measure=lambda: _digests(runs),
        ),
    ]
