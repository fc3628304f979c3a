"""The explorer's long proof: every promise of the core in 1,000 random worlds of ten minutes, and what that costs.

Outcomes are kept in ``build/explorer``, by the sources that made them, so that a run goes on where it was stopped.
"""

import sys
from hashlib import blake2b
from pathlib import Path

from benchmarks.rows import Bench, Figure
from benchmarks.yardstick import yardstick_cpu_s
from link_sim.judge.explorer import SPAN_S, SeedOutcome, StateFile, go_on, summary

ROOT = Path(__file__).parents[2]
SEEDS, QUICK_SEEDS = 1000, 40
CORES = 2


def source_digest() -> str:
    """What the outcome of a seed depends on: every source file of the core and of the simulator."""
    whole = blake2b(digest_size=8)
    for folder in ("edge_agent/core", "link_sim"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            whole.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return whole.hexdigest()


def _proof(seeds: int) -> list[SeedOutcome]:
    """Seeds 1 to ``seeds``, from the state file as far as they are in it; says range and digest on the way."""
    revision = source_digest()
    state = StateFile(ROOT / f"build/explorer/{revision}.jsonl", revision=revision, span_s=SPAN_S)
    outcomes = go_on(range(1, seeds + 1), state, span_s=SPAN_S, jobs=CORES, tell=_tell_failure)
    sys.stdout.write(f"explorer, sources {revision}: {summary(outcomes)}\n")
    return outcomes


def _tell_failure(outcome: SeedOutcome) -> None:
    if outcome.breach:
        sys.stdout.write(f"{outcome}\n")


def _failures(seeds: int) -> Figure:
    outcomes = _proof(seeds)
    return Figure(value=sum(bool(outcome.breach) for outcome in outcomes), reference=len(outcomes))


def _deliveries(seeds: int) -> Figure:
    """The fewest of any seed; the reference is the mean."""
    counts = [outcome.delivered for outcome in _proof(seeds)]
    return Figure(value=min(counts), reference=sum(counts) / len(counts))


def _minutes(seeds: int) -> Figure:
    """CPU minutes that 1,000 seeds take on each of two cores; the reference is the yardstick of this run, in CPU s."""
    outcomes = _proof(seeds)
    cpu_s = sum(outcome.cpu_s for outcome in outcomes) / len(outcomes)
    return Figure(value=SEEDS * cpu_s / CORES / 60, reference=yardstick_cpu_s())


def rows(quick: bool) -> list[Bench]:
    """Three rows over one proof; quick: 40 seeds in place of 1,000."""
    seeds = QUICK_SEEDS if quick else SEEDS
    return [
        Bench(
            name="explorer_failed_seeds",
            group="link-sim",
            unit="seeds failed (of)",
            goal="== 0",
            measure=lambda: _failures(seeds),
        ),
        Bench(
            name="explorer_least_deliveries",
            group="link-sim",
            unit="bundles in a seed's 10 minutes (mean)",
            goal=">= 900",
            measure=lambda: _deliveries(seeds),
        ),
        Bench(
            name="explorer_seeds",
            group="link-sim",
            unit="min for 1,000 seeds on two cores (yardstick s)",
            goal="<= 20",
            measure=lambda: _minutes(seeds),
        ),
    ]
