"""The demo's site: a folder with a secret, three configurations and the ports they use."""

import json
import os
import secrets
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path

MEDIA = Path(__file__).parent / "media"
LINKS = ("4g", "vsat", "radio")
SOCKET_PATH_MAX_BYTES = 100  # sun_path of a unix socket holds 108 on Linux, 104 on macOS


class SiteError(Exception):
    """The run folder cannot be used; the message says why."""


def free_port(kind: socket.SocketKind) -> int:
    """A loopback port that nobody has now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Site:
    """Names and places of everything in one demo."""

    folder: Path
    report_interval_s: float
    page_port: int = field(default_factory=lambda: free_port(socket.SOCK_STREAM))
    broker_port: int = field(default_factory=lambda: free_port(socket.SOCK_STREAM))
    broker_client_port: int = field(default_factory=lambda: free_port(socket.SOCK_STREAM))
    web_ports: dict[str, int] = field(default_factory=dict)
    udp_ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises SiteError when the folder is not this demo's to use."""
        self._clear()
        self.web_ports = {node: free_port(socket.SOCK_STREAM) for node in ("kit-1", "kit-2", "command")}
        self.udp_ports = {
            name: free_port(socket.SOCK_DGRAM) for name in ("4g", "vsat", "far-4g", "far-vsat", "kit-2", "far-kit-2")
        }

    def _clear(self) -> None:
        """Forget what an earlier demo left in the folder: its bundles and alarms would be counted as ours."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SiteError(f"--run-dir {self.folder}: {error.strerror}") from error
        card = self.folder / "demo.json"
        left = [self.folder / name for name in ("var", "nats") if (self.folder / name).exists()]
        if left and not card.exists():
            raise SiteError(f"--run-dir {self.folder}: {left[0].name} is there already and is no demo's")
        for node, entry in (json.loads(card.read_text()) if card.exists() else {}).items():
            if isinstance(entry, dict) and _runs(entry.get("pid"), str(self.folder)):
                raise SiteError(f"--run-dir {self.folder}: a demo runs there ({node} is process {entry['pid']})")
        for folder in left:
            shutil.rmtree(folder)
        for stale in (card, *self.folder.glob("*.log"), *self.folder.glob("*.sock")):
            stale.unlink(missing_ok=True)

    def config(self, node: str) -> Path:
        """Where the configuration of ``node`` is."""
        return self.folder / f"{node}.toml"

    def page(self, node: str) -> str:
        """Address of a node's page."""
        return f"http://127.0.0.1:{self.web_ports[node]}/"

    def write(self, *, radio_ports: tuple[str, str], gnss_ports: dict[str, str]) -> None:
        """Write secret and configurations; ``radio_ports`` are the kit's end and command's."""
        secret = self.folder / "secret.key"
        if not secret.exists():
            handle = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(handle, secrets.token_hex(32).encode() + b"\n")
            os.close(handle)
        ports = self.udp_ports
        self.config("kit-1").write_text(
            self._head("kit-1", 1, "救援一队", "kit")
            + _udp("4g", "remote", ports["4g"])
            + _udp("vsat", "remote", ports["vsat"])
            + _radio(radio_ports[0])
            + self._devices("kit-1", gnss_ports["kit-1"], has_camera=True)
        )
        self.config("kit-2").write_text(
            self._head("kit-2", 2, "救援二队", "kit")
            + _udp("4g", "remote", ports["kit-2"])
            + self._devices("kit-2", gnss_ports["kit-2"], has_camera=False)
        )
        self.config("command").write_text(
            self._head("command", 0, "演示 · 指挥部", "command")
            + _udp("4g", "listen", ports["far-4g"])
            + _udp("vsat", "listen", ports["far-vsat"])
            + _udp("4g-2", "listen", ports["far-kit-2"])
            + _radio(radio_ports[1])
        )

    def _head(self, node: str, number: int, name: str, role: str) -> str:
        return (
            f'[node]\nid = "{node}"\nnumber = {number}\nname = "{name}"\nrole = "{role}"\n'
            f'data_dir = "var/{node}"\nreport_interval_s = {self.report_interval_s}\n'
            '[security]\nsecret_file = "secret.key"\n'
            f'[api]\nlisten = "{self._api(node)}"\n'
            f'[web]\nlisten = "127.0.0.1:{self.web_ports[node]}"\n'
            f'frame_ancestors = ["http://127.0.0.1:{self.page_port}"]\n'
        )

    def _api(self, node: str) -> str:
        """A socket in the folder; a loopback port where the folder's name is too long for one."""
        path = self.folder / f"{node}.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX_BYTES:
            return f"unix:{path.name}"
        return f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"

    def _devices(self, kit: str, gnss_port: str, *, has_camera: bool) -> str:
        text = (
            f'[[driver]]\nname = "gnss"\nkind = "gnss"\nflow = "position"\nport = "{gnss_port}"\ninterval_s = 2\n'
            'time_source = "node"\n'
            f'[[driver]]\nname = "sensors"\nkind = "mqtt_sensors"\nflow = "reading"\n'
            f'broker = "127.0.0.1:{self.broker_port}"\n'
            f'[[driver.map]]\ntopic = "{kit}/gas"\ntime = "at"\n'
            'fields = [{ path = "ch4", series = "甲烷 CH4", unit = "%LEL" }]\n'
            f'[[driver.map]]\ntopic = "{kit}/water"\ntime = "at"\n'
            'fields = [{ path = "level", series = "水位 level", unit = "m" }]\n'
        )
        if has_camera:
            clip = json.dumps(str(MEDIA / "car-detection.mp4"))
            text += (
                f'[[driver]]\nname = "camera"\nkind = "camera"\nflow = "picture"\nsource = {clip}\ninterval_s = 10\n'
                "record_max_bytes = 50_000_000\n"
            )
        return text


def _udp(name: str, end: str, port: int) -> str:
    return f'[[link]]\nname = "{name}"\ntransport = "udp"\n{end} = "127.0.0.1:{port}"\nkeepalive_s = 2\n'


def _radio(port: str) -> str:
    return f'[[link]]\nname = "radio"\ntransport = "serial_radio"\nport = "{port}"\nbaud_rate = 9600\nkeepalive_s = 3\n'


def _runs(pid: object, mark: str) -> bool:
    """Whether process ``pid`` is one whose command line names ``mark``."""
    try:
        return mark in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False
