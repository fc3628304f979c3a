"""A link that dies without a word, in virtual time: how long live messages and bulk pause, and what watching costs."""

from functools import cache, partial
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from benchmarks import run_number
from benchmarks.links.beds import BULK, LIVE, BedLink, BedRun, links_of
from benchmarks.links.holes import holes_of, overlaps
from benchmarks.rows import Bench, Figure, Repeats
from edge_agent.core.bundle import Precedence

LIVE_BYTES, LIVE_EVERY_S = 200, 0.02
CUT_S = (11.0, 13.7, 16.4)
"""When the carrying link is cut; a world for each."""
AFTER_S = 4.0
BULK_BYTES = 4_000
HOLE_LEAST_S = 0.05
"""So long without a chance to send on the survivor and a message on it is late by no fault of ours."""
GAP_GOAL_S = {"A": 0.110, "B": 0.110, "C": 0.080}
BULK_GOAL_S = {"A": 0.5, "C": 0.2}
COST_SPAN_S = 30.0


def _live(links: list[BedLink], until_s: float) -> BedRun:
    """An IMMEDIATE message of 200 bytes each 20 ms from 3 s on."""
    run = BedRun(links)
    run.world.every(
        LIVE_EVERY_S, partial(run.submit, LIVE, Precedence.IMMEDIATE, LIVE_BYTES), start_s=3.0, until_s=until_s
    )
    return run


def whole(run: BedRun) -> None:
    """Nothing lost, nothing doubled."""
    run.world.audit()
    came = [each.bundle for each in run.world.deliveries]
    if len(came) != len(set(came)) or set(came) != set(run.made):
        raise AssertionError(
            f"{len(run.made)} messages were made, {len(came)} came, {len(set(came))} of them different"
        )


class Gap(NamedTuple):
    """The longest pause around a cut, beyond what the survivor's way is longer."""

    gap_s: float
    longer_s: float
    """What was taken off."""
    is_in_hole: bool
    """Whether the quickest survivor could not carry a message itself meanwhile."""


@cache
def gap(bed: str, trace: int, cut_s: float) -> Gap:
    run = _live(links_of(bed, trace), cut_s + AFTER_S)
    run.world.run_until(cut_s - 1.0)
    dead = run.carrying(1.0)
    run.world.cut(dead.name)
    run.world.run_until(cut_s + AFTER_S + 20.0)
    whole(run)
    at_s = sorted(t_s for t_s in run.arrivals().values() if cut_s - 0.1 <= t_s <= cut_s + 1.0)
    survivor = min((link for link in run.links if link is not dead), key=lambda link: link.profile.up.delay_s)
    longer_s = max(0.0, survivor.profile.up.delay_s - dead.profile.up.delay_s)
    sooner_s, later_s = max(pairwise(at_s), key=lambda pair: pair[1] - pair[0])
    holes = holes_of(survivor.profile.up, cut_s + AFTER_S, HOLE_LEAST_S)
    is_in_hole = overlaps(holes, sooner_s, later_s - survivor.profile.up.delay_s)
    return Gap(later_s - sooner_s - longer_s, longer_s, is_in_hole)


def _worst_gap(bed: str, traces: tuple[int, ...]) -> Figure:
    """Where the survivor was in no hole of its own; the reference is the median of all cuts."""
    gaps = [gap(bed, trace, cut_s) for trace in traces for cut_s in map(run_number.moment_s, CUT_S)]
    return Figure(
        value=max(each.gap_s for each in gaps if not each.is_in_hole), reference=median(each.gap_s for each in gaps)
    )


def _bulk_gap(bed: str) -> Figure:
    """The longest pause between two bundles after the first link is cut; the reference is that of delivery in order."""
    run, cut_s = BedRun(links_of(bed)), run_number.moment_s(6.0)
    for _ in range(6000):
        run.submit(BULK, Precedence.ROUTINE, BULK_BYTES)
    run.world.run_until(cut_s)
    run.world.cut(run.links[0].name)
    run.world.run_until(cut_s + AFTER_S)
    came, whole_s = run.arrivals(), 0.0
    in_order_s: list[float] = []
    for bundle in run.made:
        if bundle not in came:
            break
        whole_s = max(whole_s, came[bundle])
        in_order_s.append(whole_s)
    return Figure(value=_longest_s(sorted(came.values()), cut_s), reference=_longest_s(in_order_s, cut_s))


def _longest_s(times_s: list[float], cut_s: float) -> float:
    return max(later - sooner for sooner, later in pairwise(times_s) if sooner >= cut_s - 0.1)


def _cost() -> Figure:
    """Bytes of C with its watching, as a multiple of one link alone with its acknowledgements."""
    two, one = (_live(links_of("C")[:count], COST_SPAN_S) for count in (2, 1))
    for run in (two, one):
        run.world.run_until(COST_SPAN_S + 5.0)
        whole(run)
    return Figure(value=two.all_bytes() / one.all_bytes(), reference=one.all_bytes() / len(one.made))


def rows(quick: bool) -> list[Bench]:
    """Five rows; quick: one trace of B in place of five."""
    traces = {"A": (1,), "B": (1,) if quick else (1, 2, 3, 4, 5), "C": (1,)}
    benches = [
        Bench(
            name=f"silent_gap_{bed.lower()}",
            group="links",
            repeats=Repeats.SEEDED,
            unit="s beyond the longer way (median)",
            goal=f"<= {GAP_GOAL_S[bed]}",
            measure=partial(_worst_gap, bed, traces[bed]),
        )
        for bed in "ABC"
    ]
    benches += [
        Bench(
            name=f"silent_bulk_gap_{bed.lower()}",
            group="links",
            repeats=Repeats.SEEDED,
            unit="s without a bundle (in order)",
            goal=f"<= {BULK_GOAL_S[bed]}",
            measure=partial(_bulk_gap, bed),
        )
        for bed in "AC"
    ]
    benches.append(
        Bench(
            name="watching_bytes_c",
            group="links",
            repeats=Repeats.SEEDED,
            unit="of one link's (bytes a message)",
            goal="<= 1.35",
            measure=_cost,
        )
    )
    return benches
