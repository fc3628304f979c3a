"""A command post without room refuses bundles before their first byte, and never a call for help."""

from edge_agent.core.bundle import COMMAND, BundleHeader, Origin, Precedence
from edge_agent.core.report import NodeSettings
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World


def test_a_full_post_takes_flash_and_nothing_else() -> None:
    world = World(1)
    world.add_node(NodeSettings(node_id="kit-1"))
    world.add_node(NodeSettings(node_id="command-1", role=COMMAND, free_store_bytes=0))
    world.connect("a", "kit-1", "command-1", LinkProfile(rate_bps=1_000_000, delay_s=0.02))
    world.run_until(2.0)
    header = BundleHeader(destination=COMMAND, flow="text", origin=Origin.PERSON)
    ids = {precedence: world.submit("kit-1", header, precedence, bytes(200)) for precedence in Precedence}
    world.run_until(20.0)
    assert [delivery.record.id for delivery in world.deliveries] == [ids[Precedence.FLASH]]
    assert world.report("command-1").counters["refused_store_full"] > 0
