"""What the web server asks of the node it stands in: one desk for each role, implemented outside this package."""

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class Desk(Protocol):
    """One page's node. JSON is that of docs/api.md, section "web"; the server adds role, clock and token."""

    role: str

    async def state_json(self, now_ms: int) -> str:
        """The whole state, as of now: the text of one JSON object with at least one key."""

    async def act(self, action: str, body: Mapping[str, Any], now_ms: int) -> dict[str, Any]:  # Any: JSON
        """Do what a person pressed; returns once it is durable. Raises EdgeAgentError with the reason, in words."""

    async def picture(self, picture_id: str) -> tuple[bytes, str] | None:
        """The image and its media type; None when there is none."""

    def track(self, unit: str) -> list[dict[str, Any]] | None:  # Any: JSON
        """Where a unit was, as far as is kept; None for a unit that is not known."""

    def tiles(self, numbers: Sequence[int]) -> Path | None:
        """The file behind a map layer's address, [layer] or [layer, z, x, y]; None when there is none."""

    def watch(self) -> asyncio.Event:
        """An event that is set at every change."""

    def unwatch(self, event: asyncio.Event) -> None:
        """Nobody waits for ``event`` any more."""

    def urgency(self) -> Hashable:
        """Another value after each change that a page must show at once: an alarm, an SOS. Asked often, so cheap."""
