"""Rates under conditions of all kinds in virtual time: what is used of a link, and what we ourselves make it drop."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

from benchmarks import run_number
from benchmarks.links.beds import BULK, KIT, MET_S, BedLink, BedRun, plain
from benchmarks.rows import Bench, Figure, Repeats
from edge_agent.core.bundle import COMMAND, Precedence
from edge_agent.core.limits import LinkLimits, LinkShape
from edge_agent.core.report import NodeSettings
from edge_agent.security.link_keys import DeploymentKeys
from edge_agent.security.secret_file import SECRET_BYTES
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Outage
from link_sim.nodes.world import World
from link_sim.profiles import UDP_IPV4_OVERHEAD_BYTES, PathProfile

START_S, SPAN_S, QUICK_SPAN_S = 5.0, 60.0, 30.0
LEAST_RATIO, OWN_LOSS_RATIO = 0.85, 0.02
RATE_BPS = 5_000_000
HOLDS_S = (0.3, 2.0, 12.0, 0.8, 5.0)
"""How long the link of ``holds`` stands still, by turns, each ``HOLD_EVERY_S``."""
HOLD_EVERY_S = 14.0
NARROW_BPS, NARROW_BUNDLE_BYTES, NARROW_BUNDLES, NARROW_FIRST = 9_600, 10_000, 40, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One link that is hard to judge. ``kept_ratio``: what its losses leave of its rate."""

    link: BedLink
    kept_ratio: float = 1.0
    holds: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Payload delivered as a share of what the link kept, and frames it dropped for want of room as a share of all."""

    used_ratio: float
    own_loss_ratio: float


def _link(name: str, *, rate_bps: int = RATE_BPS, down: LinkProfile | None = None, **numbers: float) -> BedLink:
    """5 Mbit/s, 20 ms, 100 ms of queue, unless ``numbers`` say otherwise."""
    usual = {"delay_s": 0.02, "queue_bytes": rate_bps // 80}
    up = LinkProfile(rate_bps=rate_bps, overhead_bytes=UDP_IPV4_OVERHEAD_BYTES, **(usual | numbers))  # type: ignore[arg-type]  # names and kinds are those of LinkProfile, which checks them
    return BedLink(PathProfile(name=name, up=up, down=down or plain(name).profile.down), rate_bps)


def conditions() -> dict[str, Condition]:
    """By name. Bursts of loss: bad for 60 ms in 300 ms with half lost, in frames of 1,428 bytes."""
    frame_s = 1428 * 8 / RATE_BPS
    clumps = replace(plain("link").profile.down, poll_s=0.1)
    bursts = _link(
        "link",
        burst_enter_ratio=frame_s / 0.24,
        burst_leave_ratio=frame_s / 0.06,
        burst_loss_ratio=0.5,
    )
    return {
        "tbf": Condition(link=_link("link", burst_bytes=65_536)),
        "tbf_1m": Condition(link=_link("link", rate_bps=1_000_000, burst_bytes=65_536)),
        "policer": Condition(link=_link("link", burst_bytes=16_384, queue_bytes=0)),
        "policer_64k": Condition(link=_link("link", burst_bytes=65_536, queue_bytes=0)),
        "holds": Condition(link=plain("link"), holds=True),
        "bursts": Condition(link=bursts, kept_ratio=0.9),
        "clumps": Condition(link=_link("link", down=clumps)),
    }


@cache
def outcome(name: str, span_s: float) -> Outcome:
    """What became of a condition from ``START_S`` on."""
    condition = conditions()[name]
    run, end_s = BedRun([condition.link]), START_S + span_s
    world, held_s = run.world, 0.0
    run.fill(end_s)
    if condition.holds:
        for number, span in enumerate(HOLDS_S):
            at_s = START_S + 1.0 + number * HOLD_EVERY_S
            if at_s + span < end_s:
                world.at(at_s, partial(world.cut, "link", outage=Outage.HOLD))
                world.at(at_s + span, partial(world.mend, "link"))
                held_s += span
    world.run_until(START_S)
    before, frames_before = len(world.deliveries), world.frames()["kit-1/link/up"]
    world.run_until(end_s)
    payload_bytes = sum(each.record.payload_bytes for each in world.deliveries[before:])
    frames = world.frames()["kit-1/link/up"]
    offered = {fate: count - frames_before[fate] for fate, count in frames.items()}
    return Outcome(
        used_ratio=payload_bytes * 8 / condition.link.own_bps / condition.kept_ratio / (span_s - held_s),
        own_loss_ratio=offered["queue_full"] / sum(offered.values()),
    )


def narrowband(shape: LinkShape, overhead_bytes: int) -> float:
    """Payload of 10 KB bundles as a share of 9,600 bit/s at 600 ms of round trip with 2 % lost.

    The first ones are left out: the rate is stated, and the sender has met the link.
    """
    profile = LinkProfile(
        rate_bps=NARROW_BPS, delay_s=0.3, loss_ratio=0.02, overhead_bytes=overhead_bytes, queue_bytes=2_400
    )
    limits = LinkLimits(shape=shape, mtu_bytes=1400, overhead_bytes=overhead_bytes, rate_bps=NARROW_BPS)
    keys, world = DeploymentKeys({0: bytes(SECRET_BYTES)}), World(run_number.seed())
    world.add_node(NodeSettings(node_id=KIT), keys=keys)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND), keys=keys)
    world.connect("link", KIT, COMMAND, profile, limits=limits)
    world.run_until(MET_S)
    for number in range(NARROW_BUNDLES):
        world.submit(KIT, BULK, Precedence.ROUTINE, random.Random(number).randbytes(NARROW_BUNDLE_BYTES))
    while len(world.deliveries) < NARROW_BUNDLES:
        world.run_until(world.now_s + 10.0)
    at_s = sorted(each.t_s for each in world.deliveries)
    span_s = at_s[-1] - at_s[NARROW_FIRST - 1]
    return (NARROW_BUNDLES - NARROW_FIRST) * NARROW_BUNDLE_BYTES * 8 / span_s / NARROW_BPS


def _used(name: str, span_s: float) -> Figure:
    found = outcome(name, span_s)
    return Figure(value=found.used_ratio, reference=found.own_loss_ratio)


def _own_loss(name: str, span_s: float) -> Figure:
    found = outcome(name, span_s)
    return Figure(value=found.own_loss_ratio, reference=found.used_ratio)


def _narrow(shape: LinkShape, overhead_bytes: int) -> Figure:
    return Figure(value=narrowband(shape, overhead_bytes))


def rows(quick: bool) -> list[Bench]:
    """Two rows a condition; quick: 30 s in place of 60."""
    span_s = QUICK_SPAN_S if quick else SPAN_S
    benches = []
    for name in conditions():
        benches += [
            _row(f"used_{name}", "of the rate (own loss)", f">= {LEAST_RATIO}", partial(_used, name, span_s)),
            _row(f"own_loss_{name}", "of frames (used)", f"<= {OWN_LOSS_RATIO}", partial(_own_loss, name, span_s)),
        ]
    for name, shape, overhead_bytes, goal in (
        ("tiantong", LinkShape.STREAM, 0, ">= 0.90"),
        ("tiantong_ip", LinkShape.DATAGRAM, UDP_IPV4_OVERHEAD_BYTES, ">= 0.80"),
    ):
        benches.append(_row(name, "of 9,600 bit/s", goal, partial(_narrow, shape, overhead_bytes)))
    return benches


def _row(name: str, unit: str, goal: str, measure: Callable[[], Figure]) -> Bench:
    return Bench(name=name, group="links", unit=unit, goal=goal, measure=measure, repeats=Repeats.SEEDED)
