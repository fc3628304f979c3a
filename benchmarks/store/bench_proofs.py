"""The long proofs: 1,000 kills of real agents and 1,000 power cuts, and how many promises were broken."""

from dataclasses import asdict

from benchmarks.rows import Bench, Figure
from benchmarks.store.chunks import Outcome, go_on, source_digest
from edge_agent import loop as agent_loop
from tests.kills.storm import run_storm
from tests.powercut.proof import prove

KILLS_A_STORM = 25
CUTS_A_CHUNK = 50


def _storms(number: int) -> Figure:
    """Bundles lost or delivered twice; the reference is how many kills it took."""

    def run(seed: int) -> Outcome:
        return asdict(agent_loop.run(run_storm(seed, KILLS_A_STORM)))

    digest = source_digest("edge_agent", "transports/udp", "tests/kills")
    outcomes = go_on("kills", digest, range(1, number + 1), run)
    return Figure(
        value=sum(len(each["breaches"]) for each in outcomes), reference=sum(each["kills"] for each in outcomes)
    )


def _cuts(number: int) -> Figure:
    """Cuts after which a promise was broken; the reference is how many there were."""

    def run(seed: int) -> Outcome:
        return asdict(prove(seed, CUTS_A_CHUNK))

    digest = source_digest("edge_agent/core", "edge_agent/disk", "tests/powercut", "tests/disk")
    outcomes = go_on("powercut", digest, range(1, number + 1), run)
    return Figure(
        value=sum(len(each["breaches"]) for each in outcomes), reference=sum(each["cuts"] for each in outcomes)
    )


def rows(quick: bool) -> list[Bench]:
    """Two rows; quick: 50 kills and 50 cuts."""
    return [
        Bench(
            name="kills_broken_promises",
            group="store",
            unit="bundles lost or doubled (kills)",
            goal="== 0",
            measure=lambda: _storms(2 if quick else 40),
        ),
        Bench(
            name="power_cuts_broken_promises",
            group="store",
            unit="cuts with a broken promise (cuts)",
            goal="== 0",
            measure=lambda: _cuts(1 if quick else 20),
        ),
    ]
