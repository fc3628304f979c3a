"""Random worlds whose nodes keep the agent's own store: crashes and restarts meet what kits run."""

from dataclasses import replace

import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.effects import Done, Effect, Erase, Outcome, Restored
from edge_agent.core.report import NodeSettings
from edge_agent.disk.seen import SeenNumbers
from link_sim.judge.trial import Trial
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.ledger import BrokenPromiseError
from link_sim.nodes.store_disk import StoreDisk, StoreFolder
from link_sim.nodes.world import World

SPAN_S = 60.0
SEEDS = (10, 20)
PLANTED_SEEDS = range(1, 9)
HEADER = BundleHeader(destination=COMMAND, flow="reading")


def build(stores: StoreFolder) -> World:
    world = World(3, make_disk=stores.make)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    world.add_node(NodeSettings(node_id="kit-1"))
    world.connect("a", "kit-1", COMMAND, LinkProfile(rate_bps=200_000, delay_s=0.02, queue_bytes=10_000))
    return world


def test_what_was_accepted_is_on_files_over_a_crash_and_arrives_once() -> None:
    with StoreFolder() as stores:
        world = build(stores)
        sizes = (0, 200, 2_000, 70_000)
        world.cut("a")
        bundles = [world.submit("kit-1", HEADER, Precedence.ROUTINE, bytes([size % 251]) * size) for size in sizes]
        world.run_until(1.0)
        world.crash("kit-1")
        world.run_until(2.0)
        world.restart("kit-1")
        assert world.disk("kit-1").waiting()
        assert [world.disk("kit-1").payload(bundle) for bundle in bundles] == [
            bytes([size % 251]) * size for size in sizes
        ]
        world.restore("a")
        world.at(5.0, lambda: world.crash(COMMAND))
        world.at(6.0, lambda: world.restart(COMMAND))
        world.run_until(120.0)
        world.audit()
        assert sorted(delivery.bundle for delivery in world.deliveries) == sorted(bundles)
        assert not world.disk("kit-1").waiting()


@pytest.mark.parametrize("size", [0, 200, 2_000, 70_000])
def test_an_audit_misses_a_row_that_is_gone_and_one_that_is_not_what_was_stored(size: int) -> None:
    for spoil in ("DELETE FROM bundles", "UPDATE bundles SET header = x'00', digest = NULL"):
        with StoreFolder() as stores:
            world = build(stores)
            world.submit("kit-1", HEADER, Precedence.ROUTINE, bytes(size))
            world.run_until(5.0)
            world.audit()
            disk = world.disk(COMMAND)
            assert isinstance(disk, StoreDisk)
            disk.database.execute(spoil)
            with pytest.raises(BrokenPromiseError, match="on 0 disks, 1 counted"):
                world.audit()


def short_run() -> str:
    with StoreFolder() as stores:
        world = build(stores)
        world.every(0.1, lambda: world.submit("kit-1", HEADER, Precedence.ROUTINE, b"x"), start_s=1.0, until_s=5.0)
        world.run_until(8.0)
        return world.digest()


def test_a_world_on_files_repeats_itself() -> None:
    assert short_run() == short_run()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_random_worlds_break_no_promise_on_the_agents_own_store(seed: int) -> None:
    with StoreFolder() as stores:
        trial = Trial(seed, SPAN_S, make_disk=stores.make)
        print(trial.run())
        assert trial.restarts


class ForgetsErasures(StoreDisk):
    """The planted fault: custody ends and the row stays, so a restart sends it again."""

    def execute(self, effect: Effect) -> Outcome:
        return Done() if isinstance(effect, Erase) else super().execute(effect)


class ForgetsClosedNumbers(StoreDisk):
    """The planted fault: what had come before a restart is not known after it."""

    def start(self, now_s: float) -> Restored:
        restored = replace(super().start(now_s), seen=())
        rows = self._writer.tables.rows
        rows.database.execute("DELETE FROM seen")
        rows.seen = SeenNumbers(rows.database)
        return restored


class LosesRows(StoreDisk):
    """The planted fault: a bundle in a hundred is answered as stored, and is not there."""

    def _write(self, effect: Effect) -> Outcome:
        number = getattr(effect, "bundle", None)
        if number is not None and number.sequence % 50 == 7:
            return Done()
        return super()._write(effect)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [ForgetsErasures, ForgetsClosedNumbers, LosesRows])
def test_random_worlds_find_a_planted_fault(fault: type[StoreDisk]) -> None:
    for seed in PLANTED_SEEDS:
        with StoreFolder(fault) as stores:
            try:
                Trial(seed, SPAN_S, make_disk=stores.make).run()
            except BrokenPromiseError as error:
                print(error)
                return
    raise AssertionError(f"{fault.__name__} went unnoticed in {len(PLANTED_SEEDS)} worlds")
