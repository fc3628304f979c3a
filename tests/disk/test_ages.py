"""Ages over restarts: exact inside a boot, honest bounds over one."""

from pathlib import Path

import pytest

from edge_agent.core.bundle import LIFETIME_MAX_S, BundleRecord
from tests.disk.bench import Clock, Store, opened, queue_of


async def reloaded(store: Store, record: BundleRecord, now_s: float) -> tuple[float, float]:
    """The age bounds of a record as the store gives it now."""
    (found,) = (await store.window(queue_of(record))).records
    return found.age_low_at(now_s), found.age_high_at(now_s)


async def stored(folder: Path, clock: Clock) -> BundleRecord:
    """A bundle 10 to 30 s old at 100 s of the node's clock, stored 1 s later."""
    async with opened(folder, clock=clock, now_s=100.0) as store:
        record = store.own(as_of_s=100.0, age_low_s=10.0, age_high_s=30.0)
        clock.pass_time(1.0)
        await store.persist(record, bytes(10))
    return record


async def test_inside_a_boot_ages_grow_by_the_time_that_passed(tmp_path: Path) -> None:
    clock = Clock()
    record = await stored(tmp_path, clock)
    clock.pass_time(3_600.0)
    clock.wall_ms -= 5_000_000  # somebody sets the wall clock: nothing changes
    async with opened(tmp_path, clock=clock, now_s=0.5) as store:  # another process may count from anywhere
        assert await reloaded(store, record, 0.5) == pytest.approx((3_611.0, 3_631.0))
        assert await reloaded(store, record, 10.5) == pytest.approx((3_621.0, 3_641.0))


async def test_over_a_boot_the_bounds_part_by_the_time_the_machine_was_off(tmp_path: Path) -> None:
    clock = Clock()
    record = await stored(tmp_path, clock)
    clock.reboot(off_s=7_200.0)
    async with opened(tmp_path, clock=clock, now_s=3.0) as store:
        assert await reloaded(store, record, 4.0) == pytest.approx((12.0, 7_232.0))


@pytest.mark.parametrize("wall_step_ms", [-1_000_000_000, -1_800_000_000_000 + 60_000])
async def test_a_wall_clock_that_went_back_says_nothing_of_the_gap(tmp_path: Path, wall_step_ms: int) -> None:
    """Set back by days, or a kit that boots in 1970: nothing expires by it, and an order waits for a person."""
    clock = Clock()
    record = await stored(tmp_path, clock)
    clock.reboot(off_s=60.0, wall_step_ms=wall_step_ms)
    async with opened(tmp_path, clock=clock, now_s=0.0) as store:
        assert await reloaded(store, record, 0.0) == pytest.approx((11.0, 31.0 + LIFETIME_MAX_S))


async def test_two_boots_in_1970_say_nothing_of_the_gap(tmp_path: Path) -> None:
    """Both clocks were unset: that the later one shows a later second of 1970 is chance."""
    clock = Clock(wall_ms=40_000)
    record = await stored(tmp_path, clock)
    clock.reboot(off_s=7_200.0, wall_step_ms=20_000)
    async with opened(tmp_path, clock=clock, now_s=0.0) as store:
        assert await reloaded(store, record, 0.0) == pytest.approx((11.0, 31.0 + LIFETIME_MAX_S))


async def test_a_clock_that_is_set_after_the_boot_tells_the_gap_from_then_on(tmp_path: Path) -> None:
    clock = Clock()
    record = await stored(tmp_path, clock)
    set_ms = clock.wall_ms + 7_200_000
    clock.reboot(off_s=7_200.0, wall_step_ms=-1_799_999_000_000)
    async with opened(tmp_path, clock=clock, now_s=0.0) as store:
        assert await reloaded(store, record, 0.0) == pytest.approx((11.0, 31.0 + LIFETIME_MAX_S))
        clock.pass_time(100.0)
        clock.wall_ms = set_ms + 100_000
        await store.persist(store.own(flow="other"), bytes(10))
        assert await reloaded(store, record, 100.0) == pytest.approx((111.0, 7_331.0))
    clock.reboot(off_s=50.0)
    async with opened(tmp_path, clock=clock, now_s=0.0) as store:
        assert await reloaded(store, record, 0.0) == pytest.approx((111.0, 7_381.0))


async def test_several_boots_add_up(tmp_path: Path) -> None:
    """Running time between two outages counts for both bounds, outages for the upper one alone."""
    clock = Clock()
    record = await stored(tmp_path, clock)
    for _ in range(2):
        clock.reboot(off_s=1_000.0)
        async with opened(tmp_path, clock=clock, now_s=0.0) as store:
            clock.pass_time(500.0)
            await store.persist(store.own(flow="other"), bytes(10))
    clock.reboot(off_s=1_000.0)
    async with opened(tmp_path, clock=clock, now_s=0.0) as store:
        assert await reloaded(store, record, 0.0) == pytest.approx((1_011.0, 4_031.0))
        (count,) = [each for each in store.restored.queues if each.queue == queue_of(record)]
        assert count.oldest_age_s == pytest.approx(1_011.0)


async def test_a_rewound_age_never_shrinks(tmp_path: Path) -> None:
    """A record dated after the last commit of its boot (never by us) must not become younger than it said."""
    clock = Clock()
    async with opened(tmp_path, clock=clock, now_s=0.0) as store:
        record = store.own(as_of_s=1_000.0, age_low_s=10.0, age_high_s=10.0)
        await store.persist(record, bytes(10))
    clock.reboot(off_s=0.0)
    async with opened(tmp_path, clock=clock, now_s=0.0) as store:
        low_s, _ = await reloaded(store, record, 0.0)
        assert low_s == pytest.approx(10.0)
