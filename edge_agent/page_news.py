"""What an agent tells its page as it happens: that something changed, where this unit is, what a peer did not take."""

import asyncio

from edge_agent.core.bundle import BundleId, MalformedError
from edge_agent.telemetry.payloads import POSITION_FLOW, Position

REFUSALS_MAX = 256


class PageNews:
    """Filled by the agent, read by the page. ``changed`` is cleared by the page, which waits for it."""

    def __init__(self, changed: asyncio.Event) -> None:
        self.changed = changed
        self.position: Position | None = None
        self._refused: dict[BundleId, float] = {}

    def accepted(self, flow: str, payload: bytes) -> None:
        """A bundle made here is on disk; the newest position among them is this unit's."""
        if flow != POSITION_FLOW and not flow.startswith(f"{POSITION_FLOW}."):
            return
        try:
            position = Position.unpack(payload)
        except MalformedError:
            return  # a driver of a stranger: command will count it
        if self.position is None or position.captured_at_ms >= self.position.captured_at_ms:
            self.position = position
            self.changed.set()

    def refused_by_peer(self, bundle: BundleId, until_s: float) -> None:
        """The next node has no room for ``bundle`` before ``until_s`` (the node's clock)."""
        self._refused[bundle] = until_s
        while len(self._refused) > REFUSALS_MAX:
            del self._refused[next(iter(self._refused))]
        self.changed.set()

    def is_refused(self, bundle: BundleId, now_s: float) -> bool:
        """Whether the next node has said so and the time is not over."""
        return now_s < self._refused.get(bundle, 0.0)
