"""The runner hands frames of one way over together, in their order, and never more than a few."""

import asyncio
from collections.abc import Hashable, Sequence

from edge_agent.core.bundle import Precedence
from edge_agent.core.effects import Transmit
from edge_agent.core.limits import LinkLimits, LinkPolicy, LinkShape
from edge_agent.runner import FRAMES_TOGETHER, Runner

LIMITS = LinkLimits(shape=LinkShape.DATAGRAM, mtu_bytes=1200, overhead_bytes=28)


class Scripted:
    """A node that wants to send what it is told to."""

    def __init__(self) -> None:
        self.transmits: list[Transmit] = []

    def poll_transmit(self, now_s: float) -> Transmit | None:
        return self.transmits.pop(0) if self.transmits else None

    def poll_effect(self) -> None:
        return None

    def poll_event(self) -> None:
        return None

    def next_wakeup(self) -> None:
        return None

    def set_link(self, link: str, now_s: float, **rest: object) -> None:
        return None


async def calls_for(transmits: list[Transmit], *, has_many: bool = True) -> list[tuple[str, Hashable | None, int]]:
    """What the senders of links a and b were called with: (link, address, frames); 1 frame by ``send``."""
    node, calls, frames = Scripted(), list[tuple[str, Hashable | None, int]](), list[bytes]()
    runner = Runner(
        node,  # type: ignore[arg-type]  # the verbs that sending needs
        execute=lambda effects: None,
        on_event=lambda event: None,
        loop=asyncio.get_running_loop(),
    )

    def join(link: str) -> None:
        def send(to: Hashable | None, frame: bytes) -> None:
            calls.append((link, to, 1))
            frames.append(frame)

        def send_many(to: Hashable | None, several: Sequence[bytes]) -> None:
            calls.append((link, to, len(several)))
            frames.extend(several)

        many = send_many if has_many else None
        runner.link_up(link, LIMITS, LinkPolicy(), send, is_listener=False, send_many=many)

    join("a")
    join("b")
    node.transmits = list(transmits)
    runner.pump()
    assert frames == [transmit.frame for transmit in transmits]
    return calls


def told(*ways: tuple[str, Hashable | None]) -> list[Transmit]:
    return [Transmit(link, to, b"%d" % at) for at, (link, to) in enumerate(ways)]


async def test_frames_of_one_way_leave_together() -> None:
    way = ("a", None)
    assert await calls_for(told(way, way, way)) == [("a", None, 3)]
    assert await calls_for(told(way)) == [("a", None, 1)]


async def test_another_link_or_address_ends_a_run_and_order_stays() -> None:
    ways = [("a", "x"), ("a", "x"), ("b", "x"), ("a", "x"), ("a", "y"), ("a", "y")]
    assert await calls_for(told(*ways)) == [("a", "x", 2), ("b", "x", 1), ("a", "x", 1), ("a", "y", 2)]


async def test_a_run_has_an_end() -> None:
    calls = await calls_for(told(*[("a", None)] * (2 * FRAMES_TOGETHER + 1)))
    assert [count for _, _, count in calls] == [FRAMES_TOGETHER, FRAMES_TOGETHER, 1]


async def test_a_transport_without_runs_gets_each_frame() -> None:
    assert await calls_for(told(("a", None), ("a", None)), has_many=False) == [("a", None, 1)] * 2


async def test_frames_of_another_class_leave_apart_and_the_transport_is_told_before() -> None:
    node, said = Scripted(), list[object]()
    runner = Runner(
        node,  # type: ignore[arg-type]  # the verbs that sending needs
        execute=lambda effects: None,
        on_event=lambda event: None,
        loop=asyncio.get_running_loop(),
    )
    runner.link_up(
        "a",
        LIMITS,
        LinkPolicy(),
        lambda to, frame: said.append(frame),
        is_listener=False,
        send_many=lambda to, frames: said.append(list(frames)),
        mark=said.append,
    )
    routine, flash = Precedence.ROUTINE, Precedence.FLASH
    node.transmits = [Transmit("a", None, b"%d" % at, each) for at, each in enumerate((routine, routine, flash, None))]
    runner.pump()
    assert said == [routine, [b"0", b"1"], flash, b"2", None, b"3"]
