"""The main job on one machine: ``scripts/demo [--headless --seconds N --json FILE --run-dir DIR]``."""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from examples.demo.bench import Bench
from examples.demo.crew import Crew, CrewError
from examples.demo.ledger import Ledger
from examples.demo.page import Json, Page
from examples.demo.progress import Progress
from examples.demo.proof import is_good, make_proof, summary
from examples.demo.recording import GnssPlayer
from examples.demo.report import arrivals, make_report
from examples.demo.script import STEPS, Script, still_from
from examples.demo.sensors import publish_sensors
from examples.demo.server import DemoServer
from examples.demo.site import MEDIA, Site, SiteError

HEADLESS_S = 90.0
SHOWN_S = 150.0
SHIFTS_DEG = {"kit-1": (0.0, 0.0), "kit-2": (0.06, -0.08)}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description="Two kits, three links that fail, a command post."
    )
    parser.add_argument("--headless", action="store_true", help="no page; exit when the script is over")
    parser.add_argument("--seconds", type=float, default=None, help="length of the script (90 headless, else 150)")
    parser.add_argument("--json", type=Path, default=None, help="write the report to this file")
    parser.add_argument("--run-dir", type=Path, default=None, help="keep configurations, logs and stores here")
    options = parser.parse_args(arguments)
    if options.seconds is None:
        options.seconds = HEADLESS_S if options.headless else SHOWN_S
    if not 20 <= options.seconds <= 3600:
        parser.error(f"--seconds {options.seconds:g}: allowed: 20 to 3600")
    return options


class Demo:
    """One run of the demo in one folder."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options = options
        self._site = Site(folder, report_interval_s=round(max(1.0, min(4.0, 4 * options.seconds / 90)), 1))
        self._bench = Bench(self._site)
        self._crew = Crew(self._site)
        self._ledger = Ledger({node: self._site.config(node) for node in ("kit-1", "kit-2", "command")})
        self._kit = Page(self._site.page("kit-1"))
        self._command = Page(self._site.page("command"))
        self._script = Script(
            self._bench,
            self._ledger,
            self._kit,
            self._command,
            seconds=options.seconds,
            is_headless=options.headless,
        )
        self._progress = Progress(self._ledger, self._script, self._bench)
        self._script.on_step = self._progress.step
        self._players = {kit: GnssPlayer(MEDIA / "beidou-bd.log", shift) for kit, shift in SHIFTS_DEG.items()}
        self._proof: Json | None = None
        self._server = DemoServer(
            self._bench, self._script, self._state, port=self._site.page_port, now_s=self._ledger.now_s
        )
        self._zero_ms = time.time_ns() // 1_000_000

    async def run(self) -> bool:
        """Run the script; headless return whether it proved what it promises, else show the proof until Ctrl-C."""
        await self._bench.start()
        try:
            gnss_ports = {kit: player.port for kit, player in self._players.items()}
            self._site.write(radio_ports=self._bench.radio_ports, gnss_ports=gnss_ports)
            self._crew.add_broker()
            for node in ("command", "kit-1", "kit-2"):
                self._crew.add_agent(node)
            return await self._work()
        finally:
            await self._bench.stop()
            for player in self._players.values():
                player.close()

    async def _work(self) -> bool:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._crew.run(), name="crew"),
                group.create_task(self._ledger.run(), name="ledger"),
                group.create_task(self._kit.run(), name="page:kit"),
                group.create_task(self._command.run(), name="page:command"),
                group.create_task(self._server.run(), name="demo page"),
                group.create_task(self._tick(), name="progress"),
                *(group.create_task(player.run(), name=f"gnss:{kit}") for kit, player in self._players.items()),
                *(
                    group.create_task(publish_sensors(self._site.broker_port, kit), name=f"sensors:{kit}")
                    for kit in self._players
                ),
            ]
            print(f"kit and command side by side: http://127.0.0.1:{self._site.page_port}/", flush=True)
            print(f"logs and configurations: {self._site.folder}", flush=True)
            await self._script.run(await asyncio.to_thread(still_from, MEDIA / "car-detection.mp4"))
            good = await self._finish()
            if not self._options.headless:
                print("the script is over; the pages go on until Ctrl-C", flush=True)
                await asyncio.get_running_loop().create_future()
            for task in tasks:
                task.cancel()
        return good

    async def _tick(self) -> None:
        while True:
            self._script.note_alarms()
            self._bench.note_switches(self._kit.state)
            self._progress.tick()
            await asyncio.sleep(0.5)

    async def _finish(self) -> bool:
        self._script.note_alarms()
        report = make_report(
            self._ledger,
            self._script,
            self._bench,
            self._command.state,
            zero_ms=self._zero_ms,
            seconds=self._ledger.now_s(),
        )
        self._server.report = report
        self._proof = make_proof(report, self._bench, self._command_line())
        if self._options.json is not None:
            self._options.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        print("\n".join(["", "proved:" if is_good(report) else "NOT proved:", *summary(report)]), flush=True)
        return is_good(report)

    def _command_line(self) -> str:
        return f"scripts/demo --headless --seconds {self._options.seconds:g} --json report.json"

    def _state(self) -> Json:
        """What the demo page shows now."""
        tally = self._ledger.sum()
        tally["doubled"] = tally.pop("duplicated")
        zh, en = STEPS[self._script.step - 1]
        return {
            "is_paused": self._script.is_paused,
            "pages": {"kit": self._site.page("kit-1"), "command": self._site.page("command")},
            "step": {"n": self._script.step, "of": len(STEPS), "zh": zh, "en": en},
            "tally": tally,
            "links": self._bench.describe(),
            "arrivals": arrivals(self._ledger, self._script, self._zero_ms),
            "proof": self._proof,
        }


async def run_until_stopped(options: argparse.Namespace, folder: Path) -> int:
    """Exit status of one demo: 0 proved, 1 not, 130 or 143 stopped by a signal."""
    work = asyncio.ensure_future(Demo(options, folder).run())
    loop = asyncio.get_running_loop()
    stopped_by: list[int] = []

    def stop(number: int) -> None:
        stopped_by.append(number)
        work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        return 0 if await work else 1
    except asyncio.CancelledError:
        return 128 + stopped_by[0] if stopped_by else 1


def main(arguments: list[str] | None = None) -> int:
    """Run the demo in the folder asked for, or in one that is removed at the end."""
    options = parse(arguments)
    status = 1
    try:
        if options.run_dir is not None:
            return asyncio.run(run_until_stopped(options, options.run_dir.resolve()))
        with tempfile.TemporaryDirectory(prefix="lifeline-demo-", ignore_cleanup_errors=True) as folder:
            return asyncio.run(run_until_stopped(options, Path(folder)))
    except* (CrewError, SiteError) as errors:
        print(f"scripts/demo: {errors.exceptions[0]}", file=sys.stderr)
        status = 2 if errors.subgroup(SiteError) else 1
    return status


if __name__ == "__main__":
    sys.exit(main())
