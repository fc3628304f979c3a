"""Saturated links in virtual time: how much of their sum is used, what an SOS meets beside it, and the queues."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from statistics import median

from benchmarks.links.beds import HOLE_S, MET_S, SOS, TRACE_NUMBERS, BedRun, links_of
from benchmarks.links.holes import holes_of, overlaps
from benchmarks.percentiles import p99
from benchmarks.rows import Bench, Figure, Repeats
from edge_agent.core.bundle import Precedence
from link_sim.link.services import NS_PER_S
from link_sim.nodes.world import World

START_S, SPAN_S, QUICK_SPAN_S, AFTER_S = 5.0, 30.0, 20.0, 3.0
SOS_BYTES, SOS_EVERY_S = 200, 0.1
QUEUE_EVERY_S = 0.01
BEST_DELAY_S = {"A": 0.025, "B": 0.015, "C": 0.02}
GOODPUT_GOAL = {"A": 0.945, "B": 0.88, "C": 0.955}
SOS_GOAL_S = {"A": 0.015, "B": 0.06, "C": 0.015}
WIRE_GOAL = {"A": 1.06, "B": 1.12, "C": 1.06}
GEO_FRAGMENT_S = 1500 * 8 / 512_000
QUEUE_GOAL_S = (
    ("A", "4g", 95, 0.010),
    ("A", "4g", 99, 0.013),
    ("A", "geo", 95, 3 * GEO_FRAGMENT_S),
    ("B", "4g", 95, 0.060),
    ("B", "mesh", 95, 0.040),
    ("C", "one", 95, 0.010),
    ("C", "one", 99, 0.013),
)


@dataclass(slots=True)
class Saturated:
    """What one run came to; times in seconds, queues by link."""

    goodput_ratio: float
    wire_ratio: float
    """Wire bytes of both sides for each byte delivered."""
    sos_excess_s: list[float] = field(default_factory=list)
    unbroken_excess_s: list[float] = field(default_factory=list)
    """Of those raised in a second in which no link had a hole."""
    queues_s: dict[str, list[float]] = field(default_factory=dict)


def saturate(bed: str, span_s: float, *, trace: int = 1, flows: int = 1, with_sos: bool = False) -> Saturated:
    """Bulk that never ends over a bed, from ``START_S`` on; with an SOS each 100 ms if wanted."""
    run, end_s = BedRun(links_of(bed, trace)), START_S + span_s
    run.fill(end_s, flows=flows)
    world, raised = run.world, dict(run.made)
    if with_sos:
        world.every(SOS_EVERY_S, partial(run.submit, SOS, Precedence.FLASH, SOS_BYTES), start_s=START_S, until_s=end_s)
    queues = _watch_queues(run, end_s)
    world.run_until(START_S)
    before_bytes = run.all_bytes()
    world.run_until(end_s)
    wire_bytes = run.all_bytes() - before_bytes
    world.run_until(end_s + AFTER_S)
    goodput_bytes = _delivered_bytes(world, end_s) - _delivered_bytes(world, START_S)
    came, holes_s = run.arrivals(), set().union(*(link.holes_s(START_S, end_s) for link in run.links))
    excess_s = {
        at_s: came.get(bundle, world.now_s) - at_s - BEST_DELAY_S[bed]
        for bundle, at_s in run.made.items()
        if bundle not in raised
    }
    return Saturated(
        goodput_ratio=goodput_bytes / sum(link.capacity_bytes(START_S, end_s) for link in run.links),
        wire_ratio=wire_bytes / goodput_bytes,
        sos_excess_s=list(excess_s.values()),
        unbroken_excess_s=[excess for at_s, excess in excess_s.items() if int(at_s) not in holes_s],
        queues_s=queues,
    )


def _delivered_bytes(world: World, until_s: float) -> float:
    """Payload that came until a moment. The bundle of each flow that comes next counts for the time that has passed.

    Ten flows take turns, so their bundles end nearly together: whole ones alone would miss up to 655 KB at an end.
    """
    flows: dict[str, list[tuple[float, int]]] = {}
    for each in world.deliveries:
        flows.setdefault(each.record.header.flow, []).append((each.t_s, each.record.payload_bytes))
    total_bytes = 0.0
    for done in flows.values():
        last_s = max((at_s for at_s, _ in done if at_s <= until_s), default=MET_S)
        next_s, next_bytes = min(((at_s, size) for at_s, size in done if at_s > until_s), default=(until_s, 0))
        total_bytes += sum(size for at_s, size in done if at_s <= until_s)
        if next_bytes:
            total_bytes += next_bytes * (until_s - last_s) / (next_s - last_s)
    return total_bytes


def _watch_queues(run: BedRun, end_s: float) -> dict[str, list[float]]:
    """What stands in each link's own queue, as time, sampled each 10 ms."""
    queues: dict[str, list[float]] = {link.name: [] for link in run.links}
    lines = run.world.lines()

    def look(world: World) -> None:
        for link in run.links:
            waiting_bytes = lines[f"kit-1/{link.name}/up"].model.waiting_bytes(round(world.now_s * NS_PER_S))
            queues[link.name].append(waiting_bytes * 8 / link.own_bps)

    run.world.every(QUEUE_EVERY_S, partial(look, run.world), start_s=START_S, until_s=end_s)
    return queues


@cache
def bulk_alone(bed: str, span_s: float, trace: int, flows: int) -> Saturated:
    """Nothing beside the bulk: several rows look at the same run."""
    return saturate(bed, span_s, trace=trace, flows=flows)


def _goodput(bed: str, span_s: float, flows: int) -> Figure:
    """B: the median of the five traces, the reference is the first one's; else the reference is wire bytes a byte."""
    if bed == "B":
        ratios = [bulk_alone(bed, span_s, trace, flows).goodput_ratio for trace in TRACE_NUMBERS]
        return Figure(value=median(ratios), reference=ratios[0])
    result = bulk_alone(bed, span_s, 1, flows)
    return Figure(value=result.goodput_ratio, reference=result.wire_ratio)


def _wire(bed: str, span_s: float) -> Figure:
    result = bulk_alone(bed, span_s, 1, 1)
    return Figure(value=result.wire_ratio, reference=result.goodput_ratio)


def _sos(bed: str, span_s: float) -> Figure:
    """B: over its five traces, of seconds without a hole; the reference is that of all seconds, else the median."""
    if bed == "B":
        runs = [saturate(bed, span_s, trace=trace, with_sos=True) for trace in TRACE_NUMBERS]
        return Figure(
            value=p99([each for run in runs for each in run.unbroken_excess_s]),
            reference=p99([each for run in runs for each in run.sos_excess_s]),
        )
    excess_s = saturate(bed, span_s, with_sos=True).sos_excess_s
    return Figure(value=p99(excess_s), reference=median(excess_s))


def _queue(bed: str, link: str, span_s: float, percent: int) -> Figure:
    """B: outside holes, the median of its five traces; the reference is the same with them, else the median wait."""
    if bed == "B":
        runs = [_waits_of_b(link, span_s, trace) for trace in TRACE_NUMBERS]
        value, reference = (median(_rank(each[at], percent) for each in runs) for at in (0, 1))
        return Figure(value=value, reference=reference)
    waits_s = bulk_alone(bed, span_s, 1, 1).queues_s[link]
    return Figure(value=_rank(waits_s, percent), reference=median(waits_s))


def _waits_of_b(name: str, span_s: float, trace: int) -> tuple[list[float], list[float]]:
    """What stood in a link of bed B at moments at which it had a chance to send within HOLE_S, and at all."""
    waits_s = bulk_alone("B", span_s, trace, 1).queues_s[name]
    link = next(each for each in links_of("B", trace) if each.name == name)
    holes = holes_of(link.profile.up, START_S + span_s, HOLE_S)
    times_s = (START_S + number * QUEUE_EVERY_S for number in range(len(waits_s)))
    outside_s = [wait_s for at_s, wait_s in zip(times_s, waits_s, strict=True) if not overlaps(holes, at_s, at_s)]
    return outside_s, waits_s


def _rank(values: list[float], percent: int) -> float:
    return sorted(values)[len(values) * percent // 100]


def rows(quick: bool) -> list[Bench]:
    """Goodput, bytes, SOS and queue of each bed; quick: 20 s in place of 30."""
    span_s = QUICK_SPAN_S if quick else SPAN_S
    return [
        *(_goodput_row(bed, flows, span_s) for bed in "ABC" for flows in (1, 10)),
        *(
            _row(
                f"sos_beside_bulk_{bed}",
                "s p99 beyond the one-way delay " + ("(in all seconds)" if bed == "B" else "(median)"),
                goal,
                partial(_sos, bed, span_s),
            )
            for bed, goal in SOS_GOAL_S.items()
        ),
        *(
            _row(f"wire_bytes_{bed}", "for each byte delivered (goodput)", goal, partial(_wire, bed, span_s))
            for bed, goal in WIRE_GOAL.items()
        ),
        *(
            _row(
                f"own_queue_{bed}_{link}_p{percent}",
                "s outside holes (holes too)" if bed == "B" else "s (median)",
                goal,
                partial(_queue, bed, link, span_s, percent),
            )
            for bed, link, percent, goal in QUEUE_GOAL_S
        ),
    ]


def _goodput_row(bed: str, flows: int, span_s: float) -> Bench:
    return Bench(
        name=f"goodput_{bed.lower()}" + ("_ten_flows" if flows > 1 else ""),
        group="links",
        repeats=Repeats.SEEDED,
        unit="of the sum" + (" (trace 1)" if bed == "B" else " (wire/app)"),
        goal=f">= {GOODPUT_GOAL[bed]}",
        measure=partial(_goodput, bed, span_s, flows),
    )


def _row(name: str, unit: str, most: float, measure: Callable[[], Figure]) -> Bench:
    return Bench(
        name=name.lower(), group="links", unit=unit, goal=f"<= {most:g}", measure=measure, repeats=Repeats.SEEDED
    )
