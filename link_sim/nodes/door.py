"""Door: what a world steps. ``edge_agent.core.node.Node`` has this shape, and so has a copy with a planted fault."""

import random
from collections.abc import Callable, Hashable
from typing import Protocol

from edge_agent.core.bundle import BundleHeader, BundleId, Precedence
from edge_agent.core.effects import Effect, Event, Outcome, Restored, Transmit
from edge_agent.core.frame import LinkKeys
from edge_agent.core.limits import LinkLimits, LinkPolicy
from edge_agent.core.report import NodeReport, NodeSettings


class NodeDoor(Protocol):
    """The verbs of a node; times are seconds of the world."""

    def submit(self, header: BundleHeader, precedence: Precedence, payload: bytes, now_s: float) -> BundleId: ...

    def receive(self, link: str, source: Hashable | None, frame: bytes, now_s: float) -> None: ...

    def set_link(
        self,
        link: str,
        now_s: float,
        *,
        limits: LinkLimits | None,
        policy: LinkPolicy = ...,
        is_listener: bool = False,
        reason: str = "",
    ) -> None: ...

    def set_busy(self, link: str, now_s: float, *, is_busy: bool) -> None: ...

    def set_store_rate(self, store_bps: float) -> None: ...

    def handle_timeout(self, now_s: float) -> None: ...

    def complete(self, effect_id: int, outcome: Outcome, now_s: float) -> None: ...

    def poll_transmit(self, now_s: float) -> Transmit | None: ...

    def poll_effect(self) -> Effect | None: ...

    def poll_event(self) -> Event | None: ...

    def next_wakeup(self) -> float | None: ...

    def report(self, now_s: float) -> NodeReport: ...


NodeMaker = Callable[[NodeSettings, LinkKeys, random.Random, Restored, float], NodeDoor]
