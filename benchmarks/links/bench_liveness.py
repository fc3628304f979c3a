"""Links that come back, idle, flap or are dead one way, in virtual time: when they are used, and what they cost."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from benchmarks import run_number
from benchmarks.links.beds import BULK, KIT, LIVE, TRACE_NUMBERS, BedLink, BedRun, links_of, plain
from benchmarks.rows import Bench, Figure, Repeats
from edge_agent.core.bundle import COMMAND, Precedence
from edge_agent.core.effects import LinkState
from edge_agent.core.limits import LinkPolicy
from edge_agent.core.report import NodeSettings
from edge_agent.security.link_keys import DeploymentKeys
from edge_agent.security.secret_file import SECRET_BYTES
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.ledger import Delivery
from link_sim.nodes.world import World
from link_sim.profiles import UDP_IPV4_OVERHEAD_BYTES, PathProfile

LIVE_BYTES, LIVE_EVERY_S = 200, 0.02
CUT_S, AWAY_S = (11.0, 13.7), 8.0
AFTER_S = 8.0
BACK_GOAL_S = 0.5
IN_A_ROW = {"A": 10, "B": 1, "C": 10}
"""So many messages one after the other by the link that came back, and no other, are its use again. In B the 4G link
and the mesh take turns in being the better one."""
METERED, UNMETERED = LinkPolicy(metered=True), LinkPolicy(metered=False)
SILENT = LinkPolicy(metered=False, keepalive_s=0)
HOUR_S, SETTLED_S = 3600.0, 10.0
NAT_S = 28.0
"""A frame at least so often keeps a binding of 30 s."""
METERED_CUTS_S = (300.0, 361.0, 422.0, 483.0)
SMALL = LinkProfile(rate_bps=500_000, delay_s=0.03, queue_bytes=25_000, overhead_bytes=UDP_IPV4_OVERHEAD_BYTES)
FLAPS, QUICK_FLAPS, FLAP_S = 10_000, 500, (0.2, 2.0)
FLAP_SEEDS = (1, 2, 3, 4, 5)
FLAPPING = LinkProfile(rate_bps=64_000, delay_s=0.05, queue_bytes=8_000, overhead_bytes=UDP_IPV4_OVERHEAD_BYTES)
FLAP_BUNDLE_BYTES, WAITING = 8_000, 12
WIRE_RATIO = 1.06
"""Wire bytes for each byte delivered where nothing comes twice."""
WINDOW_BYTES = 5_600


@dataclass(frozen=True, slots=True)
class Return:
    """What one return of the preferred link came to. ``gap_s``: the longest pause in the second around it."""

    used_after_s: float
    gap_s: float
    overtaken: int
    """Messages delivered after one that was made later: of a ``fifo`` flow the order of sending is promised, each is
    handed on as it comes."""


def live_run(bed: str, trace: int, until_s: float) -> BedRun:
    """A bed with an IMMEDIATE message of 200 bytes each 20 ms from 3 s on."""
    run = BedRun(links_of(bed, trace))
    send = partial(run.submit, LIVE, Precedence.IMMEDIATE, LIVE_BYTES)
    run.world.every(LIVE_EVERY_S, send, start_s=3.0, until_s=until_s)
    return run


def assert_whole(run: BedRun) -> None:
    """Nothing lost, nothing doubled."""
    run.world.audit()
    came = [each.bundle for each in run.world.deliveries]
    if len(came) != len(set(came)) or set(came) != set(run.made):
        raise AssertionError(f"{len(run.made)} were made, {len(came)} came, {len(set(came))} of them different")


def come_back(bed: str, trace: int, cut_s: float) -> Return:
    """The carrying link is silent for 8 s and comes back."""
    back_s = cut_s + AWAY_S
    run = live_run(bed, trace, back_s + AFTER_S)
    run.world.run_until(cut_s - 1.0)
    preferred = run.carrying(1.0).name
    run.world.cut(preferred)
    run.world.run_until(back_s)
    run.world.restore(preferred)
    run.world.run_until(back_s + AFTER_S + 20.0)
    assert_whole(run)
    came = {each.bundle: each for each in run.world.deliveries}
    made = sorted((at_s, came[bundle]) for bundle, at_s in run.made.items() if at_s >= back_s - 0.5)
    around_s = sorted(each.t_s for _, each in made if each.t_s <= back_s + 1.0)
    return Return(
        used_after_s=_used_at_s(made, preferred, back_s, IN_A_ROW[bed]) - back_s,
        gap_s=max(later - sooner for sooner, later in pairwise(around_s)),
        overtaken=_overtaken(run.made[each.bundle] for each in run.world.deliveries if each.t_s >= back_s),
    )


def _used_at_s(made: list[tuple[float, Delivery]], link: str, back_s: float, in_a_row: int) -> float:
    """When the first of some messages in a row that ``link`` alone carried was delivered; the last one's if none."""
    carried = [(each.t_s, each.via == (link,)) for at_s, each in made if at_s >= back_s]
    for at in range(len(carried) - in_a_row):
        if all(is_its for _, is_its in carried[at : at + in_a_row]):
            return carried[at][0]
    return carried[-1][0]


def _overtaken(made_s: Iterable[float]) -> int:
    newest_s, overtaken = 0.0, 0
    for at_s in made_s:
        overtaken += at_s < newest_s
        newest_s = max(newest_s, at_s)
    return overtaken


def _back(bed: str, traces: tuple[int, ...]) -> Figure:
    """The worst time to be used again; the reference is the longest pause meanwhile."""
    returns = [come_back(bed, trace, cut_s) for trace in traces for cut_s in map(run_number.moment_s, CUT_S)]
    return Figure(value=max(each.used_after_s for each in returns), reference=max(each.gap_s for each in returns))


def _idle_world(policy: LinkPolicy) -> tuple[World, list[float]]:
    """A kit and a command post with nothing to say over one link; with when the kit sent."""
    world, keys, sent_s = World(run_number.seed()), DeploymentKeys({0: bytes(SECRET_BYTES)}), list[float]()
    for node_id, role in ((KIT, "kit"), (COMMAND, COMMAND)):
        world.add_node(NodeSettings(node_id=node_id, role=role), keys=keys)
    world.connect("one", KIT, COMMAND, plain("one").profile, policy=policy)
    world.lines()[f"{KIT}/one/up"].observe(lambda now_ns, size, frame, verdict: sent_s.append(world.now_s))
    return world, sent_s


def _sent_bytes(world: World) -> int:
    return sum(each.sent_bytes for node in (KIT, COMMAND) for each in world.report(node).links)


def _idle(policy: LinkPolicy) -> Figure:
    """Bytes of both ends in an hour; the reference is the longest time without a frame of the kit."""
    world, sent_s = _idle_world(policy)
    world.run_until(SETTLED_S)
    before_bytes = _sent_bytes(world)
    world.run_until(SETTLED_S + HOUR_S)
    longest_s = max(later - sooner for sooner, later in pairwise([*sent_s, world.now_s]))
    if policy is UNMETERED and longest_s > NAT_S:
        raise AssertionError(f"{longest_s:.1f} s without a frame: a NAT may have forgotten the way back")
    return Figure(value=_sent_bytes(world) - before_bytes, reference=longest_s)


def _metered_known_s() -> Figure:
    """The worst time until both ends know that an idle metered link died; the reference: that it lives again."""
    dead_s, alive_s = 0.0, 0.0
    for cut_s in map(run_number.moment_s, METERED_CUTS_S):
        world, _ = _idle_world(METERED)
        world.run_until(cut_s)
        world.cut("one")
        back_s = cut_s + 600.0
        world.run_until(back_s)
        dead_s = max(dead_s, *(t_s - cut_s for t_s, each in world.link_changes if each.state is LinkState.DOWN))
        if {each.peer for t_s, each in world.link_changes if each.state is LinkState.DOWN} != {KIT, COMMAND}:
            return Figure(value=600.0)
        world.restore("one")
        world.run_until(back_s + 600.0)
        alive_s = max(alive_s, *(t_s - back_s for t_s, each in world.link_changes if each.previous is LinkState.DOWN))
    return Figure(value=dead_s, reference=alive_s)


def _asymmetric() -> Figure:
    """Of both links' way up while nothing comes down on the larger one; the reference: while all is well."""
    run = BedRun([plain("half"), BedLink(PathProfile(name="small", up=SMALL, down=SMALL), 500_000)])
    run.fill(26.0, bundle_bytes=16_384)
    ratios: list[float] = []
    for start_s, end_s in ((4.0, 10.0), (13.0, 23.0)):
        run.world.run_until(start_s)
        before = len(run.world.deliveries)
        run.world.run_until(end_s)
        came_bytes = sum(each.record.payload_bytes for each in run.world.deliveries[before:])
        ratios.append(came_bytes / sum(link.capacity_bytes(start_s, end_s) for link in run.links))
        run.world.cut("half", direction="down")
    return Figure(value=ratios[1], reference=ratios[0])


def _flaps(flaps: int, *, is_reported: bool) -> Figure:
    """Goodput of its up-time of a link that flaps, the least of the seeds, and the most wire bytes that came out for
    each byte delivered.
    """
    runs = [_flaps_of(run_number.seed(first), flaps, is_reported=is_reported) for first in FLAP_SEEDS]
    return Figure(value=min(each.value for each in runs), reference=max(each.reference or 0.0 for each in runs))


def _flaps_of(seed: int, flaps: int, *, is_reported: bool) -> Figure:
    """The two figures of one seed.

    What is in the link when it goes down dies with it; reported: the kit is told when its end goes and comes.
    """
    world, keys, rng = World(seed), DeploymentKeys({0: bytes(SECRET_BYTES)}), random.Random(seed)
    for node_id, role in ((KIT, "kit"), (COMMAND, COMMAND)):
        world.add_node(NodeSettings(node_id=node_id, role=role), keys=keys)
    world.connect("one", KIT, COMMAND, FLAPPING)
    up_s, end_s = 0.0, SETTLED_S
    for _ in range(flaps):
        down_s, back_s = end_s, end_s + rng.uniform(*FLAP_S)
        end_s = back_s + rng.uniform(*FLAP_S)
        up_s += end_s - back_s
        world.at(down_s, partial(_go, world, is_reported=is_reported))
        world.at(back_s, partial(_come, world, is_reported=is_reported))
    world.every(0.5, partial(_keep_fed, world), start_s=1.0, until_s=end_s)
    came_bytes: list[int] = []
    world.lines()[f"{KIT}/one/up"].observe(
        lambda now_ns, size, frame, verdict: None,
        lambda now_ns, offered_ns, frame: came_bytes.append(len(frame) + FLAPPING.overhead_bytes),
    )
    world.run_until(SETTLED_S)
    before, before_bytes = len(world.deliveries), sum(came_bytes)
    world.run_until(end_s)
    world.audit()
    payload_bytes = sum(each.record.payload_bytes for each in world.deliveries[before:])
    assert FLAPPING.rate_bps is not None
    again_bytes = (sum(came_bytes) - before_bytes - WIRE_RATIO * payload_bytes) / flaps
    if again_bytes > WINDOW_BYTES:
        raise AssertionError(f"{again_bytes:.0f} bytes came again after each flap: more than a window")
    goodput_ratio = payload_bytes * 8 / FLAPPING.rate_bps / up_s
    return Figure(value=goodput_ratio, reference=(sum(came_bytes) - before_bytes) / payload_bytes)


def _go(world: World, *, is_reported: bool) -> None:
    world.cut("one", kills_in_flight=True)
    if is_reported:
        world.unplug("one", KIT)


def _come(world: World, *, is_reported: bool) -> None:
    world.restore("one")
    if is_reported:
        world.plug("one", KIT)


def _keep_fed(world: World) -> None:
    """A dozen bundles wait."""
    for number in range(sum(each.bundles for each in world.report(KIT).queues), WAITING):
        payload = random.Random(len(world.deliveries) + number).randbytes(FLAP_BUNDLE_BYTES)
        world.submit(KIT, BULK, Precedence.ROUTINE, payload)


def rows(quick: bool) -> list[Bench]:
    """Quick: one trace of B in place of five, 500 flaps of each seed in place of 10,000."""
    flaps = QUICK_FLAPS if quick else FLAPS
    traces = {"A": (1,), "B": (1,) if quick else TRACE_NUMBERS, "C": (1,)}
    benches = [
        _row(f"back_in_use_{bed}", "s (longest pause)", f"<= {BACK_GOAL_S}", partial(_back, bed, traces[bed]))
        for bed in "ABC"
    ]
    return [
        *benches,
        _row("idle_bytes_unmetered", "an hour (s of silence)", "<= 20_000", partial(_idle, UNMETERED)),
        _row("idle_bytes_metered", "an hour (s of silence)", "<= 2_000", partial(_idle, METERED)),
        _row("idle_bytes_silent", "an hour (s of silence)", "== 0", partial(_idle, SILENT)),
        _row("metered_known_dead_s", "s (alive again)", "<= 300", _metered_known_s),
        _row("asymmetric_goodput", "of both ways up (whole)", ">= 0.85", _asymmetric),
        _row(
            "flaps_reported",
            "of its up-time, the least of five seeds (wire/app)",
            ">= 0.8",
            partial(_flaps, flaps, is_reported=True),
        ),
        _row(
            "flaps_silent",
            "of its up-time, the least of five seeds (wire/app)",
            ">= 0.5",
            partial(_flaps, flaps, is_reported=False),
        ),
    ]


def _row(name: str, unit: str, goal: str, measure: Callable[[], Figure]) -> Bench:
    return Bench(name=name.lower(), group="links", unit=unit, goal=goal, measure=measure, repeats=Repeats.SEEDED)
