"""The link report: what a second counts as, what a window is worth, and that nobody can change it unseen."""

from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.link_kinds import TARGETS, LinkKind, kind_of
from edge_agent.link_report import Seen, Verdict, Window, checks_of, overall, seconds_of, window_of
from edge_agent.link_report_page import page_text
from edge_agent.link_report_rows import (
    LinkDay,
    ReportError,
    StatedLink,
    cells_of,
    check_signature,
    csv_text,
    link_days,
)
from edge_agent.link_seconds import Place, SecondRow
from edge_agent.link_seconds_files import ClockOffset, DaySeconds, SecondFiles
from tests.test_link_seconds import CLOCK, DAY, PLACE, START, _files, _row

WINDOW = Window(
    start=START,
    span_s=7200,
    up_s=7200,
    down_s=0,
    arrived=1_000_000,
    lost=0,
    errored_s=0,
    severe_s=0,
    delay_s=0.002,
    delay_max_s=0.004,
    error_s=0.002,
    jitter_s=0.001,
    outages=0,
    repair_s=None,
    doubts=0,
    switches=0,
    switch_s=None,
)
SECRET = bytes(range(32))


def _day(*rows: SecondRow) -> DaySeconds:
    day = DaySeconds(PLACE)
    for row in rows:
        day.rows.setdefault(START + row.second, {}).setdefault(("a", row.second), []).append(row)
    return day


def _seen(*rows: SecondRow) -> str:
    """u, d or . of each second."""
    return "".join({Seen.UP: "u", Seen.DOWN: "d"}.get(each.seen, ".") for each in seconds_of(_day(*rows)))


@pytest.mark.parametrize(
    ("row", "seen"),
    [
        (SecondRow(second=1, seen="ush", arrived=3), "u"),
        (SecondRow(second=1, seen="us", arrived=1, lost=40), "u"),  # severely errored, but something came through
        (SecondRow(second=1, seen="us", lost=4), "d"),
        (SecondRow(second=1, seen="ush", lost=4), "d"),  # the way back alone is not the way there
        (SecondRow(second=1, seen="uh"), "u"),
        (SecondRow(second=1, seen="us"), "."),  # acknowledgements only, which nobody answers
        (SecondRow(second=1, seen="ds"), "d"),
        (SecondRow(second=1, seen="d"), "."),
        (SecondRow(second=1, seen="x"), "d"),
        (SecondRow(second=1, seen="ns"), "."),
        (SecondRow(second=1, seen="", arrived=1, lost=-1), "u"),
    ],
)
def test_what_a_second_was(row: SecondRow, seen: str) -> None:
    assert _seen(row) == seen


def test_a_dead_link_is_down_between_two_questions_and_unobserved_after_the_last() -> None:
    letters = ["ush", "ds", "d", "ds", "d", "d", "uh"]
    rows = [SecondRow(second=at, seen=each, arrived=each == "ush") for at, each in enumerate(letters)]
    assert _seen(*rows) == "uddd..u"
    assert _seen(*(row for row in rows if row.second != 2)) == "udd..u"  # nobody looked for a second
    assert _seen(*rows[1:3], replace(rows[3], second=9)) == "d.d"


def test_of_two_claims_of_a_clock_set_back_the_worse_counts() -> None:
    day = _day(SecondRow(second=5, seen="ush", arrived=3))
    day.rows[START + 5]["a", 77] = [SecondRow(second=77, seen="us", lost=2)]
    [second] = seconds_of(day)
    assert (second.seen, second.arrived, second.lost) == (Seen.DOWN, 3, 2)


def test_a_window_counts_errors_outages_and_repairs() -> None:
    rows = [SecondRow(second=at, seen="ush", arrived=10) for at in range(100)]
    rows[10] = SecondRow(second=10, seen="ush", arrived=9, lost=1)
    rows[20] = SecondRow(second=20, seen="ush", arrived=6, lost=4)
    for at in (30, 31, 32, 60):
        rows[at] = SecondRow(second=at, seen="us", lost=5)
    window = window_of(seconds_of(_day(*rows)), START, 120)
    assert (window.up_s, window.down_s, window.unobserved_s) == (96, 4, 20)
    assert (window.errored_s, window.severe_s) == (6, 5)
    assert (window.outages, window.repair_s) == (2, 2.0)
    assert window.availability_ratio == 0.96
    assert window.success_ratio == pytest.approx(955 / 960)  # frames of an outage count as an outage


def _verdicts(window: Window, kind: LinkKind) -> dict[str, Verdict]:
    return {f"{check.name} {check.limit:g}": check.verdict for check in checks_of(window, TARGETS[kind])}


def test_a_wired_link_is_held_to_the_figures_of_acceptance() -> None:
    assert set(_verdicts(WINDOW, LinkKind.WIRED)) == {
        "availability 0.9999",
        "availability 0.99999",
        "delay 0.01",
        "jitter 0.002",
        "success 0.99999",
        "errored 6",
        "severe 6",
    }
    assert set(_verdicts(WINDOW, LinkKind.WIRED).values()) == {Verdict.PASS}
    a_day = replace(WINDOW, span_s=86_400, up_s=86_395, down_s=5)
    assert _verdicts(a_day, LinkKind.WIRED)["availability 0.9999"] is Verdict.PASS
    assert _verdicts(a_day, LinkKind.WIRED)["availability 0.99999"] is Verdict.FAIL
    for change, failed in (
        ({"up_s": 7199, "down_s": 1}, "availability 0.9999"),
        ({"delay_s": 0.011}, "delay 0.01"),
        ({"jitter_s": 0.0021}, "jitter 0.002"),
        ({"lost": 11}, "success 0.99999"),
        ({"errored_s": 7}, "errored 6"),
        ({"severe_s": 7}, "severe 6"),
    ):
        verdicts = _verdicts(replace(WINDOW, **change), LinkKind.WIRED)
        assert verdicts[failed] is Verdict.FAIL, failed


def test_what_was_not_seen_passes_nothing_and_fails_nothing() -> None:
    half = replace(WINDOW, up_s=3600)
    verdicts = _verdicts(half, LinkKind.WIRED)
    assert verdicts["availability 0.9999"] is verdicts["errored 6"] is Verdict.OPEN
    nothing = replace(WINDOW, up_s=0, arrived=0, delay_s=None, error_s=None, jitter_s=None)
    assert set(_verdicts(nothing, LinkKind.WIRED).values()) == {Verdict.OPEN}
    assert _verdicts(replace(half, down_s=8), LinkKind.WIRED)["availability 0.9999"] is Verdict.FAIL


def test_a_delay_whose_error_reaches_across_the_target_is_open() -> None:
    wide = replace(WINDOW, delay_s=0.008, error_s=0.008)
    assert _verdicts(wide, LinkKind.WIRED)["delay 0.01"] is Verdict.OPEN


def test_no_other_kind_is_silently_held_to_the_wired_figures() -> None:
    geo = replace(WINDOW, delay_s=0.3, error_s=0.05, jitter_s=0.02, up_s=7190, down_s=10, lost=500)
    assert overall(checks_of(geo, TARGETS[LinkKind.SATELLITE])) is Verdict.PASS
    assert overall(checks_of(geo, TARGETS[LinkKind.WIRED])) is Verdict.FAIL
    assert kind_of("", "udp").kind is LinkKind.UNSTATED
    assert overall(checks_of(geo, TARGETS.get(kind_of("", "udp").kind))) is Verdict.NONE
    assert kind_of("", "serial_radio").kind is LinkKind.RADIO
    assert kind_of("satellite", "serial_radio").kind is LinkKind.SATELLITE


def _links(folder: Path, kind: str = "wired") -> list[LinkDay]:
    SecondFiles(folder, "kit-1", "a", {}).write([_row(at) for at in range(7200)], CLOCK)
    return link_days(folder, "kit-1", DAY, [StatedLink("4g", "udp", kind), StatedLink("geo", "udp", "")], START + 9000)


def test_the_day_so_far_has_its_windows_and_each_configured_link(tmp_path: Path) -> None:
    links = _links(tmp_path)
    assert [(each.place, each.kind.kind) for each in links] == [(PLACE, "wired"), (Place("geo", ""), "")]
    assert [(window.start - START, window.span_s, window.up_s) for window in links[0].windows] == [
        (0, 7200, 7200),
        (7200, 1800, 0),
        (0, 9000, 7200),
    ]
    assert links[1].windows[-1].observed_s == 0
    cells = cells_of(links[0], links[0].windows[-1])
    assert (cells["window"], cells["unobserved_s"], cells["delay_clock"]) == ("day", 1800, "not measurable")


def test_seconds_before_the_peer_said_its_name_are_its_own_where_it_is_the_only_one(tmp_path: Path) -> None:
    _files(tmp_path).write([_row(5)._replace(place=Place("4g", ""))], CLOCK)
    _files(tmp_path, "b").write([_row(6)], CLOCK)
    assert [(each.place, each.windows[-1].up_s) for each in link_days(tmp_path, "kit-1", DAY, [], START + 60)] == [
        (PLACE, 2)
    ]
    _files(tmp_path, "c").write([_row(7)._replace(place=Place("4g", "other"))], CLOCK)
    assert len(link_days(tmp_path, "kit-1", DAY, [], START + 60)) == 3


def test_a_signed_report_cannot_be_changed_or_made_by_others(tmp_path: Path) -> None:
    text = csv_text(_links(tmp_path), SECRET).encode()
    check_signature(text, SECRET)
    for changed in (
        text.replace(b",7200,", b",7199,", 1),
        text[:-2] + b"0\n" if text[-2:-1] != b"0" else text[:-2] + b"1\n",
        b"x" + text,
        text + b"more\n",
        text[: text.rindex(b"#")],
        b"",
    ):
        with pytest.raises(ReportError):
            check_signature(changed, SECRET)
    with pytest.raises(ReportError, match="another deployment"):
        check_signature(text, bytes(32))


def test_the_page_has_both_languages_and_loads_nothing(tmp_path: Path) -> None:
    text = page_text(_links(tmp_path), "kit-1", DAY)
    for word in ("Availability", "可用率", "未观测秒", "not stated", "未说明", "kit-1", "4g → command", "无法判定"):
        assert word in text, word
    for word in ("http:", "https:", "src=", "href=", "@import", "<script"):
        assert word not in text, word


def test_rows_of_an_unset_clock_are_told(tmp_path: Path) -> None:
    _files(tmp_path).write([_row(5)], ClockOffset(START, is_set=False))
    links = link_days(tmp_path, "kit-1", DAY, [], START + 60)
    assert "a clock nobody had set" in page_text(links, "kit-1", DAY)
