"""Several addresses of one command post: tried in their order, and left for the next while they answer nothing."""

import contextlib
import socket

import pytest

from edge_agent.ports import PluginLostError
from tests.transports.harness import RecordingPort, free_port, running, table
from transports import udp
from transports.udp import UdpTransport


def transport(**values: object) -> UdpTransport:
    return UdpTransport(table(UdpTransport, **values))


async def test_the_next_address_is_tried_while_one_is_silent_and_the_link_stays_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(udp, "_NEXT_REMOTE_S", 0.02)
    silent, answers = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM, "::1")
    kit = transport(remote=[f"127.0.0.1:{silent}", f"[::1]:{answers}"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", silent))
        async with running(transport(listen=f"[::1]:{answers}")) as far, running(kit) as near:
            overheads = set()
            for _ in range(1000):
                near.send(b"anyone?")
                assert near.limits is not None
                overheads.add(near.limits.overhead_bytes)
                if far.frames:
                    break
                await near.next_link_up(0.1)
            assert (await far.next_frame())[1] == b"anyone?"
            assert deaf.recv(100) == b"anyone?"
            assert overheads == {udp.OVERHEAD_V4_BYTES, udp.OVERHEAD_V6_BYTES}
            assert near.downs == []


async def test_an_address_that_answers_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "_NEXT_REMOTE_S", 0.02)
    good, other = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    kit = transport(remote=[f"127.0.0.1:{good}", f"127.0.0.1:{other}"])
    async with running(transport(listen=f"127.0.0.1:{good}")) as far, running(kit) as near:
        for _ in range(10):
            near.send(b"question")
            address, _ = await far.next_frame()
            far.send(b"answer", address)
            await near.next_frame()
            await near.next_link_up(0.01)
        assert near.ups == 1


async def test_a_silent_remote_is_asked_from_another_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "_NEW_PORT_S", 0.02)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        async with running(transport(remote=f"127.0.0.1:{deaf.getsockname()[1]}")) as near:
            await near.next_link_up(0.1)
            assert near.ups == 1, "nothing was asked, so nobody is silent"
            near.send(b"anyone?")
            await near.next_link_up(10.0)
            near.send(b"anyone?")
            assert deaf.recvfrom(100)[1] != deaf.recvfrom(100)[1]
            assert near.downs == []


async def test_a_name_that_cannot_be_resolved_does_not_keep_the_others_from_being_tried() -> None:
    number = free_port(socket.SOCK_DGRAM)
    kit = transport(remote=["no-such-host.invalid:7000", f"127.0.0.1:{number}"])
    async with running(transport(listen=f"127.0.0.1:{number}")) as far, running(kit) as near:
        near.send(b"hello")
        assert (await far.next_frame())[1] == b"hello"


@pytest.mark.parametrize("remotes", [[], ["127.0.0.1:1", "127.0.0.1:1"], ["127.0.0.1"], [7], ["127.0.0.1:1"] * 17])
def test_lists_that_make_no_sense_are_refused(remotes: list[object]) -> None:
    accepts = UdpTransport.SETTINGS["remote"].accepts
    assert accepts is not None
    with contextlib.suppress(ValueError):  # refused with its own words
        assert not accepts(remotes)


async def test_where_interfaces_cannot_be_watched_an_absent_one_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> None:
        raise PermissionError("planted")

    monkeypatch.setattr(udp, "InterfaceWatch", forbidden)
    with pytest.raises(PluginLostError, match="by nosuch0: No such device"):
        await transport(remote="127.0.0.1:7000", bind_interface="nosuch0").run(RecordingPort())
