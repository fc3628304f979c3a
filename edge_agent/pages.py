"""The desk of a node, which keeps its orders, and the server that shows it where a page is configured."""

import asyncio
import sqlite3
from collections.abc import Callable, Hashable
from functools import partial

from edge_agent.command.desk import CommandDesk
from edge_agent.command_door import AgentCommandDoor
from edge_agent.core.bundle import COMMAND
from edge_agent.core.errors import ActionError
from edge_agent.kit_desk import KitDesk
from edge_agent.kit_memory import PageMemoryError
from edge_agent.link_report_rows import StatedLink
from edge_agent.page_parts import PageParts
from edge_agent.ports import PluginLostError
from edge_agent.supervisor import keep_running

DESK_LONGEST_S = 5.0  # a start takes a third of a second


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


AnyDesk = CommandPage | KitDesk


class DeskWatch:
    """The desk that works now, for programs that ask while it is opened."""

    def __init__(self) -> None:
        self._desk: AnyDesk | None = None
        self._news = asyncio.Event()

    def tell(self, desk: AnyDesk | None) -> None:
        """This desk works from now on; None: none does."""
        self._desk = desk
        if desk is None:
            self._news.clear()
        else:
            self._news.set()

    async def open(self) -> AnyDesk:
        """The desk, once it works. Raises ActionError when that takes too long."""
        try:
            async with asyncio.timeout(DESK_LONGEST_S):
                await self._news.wait()
        except TimeoutError:
            pass  # said below, with what to do
        if self._desk is None:
            raise ActionError(f"this node's desk was not opened within {DESK_LONGEST_S:g} s: the agent's log says why")
        return self._desk


async def run_desk(parts: PageParts, on_desk: Callable[[AnyDesk | None], None]) -> None:
    """Keep a desk, and serve its page where one is configured, until cancelled.

    ``on_desk`` is told the desk, and None at its end. A taken address is tried again while the desk works on. Raises
    PluginLostError when the desk's memory cannot be used, and whatever a defect raises.
    """
    try:
        desk = _open_desk(parts)
        on_desk(desk)
        async with asyncio.TaskGroup() as group:
            group.create_task(desk.run(), name="page:desk")
            if parts.is_shown:
                group.create_task(_keep_served(desk, parts), name="page:server")
    except (PageMemoryError, sqlite3.OperationalError) as error:
        raise PluginLostError(str(error)) from error
    except ExceptionGroup as group:
        lost, others = group.split(PageMemoryError)
        if lost is None or others is not None:
            raise
        raise PluginLostError(str(lost.exceptions[0])) from group
    finally:
        on_desk(None)


def _open_desk(parts: PageParts) -> AnyDesk:
    config = parts.config
    if config.role != COMMAND:
        return KitDesk(parts)
    return CommandPage(
        AgentCommandDoor(parts),
        limits=config.limits,
        layers=config.layers,
        groups=config.groups,
        others=config.others,
        fellows=config.copies_to,
        escalate_after_s=config.escalate_after_s,
    )


def _stated_links(parts: PageParts) -> list[StatedLink]:
    return [StatedLink(each.link, each.config.transport, each.config.kind) for each in parts.links]


async def _keep_served(desk: AnyDesk, parts: PageParts) -> None:
    from edge_agent.link_report_maker import report_maker
    from edge_agent.web.server import serve  # a node without a page never loads the web framework

    listen = parts.config.web
    assert listen is not None  # without an address there is no page to run
    show = partial(
        serve,
        desk,
        listen,
        now_ms=parts.now_ms,
        frame_ancestors=parts.config.frame_ancestors,
        report=report_maker(parts.config, partial(_stated_links, parts)),
        around=lambda action, body: parts.audit.act("page", desk.actor(body), action, body),
    )
    await keep_running(show, what="page", name=listen, mark_lost=lambda reason: None)
