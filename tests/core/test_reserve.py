"""Live flows hold a part of each link where IMMEDIATE would take all of it."""

import random

import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, FlowOrder, Precedence
from edge_agent.core.report import NodeSettings
from edge_agent.core.scheduler import Reserve, Scheduler
from edge_agent.flows import FlowRule, FlowTable
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World
from tests.core.bench import Bench
from tests.core.sending import outgoing, queued
from tests.core.test_explain import SLOW

LINK = LinkProfile(rate_bps=256_000, delay_s=0.03, queue_bytes=64_000, overhead_bytes=28)
START_S, END_S = 5.0, 65.0
IMMEDIATE, PRIORITY, ROUTINE = Precedence.IMMEDIATE, Precedence.PRIORITY, Precedence.ROUTINE
FLOWS = {IMMEDIATE: "event", PRIORITY: "live", ROUTINE: "reading"}


def shares(protected: tuple[str, ...]) -> dict[Precedence, float]:
    """What each class had of the payload delivered in a minute in which all of them had more than the link carries."""
    world, rng = World(7), random.Random(7)
    table = FlowTable([FlowRule(pattern=flow, protected=True) for flow in protected])
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    world.add_node(NodeSettings(node_id="kit-1", is_protected=lambda flow: table.terms(flow).protected))
    world.connect("link", "kit-1", COMMAND, LINK)
    world.run_until(1.0)
    for precedence, flow in FLOWS.items():
        for _ in range(500):
            world.submit("kit-1", BundleHeader(destination=COMMAND, flow=flow), precedence, rng.randbytes(4_000))
    world.run_until(END_S)
    served = dict.fromkeys(FLOWS, 0)
    for each in world.deliveries:
        if each.t_s > START_S:
            served[each.bundle.precedence] += each.record.payload_bytes
    found = {precedence: own_bytes / sum(served.values()) for precedence, own_bytes in served.items()}
    print(protected, {precedence.name: round(share, 3) for precedence, share in found.items()})
    return found


@pytest.mark.slow
def test_a_protected_flow_holds_its_part_against_immediate() -> None:
    found = shares(("live",))
    assert 0.27 <= found[PRIORITY] <= 0.36
    assert 0.02 <= found[ROUTINE] <= 0.08, "the others keep the share of their class"


@pytest.mark.slow
def test_without_the_key_it_has_the_share_of_its_class() -> None:
    """And the test above would find a reserve that is not paid."""
    assert shares(())[PRIORITY] <= 0.1


@pytest.mark.slow
def test_the_reserve_is_one_and_the_highest_class_holds_it() -> None:
    found = shares(("live", "reading"))
    assert 0.27 <= found[PRIORITY] <= 0.36
    assert found[ROUTINE] <= 0.08


@pytest.mark.slow
def test_a_perishable_flow_below_its_part_comes_in_time_beside_immediate() -> None:
    """About half of the reserve is offered; no key of the configuration is needed."""
    world, rng = World(7), random.Random(7)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    world.add_node(NodeSettings(node_id="kit-1"))
    world.connect("link", "kit-1", COMMAND, LINK)
    world.run_until(1.0)
    for _ in range(500):
        world.submit("kit-1", BundleHeader(destination=COMMAND, flow="event"), IMMEDIATE, rng.randbytes(4_000))
    picture = BundleHeader(destination=COMMAND, flow="picture", deadline_s=0.4)
    made: list[BundleId] = []
    world.every(
        0.04,
        lambda: made.append(world.submit("kit-1", picture, PRIORITY, rng.randbytes(200))),
        start_s=START_S,
        until_s=END_S,
    )
    world.run_until(END_S)
    delivered = {each.bundle for each in world.deliveries}
    print("in time", in_time_ratio := len(delivered.intersection(made)) / len(made))
    assert in_time_ratio >= 0.99


def test_the_reserve_is_held_while_a_protected_queue_waits_beside_immediate() -> None:
    scheduler = Scheduler(0.05, 0.3, lambda flow: flow == "live")
    here = (COMMAND,)
    queued(scheduler, outgoing(0, 100, PRIORITY, flow="live"))
    assert scheduler.reserve(scheduler.waiting(here), here) is None, "nothing would take all of the link"
    queued(scheduler, outgoing(0, 100, IMMEDIATE))
    held = scheduler.reserve(scheduler.waiting(here), here)
    assert held == Reserve(PRIORITY, pytest.approx(0.3 / 0.7))
    assert scheduler.reserve(scheduler.waiting(("elsewhere",)), ("elsewhere",)) is None
    for queue in scheduler.queues.values():
        if queue.holds_reserve:
            queue.entries.clear()
    assert scheduler.pick(PRIORITY, here, lambda bundle: True, lambda: 0) is None
    assert scheduler.reserve([IMMEDIATE, PRIORITY], here) is None, "its queue has left the ring"


def test_positions_and_reports_are_protected_unless_told_otherwise() -> None:
    assert FlowTable().terms("position").protected
    assert FlowTable().terms("report").protected
    assert not FlowTable().terms("reading").protected
    assert not FlowTable([FlowRule(pattern="position*", protected=False)]).terms("position").protected


@pytest.mark.parametrize(("is_protected", "least", "most"), [(True, 0, 6), (False, 50, 50)])
def test_why_counts_what_leaves_beside_the_reserve(is_protected: bool, least: int, most: int) -> None:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1", is_protected=lambda flow: is_protected and flow == "live")
    bench.join("radio", "kit-1", "command", SLOW)
    bench.run(1)
    for _ in range(50):
        bench.submit("kit-1", bytes(1_000), IMMEDIATE, BundleHeader(destination=COMMAND, flow="event"))
    live = BundleHeader(destination=COMMAND, flow="live", order=FlowOrder.FIFO)
    bundle = bench.submit("kit-1", bytes(1_000), PRIORITY, live)
    told = bench.places["kit-1"].running.explain(bundle, bench.now_s)
    assert told is not None
    assert least <= told.ahead_bundles <= most
