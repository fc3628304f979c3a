"""A key that has sealed very many frames is replaced without loss, whichever side sealed them."""

import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.frame import Direction, FrameCipher, NullKeys, SessionSalts
from edge_agent.core.report import NodeSettings
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World


class CountedKeys(NullKeys):
    """Counts the traffic keys that were made."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def traffic(self, salts: SessionSalts, direction: Direction, suite: int, epoch: int) -> FrameCipher | None:
        self.made += 1
        return super().traffic(salts, direction, suite, epoch)


@pytest.mark.parametrize(("sender", "destination"), [("kit-1", COMMAND), ("command-1", "kit-1")])
def test_a_worn_key_is_replaced_and_nothing_is_lost(sender: str, destination: str) -> None:
    world, keys = World(1), CountedKeys()
    world.add_node(NodeSettings(node_id="kit-1", rekey_frames=200), keys=keys)
    world.add_node(NodeSettings(node_id="command-1", role=COMMAND, rekey_frames=200))
    world.connect("a", "kit-1", "command-1", LinkProfile(rate_bps=1_000_000, delay_s=0.02))
    header = BundleHeader(destination=destination, flow="text")
    world.every(0.05, lambda: world.submit(sender, header, Precedence.ROUTINE, bytes(3000)), start_s=1.0, until_s=61.0)
    world.run_until(90.0)
    world.audit()
    tally = world.ledger.tally()
    assert tally.accepted == tally.delivered >= 1190
    frames = world.frames()["kit-1/a/up"]["delivered"] + world.frames()["kit-1/a/down"]["delivered"]
    assert frames > 3000
    assert keys.made >= 2 * 2
