"""What one link has cost, counted as its bill counts: both directions, all that is on the wire, by class.

The core has no calendar: whoever runs it tells when the day and the month end and what was spent before this process
began (``Spent``). A node that nobody tells counts days of 24 hours and months of 30 days from its start.
"""

from dataclasses import dataclass, field

from edge_agent.core.bundle import Precedence
from edge_agent.core.limits import LinkPolicy

NEVER_S = float("inf")
DAY_S = 86_400.0
MONTH_S = 30 * DAY_S
WORDS = len(Precedence)
"""The column of frames without a bundle: introductions, acknowledgements, probes. Those of bundles come before it."""
RECEIVED = WORDS + 1
COLUMNS = RECEIVED + 1
_ALL = frozenset(Precedence)
_FLASH_ONLY = frozenset((Precedence.FLASH,))
_UNDESCRIBED = frozenset((Precedence.FLASH, Precedence.IMMEDIATE, Precedence.PRIORITY))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Wire bytes of a link's running day and month, and when these end by the node's clock (NEVER_S: unknown)."""

    day_bytes: int
    month_bytes: int
    day_ends_s: float = NEVER_S
    month_ends_s: float = NEVER_S


@dataclass(slots=True, eq=False)
class Meter:
    """The counters of one link. ``columns`` counts wire bytes since this process began."""

    day_ends_s: float
    month_ends_s: float
    day_bytes: int = 0
    month_before_bytes: int = 0
    """Of the running month, less those of the running day."""
    columns: list[int] = field(default_factory=lambda: [0] * COLUMNS)
    looks_at_bytes: float = NEVER_S
    """From so many bytes of the day on, each frame makes the link look anew at what it may carry."""
    paused_until_s: float = NEVER_S
    """When the smallest interval between two frames with bundles ends; NEVER_S: none runs."""
    is_told: bool = False

    def tell(self, spent: Spent) -> None:
        """From now on somebody with a calendar says when days and months end."""
        self.is_told = True
        self.day_bytes = spent.day_bytes
        self.month_before_bytes = max(0, spent.month_bytes - spent.day_bytes)
        self.day_ends_s, self.month_ends_s = spent.day_ends_s, spent.month_ends_s

    def turn_day(self, now_s: float) -> bool:
        """Begin the next day where nobody tells of days; False when it is not time."""
        if self.is_told or now_s < self.day_ends_s:
            return False
        self.month_before_bytes += self.day_bytes
        self.day_bytes, self.day_ends_s = 0, now_s + DAY_S
        if now_s >= self.month_ends_s:
            self.month_before_bytes, self.month_ends_s = 0, now_s + MONTH_S
        return True

    @property
    def month_bytes(self) -> int:
        """Wire bytes of the running month."""
        return self.month_before_bytes + self.day_bytes

    def is_day_spent(self, policy: LinkPolicy) -> bool:
        """Whether the budget of the day is used up."""
        budget_bytes = policy.day_budget_bytes
        return budget_bytes is not None and self.day_bytes >= budget_bytes

    def is_month_spent(self, policy: LinkPolicy) -> bool:
        """Whether the budget of the month is used up."""
        return policy.bytes_per_month is not None and self.month_bytes >= policy.bytes_per_month

    def review(self, policy: LinkPolicy) -> frozenset[Precedence]:
        """What the link may carry now; sets from which byte on to ask again."""
        carries = policy.precedences - policy.held_back
        if policy.metered is None:
            carries &= _UNDESCRIBED
        is_spent = self.is_day_spent(policy) or self.is_month_spent(policy)
        if is_spent:
            carries &= policy.lifted
        if self.paused_until_s != NEVER_S:
            carries &= _FLASH_ONLY
        if policy.min_interval_s:
            self.looks_at_bytes = -1.0
        elif is_spent:
            self.looks_at_bytes = NEVER_S
        else:
            self.looks_at_bytes = _next_end_bytes(policy, self.month_before_bytes)
        return carries


def begin_meter(now_s: float) -> Meter:
    """The counters of a link nobody has told anything of."""
    return Meter(now_s + DAY_S, now_s + MONTH_S)


def _next_end_bytes(policy: LinkPolicy, month_before_bytes: int) -> float:
    """At how many bytes of the day the first of its budgets is used up."""
    day, month = policy.day_budget_bytes, policy.bytes_per_month
    ends = [NEVER_S if day is None else day, NEVER_S if month is None else month - month_before_bytes]
    return min(ends)
