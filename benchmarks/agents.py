"""Real agents in processes of their own, as an operator starts them, and what they cost."""

import asyncio
import os
import random
import resource
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from edge_agent.addresses import HostPort
from edge_agent.client import AgentAbsentError, Client
from edge_agent.core.errors import EdgeAgentError
from edge_agent.security.secret_file import create_secret

EDGE_AGENT = ("-m", "edge_agent.cli")
READY_MAX_S = 20.0  # 1.5 s is promised and has a row of its own; a busy machine must not fail the others
STOP_MAX_S = 5.0
ASK_AGAIN_S = 0.01
NO_PREFIXES: Mapping[str, Sequence[str]] = MappingProxyType({})
PORT_LOWEST = 10_000  # below are ports of services that may come while a run lasts
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class AgentEndedError(EdgeAgentError):
    """An agent ended or never answered; the message holds the end of its log."""


@dataclass(slots=True)
class Agent:
    """One ``edge-agent run``."""

    node_id: str
    folder: Path
    process: asyncio.subprocess.Process

    def client(self) -> Client:
        """A user of this agent."""
        return Client(self.folder / f"{self.node_id}.sock")

    def cpu_s(self) -> float:
        """CPU seconds of all its threads so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND

    def rss_bytes(self) -> int:
        """Resident memory now."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()

    def log(self) -> str:
        """Its log so far, a JSON object a line."""
        return _log_path(self.folder, self.node_id).read_text(errors="replace")


@asynccontextmanager
async def bench_folder() -> AsyncIterator[Path]:
    """A folder for one measurement, on the disk of the system's temporary files."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)


def write_config(folder: Path, node_id: str, *, role: str, rest: str, report_interval_s: float = 30.0) -> None:
    """One agent's configuration; all agents of a folder share a secret. ``rest`` is TOML: links, drivers, page."""
    secret = folder / "secret.key"
    if not secret.exists():
        create_secret(secret)
    (folder / f"{node_id}.toml").write_text(
        f'[node]\nid = "{node_id}"\nrole = "{role}"\ndata_dir = "{node_id}"\nreport_interval_s = {report_interval_s}\n'
        f'[security]\nsecret_file = "secret.key"\n[api]\nlisten = "unix:{node_id}.sock"\n{rest}\n'
    )


def udp_link(name: str, key: str, address: HostPort) -> str:
    """A [[link]] over UDP; ``key`` is "remote" or "listen"."""
    return f'[[link]]\nname = "{name}"\ntransport = "udp"\n{key} = "{address}"\nmetered = false\n'


def serial_link(name: str, port: Path) -> str:
    """A [[link]] over a serial port of 9600 baud."""
    return (
        f'[[link]]\nname = "{name}"\ntransport = "serial_radio"\nport = "{port}"\nbaud_rate = 9600\nmetered = false\n'
    )


@asynccontextmanager
async def running(
    folder: Path,
    *node_ids: str,
    program: Sequence[str] = EDGE_AGENT,
    prefixes: Mapping[str, Sequence[str]] = NO_PREFIXES,
) -> AsyncIterator[list[Agent]]:
    """Agents that answer ``status``; stopped at the end. ``program`` is what the interpreter is given to run.

    ``prefixes``: by node, words before its command line, such as those of a network namespace.
    """
    agents: list[Agent] = []
    try:
        for node_id in node_ids:
            agent = await start(folder, node_id, program=program, prefix=prefixes.get(node_id, ()))
            agents.append(agent)
        for agent in agents:
            await until_ready(agent)
        yield agents
    finally:
        for agent in agents:
            await stop(agent)


async def start(
    folder: Path, node_id: str, *, program: Sequence[str] = EDGE_AGENT, prefix: Sequence[str] = ()
) -> Agent:
    """An agent whose process has just been started."""
    with _log_path(folder, node_id).open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *prefix, sys.executable, *program, "run", folder / f"{node_id}.toml", "--log", "json",
            stdout=asyncio.subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
    return Agent(node_id=node_id, folder=folder, process=process)


async def until_ready(agent: Agent) -> None:
    """Return once it answers ``status``. Raises AgentEndedError."""
    try:
        async with asyncio.timeout(READY_MAX_S), agent.client() as client:
            while agent.process.returncode is None:
                try:
                    await client.status()
                except AgentAbsentError:
                    await asyncio.sleep(ASK_AGAIN_S)  # a process that starts has no event of its own to wait for
                else:
                    return
    except TimeoutError:
        pass
    raise AgentEndedError(f"{agent.node_id} did not answer within {READY_MAX_S} s: {agent.log()[-2000:]}")


async def until_links_up(agent: Agent, number: int) -> None:
    """Return once ``number`` links are up. Raises AgentEndedError."""
    try:
        async with asyncio.timeout(READY_MAX_S), agent.client() as client:
            while True:
                links = (await client.status())["links"]
                if sum(link["state"] == "up" for link in links) >= number:
                    return
                await asyncio.sleep(ASK_AGAIN_S)
    except TimeoutError:
        pass
    raise AgentEndedError(f"{agent.node_id}: {number} links were not up within {READY_MAX_S} s: {agent.log()[-2000:]}")


def free_address(kind: socket.SocketKind = socket.SOCK_DGRAM) -> HostPort:
    """A port on loopback that nobody has at this moment.

    None that the machine gives out by itself: while an agent is killed and starts anew, any socket might be given its.
    """
    while True:
        port = random.randrange(PORT_LOWEST, _ports_given_from())
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:  # somebody has it: another one
                continue
            return HostPort(host="127.0.0.1", port=port)


def _ports_given_from() -> int:
    """The first of the ports that the machine gives to sockets that ask for none."""
    try:
        given_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:  # not Linux, which begins lower than all others
        given_from = 32_768
    return max(given_from, PORT_LOWEST + 1_000)  # where all are given out, any will do


async def stop(agent: Agent) -> None:
    """End it as an operator does, and kill it when that takes too long."""
    if agent.process.returncode is not None:
        return
    agent.process.terminate()
    try:
        async with asyncio.timeout(STOP_MAX_S):
            await agent.process.wait()
    except TimeoutError:
        agent.process.kill()
        await agent.process.wait()


def _log_path(folder: Path, node_id: str) -> Path:
    return folder / f"{node_id}.log"
