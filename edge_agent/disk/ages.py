"""Ages over restarts: what a bundle's two age bounds are when it is read again, in this boot or after another.

Inside one boot CLOCK_BOOTTIME gives the elapsed time exactly. Over a boot the lower bound gains only the time the store
is known to have run, the upper one also what the wall clock says of the gap; a wall clock that went back says nothing,
then a day is assumed (a kit's battery is rarely out for longer, and an order that old needs a person anyway).
"""

import sqlite3
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.disk.types import DiskClock

UNKNOWN_GAP_S = 86_400.0


class Aged(NamedTuple):
    """The age bounds of a record at ``as_of_s`` of the node's clock."""

    as_of_s: float
    age_low_s: float
    age_high_s: float


@dataclass(slots=True)
class Ages:
    """Converts between the node's clock and the boots of the store. Changed by no thread after open."""

    clock: DiskClock
    offset_s: float
    """The node's clock minus the boot's clock."""
    boot: int
    _open_s: float
    _older: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Boot -> (what to add to -as_of_s for the elapsed lower bound at open, how much more the upper one is)."""

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
        """Note that the store runs now; part of every commit."""
        database.execute(
            "UPDATE boots SET last_s = ?, last_wall_ms = ? WHERE boot = ?",
            (self.clock.boottime_s(), self.clock.wall_ms(), self.boot),
        )


def open_ages(database: sqlite3.Connection, clock: DiskClock, now_s: float) -> Ages:
    """Note this boot in the store and work out what lies between it and each earlier one."""
    open_s, wall_ms = clock.boottime_s(), clock.wall_ms()
    rows = database.execute(
        "SELECT boot, boot_id, first_s, last_s, first_wall_ms, last_wall_ms FROM boots ORDER BY boot"
    ).fetchall()
    if not rows or rows[-1][1] != clock.boot_id:
        number = rows[-1][0] + 1 if rows else 1
        rows.append((number, clock.boot_id, open_s, open_s, wall_ms, wall_ms))
        database.execute("INSERT INTO boots VALUES (?, ?, ?, ?, ?, ?)", rows[-1])
    ages = Ages(clock=clock, offset_s=now_s - open_s, boot=rows[-1][0], _open_s=open_s)
    later_first_s, later_wall_ms = rows[-1][2], rows[-1][4]
    run_s, gaps_s = open_s - later_first_s, 0.0
    for boot, _, first_s, last_s, first_wall_ms, last_wall_ms in reversed(rows[:-1]):
        gap_ms = later_wall_ms - last_wall_ms
        gaps_s += gap_ms / 1000 if gap_ms >= 0 else UNKNOWN_GAP_S
        ages._older[boot] = (last_s + run_s, gaps_s)
        run_s += last_s - first_s
        later_wall_ms = first_wall_ms
    return ages
