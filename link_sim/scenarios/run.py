"""Runs a scenario in virtual time: nodes of the core, links, traffic, faults; then judges it."""

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_agent.core.bundle import BundleHeader, Origin
from edge_agent.core.errors import RefusedError
from edge_agent.core.report import NodeSettings
from link_sim.evidence.events import EventLog
from link_sim.evidence.pcapng import Capture
from link_sim.evidence.plot import Plot
from link_sim.link.model import Outage, Verdict
from link_sim.link.services import NS_PER_S
from link_sim.nodes.seat import Way
from link_sim.nodes.watch import NoWatch
from link_sim.nodes.world import World
from link_sim.real_time.lateness import Lateness, LatenessMeter
from link_sim.real_time.live import LATE_LIMIT_MS
from link_sim.scenarios.checks import Result, Sent, judge, score
from link_sim.scenarios.scenario import Scenario, ScenarioLink, Step, Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Files that a run shall leave; None: not wanted."""

    events: Path | None = None
    capture: Path | None = None
    plot: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What became of a run."""

    digest: str
    seed: int
    checks: list[Result]
    links: dict[str, dict[str, int]]
    deliveries: int
    lateness: Lateness | None
    """Of a run by the wall clock."""

    @property
    def verdict(self) -> str:
        """The word "pass", "fail", or "inconclusive" when the machine was too late for a run by the wall clock."""
        if self.lateness is not None and self.lateness.p99_ms > LATE_LIMIT_MS:
            return "inconclusive"
        return "pass" if all(check.holds for check in self.checks) else "fail"

    def table(self) -> dict[str, object]:
        """For JSON."""
        return {
            "digest": self.digest,
            "seed": self.seed,
            "verdict": self.verdict,
            "checks": [asdict(check) for check in self.checks],
            "score": score(self.checks),
            "deliveries": self.deliveries,
            "lateness": None if self.lateness is None else asdict(self.lateness),
            "links": self.links,
        }


def run_scenario(
    scenario: Scenario, *, seed: int | None = None, evidence: Evidence | None = None, in_real_time: bool = False
) -> RunReport:
    """Run it to its end. The same scenario and seed give the same digest. Raises OSError for evidence.

    ``in_real_time``: by the wall clock, for people who watch or an exercise; the thread sleeps in between.
    """
    lateness: Lateness | None = None
    with ExitStack() as files:
        run = _Run(scenario, scenario.seed if seed is None else seed, evidence or Evidence(), files)
        run.schedule()
        if in_real_time:
            lateness = _run_by_the_clock(run.world, scenario.duration_s)
        else:
            run.world.run_until(scenario.duration_s)
        run.finish()
    checks = judge(scenario.checks, run.world, run.sent, run.lookout.offered_bytes)
    return RunReport(
        digest=run.world.digest(),
        seed=run.world.seed,
        checks=checks,
        links=run.world.frames(),
        deliveries=len(run.world.deliveries),
        lateness=lateness,
    )


def _run_by_the_clock(world: World, duration_s: float) -> Lateness:
    """Let each event happen when the wall clock shows its time; how late that was."""
    meter, began_ns = LatenessMeter(), time.monotonic_ns()
    while world.now_s < duration_s:
        next_s = world.next_event_s()
        due_s = duration_s if next_s is None else min(next_s, duration_s)
        due_ns = began_ns + round(due_s * NS_PER_S)
        while (left_ns := due_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / NS_PER_S)
        meter.add(time.monotonic_ns(), [due_ns])
        world.run_until(due_s)
    return meter.report()


class _Lookout(NoWatch):
    """Has every direction looked at from its first frame on."""

    def __init__(self) -> None:
        self.offered_bytes: Counter[str] = Counter()
        self.watches: list[EventLog | Capture | Plot] = []

    def laid(self, way: Way) -> None:
        link = way.name.split("/")[1]

        def judged(now_ns: int, frame_bytes: int, frame: bytes, verdict: Verdict) -> None:
            self.offered_bytes[link] += frame_bytes

        way.line.observe(judged)
        for watch in self.watches:
            watch.watch(way.name, way.line)


class _Run:
    def __init__(self, scenario: Scenario, seed: int, evidence: Evidence, files: ExitStack) -> None:
        self.scenario = scenario
        self.sent: list[Sent] = []
        self.refused = 0
        self.outages: dict[str, list[tuple[float, float]]] = {}
        self.lookout = _Lookout()
        self._log: EventLog | None = None
        self._plot: tuple[Plot, Path] | None = None
        self._gather(evidence, files)
        self.world = World(seed, watch=self.lookout)
        for node in scenario.nodes:
            self.world.add_node(NodeSettings(node_id=node.id, role=node.role), commit_s=node.commit_s)
        for link in scenario.links:
            self.world.connect(link.name, link.near, link.far, link.path)

    def _gather(self, evidence: Evidence, files: ExitStack) -> None:
        """Open what the evidence goes to."""
        watches = self.lookout.watches
        if evidence.plot is not None:
            plot = Plot(self.scenario.name, self.scenario.duration_s)
            self._plot = (plot, evidence.plot)
            watches.append(plot)
        if evidence.events is not None:
            self._log = EventLog(files.enter_context(evidence.events.open("w")))
            watches.append(self._log)
        if evidence.capture is not None:
            watches.append(Capture(files.enter_context(evidence.capture.open("wb"))))

    def finish(self) -> None:
        """Write what is known only at the end."""
        if self._plot is not None:
            plot, path = self._plot
            path.write_text(plot.svg(self.outages))
        if self._log is None:
            return
        for delivery in self.world.deliveries:
            about = {"bundle": str(delivery.bundle), "flow": delivery.record.header.flow, "via": delivery.via}
            self._log.add(delivery.t_s, "delivered", node=delivery.node, **about)
        for t_s, change in self.world.link_changes:
            self._log.add(t_s, "link", link=change.link, state=change.state.value, reason=change.reason)

    def schedule(self) -> None:
        """Put all traffic and every step on the world's clock."""
        for traffic in self.scenario.traffic:
            self._schedule_traffic(traffic)
        for step in self.scenario.steps:
            if step.at_s <= self.scenario.duration_s:
                self.world.at(step.at_s, lambda step=step: self._do(step))  # type: ignore[misc]  # bound now

    def _schedule_traffic(self, traffic: Traffic) -> None:
        stop_s = min(traffic.stop_s or self.scenario.duration_s, self.scenario.duration_s)
        if traffic.every_s:
            self.world.every(traffic.every_s, lambda: self._submit(traffic), start_s=traffic.start_s, until_s=stop_s)
        elif traffic.start_s <= stop_s:
            self.world.at(traffic.start_s, lambda: self._submit(traffic))

    def _submit(self, traffic: Traffic) -> None:
        if not self.world.is_running(traffic.near):
            return
        header = BundleHeader(
            destination=traffic.to,
            flow=traffic.flow,
            order=traffic.order,
            origin=Origin.PERSON,
            lifetime_s=traffic.lifetime_s,
            key=traffic.flow,
        )
        payload = len(self.sent).to_bytes(8, "big")[-traffic.payload_bytes :].rjust(traffic.payload_bytes, b"\0")
        try:
            bundle = self.world.submit(traffic.near, header, traffic.precedence, payload)
        except RefusedError:
            self.refused += 1
            return
        self.sent.append(Sent(bundle=bundle, flow=traffic.flow, order=traffic.order, t_s=self.world.now_s))

    def _do(self, step: Step) -> None:
        world, now_s = self.world, self.world.now_s
        if self._log is not None:
            self._log.add(now_s, "step", links=step.links, node=step.node, outage_s=step.outage_s)
        if step.crash_s:
            world.crash(step.node)
            world.at(now_s + step.crash_s, lambda: world.restart(step.node))
        direction = None if step.direction == "both" else step.direction
        for link in self._links(step.links, step.node):
            name, near = link.name, link.near
            if step.outage_s:
                self._cut(link, direction, step)
            elif step.unplug_s:
                world.unplug(name, step.node)
                world.at(now_s + step.unplug_s, lambda name=name: world.plug(name, step.node))  # type: ignore[misc]
            elif step.restores:
                world.restore(name, node=near, direction=direction)
            elif step.changes:
                world.set(name, node=near, direction=direction, **step.changes)  # type: ignore[arg-type]  # checked

    def _links(self, names: Iterable[str], node: str) -> list[ScenarioLink]:
        wanted = set(names)
        return [link for link in self.scenario.links if link.name in wanted and node in ("", link.near, link.far)]

    def _cut(self, link: ScenarioLink, direction: str | None, step: Step) -> None:
        world, now_s = self.world, self.world.now_s
        outage = Outage.HOLD if step.holds else Outage.DROP
        world.cut(link.name, node=link.near, direction=direction, outage=outage)
        world.at(now_s + step.outage_s, lambda: world.mend(link.name, node=link.near, direction=direction))
        for way in ("up", "down") if direction is None else (direction,):
            span = (now_s, now_s + step.outage_s)
            self.outages.setdefault(f"{link.near}/{link.name}/{way}", []).append(span)
