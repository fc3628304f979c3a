"""Clocks that are wrong, step or drift: no unit is silent unseen, none is heard that said nothing, no age lies."""

from dataclasses import replace

from edge_agent.command.board import HEARD_WRITTEN_MS, Board
from edge_agent.command.documents import Document, DocumentKey
from edge_agent.command.unit import DUE_FLOOR_S, LOST_RATIO, MUTE_MAX_MIN, NEWS_MS
from edge_agent.telemetry.payloads import (
    POSITION_FLOW,
    READING_FLOW,
    REPORT_FLOW,
    SOS_FLOW,
    TEXT_FLOW,
    ReadingBatch,
    Sos,
    Text,
)
from tests.command.deliveries import START_MS, Arrivals
from tests.command.payloads import DUE_S, position, report

HOUR_MS = 3_600_000
UNIT = DocumentKey("unit", "kit-7")


def test_a_unit_that_falls_silent_is_found_though_our_clock_was_set_back() -> None:
    """An hour back: lost after its own three intervals, not after an hour more."""
    board, arrivals = Board(), Arrivals()
    board.apply(arrivals.of(REPORT_FLOW, report(START_MS), START_MS))
    set_back_ms = START_MS - HOUR_MS
    board.tick(set_back_ms, 0)
    assert board.units["kit-7"].state == "on_time"
    board.tick(set_back_ms + int(LOST_RATIO * DUE_S * 1000) + 1, 0)
    assert board.units["kit-7"].state == "lost"
    assert board.units["kit-7"].reported_ms == set_back_ms


def test_a_mute_ends_in_its_time_though_our_clock_was_set_back() -> None:
    """It never lasts longer than a person may ask for."""
    board, arrivals = Board(), Arrivals()
    board.apply(arrivals.of(REPORT_FLOW, report(START_MS), START_MS))
    board.units["kit-7"].muted_until_ms = START_MS + MUTE_MAX_MIN * 60_000
    set_back_ms = START_MS - HOUR_MS
    board.tick(set_back_ms, 0)
    assert board.units["kit-7"].muted_until_ms == set_back_ms + MUTE_MAX_MIN * 60_000
    assert board.tick(set_back_ms + MUTE_MAX_MIN * 60_000, 0)
    assert board.units["kit-7"].muted_until_ms is None


def test_the_report_made_last_counts_though_the_kits_clock_was_corrected() -> None:
    """A kit two hours ahead is put right: its next report counts, and was heard when it came, by our clock."""
    board, arrivals = Board(), Arrivals()
    board.apply(arrivals.of(REPORT_FLOW, report(START_MS + 2 * HOUR_MS, due_s=60), START_MS))
    board.apply(arrivals.of(REPORT_FLOW, report(START_MS + 20_000, due_s=10), START_MS + 20_000))
    assert board.units["kit-7"].due_s == 10
    assert board.units["kit-7"].reported_ms == START_MS + 20_000


def test_an_older_report_by_a_slower_link_changes_nothing() -> None:
    """Its number says which of two was made first, whatever the order of arrival."""
    board, arrivals = Board(), Arrivals()
    older = arrivals.of(REPORT_FLOW, report(START_MS, due_s=60), START_MS + 9000)
    board.apply(arrivals.of(REPORT_FLOW, report(START_MS + 1, due_s=10), START_MS + 8000))
    board.apply(older)
    assert board.units["kit-7"].due_s == 10
    assert board.units["kit-7"].reported_ms == START_MS + 8000


def test_facts_of_a_corrected_clock_replace_those_from_the_future() -> None:
    """Nothing is captured after it arrived: the fix and the value that come next are the newest."""
    board, arrivals = Board(), Arrivals()
    for number, captured_ms in enumerate((START_MS + 2 * HOUR_MS, START_MS + 1000)):
        at_ms = START_MS + number * 1000
        board.apply(arrivals.of(POSITION_FLOW, position(captured_ms), at_ms))
        rows = [
            ["gas", float(number), "%", "good", captured_ms - 500],
            ["gas", float(number), "%", "good", captured_ms],
        ]
        board.apply(arrivals.of(READING_FLOW, ReadingBatch(device="d", rows=rows), at_ms))
    unit = board.units["kit-7"]
    assert unit.position is not None
    assert unit.position["captured_ms"] == START_MS + 1000
    assert (unit.readings["gas"]["value"], unit.readings["gas"]["captured_ms"]) == (1.0, START_MS + 1000)
    offsets_ms = [at_ms - START_MS for at_ms, _ in unit.readings["gas"]["history"]]
    assert offsets_ms == [-500, 0, 500, 1000]  # the samples keep their distances


def test_a_position_that_comes_again_from_a_clock_ahead_gets_no_younger() -> None:
    """Two hours ahead: a fix that was sent twice, or an older one by a slow link, is not as young as its arrival."""
    board, arrivals = Board(), Arrivals()
    for said_ms in (START_MS + 2 * HOUR_MS, START_MS + 2 * HOUR_MS + 10_000):
        board.apply(arrivals.of(POSITION_FLOW, position(said_ms), said_ms - 2 * HOUR_MS))
    for number in range(3):
        old = position(START_MS + 2 * HOUR_MS + 5_000 * number)
        board.apply(arrivals.of(POSITION_FLOW, old, START_MS + 600_000 + number))
    unit = board.units["kit-7"]
    assert unit.position is not None
    assert unit.position["captured_ms"] == START_MS + 10_000
    assert [point["captured_ms"] for point in unit.track] == [START_MS, START_MS + 10_000]
    board.apply(arrivals.of(POSITION_FLOW, position(START_MS + 2 * HOUR_MS + 700_000), START_MS + 700_000))
    assert unit.position["captured_ms"] == START_MS + 700_000


def test_what_a_unit_stamped_before_its_clock_was_set_is_told_by_its_age() -> None:
    """A position, a text, a reading and a call of 1970, which came a minute after they were made; texts say "about"."""
    board, arrivals, year_1970_ms = Board(), Arrivals(), 40_000
    for flow, payload in (
        (POSITION_FLOW, position(year_1970_ms)),
        (TEXT_FLOW, Text(text="到了", at_ms=year_1970_ms)),
        (READING_FLOW, ReadingBatch(device="d", rows=[["gas", 1.0, "%", "good", year_1970_ms]])),
        (SOS_FLOW, Sos(at_ms=year_1970_ms)),
    ):
        delivery = arrivals.of(flow, payload, START_MS)
        board.apply(replace(delivery, restamp_ms=START_MS - 60_000 - year_1970_ms))
    unit, made_ms = board.units["kit-7"], START_MS - 60_000
    assert unit.position is not None
    assert unit.position["captured_ms"] == made_ms
    assert unit.readings["gas"]["captured_ms"] == made_ms
    assert [(each["at_ms"], each["is_estimated"]) for each in unit.messages] == [(made_ms, True)]
    assert [(each.raised_ms, each.is_estimated) for each in board.alarms] == [(made_ms, True)]


def test_what_a_unit_says_stays_while_our_own_clock_is_not_set() -> None:
    board, arrivals = Board(), Arrivals()
    board.apply(arrivals.of(TEXT_FLOW, Text(text="到了", at_ms=START_MS), 40_000))
    board.apply(arrivals.of(READING_FLOW, ReadingBatch(device="d", rows=[["gas", 1.0, "%", "good", START_MS]]), 41_000))
    unit = board.units["kit-7"]
    assert unit.messages[0]["at_ms"] == unit.readings["gas"]["captured_ms"] == START_MS


def test_drift_between_clocks_does_not_end_lost_contact() -> None:
    """The last frame reads a few milliseconds later at each look; only a younger frame is news."""
    board, arrivals = Board(), Arrivals()
    board.apply(arrivals.of(REPORT_FLOW, report(START_MS), START_MS))
    for second in range(100, 110):
        board.tick(START_MS + second * 1000, 0)
        board.heard("kit-7", START_MS + second)
    assert [alarm.is_open for alarm in board.alarms] == [True]
    board.heard("kit-7", START_MS + NEWS_MS + 1)
    assert [alarm.is_open for alarm in board.alarms] == [False]


def test_an_interval_below_our_own_tick_does_not_make_a_unit_late() -> None:
    """A unit that says ten reports a second is looked for as if it had said one in two."""
    board, arrivals = Board(), Arrivals()
    board.apply(arrivals.of(REPORT_FLOW, report(START_MS, due_s=0.1), START_MS))
    assert board.units["kit-7"].due_s == DUE_FLOOR_S
    board.tick(START_MS + 1000, 0)
    assert board.units["kit-7"].state == "on_time"


def test_frames_alone_write_little_and_seldom_and_are_not_forgotten() -> None:
    """A frame changes one small document, at most every ten seconds; after a restart the unit was heard then."""
    board, arrivals = Board(), Arrivals()
    board.apply(arrivals.of(REPORT_FLOW, report(START_MS), START_MS))
    written: dict[DocumentKey, Document | None] = dict(board.take_changes())
    writes = 0
    for step in range(1, 120):
        board.heard("kit-7", START_MS + step * 250)
        changes = board.take_changes()
        assert UNIT not in changes
        writes += len(changes)
        written |= changes
    assert writes == 29_750 // HEARD_WRITTEN_MS
    again = Board()
    again.load({key: content for key, content in written.items() if content is not None})
    assert START_MS + 29_750 - again.units["kit-7"].last_heard_ms < HEARD_WRITTEN_MS
