"""A kit's call for help that no person has confirmed goes to every other post, once, and to nobody once it is taken."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_agent.core.bundle import BundleHeader, BundleId, BundleRecord, Origin, Precedence
from edge_agent.core.progress import Progress
from edge_agent.disk.store import Disk
from edge_agent.disk.types import StateUpdate
from edge_agent.escalation import Escalation, is_copy
from edge_agent.flows import FlowTable
from edge_agent.sender import BundleSender
from edge_agent.telemetry.calls import operation_of
from edge_agent.telemetry.payloads import SOS_FLOW, SOS_WITHDRAW_FLOW, Payload, Sos, SosUpdate
from tests.disk.bench import Store, opened

RAISED_MS = 1_763_745_000_000
DUE_MS = RAISED_MS + 60_000


@dataclass(slots=True)
class Node:
    """Stands where the agent's parts stand; what is submitted goes into the store, as the runner would have it."""

    store: Store
    others: tuple[str, ...] = ("cp-2", "cp-3")
    escalate_after_s: float = 60.0
    wall_ms: int = DUE_MS
    boottime_s: float = 1_000.0
    sent: list[tuple[str, Sos, bytes]] = field(default_factory=list)

    async def submit(
        self, header: BundleHeader, precedence: Precedence, payload: bytes, staged: None = None
    ) -> BundleId:
        record = await keep(self.store, header, precedence, payload)
        self.sent.append((header.destination, Sos.unpack(payload), header.operation_id))
        return record.id

    @property
    def config(self) -> "Node":
        return self

    @property
    def disk(self) -> Disk:
        return self.store.disk

    @property
    def sender(self) -> BundleSender:
        return BundleSender(self, FlowTable(), self.now_ms)  # type: ignore[arg-type]  # stands where the runner stands

    def now_ms(self) -> int:
        return self.wall_ms

    def now_s(self) -> float:
        return self.boottime_s

    async def look(self, escalation: Escalation | None = None) -> list[str]:
        """Whom a look passes the call on to; without an escalation the first look of a start."""
        self.sent.clear()
        await (escalation or Escalation(self)).look()  # type: ignore[arg-type]  # stands where the parts stand
        return [to for to, _, _ in self.sent]


async def keep(store: Store, header: BundleHeader, precedence: Precedence, payload: bytes) -> BundleRecord:
    """A person's bundle, on disk."""
    changes = {name: getattr(header, name) for name in ("destination", "flow", "created_at_ms", "operation_id")}
    record = store.own(len(payload), precedence=precedence, origin=Origin.PERSON, **changes)
    await store.persist(record, payload)
    return record


async def raise_sos(store: Store, payload: Payload, flow: str = SOS_FLOW) -> BundleId:
    header = BundleHeader(destination="command", flow=flow, created_at_ms=RAISED_MS)
    return (await keep(store, header, Precedence.FLASH, payload.pack())).id


async def test_a_call_goes_to_every_other_post_once_its_minute_is_over(tmp_path: Path) -> None:
    """With all that was said, under one operation; also over a restart of the kit."""
    async with opened(tmp_path) as store:
        sos = await raise_sos(store, Sos(at_ms=RAISED_MS, text="翻船"))
        node = Node(store, wall_ms=DUE_MS - 1)
        assert await node.look() == []
        node.wall_ms = DUE_MS
        assert await node.look() == ["cp-2", "cp-3"]
        assert node.sent[0][1:] == (Sos(at_ms=RAISED_MS, text="翻船", of=str(sos)), operation_of(sos))
        assert await node.look() == []
        messages = await store.disk.own_messages(9)
        assert [is_copy(fate) for fate in messages] == [True, True, False]
    async with opened(tmp_path) as store:
        assert await Node(store, wall_ms=DUE_MS + 5000).look() == []


@pytest.mark.parametrize("state", [Progress.READ, Progress.DONE, Progress.EXPIRED])
async def test_a_call_that_a_person_has_taken_stays_where_it_is(tmp_path: Path, state: Progress) -> None:
    async with opened(tmp_path) as store:
        sos = await raise_sos(store, Sos(at_ms=RAISED_MS))
        await store.disk.set_states([StateUpdate(bundle=sos, state=state, at_ms=1)])
        assert await Node(store).look() == []


async def test_delivered_is_not_confirmed_and_the_post_that_has_it_is_not_told_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        sos = await raise_sos(store, Sos(at_ms=RAISED_MS))
        await store.erase(sos, peer="cp-2", via=("radio",))
        await store.disk.set_states([StateUpdate(bundle=sos, state=Progress.DELIVERED, at_ms=2)])
        assert await Node(store).look() == ["cp-3"]


async def test_a_withdrawn_call_and_one_of_yesterday_are_not_raised_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        sos = await raise_sos(store, Sos(at_ms=RAISED_MS))
        assert await Node(store, wall_ms=RAISED_MS + 86_400_001).look() == []
        await raise_sos(store, SosUpdate(sos=str(sos), at_ms=RAISED_MS + 5), SOS_WITHDRAW_FLOW)
        assert await Node(store).look() == []


async def test_what_a_program_sent_as_a_call_is_passed_on_too(tmp_path: Path) -> None:
    """Its words are its own; that somebody calls is all that is known."""
    async with opened(tmp_path) as store:
        header = BundleHeader(destination="command", flow=SOS_FLOW, created_at_ms=RAISED_MS)
        sos = (await keep(store, header, Precedence.FLASH, b"help")).id
        node = Node(store)
        assert await node.look() == ["cp-2", "cp-3"]
        assert node.sent[0][1] == Sos(at_ms=RAISED_MS, of=str(sos))


@pytest.mark.parametrize("step_ms", [86_400_000, -86_400_000, -1_763_744_000_000])
async def test_setting_the_clock_neither_hurries_nor_holds_up_a_call(tmp_path: Path, step_ms: int) -> None:
    """A day ahead or back, or back to 1970, right after the button was pressed."""
    async with opened(tmp_path) as store:
        await raise_sos(store, Sos(at_ms=RAISED_MS))
        node = Node(store, wall_ms=RAISED_MS + 1_000)
        escalation = Escalation(node)  # type: ignore[arg-type]  # stands where the parts stand
        assert await node.look(escalation) == []
        node.wall_ms += step_ms
        node.boottime_s += 58
        assert await node.look(escalation) == []
        node.boottime_s += 1
        assert await node.look(escalation) == ["cp-2", "cp-3"]


async def test_a_call_from_a_time_to_come_is_passed_on_a_minute_after_the_start(tmp_path: Path) -> None:
    """The kit was restarted with its clock in 1970: when the call was made nobody knows."""
    async with opened(tmp_path) as store:
        await raise_sos(store, Sos(at_ms=RAISED_MS))
        node = Node(store, wall_ms=5_000)
        escalation = Escalation(node)  # type: ignore[arg-type]  # stands where the parts stand
        assert await node.look(escalation) == []
        node.boottime_s += 60
        assert await node.look(escalation) == ["cp-2", "cp-3"]
