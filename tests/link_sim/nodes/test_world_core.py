"""The core's nodes in a world that goes wrong at random: nothing accepted is lost, nothing is delivered twice."""

import random
from collections.abc import Hashable
from dataclasses import replace

import pytest

import link_sim
from edge_agent.core.bundle import COMMAND, BundleHeader, FlowOrder, Precedence
from edge_agent.core.effects import Done, Effect, Known, Outcome, Persist, Restored
from edge_agent.core.errors import RefusedError
from edge_agent.core.frame import LinkKeys
from edge_agent.core.node import Node
from edge_agent.core.report import NodeSettings
from link_sim.link.model import Outage
from link_sim.nodes.door import NodeMaker
from link_sim.nodes.ledger import BrokenPromiseError
from link_sim.nodes.world import World
from link_sim.profiles import profile

KITS = ("kit-1", "kit-2")
COMMITS_S = (0.0, 0.002, 0.05)


class Trouble:
    """One random world: two kits, two or three links each, ten faults, one to three restarts, all from one seed."""

    def __init__(self, seed: int, *, busy_s: float = 60.0, make_node: NodeMaker = Node) -> None:
        self.rng = rng = random.Random(seed)
        self.world = world = World(seed, make_node=make_node)
        self.busy_s = busy_s
        self.crashed: set[str] = set()
        world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND), commit_s=rng.choice(COMMITS_S))
        self.links: list[tuple[str, str]] = []
        for kit in KITS:
            world.add_node(NodeSettings(node_id=kit), commit_s=rng.choice(COMMITS_S))
            for link in ("4g", "vsat", "radio9600")[: rng.choice([2, 3])]:
                world.connect(link, kit, COMMAND, profile(link))
                self.links.append((link, kit))
            world.every(rng.choice([0.1, 0.3]), lambda kit=kit: self.submit(kit), start_s=0.0, until_s=busy_s)
        for _ in range(10):
            self.plan_fault()
        for node in rng.sample([*KITS, COMMAND], rng.choice([1, 2, 3])):
            self.plan_restart(node)

    def submit(self, kit: str) -> None:
        if kit in self.crashed:
            return
        rng = self.rng
        order = rng.choice([FlowOrder.FIFO, FlowOrder.FIFO, FlowOrder.NEWEST, FlowOrder.LATEST])
        header = BundleHeader(
            destination=COMMAND,
            flow=order.value,
            order=order,
            key="position" if order is FlowOrder.LATEST else "",
            lifetime_s=rng.choice([86_400.0, 86_400.0, 20.0]),
        )
        length = rng.choice([0, 20, 200, 1500, 5000]) if rng.random() < 0.98 else rng.choice([60_000, 200_000])
        try:
            self.world.submit(kit, header, rng.choice(list(Precedence)), rng.randbytes(length))
        except RefusedError:
            self.world.counts["submissions_refused"] += 1

    def plan_fault(self) -> None:
        rng, world = self.rng, self.world
        (link, kit), start_s, length_s = (
            rng.choice(self.links),
            rng.uniform(1, self.busy_s),
            rng.choice([0.3, 2, 10, 30]),
        )
        kind = rng.choice(["drop", "kill", "hold", "slow", "unplug"])
        if kind == "unplug":
            world.at(start_s, lambda: world.unplug(link, kit))
            world.at(start_s + length_s, lambda: world.plug(link, kit))
            return
        if kind == "slow":
            world.at(start_s, lambda: world.set(link, node=kit, loss_ratio=0.2, rate_bps=20_000))
        else:
            outage, kills = Outage.HOLD if kind == "hold" else Outage.DROP, kind == "kill"
            world.at(start_s, lambda: world.cut(link, node=kit, outage=outage, kills_in_flight=kills))
        world.at(start_s + length_s, lambda: world.restore(link, node=kit))

    def plan_restart(self, node: str) -> None:
        start_s = self.rng.uniform(2, self.busy_s)

        def crash() -> None:
            self.crashed.add(node)
            self.world.crash(node)

        def restart() -> None:
            self.crashed.discard(node)
            self.world.restart(node)

        self.world.at(start_s, crash)
        self.world.at(start_s + self.rng.choice([0.5, 3, 15]), restart)

    def run(self) -> World:
        """Through the trouble and long enough after it that everything should have arrived."""
        self.world.run_until(self.busy_s + 240)
        self.world.audit()
        return self.world


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_nothing_accepted_is_lost_or_doubled_whatever_fails(seed: int) -> None:
    tally = Trouble(seed).run().ledger.tally()
    assert tally.accepted > 100
    assert tally.delivered > 100
    assert (tally.lost, tally.doubled, tally.waiting) == (0, 0, 0)


def test_the_example_of_the_package_holds() -> None:
    """Run as it stands in the docstring of ``link_sim``."""
    example = "\n".join(line[4:] for line in str(link_sim.__doc__).splitlines() if line.startswith("    "))
    assert "world.run_until(30)" in example
    names = (World, NodeSettings, profile, Outage, BundleHeader, Precedence)
    exec(example, {each.__name__: each for each in names})


@pytest.mark.slow
def test_the_same_seed_gives_the_same_digest_and_another_does_not() -> None:
    digests = [Trouble(seed, busy_s=20.0).run().digest() for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


class AcknowledgesEarly(Node):
    """The planted fault: an arrival counts as stored before the disk has it."""

    def receive(self, link: str, source: Hashable | None, frame: bytes, now_s: float) -> None:
        self.heard_s = now_s
        super().receive(link, source, frame, now_s)

    def poll_effect(self) -> Effect | None:
        effect = super().poll_effect()
        if isinstance(effect, Persist) and effect.is_arrival:
            super().complete(effect.effect_id, Done(), self.heard_s)
            return effect._replace(effect_id=-1)
        return effect

    def complete(self, effect_id: int, outcome: Outcome, now_s: float) -> None:
        if effect_id != -1:
            super().complete(effect_id, outcome, now_s)


class ForgetsWhatItSaw(Node):
    """After a restart what had arrived before is new in memory; the store still knows it."""

    def __init__(
        self, settings: NodeSettings, keys: LinkKeys, rng: random.Random, restored: Restored, now_s: float
    ) -> None:
        super().__init__(settings, keys, rng, replace(restored, seen=()), now_s)


class ForgetsAndWillNotHear(ForgetsWhatItSaw):
    """The planted fault: it takes the store's word that a bundle is known for one that it is new, too."""

    def complete(self, effect_id: int, outcome: Outcome, now_s: float) -> None:
        super().complete(effect_id, Done() if isinstance(outcome, Known) else outcome, now_s)


def run_seeds(make_node: NodeMaker) -> None:
    for seed in range(1, 11):
        Trouble(seed, busy_s=30.0, make_node=make_node).run()


@pytest.mark.slow
def test_what_a_node_forgets_its_store_remembers() -> None:
    run_seeds(ForgetsWhatItSaw)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("faulty", "complaint"),
    [(AcknowledgesEarly, "delivered and not on disk"), (ForgetsAndWillNotHear, "delivered twice")],
)
def test_a_planted_fault_is_found_within_ten_seeds(faulty: NodeMaker, complaint: str) -> None:
    with pytest.raises(BrokenPromiseError, match=complaint):
        run_seeds(faulty)
