"""The field's picture: ages never lie, lost contact is raised and clears, an SOS stays until a person closes it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import msgpack
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_agent.command.alarm import ALARMS_MAX, Alarm
from edge_agent.command.board import EVENTS_MAX, Board
from edge_agent.command.documents import Document, DocumentKey
from edge_agent.command.order import Order
from edge_agent.command.unit import HISTORY_MAX, LATE_RATIO, LOST_RATIO, TRACK_MAX, Unit
from edge_agent.telemetry.payloads import (
    PICTURE_FLOW,
    POSITION_FLOW,
    READ_FLOW,
    READING_FLOW,
    REPORT_FLOW,
    SOS_FLOW,
    SOS_WITHDRAW_FLOW,
    Picture,
    Position,
    Read,
    ReadingBatch,
    Sos,
    SosUpdate,
    UnitReport,
)
from edge_agent.telemetry.positions import is_narrow_fix
from tests.command.deliveries import START_MS, Arrivals
from tests.command.payloads import report

DUE_S = 20.0
LISTENING_SINCE_MS = 0


def _report(at_ms: int, *, due_s: float = DUE_S, state: str = "up") -> UnitReport:
    links = [["radio", state, 9600, 0.3, 0.0, "serial_radio"]]
    return UnitReport(
        at_ms=at_ms, due_s=due_s, name="大陈岛前突队", number=7, links=links, backlog=[["picture", 1, 9000, 8]]
    )


def _position(captured_ms: int) -> Position:
    return Position(lat_deg=28.46, lon_deg=121.9, captured_at_ms=captured_ms, system="BD")


def _reported(board: Board, arrivals: Arrivals, at_ms: int, source: str = "kit-7") -> None:
    board.apply(arrivals.of(REPORT_FLOW, _report(at_ms), at_ms, source=source))


def _alarms(board: Board, kind: str) -> list[Alarm]:
    return [alarm for alarm in board.alarms if alarm.kind == kind]


@given(captured=st.lists(st.integers(0, 3_600_000), min_size=1, max_size=40))
def test_shown_position_is_the_newest_captured_whatever_the_order_of_arrival(captured: list[int]) -> None:
    """A relayed old fix goes into the track, in order and once, and never replaces a newer one."""
    board, arrivals = Board(), Arrivals()
    newest_ms = 0
    for step, each in enumerate(captured):
        board.apply(arrivals.of(POSITION_FLOW, _position(START_MS + each), START_MS + 3_600_000 + step))
        newest_ms = max(newest_ms, START_MS + each)
        position = board.units["kit-7"].position
        assert position is not None
        assert position["captured_ms"] == newest_ms
    times = [point["captured_ms"] for point in board.units["kit-7"].track]
    assert times == sorted({START_MS + each for each in captured})[-TRACK_MAX:]


@given(rows=st.lists(st.tuples(st.integers(0, 1000), st.none() | st.floats(-50, 50)), min_size=1, max_size=100))
def test_plot_is_in_order_and_bounded_and_keeps_what_is_missing(rows: list[tuple[int, float | None]]) -> None:
    """The newest sample is the value shown; a missing value stays a hole; old ones fall out first."""
    board, arrivals = Board(), Arrivals()
    for at, value in rows:
        batch = ReadingBatch(device="gas", rows=[["methane", value, "%LEL", "good", START_MS + at]])
        board.apply(arrivals.of(READING_FLOW, batch, START_MS + 5000))
    reading = board.units["kit-7"].readings["methane"]
    expected = sorted(((START_MS + at, value) for at, value in rows), key=lambda row: row[0])
    assert [tuple(point) for point in reading["history"]] == expected[-HISTORY_MAX:]
    assert reading["captured_ms"] == expected[-1][0]
    assert reading["value"] == [value for at, value in rows if START_MS + at == expected[-1][0]][-1]


@given(silences_s=st.lists(st.floats(0.1, 200), min_size=1, max_size=30))
def test_state_is_that_of_the_silence_at_every_tick(silences_s: list[float]) -> None:
    """Late beyond 1.5 times its own interval, lost beyond 3; each loss is one alarm, which ends when it is heard."""
    board, arrivals = Board(), Arrivals()
    now_ms = START_MS
    _reported(board, arrivals, now_ms)
    losses = 0
    for silence_s in silences_s:
        heard_ms = now_ms
        step_ms = int(silence_s * 1000) // 7 + 1
        for n in range(1, 8):
            now_ms = heard_ms + n * step_ms
            board.tick(now_ms, LISTENING_SINCE_MS)
            silent_s = (now_ms - heard_ms) / 1000
            state = board.units["kit-7"].state
            assert (state == "lost") == (silent_s > LOST_RATIO * DUE_S)
            assert (state == "late") == (LATE_RATIO * DUE_S < silent_s <= LOST_RATIO * DUE_S)
        was_lost = board.units["kit-7"].state == "lost"
        losses += was_lost
        assert sum(alarm.is_open for alarm in _alarms(board, "lost")) == was_lost
        now_ms += 1
        _reported(board, arrivals, now_ms)
        assert not any(alarm.is_open for alarm in _alarms(board, "lost"))
        assert len(_alarms(board, "lost")) == losses
    assert [event["code"] for event in board.events].count("back") == losses


def test_a_command_post_that_was_off_blames_nobody_for_that_time() -> None:
    """Silence counts from the start of listening: after an hour off, a unit has its whole interval to be heard."""
    board, arrivals = Board(), Arrivals()
    _reported(board, arrivals, START_MS)
    back_ms = START_MS + 3_600_000
    board.tick(back_ms + int(LATE_RATIO * DUE_S * 1000), back_ms)
    assert board.units["kit-7"].state == "on_time"
    board.tick(back_ms + int(LOST_RATIO * DUE_S * 1000) + 1, back_ms)
    assert board.units["kit-7"].state == "lost"


@given(order=st.permutations(range(5)), gaps_s=st.lists(st.floats(0, 10), min_size=5, max_size=5))
def test_losses_within_a_minute_become_one_alarm_that_ends_with_its_last_unit(
    order: list[int], gaps_s: list[float]
) -> None:
    """Five units that fall silent within 50 s: every one is in exactly one alarm, and three or more share it."""
    board, arrivals = Board(), Arrivals()
    at_ms = START_MS
    for number, gap_s in zip(order, gaps_s, strict=True):
        at_ms += int(gap_s * 1000)
        _reported(board, arrivals, at_ms, source=f"kit-{number}")
    for now_ms in range(START_MS, at_ms + int(LOST_RATIO * DUE_S * 1000) + 2000, 500):
        board.tick(now_ms, LISTENING_SINCE_MS)
    alarms = [alarm for alarm in _alarms(board, "lost") if alarm.is_open]
    assert len(alarms) == 1
    assert sorted(alarms[0].units) == [f"kit-{number}" for number in range(5)]
    back_ms = at_ms + 100_000
    for number in order:
        assert alarms[0].cleared_ms is None
        _reported(board, arrivals, back_ms, source=f"kit-{number}")
        back_ms += 1000
    assert alarms[0].cleared_ms == back_ms - 1000


def test_an_sos_survives_everything_but_a_person() -> None:
    """Flood of later alarms, withdrawal, later SOS of the same unit: the first still asks for Confirm."""
    board, arrivals = Board(), Arrivals()
    first = arrivals.of(SOS_FLOW, Sos(at_ms=START_MS), START_MS + 1400, precedence="flash")
    board.apply(first)
    withdrawn = SosUpdate(sos=first.bundle, at_ms=START_MS + 5000)
    board.apply(arrivals.of(SOS_WITHDRAW_FLOW, withdrawn, START_MS + 6000, precedence="flash"))
    now_ms = START_MS + 10_000
    for _ in range(ALARMS_MAX + 50):
        _reported(board, arrivals, now_ms, source="kit-9")
        now_ms += int(LOST_RATIO * DUE_S * 1000) + 1
        board.tick(now_ms, LISTENING_SINCE_MS)
        now_ms += 61_000
    assert len(board.alarms) <= ALARMS_MAX + 1
    assert len(board.events) == EVENTS_MAX
    [alarm] = _alarms(board, "sos")
    assert alarm.is_unconfirmed
    assert alarm.withdrawn_ms == START_MS + 5000
    assert alarm.confirm("王敏", now_ms)
    assert not alarm.confirm("李强", now_ms + 1)
    assert alarm.is_open
    assert alarm.confirmed == {"by": "王敏", "at_ms": now_ms, "reason": ""}


def test_a_withdrawal_by_another_unit_changes_nothing() -> None:
    """Only the unit that raised an SOS may take it back."""
    board, arrivals = Board(), Arrivals()
    sos = arrivals.of(SOS_FLOW, Sos(at_ms=START_MS), START_MS, precedence="flash")
    board.apply(sos)
    update = SosUpdate(sos=sos.bundle, at_ms=START_MS + 1)
    board.apply(arrivals.of(SOS_WITHDRAW_FLOW, update, START_MS + 2, source="kit-8"))
    assert _alarms(board, "sos")[0].withdrawn_ms is None


def test_the_full_picture_replaces_its_small_one() -> None:
    """Of one photo only the best version that arrived is shown."""
    board, arrivals = Board(), Arrivals()
    for is_small in (True, False):
        picture = Picture(
            image=b"\xff\xd8\xff", mime="image/jpeg", captured_at_ms=START_MS, is_small=is_small, full_id="p1"
        )
        board.apply(arrivals.of(PICTURE_FLOW, picture, START_MS))
    assert [each["is_small"] for each in board.pictures] == [False]


def test_order_of_arrival_after_an_outage_is_numbered_and_told_apart() -> None:
    """Urgent, newest and history carry rising numbers; the gap's parts add up to the gap."""
    board, arrivals = Board(), Arrivals()
    _reported(board, arrivals, START_MS)
    board.tick(START_MS + 300_000, LISTENING_SINCE_MS)
    back_ms = START_MS + 600_000
    board.apply(arrivals.of(SOS_FLOW, Sos(at_ms=back_ms - 1000), back_ms, precedence="flash"))
    board.apply(arrivals.of(POSITION_FLOW, _position(back_ms - 500), back_ms + 100))
    for captured_ms in range(START_MS + 100_000, START_MS + 300_000, 10_000):
        board.apply(arrivals.of(POSITION_FLOW, _position(captured_ms), back_ms + 200))
    unit = board.units["kit-7"].to_json(back_ms + 300)
    assert unit["state"] == "back"
    assert [each["class"] for each in unit["arrivals"]] == ["urgent", "newest", "history"]
    assert all(before["n"] < after["n"] for before, after in pairwise(unit["arrivals"]))
    assert unit["arrivals"][-1]["count"] == 20
    gap = unit["gap"]
    assert sum(part["ms"] for part in gap["parts"]) == gap["to_ms"] - gap["from_ms"] == 600_000
    late_ms = sum(part["ms"] for part in gap["parts"] if part["state"] == "late")
    assert late_ms == 220_000  # ten intervals of history and the newest fix, whose moment was silent too


@given(payload=st.binary(max_size=200), flow=st.sampled_from([POSITION_FLOW, READING_FLOW, PICTURE_FLOW, REPORT_FLOW]))
def test_bytes_that_hold_nothing_are_counted_and_the_unit_still_counts_as_heard(payload: bytes, flow: str) -> None:
    """What no page could show is a count by name, never an error. A dozen bytes may be the short form of a fix."""
    assume(flow != POSITION_FLOW or not is_narrow_fix(payload) or len(payload) not in (12, 14))
    board, arrivals = Board(), Arrivals()
    board.apply(arrivals.of(flow, payload, START_MS))
    assert board.drops == {f"payload_{flow}": 1}
    assert board.units["kit-7"].last_heard_ms == START_MS


def test_a_restart_after_any_step_shows_what_was_shown_before() -> None:
    """Every step writes all that it changed: a board made from the documents so far is the board that wrote them."""
    board, arrivals = Board(), Arrivals()
    sos = arrivals.of(SOS_FLOW, Sos(at_ms=START_MS), START_MS, precedence="flash")
    withdrawal = SosUpdate(sos=sos.bundle, at_ms=START_MS + 1000)
    lost_ms = START_MS + 300_000
    order = "command~00000000000000bb~I1"
    copies = {"kit-7": order}
    steps: list[Callable[[], object]] = [
        *(partial(_reported, board, arrivals, START_MS + 2000 * number, f"kit-{number}") for number in range(4)),
        partial(board.apply, arrivals.of(POSITION_FLOW, _position(START_MS), START_MS)),
        partial(board.apply, sos),
        partial(board.apply, arrivals.of(SOS_WITHDRAW_FLOW, withdrawal, START_MS + 2000)),
        partial(
            board.add_order, Order(id=order, text="撤", at_ms=START_MS, expires_ms=lost_ms, by="王敏", bundles=copies)
        ),
        partial(board.apply, arrivals.of(READ_FLOW, Read(bundle=order, at_ms=START_MS), START_MS)),
        *(partial(board.tick, START_MS + at_ms, LISTENING_SINCE_MS) for at_ms in range(20_000, 80_000, 1000)),
        *(partial(_reported, board, arrivals, lost_ms + number, f"kit-{number}") for number in range(4)),
        partial(_reported, board, arrivals, lost_ms, "kit-7"),
    ]
    written: dict[DocumentKey, Document] = {}
    for step in steps:
        step()
        for key, content in board.take_changes().items():
            if content is None:
                written.pop(key, None)  # an alarm may be raised and folded into a group in one step
            else:
                written[key] = msgpack.unpackb(msgpack.packb(dict(content)))
        again = Board()
        again.load(written)
        assert {unit.id: unit.to_json(lost_ms) for unit in again.units.values()} == {
            unit.id: unit.to_json(lost_ms) for unit in board.units.values()
        }
        assert {alarm.id: alarm.to_json() for alarm in again.alarms} == {
            alarm.id: alarm.to_json() for alarm in board.alarms
        }
        assert [order.to_json() for order in again.orders] == [order.to_json() for order in board.orders]
        assert again.events == board.events
        assert again.take_changes() == {}
    assert [alarm.kind for alarm in board.alarms if alarm.is_open] == ["sos"]
    assert board.orders[0].to_json()["state"] == "read"


def test_what_a_unit_holds_is_shown_and_what_was_asked_for_stays_marked() -> None:
    """Names come by links that can afford them: a report without them leaves the last ones, until nothing waits."""
    board, arrivals = Board(), Arrivals()
    item = "kit-7~00000000000000aa~R5"

    def reported(largest: list[list[object]] | None, held: list[list[int]]) -> Unit:
        made = replace(report(START_MS), held=held, largest=largest, store=[5, 10, True])
        board.apply(arrivals.of(REPORT_FLOW, made, START_MS))
        return board.units["kit-7"]

    unit = reported([[item, "picture", 9000, 60]], [[0, 1, 40, 3], [3, 2, 9100, 60]])
    assert unit.held == [
        {"precedence": "flash", "bundles": 1, "bytes": 40, "oldest_age_s": 3},
        {"precedence": "routine", "bundles": 2, "bytes": 9100, "oldest_age_s": 60},
    ]
    assert unit.store == {"used_bytes": 5, "quota_bytes": 10, "is_full": True}
    assert unit.to_json(START_MS)["state"] == "noted", "a full store is something a person has to know"
    assert unit.largest == [{"bundle": item, "flow": "picture", "bytes": 9000, "age_s": 60, "asked": ""}]
    unit.largest[0]["asked"] = "pull"
    assert [each["asked"] for each in reported(None, [[3, 2, 9100, 65]]).largest] == ["pull"]
    assert [each["asked"] for each in reported([[item, "picture", 9000, 66]], [[3, 1, 9000, 66]]).largest] == ["pull"]
    assert reported(None, []).largest == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"held": [[5, 1, 1, 1]]},
        {"held": [[0, 1, 1]]},
        {"held": [[0, 1, 1, 1]] * 6},
        {"largest": [["kit-7~1", "picture", 1, 1]]},
        {"largest": [[7, "picture", 1, 1]]},
        {"store": [1, 2]},
        {"store": [1, 2, 3]},
    ],
)
def test_holdings_that_no_page_could_show_are_counted(wrong: dict[str, Any]) -> None:
    board = Board()
    board.apply(Arrivals().of(REPORT_FLOW, replace(report(START_MS), **wrong), START_MS))
    assert board.drops == {"payload_report": 1}
