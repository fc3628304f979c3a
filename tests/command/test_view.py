"""What pages are sent: the text says what the values say, limits are near or far, and a page's load is bounded."""

import json
from functools import partial

import pytest

import edge_agent.command.board as board_module
from edge_agent.command.board import Board
from edge_agent.command.documents import DocumentKey
from edge_agent.command.limits import NEARNESS_MAX, ReadingLimit, limit_of
from edge_agent.command.order import Order
from edge_agent.command.unit import TRACK_MAX, TRACK_SHOWN_ON_TIME
from edge_agent.command.view import BoardView
from edge_agent.telemetry.payloads import (
    PICTURE_FLOW,
    POSITION_FLOW,
    READING_FLOW,
    REPORT_FLOW,
    SOS_FLOW,
    ReadingBatch,
    Sos,
)
from tests.command.deliveries import START_MS, Arrivals
from tests.command.payloads import picture, position, report


def _gas(value: float | None, at_ms: int) -> ReadingBatch:
    return ReadingBatch(device="d", rows=[["methane", value, "%LEL", "good", at_ms]])


def test_what_was_drawn_before_never_hides_a_change() -> None:
    """After every step a view that has drawn all along says what a fresh one says, as values and as text."""
    board, arrivals = Board(), Arrivals()
    limits = [ReadingLimit(series="methane", limit=5.0)]
    kept = BoardView(board, limits)
    order = Order(id="b-1", text="撤", at_ms=START_MS, expires_ms=START_MS, by="王敏", bundles={"kit-7": "b-1"})
    steps = [
        partial(board.apply, arrivals.of(REPORT_FLOW, report(START_MS), START_MS)),
        partial(board.apply, arrivals.of(REPORT_FLOW, report(START_MS), START_MS + 1, source="kit-8")),
        partial(board.heard, "kit-7", START_MS + 500),
        partial(board.apply, arrivals.of(READING_FLOW, _gas(4.0, START_MS), START_MS + 600)),
        partial(board.apply, arrivals.of(READING_FLOW, _gas(None, START_MS + 1), START_MS + 700)),
        partial(board.apply, arrivals.of(PICTURE_FLOW, picture(START_MS, is_small=True), START_MS + 800)),
        partial(board.apply, arrivals.of(SOS_FLOW, Sos(at_ms=START_MS), START_MS + 900, precedence="flash")),
        partial(board.add_order, order),
        partial(board.tick, START_MS + 300_000, 0),
        partial(board.heard, "kit-8", START_MS + 300_500),
        partial(board.apply, arrivals.of(POSITION_FLOW, position(START_MS), START_MS + 301_000)),
    ]
    for step in steps:
        step()
        now_ms = START_MS + 400_000
        fresh = {"operation": "台风", **BoardView(board, limits).content(now_ms)}
        assert {"operation": "台风", **kept.content(now_ms)} == fresh
        assert json.loads(kept.text(now_ms, {"operation": "台风"})) == fresh


def test_units_on_time_send_the_end_of_their_track_and_others_all_of_it() -> None:
    """Forty whole tracks are most of a megabyte a second to each page."""
    board, arrivals = Board(), Arrivals()
    for number in range(TRACK_MAX):
        board.apply(arrivals.of(POSITION_FLOW, position(START_MS + number), START_MS + number))
    track = board.units["kit-7"].to_json(START_MS)["track"]
    assert [point["captured_ms"] for point in track] == [
        START_MS + number for number in range(TRACK_MAX - TRACK_SHOWN_ON_TIME, TRACK_MAX)
    ]
    board.tick(START_MS + 1_000_000, 0)
    assert len(board.units["kit-7"].to_json(START_MS)["track"]) == TRACK_MAX


@pytest.mark.parametrize("sizes", [(True, False), (False, True)])
def test_of_one_photo_the_full_version_is_shown_whichever_came_first(sizes: tuple[bool, bool]) -> None:
    """And two units that number their photos alike do not replace each other's."""
    board, arrivals = Board(), Arrivals()
    for is_small in sizes:
        board.apply(arrivals.of(PICTURE_FLOW, picture(START_MS, is_small=is_small), START_MS))
    board.apply(arrivals.of(PICTURE_FLOW, picture(START_MS, is_small=True), START_MS, source="kit-8"))
    assert [(each["unit"], each["is_small"]) for each in board.pictures] == [("kit-7", False), ("kit-8", True)]


def test_a_unit_pushed_out_leaves_the_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be back after the next start."""
    monkeypatch.setattr(board_module, "UNITS_MAX", 1)
    board, arrivals = Board(), Arrivals()
    board.apply(arrivals.of(REPORT_FLOW, report(START_MS), START_MS, source="kit-1"))
    board.take_changes()
    board.apply(arrivals.of(REPORT_FLOW, report(START_MS), START_MS + 5, source="kit-2"))
    changes = board.take_changes()
    assert changes[DocumentKey("unit", "kit-1")] is None
    assert list(board.units) == ["kit-2"]


@pytest.mark.parametrize(
    ("is_floor", "value", "nearness"),
    [
        (False, 4.1, 0.82),
        (False, 7.5, 1.5),
        (False, -3.0, 0.0),
        (False, None, None),
        (False, 1e300, NEARNESS_MAX),
        (True, 20.0, 0.25),
        (True, 2.5, 2.0),
        (True, 0.0, NEARNESS_MAX),
    ],
)
def test_nearness_is_one_at_the_limit_and_more_beyond(
    is_floor: bool, value: float | None, nearness: float | None
) -> None:
    """For what must not rise above it, and for what must not fall below."""
    found = ReadingLimit(series="x", limit=5.0, is_floor=is_floor).nearness(value)
    assert found is nearness or found == pytest.approx(nearness)


def test_the_first_limit_that_names_series_and_unit_counts() -> None:
    """A unit of its own may have a limit of its own; what nobody limits has none."""
    own, all_units = ReadingLimit(series="met*", unit="kit-7", limit=2.0), ReadingLimit(series="methane", limit=5.0)
    assert limit_of([own, all_units], "kit-7", "methane") is own
    assert limit_of([own, all_units], "kit-8", "methane") is all_units
    assert limit_of([own, all_units], "kit-8", "wind") is None
    with pytest.raises(ValueError, match="above 0"):
        ReadingLimit(series="x", limit=0.0)
