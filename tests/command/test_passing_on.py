"""A call that nobody confirms reaches every post, is one alarm wherever it came from, and is confirmed for all."""

from pathlib import Path

from edge_agent.command.board import Board
from edge_agent.command.passing_on import PassingOn
from edge_agent.command.presses import Presses
from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.telemetry.calls import operation_of
from edge_agent.telemetry.payloads import SOS_CLOSE_FLOW, SOS_CONFIRM_FLOW, SOS_FLOW, Sos, SosUpdate
from tests.command.deliveries import START_MS, Arrivals
from tests.command.memory_door import MemoryDoor
from tests.command.payloads import position

POSTS = ("cp-2", "cp-3")


def _board() -> Board:
    return Board(node_id="cp-1", posts=POSTS)


def _raise(board: Board) -> str:
    sos = Arrivals().of(
        SOS_FLOW,
        Sos(at_ms=START_MS, text="翻船", position=position(START_MS).pack()),
        START_MS + 400,
        precedence="flash",
    )
    board.apply(sos)
    return sos.bundle


async def test_a_call_is_passed_on_once_after_a_minute_with_all_that_is_known(tmp_path: Path) -> None:
    door, board = MemoryDoor(tmp_path), _board()
    sos, passing_on = _raise(board), PassingOn(board, door, 60.0)
    assert not await passing_on.look(START_MS + 60_399)
    assert await passing_on.look(START_MS + 60_400)
    assert not await passing_on.look(START_MS + 99_000)
    assert [(each.to, each.flow, each.precedence, each.operation) for each in door.submitted] == [
        (post, SOS_FLOW, Precedence.FLASH, operation_of(BundleId.parse(sos))) for post in POSTS
    ]
    copy = Sos.unpack(door.submitted[0].payload)
    assert (copy.of, copy.at_ms, copy.text, copy.position) == (sos, START_MS, "翻船", position(START_MS).pack())


async def test_a_call_waits_its_minute_though_our_clock_was_set_back(tmp_path: Path) -> None:
    """By a day: it is passed on after a minute, not after a day."""
    door, board = MemoryDoor(tmp_path), _board()
    _raise(board)
    passing_on, set_back_ms = PassingOn(board, door, 60.0), START_MS - 86_400_000
    assert not await passing_on.look(set_back_ms)
    assert not await passing_on.look(set_back_ms + 59_999)
    assert await passing_on.look(set_back_ms + 60_000)


async def test_a_confirmed_or_withdrawn_call_stays_where_it_is(tmp_path: Path) -> None:
    door, board = MemoryDoor(tmp_path), _board()
    alarm = board.alarm(_raise(board))
    assert alarm is not None
    alarm.withdrawn_ms = START_MS + 900
    assert not await PassingOn(board, door, 60.0).look(START_MS + 99_000)
    alarm.withdrawn_ms = None
    alarm.confirm("王敏", START_MS + 1000)
    assert not await PassingOn(board, door, 60.0).look(START_MS + 99_000)
    assert door.submitted == []


async def test_a_post_whose_bundle_was_refused_is_told_at_the_next_look(tmp_path: Path) -> None:
    """And the other one not twice."""
    door, board = MemoryDoor(tmp_path, refuses={"cp-3"}), _board()
    _raise(board)
    passing_on = PassingOn(board, door, 60.0)
    await passing_on.look(START_MS + 61_000)
    assert board.alarms[0].passed_on_ms is None
    door.refuses = set()
    await passing_on.look(START_MS + 62_000)
    assert [each.to for each in door.submitted] == ["cp-2", "cp-3"]
    assert board.alarms[0].passed_on_ms == START_MS + 62_000


def test_one_call_is_one_alarm_by_whatever_way_it_comes() -> None:
    """From the unit, from the unit as a copy, from another post; in any order."""
    arrivals = Arrivals()
    direct = arrivals.of(SOS_FLOW, Sos(at_ms=START_MS, text="翻船"), START_MS + 10, precedence="flash")
    copy = Sos(at_ms=START_MS, text="翻船", of=direct.bundle)
    by_unit = arrivals.of(SOS_FLOW, copy, START_MS + 70_000, precedence="flash")
    by_post = arrivals.of(SOS_FLOW, copy, START_MS + 71_000, precedence="flash", source="cp-2")
    for ways in ((direct, by_unit, by_post), (by_post, by_unit, direct), (by_unit, by_post)):
        board = _board()
        for each in ways:
            board.apply(each)
        [alarm] = board.alarms
        assert (alarm.id, alarm.units, alarm.text) == (direct.bundle, ["kit-7"], "翻船")
        assert alarm.passed_by == ("cp-2" if ways[0] is by_post else "")
        assert list(board.units) == ["kit-7"], "a post is no unit: its silence is no lost contact"


async def test_who_confirms_at_one_post_confirms_at_all(tmp_path: Path) -> None:
    """The unit and the other posts are told; a post that is told shows the name and stops its sound."""
    door, here, there, arrivals = MemoryDoor(tmp_path), _board(), Board(node_id="cp-2", posts=("cp-1",)), Arrivals()
    sos = _raise(here)
    copy = arrivals.of(SOS_FLOW, Sos(at_ms=START_MS, of=sos), START_MS + 61_000, precedence="flash", source="cp-1")
    there.apply(copy)
    presses = Presses(here, door)
    await presses.press("duty", {"name": "王敏"}, START_MS)
    await presses.press("confirm", {"alarm": sos}, START_MS + 62_000)
    await presses.press("close", {"alarm": sos, "reason": "已救出"}, START_MS + 99_000)
    assert [(each.to, each.flow) for each in door.submitted] == [
        (to, flow) for flow in (SOS_CONFIRM_FLOW, SOS_CLOSE_FLOW) for to in ("kit-7", *POSTS)
    ]
    for each in door.submitted:
        if each.to == "cp-2":
            there.apply(arrivals.of(each.flow, each.payload, START_MS + 100_000, source="cp-1"))
    [alarm] = there.alarms
    assert alarm.confirmed == {"by": "王敏", "at_ms": START_MS + 62_000, "reason": ""}
    assert alarm.closed == {"by": "王敏", "at_ms": START_MS + 99_000, "reason": "已救出"}
    assert not alarm.is_open


def test_an_update_for_a_call_that_is_not_known_changes_nothing() -> None:
    board, arrivals = _board(), Arrivals()
    update = SosUpdate(sos="kit-7~00000000000000aa~F9", at_ms=START_MS, by="王敏")
    board.apply(arrivals.of(SOS_CONFIRM_FLOW, update, START_MS, source="cp-2"))
    board.apply(arrivals.of(SOS_CONFIRM_FLOW, b"?", START_MS, source="cp-2"))
    assert (board.alarms, board.units) == ([], {})
    assert board.drops == {"payload_sos.confirm": 1}
