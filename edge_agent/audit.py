"""What people did at this node, written to its audit log while the agent goes on."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from edge_agent.core.errors import EdgeAgentError
from edge_agent.security.audit import AuditError, AuditLog

AUDIT_FILE = "audit.jsonl"
TEXT_MAX = 200
WAIT_LONGEST_S = 1.0
"""A person's answer waits no longer for the line about it; the line is written all the same."""

log = structlog.get_logger()


class Audit:
    """The audit log of a running agent. A fault of the log is said, and keeps nobody from doing anything."""

    def __init__(self, folder: Path, node_id: str, now_ms: Callable[[], int]) -> None:
        self._log: AuditLog | None = _open(folder / AUDIT_FILE, node_id)
        self._now_ms = now_ms
        self._turn = asyncio.Lock()
        self._writing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def act(self, where: str, who: str, act: str, body: Mapping[str, Any]) -> AsyncIterator[None]:  # Any: JSON
        """Around what a person does: one line when it is done, or when it was refused, with the reason."""
        try:
            yield
        except EdgeAgentError as error:
            await self.note(where, who, act, body, refused=str(error)[:TEXT_MAX])
            raise
        await self.note(where, who, act, body)

    async def note(
        self,
        where: str,
        who: str,
        act: str,
        body: Mapping[str, Any] | None = None,
        **more: str,  # Any: JSON
    ) -> None:
        """One line. Returns once it is synced, or after WAIT_LONGEST_S."""
        if self._log is None:
            return
        entry = {"where": where, "who": who, "act": act, **({"about": _short(body)} if body else {}), **more}
        writing = asyncio.create_task(self._write(self._log, self._now_ms(), entry), name="audit")
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        await asyncio.wait([writing], timeout=WAIT_LONGEST_S)

    async def close(self) -> None:
        """Once what is being written is written."""
        if self._writing:
            await asyncio.wait(self._writing, timeout=WAIT_LONGEST_S)
        if self._log is not None:
            self._log.close()
            self._log = None

    async def _write(self, audit_log: AuditLog, at_ms: int, entry: dict[str, Any]) -> None:  # Any: JSON
        async with self._turn:
            try:
                await asyncio.to_thread(audit_log.write, at_ms, entry)
            except (AuditError, ValueError) as error:  # ValueError: closed meanwhile
                log.error("audit_failed", act=entry["act"], reason=str(error))


def _open(path: Path, node_id: str) -> AuditLog | None:
    """The log; one that does not hold is set aside, and a new one says so. None, said, where none can be written."""
    try:
        try:
            return AuditLog(path, node_id)
        except AuditError as error:
            aside = path.with_name(f"{path.name}.{time.time_ns()}")
            with suppress(FileNotFoundError):
                path.rename(aside)
            log.error("audit_set_aside", reason=str(error), file=aside.name)
            anew = AuditLog(path, node_id)
            anew.write(
                time.time_ns() // 1_000_000, {"where": "agent", "who": "", "act": "set_aside", "file": aside.name}
            )
            return anew
    except (AuditError, OSError) as error:
        log.error("audit_failed", act="open", reason=str(error))
        return None


def _short(body: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    """What was asked, without pictures, and with long words cut."""
    short: dict[str, Any] = {}
    for name, value in body.items():
        if isinstance(value, bytes):
            short[name] = f"{len(value)} bytes"
        elif isinstance(value, str):
            short[name] = value[:TEXT_MAX]
        elif value is None or isinstance(value, bool | int | float):
            short[name] = value
        else:
            short[name] = str(value)[:TEXT_MAX]
    return short
