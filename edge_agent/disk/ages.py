"""Ages over restarts, and what the stamps of a clock are worth that was set or changed meanwhile.

Inside one boot CLOCK_BOOTTIME gives the elapsed time exactly. Over a boot the lower bound gains only the time the store
is known to have run, the upper one also what the wall clock says of the gap. It says something only where both boots
had it set (a kit without a battery boots in 1970) and it did not go back; else the gap may be as long as any lifetime:
nothing expires by it, for data expires by the lower bound, and an order of such age waits for a person.

A boot is kept as stretches in which the wall clock ran evenly: a new one begins when somebody sets it. Which of two
settings was right nobody knows, so a gap is as long as the worst pair of them makes it. What was stamped before the
clock was first set is told by what the clock says since: both are seconds of one boot.
"""

import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from edge_agent.core.bundle import CLOCK_FLOOR_MS, LIFETIME_MAX_S
from edge_agent.disk.types import ClockState, DiskClock

UNKNOWN_GAP_S = float(LIFETIME_MAX_S)
BEAT_S = 1.0  # by so much less than true is the running time that a lower bound gains over a boot
STEP_MS = 1_000.0
DRIFT_RATIO = 0.001  # time keepers turn a clock by at most 500 ppm (adjtimex(2)); more is a step
STRETCHES_MAX = 16
"""Stretches kept of one boot: a clock that is set more often than that says nothing of any gap."""
RESTLESS_MS = -1
"""In place of the UTC of a stretch: the clock was set too often."""
UNSET_SPACING_MS = 60_000
"""Stamps of a clock that nobody set begin this far beyond those of the last boot: none is of two boots."""


class Aged(NamedTuple):
    """The age bounds of a record at ``as_of_s`` of the node's clock."""

    as_of_s: float
    age_low_s: float
    age_high_s: float


class Moment(NamedTuple):
    """A time of one boot of this machine, which no setting of a clock changes."""

    boot_id: str
    boottime_s: float


class Elapsed(NamedTuple):
    """How long something is ago, at least and at most."""

    low_s: float
    high_s: float


class Stretch(NamedTuple):
    """Time of one boot in which the store was open and the wall clock ran evenly: seconds of that boot, and UTC ms.

    Below CLOCK_FLOOR_MS nobody had set the clock, and the milliseconds are a count of ours.
    """

    number: int
    boot_id: str
    first_s: float
    last_s: float
    first_wall_ms: int
    last_wall_ms: int

    @property
    def is_set(self) -> bool:
        """Whether the clock had been set."""
        return self.last_wall_ms >= CLOCK_FLOOR_MS

    def wall_ms(self, boottime_s: float) -> int:
        """UTC at a time of its boot, also outside of it, as its clock began."""
        return self.first_wall_ms + round((boottime_s - self.first_s) * 1000)

    def until(self, boottime_s: float, wall_ms: int) -> "Stretch":
        """The same, longer. One in which the clock is not set counts by itself."""
        if self.last_wall_ms == RESTLESS_MS:
            return self._replace(last_s=boottime_s)
        return self._replace(last_s=boottime_s, last_wall_ms=wall_ms if self.is_set else self.wall_ms(boottime_s))

    def is_followed_by(self, boottime_s: float, wall_ms: int) -> bool:
        """Whether a reading of both clocks belongs to it."""
        if self.last_wall_ms == RESTLESS_MS:
            return True
        if not self.is_set or wall_ms < CLOCK_FLOOR_MS:
            return self.is_set == (wall_ms >= CLOCK_FLOOR_MS)
        elapsed_ms = (boottime_s - self.last_s) * 1000
        return abs(wall_ms - self.last_wall_ms - elapsed_ms) <= STEP_MS + DRIFT_RATIO * elapsed_ms


class _Boot(NamedTuple):
    """All stretches of a boot: when it was first and last open by its own clock, and what UTC may have been then.

    None: its wall clock says nothing.
    """

    numbers: list[int]
    first_s: float
    last_s: float
    latest_first_ms: float | None
    earliest_last_ms: float | None


@dataclass(slots=True)
class Ages:
    """Converts between the node's clock and the boots of the store. Changed by ``beat`` alone."""

    clock: DiskClock
    offset_s: float
    """The node's clock minus the boot's clock."""
    stretches: tuple[Stretch, ...]
    """Oldest first; the last one is that of now."""
    _open_s: float
    _older: dict[int, tuple[float, float]] = field(init=False)
    """Stretch of another boot -> (what to add to -as_of_s for the elapsed lower bound at open, how much more the upper
    one is)."""
    _beaten_s: float = -math.inf

    def __post_init__(self) -> None:
        self._older = self._look_back()

    @property
    def boot(self) -> int:
        """The number of this stretch, which names the boot in rows."""
        return self.stretches[-1].number

    def is_clock_even(self) -> bool:
        """Whether the wall clock goes on as it did at the last beat."""
        return self.stretches[-1].is_followed_by(self.clock.boottime_s(), self.clock.wall_ms())

    def clock_state(self) -> ClockState:
        """What became of the wall clock in this boot, as of the last beat."""
        *earlier, last = (each for each in self.stretches if each.boot_id == self.clock.boot_id)
        before = earlier[-1] if earlier else None
        step_ms = None
        if before is not None and before.is_set and last.is_set:
            step_ms = last.first_wall_ms - before.wall_ms(last.first_s)
        return ClockState(
            is_set=last.is_set,
            settings=len(earlier),
            step_s=None if step_ms is None else step_ms / 1000,
            settled_ago_s=None if before is None else self.clock.boottime_s() - last.first_s,
        )

    def now_ms(self) -> int:
        """UTC ms by the wall clock. Where that was set in this boot and then lost, UTC goes on by the boot's clock;
        where it never was, it is a count below CLOCK_FLOOR_MS that ``told_ms`` understands later.
        """
        wall_ms = self.clock.wall_ms()
        if wall_ms >= CLOCK_FLOOR_MS:
            return wall_ms
        mine = [each for each in self.stretches if each.boot_id == self.clock.boot_id]
        right = next((each for each in reversed(mine) if each.is_set), mine[-1])
        return right.wall_ms(self.clock.boottime_s())

    def told_ms(self, stamp_ms: int) -> int:
        """A stamp of ``now_ms``, put right if the clock was set later in that boot; else as it is."""
        if not 0 < stamp_ms < CLOCK_FLOOR_MS:
            return stamp_ms
        stretches = self.stretches
        for at, taken in enumerate(stretches):
            if not taken.is_set and taken.first_wall_ms <= stamp_ms <= taken.last_wall_ms:
                later = (each for each in stretches[at:] if each.is_set and each.boot_id == taken.boot_id)
                set_later = next(later, taken)
                return set_later.wall_ms(taken.first_s + (stamp_ms - taken.first_wall_ms) / 1000)
        return stamp_ms

    @property
    def open_s(self) -> float:
        """When the store was opened, of the boot's clock."""
        return self._open_s

    def boot_time(self, now_s: float) -> float:
        """A time of the node's clock on the boot's clock."""
        return now_s - self.offset_s

    def read(self, boot: int, as_of_boot_s: float, age_low_s: float, age_high_s: float) -> Aged:
        """The age bounds of a stored row."""
        older = self._older.get(boot)
        if older is None:
            return Aged(as_of_boot_s + self.offset_s, age_low_s, age_high_s)
        low_base_s, gaps_s = older
        elapsed_s = max(0.0, low_base_s - as_of_boot_s)
        return Aged(self._open_s + self.offset_s, age_low_s + elapsed_s, age_high_s + elapsed_s + gaps_s)

    def moment(self) -> Moment:
        """Now."""
        return Moment(self.clock.boot_id, self.clock.boottime_s())

    def elapsed(self, since: Moment) -> Elapsed:
        """How long ago that was. Of a boot that the store does not know: anything."""
        now_s = self.clock.boottime_s()
        if since.boot_id == self.clock.boot_id:
            return Elapsed(now_s - since.boottime_s, now_s - since.boottime_s)
        number = next((each.number for each in reversed(self.stretches) if each.boot_id == since.boot_id), None)
        if number is None:
            return Elapsed(0.0, UNKNOWN_GAP_S)
        low_base_s, gaps_s = self._older[number]
        low_s = max(0.0, low_base_s - since.boottime_s) + now_s - self._open_s
        return Elapsed(low_s, low_s + gaps_s)

    def beat(self, database: sqlite3.Connection) -> None:
        """Note that the store runs now, and whether the clock was set; part of a commit.

        Writes at most once in BEAT_S, unless the clock was set.
        """
        now_s, wall_ms = self.clock.boottime_s(), self.clock.wall_ms()
        current = self.stretches[-1]
        is_even = current.is_followed_by(now_s, wall_ms)
        if is_even and now_s - self._beaten_s < BEAT_S:
            return
        self._beaten_s = now_s
        changed = _continued(self.stretches, self.clock.boot_id, now_s, wall_ms)
        for each in changed[-2:]:  # the one before as well, because a commit that was rolled back may have begun this
            database.execute("INSERT OR REPLACE INTO boots VALUES (?, ?, ?, ?, ?, ?)", each)
        self.stretches = changed
        if not is_even:
            self._older = self._look_back()

    def beat_again(self) -> None:
        """The commit of the last beat was rolled back."""
        self._beaten_s = -math.inf

    def _look_back(self) -> dict[int, tuple[float, float]]:
        """What lies between each stretch of earlier boots and the opening of the store in this one."""
        *earlier, later = _boots(self.stretches)
        run_s, gaps_s = self._open_s - later.first_s, 0.0
        older: dict[int, tuple[float, float]] = {}
        for boot in reversed(earlier):
            gaps_s += _gap_s(boot, later)
            older.update(dict.fromkeys(boot.numbers, (boot.last_s + run_s, gaps_s)))
            run_s += boot.last_s - boot.first_s
            later = boot
        return older


def _boots(stretches: tuple[Stretch, ...]) -> Iterator[_Boot]:
    for _, group in groupby(stretches, key=lambda each: each.boot_id):
        parts = list(group)
        first_s, last_s = parts[0].first_s, parts[-1].last_s
        says_nothing = any(each.last_wall_ms == RESTLESS_MS for each in parts)
        told = [] if says_nothing else [each.last_wall_ms - each.last_s * 1000 for each in parts if each.is_set]
        yield _Boot(
            [each.number for each in parts],
            first_s,
            last_s,
            max(told) + first_s * 1000 if told else None,
            min(told) + last_s * 1000 if told else None,
        )


def _gap_s(earlier: _Boot, later: _Boot) -> float:
    """How long the machine was off at most."""
    began_ms, ended_ms = later.latest_first_ms, earlier.earliest_last_ms
    if began_ms is None or ended_ms is None or began_ms < ended_ms:
        return UNKNOWN_GAP_S
    return (began_ms - ended_ms) / 1000


def _continued(stretches: tuple[Stretch, ...], boot_id: str, now_s: float, wall_ms: int) -> tuple[Stretch, ...]:
    """The stretches with a reading of both clocks: the last one goes on to it, or a new one begins."""
    last = stretches[-1] if stretches else None
    is_same_boot = last is not None and last.boot_id == boot_id
    if last is not None and is_same_boot:
        if last.is_followed_by(now_s, wall_ms):
            return (*stretches[:-1], last.until(now_s, wall_ms))
        if sum(each.boot_id == boot_id for each in stretches) >= STRETCHES_MAX:
            return (*stretches[:-1], last._replace(last_s=now_s, last_wall_ms=RESTLESS_MS))
        if not last.is_set:  # its own count goes on up to the moment the clock was set
            stretches = (*stretches[:-1], last.until(now_s, 0))
    if wall_ms < CLOCK_FLOOR_MS:
        counted_ms = max((each.last_wall_ms for each in stretches if not each.is_set), default=-UNSET_SPACING_MS)
        wall_ms = max(wall_ms, counted_ms + UNSET_SPACING_MS)
    number = 1 if last is None else last.number + 1
    return (*stretches, Stretch(number, boot_id, now_s, now_s, wall_ms, wall_ms))


def open_ages(database: sqlite3.Connection, clock: DiskClock, now_s: float) -> Ages:
    """Note this boot in the store and work out what lies between it and each earlier one."""
    open_s = clock.boottime_s()
    found = database.execute(
        "SELECT boot, boot_id, first_s, last_s, first_wall_ms, last_wall_ms FROM boots ORDER BY boot"
    )
    stretches = _continued(tuple(Stretch(*row) for row in found), clock.boot_id, open_s, clock.wall_ms())
    for each in stretches[-2:]:
        database.execute("INSERT OR REPLACE INTO boots VALUES (?, ?, ?, ?, ?, ?)", each)
    return Ages(clock, now_s - open_s, stretches, open_s)
