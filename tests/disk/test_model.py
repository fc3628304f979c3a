"""The store against a model of dicts: any order of effects, acknowledgements and restarts gives the same answers."""

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_agent.core.bundle import BundleId, BundleRecord, Precedence
from edge_agent.core.effects import BurstWindow, Done, EraseReason, Failed, Known
from edge_agent.disk.types import Start
from tests.disk.bench import Store, opened, pattern, queue_of

SIZES = st.sampled_from((0, 5, 1_024, 1_025, 65_536, 65_537, 150_000))
PRECEDENCES = st.sampled_from(list(Precedence))
FLOWS = st.sampled_from(("reading", "text", "gas.ch4"))
UNSIGNED = st.sampled_from((0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1))
CONSUMERS = {"all": "*", "gas": "gas.*"}


@dataclass(slots=True)
class Model:
    """What the store should know."""

    payloads: dict[BundleId, bytes] = field(default_factory=dict)
    waiting: list[BundleRecord] = field(default_factory=list)
    deliveries: list[BundleRecord] = field(default_factory=list)
    acked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CONSUMERS, 0))
    handed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CONSUMERS, 0))
    part: BundleRecord | None = None
    part_ranges: set[int] = field(default_factory=set)
    part_untold: set[int] = field(default_factory=set)
    """Of those: pieces that were refused as the last one, which only this process knows of."""
    parts_begun: int = 0
    burst_leased: int = 0
    burst_windows: dict[tuple[int, int], BurstWindow] = field(default_factory=dict)


class DiskMachine(RuleBasedStateMachine):
    """Every rule awaits its effects, so that the model knows what is durable."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.model = Model()
        self.stack = AsyncExitStack()
        self.store: Store

    @initialize()
    def open(self) -> None:
        self.runner.run(self._open())

    async def _open(self) -> None:
        self.stack = AsyncExitStack()
        self.store = await self.stack.enter_async_context(opened(self.folder))
        for name, flow in CONSUMERS.items():
            await self.store.disk.consumer_open(name, flow, Start.ALL)

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)

    @rule()
    def restart(self) -> None:
        async def again() -> None:
            await self.stack.aclose()
            await self._open()

        self.runner.run(again())
        self.model.part_ranges -= self.model.part_untold
        self.model.part_untold.clear()
        assert self.store.restored.burst_leased == self.model.burst_leased
        assert self.store.restored.burst_windows == tuple(self.model.burst_windows.values())

    @rule(up_to=st.integers(0, 1 << 36))
    def lease(self, up_to: int) -> None:
        async def wait() -> object:
            return await self.store.lease(up_to)

        assert self.runner.run(wait()) == Done()
        self.model.burst_leased = max(self.model.burst_leased, up_to)

    @rule(sender_number=st.integers(0, 2), incarnation=UNSIGNED, highest=UNSIGNED, mask=UNSIGNED)
    def sync(self, sender_number: int, incarnation: int, highest: int, mask: int) -> None:
        window = BurstWindow(sender_number, incarnation, highest, mask)

        async def wait() -> object:
            return await self.store.sync(window)

        assert self.runner.run(wait()) == Done()
        self.model.burst_windows.pop(window[:2], None)
        self.model.burst_windows[window[:2]] = window

    @rule(size=SIZES, precedence=PRECEDENCES, flow=FLOWS)
    def submit(self, size: int, precedence: Precedence, flow: str) -> None:
        record = self.store.own(size, precedence=precedence, flow=flow)
        self._persist(record, is_arrival=False)
        self.model.waiting.append(record)

    @rule(size=SIZES, precedence=PRECEDENCES, flow=FLOWS, is_relayed=st.booleans())
    def arrive(self, size: int, precedence: Precedence, flow: str, is_relayed: bool) -> None:
        record = self.store.arriving(
            size, precedence=precedence, flow=flow, destination="kit-7" if is_relayed else "kit-1"
        )
        self._persist(record, is_arrival=True)
        (self.model.waiting if is_relayed else self.model.deliveries).append(record)

    def _persist(self, record: BundleRecord, *, is_arrival: bool) -> None:
        payload = pattern(record.payload_bytes, record.id.sequence)

        async def twice() -> None:  # the second time is a repeat, which must change nothing
            assert await self.store.persist(record, payload, is_arrival=is_arrival) == Done()
            assert await self.store.persist(record, payload, is_arrival=is_arrival) == Known()

        self.runner.run(twice())
        self.model.payloads[record.id] = payload

    @rule(place=st.integers(0, 1 << 16), reason=st.sampled_from(list(EraseReason)))
    def erase(self, place: int, reason: EraseReason) -> None:
        if not self.model.waiting or reason is EraseReason.PARTIAL_DROPPED:
            return
        record = self.model.waiting.pop(place % len(self.model.waiting))
        del self.model.payloads[record.id]
        assert self.runner.run(_waited(self.store, record.id, reason)) == Done()

    @precondition(lambda self: self.model.deliveries)
    @rule(place=st.integers(0, 1 << 16))
    def erase_of_a_delivery_is_ignored(self, place: int) -> None:
        record = self.model.deliveries[place % len(self.model.deliveries)]
        assert self.runner.run(_waited(self.store, record.id, EraseReason.FORWARDED)) == Done()

    @rule(piece=st.integers(0, 3), is_last=st.booleans())
    def arrive_in_pieces(self, piece: int, is_last: bool) -> None:
        model = self.model
        if model.part is None:
            model.parts_begun += 1
            number = model.parts_begun  # a part closes no number, so a restart of this bench would give it again
            model.part = self.store.arriving(200_000, flow="text", incarnation=77, sequence=number)
            model.part_ranges, model.part_untold = set(), set()
        record, start = model.part, piece * 50_000
        payload = pattern(200_000, record.id.sequence)
        held = set(model.part_ranges)
        model.part_ranges.add(piece)

        async def put() -> object:
            return await self.store.persist_piece(
                record.id, 200_000, start, payload[start : start + 50_000], record=record if is_last else None
            )

        outcome = self.runner.run(put())
        if is_last and len(model.part_ranges) == 4:
            assert outcome == Done()
            model.payloads[record.id] = payload
            model.deliveries.append(record)
            model.part = None
        else:
            assert isinstance(outcome, Failed) == is_last
            if not is_last:
                model.part_untold.clear()
            elif held:
                model.part_untold |= {piece} - held
            else:
                model.part_ranges.clear()  # the part began with what failed, so it is given back

    @rule()
    def drop_the_part(self) -> None:
        if self.model.part is not None:
            bundle = self.model.part.id
            assert self.runner.run(_waited(self.store, bundle, EraseReason.PARTIAL_DROPPED)) == Done()
            self.model.part_ranges, self.model.part_untold = set(), set()

    @rule(name=st.sampled_from(sorted(CONSUMERS)), limit=st.integers(1, 4), acks=st.booleans())
    def consume(self, name: str, limit: int, acks: bool) -> None:
        wanted = [
            (place, record)
            for place, record in enumerate(self.model.deliveries, 1)
            if place > self.model.acked[name] and (name == "all" or record.header.flow == "gas.ch4")
        ][:limit]

        async def take() -> list[tuple[BundleId, bytes, bool]]:
            taken = []
            found = await self.store.disk.consumer_next(name, limit=limit)
            for each in found:
                payload = each.payload
                if payload is None:
                    payload = await self.store.disk.read_payload(each.record.id)
                taken.append((each.record.id, payload, each.redelivered))
            if found and acks:
                await self.store.disk.consumer_ack(name, found[-1].position)
            return taken

        handed = self.model.handed[name]
        expected = [(record.id, self.model.payloads[record.id]) for _, record in wanted]
        taken = self.runner.run(take())
        assert [(bundle, payload) for bundle, payload, _ in taken] == expected
        for (place, _), (_, _, redelivered) in zip(wanted, taken, strict=True):
            assert redelivered or place > handed  # what was handed out once is always marked
        if wanted:
            self.model.handed[name] = max(handed, wanted[-1][0])
            if acks:
                self.model.acked[name] = wanted[-1][0]

    @invariant()
    def windows_and_payloads_agree(self) -> None:
        async def compare() -> None:
            for key in {queue_of(record) for record in self.model.waiting}:
                of_queue = [record for record in self.model.waiting if queue_of(record) == key]
                in_order = sorted(of_queue, key=lambda record: record.id.sequence)
                assert (await self.store.window(key)).records == tuple(in_order)
                newest = await self.store.window(key, newest_first=True)
                assert newest.records == tuple(reversed(in_order))
            for bundle, payload in self.model.payloads.items():
                assert await self.store.disk.read_payload(bundle) == payload

        if hasattr(self, "store"):
            self.runner.run(compare())


async def _waited(store: Store, bundle: BundleId, reason: EraseReason) -> object:
    return await store.erase(bundle, reason=reason)


DiskMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
test_any_history_gives_what_the_model_says = pytest.mark.slow(DiskMachine.TestCase)
