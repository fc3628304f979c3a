"""Faults that strike a world at random, each with its beginning and its end, all drawn from one seed."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from edge_agent.core.errors import RefusalReason
from link_sim.link.model import Outage
from link_sim.nodes.world import World

Action = Callable[[], object]
USUAL_COMMIT_S = 0.002


class FaultKind(Enum):
    """What goes wrong."""

    DROP = "drop"
    KILL = "kill"
    HOLD = "hold"
    ONE_WAY = "one_way"
    SLOW = "slow"
    LOSS = "loss"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    CORRUPT = "corrupt"
    UNPLUG = "unplug"
    BUSY = "busy"
    DISK_FAILS = "disk_fails"
    SLOW_COMMITS = "slow_commits"


_NUMBERS: dict[FaultKind, dict[str, float | bool]] = {
    FaultKind.SLOW: {"rate_bps": 20_000, "loss_ratio": 0.05},
    FaultKind.LOSS: {"loss_ratio": 0.25},
    FaultKind.DUPLICATE: {"duplicate_ratio": 0.3},
    FaultKind.REORDER: {"reorders": True, "jitter_s": 0.05, "delay_s": 0.06},
    FaultKind.CORRUPT: {"corrupt_ratio": 0.2},
}
_OUTAGES = {
    FaultKind.DROP: (Outage.DROP, False),
    FaultKind.KILL: (Outage.DROP, True),
    FaultKind.HOLD: (Outage.HOLD, False),
}
_SPANS_S = (0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 150.0)
_DISK_SPAN_MAX_S = 10.0  # a command post without a disk delivers nothing, which proves nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault at a link of a node, or at the node itself. ``direction`` empty: both."""

    kind: FaultKind
    start_s: float
    end_s: float
    node: str
    link: str
    direction: str = ""

    def __str__(self) -> str:
        where = f"{self.node}/{self.link}/{self.direction}".rstrip("/")
        return f"{self.start_s:.3f} to {self.end_s:.3f} s: {self.kind.value} at {where}"

    def plan(self, world: World) -> None:
        """Arrange beginning and end."""
        begin, end = self._actions(world)
        world.at(self.start_s, begin)
        world.at(self.end_s, end)

    def _actions(self, world: World) -> tuple[Action, Action]:
        kind, node, link, direction = self.kind, self.node, self.link, self.direction or None
        if kind is FaultKind.UNPLUG:
            return lambda: world.unplug(link, node), lambda: world.plug(link, node)
        if kind is FaultKind.BUSY:
            return (
                lambda: world.set_busy(link, node, is_busy=True),
                lambda: world.set_busy(link, node, is_busy=False),
            )
        if kind is FaultKind.DISK_FAILS:
            disk = world.disk(node)
            return (
                lambda: setattr(disk, "failing", RefusalReason.STORE_FAILED),
                lambda: setattr(disk, "failing", None),
            )
        if kind is FaultKind.SLOW_COMMITS:
            return lambda: world.set_commit(node, 0.5), lambda: world.set_commit(node, USUAL_COMMIT_S)
        restore: Action = lambda: world.restore(link, node=node, direction=direction)  # noqa: E731
        if kind in _NUMBERS:
            return lambda: world.set(link, node=node, direction=direction, **_NUMBERS[kind]), restore
        outage, kills = _OUTAGES.get(kind, (Outage.DROP, False))
        return (
            lambda: world.cut(link, node=node, direction=direction, outage=outage, kills_in_flight=kills),
            restore,
        )


def draw_fault(rng: random.Random, links: list[tuple[str, str]], nodes: list[str], latest_s: float) -> Fault:
    """A fault that begins after 1 s and is over by ``latest_s``; ``links`` are (node, link)."""
    kind = rng.choice(list(FaultKind))
    start_s = rng.uniform(1.0, 0.95 * latest_s)
    span_s = min(rng.choice(_SPANS_S), latest_s / 4)
    node, link = rng.choice(links)
    if kind in (FaultKind.DISK_FAILS, FaultKind.SLOW_COMMITS):
        node, link, span_s = rng.choice(nodes), "", min(span_s, _DISK_SPAN_MAX_S)
    direction = ""
    if kind is FaultKind.ONE_WAY or (kind in _NUMBERS and rng.random() < 0.5):
        direction = rng.choice(("up", "down"))
    return Fault(
        kind=kind, start_s=start_s, end_s=min(latest_s, start_s + span_s), node=node, link=link, direction=direction
    )
