"""Messages of a protected flow while the link that carries them dies without a word, in virtual time.

The bound is what each message on each link would have come to: for each link a world of its own that has no other,
with the same numbers, seed and cut; of each message the first copy counts.
"""

from collections.abc import Iterable
from functools import partial
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from benchmarks import run_number
from benchmarks.links import bench_silent
from benchmarks.links.beds import LIVE, PROTECTED, BedLink, BedRun, links_of
from benchmarks.links.bench_silent import AFTER_S, CUT_S, GAP_GOAL_S, LIVE_BYTES, LIVE_EVERY_S, whole
from benchmarks.rows import Bench, Figure, Repeats
from edge_agent.core.bundle import BundleHeader, Precedence

BEGIN_S = 3.0
GAP_MARGIN_S = 0.01
"""What a gap may be longer than the bound of the same run."""
COST_SPAN_S = 30.0
SETTLE_S = 20.0


class Gap(NamedTuple):
    """The longest pause around a cut, and that of each message on each link."""

    gap_s: float
    bound_s: float


def run_live(links: list[BedLink], header: BundleHeader, until_s: float) -> BedRun:
    """An IMMEDIATE message of 200 bytes each 20 ms from 3 s on."""
    run = BedRun(links)
    run.world.every(
        LIVE_EVERY_S, partial(run.submit, header, Precedence.IMMEDIATE, LIVE_BYTES), start_s=BEGIN_S, until_s=until_s
    )
    return run


def gap(bed: str, trace: int, cut_s: float) -> Gap:
    """Cut the carrying link at ``cut_s`` and look from just before to a second later. Raises AssertionError."""
    run = run_live(links_of(bed, trace), PROTECTED, cut_s + AFTER_S)
    run.world.run_until(cut_s - 1.0)
    dead = run.carrying(1.0)
    run.world.cut(dead.name)
    run.world.run_until(cut_s + AFTER_S + SETTLE_S)
    whole(run)
    return Gap(longest_s(run.arrivals().values(), cut_s), longest_s(_on_each(run.links, dead, cut_s), cut_s))


def _on_each(links: list[BedLink], dead: BedLink, cut_s: float) -> Iterable[float]:
    """When each message came if all links had carried all of them."""
    first: dict[int, float] = {}
    for link in links:
        run = run_live([link], PROTECTED, cut_s + AFTER_S)
        run.world.run_until(cut_s)
        if link is dead:
            run.world.cut(link.name)
        run.world.run_until(cut_s + AFTER_S)
        came = run.arrivals()
        for number, bundle in enumerate(run.made):
            if bundle in came:
                first[number] = min(came[bundle], first.get(number, came[bundle]))
    return first.values()


def longest_s(times_s: Iterable[float], cut_s: float) -> float:
    """The longest pause between two messages from just before a cut to a second after it."""
    near_s = sorted(t_s for t_s in times_s if cut_s - 0.1 <= t_s <= cut_s + 1.0)
    return max(later - sooner for sooner, later in pairwise(near_s))


def _gaps(bed: str, traces: tuple[int, ...]) -> list[Gap]:
    return [gap(bed, trace, cut_s) for trace in traces for cut_s in map(run_number.moment_s, CUT_S)]


def _worst(bed: str, traces: tuple[int, ...]) -> Figure:
    """The longest gap of all cuts beyond the longest one of the bound: losses fall on other messages there."""
    gaps = _gaps(bed, traces)
    bound_s = max(each.bound_s for each in gaps)
    return Figure(value=max(each.gap_s for each in gaps) - bound_s, reference=bound_s)


def _usual(bed: str, traces: tuple[int, ...]) -> Figure:
    """The median gap beyond the median bound."""
    gaps = _gaps(bed, traces)
    bound_s = median(each.bound_s for each in gaps)
    return Figure(value=median(each.gap_s for each in gaps) - bound_s, reference=bound_s)


def _unprotected(traces: tuple[int, ...]) -> Figure:
    """Without 1+1 in any second of B, holes of the survivor too; the reference is the bound at the worst cut."""
    gaps = {
        (trace, cut_s): bench_silent.gap("B", trace, cut_s)
        for trace in traces
        for cut_s in map(run_number.moment_s, CUT_S)
    }
    worst = max(gaps, key=lambda cut: gaps[cut].gap_s)
    return Figure(value=gaps[worst].gap_s, reference=gap("B", *worst).bound_s - gaps[worst].longer_s)


def _cost(bed: str) -> Figure:
    """Bytes of a bed with a protected flow, as a multiple of the first link alone with its acknowledgements."""
    links = links_of(bed)
    doubled, single, alone = (
        run_live(links, PROTECTED, COST_SPAN_S),
        run_live(links, LIVE, COST_SPAN_S),
        run_live(links[:1], LIVE, COST_SPAN_S),
    )
    for run in (doubled, single, alone):
        run.world.run_until(COST_SPAN_S + SETTLE_S)
        whole(run)
    return Figure(value=doubled.all_bytes() / alone.all_bytes(), reference=single.all_bytes() / alone.all_bytes())


def rows(quick: bool) -> list[Bench]:
    """Six rows; quick: one trace of B in place of five."""
    traces = {"A": (1,), "B": (1,) if quick else (1, 2, 3, 4, 5), "C": (1,)}
    unit = "s beyond every message on every link (which)"
    goal = f"<= {GAP_MARGIN_S}"
    return [
        *(
            Bench(
                name=f"protected_gap_{bed.lower()}",
                group="links",
                repeats=Repeats.SEEDED,
                unit=unit,
                goal=goal,
                measure=partial(_worst, bed, traces[bed]),
            )
            for bed in "ABC"
        ),
        Bench(
            name="protected_gap_b_median",
            group="links",
            repeats=Repeats.SEEDED,
            unit=unit,
            goal=goal,
            measure=partial(_usual, "B", traces["B"]),
        ),
        Bench(
            name="silent_gap_b_any_second",
            group="links",
            repeats=Repeats.SEEDED,
            unit="s beyond the longer way (every message on every link)",
            goal=f"<= {GAP_GOAL_S['B']}",
            measure=partial(_unprotected, traces["B"]),
        ),
        Bench(
            name="protected_bytes_c",
            group="links",
            repeats=Repeats.SEEDED,
            unit="of one link's (unprotected)",
            goal="<= 2.7",
            measure=partial(_cost, "C"),
        ),
    ]
