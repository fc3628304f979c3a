"""Agents as processes of their own, with their pages, for tests in a real browser."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from urllib.request import urlopen

from playwright.sync_api import Browser, Page

START_LIMIT_S = 20.0
WALL = {"width": 1920, "height": 1080}
PHONE = {"width": 390, "height": 844}


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def make_secret(folder: Path) -> None:
    """The key that all nodes of ``folder`` share."""
    secret = folder / "secret.key"
    secret.write_text(secrets.token_hex(32))
    secret.chmod(0o600)


class Node:
    """One agent as a process of its own, with its page."""

    def __init__(self, folder: Path, *, node: str, link: str, more: str = "") -> None:
        """``node``: keys of [node] beside data_dir; ``link``: where its one link leads; ``more``: further tables."""
        node_id = tomllib.loads(node)["id"]
        self.url = f"http://127.0.0.1:{free_port()}"
        self.config = folder / f"{node_id}.toml"
        self._log = folder / f"{node_id}.log"
        self.config.write_text(
            f'[node]\n{node}\ndata_dir = "{node_id}"\n'
            f'[security]\nsecret_file = "secret.key"\n[api]\nlisten = "unix:{node_id}.sock"\n'
            f'[web]\nlisten = "{self.url.removeprefix("http://")}"\n'
            f'[[link]]\nname = "4g"\ntransport = "udp"\nmetered = false\n{link}\n{more}\n'
        )
        self.start()

    def start(self) -> None:
        """Run it and wait until its page answers."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edge_agent.cli", "run", str(self.config)], stdout=log, stderr=log
            )
        end_s = time.monotonic() + START_LIMIT_S
        while True:
            try:
                urlopen(self.url, timeout=1).close()
                return
            except OSError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < end_s, self._log.read_text()
                time.sleep(0.05)

    def kill(self) -> None:
        """As a power cut does."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def freeze(self) -> None:
        """Stand still with everything open, as a machine that hangs does."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        os.kill(self._process.pid, signal.SIGCONT)

    def send(self, flow: str, payload: bytes) -> None:
        """Give the agent a bundle for command as a program beside it does."""
        words = ["send", "--config", str(self.config), "--precedence", "immediate", "--flow", flow, "-"]
        subprocess.run([sys.executable, "-m", "edge_agent.cli", *words], input=payload, check=True, capture_output=True)

    def stop(self) -> None:
        """End it if it runs."""
        if self._process.poll() is None:
            self.thaw()
            self._process.terminate()
            self._process.wait(timeout=10)


class Pair:
    """A kit and a command post that reach each other over loopback."""

    def __init__(
        self, folder: Path, *, report_interval_s: float = 30.0, command_more: str = "", kit_more: str = ""
    ) -> None:
        make_secret(folder)
        port = free_port(socket.SOCK_DGRAM)
        self.command = Node(
            folder,
            node='id = "cp-1"\nnumber = 1\nname = "省指挥部"\nrole = "command"',
            link=f'listen = "127.0.0.1:{port}"',
            more=command_more,
        )
        self.kit = Node(
            folder,
            node=f'id = "kit-7"\nnumber = 7\nname = "大陈岛前突队"\nreport_interval_s = {report_interval_s}',
            link=f'remote = "127.0.0.1:{port}"',
            more=kit_more.format(port=port),
        )

    def stop(self) -> None:
        """End both."""
        self.kit.stop()
        self.command.stop()


def open_page(browser: Browser, node: Node, size: dict[str, int], lang: str) -> Page:
    """A page of ``node`` in one language, by day."""
    page = browser.new_page(viewport=size)  # type: ignore[arg-type]  # playwright's own TypedDict
    page.goto(f"{node.url}/?lang={lang}&view=day")
    return page
