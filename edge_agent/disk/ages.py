"""Ages over restarts: what a bundle's two age bounds are when it is read again, in this boot or after another.

Inside one boot CLOCK_BOOTTIME gives the elapsed time exactly. Over a boot the lower bound gains only the time the store
is known to have run, the upper one also what the wall clock says of the gap. It says something only where both boots
had it set (a kit without a battery boots in 1970) and it did not go back; else the gap may be as long as any lifetime:
nothing expires by it, for data expires by the lower bound, and an order of such age waits for a person.
"""

import math
import sqlite3
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.core.bundle import LIFETIME_MAX_S
from edge_agent.disk.types import DiskClock

CLOCK_FLOOR_MS = 1_735_689_600_000  # 2025-01-01: before this software was written no clock was right
UNKNOWN_GAP_S = float(LIFETIME_MAX_S)
BEAT_S = 1.0  # by so much less than true is the running time that a lower bound gains over a boot


class Aged(NamedTuple):
    """The age bounds of a record at ``as_of_s`` of the node's clock."""

    as_of_s: float
    age_low_s: float
    age_high_s: float


class Boot(NamedTuple):
    """One boot of the machine in which the store was open: seconds of that boot, and UTC ms."""

    boot: int
    boot_id: str
    first_s: float
    last_s: float
    first_wall_ms: int
    last_wall_ms: int

    def began_wall_ms(self) -> int | None:
        """UTC when it was first open in this boot; None: the clock was never set in it."""
        if self.last_wall_ms < CLOCK_FLOOR_MS:
            return None
        if self.first_wall_ms >= CLOCK_FLOOR_MS:
            return self.first_wall_ms
        return self.last_wall_ms - round((self.last_s - self.first_s) * 1000)  # it was set later: count back from then


@dataclass(slots=True)
class Ages:
    """Converts between the node's clock and the boots of the store. Changed by ``beat`` alone."""

    clock: DiskClock
    offset_s: float
    """The node's clock minus the boot's clock."""
    boots: list[Boot]
    """Oldest first; the last one is this boot, as it was at open."""
    _open_s: float
    _older: dict[int, tuple[float, float]] = field(init=False)
    """Boot -> (what to add to -as_of_s for the elapsed lower bound at open, how much more the upper one is)."""
    _beaten_s: float = -math.inf

    def __post_init__(self) -> None:
        self._older = self._look_back()

    @property
    def boot(self) -> int:
        """The number of this boot."""
        return self.boots[-1].boot

    def boot_time(self, now_s: float) -> float:
        """A time of the node's clock on the boot's clock."""
        return now_s - self.offset_s

    def read(self, boot: int, as_of_boot_s: float, age_low_s: float, age_high_s: float) -> Aged:
        """The age bounds of a stored row."""
        if boot == self.boot:
            return Aged(as_of_boot_s + self.offset_s, age_low_s, age_high_s)
        low_base_s, gaps_s = self._older[boot]
        elapsed_s = max(0.0, low_base_s - as_of_boot_s)
        return Aged(self._open_s + self.offset_s, age_low_s + elapsed_s, age_high_s + elapsed_s + gaps_s)

    def beat(self, database: sqlite3.Connection) -> None:
        """Note that the store runs now; part of a commit, and it writes at most once in BEAT_S."""
        now_s, wall_ms = self.clock.boottime_s(), self.clock.wall_ms()
        was_set = wall_ms >= CLOCK_FLOOR_MS and self.boots[-1].began_wall_ms() is None
        if now_s - self._beaten_s < BEAT_S and not was_set:
            return
        self._beaten_s = now_s
        database.execute("UPDATE boots SET last_s = ?, last_wall_ms = ? WHERE boot = ?", (now_s, wall_ms, self.boot))
        if was_set:  # gaps are known now
            self.boots[-1] = self.boots[-1]._replace(last_s=now_s, last_wall_ms=wall_ms)
            self._older = self._look_back()

    def _look_back(self) -> dict[int, tuple[float, float]]:
        """What lies between each earlier boot and the opening of the store in this one."""
        later = self.boots[-1]
        run_s, gaps_s = self._open_s - later.first_s, 0.0
        older: dict[int, tuple[float, float]] = {}
        for boot in reversed(self.boots[:-1]):
            gaps_s += _gap_s(boot, later)
            older[boot.boot] = (boot.last_s + run_s, gaps_s)
            run_s += boot.last_s - boot.first_s
            later = boot
        return older


def _gap_s(earlier: Boot, later: Boot) -> float:
    """How long the machine was off at most."""
    began_ms = later.began_wall_ms()
    if began_ms is None or not CLOCK_FLOOR_MS <= earlier.last_wall_ms <= began_ms:
        return UNKNOWN_GAP_S
    return (began_ms - earlier.last_wall_ms) / 1000


def open_ages(database: sqlite3.Connection, clock: DiskClock, now_s: float) -> Ages:
    """Note this boot in the store and work out what lies between it and each earlier one."""
    open_s, wall_ms = clock.boottime_s(), clock.wall_ms()
    found = database.execute(
        "SELECT boot, boot_id, first_s, last_s, first_wall_ms, last_wall_ms FROM boots ORDER BY boot"
    )
    boots = [Boot(*row) for row in found]
    if not boots or boots[-1].boot_id != clock.boot_id:
        number = boots[-1].boot + 1 if boots else 1
        boots.append(Boot(number, clock.boot_id, open_s, open_s, wall_ms, wall_ms))
        database.execute("INSERT INTO boots VALUES (?, ?, ?, ?, ?, ?)", boots[-1])
    else:
        boots[-1] = boots[-1]._replace(last_s=open_s, last_wall_ms=wall_ms)
    return Ages(clock, now_s - open_s, boots, open_s)
