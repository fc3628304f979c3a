"""A flapping link is told of seldom: that it began, a word a minute, that it stays down, that it is steady again."""

from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from structlog.testing import capture_logs

from edge_agent import link_news
from edge_agent.core.damping import HALF_LIFE_S
from edge_agent.core.effects import LinkState
from edge_agent.link_news import LASTING_S, SUMMARY_S, LinkNews
from tests.core.test_damping import KIT
from tests.core.test_link_queue import NARROW
from tests.core.test_pacing import bulk_world

FLAPS, FLAP_S = 100, 2.0


def told_of(flaps: int, quiet_s: float, *, stays_down: bool) -> list[tuple[float, dict[str, Any]]]:
    """Log lines, with when, of a kit whose link falls each two seconds, and then stays as it is (Any: a log line)."""
    world = bulk_world(NARROW, bundles=0)
    (link,) = {each.link for each in world.report(KIT).links}
    for number in range(flaps):
        world.at(10.0 + number * FLAP_S, lambda: world.unplug(link, KIT))
        if not (stays_down and number == flaps - 1):
            world.at(10.0 + number * FLAP_S + FLAP_S / 4, lambda: world.plug(link, KIT))
    end_s, told = 10.0 + flaps * FLAP_S + quiet_s, []
    news, seen = LinkNews(lambda: None), 0
    world.run_until(9.0)
    seen = len(world.link_changes)
    with capture_logs() as lines:
        while world.now_s < end_s:
            world.run_until(world.now_s + 1.0)
            for at_s, change in world.link_changes[seen:]:
                if change.peer != KIT:  # those of the kit
                    news.changed(change, at_s)
            seen = len(world.link_changes)
            news.look(world.now_s)
            told += [(world.now_s, dict(line)) for line in lines[len(told) :]]
    return told


def test_a_flapping_link_is_told_of_once_a_minute_and_when_it_is_steady() -> None:
    told = told_of(FLAPS, 3 * HALF_LIFE_S, stays_down=False)
    flapping = [(at_s, line) for at_s, line in told if line["event"] == "link_flapping"]
    assert [line["falls"] for _, line in flapping] == sorted({line["falls"] for _, line in flapping})
    assert flapping[0][1]["falls"] == 3
    assert all(later - sooner >= SUMMARY_S for (sooner, _), (later, _) in pairwise(flapping))
    assert len(flapping) == 1 + ceil(FLAPS * FLAP_S / SUMMARY_S)
    changes = [line for _, line in told if line["event"] == "link_changed"]
    assert len(changes) <= 3 * 3 + 1, "of two falls before, of the third, and the end"
    assert (changes[-1]["state"], changes[-1]["reason"]) == ("up", "steady again")


def test_a_flapping_link_that_stays_down_is_told_of_soon() -> None:
    told = told_of(10, 30.0, stays_down=True)
    at_s, line = told[-1]
    assert (line["event"], line["state"]) == ("link_changed", LinkState.DOWN.value)
    fell_s = 10.0 + 9 * FLAP_S
    assert fell_s + LASTING_S <= at_s <= fell_s + LASTING_S + 2.0


def test_without_a_bound_a_flapping_link_floods_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: each look tells."""
    monkeypatch.setattr(link_news, "SUMMARY_S", 0.0)
    assert len(told_of(FLAPS, 3 * HALF_LIFE_S, stays_down=False)) > FLAPS / 2
