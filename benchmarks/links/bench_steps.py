"""A link that is new, and one whose rate falls to a tenth, in virtual time: how soon the sender knows."""

from functools import partial

from benchmarks import run_number
from benchmarks.links.beds import BedLink, BedRun, good_4g, plain
from benchmarks.links.beds import geo as geo_link
from benchmarks.rows import Bench, Figure, Repeats
from link_sim.link.services import NS_PER_S

FULL_RATIO, FULL_FRAMES = 0.9, 10
FRAME_BYTES = 1428
STEP_AT_S, STEP_RATIO = 6.0, 0.1
STEP_FRAMES = 4
"""What is sent after a step is counted over so many frames at the new rate, or a round trip."""
WATCHED_S = 1.0
GOALS_RTTS = {"one": 3, "4g": 10, "geo": 10}
"""Without jitter 3 round trips, with it 10."""


def _link(name: str) -> BedLink:
    if name == "4g":
        return good_4g()
    return geo_link() if name == "geo" else plain(name)


def _round_trip_s(link: BedLink) -> float:
    return link.profile.up.delay_s + link.profile.down.delay_s


def _sent(run: BedRun, link: BedLink) -> list[tuple[float, int]]:
    """When frames leave from now on, and their wire bytes; it fills as the world runs."""
    sent: list[tuple[float, int]] = []
    overhead_bytes = link.profile.up.overhead_bytes
    run.world.lines()[f"kit-1/{link.name}/up"].observe(
        lambda now_ns, size, frame, verdict: sent.append((now_ns / NS_PER_S, size + overhead_bytes))
    )
    return sent


def _busiest(sent: list[tuple[float, int]], start_s: float, end_s: float, span_s: float) -> list[tuple[float, int]]:
    """Bytes sent in each span that begins with a frame between two moments."""
    starts = [at_s for at_s, _ in sent if start_s <= at_s < end_s]
    return [(at_s, sum(size for other_s, size in sent if at_s <= other_s < at_s + span_s)) for at_s in starts]


def new_link(name: str) -> Figure:
    """Round trips from the first bulk until the first one in which the link is used by nine tenths.

    The reference is when the sender's own rate says so, or more.
    """
    link = _link(name)
    run, round_trip_s = BedRun([link]), _round_trip_s(link)
    sent = _sent(run, link)
    began_s, known_s = run.world.now_s, None
    run.fill(8.0)
    while run.world.now_s < began_s + 20 * round_trip_s:
        run.world.run_until(run.world.now_s + 0.005)
        rate_bps = run.world.report("kit-1").links[0].rate_bps or 0.0
        if known_s is None and rate_bps >= FULL_RATIO * link.own_bps:
            known_s = run.world.now_s
    span_s = max(round_trip_s, FULL_FRAMES * FRAME_BYTES * 8 / link.own_bps)
    full = FULL_RATIO * link.own_bps / 8 * span_s
    found_s = next(
        (at_s for at_s, size in _busiest(sent, began_s, run.world.now_s - span_s, span_s) if size >= full), 1e9
    )
    return Figure(
        value=(found_s - began_s) / round_trip_s,
        reference=None if known_s is None else (known_s - began_s) / round_trip_s,
    )


def step_down(name: str) -> Figure:
    """What is sent at most, of what the link carries, from two round trips and 50 ms after a step to a tenth.

    One frame in each span is left out: it may have begun before. The reference is the same within that time.
    """
    link = _link(name)
    run, round_trip_s = BedRun([link]), _round_trip_s(link)
    step_at_s = run_number.moment_s(STEP_AT_S)
    run.fill(step_at_s + 4.0)
    run.world.run_until(step_at_s)
    sent, low_bps = _sent(run, link), round(STEP_RATIO * link.own_bps)
    run.world.set(link.name, direction="up", rate_bps=low_bps)
    span_s = max(round_trip_s, STEP_FRAMES * FRAME_BYTES * 8 / low_bps)
    known_s = step_at_s + 2 * round_trip_s + 0.05
    run.world.run_until(known_s + WATCHED_S + span_s)

    def most_ratio(start_s: float, end_s: float) -> float:
        sizes = [size - FRAME_BYTES for _, size in _busiest(sent, start_s, end_s, span_s)]
        return max(sizes, default=0) * 8 / span_s / low_bps

    return Figure(value=most_ratio(known_s, known_s + WATCHED_S), reference=most_ratio(step_at_s, known_s))


def rows(quick: bool) -> list[Bench]:
    """Both of each link of the beds A and C; quick or not, they are the same."""
    benches = []
    for name, goal_rtts in GOALS_RTTS.items():
        benches += [
            Bench(
                name=f"new_link_{name}",
                group="links",
                repeats=Repeats.SEEDED,
                unit="RTT (known)",
                goal=f"<= {goal_rtts}",
                measure=partial(new_link, name),
            ),
            Bench(
                name=f"step_down_{name}",
                group="links",
                repeats=Repeats.SEEDED,
                unit="of the capacity (before)",
                goal="<= 1",
                measure=partial(step_down, name),
            ),
        ]
    return benches
