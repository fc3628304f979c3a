"""The proof: a store at work, power cut at random points, and every promise looked for on what is left.

A run writes one journal; each of its cuts is another disk. The next run goes on from one of them.
"""

import asyncio
import itertools
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from structlog.testing import capture_logs

from edge_agent.core.errors import EdgeAgentError
from tests.disk.bench import Clock, opened
from tests.disk.promises import Promises
from tests.disk.victim import QUOTA_BYTES, ask_again, ask_once, work
from tests.powercut.cut import CutDisk, cut_power
from tests.powercut.journal import ROOT, Entry, Journal, Said
from tests.powercut.recorder import RecordingFileSystem, RestoredFileSystem

PROMISES_A_RUN = 200
CUTS_A_RUN = 10
RUNS_A_CHAIN = 3  # then a new store: looking for every promise of a long life takes long

Recorder = Callable[[Path, Mapping[Path, int], Journal], RecordingFileSystem]


@dataclass(slots=True)
class CutOutcome:
    """What many cuts came to. ``breaches`` name seed, cut and what was missing."""

    cuts: int = 0
    promises: int = 0
    unsynced: int = 0
    breaches: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Base:
    """Where a run begins: a disk, and what was promised of it."""

    disk: CutDisk
    promises: Promises
    nodes_used: int = 0


def prove(seed: int, cuts: int, recorder: Recorder = RecordingFileSystem, failing_ratio: float = 0.0) -> CutOutcome:
    """Make so many cuts, or fewer when promises are broken; each is looked at on a disk of its own.

    ``failing_ratio`` of the writes and syncs fail with an I/O error on the way.

    Not to be called inside a running loop.
    """
    rng, outcome, base = random.Random(seed), CutOutcome(), _new()
    run = 0
    with capture_logs():
        while outcome.cuts < cuts and not outcome.breaches:
            journal = _record(base, rng, recorder, failing_ratio)
            base = _cut_and_check(journal, base, rng, outcome, f"seed {seed}, run {run}", cuts)
            run += 1
            if run % RUNS_A_CHAIN == 0:
                base = _new()
    return outcome


def _new() -> _Base:
    return _Base(CutDisk({}, {ROOT: {}}), Promises())


def _record(base: _Base, rng: random.Random, recorder: Recorder, failing_ratio: float) -> Journal:
    """One run of the victim on the disk of ``base``, told entry by entry."""
    with tempfile.TemporaryDirectory(prefix="powercut-") as name:
        folder = Path(name)
        nodes = base.disk.lay_out(folder)
        journal = Journal(
            contents={node: bytes(content) for node, content in base.disk.contents.items()},
            names={each: dict(names) for each, names in base.disk.names.items()},
        )
        journal.start_above(base.nodes_used)
        files = recorder(folder, nodes, journal)
        try:
            asyncio.run(_work(folder, files, rng.randrange(1 << 30), failing_ratio))
        finally:
            files.close_vfs()
        return journal


async def _work(folder: Path, files: RecordingFileSystem, seed: int, failing_ratio: float) -> None:
    enough, said = asyncio.Event(), itertools.count(1)

    def say(*words: object) -> None:
        files.journal.note(Said(" ".join(map(str, words))))
        if next(said) == PROMISES_A_RUN:
            enough.set()

    async with opened(folder, quota_bytes=QUOTA_BYTES, clock=Clock(), file_system=files) as store:
        files.failing_ratio = failing_ratio
        ask = ask_again if failing_ratio else ask_once
        working = asyncio.create_task(work(store, random.Random(seed), say, ask), name="victim")
        waiting = asyncio.create_task(enough.wait(), name="enough")
        threads = asyncio.create_task(store.disk.watch(), name="threads")
        await asyncio.wait([working, waiting, threads], return_when=asyncio.FIRST_COMPLETED)
        files.failing_ratio = 0.0
        for each in (working, threads):
            if each.done():
                each.result()  # it ends by a defect only
            each.cancel()
        await asyncio.wait([working, threads])


def _cut_and_check(
    journal: Journal, base: _Base, rng: random.Random, outcome: CutOutcome, where: str, cuts: int
) -> _Base:
    """Cut at random points; gives back one of the disks and its promises to go on from."""
    points = _points(journal.entries, rng, min(CUTS_A_RUN, cuts - outcome.cuts))
    chosen, going_on = base, rng.choice(points)
    for at in points:
        disk = cut_power(journal, at, rng)
        promises = deepcopy(base.promises)
        outcome.cuts += 1
        outcome.promises += len(disk.promises)
        outcome.unsynced += disk.unsynced
        breach = _find_breach(disk, promises, journal)
        if breach:
            outcome.breaches.append(f"{where}, cut after {at} of {len(journal.entries)} entries: {breach}")
        if at == going_on:
            chosen = _Base(disk, promises, journal.new_node())
    return chosen


def _points(entries: list[Entry], rng: random.Random, number: int) -> list[int]:
    """Anywhere in the journal; half of them right after a promise, where a lie shows."""
    said = [at + 1 for at, entry in enumerate(entries) if isinstance(entry, Said)]
    return [rng.choice(said) if rng.random() < 0.5 else rng.randrange(said[0], len(entries) + 1) for _ in range(number)]


def _find_breach(disk: CutDisk, promises: Promises, journal: Journal) -> str:
    folder = Path(tempfile.mkdtemp(prefix="powercut-"))
    try:
        for line in disk.promises:
            promises.hear(line)
        after = Journal()
        after.start_above(journal.new_node())
        asyncio.run(_check(folder, RestoredFileSystem(folder, disk.lay_out(folder), after), promises))
    except (AssertionError, EdgeAgentError, LookupError, OSError, sqlite3.Error) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder)
    return ""


async def _check(folder: Path, files: RestoredFileSystem, promises: Promises) -> None:
    async with opened(folder, quota_bytes=QUOTA_BYTES, clock=Clock(), file_system=files) as store:
        assert store.disk.report().set_aside is None, "the database counts as damaged"
        await promises.check(store)
