"""What ``status`` and the kit's page say of a link: what it may carry apart from what it carries, and that it flaps."""

from types import SimpleNamespace
from typing import Any

import pytest

from edge_agent.core.effects import LinkState
from edge_agent.kit_rows import link_json
from edge_agent.status import link_rows
from edge_agent.status_words import say_rate
from link_sim.nodes.world import World
from tests.core.test_damping import KIT, flap
from tests.core.test_link_queue import NARROW
from tests.core.test_pacing import bulk_world

NOW_MS = 1_000_000


def rows(world: World) -> list[dict[str, Any]]:  # Any: JSON
    return link_rows(world.report(KIT), ports())


def ports() -> list[Any]:
    """Stands where LinkPorts stand (Any)."""
    return [SimpleNamespace(link="link", config=SimpleNamespace(transport="udp"), lost_reason="")]


@pytest.mark.slow
def test_an_idle_link_keeps_its_rate_and_says_how_old_it_is() -> None:
    world = bulk_world(NARROW, bundles=4)
    world.run_until(20.0)
    (busy,) = rows(world)
    assert busy["rate_age_s"] < 2.0
    assert busy["goodput_bps"] > 0.8 * NARROW.rate_bps
    world.run_until(140.0)
    (idle,) = rows(world)
    assert idle["goodput_bps"] == 0.0
    assert idle["rate_bps"] == pytest.approx(64_000, rel=0.2)
    assert idle["rate_age_s"] > 60.0
    told = say_rate(idle, "en")
    assert told.startswith(", estimated ")
    assert f"measured {idle['rate_age_s']:.0f} s ago" in told
    assert "goodput" not in told


def test_both_figures_are_named_in_both_languages() -> None:
    row = {"rate_bps": 64_000.0, "rate_age_s": 3.2, "goodput_bps": 800.0, "falls": 4, "flapping_s": 61.0}
    assert say_rate(row, "en") == (
        ", estimated 64.0 kbit/s (measured 3 s ago), goodput 0.8 kbit/s, flapping for 61 s, down 4 times"
    )
    assert say_rate(row, "zh") == ", 估计速率 64.0 kbit/s(3 秒前测得), 实收 0.8 kbit/s, 时断时续 61 秒,断过 4 次"


def test_a_link_that_was_described_and_never_measured_says_no_age() -> None:
    row = {"rate_bps": 9_600.0, "rate_age_s": None, "goodput_bps": 0.0, "falls": 0, "flapping_s": None}
    assert say_rate(row, "en") == ", estimated 9.6 kbit/s"


def test_a_flapping_link_is_down_on_the_page_while_it_is_down() -> None:
    world = bulk_world(NARROW, bundles=0)
    world.run_until(5.0)
    flap(world, "link", 3)
    world.unplug("link", KIT)
    (row,) = link_json(world.report(KIT), ports(), world.now_s, NOW_MS)
    assert row["state"] == LinkState.DOWN.value
    assert row["flapping"]["falls"] == 4
    assert row["flapping"]["since_ms"] == pytest.approx(NOW_MS - 6_000, abs=100)
