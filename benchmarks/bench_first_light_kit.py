"""First light on a small box: memory of a kit without camera, how soon it answers, and what it imports.

The kit has a GNSS receiver on a PTY, gas sensors at a real MQTT broker, a UDP link, a radio and its page; command runs
beside it, so that links are up and bundles flow.
"""

import asyncio
import sys
import time

from benchmarks import agents
from benchmarks.kit_world import SurroundingsError, kit_world
from benchmarks.lateness import watch_lateness
from benchmarks.rows import Bench, Figure
from edge_agent import loop as agent_loop

HEAVY_MODULES = frozenset({"av", "cv2", "numpy", "rich"})
SETTLED_READINGS_S = 8.0  # long enough for every device, link and the page to have worked
_TELLS_MODULES = (
    "import atexit, runpy, sys; "
    "loaded = lambda: [name for name, module in sys.modules.items() if module is not None]; "
    "atexit.register(lambda: print('modules:', *loaded(), file=sys.stderr)); "
    "runpy.run_module('edge_agent.cli', run_name='__main__')"
)
_RSS_OF_PYTHON = "import asyncio, os, resource; " + (
    "print(int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize())"
)


async def _rss(telemetry_s: float) -> Figure:
    """Resident MB (10^6 bytes) after ``telemetry_s``; the reference is a bare interpreter with asyncio."""
    async with (
        agents.bench_folder() as folder,
        kit_world(folder),
        agents.running(folder, "command-1", "kit-1") as (_, kit),
    ):
        await asyncio.sleep(telemetry_s)
        await _check_telemetry(kit)
        rss_bytes = kit.rss_bytes()
    bare = await asyncio.create_subprocess_exec(sys.executable, "-c", _RSS_OF_PYTHON, stdout=asyncio.subprocess.PIPE)
    bare_bytes = int((await bare.communicate())[0])
    return Figure(value=rss_bytes / 1e6, reference=bare_bytes / 1e6)


async def _check_telemetry(kit: agents.Agent) -> None:
    """Raise SurroundingsError unless devices and links of the kit work: an idle kit's figure would be worth nothing."""
    async with kit.client() as client:
        status = await client.status()
    for what in (*status["devices"], *status["links"]):
        if what["state"] not in ("available", "up"):
            raise SurroundingsError(f"kit-1: {what['name']} is {what['state']}: {what['reason']}; log: {kit.log()}")
    if "plugin_failed" in kit.log():
        raise SurroundingsError(f"kit-1: a plugin failed; log: {kit.log()}")


async def _ready(starts: int) -> Figure:
    """The slowest of ``starts``: from starting the process to its first answer; the reference is the quickest."""
    ready_s: list[float] = []
    async with agents.bench_folder() as folder, kit_world(folder), watch_lateness() as lateness:
        for _ in range(starts):
            begun_s = time.monotonic()
            kit = await agents.start(folder, "kit-1")
            try:
                await agents.until_ready(kit)
                ready_s.append(time.monotonic() - begun_s)
            finally:
                await agents.stop(kit)
    return Figure(value=max(ready_s), reference=min(ready_s), late_p99_ms=lateness.p99_ms)


async def _heavy_imports() -> Figure:
    """How many modules of heavy packages a kit that has worked for a while holds; the reference counts all modules."""
    async with agents.bench_folder() as folder, kit_world(folder):
        async with agents.running(folder, "command-1", "kit-1", program=("-c", _TELLS_MODULES)) as (_, kit):
            await asyncio.sleep(SETTLED_READINGS_S)
            await _check_telemetry(kit)
        said = [line for line in kit.log().splitlines() if line.startswith("modules:")]
    if not said:
        raise SurroundingsError(f"kit-1 did not end in good order: {kit.log()[-2000:]}")
    modules = said[-1].split()[1:]
    return Figure(value=sum(name.partition(".")[0] in HEAVY_MODULES for name in modules), reference=len(modules))


def rows(quick: bool) -> list[Bench]:
    """Three rows; quick: 20 s of telemetry in place of 60, and 3 starts in place of 10."""
    return [
        Bench(
            name="kit_rss",
            group="first-light",
            unit="MB (bare asyncio)",
            goal="<= 80",
            measure=lambda: agent_loop.run(_rss(20.0 if quick else 60.0)),
        ),
        Bench(
            name="kit_ready",
            group="first-light",
            unit="s, slowest (quickest)",
            goal="<= 1.5",
            measure=lambda: agent_loop.run(_ready(3 if quick else 10)),
            late_limit_ms=10.0,
        ),
        Bench(
            name="base_import_heavy",
            group="first-light",
            unit="modules (of all)",
            goal="== 0",
            measure=lambda: agent_loop.run(_heavy_imports()),
        ),
    ]
