"""The world keeps time, its disks keep what committed, and its ledger sees a node that breaks a promise."""

import functools
import random
from pathlib import Path

import msgpack
import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.errors import RefusalReason
from edge_agent.core.report import NodeSettings
from link_sim.errors import ProfileError
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Outage
from link_sim.nodes.ledger import BrokenPromiseError
from link_sim.nodes.world import World, WorldError
from link_sim.profiles import profile
from tests.link_sim.nodes.toy_node import ToyNode

HEADER = BundleHeader(destination=COMMAND, flow="reading")


def make_world(seed: int = 1, *, fault: str = "", kits: int = 1, commit_s: float = 0.002) -> World:
    world = World(seed, make_node=functools.partial(ToyNode, fault=fault))
    world.add_node(NodeSettings(node_id="command", role="command"), commit_s=commit_s)
    for number in range(1, kits + 1):
        world.add_node(NodeSettings(node_id=f"kit-{number}"), commit_s=commit_s)
        world.connect("4g", f"kit-{number}", "command", profile("4g"))
        world.connect("vsat", f"kit-{number}", "command", profile("vsat"))
    return world


def send(world: World, node: str = "kit-1", payload: bytes = b"payload") -> None:
    world.submit(node, HEADER, Precedence.ROUTINE, payload)


def test_a_bundle_takes_commit_serialisation_delay_and_commit() -> None:
    world = make_world()
    send(world)
    world.run_until(10)
    (delivery,) = world.deliveries
    frame_bytes = 28 + len(msgpack.packb(["bundle", str(delivery.bundle), HEADER.pack(), b"payload"]))
    assert delivery.t_s == pytest.approx(0.002 + frame_bytes * 8 / 10_000_000 + 0.025 + 0.002, abs=2e-9)
    assert (delivery.node, delivery.payload, delivery.via) == ("command", b"payload", ("4g",))
    assert world.ledger.tally().waiting == 0


def chaos(seed: int, fault: str = "", commit_s: float = 0.002) -> World:
    """Two kits, two links each, cuts, holds, loss, crashes of either side."""
    world, rng = make_world(seed, fault=fault, kits=2, commit_s=commit_s), random.Random(seed)
    for node in ("kit-1", "kit-2"):
        up = {"is": True}

        def send_one(node: str = node, up: dict[str, bool] = up) -> None:
            if up["is"]:
                send(world, node, rng.randbytes(rng.randrange(200)))

        def crash(node: str = node, up: dict[str, bool] = up) -> None:
            world.crash(node)
            up["is"] = False

        def restart(node: str = node, up: dict[str, bool] = up) -> None:
            world.restart(node)
            up["is"] = True

        world.every(0.2, send_one, start_s=0.0, until_s=60.0)
        world.at(10 + rng.random(), crash)
        world.at(12, restart)
    world.at(20 + rng.random(), lambda: world.crash("command"))
    world.at(21, lambda: world.restart("command"))
    world.set("4g", loss_ratio=0.1)
    world.at(25, lambda: world.cut("4g"))
    world.at(30, lambda: world.cut("vsat", node="kit-1", outage=Outage.HOLD))
    world.at(35, lambda: world.restore("vsat", node="kit-1"))
    world.at(40, lambda: world.restore("4g"))
    world.at(45, lambda: world.unplug("4g", "kit-2"))
    world.at(50, lambda: world.plug("4g", "kit-2"))
    world.run_until(120)
    world.audit()
    return world


def test_an_honest_node_loses_nothing_in_a_chaotic_world_and_equal_seeds_agree() -> None:
    worlds = [chaos(seed) for seed in (1, 1, 2)]
    for world in worlds:
        tally = world.ledger.tally()
        assert tally.accepted > 500
        assert tally.delivered == tally.accepted
        assert (tally.lost, tally.doubled, tally.waiting) == (0, 0, 0)
    digests = [world.digest() for world in worlds]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("early_stored", "erased as forwarded, the last copy"),
        ("accepts_early", "accepted and not on disk"),
        ("no_memory", "delivered twice"),
    ],
)
def test_the_ledger_names_a_planted_fault(fault: str, complaint: str) -> None:
    with pytest.raises(BrokenPromiseError, match=complaint):
        chaos(1, fault, commit_s=0.3)


def test_a_deadline_that_makes_no_progress_is_named() -> None:
    world = make_world(fault="stuck")
    send(world)
    with pytest.raises(WorldError, match=r"node 'kit-1' wakes for ever at 0\.002 s"):
        world.run_until(1)


def test_a_crash_forgets_what_had_not_committed_and_keeps_the_rest() -> None:
    world = make_world(commit_s=0.1)
    world.cut("4g")
    world.cut("vsat")
    send(world)
    world.run_until(0.15)
    send(world)
    world.run_until(0.2)
    world.crash("kit-1")
    world.restart("kit-1")
    world.restore("4g")
    world.run_until(10)
    assert world.ledger.tally().accepted == 1
    assert [delivery.bundle.sequence for delivery in world.deliveries] == [0]
    send(world)
    world.run_until(20)
    assert world.deliveries[-1].bundle.sequence > 1  # no number is used twice


def test_writes_under_way_commit_together() -> None:
    world = make_world(commit_s=1.0)
    for _ in range(5):
        send(world)
    world.run_until(1.5)
    assert world.ledger.tally().accepted == 1
    world.run_until(2.5)
    assert world.ledger.tally().accepted == 5


def test_a_failing_disk_accepts_nothing() -> None:
    world = make_world()
    world.disk("kit-1").failing = RefusalReason.STORE_FULL
    send(world)
    world.run_until(5)
    assert world.ledger.tally().accepted == 0
    assert list(world.disk("kit-1").bundles()) == []


def test_a_cut_link_is_silent_and_nobody_is_told() -> None:
    world = make_world()
    world.cut("4g", node="kit-1")
    world.cut("vsat")
    send(world)
    world.run_until(5)
    assert world.deliveries == []
    assert world.frames()["kit-1/4g/up"]["outage"] > 0
    world.restore("vsat")
    world.run_until(10)
    assert [delivery.via for delivery in world.deliveries] == [("vsat",)]


def test_a_changed_rate_is_felt_at_once() -> None:
    world = make_world(commit_s=0.0)
    world.set("4g", rate_bps=8000)
    send(world, payload=bytes(1000))
    world.run_until(10)
    assert 1.025 < world.deliveries[0].t_s < 1.2
    world.restore("4g")
    send(world, payload=bytes(1000))
    world.run_until(20)
    assert world.deliveries[1].t_s < 10.03


def test_a_trace_is_that_of_the_direction_and_errors_name_it(tmp_path: Path) -> None:
    world, drive = make_world(), tmp_path / "drive.csv"
    drive.write_text("t_ms,down_bps,up_bps,delay_ms,loss\n0,5000,250,12.5,0\n1500,,,,\n")
    world.set("4g", trace=str(drive))
    traces = [world.lines()[f"kit-1/4g/{side}"].profile.trace for side in ("up", "down")]
    assert [trace.row_at(0).rate_bps for trace in traces if trace is not None] == [250, 5000]
    with pytest.raises(ProfileError, match="link kit-1/4g/down: rate_bps 0: allowed is 1 or more"):
        world.set("4g", direction="down", rate_bps=0)


def test_links_and_nodes_that_do_not_exist_are_named_with_those_that_do() -> None:
    world = make_world()
    with pytest.raises(WorldError, match=r"link '5g' of any node is not known; there are 4g of kit-1, vsat of kit-1"):
        world.cut("5g")
    with pytest.raises(WorldError, match=r"node 'kit-9' is not known; there are command, kit-1"):
        world.crash("kit-9")
    with pytest.raises(WorldError, match="has a link '4g' already"):
        world.connect("4g", "kit-1", "command", LinkProfile())
    world.run_until(5)
    with pytest.raises(WorldError, match=r"at 4 s: the clock shows 5\.0 s already"):
        world.at(4, lambda: None)
