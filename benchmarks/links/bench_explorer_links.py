"""The explorer's proof of links: 10,000 short worlds in which every fault of links falls at once, and their cost."""

from benchmarks.link_sim.explorer_proof import ExplorerProof
from benchmarks.rows import Bench, Repeats
from link_sim.judge.link_trial import LINKS_SPAN_S, LinkTrial

WORLDS = ExplorerProof(seeds=10_000, quick_seeds=60, name="links", span_s=LINKS_SPAN_S, make_trial=LinkTrial)


def rows(quick: bool) -> list[Bench]:
    """Two rows over one proof; quick: 60 seeds in place of 10,000."""
    return [
        Bench(
            name="explorer_links_failed_seeds",
            group="links",
            repeats=Repeats.SAME,
            unit="seeds failed (of)",
            goal="== 0",
            measure=lambda: WORLDS.failures(quick=quick),
        ),
        Bench(
            name="explorer_links_seeds",
            group="links",
            repeats=Repeats.SAME,
            unit="min for 10,000 seeds on two cores (yardstick s)",
            goal="<= 40",
            measure=lambda: WORLDS.minutes(quick=quick),
        ),
    ]
