"""Ports of agents that are killed and started again."""

import socket
from pathlib import Path

import pytest

from benchmarks import agents


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_free_address_is_none_that_the_machine_gives_out(kind: socket.SocketKind) -> None:
    given_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(20):
        address = agents.free_address(kind)
        assert address.port < given_from or given_from <= agents.PORT_LOWEST
        with socket.socket(socket.AF_INET, kind) as made:
            made.bind((address.host, address.port))
