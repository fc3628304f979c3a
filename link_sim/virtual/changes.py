"""Changes: what a schedule does to a link, in words: ``at=[(60, outage(8, hold=True)), (90, rate(64_000))]``."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from typing import Any

from link_sim.errors import ProfileError
from link_sim.link.model import Outage


class Side(Enum):
    """Which directions a change is for; up is away from the node that was named first."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageChange:
    """The link is away for a while; frames wait (``hold``) or vanish."""

    length_s: float
    outage: Outage
    kills_in_flight: bool
    side: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class NumbersChange:
    """Other numbers from now on, by their names in LinkProfile."""

    numbers: tuple[tuple[str, Any], ...]  # Any: each field has its own type, and LinkProfile checks it
    side: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreChange:
    """The first numbers again, and the end of any outage."""

    side: Side


Change = OutageChange | NumbersChange | RestoreChange


def outage(
    length_s: float, *, hold: bool = False, kills_in_flight: bool = False, side: Side | str = Side.BOTH
) -> OutageChange:
    """No frame passes for ``length_s``; with ``hold`` those offered come later, in order. Raises ProfileError."""
    if not 0 < length_s < float("inf"):
        raise ProfileError(f"outage of {length_s} s: allowed is above 0")
    kind = Outage.HOLD if hold else Outage.DROP
    return OutageChange(length_s=length_s, outage=kind, kills_in_flight=kills_in_flight, side=_side(side))


def rate(rate_bps: int | None, *, side: Side | str = Side.BOTH) -> NumbersChange:
    """Another rate from now on; None: no limit. Raises ProfileError."""
    return numbers(side=side, rate_bps=rate_bps)


def numbers(*, side: Side | str = Side.BOTH, **fields: Any) -> NumbersChange:  # Any: as NumbersChange has it
    """Other numbers from now on, by their names in LinkProfile. Raises ProfileError."""
    return NumbersChange(numbers=tuple(fields.items()), side=_side(side))


def restore(*, side: Side | str = Side.BOTH) -> RestoreChange:
    """Back to the first numbers. Raises ProfileError."""
    return RestoreChange(side=_side(side))


def _side(side: Side | str) -> Side:
    try:
        return Side(side)
    except ValueError as error:
        raise ProfileError(f"side {side!r}: allowed is {', '.join(each.value for each in Side)}") from error


Schedule = Sequence[tuple[float, Change]]


def checked(link: str, schedule: Schedule) -> list[tuple[float, Change]]:
    """The schedule in order of time. Raises ProfileError for negative times and for outages that overlap."""
    for at_s, _ in schedule:
        if not 0 <= at_s < float("inf"):
            raise ProfileError(f"link {link}: change at {at_s} s: allowed is 0 or more")
    in_order = sorted(schedule, key=lambda item: item[0])
    for side in (Side.UP, Side.DOWN):
        _check_apart(link, side, ((at_s, each) for at_s, each in in_order if isinstance(each, OutageChange)))
    return in_order


def _check_apart(link: str, side: Side, outages: Iterable[tuple[float, OutageChange]]) -> None:
    own = [(at_s, each) for at_s, each in outages if each.side in (side, Side.BOTH)]
    for (at_s, each), (later_s, _) in pairwise(own):
        if later_s < at_s + each.length_s:
            text = (
                f"link {link} {side.value}: outages at {at_s:g} s for {each.length_s:g} s and at {later_s:g} s overlap"
            )
            raise ProfileError(f"{text}; make them one, or start the second at {at_s + each.length_s:g} s or later")


def apply_numbers(profile: Any, change: NumbersChange) -> Any:
    """``profile`` with the numbers of ``change``. Raises ProfileError naming an unknown field or a wrong value.

    Any: a LinkProfile, whose fields are only known by name here.
    """
    try:
        return replace(profile, **dict(change.numbers))
    except TypeError as error:
        raise ProfileError(f"change of {', '.join(name for name, _ in change.numbers)}: {error}") from error
