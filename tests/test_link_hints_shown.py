"""What a device says of a link stands in ``status --json`` and on the kit's page, with its age, until it is old."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from edge_agent.command.unit import Unit
from edge_agent.core.bundle import MalformedError
from edge_agent.core.link_hint import LinkHint
from edge_agent.core.report import NodeReport
from edge_agent.hint_rows import TOLD_TIMES, HintRows
from edge_agent.kit_rows import link_json
from edge_agent.status import link_rows
from edge_agent.telemetry.payloads import HINT_COLUMNS, UnitReport
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


def test_a_report_tells_command_of_each_device_in_few_bytes() -> None:
    _, report = told()
    rows = HintRows().next_rows(report.links, is_thin=False, is_open=True)
    assert rows == [["4g", "modem-1", -113, None, True, True, "LTE 46000"]]
    with_hints, without = (
        UnitReport(at_ms=1, due_s=30.0, name="", links=[], backlog=[], hints=each).pack() for each in (rows, None)
    )
    assert UnitReport.unpack(with_hints).hints == rows
    assert len(with_hints) - len(without) <= 40


def test_a_thin_link_carries_a_hint_when_it_changes_and_no_byte_else() -> None:
    """A change is in so many reports that could leave: one that waits is replaced by the next."""
    bench, _ = told()
    rows, node = HintRows(), bench.places["kit-1"].running

    def next_rows(*, is_thin: bool = True, is_open: bool = True) -> list[list[Any]] | None:
        return rows.next_rows(node.report(bench.now_s).links, is_thin=is_thin, is_open=is_open)

    assert HintRows().next_rows((), is_thin=False, is_open=True) is None, "nor where there are none"
    for _ in range(9):
        assert next_rows(is_open=False), "while no link is up nothing counts as told"
    assert [next_rows() is not None for _ in range(TOLD_TIMES + 2)] == [True] * TOLD_TIMES + [False] * 2
    assert node.hint_link("4g", "modem-1", replace(HINT, signal_dbm=-111.0), bench.now_s)
    assert next_rows() is None, "a figure that moved"
    assert next_rows(is_thin=False), "which others are told"
    assert node.hint_link("4g", "modem-1", replace(HINT, quality=0.9), bench.now_s)
    assert next_rows() == [["4g", "modem-1", -113, None, True, False, "LTE 46000"]]
    bench.run(60)
    assert next_rows() == [], "what is too old is taken back"


def test_command_keeps_what_a_report_leaves_out() -> None:
    row = ["4g", "modem-1", -113, None, True, True, "LTE"]
    unit = Unit(id="kit-1")

    def report(hints: list[list[Any]] | None, at_ms: int) -> list[Any]:
        made = UnitReport(at_ms=at_ms, due_s=30.0, name="", links=[], backlog=[], hints=hints)
        unit.take_report(UnitReport.unpack(made.pack()), f"kit-1~00000000000000aa~P{at_ms}", at_ms)
        return list(unit.to_json(at_ms)["hints"])

    first = report([row], 1)
    assert first == [dict(zip(HINT_COLUMNS, row, strict=True)) | {"at_ms": 1}]
    assert report(None, 2) == first
    assert report([], 3) == []


@pytest.mark.parametrize("wrong", [["4g"], ["4g", 1, None, None, None, False, ""], ["4g", "m", 99, None, 7, False, ""]])
def test_hints_that_no_page_could_show_are_refused(wrong: list[Any]) -> None:
    packed = UnitReport(at_ms=1, due_s=30.0, name="", links=[], backlog=[], hints=[wrong]).pack()
    with pytest.raises(MalformedError, match=r"hints|signal_dbm"):
        UnitReport.unpack(packed)
