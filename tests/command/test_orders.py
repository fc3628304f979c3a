"""Orders as people give and take them back: groups, withdrawal, cancel, answers by persons only."""

from pathlib import Path

import pytest

from edge_agent.command.board import EARLY_CANCELS_MAX, Board
from edge_agent.command.groups import UnitGroup
from edge_agent.command.order import Order
from edge_agent.command.orders import OrderDesk
from edge_agent.core.bundle import BundleId, Origin, Precedence
from edge_agent.core.errors import ActionError
from edge_agent.core.progress import Progress
from edge_agent.telemetry.payloads import (
    CANCEL_FLOW,
    ORDER_FLOW,
    READ_FLOW,
    REPORT_FLOW,
    TEXT_FLOW,
    WITHDRAW_FLOW,
    Ask,
    Text,
)
from edge_agent.telemetry.receipts import gather
from tests.command.deliveries import START_MS, Arrivals
from tests.command.memory_door import MemoryDoor
from tests.command.payloads import report

GROUPS = (
    UnitGroup(name="coast", units=("kit-1?", "boat-9")),
    UnitGroup(name="hills", units=("hill-*",)),
)


@pytest.fixture(name="door")
def fixture_door(tmp_path: Path) -> MemoryDoor:
    return MemoryDoor(tmp_path)


def _desk(door: MemoryDoor, *units: str) -> OrderDesk:
    board, arrivals = Board(node_id="cp-1"), Arrivals()
    for unit in units:
        board.apply(arrivals.of(REPORT_FLOW, report(START_MS, name=f"队 {unit}"), START_MS, source=unit))
    return OrderDesk(board=board, door=door, groups=GROUPS)


async def test_a_withdrawal_goes_flash_to_everyone_of_the_group(door: MemoryDoor) -> None:
    """Also to a unit named by its id that has never reported; not to one outside."""
    desk = _desk(door, "kit-11", "kit-12", "kit-2")
    await desk.give({"text": "撤到高处", "group": "coast", "flow": WITHDRAW_FLOW}, "王敏", START_MS)
    assert [(each.to, each.flow, each.precedence) for each in door.submitted] == [
        (unit, WITHDRAW_FLOW, Precedence.FLASH) for unit in ("kit-11", "kit-12", "boat-9")
    ]
    [order] = desk.board.orders
    assert (order.group, order.is_withdrawal, order.by) == ("coast", True, "王敏")


async def test_what_is_no_order_is_refused_in_words(door: MemoryDoor) -> None:
    desk = _desk(door, "kit-11")
    for body, words in (
        ({"text": " "}, "text: a text of 1 to"),
        ({"text": "撤", "group": "sea"}, "group 'sea': allowed: coast, hills"),
        ({"text": "撤", "group": "hills"}, "no unit of it has reported yet"),
        ({"text": "撤", "to": ["kit-99"]}, "to kit-99: not known here; allowed: .*kit-11.*, group coast"),
        ({"text": "撤", "flow": "sos"}, "flow 'sos': allowed: order, withdraw"),
        ({"text": "撤", "lifetime_s": 5}, "lifetime_s 5: allowed"),
    ):
        with pytest.raises(ActionError, match=words):
            await desk.give(body, "王敏", START_MS)
    assert door.submitted == []


async def test_cancelling_stops_what_waits_and_tells_what_has_left(door: MemoryDoor) -> None:
    """A copy that is finished, or that nobody took, is left alone."""
    desk = _desk(door, "kit-1", "kit-2", "kit-3", "kit-4")
    door.refuses = {"kit-4"}
    given = await desk.give({"text": "撤", "to": []}, "王敏", START_MS)
    first, second, third = given["bundles"]
    [order] = desk.board.orders
    order.advance("kit-2", Progress.DELIVERED, START_MS, ())
    order.advance("kit-3", Progress.DONE, START_MS, ())
    door.submitted.clear()
    await desk.cancel({"order": order.id}, "李强", START_MS + 5)
    assert door.cancelled == [first]
    [told] = door.submitted
    assert (told.flow, told.to, told.precedence) == (CANCEL_FLOW, "kit-2", Precedence.IMMEDIATE)
    assert Ask.unpack(told.payload) == Ask(bundle=second, at_ms=START_MS + 5, by="李强")
    assert [order.state_of(f"kit-{n}") for n in range(1, 5)] == [
        Progress.CANCELLED,
        Progress.DELIVERED,  # until the unit says so itself
        Progress.DONE,
        Progress.REFUSED,
    ]
    assert order.cancelled == {"by": "李强", "at_ms": START_MS + 5}
    assert third not in door.cancelled


def _answer(bundle: str, state: Progress) -> bytes:
    (receipt,) = gather([BundleId.parse(bundle)], state, level="", node="kit-7", by="李强", at_ms=START_MS + 1)
    return receipt.pack(reader="cp-1", writer="kit-7")


@pytest.mark.parametrize(
    ("state", "origin", "shown"),
    [
        (Progress.READ, Origin.PERSON, Progress.READ),
        (Progress.READ, Origin.MACHINE, Progress.ACCEPTED),
        (Progress.DONE, Origin.MACHINE, Progress.ACCEPTED),
        (Progress.HELD, Origin.MACHINE, Progress.HELD),
        (Progress.CANCELLED_THERE, Origin.MACHINE, Progress.CANCELLED_THERE),
    ],
)
def test_only_a_person_has_read_an_order(state: Progress, origin: Origin, shown: Progress) -> None:
    """A machine may say that it is held, expired or cancelled, and is counted when it says that it has read it."""
    board, arrivals = Board(node_id="cp-1"), Arrivals()
    bundle = "cp-1~00000000000000bb~I1"
    board.add_order(
        Order(id=bundle, text="撤", at_ms=START_MS, expires_ms=START_MS, by="王敏", bundles={"kit-7": bundle})
    )
    board.apply(arrivals.of(READ_FLOW, _answer(bundle, state), START_MS + 2, origin=origin))
    assert board.orders[0].state_of("kit-7") is shown
    assert board.drops["receipt_of_no_person"] == (shown is Progress.ACCEPTED)


def test_a_report_that_was_taken_back_is_marked_whichever_came_first() -> None:
    board, arrivals = Board(), Arrivals()
    text = arrivals.of(TEXT_FLOW, Text(text="需要担架", at_ms=START_MS), START_MS)
    ask = Ask(bundle=text.bundle, at_ms=START_MS + 3)
    other = arrivals.of(CANCEL_FLOW, ask, START_MS + 4, source="kit-8")
    steps = (text, arrivals.of(CANCEL_FLOW, ask, START_MS + 4))
    for order in (steps, steps[::-1]):
        board = Board()
        for delivery in (other, *order):
            board.apply(delivery)
        [message] = board.units["kit-7"].messages
        assert message["cancelled_ms"] == START_MS + 3
    board = Board()
    board.apply(text)
    board.apply(other)
    assert board.units["kit-7"].messages[0]["cancelled_ms"] is None, "only who wrote it may take it back"
    for number in range(EARLY_CANCELS_MAX + 3):
        never = Ask(bundle=f"kit-7~00000000000000aa~I{number + 900}", at_ms=START_MS)
        board.apply(arrivals.of(CANCEL_FLOW, never, START_MS))
    assert len(board.early_cancels) == EARLY_CANCELS_MAX


async def test_a_post_without_a_page_takes_any_unit_by_its_id(door: MemoryDoor) -> None:
    """No report comes to it, so without groups it knows none; what is no id is refused all the same."""
    door.hears_reports = False
    desk = OrderDesk(board=Board(), door=door)
    await desk.give({"text": "撤", "to": "kit-99"}, "王敏", START_MS)
    assert [each.to for each in door.submitted] == ["kit-99"]
    with pytest.raises(ActionError, match="allowed: a list of units, empty for all"):
        await desk.give({"text": "撤", "to": ["No Unit"]}, "王敏", START_MS)


async def test_an_order_to_all_is_one_bundle_a_unit(door: MemoryDoor) -> None:
    desk = _desk(door, "kit-1", "kit-2")
    await desk.give({"text": "报人数", "to": []}, "王敏", START_MS)
    assert [(each.to, each.flow, each.precedence) for each in door.submitted] == [
        ("kit-1", ORDER_FLOW, Precedence.IMMEDIATE),
        ("kit-2", ORDER_FLOW, Precedence.IMMEDIATE),
    ]
