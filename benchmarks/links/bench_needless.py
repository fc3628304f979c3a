"""What is sent that need not be, in virtual time: on a link that holds everything for seconds, and on bed B by load."""

from dataclasses import replace
from functools import partial

from benchmarks.links.beds import BULK, KIT, BedLink, BedRun, links_of
from benchmarks.rows import Bench, Figure, Repeats
from edge_agent.core.bundle import Precedence
from edge_agent.core.effects import LinkState
from link_sim.profiles import PathProfile, profile

START_S, DRAIN_S = 2.0, 40.0
BUNDLE_BYTES, BED_BUNDLE_BYTES = 4_000, 65_536
WEAK = "5g-rural-weak"
WEAK_SPAN_S = 130.0
"""All of its trace once: 128 s."""
WEAK_LOADS = (0.1, 0.5)
WEAK_GOAL_RATIO = 0.05
BED_SPAN_S, QUICK_BED_SPAN_S = 60.0, 25.0
BED_LOADS = (0.1, 0.3, 0.6, 0.85, 1.0)
LOAD, LOAD_GOAL, MOST_GOAL = 0.85, 1.12, 1.3


def _loaded(links: list[BedLink], load_bps: float, span_s: float, bundle_bytes: int) -> BedRun:
    """Bundles at equal times, and time for the last of them; all arrive."""
    run = BedRun(links)
    submit = partial(run.submit, BULK, Precedence.ROUTINE, bundle_bytes)
    end_s = START_S + span_s
    run.world.every(bundle_bytes * 8 / load_bps, submit, start_s=START_S, until_s=end_s)
    run.world.run_until(end_s + DRAIN_S)
    return run


def _weak_resent(load: float) -> tuple[float, int]:
    """What more is sent than over the same link without its trace, and how often it counted as dead at the kit."""
    path = profile(WEAK)
    clear = PathProfile(name=path.name, up=replace(path.up, trace=None), down=replace(path.down, trace=None))
    rate_bps = path.up.rate_bps
    assert rate_bps is not None
    weak, usual = (
        _loaded([BedLink(each, rate_bps)], load * rate_bps, WEAK_SPAN_S, BUNDLE_BYTES) for each in (path, clear)
    )
    for run in (weak, usual):
        run.world.audit()
        if len(run.arrivals()) != len(run.made):
            raise AssertionError(f"{len(run.made)} bundles were made, {len(run.arrivals())} came")
    downs = sum(change.state is LinkState.DOWN and change.peer != KIT for _, change in weak.world.link_changes)
    return sum(weak.sent_bytes().values()) / sum(usual.sent_bytes().values()) - 1, downs


def _rural_weak() -> Figure:
    found = [_weak_resent(load) for load in WEAK_LOADS]
    return Figure(value=max(ratio for ratio, _ in found), reference=max(downs for _, downs in found))


def _wire_ratio(load: float, span_s: float) -> float:
    """Wire bytes of both sides for each byte delivered on bed B at a share of all its links."""
    links = links_of("B")
    capacity_bps = sum(link.capacity_bytes(START_S, START_S + span_s) for link in links) * 8 / span_s
    run = _loaded(links, load * capacity_bps, span_s, BED_BUNDLE_BYTES)
    payload_bytes = sum(each.record.payload_bytes for each in run.world.deliveries)
    return run.all_bytes() / payload_bytes


def _wire(span_s: float) -> Figure:
    return Figure(value=_wire_ratio(LOAD, span_s))


def _most_wire(span_s: float) -> Figure:
    found = {load: _wire_ratio(load, span_s) for load in BED_LOADS}
    worst = max(found, key=found.__getitem__)
    return Figure(value=found[worst], reference=worst)


def rows(quick: bool) -> list[Bench]:
    """Three rows; quick: 25 s of bed B in place of 60."""
    span_s = QUICK_BED_SPAN_S if quick else BED_SPAN_S
    return [
        Bench(
            name="rural_weak_resends",
            group="links",
            repeats=Repeats.SEEDED,
            unit="sent again (times down)",
            goal=f"<= {WEAK_GOAL_RATIO}",
            measure=_rural_weak,
        ),
        Bench(
            name="wire_bytes_b_load_85",
            group="links",
            repeats=Repeats.SEEDED,
            unit="for each byte delivered",
            goal=f"<= {LOAD_GOAL}",
            measure=partial(_wire, span_s),
        ),
        Bench(
            name="wire_bytes_b_any_load",
            group="links",
            repeats=Repeats.SEEDED,
            unit="for each byte delivered (at load)",
            goal=f"<= {MOST_GOAL}",
            measure=partial(_most_wire, span_s),
        ),
    ]
