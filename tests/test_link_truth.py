"""A node's link report against the simulator's truth, and against a stranger's sums of the same files."""

from functools import partial
from math import ceil
from pathlib import Path

import pytest

from benchmarks.links.beds import KIT, links_of
from benchmarks.links.report_world import DAY_START, ReportWorld, lossy
from edge_agent.core.effects import LinkState
from edge_agent.link_report_rows import cells_of
from edge_agent.link_seconds import SETTLE_S
from examples.link_report.recompute import recompute

SPAN_S = 180.0
CUTS_S = ((30.4, 20.3), (90.0, 5.1))


def _world(folder: Path, seed: int, delay_s: float = 0.05, loss_ratio: float = 0.02) -> ReportWorld:
    world = ReportWorld(folder, [lossy("one", delay_s, loss_ratio)], seed)
    for at_s, length_s in CUTS_S:
        world.run.world.at(at_s, partial(world.run.world.cut, "one"))
        world.run.world.at(at_s + length_s, partial(world.run.world.restore, "one"))
    return world


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "way_s", "loss_ratio"), [(1, 0.05, 0.02), (2, 0.02, 0.0), (3, 0.3, 0.005)])
def test_the_report_is_within_one_percent_of_what_happened(
    tmp_path: Path, seed: int, way_s: float, loss_ratio: float
) -> None:
    world = _world(tmp_path, seed, way_s, loss_ratio)
    world.until(SPAN_S)
    success, delay_s = world.truths["one"].sums()
    window = world.day("one")
    assert window.availability_ratio == pytest.approx(1 - sum(length for _, length in CUTS_S) / (SPAN_S - 2), abs=0.01)
    assert window.success_ratio == pytest.approx(success, abs=0.005)
    assert window.delay_s == pytest.approx(delay_s, rel=0.01)
    assert window.outages == len(CUTS_S)
    assert window.repair_s == pytest.approx(sum(length for _, length in CUTS_S) / len(CUTS_S), abs=1.5)
    truth = world.truths["one"].lost
    errored = {second for second, frames in truth.items() if frames and second < SPAN_S - SETTLE_S - 1}
    for at_s, length_s in CUTS_S:  # also the seconds of an outage in which nothing was tried
        errored |= set(range(ceil(at_s), int(at_s + length_s)))
    assert window.errored_s == pytest.approx(len(errored), abs=3)  # a lost acknowledgement is nobody's loss


@pytest.mark.slow
def test_a_stranger_who_adds_up_the_raw_seconds_gets_the_same(tmp_path: Path) -> None:
    world = _world(tmp_path, 4)
    world.until(SPAN_S)
    day = world.report()["one"]
    cells = cells_of(day, day.windows[-1])
    files = [str(path) for path in tmp_path.glob("one/*/*.csv")]
    sums = recompute(files)
    assert sums == {name: cells[name] for name in sums}
    assert sums["down_s"] > 20
    assert sums["frames_lost"] > 20


@pytest.mark.slow
def test_what_a_killed_agent_did_not_write_is_unobserved(tmp_path: Path) -> None:
    world = ReportWorld(tmp_path, [lossy("one", 0.02, 0.0)])
    killed_s, back_s = 40.5, 60.5
    world.run.world.at(killed_s, world.kill)
    world.run.world.at(back_s, world.start_again)
    world.until(100.0)
    window = world.day("one")
    assert window.down_s == 0
    lost_s = window.unobserved_s - (back_s - killed_s) - 6  # before the first traffic, and after the last
    assert 0 <= lost_s <= SETTLE_S + 2
    assert window.up_s > 65


@pytest.mark.slow
def test_an_idle_link_is_unobserved_between_its_questions(tmp_path: Path) -> None:
    world = ReportWorld(tmp_path, [lossy("one", 0.02, 0.0)])
    world.run.world.every(1.0, world.look, start_s=2.001, until_s=200.0)
    world.run.world.run_until(200.0)
    window = world.day("one")
    assert window.down_s == 0
    assert 0 < window.up_s < 30
    assert window.unobserved_s > 160


@pytest.mark.slow
def test_switches_are_those_of_the_convictions(tmp_path: Path) -> None:
    world = ReportWorld(tmp_path, links_of("C"))
    for at_s in (20.0, 60.0):
        world.run.world.at(at_s, partial(_cut_what_carries, world))
        world.run.world.at(at_s + 15.0, partial(_restore, world))
    world.until(100.0)
    convicted = [
        event
        for _, event in world.run.world.link_changes
        if event.state is LinkState.DOWN and event.peer != KIT and event.link
    ]
    windows = [day.windows[-1] for day in world.report().values()]
    assert sum(window.switches for window in windows) == 2 <= len(convicted)
    times_s = [window.switch_s for window in windows if window.switch_s is not None]
    assert times_s
    assert all(0.02 < each < 0.5 for each in times_s)
    assert world.report()["one"].windows[-1].start == DAY_START


def _cut_what_carries(world: ReportWorld) -> None:
    sent = {each.link: each for each in world.run.world.report(KIT).links}
    world.run.world.cut(max(sent, key=lambda link: sent[link].goodput_bps or 0.0))


def _restore(world: ReportWorld) -> None:
    for link in world.links:
        world.run.world.restore(link.name)
