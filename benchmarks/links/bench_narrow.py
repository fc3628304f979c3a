"""An SOS beside bulk on a link of 9,600 bit/s that nobody described, in virtual time."""

from functools import partial
from statistics import median

from benchmarks.links.beds import SOS, BedRun, narrow
from benchmarks.percentiles import p99
from benchmarks.rows import Bench, Figure, Repeats
from edge_agent.core.bundle import Precedence
from edge_agent.core.contact import FRAGMENT_TIME_S

SOS_BYTES, SOS_EVERY_S = 200, 7.3
START_S, SPAN_S, QUICK_SPAN_S = 120.0, 800.0, 300.0
"""A link that nobody described gets its first frames at 256 kbit/s: its first minute is another matter."""
GOAL_S = 0.05


def _sos(span_s: float) -> Figure:
    """Beyond the way, its own wire time and the one fragment that may be in the link; the reference is the median."""
    link = narrow()
    run, end_s = BedRun([link], taps=True), START_S + span_s
    run.fill(end_s)
    world, raised = run.world, dict(run.made)
    world.every(SOS_EVERY_S, partial(run.submit, SOS, Precedence.FLASH, SOS_BYTES), start_s=START_S, until_s=end_s)
    world.run_until(end_s + 10.0)
    came, up = run.arrivals(), link.profile.up
    excess_s = [
        came.get(bundle, world.now_s)
        - at_s
        - up.delay_s
        - run.flashes.wire_bytes(bundle.sequence, up.overhead_bytes) * 8 / link.own_bps
        - FRAGMENT_TIME_S
        for bundle, at_s in run.made.items()
        if bundle not in raised
    ]
    return Figure(value=p99(excess_s), reference=median(excess_s))


def rows(quick: bool) -> list[Bench]:
    """One row; quick: 300 s in place of 800."""
    return [
        Bench(
            name="sos_beside_bulk_9600",
            group="links",
            repeats=Repeats.SEEDED,
            unit="s p99 beyond way, own frame and one fragment (median)",
            goal=f"<= {GOAL_S}",
            measure=partial(_sos, QUICK_SPAN_S if quick else SPAN_S),
        )
    ]
