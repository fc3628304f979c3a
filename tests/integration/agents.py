"""Real agents in processes of their own, as an operator starts them, for the tests beside this file."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READY_S = 15.0  # 1.5 s is promised on an idle machine; a busy runner must not fail the test of something else
EDGE_AGENT = (sys.executable, "-m", "edge_agent.cli")


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM, host: str = "127.0.0.1") -> int:
    """A port nobody has at this moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as made:
        made.bind((host, 0))
        return int(made.getsockname()[1])


@dataclass(slots=True)
class AgentProcess:
    """One ``edge-agent run``; its log is read line by line, so that tests wait for events instead of time."""

    config: Path
    prefix: tuple[str, ...] = ()  # such as ("ip", "netns", "exec", NAME)
    log: list[dict[str, Any]] = field(default_factory=list)
    _lines: "queue.Queue[dict[str, Any] | None]" = field(default_factory=queue.Queue)
    _process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start and return once it is ready."""
        self._lines, self.log = queue.Queue(), []
        self._process = subprocess.Popen(
            [*self.prefix, *EDGE_AGENT, "run", str(self.config), "--log", "json"], stderr=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._read, args=(self._process, self._lines), daemon=True).start()
        self.wait_for("agent_ready")

    def _read(self, process: subprocess.Popen[str], lines: "queue.Queue[dict[str, Any] | None]") -> None:
        assert process.stderr is not None
        for line in process.stderr:
            try:
                lines.put(json.loads(line))
            except ValueError:
                lines.put({"event": "not_json", "text": line})
        lines.put(None)

    def wait_for(self, event: str, timeout_s: float = READY_S, **fields: object) -> dict[str, Any]:
        """The first line of this start with that event and fields. Raises AssertionError when the agent ends before."""
        fields = {"event": event, **fields}
        for line in self.log:
            if line.items() >= fields.items():
                return line
        while True:
            try:
                line = self._lines.get(timeout=timeout_s)
            except queue.Empty:
                raise AssertionError(f"no {fields} within {timeout_s} s; log: {self.log}") from None
            if line is None:
                raise AssertionError(f"agent ended before {fields}; log: {self.log}")
            self.log.append(line)
            if line.items() >= fields.items():
                return line

    @property
    def pid(self) -> int:
        """Process id while it runs."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it as a power cut does. Behind a prefix this ends the prefix's own exec, which is the agent."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End it as an operator does; the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=10)

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None


@contextmanager
def running(*agents: AgentProcess) -> Iterator[None]:
    """Agents that are ready; killed at the end."""
    try:
        for agent in agents:
            agent.start()
        yield
    finally:
        for agent in agents:
            if agent.is_running:
                agent.kill()


def edge_agent(*arguments: object, stdin: bytes = b"", timeout_s: float = 60.0, prefix: Sequence[str] = ()) -> str:
    """Standard output of one ``edge-agent`` command that must succeed."""
    done = attempt(*arguments, stdin=stdin, timeout_s=timeout_s, prefix=prefix)
    assert done.returncode == 0, (arguments, done.returncode, done.stderr.decode())
    return done.stdout.decode()


def attempt(
    *arguments: object, stdin: bytes = b"", timeout_s: float = 60.0, prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[bytes]:
    """One ``edge-agent`` command, whatever its exit status."""
    return subprocess.run(
        [*prefix, *EDGE_AGENT, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def write_pair(folder: Path, *, kit_links: str, command_links: str, kit_extra: str = "") -> tuple[Path, Path]:
    """Configurations of kit-1 and command with one secret between them."""
    edge_agent("init", folder / "made")
    secret = folder / "made" / "secret.key"
    kit, command = folder / "kit.toml", folder / "command.toml"
    for path, node_id, role, links in (
        (kit, "kit-1", "kit", kit_links),
        (command, "command", "command", command_links),
    ):
        extra = kit_extra if role == "kit" else ""
        path.write_text(
            f'[node]\nid = "{node_id}"\nrole = "{role}"\ndata_dir = "var/{node_id}"\nreport_interval_s = 1\n'
            f'[security]\nsecret_file = "{secret}"\n[api]\nlisten = "unix:{node_id}.sock"\n{links}\n{extra}\n'
        )
    return kit, command


def udp_link(name: str, key: str, address: str) -> str:
    """A [[link]] over UDP; ``key`` is "remote" or "listen"."""
    return f'[[link]]\nname = "{name}"\ntransport = "udp"\n{key} = "{address}"\nmetered = false\n'
