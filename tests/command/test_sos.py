"""A call for help is raised whatever is wrong with it, and taken back by nobody but its unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.command.board import Board
from edge_agent.command.calls import EARLY_WITHDRAWALS_MAX
from edge_agent.telemetry.payloads import (
    POSITION_FLOW,
    SOS_CLOSE_FLOW,
    SOS_CONFIRM_FLOW,
    SOS_FLOW,
    SOS_WITHDRAW_FLOW,
    TEXT_FLOW,
    Sos,
    SosUpdate,
    Text,
)
from tests.command.deliveries import START_MS, Arrivals
from tests.command.payloads import position


@given(payload=st.binary(max_size=100) | st.just(Sos(at_ms=START_MS, text="x" * 2001).pack()))
def test_any_bytes_on_the_sos_flow_raise_the_alarm(payload: bytes) -> None:
    """Its details may be lost; unit, link and last known position are not."""
    board, arrivals = Board(), Arrivals()
    board.apply(arrivals.of(POSITION_FLOW, position(START_MS), START_MS))
    board.apply(arrivals.of(SOS_FLOW, payload, START_MS + 5, precedence="flash"))
    [alarm] = board.alarms
    assert (alarm.kind, alarm.units, alarm.via, alarm.received_ms) == ("sos", ["kit-7"], ["radio"], START_MS + 5)
    assert alarm.position is not None
    assert board.drops == {"payload_sos": 1}


def test_the_place_of_a_call_for_help_is_the_newest_that_is_known() -> None:
    """It brings a fix of its own: the unit is on the map by it; one that comes again, or is older, adds nothing."""
    board, arrivals = Board(), Arrivals()
    sos = Sos(at_ms=START_MS, position=position(START_MS - 9000).pack())
    board.apply(arrivals.of(SOS_FLOW, sos, START_MS + 5, precedence="flash"))
    unit = board.units["kit-7"]
    assert board.alarms[0].position == unit.position
    assert unit.position is not None
    assert unit.position["captured_ms"] == START_MS - 9000
    board.apply(arrivals.of(POSITION_FLOW, position(START_MS - 9000), START_MS + 6))
    board.apply(arrivals.of(POSITION_FLOW, position(START_MS - 2000), START_MS + 7))
    text = Text(text="", at_ms=START_MS + 8, phrase="need_people", position=position(START_MS - 9000).pack())
    board.apply(arrivals.of(TEXT_FLOW, text, START_MS + 9))
    assert [each["captured_ms"] for each in unit.track] == [START_MS - 9000, START_MS - 2000]
    assert unit.position["captured_ms"] == START_MS - 2000
    board.apply(arrivals.of(SOS_FLOW, sos, START_MS + 20, precedence="flash"))
    assert board.alarms[1].position == unit.position


def test_a_withdrawal_that_came_first_is_shown_with_its_sos() -> None:
    """By a faster link, and over a restart between the two."""
    board, arrivals = Board(), Arrivals()
    sos = arrivals.of(SOS_FLOW, Sos(at_ms=START_MS), START_MS + 5, precedence="flash")
    withdrawal = SosUpdate(sos=sos.bundle, at_ms=START_MS + 2)
    board.apply(arrivals.of(SOS_WITHDRAW_FLOW, withdrawal, START_MS + 4, precedence="flash"))
    again = Board()
    again.load({key: content for key, content in board.take_changes().items() if content is not None})
    again.apply(sos)
    [alarm] = again.alarms
    assert alarm.withdrawn_ms == START_MS + 2
    assert alarm.is_unconfirmed


def test_a_withdrawal_by_another_unit_takes_nothing_back_early_or_late() -> None:
    """Nor can its flood push out a true one."""
    board, arrivals = Board(), Arrivals()
    sos = arrivals.of(SOS_FLOW, Sos(at_ms=START_MS), START_MS + 5, precedence="flash")
    false = SosUpdate(sos=sos.bundle, at_ms=START_MS + 2)
    for _ in range(EARLY_WITHDRAWALS_MAX + 1):
        board.apply(arrivals.of(SOS_WITHDRAW_FLOW, false, START_MS + 4, source="kit-8"))
    assert board.early_withdrawals == {}
    board.apply(sos)
    board.apply(arrivals.of(SOS_WITHDRAW_FLOW, false, START_MS + 6, source="kit-8"))
    assert board.alarms[0].withdrawn_ms is None


def test_withdrawals_without_an_sos_are_bounded() -> None:
    """The newest are kept."""
    board, arrivals = Board(), Arrivals()
    for number in range(EARLY_WITHDRAWALS_MAX + 5):
        update = SosUpdate(sos=f"kit-7~00000000000000aa~F{number}", at_ms=START_MS)
        board.apply(arrivals.of(SOS_WITHDRAW_FLOW, update, START_MS))
    assert len(board.early_withdrawals) == EARLY_WITHDRAWALS_MAX
    assert f"kit-7~00000000000000aa~F{EARLY_WITHDRAWALS_MAX + 4}" in board.early_withdrawals


@pytest.mark.parametrize("flow", [SOS_CONFIRM_FLOW, SOS_CLOSE_FLOW])
def test_what_a_command_post_says_of_an_sos_is_no_new_one(flow: str) -> None:
    """These two go to kits; seen here they raise nothing."""
    board, arrivals = Board(), Arrivals()
    board.apply(arrivals.of(flow, SosUpdate(sos="x", at_ms=START_MS, by="王敏"), START_MS))
    assert board.alarms == []
