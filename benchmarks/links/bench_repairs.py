"""Perishable flows over bursts of loss, with and without repairs, in virtual time; and what a repair costs.

The bursts are those of the mesh of bed B. ``far`` is that mesh with 50 ms of way, as behind a backhaul, where a re-send
comes too late; on the bed's own 15 ms it does so for a deadline of 80 ms. The rate is stated (2.5 Mbit/s), so that the
search for it takes no part. Without repairs: the same links called metered, on which none is sent below IMMEDIATE.
Goals: voice ITU-T G.1010 (less than 3 % missing in 150 ms) and the 1 % of a call's bearer (3GPP TS 23.203, QCI 1);
video half of what is missing without; bytes no more than a second copy would be.
"""

import random
import timeit
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from statistics import mean
from time import process_time

from benchmarks import run_number
from benchmarks.links.beds import KIT, mesh
from benchmarks.rows import Bench, Figure, Repeats
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Precedence
from edge_agent.core.fec import Decoder, encode, symbol_of
from edge_agent.core.limits import LinkLimits, LinkPolicy, LinkShape
from edge_agent.core.report import NodeSettings
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World

SEEDS = (1, 2, 3, 4, 5)
SPAN_S, QUICK_SPAN_S, SETTLE_S = 60.0, 30.0, 2.0
BEGIN_S = 2.0
FAR_DELAY_S = 0.05
BLOCKS, BLOCK_BYTES = 16, 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What is made: bundles of so many bytes, how often, and after how long each is useless."""

    payload_bytes: int
    every_s: float
    deadline_s: float
    way_s: float | None = None
    """Of the link, in place of the bed's."""
    is_clean: bool = False


VOICE_FAR = Flow(payload_bytes=200, every_s=0.02, deadline_s=0.15, way_s=FAR_DELAY_S)
VOICE_MESH = Flow(payload_bytes=200, every_s=0.02, deadline_s=0.08)
VIDEO_FAR = Flow(payload_bytes=5000, every_s=0.04, deadline_s=0.15, way_s=FAR_DELAY_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """Of one run: the part that was not there in time, when nine of ten of the others were, and the kit's bytes."""

    late_ratio: float
    p90_s: float
    sent_bytes: int


@dataclass(slots=True)
class _Speech:
    """Bundles made by a world's timer."""

    world: World
    flow: Flow
    rng: random.Random = field(default_factory=lambda: random.Random(3))
    made: dict[BundleId, float] = field(default_factory=dict)

    def say(self) -> None:
        header = BundleHeader(destination=COMMAND, flow="live", deadline_s=self.flow.deadline_s)
        payload = self.rng.randbytes(self.flow.payload_bytes)
        self.made[self.world.submit(KIT, header, Precedence.PRIORITY, payload)] = self.world.now_s


def _link(flow: Flow) -> LinkProfile:
    profile = mesh().profile.up
    if flow.way_s is not None:
        profile = replace(profile, delay_s=flow.way_s)
    if flow.is_clean:
        profile = replace(profile, loss_ratio=0.0, burst_enter_ratio=0.0, burst_leave_ratio=1.0, burst_loss_ratio=0.0)
    return profile


@cache
def run(flow: Flow, seed: int, span_s: float, *, repairs: bool) -> Came:
    """One world, a kit and a command post on one link."""
    world, link = World(seed), _link(flow)
    world.add_node(NodeSettings(node_id=KIT))
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    limits = LinkLimits(
        shape=LinkShape.DATAGRAM,
        mtu_bytes=1400,
        overhead_bytes=link.overhead_bytes,
        rate_bps=link.rate_bps,
        rate_is_ceiling=True,
    )
    world.connect("mesh", KIT, COMMAND, link, limits=limits, policy=LinkPolicy(metered=not repairs, keepalive_s=30.0))
    speech = _Speech(world, flow)
    world.every(flow.every_s, speech.say, start_s=BEGIN_S, until_s=BEGIN_S + span_s)
    world.run_until(BEGIN_S + span_s + SETTLE_S)
    delays_s = sorted(each.t_s - speech.made[each.bundle] for each in world.deliveries)
    in_time = sum(delay_s <= flow.deadline_s for delay_s in delays_s)
    return Came(
        late_ratio=1 - in_time / len(speech.made),
        p90_s=delays_s[int(0.9 * len(delays_s))],
        sent_bytes=world.report(KIT).links[0].sent_bytes,
    )


def _both(flow: Flow, *, quick: bool) -> tuple[list[Came], list[Came]]:
    """Runs with repairs, and the same without."""
    seeds, span_s = (SEEDS[:2], QUICK_SPAN_S) if quick else (SEEDS, SPAN_S)
    on, off = (
        [run(flow, run_number.seed(seed), span_s, repairs=repairs) for seed in seeds] for repairs in (True, False)
    )
    return on, off


def _late(flow: Flow, *, quick: bool) -> Figure:
    """Mean over the seeds; the reference is without repairs."""
    on, off = _both(flow, quick=quick)
    return Figure(value=mean(each.late_ratio for each in on), reference=mean(each.late_ratio for each in off))


def _left(flow: Flow, *, quick: bool) -> Figure:
    """What is missing in time with repairs, of what is without."""
    late = _late(flow, quick=quick)
    assert late.reference
    return Figure(value=late.value / late.reference, reference=late.reference)


def _bytes(flow: Flow, *, quick: bool) -> Figure:
    """What the kit sent more, as a part of what it sends without repairs (the reference, in bytes)."""
    on, off = _both(flow, quick=quick)
    plain_bytes = sum(each.sent_bytes for each in off)
    return Figure(value=sum(each.sent_bytes for each in on) / plain_bytes - 1, reference=plain_bytes)


def _delay(flow: Flow, *, quick: bool) -> Figure:
    """How much later nine of ten bundles are there: those that needed neither repair nor re-send."""
    on, off = _both(flow, quick=quick)
    plain_s = mean(each.p90_s for each in off)
    return Figure(value=mean(each.p90_s for each in on) - plain_s, reference=plain_s)


def _cost_us(act: Callable[[], object], times: int) -> float:
    return min(timeit.repeat(act, timer=process_time, number=times, repeat=7)) / times * 1e6


def _encoding() -> Figure:
    """CPU for each block that a repair is about; the reference is the whole repair."""
    symbols = [symbol_of(random.Random(at).randbytes(BLOCK_BYTES)) for at in range(BLOCKS)]
    whole_us = _cost_us(lambda: encode(symbols, 1, 1), 500)
    return Figure(value=whole_us / BLOCKS, reference=whole_us)


def _decoding() -> Figure:
    """CPU to get one of sixteen blocks back, for each block that is in the sum; the reference is the whole."""
    symbols = [symbol_of(random.Random(at).randbytes(BLOCK_BYTES)) for at in range(BLOCKS)]
    repair = encode(symbols, 1, 1)

    def receive(*, is_repaired: bool) -> None:
        decoder = Decoder()
        for number, symbol in enumerate(symbols[1:], 2):
            decoder.take(number, symbol)
        if is_repaired:
            assert decoder.take_repair(1, BLOCKS, 1, repair)

    whole_us = _cost_us(partial(receive, is_repaired=True), 200) - _cost_us(partial(receive, is_repaired=False), 200)
    return Figure(value=whole_us / BLOCKS, reference=whole_us)


def rows(quick: bool) -> list[Bench]:
    """Ten rows; quick: two seeds of half a minute in place of five of a minute."""

    def bench(
        name: str, unit: str, goal: str, measure: Callable[[], Figure], repeats: Repeats = Repeats.SEEDED
    ) -> Bench:
        return Bench(name=name, group="links", unit=unit, goal=goal, measure=measure, repeats=repeats)

    late, clean = "not there in time, of all (without repairs)", replace(VOICE_MESH, is_clean=True)
    more, later = "more bytes of the kit, of those without", "s later, nine of ten bundles (without)"
    cost = "us CPU for a block of 1,200 bytes (16 of them)"
    return [
        bench("repairs_voice_late", late, "<= 0.03", partial(_late, VOICE_FAR, quick=quick)),
        bench("repairs_voice_mesh_late", late, "<= 0.01", partial(_late, VOICE_MESH, quick=quick)),
        bench(
            "repairs_video_left", "of what is late without repairs", "<= 0.5", partial(_left, VIDEO_FAR, quick=quick)
        ),
        bench("repairs_voice_bytes", more, "<= 1.1", partial(_bytes, VOICE_FAR, quick=quick)),
        bench("repairs_video_bytes", more, "<= 1.0", partial(_bytes, VIDEO_FAR, quick=quick)),
        bench("repairs_clean_bytes", more, "== 0", partial(_bytes, clean, quick=quick)),
        bench("repairs_voice_delay", later, "<= 0.001", partial(_delay, VOICE_FAR, quick=quick)),
        bench("repairs_video_delay", later, "<= 0.005", partial(_delay, VIDEO_FAR, quick=quick)),
        bench("repair_encode_cpu", cost, "<= 5", _encoding, Repeats.ALONE),
        bench("repair_decode_cpu", cost, "<= 5", _decoding, Repeats.ALONE),
    ]
