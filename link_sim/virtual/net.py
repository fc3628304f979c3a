"""Net: nodes and the links between them, in virtual time, for ordinary asyncio code.

    net = Net(seed=7)
    kit, command = net.node("kit"), net.node("command")
    sat = net.link(kit, command, "vsat", at=[(60, outage(8, hold=True)), (90, rate(64_000))])

    async def main():
        await command.start_server(serve, 8883)
        reader, writer = await kit.open_connection("command", 8883)

    net.run(main())

Every frame goes through a ``link_sim.link.line.Line`` and nothing else decides what becomes of it; equal seeds and
calls give equal ``digest()``. There is no forwarding: a node reaches those it has a link to, and itself.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from link_sim.errors import ProfileError
from link_sim.link.line import Line
from link_sim.link.link_profile import LinkProfile
from link_sim.link.media import Medium
from link_sim.link.model import Outage, spoiled
from link_sim.link.services import NS_PER_S
from link_sim.link.streams import derived_seed
from link_sim.profiles import PathProfile
from link_sim.profiles import profile as named_profile
from link_sim.virtual.changes import (
    Change,
    NumbersChange,
    OutageChange,
    RestoreChange,
    Schedule,
    Side,
    apply_numbers,
    checked,
)
from link_sim.virtual.endpoints.link_end import Datagram, LinkEnd, SerialPiece
from link_sim.virtual.endpoints.segment import Damaged, Segment, StreamSettings
from link_sim.virtual.endpoints.way import Watch, Way
from link_sim.virtual.loop import VirtualLoop, run_virtual_in
from link_sim.virtual.net_node import LOOPBACK, NetNode, here

Result = TypeVar("Result")


class NetLink:
    """A link: ``up`` leads from the node named first to the other, ``down`` back. Changes hold from now on."""

    def __init__(self, name: str, ends: tuple[LinkEnd, LinkEnd], up: Way, down: Way) -> None:
        self.name = name
        self.ends = ends
        self.up = up
        self.down = down

    def _ways(self, side: Side | str) -> tuple[Way, ...]:
        return {Side.UP: (self.up,), Side.DOWN: (self.down,), Side.BOTH: (self.up, self.down)}[Side(side)]

    def cut(self, outage: Outage = Outage.DROP, *, kills_in_flight: bool = False, side: Side | str = Side.BOTH) -> None:
        """Begin an outage."""
        for way in self._ways(side):
            way.cut(outage, kills_in_flight=kills_in_flight)

    def mend(self, *, side: Side | str = Side.BOTH) -> None:
        """End the outage."""
        for way in self._ways(side):
            way.mend()

    def restore(self, *, side: Side | str = Side.BOTH) -> None:
        """End the outage and bring back the first numbers."""
        for way in self._ways(side):
            way.restore()

    def set(self, *, side: Side | str = Side.BOTH, **numbers: Any) -> None:
        """Other numbers, by their names in LinkProfile, each of its own type. Raises ProfileError."""
        self.apply(NumbersChange(numbers=tuple(numbers.items()), side=Side(side)))

    def apply(self, change: Change) -> None:
        """Do what a schedule says; the end of an outage is the net's to schedule. Raises ProfileError."""
        if isinstance(change, OutageChange):
            self.cut(change.outage, kills_in_flight=change.kills_in_flight, side=change.side)
        elif isinstance(change, RestoreChange):
            self.restore(side=change.side)
        else:
            for way in self._ways(change.side):
                way.set(apply_numbers(way.line.profile, change))

    def counts(self) -> dict[str, dict[str, int]]:
        """Frames of each direction by the name of their fate."""
        return {"up": self.up.line.model.counts(), "down": self.down.line.model.counts()}


class Net:
    """See the module. ``seed`` None: that of the running virtual loop, or 1.

    It runs in the virtual loop in which it is made or first used, or in one of its own by ``run``.
    """

    def __init__(self, seed: int | None = None, *, streams: StreamSettings | None = None) -> None:
        loop = _running_loop()
        self.seed = seed if seed is not None else loop.seed if loop is not None else 1
        self.streams = streams or StreamSettings()
        self.links: dict[str, NetLink] = {}
        self.nodes: dict[str, NetNode] = {}
        self._ways: list[Way] = []
        self._watches: list[Watch] = []
        self._changes: list[tuple[int, Callable[[], None]]] = []
        self._loop: VirtualLoop | None = None
        if loop is not None:
            self.bind(loop)

    @property
    def loop(self) -> VirtualLoop:
        """The loop it runs in. Raises RuntimeError when there is none."""
        if self._loop is None:
            loop = _running_loop()
            if loop is None:
                raise RuntimeError("a Net runs in a virtual loop: net.run(main()), or made inside run_virtual(main())")
            self.bind(loop)
        assert self._loop is not None
        return self._loop

    def bind(self, loop: VirtualLoop) -> None:
        """Run on the clock of that loop, and answer its connections."""
        if self._loop is not None and self._loop is not loop:
            raise RuntimeError("this Net has run in another loop; make a new one, which the same seed makes the same")
        self._loop = loop
        loop.network = _Resolver()
        for way in self._ways:
            way.bind(loop)
        for at_ns, change in self._changes:
            loop.ring_at_ns(at_ns, change)
        self._changes.clear()

    def run(self, main: Coroutine[Any, Any, Result], *, runs_inline: bool = False) -> Result:
        """Run ``main`` to its end in a virtual loop of this net. Raises StuckError, and what ``main`` raises."""
        loop = VirtualLoop(seed=self.seed, runs_inline=runs_inline)
        try:
            self.bind(loop)
        except RuntimeError:
            main.close()
            loop.close()
            raise
        return run_virtual_in(loop, main)

    def node(self, name: str) -> NetNode:
        """The node of that name, a new one if need be. Raises ProfileError for a name that no address could hold."""
        found = self.nodes.get(name)
        if found is None:
            if not name or "@" in name or name in LOOPBACK:
                raise ProfileError(f"node {name!r}: allowed is a name without @ that means no address of one's own")
            found = self.nodes[name] = NetNode(name, self)
            self._join(f"{name}/loopback", found, found, LinkProfile(), LinkProfile(), None)
        return found

    def link(
        self,
        a: NetNode | str,
        b: NetNode | str,
        profile: PathProfile | LinkProfile | str = "clean",
        *,
        name: str | None = None,
        at: Schedule = (),
        medium: Medium | None = None,
    ) -> NetLink:
        """Join two nodes; up is from ``a`` to ``b``. The first link of two nodes is the one they use unless told.

        ``profile``: one by its name, both directions, or one for both. ``at`` counts from the loop's 0 s. ``medium``:
        both directions sit on it. Raises ProfileError.
        """
        path = named_profile(profile) if isinstance(profile, str) else profile
        up, down = (path, path) if isinstance(path, LinkProfile) else (path.up, path.down)
        near, far = (each if isinstance(each, NetNode) else self.node(each) for each in (a, b))
        if near is far:
            raise ProfileError(f"link {near.name} to itself: every node reaches itself already")
        name = name or self._free_name(path.name if isinstance(path, PathProfile) else f"{near.name}-{far.name}")
        if name in self.links or "@" in name:
            raise ProfileError(f"link {name!r}: allowed is a name of its own, without @")
        schedule = checked(name, at)
        for _, change in schedule:
            if isinstance(change, NumbersChange):  # told now, not in the middle of a run
                for numbers in (up, down):
                    apply_numbers(numbers, change)
        made = self.links[name] = self._join(name, near, far, up, down, medium)
        for at_s, change in schedule:
            self._plan(made, at_s, change)
        return made

    def _free_name(self, wish: str) -> str:
        name, number = wish, 1
        while name in self.links:
            number += 1
            name = f"{wish}-{number}"
        return name

    def _join(
        self, name: str, near: NetNode, far: NetNode, up: LinkProfile, down: LinkProfile, medium: Medium | None
    ) -> NetLink:
        ways = []
        for direction, numbers in (("up", up), ("down", down)):
            seed = derived_seed(self.seed, name, direction)  # as a real-time proxy of that name has it
            line: Line[Any] = Line(numbers, seed, medium=medium, spoil=_spoil)  # Any: frames of every endpoint
            ways.append(Way(name, direction, line, self._watches))
        is_first = not near.ends.get(far.name)
        near_end = LinkEnd(node=near.name, peer=far.name, link=name, out=ways[0], ports=near.ports, is_first=is_first)
        far_end = LinkEnd(node=far.name, peer=near.name, link=name, out=ways[1], ports=far.ports, is_first=is_first)
        ways[0].deliver, ways[1].deliver = far_end.receive, near_end.receive
        near.add(near_end)
        far.add(far_end)
        self._ways.extend(ways)
        if self._loop is not None:
            for way in ways:
                way.bind(self._loop)
        return NetLink(name, (near_end, far_end), ways[0], ways[1])

    def _plan(self, link: NetLink, at_s: float, change: Change) -> None:
        self._at(at_s, lambda: link.apply(change))
        if isinstance(change, OutageChange):
            self._at(at_s + change.length_s, lambda: link.mend(side=change.side))

    def _at(self, at_s: float, change: Callable[[], None]) -> None:
        at_ns = round(at_s * NS_PER_S)
        if self._loop is None:
            self._changes.append((at_ns, change))
        else:
            self._loop.ring_at_ns(at_ns, change)

    def on_event(self, watch: Watch) -> None:
        """Call ``watch`` with a LinkEvent for every frame offered and delivered and every change of a link."""
        self._watches.append(watch)

    def digest(self) -> str:
        """Hash of every verdict and change of every link so far; equal for equal seeds and calls."""
        whole = hashlib.blake2b(digest_size=16)
        for way in self._ways:
            whole.update(f"{way.link}/{way.direction}={way.line.model.digest()};".encode())
        return whole.hexdigest()


class _Resolver:
    """Answers the loop's own calls for the node that the caller runs in."""

    async def create_connection(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str | None, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        return await here().create_connection(protocol_factory, host, port)

    async def create_server(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: object, port: int, *, backlog: int
    ) -> asyncio.AbstractServer:
        return await here().create_server(protocol_factory, port)

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        local_addr: tuple[str | None, int] | None,
        remote_addr: tuple[str, int] | None,
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        local = 0 if local_addr is None else local_addr[1]
        return await here().create_datagram_endpoint(protocol_factory, local=local, remote=remote_addr)


def _running_loop() -> VirtualLoop | None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # made outside, to run later
        return None
    return loop if isinstance(loop, VirtualLoop) else None


def _spoil(frame: Any, damage: int) -> Any:
    """A frame with a bit flipped. Any: frames of every endpoint."""
    if isinstance(frame, Datagram):
        return Datagram(frame.source_port, frame.port, spoiled(frame.payload, damage))
    if isinstance(frame, SerialPiece):
        return SerialPiece(spoiled(frame.payload, damage))
    if isinstance(frame, Segment):
        return Damaged(frame.frame_bytes)
    return frame
