"""The desk: what people press, what is told at once, what is on disk, over a full disk and over kill -9."""

import asyncio
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from edge_agent.command.desk import FATES_MAX, CommandDesk
from edge_agent.command.documents import Documents
from edge_agent.command.door import Found
from edge_agent.command.order import Order
from edge_agent.core.errors import ActionError, RefusedError
from edge_agent.core.progress import Progress
from edge_agent.telemetry.payloads import (
    ORDER_FLOW,
    REPORT_FLOW,
    SOS_CLOSE_FLOW,
    SOS_CONFIRM_FLOW,
    SOS_FLOW,
    Sos,
    SosUpdate,
)
from tests.command.deliveries import START_MS, Arrivals
from tests.command.memory_door import MemoryDoor
from tests.command.payloads import report

TURNS = 10
"""Of the event loop: from the door to a page's event no disk and no timer may stand in the way."""


@asynccontextmanager
async def _running(door: MemoryDoor) -> AsyncIterator[CommandDesk]:
    desk = CommandDesk(door)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(desk.run())
        yield desk
        task.cancel()


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def _raise_sos(door: MemoryDoor, arrivals: Arrivals) -> str:
    sos = arrivals.of(SOS_FLOW, Sos(at_ms=START_MS), START_MS + 400, precedence="flash")
    door.arrived.put_nowait(sos)
    await _turns()
    return sos.bundle


async def test_an_sos_wakes_the_pages_while_the_disk_is_busy(tmp_path: Path) -> None:
    """Shown within a few turns of the loop; acknowledged to the store only when it is written."""
    door, arrivals = MemoryDoor(tmp_path), Arrivals()
    async with _running(door) as desk:
        await _turns()
        with closing(sqlite3.connect(tmp_path / "board.db", isolation_level=None)) as other:
            other.execute("begin immediate")
            event = desk.watch()
            event.clear()
            sos = await _raise_sos(door, arrivals)
            assert event.is_set()
            assert [alarm["id"] for alarm in (await desk.state(START_MS))["alarms"]] == [sos]
            assert door.acknowledged == 0
            other.execute("rollback")
        async with asyncio.timeout(10):
            await door.acknowledgement.wait()
        assert door.acknowledged == 1


async def test_two_browsers_that_confirm_at_once_give_one_name(tmp_path: Path) -> None:
    """Both are answered with the first one's name, and the unit is told once."""
    door, arrivals = MemoryDoor(tmp_path), Arrivals()
    async with _running(door) as desk:
        sos = await _raise_sos(door, arrivals)
        await desk.act("duty", {"name": "王敏"}, START_MS)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(desk.act("confirm", {"alarm": sos}, START_MS + 1))
            await asyncio.sleep(0)
            await desk.act("duty", {"name": "李强"}, START_MS)
            second = group.create_task(desk.act("confirm", {"alarm": sos}, START_MS + 2))
        answers = [first.result(), second.result()]
    assert answers == [{"by": "王敏", "at_ms": START_MS + 1}] * 2
    assert [(each.flow, each.to, SosUpdate.unpack(each.payload).by) for each in door.submitted] == [
        (SOS_CONFIRM_FLOW, "kit-7", "王敏")
    ]


async def test_confirms_that_run_together_tell_the_unit_once(tmp_path: Path) -> None:
    """Eight presses in the same turn are one confirmation."""
    door, arrivals = MemoryDoor(tmp_path), Arrivals()
    async with _running(door) as desk:
        sos = await _raise_sos(door, arrivals)
        await desk.act("duty", {"name": "王敏"}, START_MS)
        answers = await asyncio.gather(*(desk.act("confirm", {"alarm": sos}, START_MS + n) for n in range(8)))
    assert answers == [{"by": "王敏", "at_ms": START_MS}] * 8
    assert len(door.submitted) == 1


async def test_an_sos_is_closed_by_a_person_with_a_reason_after_it_was_confirmed(tmp_path: Path) -> None:
    """Not before, not without a reason; and the unit hears why."""
    door, arrivals = MemoryDoor(tmp_path), Arrivals()
    async with _running(door) as desk:
        sos = await _raise_sos(door, arrivals)
        await desk.act("duty", {"name": "王敏"}, START_MS)
        with pytest.raises(ActionError, match="confirm it before"):
            await desk.act("close", {"alarm": sos, "reason": "误报"}, START_MS)
        await desk.act("confirm", {"alarm": sos}, START_MS)
        with pytest.raises(ActionError, match="reason"):
            await desk.act("close", {"alarm": sos, "reason": "  "}, START_MS)
        await desk.act("close", {"alarm": sos, "reason": "已救出"}, START_MS + 9)
        [alarm] = (await desk.state(START_MS))["alarms"]
    assert alarm["closed"] == {"by": "王敏", "at_ms": START_MS + 9, "reason": "已救出"}
    assert [each.flow for each in door.submitted] == [SOS_CONFIRM_FLOW, SOS_CLOSE_FLOW]


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("confirm", {"alarm": "x"}),
        ("close", {"alarm": "x", "reason": "y"}),
        ("mute", {"unit": "kit-7", "reason": "y", "minutes": 5}),
        ("order", {"to": [], "text": "撤"}),
        ("read", {"message": "x"}),
    ],
)
async def test_nobody_acts_without_a_name_on_duty(tmp_path: Path, action: str, body: dict[str, object]) -> None:
    """Every act of a person stands under a name."""
    async with _running(MemoryDoor(tmp_path)) as desk:
        with pytest.raises(ActionError, match="nobody is on duty"):
            await desk.act(action, body, START_MS)


@pytest.mark.parametrize(
    ("action", "body", "names"),
    [
        ("duty", {"name": "\ud800"}, "name"),
        ("duty", {"name": "x" * 65}, "name"),
        ("duty", {}, "name"),
        ("mute", {"unit": "kit-7", "reason": "", "minutes": 5}, "reason"),
        ("mute", {"unit": "kit-7", "reason": "y", "minutes": 30.1}, "minutes"),
        ("mute", {"unit": "kit-7", "reason": "y", "minutes": 0}, "minutes"),
        ("mute", {"unit": "kit-7", "reason": "y", "minutes": True}, "minutes"),
        ("mute", {"unit": "kit-7", "reason": "y", "minutes": float("nan")}, "minutes"),
        ("mute", {"unit": "kit-9", "reason": "y", "minutes": 5}, "kit-9"),
        ("order", {"to": ["kit-9"], "text": "撤"}, "to"),
        ("order", {"to": [["kit-7"]], "text": "撤"}, "to"),
        ("order", {"to": "kit-9", "text": "撤"}, "to"),
        ("order", {"to": 7, "text": "撤"}, "to"),
        ("order", {"to": ["kit-7"], "text": "\udfff"}, "text"),
        ("order", {"to": ["kit-7"], "text": "撤", "lifetime_s": 5}, "lifetime_s"),
        ("order", {"to": ["kit-7"], "text": "撤", "lifetime_s": float("nan")}, "lifetime_s"),
        ("confirm", {"alarm": ["x"]}, "alarm"),
        ("read", {"message": {}}, "message"),
        ("dance", {}, "dance"),
    ],
)
async def test_a_wrong_press_is_refused_with_the_field_it_is_about(
    tmp_path: Path, action: str, body: dict[str, object], names: str
) -> None:
    """In words, and nothing is sent or changed."""
    door, arrivals = MemoryDoor(tmp_path), Arrivals()
    async with _running(door) as desk:
        door.arrived.put_nowait(arrivals.of(REPORT_FLOW, report(START_MS), START_MS))
        await desk.act("duty", {"name": "王敏"}, START_MS)
        before = await desk.state(START_MS)
        with pytest.raises(ActionError, match=names):
            await desk.act(action, body, START_MS)
        assert await desk.state(START_MS) == before
    assert door.submitted == []


async def test_a_mute_ends_by_itself_and_leaves_an_sos_alone(tmp_path: Path) -> None:
    """The alarm of a muted unit still asks for Confirm."""
    door, arrivals = MemoryDoor(tmp_path), Arrivals()
    async with _running(door) as desk:
        sos = await _raise_sos(door, arrivals)
        await desk.act("duty", {"name": "王敏"}, START_MS)
        await desk.act("mute", {"unit": "kit-7", "reason": "演练", "minutes": 30}, START_MS)
        state = await desk.state(START_MS + 1)
        assert state["units"][0]["muted_until_ms"] == START_MS + 1_800_000
        assert [(alarm["id"], alarm["confirmed"]) for alarm in state["alarms"]] == [(sos, None)]
        desk.look(START_MS + 1_800_000)
        assert (await desk.state(START_MS + 1_800_000))["units"][0]["muted_until_ms"] is None


async def test_nobody_is_lost_because_our_clock_was_set(tmp_path: Path) -> None:
    """From 1970, or by a day: silence counts from then on, and ends as it always does."""
    door, arrivals = MemoryDoor(tmp_path), Arrivals()
    async with _running(door) as desk:
        door.arrived.put_nowait(arrivals.of(REPORT_FLOW, report(START_MS), START_MS))
        await desk.act("duty", {"name": "王敏"}, START_MS)
        for now_ms in (START_MS + 1, START_MS + 86_400_000, START_MS + 86_401_000):
            desk.look(now_ms)
        assert [unit["state"] for unit in (await desk.state(now_ms))["units"]] == ["on_time"]
        for second in range(2, 90):
            desk.look(START_MS + 86_400_000 + second * 1_000)
        assert [unit["state"] for unit in (await desk.state(now_ms))["units"]] == ["lost"]


async def test_an_order_to_all_says_whom_it_missed(tmp_path: Path) -> None:
    """A copy that was refused does not hide those that are on disk; when all were, there is no order."""
    door, arrivals = MemoryDoor(tmp_path), Arrivals()
    async with _running(door) as desk:
        for source in ("kit-1", "kit-2"):
            door.arrived.put_nowait(arrivals.of(REPORT_FLOW, report(START_MS), START_MS, source=source))
        await desk.act("duty", {"name": "王敏"}, START_MS)
        door.refuses = {"kit-2"}
        answer = await desk.act("order", {"to": [], "text": "撤"}, START_MS)
        [order] = (await desk.state(START_MS))["orders"]
        assert order["counts"] == {"accepted": 1, "refused": 1}
        assert answer == {"id": door.submitted[0].bundle, "bundles": [door.submitted[0].bundle]}
        door.refuses = {"kit-1", "kit-2"}
        with pytest.raises(RefusedError, match="no room"):
            await desk.act("order", {"to": [], "text": "回"}, START_MS)
        assert len((await desk.state(START_MS))["orders"]) == 1
    assert [each.flow for each in door.submitted] == [ORDER_FLOW]


async def test_every_copy_on_its_way_is_asked_for_in_turn(tmp_path: Path) -> None:
    """However many there are, none is forgotten, and no look asks for more than its share."""
    door = MemoryDoor(tmp_path)
    desk = CommandDesk(door)  # not running: its own looks would be counted too
    bundles = {f"kit-{number}": f"b-{number}" for number in range(FATES_MAX + 50)}
    desk.board.add_order(Order(id="b-0", text="撤", at_ms=START_MS, expires_ms=START_MS, by="王敏", bundles=bundles))
    last = list(bundles.values())[FATES_MAX:]
    door.fates = dict.fromkeys(last, Found(Progress.DELIVERED, ("radio",)))  # of the others there is no news yet
    assert not await desk.follow_orders(START_MS)
    assert await desk.follow_orders(START_MS)
    [order] = (await desk.state(START_MS))["orders"]
    assert order["counts"] == {"accepted": FATES_MAX, "delivered": 50}


async def test_a_full_disk_is_said_and_nothing_is_lost_when_it_has_room_again(tmp_path: Path) -> None:
    """The page goes on, the press says so, the store is told nothing; then all of it is written."""
    door, arrivals = MemoryDoor(tmp_path), Arrivals()
    async with _running(door) as desk:
        await desk.act("duty", {"name": "王敏"}, START_MS)
        with closing(sqlite3.connect(tmp_path / "board.db")) as disk:
            disk.execute("create trigger full before insert on applied begin select raise(abort, 'disk is full'); end")
            sos = await _raise_sos(door, arrivals)
            with pytest.raises(ActionError, match="disk is full"):
                await desk.act("confirm", {"alarm": sos}, START_MS)
            state = await desk.state(START_MS)
            assert state["not_saved"] == "disk is full"
            assert state["alarms"][0]["confirmed"]["by"] == "王敏"
            assert door.acknowledged == 0
            disk.execute("drop trigger full")
        await desk.act("duty", {"name": "李强"}, START_MS)
        assert (await desk.state(START_MS))["not_saved"] is None
        assert door.acknowledged == 1
        before = await desk.state(START_MS)
    again = CommandDesk(MemoryDoor(tmp_path))
    after = await again.state(START_MS)
    assert {name: after[name] for name in ("alarms", "duty", "events")} == {
        name: before[name] for name in ("alarms", "duty", "events")
    }


async def test_what_comes_again_after_a_crash_is_acknowledged_and_not_applied_twice(tmp_path: Path) -> None:
    """Written, not acknowledged, and killed: the next start tells the store."""
    arrivals = Arrivals()
    sos = arrivals.of(SOS_FLOW, Sos(at_ms=START_MS), START_MS, precedence="flash")
    first, second = MemoryDoor(tmp_path), MemoryDoor(tmp_path)
    async with _running(first) as desk:
        first.arrived.put_nowait(sos)
        async with asyncio.timeout(10):
            await first.acknowledgement.wait()
    async with _running(second) as desk:
        second.arrived.put_nowait(sos)
        async with asyncio.timeout(10):
            await second.acknowledgement.wait()
        assert [event["code"] for event in (await desk.state(START_MS))["events"]] == ["sos", "joined"]
    assert second.acknowledged == 1


_DESK = """
import asyncio, sys
from pathlib import Path
from edge_agent.command.desk import CommandDesk
from edge_agent.telemetry.payloads import TEXT_FLOW, Text
from tests.command.deliveries import START_MS, Arrivals
from tests.command.memory_door import MemoryDoor

class Door(MemoryDoor):
    async def deliveries(self):
        after = int(sys.argv[2])
        arrivals = Arrivals(after + 1)
        while True:
            after += 1
            text = Text(text=str(after), at_ms=START_MS)
            yield arrivals.of(TEXT_FLOW, text, START_MS, source=f"kit-{after % 40}")
            await asyncio.sleep(0.002)  # 50 messages are kept of each unit: 2,000 in all, four seconds

    async def acknowledge(self, position):
        print(position, flush=True)

asyncio.run(CommandDesk(Door(Path(sys.argv[1]))).run())
"""


@pytest.mark.slow
def test_every_delivery_is_on_the_board_once_over_kill_9(tmp_path: Path) -> None:
    """Killed in the middle three times, each start is handed what was not acknowledged: none is missing, none twice."""
    said = 0
    for _ in range(3):
        command = [sys.executable, "-c", _DESK, str(tmp_path), str(said)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as desk:
            assert desk.stdout is not None
            said = int(desk.stdout.readline())
            desk.kill()
            said = max([said, *map(int, desk.stdout.read().split())])
    documents = Documents(tmp_path / "board.db")
    applied = documents.applied_position("aa")
    units = {key.name: content for key, content in documents.load().items() if key.kind == "unit"}
    documents.close()
    assert applied >= said > 0
    shown = Counter(int(message["text"]) for unit in units.values() for message in unit["messages"])
    assert shown == Counter(range(1, applied + 1))
