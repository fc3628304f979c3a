"""Addresses as a configuration writes them: "HOST:PORT", "[::1]:7000", "unix:PATH"."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

UNIX_PREFIX = "unix:"
UNIX_PATH_MAX_BYTES = 103  # sun_path holds 104 with its closing zero on macOS, 108 on Linux


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPort:
    """A TCP or UDP address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Address = HostPort | Path
"""Where the local API listens: TCP, or the path of a unix socket."""


def parse_host_port(text: str) -> HostPort:
    """The address in ``text``. Raises ValueError when it is not HOST:PORT with a port of 1 to 65535."""
    host, colon, port_text = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        ipaddress.IPv6Address(host)
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets, such as [::1]:7000")
    if not colon or not host or not port_text.isascii() or not port_text.isdigit() or not 1 <= int(port_text) <= 65_535:
        raise ValueError(f"{text!r} is not HOST:PORT with a port of 1 to 65535")
    return HostPort(host=host, port=int(port_text))


def is_loopback(address: HostPort) -> bool:
    """Whether only programs on this machine can reach ``address``."""
    if address.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return False  # a name: nobody knows where it points tomorrow


def spell(address: Address) -> str:
    """The address as a configuration writes it."""
    return f"{UNIX_PREFIX}{address}" if isinstance(address, Path) else str(address)
