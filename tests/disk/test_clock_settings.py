"""A wall clock that is set while the store runs: no gap is told too short, no stamp lies, the notes stay few."""

import sqlite3
from dataclasses import dataclass, field

import pytest

from edge_agent.core.bundle import CLOCK_FLOOR_MS, LIFETIME_MAX_S
from edge_agent.disk.ages import STRETCHES_MAX, UNSET_SPACING_MS, Ages, Moment, open_ages
from edge_agent.disk.types import ClockState
from tests.disk.bench import Clock

DAY_MS = 86_400_000
HOUR_S = 3_600.0
START_MS = 1_800_000_000_000
UNSET_MS = 7_000


def _empty_boots() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.execute(
        "CREATE TABLE boots (boot INTEGER PRIMARY KEY, boot_id, first_s, last_s, first_wall_ms, last_wall_ms)"
    )
    return database


@dataclass(slots=True)
class Machine:
    """One machine whose store notes the clock at each second it is told to."""

    clock: Clock = field(default_factory=Clock)
    boots: sqlite3.Connection = field(default_factory=_empty_boots)
    ages: Ages = field(init=False)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.ages = open_ages(self.boots, self.clock.as_disk_clock(), self.clock.boottime_s)

    def run(self, seconds: float, *, step_ms: int = 0) -> None:
        """Somebody moves the clock, then time passes."""
        self.clock.wall_ms += step_ms
        self.ages.beat(self.boots)
        self.clock.pass_time(seconds)
        self.ages.beat(self.boots)

    def reboot(self, off_s: float, *, step_ms: int = 0, is_unset: bool = False) -> None:
        self.clock.reboot(off_s=off_s)
        self.clock.wall_ms += step_ms
        if is_unset:
            self.clock.wall_ms = UNSET_MS
        self.open()

    def off_s(self, since: Moment, run_s: float) -> float:
        """By how much the bounds of what passed since are apart: how long the machine was off at most."""
        low_s, high_s = self.ages.elapsed(since)
        assert low_s == pytest.approx(run_s, abs=2.0)
        return high_s - low_s


@pytest.mark.parametrize("step_ms", [DAY_MS, -DAY_MS])
@pytest.mark.parametrize("is_mended", [True, False])
def test_a_gap_is_never_told_shorter_than_it_was(step_ms: int, *, is_mended: bool) -> None:
    """The clock is moved by a day and put right again, before the machine was off for 25 h or by who turned it on."""
    machine = Machine()
    since = machine.ages.moment()
    machine.run(10)
    machine.run(10, step_ms=step_ms)
    if is_mended:
        machine.run(10, step_ms=-step_ms)
    machine.reboot(25 * HOUR_S, step_ms=0 if is_mended else -step_ms)
    assert 25 * HOUR_S - 1 <= machine.off_s(since, 30 if is_mended else 20) <= 49 * HOUR_S + 1


@pytest.mark.parametrize("step_ms", [DAY_MS, -DAY_MS])
def test_a_step_after_the_boot_lengthens_the_gap_before_it(step_ms: int) -> None:
    """Which of the two settings was right nobody knows."""
    machine = Machine()
    since = machine.ages.moment()
    machine.run(10)
    machine.reboot(2 * HOUR_S)
    machine.run(10)
    assert machine.off_s(since, 20) == pytest.approx(2 * HOUR_S, abs=1)
    machine.run(10, step_ms=step_ms)
    assert machine.off_s(since, 30) == pytest.approx((26 if step_ms > 0 else 2) * HOUR_S, abs=1)


def test_within_a_boot_a_step_changes_no_age() -> None:
    machine = Machine()
    since = machine.ages.moment()
    for step_ms in (DAY_MS, -DAY_MS, UNSET_MS - machine.clock.wall_ms, START_MS):
        machine.run(10, step_ms=step_ms)
    assert machine.ages.elapsed(since) == (40.0, 40.0)
    machine.open()  # another process
    assert machine.ages.elapsed(since) == (40.0, 40.0)


def test_of_a_boot_nobody_noted_anything_may_be_true() -> None:
    assert Machine().ages.elapsed(Moment("elsewhere", 3.0)) == (0.0, LIFETIME_MAX_S)


def test_stamps_of_an_unset_clock_are_told_by_the_clock_that_was_set_later() -> None:
    """Also the next day, in another boot; what was stamped afterwards stays as it is."""
    machine = Machine(Clock(wall_ms=UNSET_MS))
    machine.run(50)
    stamp_ms = machine.ages.now_ms()
    assert stamp_ms < CLOCK_FLOOR_MS
    assert machine.ages.told_ms(stamp_ms) == stamp_ms, "nobody knows yet"
    machine.run(50)
    machine.run(5, step_ms=START_MS)
    true_ms = START_MS + UNSET_MS + 50_000
    assert machine.ages.told_ms(stamp_ms) == true_ms
    assert machine.ages.told_ms(true_ms) == true_ms
    machine.reboot(DAY_MS / 1000)
    machine.run(5, step_ms=DAY_MS)
    assert machine.ages.told_ms(stamp_ms) == true_ms


def test_a_stamp_is_of_one_boot_alone() -> None:
    """Three boots begin in the same second of 1970, the third is told the time: the others' times stay unknown."""
    machine = Machine(Clock(wall_ms=UNSET_MS))
    stamps_ms = []
    for _ in range(3):
        machine.run(30)
        stamps_ms.append(machine.ages.now_ms())
        machine.run(10)
        if len(stamps_ms) < 3:
            machine.reboot(HOUR_S, is_unset=True)
    assert stamps_ms[2] - UNSET_SPACING_MS > stamps_ms[1] > stamps_ms[0] + UNSET_SPACING_MS
    set_ms = START_MS
    machine.run(0, step_ms=set_ms - machine.clock.wall_ms)
    assert [machine.ages.told_ms(each) for each in stamps_ms] == [*stamps_ms[:2], set_ms - 10_000]


def test_a_clock_that_falls_to_1970_is_not_believed() -> None:
    """The boot's clock goes on from what was told, also between the fall and the next commit."""
    machine = Machine()
    machine.run(10)
    machine.clock.wall_ms = UNSET_MS
    for _ in range(3):
        assert machine.ages.now_ms() == START_MS + round((machine.clock.boottime_s - 1_000) * 1000)
        machine.run(10)
    assert machine.ages.clock_state() == ClockState(is_set=False, settings=1, step_s=None, settled_ago_s=30.0)


def test_a_slow_correction_is_no_step() -> None:
    """500 ppm, as a time daemon turns a clock, over a day without a commit."""
    machine = Machine()
    machine.clock.pass_time(86_400.0)
    machine.clock.wall_ms += 43_200
    assert machine.ages.is_clock_even()
    machine.clock.wall_ms += 100_000
    assert not machine.ages.is_clock_even()


def test_a_commit_that_was_rolled_back_takes_the_note_with_it_and_the_next_one_writes_it() -> None:
    machine = Machine()
    machine.clock.wall_ms += DAY_MS
    machine.boots.execute("BEGIN")
    machine.ages.beat(machine.boots)
    machine.boots.execute("ROLLBACK")
    machine.ages.beat_again()
    machine.ages.beat(machine.boots)
    noted = [row[0] for row in machine.boots.execute("SELECT boot FROM boots ORDER BY boot")]
    assert noted == [each.number for each in machine.ages.stretches] == [1, 2]


def test_a_clock_that_never_rests_says_nothing_and_fills_nothing() -> None:
    machine = Machine()
    since = machine.ages.moment()
    for number in range(5 * STRETCHES_MAX):
        machine.run(2, step_ms=DAY_MS if number % 2 else -DAY_MS)
    assert len(machine.ages.stretches) == STRETCHES_MAX
    machine.reboot(HOUR_S)
    assert machine.off_s(since, 10 * STRETCHES_MAX) == LIFETIME_MAX_S
