"""Orders at a unit, played at random over restarts and reboots: once, never when over, and told to who gave them."""

import random
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_agent.core.bundle import BundleHeader, BundleId, BundleRecord, MalformedError, Origin, Precedence
from edge_agent.core.errors import ActionError
from edge_agent.core.progress import Progress, furthest
from edge_agent.disk.ages import Ages, open_ages
from edge_agent.disk.types import Delivery, DiskClock
from edge_agent.flows import FlowTable
from edge_agent.kit_memory import KitMemory, KitOrder
from edge_agent.kit_orders import KitOrders
from edge_agent.sender import BundleSender
from edge_agent.telemetry.payloads import CANCEL_FLOW, ORDER_FLOW, PULL_FLOW, READ_FLOW, WITHDRAW_FLOW, Ask, Text
from edge_agent.telemetry.receipts import read_receipts

LIFETIME_S = 100.0
OPERATION = b"\x07" * 8
FIRST, COPY = (BundleId(source, 5, Precedence.IMMEDIATE, 1) for source in ("command", "cp-2"))
SEEDS = range(60)
STEPS = 14


def _empty_boots() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    database.execute(
        "CREATE TABLE boots (boot INTEGER PRIMARY KEY, boot_id, first_s, last_s, first_wall_ms, last_wall_ms)"
    )
    return database


@dataclass(slots=True)
class Node:
    """Stands where the agent's parts stand: its clocks, what was sent, what it was asked to do with own bundles."""

    node_id: str = "kit-1"
    boot: int = 1
    boottime_s: float = 50.0
    wall_ms: int = 1_763_745_000_000
    sent: list[tuple[BundleHeader, bytes]] = field(default_factory=list)
    cancelled: list[BundleId] = field(default_factory=list)
    promoted: list[BundleId] = field(default_factory=list)
    peer_roles: dict[str, str] = field(default_factory=dict)
    boots: sqlite3.Connection = field(default_factory=_empty_boots)
    ages: Ages = field(init=False)

    async def submit(
        self, header: BundleHeader, precedence: Precedence, payload: bytes, staged: None = None
    ) -> BundleId:
        self.sent.append((header, payload))
        return BundleId(self.node_id, 9, precedence, len(self.sent))

    def cancel(self, bundle: BundleId) -> bool:
        self.cancelled.append(bundle)
        return True

    def report(self) -> "Node":
        return self

    def promote(self, bundle: BundleId) -> bool:
        self.promoted.append(bundle)
        return bundle.sequence == 1

    @property
    def config(self) -> "Node":
        return self

    @property
    def runner(self) -> "Node":
        return self

    @property
    def sender(self) -> BundleSender:
        return BundleSender(self, FlowTable(), self.now_ms)  # type: ignore[arg-type]  # stands where the runner stands

    def now_s(self) -> float:
        return self.boottime_s

    def now_ms(self) -> int:
        return self.wall_ms

    def clock(self) -> DiskClock:
        return DiskClock(boot_id=f"boot-{self.boot}", boottime_s=self.now_s, wall_ms=self.now_ms)

    @property
    def disk(self) -> "Node":
        return self

    def open_store(self) -> None:
        self.ages = open_ages(self.boots, self.clock(), self.now_s())

    def pass_time(self, seconds: float) -> None:
        self.boottime_s += seconds
        self.wall_ms += round(seconds * 1000)

    def told(self, bundle: BundleId) -> set[Progress]:
        """What was said of a bundle to its source."""
        states = set()
        for header, payload in self.sent:
            assert header.flow == READ_FLOW
            (receipt,) = read_receipts(payload, reader=header.destination, writer=self.node_id, at_ms=0)
            if bundle in receipt.bundles():
                states.add(receipt.state)
                is_person = receipt.state in (Progress.READ, Progress.DONE)
                assert header.origin is (Origin.PERSON if is_person else Origin.MACHINE)
        return states


@dataclass(slots=True)
class Kit:
    """One unit's orders over restarts; ``make`` builds them, so that a fault can be planted."""

    folder: Path
    make: type[KitOrders]
    node: Node = field(default_factory=Node)
    position: int = 0
    memory: KitMemory = field(init=False)
    orders: KitOrders = field(init=False)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.node.open_store()
        self.memory = KitMemory(self.folder)
        self.orders = self.make(self.node, self.memory, lambda is_urgent: None)  # type: ignore[arg-type]  # Node stands where the parts stand

    def restart(self) -> None:
        self.memory.close()
        self.open()

    def delivery(self, bundle: BundleId, flow: str, *, age_s: float = 1.0, high_s: float = 1.0) -> Delivery:
        self.position += 1
        header = BundleHeader(
            destination="kit-1",
            flow=flow,
            origin=Origin.PERSON,
            lifetime_s=LIFETIME_S,
            operation_id=OPERATION if flow in (ORDER_FLOW, WITHDRAW_FLOW) else b"",
        )
        return Delivery(
            position=self.position,
            record=BundleRecord(bundle, header, 5, self.node.now_s(), age_s, high_s),
            received_at_ms=self.node.wall_ms,
            peer=bundle.source,
            via=("radio",),
            payload=None,
            redelivered=False,
        )

    async def arrive(
        self, bundle: BundleId, *, flow: str = ORDER_FLOW, age_s: float = 1.0, high_s: float = 1.0
    ) -> None:
        text = Text(text="撤", at_ms=self.node.wall_ms, by="王敏")
        await self.orders.take("s", self.delivery(bundle, flow, age_s=age_s, high_s=high_s), text.pack())

    async def cancel(self, bundle: BundleId, sender: str) -> None:
        ask = Ask(bundle=str(bundle), at_ms=self.node.wall_ms, by="王敏")
        delivery = self.delivery(BundleId(sender, 6, Precedence.IMMEDIATE, self.position), CANCEL_FLOW)
        await self.orders.take_cancel("s", delivery, ask.pack())

    async def answer(self, word: str) -> bool:
        """A person answers the order that is shown; False when it was refused."""
        shown = self.shown()
        if shown is None:
            return False
        try:
            await self.orders.answer(shown.id, word, "李强", self.node.wall_ms)
        except ActionError:
            return False
        return True

    def rows(self) -> list[KitOrder]:
        return [order for order in self.memory.all(KitOrder) if order.received_ms]

    def shown(self) -> KitOrder | None:
        return next(iter(self.rows()), None)


async def play(folder: Path, make: type[KitOrders], seed: int) -> None:
    """Random steps with one order and its copy; every rule is looked at after each."""
    rng, kit = random.Random(seed), Kit(folder, make)
    was_over = is_done = False

    async def reboot() -> None:
        kit.node.boot, kit.node.boottime_s = kit.node.boot + 1, 5.0
        kit.restart()

    async def wait() -> None:
        kit.node.pass_time(rng.choice((1, LIFETIME_S / 2, LIFETIME_S)))
        await kit.orders.look()

    steps: list[Callable[[], Awaitable[object]]] = [
        lambda: kit.arrive(FIRST),
        lambda: kit.arrive(COPY),
        lambda: kit.arrive(FIRST, age_s=5, high_s=2 * LIFETIME_S),
        lambda: kit.cancel(FIRST, "command"),
        lambda: kit.cancel(FIRST, "cp-2"),
        lambda: kit.answer("read"),
        lambda: kit.answer("done"),
        reboot,
        wait,
    ]
    for _ in range(STEPS):
        before = kit.shown()
        was_over = was_over or (before is not None and before.state in ("cancelled", "expired"))
        is_done = is_done or (before is not None and before.state == "done")
        step = rng.choice(steps)
        answered = await step()
        if rng.random() < 0.3:
            kit.restart()
        rows = kit.rows()
        assert len(rows) <= 1, "an order is there once, however often and by whatever way it comes"
        if was_over:
            assert answered is not True, "nobody acts on what was cancelled or has expired"
            assert rows[0].state in ("cancelled", "expired")
        if is_done:
            assert rows[0].state == "done", "what was finished stays so"
        for row in rows:
            if row.state != "delivered":
                for bundle in (row.id, *row.copies):
                    told = kit.node.told(BundleId.parse(bundle))
                    assert row.state in {state.word for state in told}, "both ends say the same"
                    assert row.state != "held" or furthest(told) is Progress.HELD
    kit.memory.close()


class KnowsNoCopies(KitOrders):
    """The planted fault: copies of one operation are two orders."""

    def _find(self, delivery: Delivery) -> KitOrder | None:
        return self._known(str(delivery.record.id))


class ForgetsCancellation(KitOrders):
    """The planted fault: a cancellation that comes before its order is nothing."""

    async def _cancel_order(self, bundle: BundleId, ask: Ask, sender: str) -> None:
        if self._known(str(bundle)) is not None:
            await super()._cancel_order(bundle, ask, sender)


class ActsTooLate(KitOrders):
    """The planted fault: an answer to an order that is over is taken."""

    async def answer(self, order_id: str, answer: str, by: str, now_ms: int) -> None:
        order = self._memory.get(KitOrder, order_id)
        if order is not None:
            order.is_expired = False
        await super().answer(order_id, answer, by, now_ms)


@pytest.mark.parametrize("seed", SEEDS)
async def test_an_order_is_acted_on_once_and_never_when_it_is_over(tmp_path: Path, seed: int) -> None:
    await play(tmp_path, KitOrders, seed)


@pytest.mark.parametrize("planted", [KnowsNoCopies, ActsTooLate])
async def test_the_play_finds_a_planted_fault(tmp_path: Path, planted: type[KitOrders]) -> None:
    async def play_all() -> None:
        for seed in SEEDS:
            folder = tmp_path / str(seed)
            folder.mkdir()
            await play(folder, planted, seed)

    with pytest.raises(AssertionError):
        await play_all()


@pytest.mark.parametrize(("make", "is_safe"), [(KitOrders, True), (ForgetsCancellation, False)])
async def test_a_cancellation_that_came_first_holds_for_its_order(
    tmp_path: Path, make: type[KitOrders], *, is_safe: bool
) -> None:
    """By a faster link, and over a restart between the two; the order is then shown as cancelled."""
    kit = Kit(tmp_path, make)
    await kit.cancel(FIRST, "command")
    assert kit.rows() == []
    kit.restart()
    await kit.arrive(FIRST)
    assert await kit.answer("done") is not is_safe
    assert (Progress.CANCELLED_THERE in kit.node.told(FIRST)) is is_safe


@pytest.mark.parametrize(
    ("ages", "state", "told"),
    [
        ((1.0, 99.0), "delivered", set()),
        ((1.0, 101.0), "held", {Progress.HELD}),
        ((100.0, 900.0), "expired", {Progress.EXPIRED_THERE}),
    ],
)
async def test_the_two_bounds_of_its_age_decide_when_an_order_comes(
    tmp_path: Path, ages: tuple[float, float], state: str, told: set[Progress]
) -> None:
    """Surely inside its lifetime it counts; surely beyond it has expired; in doubt a person has to ask."""
    kit = Kit(tmp_path, KitOrders)
    await kit.arrive(FIRST, age_s=ages[0], high_s=ages[1])
    (order,) = kit.rows()
    assert (order.state, kit.node.told(FIRST)) == (state, told)


async def test_an_order_comes_into_doubt_when_its_upper_age_passes_its_lifetime(tmp_path: Path) -> None:
    """It counted when it came; held a while later; and when it is surely over nobody may act on it."""
    kit = Kit(tmp_path, KitOrders)
    await kit.arrive(FIRST, age_s=1.0, high_s=90.0)
    seen = []
    for _ in range(3):
        await kit.orders.look()
        seen.append(kit.rows()[0].state)
        kit.node.pass_time(50)
    assert seen == ["delivered", "held", "expired"]
    assert not await kit.answer("read")


@pytest.mark.parametrize("wall_ms", [30_000, 1_763_745_000_000 - 86_400_000, 1_763_745_000_000 + 86_400_000])
async def test_an_order_of_an_earlier_boot_is_held_where_no_clock_says_how_long_ago_that_was(
    tmp_path: Path, wall_ms: int
) -> None:
    """The kit was off, and begins in 1970, or a day earlier, or a day later: nobody knows, so a person has to ask."""
    kit = Kit(tmp_path, KitOrders)
    await kit.arrive(FIRST)
    kit.node.boot, kit.node.boottime_s, kit.node.wall_ms = 2, 5.0, wall_ms
    kit.restart()
    await kit.orders.look()
    assert kit.rows()[0].state == "held"
    assert kit.node.told(FIRST) == {Progress.HELD}


async def test_an_order_of_an_earlier_boot_counts_where_the_clock_says_that_it_is_young(tmp_path: Path) -> None:
    kit = Kit(tmp_path, KitOrders)
    await kit.arrive(FIRST)
    kit.node.boot, kit.node.boottime_s, kit.node.wall_ms = 2, 5.0, kit.node.wall_ms + 20_000
    kit.restart()
    await kit.orders.look()
    assert kit.rows()[0].state == "delivered"


async def test_an_order_that_nobody_can_read_is_refused_and_its_giver_is_told(tmp_path: Path) -> None:
    """It was delivered, so without a word command would wait for an answer for ever."""
    kit = Kit(tmp_path, KitOrders)
    with pytest.raises(MalformedError):
        await kit.orders.take("s", kit.delivery(FIRST, ORDER_FLOW), b"\xff\xfe")
    assert kit.rows() == []
    assert kit.node.told(FIRST) == {Progress.REFUSED_THERE}


async def test_a_withdrawal_sounds_until_it_is_answered_or_over(tmp_path: Path) -> None:
    kit = Kit(tmp_path, KitOrders)
    await kit.arrive(FIRST, flow=WITHDRAW_FLOW)
    (order,) = kit.rows()
    assert order.is_siren
    await kit.answer("read")
    assert not kit.rows()[0].is_siren
    assert not KitOrder(id="x", received_ms=1, flow=WITHDRAW_FLOW, is_expired=True).is_siren
    assert not KitOrder(id="x", received_ms=1).is_siren, "another order makes no noise"


async def test_command_may_drop_or_pull_what_waits_here_but_no_call_for_help(tmp_path: Path) -> None:
    """And nobody takes back what another node made."""
    kit = Kit(tmp_path, KitOrders)
    picture, sos, foreign = (
        BundleId("kit-1", 9, Precedence.ROUTINE, 1),
        BundleId("kit-1", 9, Precedence.FLASH, 1),
        BundleId("kit-2", 9, Precedence.ROUTINE, 1),
    )
    for bundle in (picture, sos, foreign):
        await kit.cancel(bundle, "command")
    assert kit.node.cancelled == [picture]
    assert kit.orders.drops == {"cancel_of_flash": 1, "cancel_foreign": 1}
    for number in (1, 2):
        ask = Ask(bundle=str(picture._replace(sequence=number)), at_ms=0)
        await kit.orders.take_pull("s", kit.delivery(FIRST, PULL_FLOW), ask.pack())
    assert [bundle.sequence for bundle in kit.node.promoted] == [1, 2]
    assert kit.orders.drops["pull_not_waiting"] == 1


@pytest.mark.parametrize(
    ("sender", "roles", "comes_first", "is_cancelled"),
    [
        ("county-2", {"county-2": "command"}, True, True),
        ("kit-2", {"kit-2": "kit", "city-1": "command"}, True, False),
        ("county-2", {}, True, False),
        ("county-2", {"county-2": "command", "city-1": "command"}, False, True),
        ("county-2", {"county-2": "command"}, False, False),
    ],
)
async def test_a_post_may_take_back_what_another_post_gave_and_nobody_else_may(
    tmp_path: Path, sender: str, roles: dict[str, str], *, comes_first: bool, is_cancelled: bool
) -> None:
    """Also before the order came, where the kit has met who gave it."""
    kit = Kit(tmp_path, KitOrders)
    kit.node.peer_roles = roles
    given = BundleId("city-1", 9, Precedence.IMMEDIATE, 1)
    if comes_first:
        await kit.arrive(given)
    await kit.cancel(given, sender)
    if not comes_first:
        await kit.arrive(given)
    assert (Progress.CANCELLED_THERE in kit.node.told(given)) is is_cancelled, "who gave it is told"
    assert kit.orders.drops == ({} if is_cancelled else {"cancel_foreign": 1})
