"""The explorer's long proof: every promise of the core in 1,000 random worlds of ten minutes, and what that costs."""

from benchmarks.link_sim.explorer_proof import ExplorerProof
from benchmarks.rows import Bench, Repeats

WORLDS = ExplorerProof(seeds=1000, quick_seeds=40)


def rows(quick: bool) -> list[Bench]:
    """Three rows over one proof; quick: 40 seeds in place of 1,000."""
    return [
        Bench(
            name="explorer_failed_seeds",
            group="link-sim",
            repeats=Repeats.SAME,
            unit="seeds failed (of)",
            goal="== 0",
            measure=lambda: WORLDS.failures(quick=quick),
        ),
        Bench(
            name="explorer_least_deliveries",
            group="link-sim",
            repeats=Repeats.SAME,
            unit="bundles in a seed's 10 minutes (mean)",
            goal=">= 900",
            measure=lambda: WORLDS.deliveries(quick=quick),
        ),
        Bench(
            name="explorer_seeds",
            group="link-sim",
            repeats=Repeats.SAME,
            unit="min for 1,000 seeds on two cores (yardstick s)",
            goal="<= 20",
            measure=lambda: WORLDS.minutes(quick=quick),
        ),
    ]
