"""What the local API asks of the agent; ``local_door`` answers."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_agent.api_messages import Message
from edge_agent.carrying import Export, Import
from edge_agent.client import BundleState, Delivery
from edge_agent.core.bundle import BundleId
from edge_agent.core.errors import EdgeAgentError, RefusedError
from edge_agent.hand_in import HandIn
from edge_agent.sender import SendTerms


class BundleUnknownError(EdgeAgentError):
    """This node has never had the bundle, or has forgotten it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """``was_asked``: the bundle had left, and who has it, or gets it, was asked not to act on it."""

    state: BundleState
    was_asked: bool


class ApiDoor(Protocol):
    """What the API asks of the agent."""

    async def send(self, payload: bytes, terms: SendTerms) -> BundleState:
        """The accepted bundle. Raises RefusedError, UnsendableError."""

    async def send_many(self, payloads: Sequence[bytes], terms: SendTerms) -> list[BundleId | RefusedError]:
        """For each payload its bundle, or why it was refused. Raises RefusedError, UnsendableError."""

    async def hand_in(self, name: str, payload_bytes: int, terms: SendTerms) -> HandIn:
        """The way in for a payload in pieces. Raises RefusedError, UnsendableError."""

    async def read(self, bundle: BundleId, offset: int, length: int) -> bytes:
        """Bytes of a payload that is here. Raises BundleUnknownError, RefusedError."""

    async def state(self, bundle: BundleId) -> BundleState:
        """Where a bundle is. Raises BundleUnknownError."""

    async def wait(self, bundle: BundleId, state: str) -> BundleState:
        """The bundle once it is ``state`` or at another end. Raises BundleUnknownError."""

    async def why(self, bundle: BundleId, language: str) -> Message:
        """What is known of a bundle, with one ``sentence`` for people. Raises BundleUnknownError."""

    async def cancel(self, bundle: BundleId, by: str) -> "Cancelled":
        """What taking a bundle back came to. Raises BundleUnknownError, ActionError, RefusedError."""

    async def open_export(self, to: str) -> Export:
        """A file of what waits here for ``to`` ("": for anybody). Raises EdgeAgentError."""

    async def open_import(self) -> Import:
        """The way in for such a file. Raises EdgeAgentError."""

    async def act(self, action: str, body: Message) -> Message:
        """Do what a person presses on this node's page. Raises ActionError, RefusedError, PageMemoryError."""

    async def orders(self) -> list[Message]:
        """Orders given here with their roll call, or, at a unit, those it got; newest first."""

    def status(self) -> Message:
        """The status of DESIGN section 10."""

    def accepted(self) -> AsyncIterator[BundleId]:
        """Ids of bundles accepted from now on."""

    async def open_consumer(self, name: str | None, flow: str, since: str | None, after: int | None) -> str:
        """The name of a consumer that starts where it is told; None: one for as long as somebody listens."""

    def deliveries(self, consumer: str, inline_bytes: int) -> AsyncIterator[Delivery]:
        """What the consumer has not acknowledged, then what comes, for ever; larger payloads are left out."""

    async def acknowledge(self, consumer: str, position: int) -> None:
        """Everything up to ``position`` is done with; returns once that is on disk."""

    async def close_consumer(self, consumer: str) -> None:
        """Forget a consumer without a name of its own; a durable one keeps its place."""
