"""UDP links: batches, families, what a datagram meets on its way, and losses in words an operator can use."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.transports.harness import RecordingPort, free_port, loss_of, running, table
from transports import udp
from transports.udp import UdpTransport
from transports.udp.ways import DATAGRAMS_A_WAKE_UP, RECEIVE_MAX_BYTES


def transport(**values: object) -> UdpTransport:
    return UdpTransport(table(UdpTransport, **values))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "give exactly one of remote and listen"),
        ({"remote": "127.0.0.1:7000", "listen": "127.0.0.1:7000"}, "give exactly one of remote and listen"),
        ({"listen": "127.0.0.1:7000", "bind_address": "127.0.0.1"}, "bind_address goes with remote"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(values: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        transport(**values)


async def test_a_port_in_use_is_a_loss_that_names_it() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{other.getsockname()[1]}"
        assert await loss_of(transport(listen=where)) == f"udp listen {where}: Address already in use"


async def test_an_address_or_interface_that_is_not_here_is_a_loss_that_names_it() -> None:
    absent = transport(remote="127.0.0.1:7000", bind_address="192.0.2.1")
    assert await loss_of(absent) == "udp remote 127.0.0.1:7000 from 192.0.2.1: Cannot assign requested address"
    absent = transport(remote="127.0.0.1:7000", bind_interface="nosuch0")
    assert await loss_of(absent) == "udp remote 127.0.0.1:7000 by nosuch0: No such device"


async def test_a_name_that_does_not_resolve_is_a_loss_that_names_it() -> None:
    reason = await loss_of(transport(remote="no-such-host.invalid:7000"))
    assert reason.startswith("udp remote no-such-host.invalid:7000: cannot resolve no-such-host.invalid: ")


async def test_a_remote_that_is_not_there_yet_is_counted_and_used_once_it_is() -> None:
    where = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    async with running(transport(remote=where)) as near:
        near.send(b"too early")
        await near.until(lambda port: port.counts["connection_refused"])
        async with running(transport(listen=where)) as far:
            near.send(b"in time")
            assert (await far.next_frame())[1] == b"in time"


async def test_what_queued_is_drained_in_bounded_batches_and_in_order() -> None:
    port_number = free_port(socket.SOCK_DGRAM)
    async with running(transport(listen=f"127.0.0.1:{port_number}")) as far:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for number in range(150):
                peer.sendto(number.to_bytes(2, "big"), ("127.0.0.1", port_number))
        await far.until(lambda port: len(port.frames) == 150)
        assert [int.from_bytes(frame, "big") for _, frame in far.frames] == list(range(150))
        assert far.batches == [DATAGRAMS_A_WAKE_UP, DATAGRAMS_A_WAKE_UP, 150 - 2 * DATAGRAMS_A_WAKE_UP]


@pytest.mark.parametrize("is_listener", [True, False])
async def test_empty_and_oversize_datagrams_are_counted_and_the_largest_frame_arrives(is_listener: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        listen_port = free_port(socket.SOCK_DGRAM)
        peer_at = f"127.0.0.1:{peer.getsockname()[1]}"
        tested = transport(listen=f"127.0.0.1:{listen_port}") if is_listener else transport(remote=peer_at)
        async with running(tested) as port:
            if is_listener:
                peer.connect(("127.0.0.1", listen_port))
            else:
                port.send(b"hello")
                peer.connect(peer.recvfrom(100)[1])
            for datagram in (b"", bytes(RECEIVE_MAX_BYTES), bytes(60_000), bytes(RECEIVE_MAX_BYTES - 1)):
                peer.send(datagram)
            assert (await port.next_frame())[1] == bytes(RECEIVE_MAX_BYTES - 1)
            assert port.counts == {"empty_frame": 1, "oversize_frame": 2}


async def test_a_listener_on_the_ipv6_wildcard_serves_both_families() -> None:
    number = free_port(socket.SOCK_DGRAM, "::1")
    async with (
        running(transport(listen=f"[::]:{number}")) as far,
        running(transport(remote=f"127.0.0.1:{number}")) as four,
        running(transport(remote=f"[::1]:{number}")) as six,
    ):
        for port in (four, six):
            port.send(b"hello")
            address, _ = await far.next_frame()
            far.send(b"answer", address)
            assert await port.next_frame() == (None, b"answer")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no second loopback address without set-up")
@pytest.mark.parametrize("wildcard", ["0.0.0.0", "[::]"])
async def test_a_wildcard_listener_answers_from_the_address_that_was_asked(wildcard: str) -> None:
    """127.0.0.9 is not the address the route would choose: a connected peer drops an answer from any other."""
    port = free_port(socket.SOCK_DGRAM, "127.0.0.1")
    async with (
        running(transport(listen=f"{wildcard}:{port}")) as listener,
        running(transport(remote=f"127.0.0.9:{port}", bind_address="127.0.0.1")) as peer,
    ):
        peer.send(b"question")
        address, frame = await listener.next_frame()
        listener.send(frame + b" answered", address)
        assert (await peer.next_frame())[1] == b"question answered"


async def test_limits_count_the_headers_of_the_family() -> None:
    async with running(transport(remote="127.0.0.1:7000")) as four, running(transport(remote="[::1]:7000")) as six:
        assert four.limits is not None
        assert six.limits is not None
        assert (four.limits.mtu_bytes, four.limits.overhead_bytes) == (1400, 28)
        assert (six.limits.mtu_bytes, six.limits.overhead_bytes) == (1400, 48)


async def test_a_silent_remote_known_by_name_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command post moved: its name means another address, where nothing but a new look finds it."""
    number = free_port(socket.SOCK_DGRAM)
    answers = ["127.0.0.1", "127.0.0.2"]

    async def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        address = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, port))]

    monkeypatch.setattr(udp, "_SILENCE_S", 0.02)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    kit, port = transport(remote=f"command.example:{number}"), RecordingPort()
    task = asyncio.create_task(loss_of(kit, port))
    await port.until(lambda port: port.sender is not None)
    port.send(b"lost")
    assert await task == f"udp remote command.example:{number}: no answer from 127.0.0.1, trying its next address"
    async with running(kit) as near, running(transport(listen=f"127.0.0.2:{number}")) as far:
        near.send(b"found")
        assert (await far.next_frame())[1] == b"found"


IN_A_NAMESPACE = """
import asyncio, subprocess, sys
from tests.transports.harness import RecordingPort, loss_of, table
from transports.udp import UdpTransport

def ip(words):
    subprocess.run(["ip", *words.split()], check=True)

async def lost_after(change, **values):
    port = RecordingPort()
    task = asyncio.create_task(loss_of(UdpTransport(table(UdpTransport, **values)), port))
    await port.until(lambda port: port.sender is not None)
    port.send(b"fine")
    ip(change)
    port.send(b"gone")
    print(await task)

def add_modem():
    ip("link add modem0 type veth peer name far0")
    ip("addr add 10.9.9.1/24 dev modem0")
    ip("link set far0 up")
    ip("link set modem0 up")

for change in ("link set modem0 down", "link del modem0", "addr del 10.9.9.1/24 dev modem0"):
    for values in ({"bind_interface": "modem0"}, {"bind_address": "10.9.9.1"}, {}):
        add_modem()
        asyncio.run(lost_after(change, remote="10.9.9.2:7000", **values))
        subprocess.run(["ip", "link", "del", "modem0"], stderr=subprocess.DEVNULL)
"""


@pytest.mark.kernel
def test_an_interface_that_vanishes_takes_the_link_down(require: Callable[[str], Path]) -> None:
    require("root")
    require("ip")
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", IN_A_NAMESPACE],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 9
    assert all(line.startswith("udp remote 10.9.9.2:7000") for line in lines)
