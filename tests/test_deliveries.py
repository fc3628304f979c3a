"""Deliveries to a program while the store gives up, loses or damages some of them: the others come, each once."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from edge_agent.core.bundle import BundleId
from edge_agent.deliveries import Deliveries
from edge_agent.disk.types import Start
from tests.disk.bench import Store, opened, pattern

LARGE = 90_000  # a file
INLINE = 1 << 20


async def evict(store: Store, bundle: BundleId) -> None:
    """Have the store give up one delivery, as it does for room."""

    await store.disk._write(lambda tables: tables.rows.give_up_missing(bundle))


async def delete_file(store: Store, bundle: BundleId) -> None:
    """Somebody deletes a payload file under the running store."""
    store.disk._store.files.whole_path(bundle).unlink()


@pytest.mark.parametrize("lose", [evict, delete_file])
async def test_a_payload_that_went_since_its_row_was_read_is_passed_over(
    tmp_path: Path, lose: Callable[[Store, BundleId], Awaitable[None]]
) -> None:
    """It took the local API of every program with it, for as long as such a delivery was the next one."""
    async with opened(tmp_path) as store:
        deliveries = Deliveries(store.disk)
        bundles = [(await store.arrive(pattern(LARGE, seed))).id for seed in range(3)]
        name = await deliveries.open("outlet", "*", "all", None)
        async with asyncio.timeout(10), aclosing(deliveries.stream(name, INLINE)) as stream:
            assert (await anext(stream)).bundle == str(bundles[0])  # and all three rows are read
            await lose(store, bundles[1])
            last = await anext(stream)
            assert (last.bundle, last.payload) == (str(bundles[2]), pattern(LARGE, 2))
        await store.disk.flush()  # what was found missing is taken out
        assert await store.disk.verify() == []
        await store.disk.consumer_open("again", start=Start.ALL)
        assert [each.record.id for each in await store.disk.consumer_next("again")] == [bundles[0], bundles[2]]


async def test_a_page_shows_the_rest_of_a_delivery_whose_payload_went(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        deliveries = Deliveries(store.disk)
        bundle = (await store.arrive(pattern(LARGE))).id
        name = await deliveries.open("page", "*", "all", None)
        async with aclosing(deliveries.stored(name)) as stream:
            stored = await anext(stream)
            assert await deliveries.shown_payload(stored) == pattern(LARGE)
            await evict(store, bundle)
            assert await deliveries.shown_payload(stored) == b""


async def test_words_between_posts_are_given_to_no_program(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        deliveries = Deliveries(store.disk)
        await store.arrive(b"copy", flow="posts.copy")
        await store.arrive(b"have", flow="posts.have")
        shown = await store.arrive(b"shown", flow="text")
        name = await deliveries.open("outlet", "*", "all", None)
        async with asyncio.timeout(10), aclosing(deliveries.stream(name, INLINE)) as stream:
            assert (await anext(stream)).bundle == str(shown.id)
