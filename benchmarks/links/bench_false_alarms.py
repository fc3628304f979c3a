"""Links that are bad and not dead, in virtual time: how often one is taken for dead, and what doubts cost."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import cast

from benchmarks import run_number
from benchmarks.links.beds import KIT, LIVE, BedLink, mesh
from benchmarks.links.holes import holes_of, overlaps
from benchmarks.rows import Bench, Figure, Repeats
from edge_agent.core.bundle import COMMAND, BundleId, Precedence
from edge_agent.core.effects import BundlesForwarded, Event, LinkState
from edge_agent.core.node import Node
from edge_agent.core.report import NodeSettings
from edge_agent.security.link_keys import DeploymentKeys
from edge_agent.security.secret_file import SECRET_BYTES
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.seat import Seat
from link_sim.nodes.watch import NoWatch
from link_sim.nodes.world import World
from link_sim.profiles import NAMED, UDP_IPV4_OVERHEAD_BYTES, PathProfile

SPAN_S, QUICK_SPAN_S = 3600.0, 600.0
LIVE_BYTES, LIVE_EVERY_S = 200, 0.02
STAND_BY = LinkProfile(rate_bps=5_000_000, delay_s=0.08, queue_bytes=62_500, overhead_bytes=UDP_IPV4_OVERHEAD_BYTES)
"""The good link beside it: slower by delay, so that the live data prefer the one that is watched."""
CONVICTION_LEAST_S = 0.117
"""No link is convicted for a shorter silence: a hole at least so long counts as one."""
BLAMED_S = 1.6
"""A conviction follows a hole within so long: three patiences and the slack, or a word of the peer's."""
COPIES_GOAL = {"leo": 0.01, "mesh": 0.01, "4g_driving": 0.04}


@dataclass(slots=True)
class Copies(NoWatch):
    """Of how many messages more than one link carried something."""

    forwarded: int = 0
    copied: int = 0

    def noted(self, seat: Seat, event: Event) -> None:
        """A node says something."""
        if isinstance(event, BundlesForwarded) and seat.settings.node_id == KIT:
            self.forwarded += len(event.bundles)
            self.copied += len(event.bundles) if len(event.via) > 1 else 0


@dataclass(slots=True)
class Alarms:
    """What one run came to, both ends together."""

    false_convictions: list[float] = field(default_factory=list)
    """When, in seconds."""
    true_convictions: int = 0
    suspicions: int = 0
    copied_ratio: float = 0.0
    """Of the messages: those that doubt put on a second link, too."""


def _watched(kind: str) -> BedLink:
    if kind == "mesh":
        return mesh()
    profile = NAMED[kind.replace("_", "-")]
    return BedLink(PathProfile(name=kind, up=profile.up, down=profile.down), 2_000_000)


@cache
def alarms(kind: str, span_s: float, *, with_pulse: bool = True) -> Alarms:
    """An IMMEDIATE message of 200 bytes each 20 ms over a bad link with a good one beside it; no cut is added."""
    link, copies, keys = _watched(kind), Copies(), DeploymentKeys({0: bytes(SECRET_BYTES)})
    world, made = World(run_number.seed(), watch=copies), set[BundleId]()
    for node_id, role in ((KIT, "kit"), (COMMAND, COMMAND)):
        world.add_node(NodeSettings(node_id=node_id, role=role, fast_liveness=with_pulse), keys=keys)
    world.connect(link.name, KIT, COMMAND, link.profile)
    world.connect("stand-by", KIT, COMMAND, PathProfile(name="stand-by", up=STAND_BY, down=STAND_BY))
    payload = bytes(LIVE_BYTES)

    def send() -> None:
        made.add(world.submit(KIT, LIVE, Precedence.IMMEDIATE, payload))

    world.every(LIVE_EVERY_S, send, start_s=3.0, until_s=span_s)
    world.run_until(span_s + 10.0)
    world.audit()
    came = [each.bundle for each in world.deliveries]
    if len(came) != len(set(came)) or set(came) != made:
        raise AssertionError(f"{kind}: {len(made)} were made, {len(came)} came, {len(set(came))} of them different")
    return _judge(world, link, span_s, copies)


def _judge(world: World, link: BedLink, span_s: float, copies: Copies) -> Alarms:
    ways = (link.profile.up, link.profile.down)
    holes = [holes_of(way, span_s + 10.0, CONVICTION_LEAST_S) for way in ways]
    result = Alarms(copied_ratio=copies.copied / copies.forwarded)
    for t_s, change in world.link_changes:
        if change.state is not LinkState.DOWN:
            continue
        if change.link == link.name and any(overlaps(each, t_s - BLAMED_S, t_s) for each in holes):
            result.true_convictions += 1
        else:
            result.false_convictions.append(t_s)
    for name in (KIT, COMMAND):
        node = cast(Node, world.node(name))
        result.suspicions += sum(each.suspicions for each in node.contacts.contacts)
    return result


def _convictions(kind: str, span_s: float) -> Figure:
    """The reference is the number of suspicions."""
    result = alarms(kind, span_s)
    return Figure(value=len(result.false_convictions), reference=result.suspicions)


def _copies(kind: str, span_s: float) -> Figure:
    """Beyond those of the same hour without a pulse, where only what was lost goes elsewhere; the reference is both."""
    doubted, undoubted = alarms(kind, span_s), alarms(kind, span_s, with_pulse=False)
    return Figure(value=doubted.copied_ratio - undoubted.copied_ratio, reference=doubted.copied_ratio)


def rows(quick: bool) -> list[Bench]:
    """Two rows a link; quick: ten minutes of it in place of an hour."""
    span_s = QUICK_SPAN_S if quick else SPAN_S
    span = "in 10 min" if quick else "in an hour"
    kinds = {"leo": "leo_car", "mesh": "mesh", "4g_driving": "4g_driving"}
    return [
        row
        for name, kind in kinds.items()
        for row in (
            _row(f"false_alarms_{name}", span, "== 0", _convictions, kind, span_s),
            _row(f"alarm_copies_{name}", "of the messages (all)", f"< {COPIES_GOAL[name]}", _copies, kind, span_s),
        )
    ]


def _row(name: str, unit: str, goal: str, measure: Callable[[str, float], Figure], kind: str, span_s: float) -> Bench:
    return Bench(
        name=name, group="links", unit=unit, goal=goal, measure=partial(measure, kind, span_s), repeats=Repeats.SEEDED
    )
