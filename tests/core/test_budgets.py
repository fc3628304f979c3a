"""Budgets, reserve links, intervals and sizes: what each keeps off a link, and that FLASH passes every one of them."""

from dataclasses import replace
from itertools import pairwise

import pytest

from edge_agent.core.blocks import Fragment
from edge_agent.core.budgets import COLUMNS, NEVER_S, RECEIVED, WORDS, Spent
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Origin, Precedence
from edge_agent.core.codec import read_blocks
from edge_agent.core.contact import Link
from edge_agent.core.envelope import FrameClass, read_envelope
from edge_agent.core.frame import NullKeys
from edge_agent.core.limits import LinkLimits, LinkPolicy, Standby
from edge_agent.core.report import Obstacle
from tests.core.bench import DATAGRAM, FREE, Bench

EVERYTHING_BUT_FLASH = frozenset(Precedence) - {Precedence.FLASH}
FAST = replace(DATAGRAM, rate_bps=8e6)
LASTING = BundleHeader(destination=COMMAND, flow="text", lifetime_s=7 * 86_400)
BY_PERSON = BundleHeader(destination=COMMAND, flow="sos", origin=Origin.PERSON)


def bench_of(**links: tuple[LinkPolicy, LinkLimits]) -> Bench:
    """A kit with these links to command, each with its policy at the kit and none at command."""
    bench = Bench(make_keys=NullKeys)
    bench.add("command", role="command")
    bench.add("kit-1")
    for name, (policy, limits) in links.items():
        bench.join(name, "kit-1", "command", limits)
        bench.places["kit-1"].ends[name].policy = policy
        bench.places["kit-1"].running.set_terms(name, bench.now_s, policy=policy)
    bench.run(3)
    return bench


def one(policy: LinkPolicy) -> Bench:
    return bench_of(sat=(policy, FAST))


def link_of(bench: Bench, name: str = "sat") -> Link:
    return bench.places["kit-1"].running.contacts.links[name]


def delivered(bench: Bench) -> set[BundleId]:
    return {event.record.id for event in bench.places["command"].delivered()}


def carried(bench: Bench, link: str) -> list[Precedence]:
    """Classes of the pieces that left the kit on a link, in order."""
    found = []
    for flight in bench.history:
        envelope = read_envelope(flight.frame)
        if flight.sender != "kit-1" or flight.link != link or envelope.frame_class is not FrameClass.DATA:
            continue
        blocks = read_blocks(flight.frame[envelope.length :])
        found += [each.precedence for each in blocks if isinstance(each, Fragment)]
    return found


def obstacle(bench: Bench, bundle: BundleId, link: str = "sat") -> tuple[Obstacle, float | None]:
    explanation = bench.places["kit-1"].running.explain(bundle, bench.now_s)
    assert explanation is not None
    (verdict,) = [each for each in explanation.links if each.link == link]
    return verdict.obstacle, verdict.wait_s


def test_what_a_link_costs_is_counted_both_ways_and_by_class() -> None:
    bench = one(FREE)
    bench.submit("kit-1", bytes(20_000), Precedence.ROUTINE)
    bench.submit("kit-1", bytes(3_000), Precedence.FLASH)
    bench.run(5)
    columns = bench.places["kit-1"].running.spent_columns()["sat"]
    sent = sum(len(each.frame) + 28 for each in bench.history if each.sender == "kit-1")
    heard = sum(len(each.frame) + 28 for each in bench.history if each.sender == "command")
    assert len(columns) == COLUMNS
    assert sum(columns[:RECEIVED]) == sent
    assert columns[RECEIVED] == heard
    assert columns[Precedence.ROUTINE] + columns[Precedence.FLASH] > 23_000
    assert 3_000 < columns[Precedence.FLASH] < 6_000  # the frame that ends it has a piece of the other in it
    assert 0 < columns[WORDS] < 2_000
    assert link_of(bench).meter.day_bytes == sent + heard


@pytest.mark.parametrize("which", ["bytes_per_day", "bytes_per_month"])
def test_a_spent_budget_keeps_all_but_flash_off_the_link_until_the_period_ends(which: str) -> None:
    bench = one(replace(LinkPolicy(metered=True), **{which: 30_000}))
    large = bench.submit("kit-1", bytes(60_000), Precedence.ROUTINE)
    bench.run(10)
    assert large not in delivered(bench)
    assert 30_000 <= link_of(bench).meter.day_bytes < 33_000
    flash = bench.submit("kit-1", bytes(500), Precedence.FLASH, BY_PERSON)
    bench.run(2)
    assert flash in delivered(bench)
    assert link_of(bench).meter.day_bytes > 30_000  # the overspend shows
    kind, wait_s = obstacle(bench, large)
    assert kind is (Obstacle.BUDGET if which == "bytes_per_day" else Obstacle.MONTH_BUDGET)
    assert wait_s == pytest.approx(86_400 if which == "bytes_per_day" else 30 * 86_400, abs=60)
    fresh = Spent(day_bytes=0, month_bytes=0)
    bench.places["kit-1"].running.set_terms("sat", bench.now_s, policy=link_of(bench).policy, spent=fresh)
    bench.run(5)
    assert 25_000 < link_of(bench).meter.day_bytes <= 33_000  # it goes on


@pytest.mark.slow
def test_a_day_of_24_hours_ends_the_budget_of_a_day() -> None:
    bench = one(LinkPolicy(metered=True, bytes_per_day=30_000, keepalive_s=3_600))
    large = bench.submit("kit-1", bytes(40_000), Precedence.ROUTINE, LASTING)
    bench.run(86_000)
    assert large not in delivered(bench)
    bench.run(500)
    assert large in delivered(bench)


def test_what_comes_counts_against_the_budget_too() -> None:
    bench = one(LinkPolicy(metered=True, bytes_per_day=30_000))
    header = BundleHeader(destination="kit-1", flow="text")
    order = bench.places["command"].running.submit(header, Precedence.ROUTINE, bytes(40_000), bench.now_s)
    bench.pump(bench.places["command"])
    bench.run(10)
    assert order in {event.record.id for event in bench.places["kit-1"].delivered()}  # the other side's choice
    reading = bench.submit("kit-1", bytes(100), Precedence.ROUTINE)
    bench.run(10)
    assert reading not in delivered(bench)
    assert obstacle(bench, reading)[0] is Obstacle.BUDGET


@pytest.mark.slow
def test_whoever_keeps_a_calendar_tells_what_is_spent_and_when_it_ends() -> None:
    bench = one(LinkPolicy(metered=True, bytes_per_day=10_000, bytes_per_month=10**9, keepalive_s=3_600))
    kit, policy = bench.places["kit-1"].running, link_of(bench).policy
    kit.set_terms("sat", bench.now_s, policy=policy, spent=Spent(day_bytes=10_000, month_bytes=50_000))
    text = bench.submit("kit-1", bytes(100), Precedence.IMMEDIATE, LASTING)
    bench.run(90_000)  # no day of 24 hours ends by itself while the calendar is not known
    assert text not in delivered(bench)
    assert obstacle(bench, text) == (Obstacle.BUDGET, None)
    ends_s = bench.now_s + 60
    kit.set_terms("sat", bench.now_s, policy=policy, spent=Spent(day_bytes=0, month_bytes=10**9, month_ends_s=ends_s))
    assert obstacle(bench, text) == (Obstacle.MONTH_BUDGET, pytest.approx(60))
    kit.set_terms("sat", bench.now_s, policy=policy, spent=Spent(day_bytes=0, month_bytes=0))
    bench.run(2)
    assert text in delivered(bench)


def test_an_undescribed_link_has_20_mb_a_day_and_three_classes() -> None:
    bench = one(LinkPolicy())
    sent = {each: bench.submit("kit-1", bytes(100), each) for each in Precedence}
    bench.run(3)
    assert delivered(bench) == {sent[each] for each in Precedence if each <= Precedence.PRIORITY}
    policy = link_of(bench).policy
    bench.places["kit-1"].running.set_terms(
        "sat", bench.now_s, policy=policy, spent=Spent(day_bytes=20_000_000, month_bytes=20_000_000)
    )
    late, flash = (
        bench.submit("kit-1", bytes(100), each, BY_PERSON) for each in (Precedence.IMMEDIATE, Precedence.FLASH)
    )
    bench.run(3)
    assert flash in delivered(bench)
    assert late not in delivered(bench)
    bench.places["kit-1"].running.set_terms("sat", bench.now_s, policy=FREE)  # somebody says what it costs
    bench.run(3)
    assert delivered(bench) >= {*sent.values(), late}


@pytest.mark.parametrize("why", [Obstacle.QUIET_HOURS, Obstacle.PROFILE])
def test_what_is_held_back_waits_and_flash_does_not(why: Obstacle) -> None:
    bench = one(replace(FREE, held_back=EVERYTHING_BUT_FLASH, held_why=why.value))
    sent = {each: bench.submit("kit-1", bytes(100), each, BY_PERSON) for each in Precedence}
    bench.run(5)
    assert delivered(bench) == {sent[Precedence.FLASH]}
    assert obstacle(bench, sent[Precedence.IMMEDIATE]) == (why, None)
    bench.places["kit-1"].running.set_terms("sat", bench.now_s, policy=FREE)
    bench.run(5)
    assert delivered(bench) == set(sent.values())


def test_no_policy_can_hold_flash_back_unseen() -> None:
    with pytest.raises(ValueError, match="FLASH is held back by nothing but precedences"):
        LinkPolicy(held_back=frozenset((Precedence.FLASH,)), held_why="profile")
    with pytest.raises(ValueError, match="FLASH is held back by nothing but precedences"):
        LinkPolicy(lifted=frozenset())


def test_classes_that_are_lifted_pass_a_spent_budget() -> None:
    bench = one(LinkPolicy(metered=True, bytes_per_day=0, lifted=frozenset((Precedence.FLASH, Precedence.IMMEDIATE))))
    sent = {each: bench.submit("kit-1", bytes(100), each) for each in Precedence}
    bench.run(5)
    assert delivered(bench) == {sent[Precedence.FLASH], sent[Precedence.IMMEDIATE]}


def test_a_bundle_above_the_size_takes_another_link_and_flash_of_any_size_goes() -> None:
    small = replace(FREE, largest_bundle_bytes=1_000)
    bench = bench_of(sat=(small, FAST))
    little, large = (bench.submit("kit-1", bytes(size), Precedence.ROUTINE) for size in (1_000, 1_001))
    flash = bench.submit("kit-1", bytes(5_000), Precedence.FLASH, BY_PERSON)
    bench.run(5)
    assert delivered(bench) == {little, flash}
    assert obstacle(bench, large)[0] is Obstacle.TOO_LARGE
    bench.join("line", "kit-1", "command", replace(DATAGRAM, rate_bps=64e3))
    bench.run(5)
    assert large in delivered(bench)  # by a slower one: nothing is left to a link that would not take it


def test_between_two_frames_the_smallest_interval_passes_and_flash_does_not_wait() -> None:
    bench = one(replace(FREE, min_interval_s=30.0))
    began_s = bench.now_s
    sent = [bench.submit("kit-1", bytes(1_300), Precedence.ROUTINE) for _ in range(4)]
    bench.run(5)
    assert len(delivered(bench)) == 1
    flash = bench.submit("kit-1", bytes(1_300), Precedence.FLASH, BY_PERSON)
    bench.run(1)
    assert flash in delivered(bench)
    waiting = next(each for each in sent if each not in delivered(bench))
    kind, wait_s = obstacle(bench, waiting)
    assert kind is Obstacle.INTERVAL
    assert wait_s is not None
    assert 20 < wait_s <= 30
    bench.run(120)
    assert delivered(bench) == {*sent, flash}
    sizes = [(each.t_s, len(each.frame)) for each in bench.history if each.sender == "kit-1" and each.t_s >= began_s]
    times = [t_s for t_s, size in sizes if size > 900]
    assert len(times) == 5
    assert all(later - earlier >= 29.99 for earlier, later in pairwise(times[1:]))


def reserve(standby: Standby) -> Bench:
    return bench_of(hot=(FREE, replace(DATAGRAM, rate_bps=200e3)), sat=(replace(FREE, standby=standby), FAST))


@pytest.mark.parametrize("standby", [Standby.WARM, Standby.COLD])
def test_a_reserve_link_is_used_once_the_better_one_is_gone(standby: Standby) -> None:
    bench = reserve(standby)
    first = bench.submit("kit-1", bytes(30_000), Precedence.ROUTINE)
    bench.run(5)
    assert first in delivered(bench)
    assert carried(bench, "sat") == []
    waiting = bench.submit("kit-1", bytes(60_000), Precedence.ROUTINE)
    assert obstacle(bench, waiting)[0] is Obstacle.STANDBY
    bench.unplug("kit-1", "hot")
    bench.run(5)
    assert waiting in delivered(bench)
    bench.plug("kit-1", "hot")
    bench.run(5)
    bench.history.clear()
    bench.submit("kit-1", bytes(3_000), Precedence.ROUTINE)
    bench.run(5)
    assert carried(bench, "sat") == []


def test_a_reserve_link_carries_what_the_better_one_may_not() -> None:
    bench = bench_of(
        hot=(LinkPolicy(metered=True, bytes_per_day=0), FAST), sat=(replace(FREE, standby=Standby.COLD), FAST)
    )
    text = bench.submit("kit-1", bytes(100), Precedence.IMMEDIATE)
    bench.run(3)
    assert text in delivered(bench)


def test_flash_takes_its_second_copy_over_a_cold_link_when_one_better_is_there() -> None:
    bench = reserve(Standby.COLD)
    bench.submit("kit-1", bytes(100), Precedence.FLASH, BY_PERSON)
    bench.run(2)
    assert Precedence.FLASH in carried(bench, "sat")
    assert Precedence.FLASH in carried(bench, "hot")


def test_flash_leaves_a_cold_link_alone_when_two_better_ones_are_there() -> None:
    bench = bench_of(hot=(FREE, FAST), warm=(FREE, FAST), sat=(replace(FREE, standby=Standby.COLD), FAST))
    bench.submit("kit-1", bytes(100), Precedence.FLASH, BY_PERSON)
    bench.run(2)
    assert carried(bench, "sat") == []


def test_a_silent_better_link_hands_over_to_a_cold_one() -> None:
    bench = reserve(Standby.COLD)
    bench.passes = lambda flight: flight.link != "hot"
    text = bench.submit("kit-1", bytes(2_000), Precedence.ROUTINE)
    bench.run(10)
    assert text in delivered(bench)


def test_a_link_nobody_tells_of_days_counts_24_hours_and_30_days() -> None:
    bench = one(LinkPolicy(metered=True, bytes_per_day=1_000_000))
    bench.submit("kit-1", bytes(10_000), Precedence.ROUTINE)
    bench.run(5)
    meter = link_of(bench).meter
    before = meter.day_bytes
    assert meter.day_ends_s != NEVER_S
    assert not meter.turn_day(bench.now_s)
    assert meter.turn_day(bench.now_s + 86_401)
    assert (meter.day_bytes, meter.month_bytes) == (0, before)
    assert meter.turn_day(bench.now_s + 31 * 86_400)
    assert meter.month_bytes == 0
