"""Assertions on what came through a link; each says what was found, not only that it was wrong."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from itertools import pairwise
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


def assert_gap_below(
    times_s: Iterable[float], limit_s: float, *, start_s: float | None = None, end_s: float | None = None
) -> None:
    """No two arrivals are ``limit_s`` or more apart; with ``start_s`` and ``end_s`` from and until then as well."""
    marks = sorted(times_s)
    marks = ([] if start_s is None else [start_s]) + marks + ([] if end_s is None else [end_s])
    if len(marks) < 2:
        raise AssertionError(f"{len(marks)} arrivals have no gap: nothing came, or start_s and end_s are missing")
    earlier, later = max(pairwise(marks), key=lambda pair: pair[1] - pair[0])
    if later - earlier >= limit_s:
        raise AssertionError(
            f"silent for {later - earlier:.6g} s, from {earlier:.6g} to {later:.6g} s; limit {limit_s:g} s"
        )


def assert_delivered_within(
    sent_s: Mapping[Name, float], arrived_s: Mapping[Name, float], limit_s: float, *, ratio: float = 1.0
) -> None:
    """At least ``ratio`` of what was sent arrived within ``limit_s``; both by the same names, with their times."""
    if not sent_s:
        raise AssertionError("nothing was sent")
    waits = sorted((arrived_s.get(name, float("inf")) - at_s, str(name)) for name, at_s in sent_s.items())
    in_time = sum(wait_s <= limit_s for wait_s, _ in waits)
    if in_time < ratio * len(waits):
        worst_s, worst = waits[-1]
        how = "never came" if worst_s == float("inf") else f"took {worst_s:.6g} s"
        raise AssertionError(f"{in_time} of {len(waits)} within {limit_s:g} s, {ratio:g} of them wanted; {worst} {how}")


def assert_no_duplicates(items: Iterable[Hashable]) -> None:
    """Nothing arrived twice."""
    twice = {item: count for item, count in Counter(items).items() if count > 1}
    if twice:
        shown = ", ".join(f"{item!r} {count} times" for item, count in list(twice.items())[:5])
        raise AssertionError(f"{len(twice)} arrived more than once: {shown}")


def assert_in_order(items: Iterable[float]) -> None:
    """Each is greater than the one before."""
    for at, (earlier, later) in enumerate(pairwise(items), 1):
        if later <= earlier:
            raise AssertionError(f"number {at} is {later!r}, after {earlier!r}")
