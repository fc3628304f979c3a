"""The page of a node: its desk, and the server that shows it. Loaded when a page is configured, and not before."""

import asyncio
import sqlite3
from collections.abc import Hashable
from functools import partial

from edge_agent.command.desk import CommandDesk
from edge_agent.command_door import AgentCommandDoor
from edge_agent.core.bundle import COMMAND
from edge_agent.kit_desk import KitDesk
from edge_agent.kit_memory import PageMemoryError
from edge_agent.page_parts import PageParts
from edge_agent.ports import PluginLostError
from edge_agent.supervisor import keep_running
from edge_agent.web.desk import Desk
from edge_agent.web.server import serve


class CommandPage(CommandDesk):
    """The command post's desk, as the server asks for it."""

    async def state_json(self, now_ms: int) -> str:
        """``state`` as text."""
        return self.state_text(now_ms)

    def urgency(self) -> Hashable:
        """What stands in the alarm band."""
        return tuple(
            (alarm.id, alarm.is_unconfirmed, alarm.withdrawn_ms, len(alarm.units))
            for alarm in self.board.alarms
            if alarm.is_open
        )


async def run_page(parts: PageParts) -> None:
    """Keep a desk and serve it until cancelled.

    A taken address is tried again while the desk works on. Raises PluginLostError when the page's memory cannot be
    used, and whatever a defect raises.
    """
    try:
        if parts.config.role == COMMAND:
            desk: CommandPage | KitDesk = CommandPage(
                AgentCommandDoor(parts), limits=parts.config.limits, layers=parts.config.layers
            )
        else:
            desk = KitDesk(parts)
        async with asyncio.TaskGroup() as group:
            group.create_task(desk.run(), name="page:desk")
            group.create_task(_keep_served(desk, parts), name="page:server")
    except (PageMemoryError, sqlite3.OperationalError) as error:
        raise PluginLostError(str(error)) from error
    except ExceptionGroup as group:
        lost, others = group.split(PageMemoryError)
        if lost is None or others is not None:
            raise
        raise PluginLostError(str(lost.exceptions[0])) from group


async def _keep_served(desk: Desk, parts: PageParts) -> None:
    listen = parts.config.web
    assert listen is not None  # without an address there is no page to run
    show = partial(serve, desk, listen, now_ms=parts.now_ms, frame_ancestors=parts.config.frame_ancestors)
    await keep_running(show, what="page", name=listen, mark_lost=lambda reason: None)
