"""The record of one waiting bundle by its name, for what is asked of it while it is a row only."""

from pathlib import Path

from edge_agent.core.bundle import BundleId
from edge_agent.core.effects import LoadBundle, Loaded
from tests.disk.bench import Store, opened


async def loaded(store: Store, bundle: BundleId) -> Loaded:
    outcome = await store.begin(lambda number: LoadBundle(number, bundle))
    assert isinstance(outcome, Loaded)
    return outcome


async def test_only_what_waits_here_is_given_and_whole(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        records = [store.own(10), store.own(20)]
        for record in records:
            await store.persist(record, bytes(record.payload_bytes))
        arrived = await store.arrive(b"for this node")
        found = (await loaded(store, records[1].id)).records
        assert [(each.id, each.header, each.payload_bytes) for each in found] == [
            (records[1].id, records[1].header, 20)
        ]
        for absent in (arrived.id, records[0].id._replace(sequence=999), records[0].id._replace(sequence=1 << 62)):
            assert (await loaded(store, absent)).records == ()
        await store.erase(records[0].id)
        assert (await loaded(store, records[0].id)).records == ()
