"""A kit and a command post with their pages, as processes of their own over loopback."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.agents import AgentProcess, free_port, running, udp_link, write_pair
from tests.web.page_client import PageClient


@dataclass(frozen=True, slots=True, kw_only=True)
class PagePair:
    """Both agents and what a browser sees of them."""

    kit: AgentProcess
    command: AgentProcess
    kit_page: PageClient
    command_page: PageClient


def write_page_pair(folder: Path, kit_extra: str = "") -> PagePair:
    """Configurations of both; nothing runs yet."""
    address = f"127.0.0.1:{free_port()}"
    kit, command = write_pair(
        folder,
        kit_links=udp_link("radio", "remote", address),
        command_links=udp_link("hub", "listen", address),
        kit_extra=kit_extra,
    )
    ports = []
    for config in (kit, command):
        ports.append(free_port(socket.SOCK_STREAM))
        with config.open("a") as file:
            file.write(f'[web]\nlisten = "127.0.0.1:{ports[-1]}"\n')
    return PagePair(
        kit=AgentProcess(kit),
        command=AgentProcess(command),
        kit_page=PageClient(ports[0]),
        command_page=PageClient(ports[1]),
    )


@contextmanager
def page_pair(folder: Path, kit_extra: str = "") -> Iterator[PagePair]:
    """Both at work; killed at the end."""
    pair = write_page_pair(folder, kit_extra)
    with running(pair.command, pair.kit):
        pair.command.wait_for("page_opened")
        pair.kit.wait_for("page_opened")
        try:
            yield pair
        finally:
            for agent in (pair.kit, pair.command):
                print(agent.config.name, agent.is_running, *said(agent), sep="\n")  # shown where a test fails


def said(agent: AgentProcess) -> Iterator[object]:
    """Everything the agent has logged since its start."""
    yield from agent.log
    while not agent._lines.empty():
        yield agent._lines.get()


def start(agent: AgentProcess) -> None:
    """Start one agent and return once its page answers."""
    agent.start()
    agent.wait_for("page_opened")
