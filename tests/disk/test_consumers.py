"""Consumers: a durable place, nothing twice without a mark, and receipts owed exactly once, over crashes too."""

import asyncio
from pathlib import Path

import pytest

from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.disk.consumers import COPIER_PREFIX, HANDED_LEASE
from edge_agent.disk.types import Delivery, FateState, Start, UnknownBundleError, UnknownConsumerError
from tests.disk.bench import Store, opened, pattern


def places(deliveries: list[Delivery]) -> list[tuple[bytes | None, bool]]:
    return [(each.payload, each.redelivered) for each in deliveries]


async def arrive(store: Store, *payloads: bytes, flow: str = "reading") -> list[BundleId]:
    return [(await store.arrive(payload, flow=flow)).id for payload in payloads]


async def test_a_new_consumer_begins_where_it_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        first, _ = await arrive(store, b"a", b"b")
        await store.disk.consumer_open("now", start=Start.NOW)
        await store.disk.consumer_open("all", start=Start.ALL)
        await store.disk.consumer_open("since", start=first)
        await arrive(store, b"c")
        assert places(await store.disk.consumer_next("now")) == [(b"c", False)]
        assert places(await store.disk.consumer_next("all")) == [(b"a", False), (b"b", False), (b"c", False)]
        assert places(await store.disk.consumer_next("since")) == [(b"b", False), (b"c", False)]


async def test_an_unknown_start_or_consumer_is_named(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        waiting = store.own()
        await store.persist(waiting, bytes(10))
        for bundle in (waiting.id, BundleId("nobody", 1, Precedence.FLASH, 1 << 65)):
            with pytest.raises(UnknownBundleError, match=f"bundle {bundle} is no delivery"):
                await store.disk.consumer_open("c", start=bundle)
        with pytest.raises(UnknownConsumerError, match="consumer 'c' was not opened"):
            await store.disk.consumer_next("c")
        with pytest.raises(UnknownConsumerError, match="consumer 'c' was not opened"):
            await store.disk.consumer_ack("c", 1)


async def test_a_consumer_sees_its_flows_and_not_what_waits_for_other_nodes(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.disk.consumer_open("gas", "gas.*", Start.ALL)
        await arrive(store, b"1", flow="gas.ch4")
        await arrive(store, b"2", flow="water")
        await store.persist(store.own(1, flow="gas.own"), b"3")
        await store.persist(store.arriving(1, flow="gas.relayed", destination="kit-7"), b"4", is_arrival=True)
        await arrive(store, b"5", flow="gas.co2")
        assert places(await store.disk.consumer_next("gas")) == [(b"1", False), (b"5", False)]


async def test_only_a_command_node_gets_what_is_for_command(tmp_path: Path) -> None:
    for role in ("kit", "command"):
        async with opened(tmp_path / role, node_id="n", role=role) as store:
            await store.disk.consumer_open("c", start=Start.ALL)
            await store.arrive(b"x", destination="command")
            assert len(await store.disk.consumer_next("c")) == (role == "command")


async def test_deliveries_carry_record_links_and_large_payloads_by_reference(tmp_path: Path) -> None:
    async with opened(tmp_path, now_s=7.0) as store:
        await store.disk.consumer_open("c")
        large = store.arriving(100_000, as_of_s=7.0, age_low_s=2.0, age_high_s=9.0)
        via = ("4g", "vsat")
        await store.persist_piece(large.id, 100_000, 0, pattern(100_000), record=large, peer="peer-9", via=via)
        (delivery,) = await store.disk.consumer_next("c")
        assert (delivery.record, delivery.payload) == (large, None)
        assert (delivery.peer, delivery.via) == ("peer-9", ("4g", "vsat"))
        assert await store.disk.read_payload(large.id) == pattern(100_000)
    async with opened(tmp_path, now_s=7.0) as store:
        await store.disk.consumer_open("c")
        (delivery,) = await store.disk.consumer_next("c")
        assert (delivery.peer, delivery.via) == ("peer-9", ("4g", "vsat"))
        fate = await store.disk.fate(large.id)
        assert fate is not None
        assert (fate.state, fate.via) == (FateState.DELIVERED, ("4g", "vsat"))


async def test_acknowledged_is_never_handed_out_again_and_handed_is_marked(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.disk.consumer_open("c")
        await arrive(store, b"a", b"b", b"c")
        first, second = await store.disk.consumer_next("c", limit=2)
        await store.disk.consumer_ack("c", first.position)
        assert places(await store.disk.consumer_next("c", second.position)) == [(b"c", False)]
        assert places(await store.disk.consumer_next("c")) == [(b"b", True), (b"c", True)]
        assert await store.disk.consumer_open("c") == first.position  # it came back: the start counts at first use
        assert places(await store.disk.consumer_next("c", limit=1)) == [(b"b", True)]
        await store.disk.consumer_ack("c", 0)  # never backward
        assert places(await store.disk.consumer_next("c", limit=1)) == [(b"b", True)]
    async with opened(tmp_path) as store:
        assert await store.disk.consumer_open("c") == first.position
        await arrive(store, b"d")
        assert places(await store.disk.consumer_next("c")) == [(b"b", True), (b"c", True), (b"d", False)]


async def test_many_deliveries_are_marked_with_few_syncs(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.disk.consumer_open("c")
        await asyncio.gather(*(store.arrive(bytes([number])) for number in range(200)))
        seen = 0
        position: int | None = None
        while found := await store.disk.consumer_next("c", position, 16):
            assert not any(each.redelivered for each in found)
            position = found[-1].position
            seen += len(found)
        assert seen == 200
        handed = [place.handed for place in store.disk._store.consumers.places.values()]
        assert 200 <= handed[0] <= 200 + HANDED_LEASE


async def test_a_receipt_is_owed_once_every_attached_consumer_has_acknowledged(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.disk.consumer_open("board")
        await store.disk.consumer_open("gas", "gas.*")
        water, gas = (await arrive(store, b"w", flow="water"))[0], (await arrive(store, b"g", flow="gas.ch4"))[0]
        last = (await store.disk.consumer_next("board"))[-1].position
        await store.disk.consumer_ack("board", last)
        assert [each.bundle for each in store.acked] == [water]  # "gas" never wanted it
        assert store.acked[0].header.flow == "water"
        await store.disk.consumer_ack("gas", last)
        assert [each.bundle for each in store.acked] == [water, gas]
        await store.disk.consumer_ack("gas", last)
        assert len(store.acked) == 2


async def test_a_consumer_left_behind_holds_no_receipt_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.disk.consumer_open("board")
        await store.disk.consumer_open("listener")
        await store.disk.consumer_open("passing")
        one, two = await arrive(store, b"1", b"2")
        first, second = await store.disk.consumer_next("board")
        await store.disk.consumer_ack("board", first.position)
        await store.disk.consumer_detach("listener")
        assert store.acked == []
        await store.disk.consumer_close("passing")
        assert [each.bundle for each in store.acked] == [one]
        await store.disk.consumer_ack("board", second.position)
        assert [each.bundle for each in store.acked] == [one, two]
        assert len(await store.disk.consumer_next("listener")) == 2  # its place was kept
        with pytest.raises(UnknownConsumerError):
            await store.disk.consumer_next("passing")


async def test_what_nobody_acknowledged_is_never_owed(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.disk.consumer_open("only")
        await arrive(store, b"1")
        await store.disk.consumer_detach("only")
        await store.disk.consumer_open("other", start=Start.NOW)
        assert store.acked == []


async def test_an_owed_receipt_is_told_again_at_each_start_until_it_is_settled(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.disk.consumer_open("board")
        bundles = await arrive(store, b"1", b"2")
        await store.disk.consumer_ack("board", (await store.disk.consumer_next("board"))[-1].position)
        await store.disk.settle_receipts([bundles[0], BundleId("nobody", 1, Precedence.FLASH, 1 << 65)])
    for _ in range(2):
        async with opened(tmp_path) as store:
            await asyncio.sleep(0)
            assert [each.bundle for each in store.acked] == [bundles[1]]
    async with opened(tmp_path) as store:
        await store.disk.settle_receipts(bundles)
    async with opened(tmp_path) as store:
        await asyncio.sleep(0)
        assert store.acked == []


async def test_flows_without_receipt_owe_none(tmp_path: Path) -> None:
    async with opened(tmp_path, flows_without_receipt=("receipt",)) as store:
        await store.disk.consumer_open("board")
        await arrive(store, b"1", flow="receipt")
        (wanted,) = await arrive(store, b"2")
        await store.disk.consumer_ack("board", (await store.disk.consumer_next("board"))[-1].position)
        assert [each.bundle for each in store.acked] == [wanted]


async def test_what_was_handed_out_unacknowledged_is_marked_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.disk.consumer_open("c")
        await arrive(store, b"a", b"b")
        await store.disk.consumer_next("c", limit=1)
    async with opened(tmp_path) as store:
        await store.disk.consumer_open("c")
        (first, *_) = await store.disk.consumer_next("c")
        assert first.redelivered


async def test_what_is_for_others_is_looked_through_once(tmp_path: Path) -> None:
    """A consumer of one flow beside a flood of another finds its own at once, also what comes in the middle."""
    async with opened(tmp_path) as store:
        await store.disk.consumer_open("gas", "gas", Start.ALL)
        statements: list[str] = []
        await store.disk._reader.call(lambda database: database.set_trace_callback(statements.append))
        for number in range(3):
            await arrive(store, *(b"x" for _ in range(5)), flow="water")
            if number == 1:
                await arrive(store, b"own", flow="gas")
            found = await store.disk.consumer_next("gas", after_position=0 if number < 2 else 11)
            assert places(found) == ([(b"own", False)] if number == 1 else [])
        begun = [int(text.partition("bundles.row > ")[2].split()[0]) for text in statements if "GLOB" in text]
        assert begun == [0, 5, 11]


async def test_what_copies_to_another_post_takes_nothing_and_holds_nothing_back(tmp_path: Path) -> None:
    """No receipt is owed for what only a copier acknowledged, and none waits for a copier that is behind."""
    async with opened(tmp_path) as store:
        copier = f"{COPIER_PREFIX}city-1"
        await store.disk.consumer_open(copier, "*", Start.ALL)
        await store.disk.consumer_detach(copier)
        first, second = await arrive(store, b"a", b"b")
        await store.disk.consumer_ack(copier, (await store.disk.consumer_next(copier))[0].position)
        assert store.acked == []
        await store.disk.consumer_open("page", start=Start.ALL)
        await store.disk.consumer_ack("page", (await store.disk.consumer_next("page"))[-1].position)
        assert [each.bundle for each in store.acked] == [first, second]
