"""Explorer: random worlds, one for each seed, each judged at every step; a failing seed replays exactly.

    python -m link_sim.judge.explorer --seed 7                      one seed, with its plan when it fails
    python -m link_sim.judge.explorer --seeds 1-1000 --jobs 2       a range; with --state FILE it goes on from there
    python -m link_sim.judge.explorer --seeds 1-200 --span 60       shorter worlds (their seeds are other worlds)
    python -m link_sim.judge.explorer --seeds 1-200 --links         worlds in which every fault of links falls at once

Exit status: 0 every seed held, 1 some did not, 2 usage.
"""

import argparse
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path

from edge_agent.core.errors import EdgeAgentError
from edge_agent.core.node import Node
from link_sim.judge.link_trial import LINKS_SPAN_S, LinkTrial
from link_sim.judge.trial import Trial
from link_sim.nodes.door import NodeMaker
from link_sim.nodes.ledger import BrokenPromiseError
from link_sim.nodes.store_disk import StoreFolder
from link_sim.nodes.world import WorldError

SPAN_S = 600.0
CHUNK_SEEDS = 20
"""Seeds whose outcome is written to the state file together."""


POOL_SEEDS = 2
"""Seeds handed to a process together."""


class ExplorerStateError(EdgeAgentError):
    """A state file belongs to another revision or span, or is not one; the message names the file and the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedOutcome:
    """What one seed came to. ``breach`` is empty when every promise held; ``cpu_s`` is no part of the digest."""

    seed: int
    span_s: float
    delivered: int
    frames: int
    steps: int
    faults: int
    restarts: int
    digest: str
    breach: str
    cpu_s: float

    def __str__(self) -> str:
        if self.breach:
            return f"seed {self.seed} FAILS: {self.breach}"
        return (
            f"seed {self.seed}: {self.delivered} delivered, {self.frames} frames, {self.steps} steps, "
            f"{self.faults} faults, {self.restarts} restarts, digest {self.digest}, {self.cpu_s:.2f} CPU s"
        )


STORE_EVERY = 10
"""Nodes of one seed in so many keep the agent's own store, on files, in place of a disk in memory."""


def explore(
    seed: int, *, span_s: float = SPAN_S, make_node: NodeMaker = Node, make_trial: type[Trial] = Trial
) -> SeedOutcome:
    """One seed from its beginning to its end. What a world forbids is a breach; any other error passes through."""
    if seed % STORE_EVERY == 0:
        with StoreFolder() as stores:
            return _judge(make_trial(seed, span_s, make_node, stores.make))
    return _judge(make_trial(seed, span_s, make_node))


def _judge(trial: Trial) -> SeedOutcome:
    before_s = time.process_time()
    breach = digest = ""
    try:
        digest = trial.run().digest
    except (BrokenPromiseError, WorldError) as error:
        breach = str(error)
    return SeedOutcome(
        seed=trial.seed,
        span_s=trial.span_s,
        delivered=trial.world.ledger.tally().delivered,
        frames=trial.checker.frames,
        steps=trial.checker.steps,
        faults=len(trial.faults),
        restarts=len(trial.restarts),
        digest=digest,
        breach=breach,
        cpu_s=time.process_time() - before_s,
    )


def first_breach(
    seeds: Sequence[int], *, span_s: float, make_node: NodeMaker, make_trial: type[Trial] = Trial
) -> SeedOutcome | None:
    """The first seed at which ``make_node`` breaks a promise; None when none of them does."""
    for seed in seeds:
        outcome = explore(seed, span_s=span_s, make_node=make_node, make_trial=make_trial)
        if outcome.breach:
            return outcome
    return None


def explore_all(
    seeds: Sequence[int], *, span_s: float = SPAN_S, jobs: int = 1, make_trial: type[Trial] = Trial
) -> Iterator[SeedOutcome]:
    """Every seed, in order, on ``jobs`` processes."""
    one: Callable[[int], SeedOutcome] = partial(explore, span_s=span_s, make_trial=make_trial)
    if jobs == 1:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(jobs, initializer=_end_with_parent) as pool:
        yield from pool.map(one, seeds, chunksize=POOL_SEEDS)


def _end_with_parent() -> None:
    """A worker of a pool waits for work for ever, also when its parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def digest_of(outcomes: Sequence[SeedOutcome]) -> str:
    """One digest over all seeds, in their order: equal inputs give an equal one on any machine."""
    whole = blake2b(digest_size=16)
    for outcome in sorted(outcomes, key=lambda each: each.seed):
        whole.update(f"{outcome.seed} {outcome.span_s:g} {outcome.digest or outcome.breach}\n".encode())
    return whole.hexdigest()


class StateFile:
    """Outcomes so far, JSON lines; the first line says which revision and span they belong to."""

    def __init__(self, path: Path, *, revision: str, span_s: float) -> None:
        self.path = path
        self._head = {"revision": revision, "span_s": span_s}

    def read(self) -> list[SeedOutcome]:
        """What earlier calls found; a last line without its end is removed. Raises ExplorerStateError."""
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        lines = text.splitlines()
        is_torn = len(lines) > 1 and not text.endswith("\n")
        if is_torn:
            lines.pop()
        outcomes = []
        for number, line in enumerate(lines, 1):
            try:
                table = json.loads(line)
                if number > 1:
                    outcomes.append(SeedOutcome(**table))
            except (ValueError, TypeError) as error:
                raise ExplorerStateError(f"{self.path}, line {number}: {line[:80]!r} is not an outcome") from error
            if number == 1 and table != self._head:
                raise ExplorerStateError(f"{self.path}, line 1: {table} is there, {self._head} is wanted; remove it")
        if is_torn:
            os.truncate(self.path, text.rfind("\n") + 1)
        return outcomes

    def add(self, outcomes: Sequence[SeedOutcome]) -> None:
        """Append, synced, so that whatever stops the run costs one chunk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [] if self.path.exists() else [json.dumps(self._head)]
        lines += [json.dumps(asdict(outcome)) for outcome in outcomes]
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())


def go_on(
    seeds: Sequence[int],
    state: StateFile,
    *,
    span_s: float,
    jobs: int,
    tell: Callable[[SeedOutcome], object],
    make_trial: type[Trial] = Trial,
) -> list[SeedOutcome]:
    """All of ``seeds``, those that ``state`` has already and those explored now, chunk by chunk."""
    known = {outcome.seed: outcome for outcome in state.read()}
    missing = [seed for seed in seeds if seed not in known]
    chunk: list[SeedOutcome] = []
    for outcome in explore_all(missing, span_s=span_s, jobs=jobs, make_trial=make_trial):
        tell(outcome)
        known[outcome.seed] = outcome
        chunk.append(outcome)
        if len(chunk) == CHUNK_SEEDS:
            state.add(chunk)
            chunk = []
    if chunk:
        state.add(chunk)
    return [known[seed] for seed in seeds]


def summary(outcomes: Sequence[SeedOutcome]) -> str:
    """One line on a range of seeds."""
    seeds = [outcome.seed for outcome in outcomes]
    failed = [str(outcome.seed) for outcome in outcomes if outcome.breach]
    return (
        f"{len(outcomes)} seeds {min(seeds)}-{max(seeds)} of {outcomes[0].span_s:g} s: {len(failed)} failed"
        f"{' (' + ', '.join(failed) + ')' if failed else ''}, {sum(each.delivered for each in outcomes)} delivered, "
        f"{sum(each.steps for each in outcomes)} steps checked, {sum(each.cpu_s for each in outcomes):.1f} CPU s, "
        f"digest {digest_of(outcomes)}"
    )


def seeds_from(text: str) -> range:
    """ "7" or "1-1000", both ends included. Raises ValueError."""
    first, _, last = text.partition("-")
    found = range(int(first), int(last or first) + 1)
    if not found or found.start < 0:
        raise ValueError(f"seeds {text!r}: allowed is N or FIRST-LAST")
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``explore``, for this module's own command line and for ``link-sim explore``."""
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--seed", type=seeds_from, dest="seeds", metavar="N", help="one seed, with its plan")
    chosen.add_argument("--seeds", type=seeds_from, dest="seeds", metavar="FIRST-LAST", help="a range of seeds")
    parser.add_argument("--links", action="store_true", help="short worlds in which every fault of links falls at once")
    parser.add_argument("--span", type=float, metavar="SECONDS", help="virtual time of a seed (600, with --links 60)")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--state", type=Path, metavar="FILE", help="outcomes so far; seeds in it are not run again")
    parser.add_argument("--revision", default="", help="what the state file must belong to")


def run(options: argparse.Namespace) -> int:
    """Explore as asked, a line a seed; gives the exit status."""
    make_trial = LinkTrial if options.links else Trial
    span_s: float = options.span or (LINKS_SPAN_S if options.links else SPAN_S)
    if options.state is None:
        outcomes = []
        for outcome in explore_all(options.seeds, span_s=span_s, jobs=options.jobs, make_trial=make_trial):
            _say(outcome)
            outcomes.append(outcome)
    else:
        state = StateFile(options.state, revision=options.revision, span_s=span_s)
        try:
            outcomes = go_on(options.seeds, state, span_s=span_s, jobs=options.jobs, tell=_say, make_trial=make_trial)
        except ExplorerStateError as error:
            sys.stderr.write(f"explorer: {error}\n")
            return 2
    if len(outcomes) == 1 and outcomes[0].breach:
        _say("\n".join(make_trial(outcomes[0].seed, span_s).story()))
    _say(summary(outcomes))
    return 1 if any(outcome.breach for outcome in outcomes) else 0


def _say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m link_sim.judge.explorer``."""
    parser = argparse.ArgumentParser(prog="python -m link_sim.judge.explorer", description="Random worlds, judged.")
    add_arguments(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
