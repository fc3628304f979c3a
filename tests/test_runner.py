"""Two nodes on one loop, over real UDP sockets: the runner moves bundles between them and keeps its one timer."""

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import pytest

from edge_agent.config import LinkConfig
from edge_agent.core.bundle import BundleHeader, Precedence
from edge_agent.core.effects import BundleDelivered, Done, Effect, Event, Failed, Persist
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.core.frame import NullKeys
from edge_agent.core.limits import LinkPolicy
from edge_agent.core.node import Node
from edge_agent.core.report import NodeSettings
from edge_agent.link_port import LinkPort
from edge_agent.loop import AgentLoop
from edge_agent.runner import Runner
from link_sim.nodes.disk import MemoryDisk
from transports.udp import UdpTransport


def free_udp_port() -> int:
    """A port nobody has at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        return int(udp.getsockname()[1])


class Side:
    """One node with its runner and a disk that answers in the next turn of the loop."""

    def __init__(self, node_id: str, role: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.disk = MemoryDisk(node_id=node_id, role=role, incarnation=len(node_id))
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        settings = NodeSettings(node_id=node_id, role=role)
        node = Node(settings, NullKeys(), Random(1), self.disk.start(self.loop.time()), self.loop.time())
        self.runner = Runner(node, execute=self._execute, on_event=self.events.put_nowait, loop=self.loop)
        self.refuses = False

    def _execute(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            outcome = self.disk.execute(effect)
            if self.refuses and isinstance(effect, Persist):
                outcome = Failed(RefusalReason.STORE_FULL, "planted")
            assert self.refuses or not isinstance(effect, Persist) or isinstance(outcome, Done)
            self.loop.call_soon(self.runner.complete, [(effect.effect_id, outcome)], 1 << 40)


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Side, Side]]:
    port = free_udp_port()
    async with AsyncExitStack() as stack:
        kit, command = Side("kit-1", "kit"), Side("command", "command")
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = []
        for side, key in ((command, "listen"), (kit, "remote")):
            table = {name: setting.default for name, setting in UdpTransport.SETTINGS.items()}
            table[key] = f"127.0.0.1:{port}"
            config = LinkConfig(
                name="loop",
                transport="udp",
                table=table,
                rate_bps=None,
                policy=LinkPolicy(metered=False),
                is_listener=key == "listen",
            )
            tasks.append(group.create_task(UdpTransport(table).run(LinkPort(config, side.runner, side.loop))))
        yield kit, command
        for task in tasks:
            task.cancel()
        kit.runner.close()
        command.runner.close()


async def next_delivery(side: Side) -> BundleDelivered:
    while True:
        event = await side.events.get()
        if isinstance(event, BundleDelivered):
            return event


def on_agent_loop(scenario: Callable[[], object]) -> None:
    with asyncio.Runner(loop_factory=AgentLoop) as runner:
        runner.run(scenario())  # type: ignore[arg-type]  # a coroutine, as the tests below hand in


@pytest.mark.slow
def test_bundles_of_every_precedence_cross_and_are_accepted_first() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(20), pair() as (kit, command):
            sent = {}
            for precedence in Precedence:
                header = BundleHeader(destination="command", flow="text")
                payload = precedence.name.encode() * 1000
                sent[await kit.runner.submit(header, precedence, payload)] = payload
            got = {}
            while len(got) < len(sent):
                delivered = await next_delivery(command)
                got[delivered.record.id] = delivered.payload
            assert got == sent

    on_agent_loop(scenario)


@pytest.mark.slow
def test_a_flood_leaves_the_loop_its_turns() -> None:
    """While 2 MB of small bundles cross, the loop's thread never works for 0.1 s before others get their turn."""

    async def scenario() -> None:
        async with asyncio.timeout(30), pair() as (kit, command):
            header = BundleHeader(destination="command", flow="text")
            longest_s, turns = 0.0, 0

            async def watch() -> None:
                nonlocal longest_s, turns
                while True:
                    began_s = time.thread_time()  # what the thread worked, however busy the machine is
                    await asyncio.sleep(0)
                    longest_s, turns = max(longest_s, time.thread_time() - began_s), turns + 1

            gc.collect()
            gc.freeze()  # what other tests left in this process is no part of the agent's own collections
            watching = asyncio.create_task(watch(), name="watch")

            async def produce() -> None:
                for _ in range(250):
                    await kit.runner.submit(header, Precedence.ROUTINE, bytes(1000))

            await asyncio.gather(*(produce() for _ in range(8)))
            for _ in range(2000):
                await next_delivery(command)
            watching.cancel()
            gc.unfreeze()
            assert longest_s < 0.1
            assert turns > 100

    on_agent_loop(scenario)


def test_a_refused_bundle_raises_the_reason_of_the_store() -> None:
    async def scenario() -> None:
        kit = Side("kit-1", "kit")
        kit.refuses = True
        with pytest.raises(RefusedError, match="store_full: planted"):
            await kit.runner.submit(BundleHeader(destination="command", flow="text"), Precedence.ROUTINE, b"x")
        kit.runner.close()

    on_agent_loop(scenario)


def test_timers_of_the_loop_fire_within_a_millisecond_of_their_time() -> None:
    """The best of 20 timers of 2.5 ms is less late than epoll's whole milliseconds would allow."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        late_s = []
        for _ in range(20):
            done = loop.create_future()
            asked_s = loop.time() + 0.0025
            loop.call_at(asked_s, done.set_result, None)
            await done
            late_s.append(loop.time() - asked_s)
        assert min(late_s) >= 0  # never early: a paced frame must not leave before its time
        assert min(late_s) < 0.0005

    on_agent_loop(scenario)
