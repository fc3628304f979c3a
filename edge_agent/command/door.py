"""What the command post's desk needs of the agent it stands in."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol

from edge_agent.command.board import DeliveredBundle
from edge_agent.core.bundle import Precedence


class CommandDoor(Protocol):
    """Implemented by the shell."""

    @property
    def node_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def incarnation(self) -> str:
        """Names the store that counts delivery positions."""

    @property
    def data_dir(self) -> Path: ...
    def now_ms(self) -> int: ...
    def last_heard_ms(self) -> Mapping[str, int]:
        """When the last authentic frame of each peer came. One frame has one time, however often it is asked for."""

    def deliveries(self) -> AsyncIterator[DeliveredBundle]:
        """What the board has not acknowledged, then what comes, for ever."""

    async def acknowledge(self, position: int) -> None: ...
    async def submit(
        self, payload: bytes, *, flow: str, to: str, precedence: Precedence, lifetime_s: float | None = None
    ) -> str:
        """The id of an accepted bundle of a person. Raises EdgeAgentError with the reason."""

    async def fate(self, bundle: str) -> tuple[str, tuple[str, ...]] | None:
        """State and links of an own bundle; None when it is not known (any more)."""
