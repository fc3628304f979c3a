"""The gap bar: what an outage hid is told bit by bit, until all of it is."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.command.board import Board
from edge_agent.command.gap import BINS_MAX, Gap
from edge_agent.command.unit import BACK_SHOWN_S, GAPS_MAX, Unit
from edge_agent.telemetry.payloads import READING_FLOW, REPORT_FLOW, ReadingBatch
from tests.command.deliveries import START_MS, Arrivals
from tests.command.payloads import report

BACK_MS = START_MS + 600_000


def _unit_back() -> tuple[Board, Arrivals]:
    """A unit that reported every 20 s, was silent for 600 s, and is back."""
    board, arrivals = Board(), Arrivals()
    board.apply(arrivals.of(REPORT_FLOW, report(START_MS), START_MS))
    board.tick(START_MS + 300_000, 0)
    board.apply(arrivals.of(REPORT_FLOW, report(BACK_MS), BACK_MS))
    return board, arrivals


def _history(first_s: int, last_s: int, step_s: int) -> ReadingBatch:
    rows = [["wind", 1.0, "m/s", "good", START_MS + at_s * 1000] for at_s in range(first_s, last_s, step_s)]
    return ReadingBatch(device="mast", rows=rows)


def _missing_ms(unit: Unit, now_ms: int) -> int | None:
    gap = unit.to_json(now_ms)["gap"]
    return None if gap is None else sum(part["ms"] for part in gap["parts"] if part["state"] == "missing")


def test_a_batch_of_history_fills_every_interval_it_covers() -> None:
    """Not only that of its newest value; samples half a minute apart tell what lies between, five minutes do not."""
    board, arrivals = _unit_back()
    unit = board.units["kit-7"]
    board.apply(arrivals.of(READING_FLOW, _history(0, 300, 30), BACK_MS))
    assert _missing_ms(unit, BACK_MS) == 600_000 - 280_000  # up to the last sample's own interval: 260 to 280 s
    board.apply(arrivals.of(READING_FLOW, _history(300, 600, 290), BACK_MS))
    assert _missing_ms(unit, BACK_MS) == 600_000 - 320_000
    board.apply(arrivals.of(READING_FLOW, _history(0, 600, 10), BACK_MS))
    assert _missing_ms(unit, BACK_MS) == 0


def test_filling_goes_on_until_it_is_complete() -> None:
    """History that trickles in for an hour still counts, and the unit is "back" while it does."""
    board, arrivals = _unit_back()
    unit = board.units["kit-7"]
    for part in range(15):
        now_ms = BACK_MS + part * 240_000
        board.apply(arrivals.of(READING_FLOW, _history(part * 40, part * 40 + 40, 10), now_ms))
        board.tick(now_ms, 0)
        assert unit.state == "back"
        assert _missing_ms(unit, now_ms) == 600_000 - (part + 1) * 40_000
    later_ms = now_ms + int(BACK_SHOWN_S * 1000) + 1
    board.heard("kit-7", later_ms)
    board.tick(later_ms, 0)
    assert unit.state == "on_time"
    assert _missing_ms(unit, later_ms) is None


def test_a_gap_that_nothing_fills_is_not_shown_for_ever() -> None:
    """The unit says that nothing waits, and nothing came for five minutes: it was not recorded."""
    board, _ = _unit_back()
    later_ms = BACK_MS + int(BACK_SHOWN_S * 1000) + 1
    board.heard("kit-7", later_ms)
    board.tick(later_ms, 0)
    assert board.units["kit-7"].state == "on_time"
    assert _missing_ms(board.units["kit-7"], later_ms) is None


def test_a_second_outage_keeps_the_first_on_the_bar() -> None:
    """What came between counts as received then; each outage is filled by its own history, whatever comes first."""
    board, arrivals = _unit_back()
    unit = board.units["kit-7"]
    board.apply(arrivals.of(READING_FLOW, _history(200, 300, 10), BACK_MS))
    lost_ms = BACK_MS + 100_000
    board.apply(arrivals.of(REPORT_FLOW, report(lost_ms), lost_ms))
    board.tick(lost_ms + 200_000, 0)
    assert unit.state == "lost"
    again_ms = lost_ms + 240_000
    board.apply(arrivals.of(REPORT_FLOW, report(again_ms), again_ms))
    board.apply(arrivals.of(READING_FLOW, _history(700, 940, 10), again_ms))
    board.apply(arrivals.of(READING_FLOW, _history(0, 100, 10), again_ms))
    unit = Unit.from_document(unit.to_document())
    bar = unit.to_json(again_ms)["gap"]
    told = [(part["state"], part["ms"] // 1000) for part in bar["parts"]]
    assert told == [("late", 100), ("missing", 100), ("late", 100), ("missing", 300), ("received", 100), ("late", 240)]
    assert sum(part["ms"] for part in bar["parts"]) == bar["to_ms"] - bar["from_ms"]
    assert unit.to_json(again_ms)["back_after_s"] == 240
    for number in range(20):
        unit.hear(again_ms + number * 1_000_000 + 900_000)
        unit.state = "lost"
    unit.hear(again_ms + 30_000_000)
    assert len(unit.gaps) == GAPS_MAX


@given(
    whole_ms=st.integers(1, 10 * 86_400_000),
    due_s=st.floats(2, 86_400),
    batches=st.lists(st.lists(st.integers(-1000, 11 * 86_400_000), min_size=1, max_size=20), max_size=8),
)
def test_the_parts_add_up_and_only_ever_fill(whole_ms: int, due_s: float, batches: list[list[int]]) -> None:
    """Whatever comes, in whatever order, from inside the gap or outside."""
    gap = Gap.between(START_MS, START_MS + whole_ms, due_s)
    told_ms = 0
    for number, batch in enumerate(batches):
        gap.fill([START_MS + each for each in batch], START_MS + whole_ms + number)
        parts = gap.parts()
        assert sum(part["ms"] for part in parts) == whole_ms
        assert sum(part["ms"] for part in parts if part["state"] == "late") == gap.late_ms
        assert min(part["ms"] for part in parts) > 0
        assert gap.late_ms >= told_ms
        assert (gap.late_ms > told_ms) <= any(0 <= each < whole_ms for each in batch) or len(batch) > 1
        told_ms = gap.late_ms
    gap.fill(range(START_MS, START_MS + whole_ms, gap.bin_ms), 0)
    assert gap.is_complete
    assert len(gap.filled) <= BINS_MAX
