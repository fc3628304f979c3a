"""Batches of datagrams: the same whatever the kernel offers, and each datagram keeps its own bounds."""

import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from link_sim.real_time.datagrams import (
    BATCH,
    BatchInbox,
    Inbox,
    Outbox,
    PlainInbox,
    kernel_drops,
    make_inbox,
    stamp_arrivals,
)

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
STAMPING_TRIES = 50  # a second in all
INBOXES = [PlainInbox, pytest.param(BatchInbox, marks=pytest.mark.skipif(sys.platform != "linux", reason="recvmmsg"))]


@pytest.fixture(params=list(LOOPBACK))
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A receiver, and a sender connected to it."""
    with (
        socket.socket(request.param, socket.SOCK_DGRAM) as receiver,
        socket.socket(request.param, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind((LOOPBACK[request.param], 0))
        receiver.setblocking(False)
        sender.bind((LOOPBACK[request.param], 0))
        sender.connect(receiver.getsockname())
        yield receiver, sender


@pytest.mark.parametrize("kind", INBOXES)
def test_a_batch_is_bounded_in_order_and_names_its_senders(
    kind: type[Inbox], pair: tuple[socket.socket, socket.socket]
) -> None:
    receiver, sender = pair
    inbox = kind()
    assert list(inbox.drain(receiver, has_names=True)) == []
    sent = [bytes([number]) * (number * 20) for number in range(BATCH + 3)]
    for frame in sent:
        sender.send(frame)
    first = inbox.drain(receiver, has_names=True)
    second = inbox.drain(receiver, has_names=False)
    assert [frame for frame, _ in (*first, *second)] == sent
    assert len(first) == BATCH
    assert len({name for _, name in first}) == 1
    assert inbox.address_of(first[0][1]) == sender.getsockname()


@pytest.mark.parametrize("kind", INBOXES)
def test_what_the_network_said_is_told_once(kind: type[Inbox]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.connect(address)
        sender.send(b"anybody?")
        inbox = kind()
        with pytest.raises(ConnectionRefusedError):
            inbox.drain(sender, has_names=False)
        assert list(inbox.drain(sender, has_names=False)) == []


@pytest.mark.parametrize("can_join", [False, True])
@pytest.mark.parametrize("is_connected", [False, True])
def test_every_datagram_of_a_batch_arrives_as_it_was(
    can_join: bool, is_connected: bool, pair: tuple[socket.socket, socket.socket]
) -> None:
    receiver, sender = pair
    sizes = [100] * 70 + [99] + [100] * 3 + [0, 0, 5] + [40_000, 40_000, 7] + [300, 301]
    frames = [bytes([number]) * size for number, size in enumerate(sizes)]
    counts: Counter[str] = Counter()
    address = None if is_connected else receiver.getsockname()
    if not is_connected:
        sender.close()
        sender = socket.socket(receiver.family, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    with sender:
        Outbox(can_join=can_join and sys.platform == "linux").send(sender, frames, address, counts)
    inbox = make_inbox()
    arrived: list[bytes] = []
    while batch := inbox.drain(receiver, has_names=False):
        arrived += [frame for frame, _ in batch]
    assert arrived == frames
    assert not counts


def test_what_does_not_leave_is_counted_one_by_one() -> None:
    counts: Counter[str] = Counter()
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.close()
    Outbox().send(closed, [b"one", b"two", b"and"], ("127.0.0.1", 9), counts)
    assert counts == {"socket_error": 3}


@pytest.mark.skipif(sys.platform != "linux", reason="SO_MEMINFO")
def test_datagrams_that_found_the_buffer_full_are_told(pair: tuple[socket.socket, socket.socket]) -> None:
    receiver, sender = pair
    assert kernel_drops(receiver) == 0
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(50):
        sender.send(bytes(1000))
    arrived = len(PlainInbox().drain(receiver, has_names=False))
    assert kernel_drops(receiver) == 50 - arrived


@pytest.mark.skipif(sys.platform != "linux", reason="SO_TIMESTAMPNS")
def test_an_arrival_is_when_the_kernel_had_it_and_not_when_it_was_read(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    receiver, sender = pair
    stamp_arrivals(receiver)
    inbox = make_inbox()
    for _ in range(STAMPING_TRIES):  # the kernel begins to stamp a moment after it was asked to
        before_ns = time.monotonic_ns()
        sender.send(b"frame")
        sent_ns = time.monotonic_ns()
        while time.monotonic_ns() < sent_ns + 20_000_000:  # a loop that is busy with other things
            pass
        assert [frame for frame, _ in inbox.drain(receiver, has_names=True)] == [b"frame"]
        if inbox.arrived_ns <= sent_ns + 10_000_000:  # half of the wait: two clocks are read
            break
    assert before_ns - 10_000_000 <= inbox.arrived_ns <= sent_ns + 10_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="SO_TIMESTAMPNS")
def test_a_pause_while_the_clocks_are_read_makes_no_arrival_earlier_than_it_was(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, sender = pair
    stamp_arrivals(receiver)
    inbox, read_clock = make_inbox(), time.time_ns

    def paused_clock() -> int:
        """The clock of day, read by somebody who lost the processor just before."""
        started_ns = time.monotonic_ns()
        while time.monotonic_ns() < started_ns + 20_000_000:
            pass
        return read_clock()

    before_ns = time.monotonic_ns()
    sender.send(b"frame")
    assert inbox.drain(receiver, has_names=True)
    monkeypatch.setattr(time, "time_ns", paused_clock)
    assert inbox.arrived_ns >= before_ns - 1_000_000  # two clocks are read here as well
