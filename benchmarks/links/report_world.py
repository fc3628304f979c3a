"""A world with known outages and losses, the seconds a node writes of it, and what its links' models did meanwhile."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import run_number
from benchmarks.links.beds import KIT, LIVE, BedLink, BedRun
from edge_agent.core.bundle import Precedence
from edge_agent.core.node import Node
from edge_agent.link_report import Window
from edge_agent.link_report_rows import LinkDay, StatedLink, link_days
from edge_agent.link_seconds import SETTLE_S, SecondCollector
from edge_agent.link_seconds_files import ClockOffset, SecondFiles
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Fate, Verdict
from link_sim.profiles import UDP_IPV4_OVERHEAD_BYTES, PathProfile

DAY_START = 1_795_305_600
"""2026-11-22, 00:00 UTC: where second 0 of a world lies."""
EVERY_S = 0.05
FROM_S = 2.0
NS_PER_S = 1_000_000_000


def lossy(name: str, delay_s: float, loss_ratio: float) -> BedLink:
    """5 Mbit/s, so much delay and loss each way."""
    profile = LinkProfile(
        rate_bps=5_000_000, delay_s=delay_s, loss_ratio=loss_ratio, overhead_bytes=UDP_IPV4_OVERHEAD_BYTES
    )
    return BedLink(PathProfile(name=name, up=profile, down=profile), 5e6)


@dataclass(slots=True)
class Truth:
    """What one link's model did to the frames of the kit, whole seconds by when they were offered."""

    offered: Counter[int] = field(default_factory=Counter)
    lost: Counter[int] = field(default_factory=Counter)
    delays_s: list[float] = field(default_factory=list)

    def note(self, now_ns: int, _frame_bytes: int, _frame: bytes, verdict: Verdict) -> None:
        """One frame and its fate."""
        second = now_ns // NS_PER_S
        self.offered[second] += 1
        if verdict.fate is Fate.DELIVERED and verdict.deliver_at_ns is not None:
            self.delays_s.append((verdict.deliver_at_ns - now_ns) / NS_PER_S)
        else:
            self.lost[second] += 1

    def sums(self) -> tuple[float, float]:
        """Success ratio, over the seconds in which any frame came through, and mean delay in seconds."""
        up = [second for second, frames in self.offered.items() if self.lost[second] < frames]
        frames = sum(self.offered[second] for second in up)
        success = 1 - sum(self.lost[second] for second in up) / frames
        return success, sum(self.delays_s) / len(self.delays_s)


@dataclass(slots=True)
class ReportWorld:
    """Runs a world with a message of 200 bytes each EVERY_S, and writes its seconds as an agent does."""

    folder: Path
    links: list[BedLink]
    seed: int = field(default_factory=run_number.seed)
    run: BedRun = field(init=False)
    truths: dict[str, Truth] = field(default_factory=dict)
    _files: SecondFiles = field(init=False)
    _collector: SecondCollector = field(default_factory=SecondCollector)

    def __post_init__(self) -> None:
        self.run = BedRun(self.links, self.seed)
        self._files = SecondFiles(self.folder, KIT, "run-1", {})
        for name, line in self.run.world.lines().items():
            node, link, way = name.split("/")
            if way == "up":
                truth = self.truths[link] = Truth()
                line.observe(truth.note)
            assert node == KIT

    def until(self, end_s: float) -> None:
        """Traffic and looks up to ``end_s``."""
        world = self.run.world
        world.every(EVERY_S, self._submit, start_s=FROM_S, until_s=end_s - 5.0)
        world.every(1.0, self.look, start_s=2.001, until_s=end_s)
        world.run_until(end_s)

    def _submit(self) -> None:
        if self.run.world.is_running(KIT):
            self.run.submit(LIVE, Precedence.PRIORITY, 200)

    def kill(self) -> None:
        """The agent of the kit is gone, with all it had not written."""
        self.run.world.crash(KIT)

    def start_again(self) -> None:
        """The next process of the kit."""
        self.run.world.restart(KIT)
        self._files, self._collector = SecondFiles(self.folder, KIT, "run-2", {}), SecondCollector()

    def look(self) -> None:
        """What an agent does just after each full second."""
        now_s = self.run.world.now_s
        if self.run.world.is_running(KIT):
            node = self.run.world.node(KIT)
            assert isinstance(node, Node)
            rows = self._collector.look(now_s, node.take_seconds(now_s - SETTLE_S))
            self._files.write(rows, ClockOffset(DAY_START, is_set=True))

    def report(self, kind: str = "") -> dict[str, LinkDay]:
        """The report of what was written so far, by link."""
        until = DAY_START + int(self.run.world.now_s)
        stated = [StatedLink(link.name, "udp", kind) for link in self.links]
        day = datetime.fromtimestamp(DAY_START, UTC).date()
        return {each.place.link: each for each in link_days(self.folder, KIT, day, stated, until)}

    def day(self, link: str) -> Window:
        """The window of all that passed."""
        return self.report()[link].windows[-1]
