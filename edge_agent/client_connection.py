"""One connection of a program to a running agent, and how that may fail."""

import asyncio

from edge_agent.api_messages import ApiBrokenError, Message, pack_message, read_message
from edge_agent.core.errors import EdgeAgentError


class AgentAbsentError(EdgeAgentError):
    """No agent answers, or it stopped in the middle of a call."""


class AgentRefusedError(EdgeAgentError):
    """The agent refused; ``reason`` is one word, the message the whole sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Connection:
    """One connection to the agent, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str) -> None:
        self._reader = reader
        self._writer = writer
        self._where = where

    @property
    def is_lost(self) -> bool:
        """Whether the agent has closed it."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def send(self, request: Message) -> None:
        """Send one request. Raises AgentAbsentError."""
        try:
            self._writer.write(pack_message(request))
            await self._writer.drain()
        except OSError as error:
            raise self._absent() from error

    async def receive(self) -> Message:
        """The ``ok`` part of the next answer. Raises AgentRefusedError, AgentAbsentError."""
        try:
            answer = await read_message(self._reader)
        except (ApiBrokenError, OSError) as error:
            raise self._absent() from error
        if answer is None:
            raise self._absent()
        if "error" in answer:
            raise AgentRefusedError(str(answer.get("reason", "error")), str(answer["error"]))
        ok = answer["ok"]
        return ok if isinstance(ok, dict) else {}

    async def closed(self) -> None:
        """Wait until the agent has closed the connection."""
        await self._reader.read()

    def close(self) -> None:
        """Close at once."""
        self._writer.close()

    def _absent(self) -> AgentAbsentError:
        return AgentAbsentError(f"the agent at {self._where} stopped before it answered")
