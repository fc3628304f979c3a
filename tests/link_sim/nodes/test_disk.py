"""The memory disk forgets what had not committed and brings back the rest: burst numbers and their windows."""

import functools
import random

from edge_agent.core.effects import BurstWindow, LeaseNumbers, Restored, SyncWindow
from edge_agent.core.frame import LinkKeys
from edge_agent.core.report import NodeSettings
from link_sim.nodes.world import World
from tests.link_sim.nodes.toy_node import ToyNode

LEASED_AT_A_TIME = 64
UNSIGNED_MAX = (1 << 64) - 1
OTHER = BurstWindow(1, UNSIGNED_MAX, 5, 6)


def taken(starts: int) -> BurstWindow:
    """The window that a node writes at its start of this number."""
    return BurstWindow(1, 2, starts, UNSIGNED_MAX - starts)


class BurstNode(ToyNode):
    """Leases more numbers at each start, then in the next commit writes two windows and asks for a smaller lease."""

    def __init__(
        self,
        settings: NodeSettings,
        keys: LinkKeys,
        rng: random.Random,
        restored: Restored,
        now_s: float,
        *,
        starts: list[Restored],
    ) -> None:
        super().__init__(settings, keys, rng, restored, now_s)
        starts.append(restored)
        self._ask(LeaseNumbers(self._new_id(), restored.burst_leased + LEASED_AT_A_TIME))
        for window in (taken(len(starts)), OTHER):
            self._ask(SyncWindow(self._new_id(), window))
        self._ask(LeaseNumbers(self._new_id(), 1))


def test_burst_numbers_and_windows_survive_a_crash_once_they_committed() -> None:
    starts: list[Restored] = []
    world = World(1, make_node=functools.partial(BurstNode, starts=starts))
    world.add_node(NodeSettings(node_id="kit-1"), commit_s=0.1)
    for t_s in (0.05, 0.20, 0.55, 0.60):  # before any commit, after the first of two, after both
        world.run_until(t_s)
        world.crash("kit-1")
        world.restart("kit-1")
    found = [(each.burst_leased, each.burst_windows) for each in starts]
    assert found == [
        (0, ()),
        (0, ()),
        (LEASED_AT_A_TIME, ()),
        (2 * LEASED_AT_A_TIME, (taken(3), OTHER)),
        (2 * LEASED_AT_A_TIME, (taken(3), OTHER)),
    ]
