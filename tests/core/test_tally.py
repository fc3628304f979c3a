"""A node's counts of its own frames agree with what the simulated link did to them, second by second."""

from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest

from benchmarks.links.beds import KIT, LIVE, BedLink, BedRun, plain
from edge_agent.core.arq import Arrived, Piece, SentFrame
from edge_agent.core.bundle import Precedence
from edge_agent.core.node import Node
from edge_agent.core.tally import FILTER_S, SECONDS_MAX, LinkTally, SecondCount
from link_sim.link.link_profile import LinkProfile
from link_sim.profiles import PathProfile

UNTIL_S = 30.0


def _frame(number: int, sent_s: float) -> SentFrame:
    return SentFrame(number, sent_s, 100, 100 * number, False, (), (), False)


def _one(loss_ratio: float) -> BedLink:
    up = LinkProfile(rate_bps=5_000_000, delay_s=0.03, jitter_s=0.005, loss_ratio=loss_ratio)
    down = LinkProfile(rate_bps=5_000_000, delay_s=0.03)
    return BedLink(PathProfile(name="one", up=up, down=down), 5e6)


def _take(run: BedRun, before_s: float) -> dict[str, list[SecondCount]]:
    node = run.world.node(KIT)
    assert isinstance(node, Node)
    return {each.link: list(each.counts) for each in node.take_seconds(before_s)}


@pytest.mark.slow
def test_arrivals_losses_and_delays_of_a_lossy_link_are_those_of_its_model() -> None:
    run = BedRun([_one(0.03)])
    offered: Counter[int] = Counter()
    delays_s: list[float] = []
    line = run.world.lines()[f"{KIT}/one/up"]
    line.observe(
        lambda now_ns, _bytes, _frame, _verdict: offered.update((now_ns // 1_000_000_000,)),
        lambda now_ns, offered_ns, _frame: delays_s.append((now_ns - offered_ns) / 1e9),
    )
    run.world.every(0.01, partial(run.submit, LIVE, Precedence.PRIORITY, 200), start_s=1.0, until_s=UNTIL_S - 5.0)
    run.world.run_until(UNTIL_S)
    counts = _take(run, UNTIL_S)["one"]
    arrived, lost = sum(each.arrived for each in counts), sum(each.lost for each in counts)
    assert lost / (lost + arrived) == pytest.approx(1 - len(delays_s) / offered.total(), abs=0.003)
    for each in counts:
        assert abs(each.arrived + each.lost - offered[each.second]) <= 2  # acknowledgements ask for no answer
    mean_s = sum(each.delay_sum_s for each in counts) / sum(each.timed for each in counts)
    assert mean_s == pytest.approx(sum(delays_s) / len(delays_s), abs=0.006)  # its jitter sets the clock
    assert all(0.027 < each.bound_s < 0.037 for each in counts[2:])


def test_a_frame_thought_lost_that_comes_late_takes_its_loss_back() -> None:
    tally, frame = LinkTally(), _frame(1, 5.2)
    tally.note_lost([frame])
    assert [each.lost for each in tally.take(6.0)] == [1]
    tally.note_arrived([Arrived(frame, None, True)], 8.0)
    assert [(each.second, each.arrived, each.lost) for each in tally.take(9.0)] == [(5, 1, -1)]


def test_a_frame_thought_lost_has_the_delay_that_it_had() -> None:
    tally = LinkTally()
    tally.note_arrived([Arrived(_frame(1, 5.0), 0.1, False)], 5.2)
    tally.note_arrived([Arrived(_frame(2, 5.1), 1.1, True), Arrived(_frame(3, 5.9), 1.0, False)], 6.1)
    [count] = tally.take(6.0)
    assert (count.arrived, count.timed) == (3, 3)
    assert count.delay_max_s == pytest.approx(1.0)
    assert count.delay_sum_s == pytest.approx(1.2)
    assert count.jitter_sum_s == pytest.approx(0.0)


def test_an_acknowledgement_that_came_by_another_link_does_not_set_the_clock() -> None:
    tally = LinkTally()
    tally.note_arrived([Arrived(_frame(1, 5.0), 0.3, False)], 5.32, is_round=False)
    assert [each.timed for each in tally.take(6.0)] == [0]
    tally.note_arrived([Arrived(_frame(2, 6.0), 1.3, False)], 6.6)
    tally.note_arrived([Arrived(_frame(3, 6.1), 1.4, False)], 6.42, is_round=False)
    [count] = tally.take(7.0)
    assert (count.timed, count.delay_sum_s) == (2, pytest.approx(0.6))
    assert count.bound_s == pytest.approx(0.3, abs=0.001)


def test_a_second_is_given_once_and_not_before_it_ended() -> None:
    tally = LinkTally()
    tally.note_arrived([Arrived(_frame(1, 5.2), 0.1, False)], 5.3)
    assert tally.take(5.9) == ()
    assert [each.second for each in tally.take(6.0)] == [5]
    tally.note_arrived([Arrived(_frame(2, 5.9), 0.8, False)], 6.1)
    assert [each.arrived for each in tally.take(7.0)] == [1]
    assert tally.take(7.0) == ()


def test_the_receivers_clock_is_set_by_the_quickest_round_trip_and_followed_as_it_drifts() -> None:
    tally, worst_s = LinkTally(), 0.0
    for number in range(int(20 * FILTER_S)):
        sent_s = float(number)
        there_s, hold_s = 0.020 + (0.008 if number % 3 else 0.0), (0.012 if number % 2 else 0.0) + number * 1e-6
        shown_s = (sent_s + there_s) * (1 + 20e-6) - 1234.5
        tally.note_arrived([Arrived(_frame(number, sent_s), shown_s, False)], sent_s + there_s + 0.020 + hold_s)
        for each in tally.take(sent_s):
            worst_s = max(worst_s, abs(each.delay_sum_s / each.timed - 0.0253))
    assert worst_s < 0.006
    tally.restart_clock()
    tally.note_arrived([Arrived(_frame(9, 900.0), 0.02, False)], 900.04)
    assert tally.take(901.0)[-1].delay_sum_s == pytest.approx(0.02)


def test_without_a_reader_no_more_than_some_seconds_are_kept() -> None:
    tally = LinkTally()
    tally.note_lost(_frame(number, float(number)) for number in range(10 * SECONDS_MAX))
    assert len(tally.seconds) == SECONDS_MAX


def test_a_silent_cut_is_one_switch_of_the_dead_link_with_its_time() -> None:
    run = BedRun([plain("one"), plain("two")])
    run.world.every(0.02, partial(run.submit, LIVE, Precedence.IMMEDIATE, 200), start_s=1.0, until_s=6.0)
    run.world.run_until(2.0)
    dead = run.carrying(1.0).name
    run.world.cut(dead)
    run.world.run_until(6.0)
    arrived_s = sorted(run.arrivals().values())
    gap_s = max(later - sooner for sooner, later in pairwise(arrived_s))
    counts = _take(run, 6.0)
    switched = [each for each in counts.pop(dead) if each.switches]
    assert [(each.switches, each.suspicions > 0) for each in switched] == [(1, True)]
    assert switched[0].switch_sum_s == pytest.approx(gap_s, abs=0.025)
    assert not any(each.switches for others in counts.values() for each in others)


def test_a_link_that_was_only_doubted_is_no_switch() -> None:
    run = BedRun([plain("one"), plain("two")])
    run.world.every(0.02, partial(run.submit, LIVE, Precedence.IMMEDIATE, 200), start_s=1.0, until_s=5.0)
    run.world.run_until(2.0)
    doubted = run.carrying(1.0).name
    run.world.cut(doubted)
    run.world.run_until(3.06)
    run.world.restore(doubted)
    run.world.run_until(5.0)
    counts = _take(run, 5.0)
    assert sum(each.suspicions for each in counts[doubted]) >= 1
    assert not any(each.switches for each in counts[doubted])


def test_a_doubt_that_ended_is_no_part_of_the_next_switch() -> None:
    one, two = LinkTally(arrival_s=1.0), LinkTally()
    one.suspect([two], 1.1, 0.9)
    one.trust([two])
    one.arrival_s = 5.0
    one.suspect([two], 5.1, 4.9)
    frame = replace(_frame(1, 5.1), pieces=(Piece(None, 0, 1),))  # type: ignore[arg-type]  # whose is of no interest
    two.note_arrived([Arrived(frame, 0.0, False)], 5.3)
    one.convict([two], 5.4)
    assert [each.switch_sum_s for each in one.take(6.0) if each.switches] == [pytest.approx(0.2)]


@pytest.mark.slow
def test_the_wait_of_acknowledgements_is_no_delay_of_the_link() -> None:
    run = BedRun([plain("one")])
    delays_s: list[float] = []
    line = run.world.lines()[f"{KIT}/one/up"]
    line.observe(lambda *_: None, lambda now_ns, offered_ns, _frame: delays_s.append((now_ns - offered_ns) / 1e9))
    run.world.every(0.05, partial(run.submit, LIVE, Precedence.PRIORITY, 200), start_s=1.0, until_s=118.0)
    run.world.run_until(120.0)
    counts = _take(run, 120.0)["one"][80:]  # the answers of the handshake set the clock no more
    mean_s = sum(each.delay_sum_s for each in counts) / sum(each.timed for each in counts)
    assert mean_s == pytest.approx(sum(delays_s) / len(delays_s), rel=0.01)
