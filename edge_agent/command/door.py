"""What the command post's desk needs of the agent it stands in."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from edge_agent.command.delivery import DeliveredBundle
from edge_agent.core.bundle import Precedence
from edge_agent.core.progress import Progress


class Found(NamedTuple):
    """What became of a bundle, and the links it left by."""

    state: Progress
    via: tuple[str, ...]


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
    def level(self) -> str:
        """County, city or province; empty where there is one level only."""

    @property
    def hears_reports(self) -> bool:
        """Whether units' reports come to this desk; without them it cannot tell a unit's name from a mistyped one."""

    @property
    def data_dir(self) -> Path: ...
    def now_ms(self) -> int: ...
    def last_heard_ms(self) -> Mapping[str, int]:
        """When the last authentic frame of each peer came. One frame has one time, however often it is asked for."""

    def deliveries(self) -> AsyncIterator[DeliveredBundle]:
        """What the board has not acknowledged, then what comes, for ever."""

    async def acknowledge(self, position: int) -> None: ...
    def cancel(self, bundle: str) -> bool:
        """Withdraw an own bundle of which nothing has left; False when it is too late."""

    async def submit(
        self,
        payload: bytes,
        *,
        flow: str,
        to: str,
        precedence: Precedence,
        lifetime_s: float | None = None,
        operation: bytes = b"",
    ) -> str:
        """The id of an accepted bundle of a person. Raises EdgeAgentError with the reason."""

    async def record(self, act: bytes) -> None:
        """Have the other posts told of an act; returns once that is durable. Raises RefusedError."""

    async def fate(self, bundle: str) -> Found | None:
        """State and links of an own bundle; None when it is not known (any more)."""
