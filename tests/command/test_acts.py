"""What people do at one post is shown at the others, with who and where, in whatever order it comes and how often."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge_agent.command.acts import EARLY_MAX, OUTBOX_MAX, tell_orders
from edge_agent.command.board import Board
from edge_agent.command.delivery import DeliveredBundle
from edge_agent.command.documents import DocumentKey, pack_document
from edge_agent.command.presses import Presses
from edge_agent.core.post_words import ACT_FLOW
from edge_agent.core.progress import Progress
from edge_agent.telemetry.acts import Act, Did
from edge_agent.telemetry.payloads import CANCEL_FLOW, ORDER_FLOW, SOS_FLOW, TEXT_FLOW, Sos, Text
from tests.command.deliveries import START_MS, Arrivals
from tests.command.memory_door import MemoryDoor

Json = dict[str, Any]  # Any: JSON
NAMES = ("county-1", "city-1")


@dataclass(slots=True)
class Post:
    """One post with its people; what it tells the others lies in its outbox until ``give``."""

    name: str
    folder: Path
    first: int
    board: Board = field(init=False)
    door: MemoryDoor = field(init=False)
    presses: Presses = field(init=False)
    arrivals: Arrivals = field(init=False)

    def __post_init__(self) -> None:
        self.board = Board(node_id=self.name, fellows=[each for each in NAMES if each != self.name])
        self.door = MemoryDoor(self.folder, node_id=self.name, name=f"post {self.name}")
        self.presses = Presses(self.board, self.door)
        self.arrivals = Arrivals(self.first)

    async def press(self, action: str, at_ms: int, **body: object) -> Json:
        return await self.presses.press(action, body, START_MS + at_ms)

    def give(self) -> list[DeliveredBundle]:
        """What the others are told, as it comes to them."""
        tell_orders(self.board, self.door.name)
        given = [self.arrivals.of(ACT_FLOW, act, START_MS + 500_000, source=self.name) for act in self.board.outbox]
        self.board.outbox.clear()
        return given

    def take(self, *deliveries: DeliveredBundle) -> None:
        for each in deliveries:
            self.board.apply(each)

    def codes(self) -> list[tuple[str, str]]:
        """Events of what people did, with where."""
        return [(each["code"], each["values"]["where"]) for each in self.board.events if "where" in each["values"]]


@dataclass(slots=True)
class Pair:
    county: Post
    city: Post
    sos: DeliveredBundle
    text: DeliveredBundle


@pytest.fixture(name="pair")
def fixture_pair(tmp_path: Path) -> Pair:
    """Two posts that have one call and one report of kit-7."""
    arrivals = Arrivals()
    sos = arrivals.of(SOS_FLOW, Sos(at_ms=START_MS), START_MS + 10, precedence="flash")
    text = arrivals.of(TEXT_FLOW, Text(text="水位上涨", at_ms=START_MS), START_MS + 20)
    pair = Pair(Post(NAMES[0], tmp_path, 1000), Post(NAMES[1], tmp_path, 2000), sos, text)
    for post in (pair.county, pair.city):
        post.take(sos, text)
    return pair


async def both_act(pair: Pair) -> None:
    """Parted from each other, people at both do the same; the city is earlier with the call, later with the rest."""
    for post, who, at_ms in ((pair.county, "王敏", 2000), (pair.city, "赵军", 1000)):
        await post.press("duty", at_ms - 900, name=who)
        await post.press("confirm", at_ms, alarm=pair.sos.bundle)
    await pair.county.press("close", 3000, alarm=pair.sos.bundle, reason="已救出")
    await pair.city.press("close", 4000, alarm=pair.sos.bundle, reason="误报")
    await pair.county.press("read", 5000, message=pair.text.bundle)
    await pair.city.press("read", 6000, message=pair.text.bundle)
    await pair.city.press("mute", 7000, unit="kit-7", minutes=5, reason="知道了")


async def test_of_two_acts_on_one_thing_the_earlier_counts_and_both_are_kept(pair: Pair) -> None:
    await both_act(pair)
    of_county, of_city = pair.county.give(), pair.city.give()
    pair.county.take(*of_city)
    pair.city.take(*of_county)
    for post in (pair.county, pair.city):
        [alarm] = post.board.alarms
        [message] = post.board.units["kit-7"].messages
        assert alarm.confirmed is not None
        assert alarm.closed is not None
        assert (alarm.confirmed["by"], alarm.closed["by"], alarm.closed["reason"]) == ("赵军", "王敏", "已救出")
        assert [(each["by"], each["reason"]) for each in alarm.also] == [("王敏", ""), ("赵军", "误报")]
        assert (message["read"]["by"], [each["by"] for each in message["also"]]) == ("王敏", ["赵军"])
    [here], [there] = pair.county.board.alarms, pair.city.board.alarms
    assert here.confirmed is not None
    assert here.confirmed["where"] == "post city-1", "what was done elsewhere says where"
    assert here.closed == {"by": "王敏", "at_ms": START_MS + 3000, "reason": "已救出"}
    assert there.closed is not None
    assert there.closed["where"] == "post county-1"
    assert pair.county.codes() == [(code, "post city-1") for code in ("duty", "sos_confirmed", "sos_closed", "muted")]
    assert pair.city.board.units["kit-7"].muted_until_ms is not None
    assert pair.county.board.units["kit-7"].muted_until_ms is None, "nobody's alarm is silenced from elsewhere"


async def play(pair: Pair, folder: Path, seed: int) -> Json:
    """What a third post knows in the end; it gets everything in an order of its own, and some of it twice."""
    rng = random.Random(seed)
    third = Post("city-2", folder, 3000)
    third.board.fellows = NAMES
    order = (await pair.county.press("order", 8000, to=["kit-7"], text="撤", by="王敏"))["id"]
    pair.county.board.orders[0].advance("kit-7", Progress.DELIVERED, START_MS + 8500, ())
    of_county = pair.county.give()
    pair.city.take(*of_county)
    await pair.city.press("order/cancel", 9000, order=order, by="赵军")
    await pair.county.press("order/cancel", 9500, order=order, by="王敏")
    pair.county.board.orders[0].answer(
        "kit-7", order, Progress.CANCELLED_THERE, START_MS + 9900, "李强"
    )  # the kit has answered
    deliveries = [pair.sos, pair.text, *of_county, *pair.county.give(), *pair.city.give()]
    twice = [each for each in deliveries if each.flow == ACT_FLOW and rng.random() < 0.5]
    shuffled = rng.sample(deliveries + twice, len(deliveries) + len(twice))
    for at, each in enumerate(shuffled):
        third.take(each)
        if at == len(shuffled) // 2:
            third.board = restarted(third.board)
    [alarm], [given] = third.board.alarms, third.board.orders
    assert third.board.early_acts == []
    assert third.board.drops == {}
    [message] = third.board.units["kit-7"].messages
    return {
        "alarm": (alarm.confirmed, alarm.closed, sorted(each["by"] for each in alarm.also)),
        "order": (given.text, given.where, given.states, given.cancelled, given.also, given.reply),
        "read": (message["read"], message["also"]),
        "events": sorted(third.codes()),
    }


def restarted(board: Board) -> Board:
    """The board as a new start of its post has it."""
    board.touch("lists", "all")
    changes = board.take_changes()
    again = Board(node_id=board.node_id, fellows=board.fellows)
    again.load({key: content for key, content in changes.items() if content is not None})
    assert pack_document(changes[DocumentKey("lists", "all")] or {})
    return again


async def test_acts_in_any_order_and_twice_end_in_the_same(pair: Pair, tmp_path: Path) -> None:
    await both_act(pair)
    ends = []
    for seed in range(30):
        twins = Pair(Post(NAMES[0], tmp_path, 1000), Post(NAMES[1], tmp_path, 2000), pair.sos, pair.text)
        for post in (twins.county, twins.city):
            post.take(pair.sos, pair.text)
        await both_act(twins)
        ends.append(await play(twins, tmp_path, seed))
    order = ends[0]["order"]
    assert order[:2] == ("撤", "post county-1")
    assert order[2] == {"kit-7": Progress.CANCELLED_THERE}
    assert (order[3]["by"], [each["by"] for each in order[4]], order[5]) == ("赵军", ["王敏"], "李强")
    for seed, end in enumerate(ends):
        assert end == ends[0], f"seed {seed}"


async def test_an_order_is_cancelled_from_another_post_by_both(pair: Pair) -> None:
    """Each tells the unit by its own ways; what waits at the giver does not leave."""
    order = (await pair.county.press("order", 1000, to=["kit-7"], text="撤", by="王敏"))["id"]
    pair.city.take(*pair.county.give())
    await pair.city.press("order/cancel", 2000, order=order, by="赵军")
    assert [(each.flow, each.to) for each in pair.city.door.submitted] == [(CANCEL_FLOW, "kit-7")]
    assert pair.city.door.cancelled == [], "it never had the copy"
    pair.county.take(*pair.city.give())
    await pair.county.presses.call_back_cancelled()
    await pair.county.presses.call_back_cancelled()
    assert pair.county.door.cancelled == [order]
    assert [each.flow for each in pair.county.door.submitted] == [ORDER_FLOW], (
        "and nothing has left that is to be undone"
    )
    [given] = pair.county.board.orders
    assert given.state_of("kit-7") is Progress.CANCELLED
    assert given.cancelled is not None
    assert (given.cancelled["by"], given.cancelled["where"]) == ("赵军", "post city-1")


async def test_lost_contact_acknowledged_at_one_post_is_at_the_others_unless_it_was_raised_since(pair: Pair) -> None:
    for post in (pair.county, pair.city):
        post.board.tick(START_MS + 400_000, START_MS)
        assert [each.kind for each in post.board.alarms] == ["sos", "lost"]
    await pair.county.press("duty", 0, name="王敏")
    lost = pair.county.board.alarms[1]
    await pair.county.press("confirm", 410_000, alarm=lost.id)
    acts = pair.county.give()
    pair.city.take(*acts)
    confirmed = pair.city.board.alarms[1].confirmed
    assert confirmed is not None
    assert (confirmed["by"], confirmed["where"]) == ("王敏", "post county-1")
    later = Post("city-2", pair.city.folder, 3000)
    later.board.fellows = NAMES
    later.take(pair.sos)
    later.board.tick(START_MS + 600_000, START_MS)
    later.take(*acts)
    assert later.board.alarms[1].confirmed is None, "this one is another loss"
    assert ("acknowledged", "post county-1") in later.codes(), "but what was done is shown"


async def test_a_post_without_others_keeps_no_acts(tmp_path: Path) -> None:
    post = Post("county-1", tmp_path, 1000)
    post.board.fellows = ()
    await post.press("duty", 0, name="王敏")
    assert post.board.outbox == []


def act(**fields: Any) -> Act:  # Any: fields of Act
    return Act(**{"did": Did.NOTED, "at_ms": START_MS, "by": "王敏", "where": "county", "code": "duty", **fields})


@pytest.mark.parametrize(
    "wrong",
    [
        act(did="danced"),
        act(code="lost"),
        act(by="x" * 65),
        act(did=Did.ORDER_WENT, states={"kit-7": ["gone", ""]}),
        act(did=Did.ORDER_WENT, states={"kit-7": "read"}),
        act(did=Did.ORDERED, target="county-1~00000000000000aa~I1"),
        act(did=Did.ORDERED, target="county-1~00000000000000aa~I1", order={"bundles": {}}),
        act(
            did=Did.ORDERED,
            target="kit-7~00000000000000aa~I1",
            order={"bundles": {"kit-7": ""}, "expires_ms": 1, "group": "", "is_withdrawal": False},
        ),
    ],
)
def test_an_act_that_cannot_be_is_counted(tmp_path: Path, wrong: Act) -> None:
    post, arrivals = Post("city-1", tmp_path, 1), Arrivals()
    post.take(arrivals.of(ACT_FLOW, wrong, START_MS, source="county-1"))
    assert post.board.drops == {f"payload_{ACT_FLOW}": 1}
    assert (post.board.orders, post.board.units, post.board.early_acts) == ([], {}, [])


def test_an_act_of_a_kit_is_none(tmp_path: Path) -> None:
    post, arrivals = Post("city-1", tmp_path, 1), Arrivals()
    post.take(arrivals.of(ACT_FLOW, act(), START_MS, source="kit-7"))
    assert post.board.drops == {"act_of_a_stranger": 1}
    assert post.board.events == []


def test_acts_that_wait_are_bounded(tmp_path: Path) -> None:
    post, arrivals = Post("city-1", tmp_path, 1), Arrivals()
    for number in range(EARLY_MAX + 1):
        early = act(did=Did.CONFIRMED, kind="sos", target=f"kit-7~00000000000000aa~F{number}")
        post.take(arrivals.of(ACT_FLOW, early, START_MS, source="county-1"))
    assert len(post.board.early_acts) == EARLY_MAX
    assert post.board.drops == {"act_without_target": 1}


async def test_acts_that_are_not_told_yet_are_bounded(pair: Pair) -> None:
    for number in range(OUTBOX_MAX + 1):
        await pair.county.press("duty", number, name=f"{number}")
    assert len(pair.county.board.outbox) == OUTBOX_MAX
    assert pair.county.board.drops == {"act_not_told": 1}
