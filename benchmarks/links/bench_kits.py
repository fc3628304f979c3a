"""Five kits on one satellite, which begin one after the other: how evenly they share it, in virtual time."""

import random
from functools import cache, partial
from operator import sub

from benchmarks import run_number
from benchmarks.links.beds import geo
from benchmarks.rows import Bench, Figure, Repeats
from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.report import NodeSettings
from edge_agent.security.link_keys import DeploymentKeys
from edge_agent.security.secret_file import SECRET_BYTES
from link_sim.nodes.world import World

KITS = tuple(f"kit-{number}" for number in range(1, 6))
BEGIN_S, LATER_S = 1.0, 5.0
SPAN_S = 60.0
BUNDLES, BUNDLE_BYTES = 100, 65_536
SEEDS = (1, 2, 3)


def jain(shares: list[int]) -> float:
    """Index of fairness: 1 where all have the same, 1 / n where one has all. Source: Jain, Chiu, Hawe (1984)."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


@cache
def five_kits(seed: int) -> tuple[float, float]:
    """Index of the first minute with all five, and of the second one, by wire bytes that left each kit."""
    keys, world = DeploymentKeys({0: bytes(SECRET_BYTES)}), World(seed)
    for kit in KITS:
        world.add_node(NodeSettings(node_id=kit), keys=keys)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND), keys=keys)
    for kit in KITS:
        world.connect("geo", kit, COMMAND, geo().profile)
    world.share("geo")
    for number, kit in enumerate(KITS):
        world.at(BEGIN_S + LATER_S * number, partial(_begin, world, kit))
    begin_s = BEGIN_S + LATER_S * (len(KITS) - 1)
    sent: list[list[int]] = []
    for minute in range(3):
        world.run_until(begin_s + SPAN_S * minute)
        sent.append([world.report(kit).links[0].sent_bytes for kit in KITS])
    zero, one, two = sent
    return jain(list(map(sub, one, zero))), jain(list(map(sub, two, one)))


def _begin(world: World, kit: str) -> None:
    source = random.Random(kit)
    for _ in range(BUNDLES):
        header = BundleHeader(destination=COMMAND, flow="bulk")
        world.submit(kit, header, Precedence.ROUTINE, source.randbytes(BUNDLE_BYTES))


def _least(*, is_settled: bool) -> Figure:
    indexes = sorted(five_kits(run_number.seed(seed))[is_settled] for seed in SEEDS)
    return Figure(value=indexes[0], reference=indexes[len(indexes) // 2])


def rows(quick: bool) -> list[Bench]:
    """Two rows; quick or not, they are the same."""
    return [
        Bench(
            name="jain_five_kits" + ("" if is_settled else "_first"),
            group="links",
            repeats=Repeats.SEEDED,
            unit="index, the least of seeds 1-3 (middle)",
            goal=">= 0.95",
            measure=partial(_least, is_settled=is_settled),
        )
        for is_settled in (True, False)
    ]
