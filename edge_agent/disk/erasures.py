"""Erasures: ends of custody gathered in memory and carried out by runs of numbers, some statements for each run."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from edge_agent.core.bundle import BundleId
from edge_agent.core.effects import Erase, EraseReason
from edge_agent.disk.ages import Ages
from edge_agent.disk.carried import Carried
from edge_agent.disk.counts import Counts
from edge_agent.disk.fates import Fates, join_via, state_of
from edge_agent.disk.removal import INLINE_BYTES, Removal
from edge_agent.disk.spans import ACCEPTED_SPREAD_MS, Ending, Run, runs_of
from edge_agent.disk.types import SEQUENCE_MAX

_RUN = "origin = ? AND precedence = ? AND sequence >= ? AND sequence < ? AND queue IS NOT NULL"
_IS_BODY = f"digest IS NULL AND payload_bytes > {INLINE_BYTES}"


@dataclass(slots=True)
class _Group:
    """Bundles of one origin and precedence that ended for one reason."""

    bundles: dict[int, BundleId] = field(default_factory=dict)
    via: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Erasures:
    """The writer's side; ``flush`` before any statement that reads bundles or fates, ``clear`` after a rollback."""

    database: sqlite3.Connection
    counts: Counts
    removal: Removal
    carried: Carried
    fates: Fates
    ages: Ages
    _groups: dict[tuple[int, int, EraseReason, str], _Group] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget what was gathered."""
        self._groups.clear()

    def add(self, origin: int, precedence: int, bundles: Iterable[BundleId], effect: Erase) -> None:
        """Gather ends of custody: bundles of one origin and precedence. No row has a number beyond SEQUENCE_MAX."""
        place = (origin, precedence, effect.reason, effect.peer)
        group = self._groups.get(place)
        if group is None:
            group = self._groups[place] = _Group()
        group.bundles.update({bundle.sequence: bundle for bundle in bundles if bundle.sequence < SEQUENCE_MAX})
        group.via.update(effect.via)

    def flush(self) -> None:
        """Carry out what was gathered."""
        groups, self._groups = self._groups, {}
        for (origin, precedence, reason, peer), group in groups.items():
            via = join_via(tuple(sorted(group.via)))
            for start, stop in runs_of(sorted(group.bundles)):
                run = Run(origin, precedence, start, stop)
                if not self._erase(run, reason, peer, via, group.bundles):
                    for part in list(self._whole_parts(run)):
                        self._erase(part, reason, peer, via, group.bundles)

    def _whole_parts(self, run: Run) -> Iterator[Run]:
        """The parts of a run all of whose rows wait, in one queue each."""
        found = self.database.execute(f"SELECT queue, sequence FROM bundles WHERE {_RUN} ORDER BY sequence", run)
        queues: dict[int, list[int]] = {}
        for queue, sequence in found:
            queues.setdefault(queue, []).append(sequence)
        for sequences in queues.values():
            for start, stop in runs_of(sequences):
                yield run._replace(start=start, stop=stop)

    def _erase(self, run: Run, reason: EraseReason, peer: str, via: str, bundles: dict[int, BundleId]) -> bool:
        """Erase a run whose rows all wait in one queue; False, and nothing done, when they do not."""
        execute = self.database.execute
        count, queue, last_queue, payload_bytes, least, most, first_ms, last_ms, files, bodies = execute(
            "SELECT count(*), min(queue), max(queue), sum(payload_bytes), min(payload_bytes), max(payload_bytes),"
            f" min(stored_ms), max(stored_ms), sum(digest IS NOT NULL), sum({_IS_BODY}) FROM bundles WHERE {_RUN}",
            run,
        ).fetchone()
        if count != run.stop - run.start or queue != last_queue:
            return False
        if files:
            found = execute(f"SELECT sequence, payload_bytes FROM bundles WHERE {_RUN} AND digest IS NOT NULL", run)
            for sequence, file_bytes in found:
                self.removal.files.append(bundles[sequence])
                self.counts.quota.drop_file(file_bytes)
        if bodies:
            execute(f"DELETE FROM bodies WHERE row IN (SELECT row FROM bundles WHERE {_RUN} AND {_IS_BODY})", run)
        ending = Ending(
            queue=queue,
            state=state_of(reason).code,
            payload_bytes=least if least == most else None,
            accepted_ms=first_ms if last_ms - first_ms <= ACCEPTED_SPREAD_MS else None,
            closed_ms=self.ages.now_ms(),
            delivered_ms=None,
            peer=peer,
            via=via,
        )
        self.fates.close_run(run, ending)
        if reason is EraseReason.SUPERSEDED:
            for sequence in range(run.start, run.stop):
                self.carried.give_up(bundles[sequence])
        execute(f"DELETE FROM bundles WHERE {_RUN}", run)
        self.counts.waiting(queue, run.precedence, -count, -payload_bytes)
        return True
