"""The simulator's truth of one direction: when it had no chance to carry anything."""

from itertools import pairwise
from typing import NamedTuple

from link_sim.link.link_profile import LinkProfile
from link_sim.link.services import NS_PER_S


class Hole(NamedTuple):
    """From a moment to another without a chance to send."""

    start_s: float
    end_s: float


def holes_of(way: LinkProfile, until_s: float, least_s: float) -> list[Hole]:
    """Holes of at least ``least_s`` that begin before ``until_s``. Loss is none: each frame of it had its chance."""
    holes = _joined(_silent_spans(way, until_s)) + _between_chances(way, until_s)
    return [each for each in holes if each.end_s - each.start_s >= least_s]


def time_without_hole_s(way: LinkProfile, now_s: float, span_s: float, least_s: float) -> float:
    """How long from now on until a span begins in which ``way`` has no hole of at least ``least_s``.

    ``way`` repeats itself: by its trace or by its schedule, not by both. Two rounds are searched.
    """
    length_s = way.trace.length_ns / NS_PER_S if way.trace is not None else way.schedule_period_s or 0.0
    begun_s = now_s % length_s if length_s else 0.0
    at_s = begun_s
    for hole in sorted(holes_of(way, begun_s + 2 * length_s, least_s)):
        if hole.start_s >= at_s + span_s:
            break
        at_s = max(at_s, hole.end_s)
    return at_s - begun_s


def _silent_spans(way: LinkProfile, until_s: float) -> list[Hole]:
    """When a schedule says 0 bit/s, round after round."""
    if not way.rate_schedule:
        return []
    length_s = way.schedule_period_s or until_s
    ends_s = [from_s for from_s, _ in way.rate_schedule[1:]] + [length_s]
    spans = [Hole(at_s, end_s) for (at_s, bps), end_s in zip(way.rate_schedule, ends_s, strict=True) if bps == 0]
    rounds = range(int(until_s / length_s) + 1)
    return [Hole(each.start_s + turn * length_s, each.end_s + turn * length_s) for turn in rounds for each in spans]


def _between_chances(way: LinkProfile, until_s: float) -> list[Hole]:
    """From each chance of a trace to the next one."""
    if way.trace is None or not way.trace.opportunities_ns:
        return []
    length_s = way.trace.length_ns / NS_PER_S
    chances_s = [at_ns / NS_PER_S for at_ns in way.trace.opportunities_ns]
    rounds = range(int(until_s / length_s) + 1)
    return [Hole(*pair) for pair in pairwise(turn * length_s + at_s for turn in rounds for at_s in chances_s)]


def _joined(holes: list[Hole]) -> list[Hole]:
    """Holes that touch are one."""
    joined: list[Hole] = []
    for each in holes:
        if joined and each.start_s <= joined[-1].end_s + 1e-9:
            joined[-1] = Hole(joined[-1].start_s, max(joined[-1].end_s, each.end_s))
        else:
            joined.append(each)
    return joined


def overlaps(holes: list[Hole], start_s: float, end_s: float) -> bool:
    """Whether a hole lies, in part at least, between two moments."""
    return any(each.start_s <= end_s and each.end_s >= start_s for each in holes)
