"""Checks of a scenario: what must hold, from what was submitted and what arrived."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise

from edge_agent.core.bundle import BundleId, FlowOrder
from link_sim.nodes.world import World
from link_sim.scenarios.scenario import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One bundle that a scenario submitted."""

    bundle: BundleId
    flow: str
    order: FlowOrder
    t_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a check ended. ``value`` is in the unit of the check: a ratio, seconds, bundles or bytes."""

    name: str
    holds: bool
    value: float
    limit: float
    points: int


def judge(
    checks: Iterable[Check], world: World, sent: Iterable[Sent], offered_bytes: Mapping[str, int]
) -> list[Result]:
    """Every check against the end of a run; ``offered_bytes`` by link."""
    run = _Run(world, list(sent), offered_bytes)
    return [run.judge(check) for check in checks]


class _Run:
    def __init__(self, world: World, sent: list[Sent], offered_bytes: Mapping[str, int]) -> None:
        self._world = world
        self._offered_bytes = offered_bytes
        self._sent = sent
        self._arrived_s: dict[BundleId, float] = {}
        for delivery in world.deliveries:
            self._arrived_s.setdefault(delivery.bundle, delivery.t_s)

    def judge(self, check: Check) -> Result:
        sent = [each for each in self._sent if fnmatchcase(each.flow, check.flow)]
        tally = self._world.ledger.tally()
        match check.kind:
            case "delivered":
                value, limit, holds = self._delivered(sent), check.ratio, self._delivered(sent) >= check.ratio
            case "delivered_within":
                value, limit = self._latency_s(sent, check.ratio), check.within_s
                holds = value <= limit
            case "gap_below":
                value, limit = self._longest_gap_s(sent), check.within_s
                holds = value < limit
            case "no_duplicates":
                value, limit, holds = tally.doubled, 0, tally.doubled == 0
            case "no_loss":
                value, limit, holds = tally.lost, 0, tally.lost == 0
            case _:
                value, limit = self._offered_bytes.get(check.link, 0), check.limit_bytes
                holds = value < limit
        return Result(name=check.name, holds=bool(holds), value=value, limit=limit, points=check.points)

    def _delivered(self, sent: list[Sent]) -> float:
        """Share of bundles that arrived; of a ``latest`` flow the last one stands for those it replaced."""
        wanted = [each for each in sent if each.order is not FlowOrder.LATEST] or sent[-1:]
        return sum(each.bundle in self._arrived_s for each in wanted) / len(wanted) if wanted else 0.0

    def _latency_s(self, sent: list[Sent], ratio: float) -> float:
        """Within how long ``ratio`` of the bundles arrived; for ever when fewer did."""
        waits = sorted(self._arrived_s.get(each.bundle, float("inf")) - each.t_s for each in sent)
        return waits[min(len(waits), max(1, round(ratio * len(waits)))) - 1] if waits else float("inf")

    def _longest_gap_s(self, sent: list[Sent]) -> float:
        """Longest time without an arrival, from the first bundle submitted to the end of the run."""
        if not sent:
            return float("inf")
        times = sorted(self._arrived_s[each.bundle] for each in sent if each.bundle in self._arrived_s)
        marks = [sent[0].t_s, *times, self._world.now_s]
        return max(later - earlier for earlier, later in pairwise(marks))


def score(results: Iterable[Result]) -> Mapping[str, int]:
    """Points won and to be won."""
    listed = list(results)
    return {"points": sum(each.points for each in listed if each.holds), "of": sum(each.points for each in listed)}
