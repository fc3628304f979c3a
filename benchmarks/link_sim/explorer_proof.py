"""A long proof by the explorer, seed by seed, and what it costs.

Outcomes are kept in ``build/explorer``, by the sources that made them, so that a run goes on where it was stopped.
"""

import sys
import time
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from benchmarks.rows import Figure
from benchmarks.yardstick import yardstick_cpu_s
from link_sim.judge.explorer import SPAN_S, SeedOutcome, StateFile, Trial, go_on, summary

ROOT = Path(__file__).parents[2]
CORES = 2
TELL_EVERY = 500
"""Seeds explored between two words on how far it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplorerProof:
    """Seeds 1 to ``seeds`` of one kind of world; ``quick_seeds`` of them where a run is to be short."""

    seeds: int
    quick_seeds: int
    name: str = ""
    span_s: float = SPAN_S
    make_trial: type[Trial] = Trial

    def failures(self, *, quick: bool) -> Figure:
        """Seeds that failed; the reference is how many there were."""
        outcomes = self._outcomes(quick=quick)
        return Figure(value=sum(bool(outcome.breach) for outcome in outcomes), reference=len(outcomes))

    def deliveries(self, *, quick: bool) -> Figure:
        """The fewest of any seed; the reference is the mean."""
        counts = [outcome.delivered for outcome in self._outcomes(quick=quick)]
        return Figure(value=min(counts), reference=sum(counts) / len(counts))

    def minutes(self, *, quick: bool) -> Figure:
        """CPU minutes that all seeds take on each of two cores; the reference is this run's yardstick, in CPU s."""
        outcomes = self._outcomes(quick=quick)
        cpu_s = sum(outcome.cpu_s for outcome in outcomes) / len(outcomes)
        return Figure(value=self.seeds * cpu_s / CORES / 60, reference=yardstick_cpu_s())

    def _outcomes(self, *, quick: bool) -> list[SeedOutcome]:
        """From the state file as far as they are in it; says range and digest on the way."""
        sources = source_digest()
        revision = f"{self.name} {sources}" if self.name else sources
        path = ROOT / f"build/explorer/{revision.replace(' ', '-')}.jsonl"
        outcomes = go_on(
            range(1, (self.quick_seeds if quick else self.seeds) + 1),
            StateFile(path, revision=revision, span_s=self.span_s),
            span_s=self.span_s,
            jobs=CORES,
            tell=_Progress(f" --{self.name}" if self.name else "").tell,
            make_trial=self.make_trial,
        )
        _say(f"explorer, {self.name or 'sources'} {sources}: {summary(outcomes)}")
        return outcomes


def source_digest() -> str:
    """What the outcome of a seed depends on: every source file of the core and of the simulator."""
    whole = blake2b(digest_size=8)
    for folder in ("edge_agent/core", "link_sim"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            whole.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return whole.hexdigest()


@dataclass(slots=True)
class _Progress:
    """Says how far a run is, and of a seed that failed how to look at it alone."""

    options: str
    began_s: float = field(default_factory=time.monotonic)
    explored: int = 0
    failed: int = 0

    def tell(self, outcome: SeedOutcome) -> None:
        self.explored += 1
        if outcome.breach:
            self.failed += 1
            _say(f"{outcome}\n  python -m link_sim.judge.explorer{self.options} --seed {outcome.seed}")
        if self.explored % TELL_EVERY == 0:
            minutes = (time.monotonic() - self.began_s) / 60
            _say(f"explorer: seed {outcome.seed}, {self.explored} explored in {minutes:.1f} min, {self.failed} failed")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
