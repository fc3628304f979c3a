"""What people ask of single bundles of a random world while they wait: cancel one, pull one forward.

A bundle told to be cancelled must never be delivered. That holds for what the running process took: one that started
anew does not know what an earlier one had sent.
"""

import random
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.core.bundle import BundleId
from edge_agent.core.node import Node
from link_sim.nodes.world import World

REMEMBERED = 100
CANCEL_RATIO = 0.5


class _Sent(NamedTuple):
    """A bundle and the process that took it."""

    source: str
    node: object
    bundle: BundleId


@dataclass(slots=True)
class Wishes:
    """Asks something of one of the newest bundles."""

    world: World
    rng: random.Random
    cancelled: int = 0
    _sent: deque[_Sent] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def note(self, source: str, bundle: BundleId) -> None:
        """A bundle was handed in."""
        self._sent.append(_Sent(source, self.world.node(source), bundle))

    def wish(self) -> None:
        """Cancel a bundle or pull it forward."""
        is_cancel, place = self.rng.random() < CANCEL_RATIO, self.rng.random()
        if not self._sent:
            return
        source, taker, bundle = self._sent[int(place * len(self._sent))]
        if not self.world.is_running(source):
            return

        def act(node: object, now_s: float) -> bool:
            if not isinstance(node, Node):
                return False
            return node.cancel(bundle, now_s) if is_cancel else node.promote(bundle, now_s)

        is_same = self.world.node(source) is taker
        was_there = self.world.disk(source).record(bundle) is not None
        if self.world.ask(source, act) and is_cancel and is_same and was_there:
            self.cancelled += 1
            self.world.ledger.recalled(bundle)
