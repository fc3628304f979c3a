"""Each promise of the way has a checker that sees it broken, in a small world that keeps it everywhere else."""

import random
from collections.abc import Callable

import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.limits import LinkPolicy
from edge_agent.core.node import Node
from edge_agent.core.report import NodeSettings
from link_sim.judge.checker import Checker
from link_sim.judge.open_keys import OpenKeys
from link_sim.judge.trial import RADIO_LIMITS
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.door import NodeMaker
from link_sim.nodes.ledger import BrokenPromiseError
from link_sim.nodes.watch import NoWatch, Watch
from link_sim.nodes.world import World
from tests.link_sim.judge import faulty_nodes

RADIO = LinkProfile(rate_bps=7680, delay_s=0.01, queue_bytes=4096)
FAST = LinkProfile(rate_bps=1_000_000, delay_s=0.02, queue_bytes=50_000)


def busy_world(
    make_node: NodeMaker = Node,
    *,
    precedences: tuple[Precedence, ...] = tuple(Precedence)[1:],
    bytes_per_day: int | None = None,
    until_s: float = 100.0,
    audit_steps: int = 1000,
) -> Checker:
    """A kit with work of every class for the whole time, behind one radio."""
    checker = Checker(audit_steps=audit_steps)
    world, keys, rng = World(1, make_node=make_node, watch=checker), OpenKeys(), random.Random(1)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND), keys=keys)
    world.add_node(NodeSettings(node_id="kit-1"), keys=keys)
    policy = LinkPolicy(metered=False, bytes_per_day=bytes_per_day)
    world.connect("radio", "kit-1", COMMAND, RADIO, limits=RADIO_LIMITS, policy=policy)
    world.run_until(3)
    for precedence in precedences:
        for _ in range(100):
            header = BundleHeader(destination=COMMAND, flow=precedence.name.lower())
            world.submit("kit-1", header, precedence, rng.randbytes(1000))
    sos = BundleHeader(destination=COMMAND, flow="sos")
    for t_s in range(10, int(until_s), 20):
        world.at(t_s, lambda: world.submit("kit-1", sos, Precedence.FLASH, rng.randbytes(300)))
    world.at(50, lambda: world.cut("radio"))
    world.at(58, lambda: world.restore("radio"))
    world.run_until(until_s)
    checker.audit()
    return checker


def test_the_core_keeps_every_promise_under_load() -> None:
    checker = busy_world()
    assert checker.frames > 400
    assert checker.steps > 1000


@pytest.mark.parametrize(
    ("faulty", "complaint"),
    [
        (faulty_nodes.FlashComesLast, "starts on 'radio' while FLASH waits"),
        (faulty_nodes.StarvesTheLower, "DEFERRED was ready for|PRIORITY was ready for|ROUTINE was ready for"),
        (faulty_nodes.TurnsPrecedenceOver, "while a higher class was ready"),
        (faulty_nodes.GivesTooMuch, "while a higher class was ready"),
        (faulty_nodes.AcknowledgesBeforeCommit, "told to be in custody and never on disk"),
        (faulty_nodes.IgnoresWindow, "bytes in flight, room"),
    ],
)
def test_a_broken_promise_of_the_way_is_found(faulty: NodeMaker, complaint: str) -> None:
    with pytest.raises(BrokenPromiseError, match=complaint):
        busy_world(faulty, until_s=140.0)  # the outage at 50 s begins each class's minute anew


def test_a_budget_of_a_day_is_kept_and_its_breach_is_found() -> None:
    busy_world(bytes_per_day=20_000)
    with pytest.raises(BrokenPromiseError, match="the day has 20000"):
        busy_world(faulty_nodes.ForgetsTheBudget, bytes_per_day=20_000)


class MiscountsItsQueues(Node):
    """What waits is counted once too often."""

    def submit(self, *arguments: object) -> object:  # type: ignore[override]  # passes on whatever it is given
        bundle = super().submit(*arguments)  # type: ignore[arg-type]
        for queue in self.scheduler.queues.values():
            queue.bundles += 1
        return bundle


def test_counts_are_compared_with_the_disk_now_and_then() -> None:
    with pytest.raises(BrokenPromiseError, match="waiting bundles and has"):
        busy_world(MiscountsItsQueues, audit_steps=50)  # type: ignore[arg-type]  # its submit is loosely typed


def lone_bundle(make_node: NodeMaker, spoil: Callable[[World], object] = lambda world: None) -> Checker:
    checker = Checker()
    world, keys = World(1, make_node=make_node, watch=checker), OpenKeys()
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND), keys=keys)
    world.add_node(NodeSettings(node_id="kit-1"), keys=keys)
    world.connect("4g", "kit-1", COMMAND, FAST, policy=LinkPolicy(precedences=frozenset({Precedence.FLASH})))
    world.run_until(1)
    spoil(world)
    header = BundleHeader(destination=COMMAND, flow="reading")
    world.submit("kit-1", header, Precedence.ROUTINE, bytes(100))
    world.run_until(20)
    return checker


class IgnoresPolicy(Node):
    """Every link may carry everything."""

    def handle_timeout(self, now_s: float) -> None:
        for link in self.contacts.links.values():
            link.set_policy(LinkPolicy(metered=False))
        super().handle_timeout(now_s)


def test_what_a_link_may_not_carry_is_seen_on_it() -> None:
    assert lone_bundle(Node).frames > 3
    with pytest.raises(BrokenPromiseError, match="ROUTINE 0 leaves on '4g', which may not carry it"):
        lone_bundle(IgnoresPolicy)


def test_a_damaged_frame_is_not_authentic_under_open_keys() -> None:
    cipher = OpenKeys().early(bytes(16), 0, 0)
    assert cipher is not None
    sealed = cipher.seal(7, b"header", b"body")
    assert cipher.open(7, b"header", sealed) == b"body"
    assert cipher.open(8, b"header", sealed) is None
    assert cipher.open(7, b"reader", sealed) is None
    for at in range(8 * len(sealed)):
        damaged = bytearray(sealed)
        damaged[at // 8] ^= 1 << at % 8
        assert cipher.open(7, b"header", bytes(damaged)) is None


def test_a_checker_changes_nothing() -> None:
    assert watched_digest(Checker()) == watched_digest(NoWatch())


def watched_digest(watch: Watch) -> str:
    world, rng = World(3, watch=watch), random.Random(3)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    world.add_node(NodeSettings(node_id="kit-1"))
    for link in ("a", "b"):
        world.connect(link, "kit-1", COMMAND, FAST)
    for precedence in Precedence:
        header = BundleHeader(destination=COMMAND, flow=precedence.name.lower())
        world.submit("kit-1", header, precedence, rng.randbytes(50_000))
    world.run_until(10)
    assert len(world.deliveries) == len(Precedence)
    return world.digest()
