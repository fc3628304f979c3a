"""How far a bundle got: one enum, one rule, used by the store, receipts, orders, the API and the pages.

News travels by many ways and comes in any order, twice, or late. Each state has a place; the state furthest along that
was ever heard of is the truth, so every order of the same news ends in the same state, and there is no way back. A word
of the destination is truer than the word of a node on the way, and a person's word is truer than a machine's.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum


class Progress(StrEnum):
    """States of one bundle. The position of a member is its code in stores and receipts: append, never insert.

    The states that end in ``_there`` are the destination's word on a bundle that arrived: cancelled before anybody read
    it, surely too old, or not wanted. ``held``: an order of uncertain age that waits for a person.
    """

    ACCEPTED = "accepted"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    EVICTED = "evicted"
    FORWARDED = "forwarded"
    DELIVERED = "delivered"
    READ = "read"
    DONE = "done"
    HELD = "held"
    CANCELLED_THERE = "cancelled_there"
    EXPIRED_THERE = "expired_there"
    REFUSED_THERE = "refused_there"

    @property
    def code(self) -> int:
        """The number of this state in stores and receipts, 0 to 255."""
        return _CODES[self]

    @property
    def word(self) -> str:
        """The word people and programs are given: where it ended is not part of it."""
        return self.value.removesuffix("_there")

    @property
    def rank(self) -> int:
        """The place in ORDER; a higher one wins."""
        return _RANKS[self]

    @classmethod
    def of_code(cls, code: int) -> "Progress":
        """The state with this code. Raises ValueError for a code that no version up to this one wrote."""
        if not 0 <= code < len(STATES):
            raise ValueError(f"state {code!r}: allowed: 0 to {len(STATES) - 1}")
        return STATES[code]


STATES = tuple(Progress)
ORDER = (
    Progress.ACCEPTED,
    Progress.FORWARDED,
    # ends on the way: a later word of a node beyond is truer than "forwarded", and one of the destination truer still
    Progress.SUPERSEDED,
    Progress.EVICTED,
    Progress.CANCELLED,
    Progress.REFUSED,
    Progress.EXPIRED,
    Progress.DELIVERED,
    Progress.HELD,
    Progress.EXPIRED_THERE,
    Progress.REFUSED_THERE,
    Progress.READ,
    Progress.CANCELLED_THERE,
    Progress.DONE,
)
"""From the least far to the furthest."""
WAY_ENDS = frozenset(ORDER[2:7])
"""How custody ends without delivery."""
THERE_ENDS = frozenset((Progress.CANCELLED_THERE, Progress.EXPIRED_THERE, Progress.REFUSED_THERE))
ENDS = WAY_ENDS | THERE_ENDS
"""Nobody will act on it."""
ARRIVED = frozenset(ORDER[7:])
"""At its destination, durably."""
LEFT = ARRIVED | {Progress.FORWARDED}
"""Custody here ended because another node has it."""
PERSON_ONLY = frozenset((Progress.READ, Progress.DONE))
"""Set by a bundle that a person made, and by nothing else."""

_CODES: Mapping[Progress, int] = {state: code for code, state in enumerate(STATES)}
_RANKS: Mapping[Progress, int] = {state: rank for rank, state in enumerate(ORDER)}
FOLLOWS: Mapping[Progress, frozenset[Progress]] = {
    state: frozenset(ORDER[rank + 1 :]) for rank, state in enumerate(ORDER)
}
"""The transition table: what may come after each state."""


def advance(before: Progress, news: Progress) -> Progress:
    """The state after ``news``: it, where the table allows it, else the state before."""
    return news if news in FOLLOWS[before] else before


def furthest(states: Iterable[Progress]) -> Progress:
    """The truth of all that was heard; ACCEPTED of nothing."""
    return max(states, key=_RANKS.__getitem__, default=Progress.ACCEPTED)


def least_far(states: Iterable[Progress]) -> Progress:
    """The state of the copy that is least far, for one order to many; ACCEPTED of nothing."""
    return min(states, key=_RANKS.__getitem__, default=Progress.ACCEPTED)
