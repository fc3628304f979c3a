"""One demo as its user starts it: a process, its run folder, and the processes that belong to it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
READY_S = 60.0  # two demos at once on a busy machine with two cores
STEP_S = 0.1


class DemoRun:
    """A running demo; ``stop`` it or wait for its end."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.report_path = folder.parent / f"{folder.name}.report.json"
        self.output_path = folder.parent / f"{folder.name}.output.txt"
        command = [sys.executable, "-m", "examples.demo", "--run-dir", str(folder), *options]
        with self.output_path.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
            )

    @classmethod
    def headless(cls, folder: Path, seconds: int) -> "DemoRun":
        """A headless demo that writes ``report_path``."""
        report = folder.parent / f"{folder.name}.report.json"
        return cls(folder, "--headless", "--seconds", str(seconds), "--json", str(report))

    def card(self) -> dict[str, Any]:  # Any: JSON
        """demo.json once every process is in it."""
        path = self.folder / "demo.json"

        def whole() -> dict[str, Any] | None:
            if not path.exists():
                return None
            card: dict[str, Any] = json.loads(path.read_text())
            return card if all(card[node]["pid"] for node in ("kit", "command")) else None

        return self.until("demo.json names kit and command", whole)

    def until(self, what: str, found: Callable[[], Any], timeout_s: float = READY_S) -> Any:
        """The first true answer of ``found``; fails with the demo's output when it ends or that takes too long."""
        due_s = time.monotonic() + timeout_s
        while not (answer := found()):
            assert self.process.poll() is None, f"the demo ended before {what}: {self.output()}"
            assert time.monotonic() < due_s, f"not within {timeout_s} s: {what}: {self.output()}"
            time.sleep(STEP_S)
        return answer

    def pages_answer(self) -> bool:
        """Whether the demo's page and those of kit and command are served."""
        card = self.card()
        try:
            for address in (card["page"], card["kit"]["page"], card["command"]["page"]):
                urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            return False
        return True

    def end(self, timeout_s: float) -> int:
        """Exit status, once it has ended by itself."""
        return self.process.wait(timeout=timeout_s)

    def report(self) -> dict[str, Any]:  # Any: JSON
        """The report it wrote."""
        made: dict[str, Any] = json.loads(self.report_path.read_text())
        return made

    def output(self) -> str:
        """What it printed, its end."""
        return self.output_path.read_text(errors="replace")[-4000:]

    def left_over(self) -> list[str]:
        """Command lines of processes that name the run folder, the demo itself left out."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:  # it ended while we looked
                continue
            if str(self.folder) in line and int(entry.name) != self.process.pid and state != "Z":
                found.append(f"{entry.name} {line}")
        return found

    def discard(self) -> None:
        """End it however it is; for clean-up."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def is_alive(pid: int) -> bool:
    """Whether a process of that id exists and is no zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
