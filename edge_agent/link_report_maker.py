"""Has the printable link report of a page made by a process of its own: a day is megabytes of text to add up."""

import asyncio
import json
import sys
from collections.abc import Callable, Sequence

import structlog

from edge_agent.config import Config
from edge_agent.core.errors import ActionError
from edge_agent.link_report_page import STYLE
from edge_agent.link_report_rows import StatedLink
from edge_agent.link_seconds_files import FOLDER
from edge_agent.web.report import ReportMaker, ReportPage

REPORT_LONGEST_S = 300.0
"""A day of one link without a quiet second takes 1.6 s of CPU; a command post has one for each unit."""
ASKED_AT_ONCE = 4
"""Reports that are asked for at once; one is made at a time, the others wait."""

log = structlog.get_logger()


def report_maker(config: Config, links: Callable[[], Sequence[StatedLink]]) -> ReportMaker:
    """What a page's server asks for reports; ``links`` are those that the node has now."""
    return _ReportQueue(config, links).make


class _ReportQueue:
    """One process at a time."""

    def __init__(self, config: Config, links: Callable[[], Sequence[StatedLink]]) -> None:
        self._config = config
        self._links = links
        self._turn = asyncio.Semaphore(1)
        self._asked = 0

    async def make(self, day: str) -> ReportPage:
        """The page of a day. Raises ActionError."""
        if self._asked >= ASKED_AT_ONCE:
            raise ActionError(f"{self._asked} link reports are being made already; ask again in a moment")
        self._asked += 1
        try:
            async with self._turn:
                return ReportPage(html=await self._run(day), style=STYLE)
        finally:
            self._asked -= 1

    async def _run(self, day: str) -> str:
        asked = {
            "folder": str(self._config.data_dir / FOLDER),
            "node_id": self._config.node_id,
            "day": day,
            "links": [[each.name, each.transport, each.kind] for each in self._links()],
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "edge_agent.link_report_child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(REPORT_LONGEST_S):
                output, complaint = await process.communicate(json.dumps(asked).encode())
        except TimeoutError as error:
            raise ActionError(f"the link report was not made within {REPORT_LONGEST_S:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            reason = complaint.decode(errors="replace").strip().rpartition("\n")[2][:200]
            log.warning("link_report_failed", day=day, reason=reason)
            raise ActionError(f"the link report could not be made: {reason}")
        return output.decode()
