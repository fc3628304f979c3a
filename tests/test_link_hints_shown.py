"""What a device says of a link stands in ``status --json`` and on the kit's page, with its age, until it is old."""

import json
from types import SimpleNamespace
from typing import Any

from edge_agent.core.link_hint import LinkHint
from edge_agent.core.report import NodeReport
from edge_agent.kit_rows import link_json
from edge_agent.status import link_rows
from edge_agent.terms_words import say_terms
from tests.core.bench import Bench

HINT = LinkHint(quality=0.1, is_up=True, rate_bps=40_000.0, signal_dbm=-113.0, note="LTE 46000")


def ports() -> list[Any]:
    """Stand where LinkPorts stand (Any)."""
    config = SimpleNamespace(transport="udp")
    return [SimpleNamespace(link=link, config=config, lost_reason="") for link in ("4g", "vsat", "spare")]


def told() -> tuple[Bench, NodeReport]:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    for link in ("4g", "vsat"):
        bench.join(link, "kit-1", "command")
    bench.run(2)
    node = bench.places["kit-1"].running
    assert node.hint_link("4g", "modem-1", HINT, bench.now_s)
    bench.run(3)
    return bench, node.report(bench.now_s)


def test_status_shows_each_hint_with_its_age() -> None:
    _, report = told()
    rows = {row["name"]: row["hints"] for row in json.loads(json.dumps(link_rows(report, ports())))}
    assert rows == {
        "4g": [
            {
                "source": "modem-1",
                "quality": 0.1,
                "is_up": True,
                "rate_bps": 40_000.0,
                "signal_dbm": -113.0,
                "snr_db": None,
                "note": "LTE 46000",
                "warns": True,
                "age_s": 3.0,
            }
        ],
        "vsat": [],
        "spare": [],
    }


def test_status_says_it_in_both_languages_once_a_link() -> None:
    _, report = told()
    rows = link_rows(report, ports())
    told_rows = {"links": [*rows, *rows]}
    assert list(say_terms(told_rows, "en")) == [
        "link 4g: modem-1 says -113 dBm LTE 46000 connected (MAY FAIL), 3 s ago"
    ]
    assert list(say_terms(told_rows, "zh")) == ["链路 4g:modem-1 报告 -113 dBm LTE 46000 已接通(可能要断),3 秒前"]


def test_the_kits_page_gets_when_it_was_said() -> None:
    bench, report = told()
    rows = {row["name"]: row["hints"] for row in link_json(report, ports(), bench.now_s, 1_000_000)}
    assert [(hint["source"], hint["signal_dbm"], hint["warns"], hint["at_ms"]) for hint in rows["4g"]] == [
        ("modem-1", -113.0, True, 997_000)
    ]
    assert rows["spare"] == []


def test_an_old_hint_is_shown_nowhere() -> None:
    bench, _ = told()
    bench.run(HINT.good_for_s)
    report = bench.places["kit-1"].running.report(bench.now_s)
    assert all(row["hints"] == [] for row in link_rows(report, ports()))
