"""Several UDP frames in one call of the kernel: whole, in order, once, and all the same where the kernel refuses."""

import errno
import itertools
import socket
import sys
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transports.harness import RecordingPort, free_port, running, table
from transports.udp import UdpTransport
from transports.udp.ways import RECEIVE_MAX_BYTES, runs_of

SEGMENTS_MAX, DATAGRAM_MAX_BYTES = 64, 65_507
LISTENERS = ["127.0.0.1", "0.0.0.0", "[::]", "[::1]"]


@given(st.lists(st.sampled_from([1, 2, 600, 1199, 1200, 1400]), max_size=150))
def test_runs_are_what_one_call_takes_and_together_they_are_the_frames(lengths: list[int]) -> None:
    frames = [bytes([at % 251]) * length for at, length in enumerate(lengths)]
    runs = [list(run) for run in runs_of(frames)]
    assert list(itertools.chain(*runs)) == frames
    for run in runs:
        assert len(run) <= SEGMENTS_MAX
        assert sum(map(len, run)) <= DATAGRAM_MAX_BYTES
        assert {len(frame) for frame in run[:-1]} <= {len(run[0])}
        assert len(run[-1]) <= len(run[0])


def test_frames_of_one_length_are_one_run() -> None:
    assert len(runs_of([bytes(1200)] * 16)) == 1
    assert len(runs_of([bytes(1200)] * 15 + [bytes(80)])) == 1


def frames_mixed(seed: int) -> list[bytes]:
    """Runs of one length, single frames between, some growing and some shrinking."""
    rng = Random(seed)
    lengths = [length for _ in range(8) for length in [rng.choice([1, 40, 900, 1200, 1400])] * rng.choice([1, 2, 5])]
    return [rng.randbytes(length) for length in lengths]


def send_many(port: RecordingPort, frames: Sequence[bytes], address: object = None) -> None:
    assert port.many_sender is not None
    port.many_sender(address, frames)  # type: ignore[arg-type]  # what the listener reported


@pytest.mark.parametrize("host", LISTENERS)
@pytest.mark.parametrize("seed", range(3))
async def test_many_at_once_arrive_both_ways_intact_in_order_and_once(host: str, seed: int) -> None:
    number, frames = free_port(socket.SOCK_DGRAM, "::1"), frames_mixed(seed)
    there = f"{'[::1]' if host.startswith('[') else '127.0.0.1'}:{number}"
    listener, peer = (
        UdpTransport(table(UdpTransport, listen=f"{host}:{number}")),
        UdpTransport(table(UdpTransport, remote=there)),
    )
    async with running(listener, "far") as far, running(peer, "near") as near:
        send_many(near, frames)
        await far.until(lambda port: len(port.frames) == len(frames))
        assert [frame for _, frame in far.frames] == frames
        assert len({address for address, _ in far.frames}) == 1
        send_many(far, frames, far.frames[0][0])
        await near.until(lambda port: len(port.frames) == len(frames))
        assert near.frames == [(None, frame) for frame in frames]
        assert not near.counts
        assert not far.counts


@pytest.mark.skipif(sys.platform != "linux", reason="UDP_SEGMENT is Linux's")
async def test_a_run_is_one_call_and_comes_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    number, calls = free_port(socket.SOCK_DGRAM), list[int]()

    class Counting(socket.socket):
        def sendmsg(self, buffers: Sequence[bytes], *rest: object) -> int:  # type: ignore[override]
            calls.append(len(buffers))
            return super().sendmsg(buffers, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "socket", Counting)
    listener = UdpTransport(table(UdpTransport, listen=f"0.0.0.0:{number}"))
    peer = UdpTransport(table(UdpTransport, remote=f"127.0.0.1:{number}"))
    async with running(listener, "far") as far, running(peer, "near") as near:
        send_many(near, [bytes(1200)] * 16)
        await far.until(lambda port: len(port.frames) == 16)
        assert (calls, far.batches) == ([16], [16])


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.EOPNOTSUPP])
async def test_a_kernel_that_refuses_runs_is_counted_once_and_gets_frames_singly(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    number = free_port(socket.SOCK_DGRAM)

    class Refusing(socket.socket):
        def sendmsg(self, *rest: object) -> int:  # type: ignore[override]
            raise OSError(code, "planted")

    monkeypatch.setattr(socket, "socket", Refusing)
    listener = UdpTransport(table(UdpTransport, listen=f"127.0.0.1:{number}"))
    peer = UdpTransport(table(UdpTransport, remote=f"127.0.0.1:{number}"))
    async with running(listener, "far") as far, running(peer, "near") as near:
        for _ in range(2):
            send_many(near, [bytes(1200)] * 3)
        await far.until(lambda port: len(port.frames) == 6)
        assert near.counts == {"segmentation_refused": 1}


async def test_a_datagram_of_a_stranger_too_long_is_counted() -> None:
    number = free_port(socket.SOCK_DGRAM)
    async with running(UdpTransport(table(UdpTransport, listen=f"0.0.0.0:{number}"))) as far:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.connect(("127.0.0.1", number))
            for datagram in (b"", bytes(RECEIVE_MAX_BYTES), bytes(RECEIVE_MAX_BYTES - 1)):
                peer.send(datagram)
        assert (await far.next_frame())[1] == bytes(RECEIVE_MAX_BYTES - 1)
        assert far.counts == {"empty_frame": 1, "oversize_frame": 1}
