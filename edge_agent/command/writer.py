"""Keeps the board on disk, then tells the store what need not be delivered again.

A disk that takes nothing more costs no change and no page: what was not written is tried again, and said once.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable

import structlog

from edge_agent.command.board import Board
from edge_agent.command.documents import Documents, pack_document
from edge_agent.core.errors import ActionError

WRITE_GAP_S = 0.2  # deliveries that come at once share a transaction: flash wears by the sync
RETRY_S = 2.0

log = structlog.get_logger()


class BoardWriter:
    """Writes what changed, one transaction at a time. ``applied`` is the last position that is in the board."""

    def __init__(
        self, board: Board, documents: Documents, incarnation: str, acknowledge: Callable[[int], Awaitable[None]]
    ) -> None:
        self._board = board
        self._documents = documents
        self._incarnation = incarnation
        self._acknowledge = acknowledge
        self.applied = documents.applied_position(incarnation)
        self._acknowledged = self.applied
        self.failure = ""
        self._waiting: list[asyncio.Future[str]] = []
        self._dirty = asyncio.Event()
        self._is_waited_for = asyncio.Event()

    def changed(self) -> None:
        """There may be something to write."""
        self._dirty.set()

    def came_again(self, position: int) -> None:
        """A delivery that is in the board already: the store has not heard that it need not keep it."""
        self._acknowledged = min(self._acknowledged, position - 1)
        self._dirty.set()

    async def settle(self) -> None:
        """Return once everything up to now is on disk. Raises ActionError when the disk did not take it."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(written)
        self._dirty.set()
        self._is_waited_for.set()
        failure = await written
        if failure:
            raise ActionError(f"done, but not on this node's disk yet ({failure}); it is tried again, do not repeat it")

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            self._is_waited_for.clear()
            waiting, self._waiting = self._waiting, []
            failure = "stopping"
            try:
                failure = await self._write()
            finally:
                for written in waiting:
                    if not written.done():  # whoever waited may have left
                        written.set_result(failure)
            if failure:
                self._dirty.set()
            try:
                async with asyncio.timeout(RETRY_S if failure else WRITE_GAP_S):
                    await self._is_waited_for.wait()
            except TimeoutError:
                pass  # nobody waits: the gap is over all the same

    async def _write(self) -> str:
        """Why nothing was written, or nothing."""
        changes, position = self._board.take_changes(), self.applied
        if changes or position > self._acknowledged:
            packed = {key: content if content is None else pack_document(content) for key, content in changes.items()}
            try:
                await asyncio.to_thread(self._documents.save, packed, self._incarnation, position)
            except sqlite3.Error as error:
                self._board.put_back(changes)
                self._say(str(error))
                return str(error)
            self._say("")
        if position > self._acknowledged:
            await self._acknowledge(position)
            self._acknowledged = max(position, self._acknowledged)
        return ""

    def _say(self, failure: str) -> None:
        if failure and failure != self.failure:
            log.error("board_write_failed", reason=failure, retry_s=RETRY_S)
        elif self.failure and not failure:
            log.info("board_written_again")
        self.failure = failure
