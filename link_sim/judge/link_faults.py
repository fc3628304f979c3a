"""Faults of links that fall at once: each way of a link has the numbers of all that strike it at this moment.

Silent and told outages, flaps, holds, bursts of loss, copies, damage, reordering by seconds, steps of rate, frames that
are suddenly too long, policers, acknowledgements in clumps, new addresses, classes held back, devices that warn.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from edge_agent.core.bundle import Precedence
from edge_agent.core.link_hint import LinkHint
from edge_agent.core.node import Node
from link_sim.link.model import Outage
from link_sim.nodes.door import NodeDoor
from link_sim.nodes.world import World

Numbers = Mapping[str, float | bool]
WAYS = ("up", "down")
FLAP_LEAST_S, FLAP_MOST_S = 0.2, 2.0
_SPANS_S = (0.3, 1.0, 3.0, 6.0, 12.0, 20.0)
_RATES_BPS = (9_600, 64_000, 300_000, 2_000_000)
_DEVICE = "modem"


class LinkFaultKind(Enum):
    """What goes wrong with a link."""

    DROP = "drop"
    KILL = "kill"
    HOLD = "hold"
    ONE_WAY = "one_way"
    FLAP = "flap"
    TOLD_FLAP = "told_flap"
    UNPLUG = "unplug"
    BUSY = "busy"
    LOSS = "loss"
    BURSTS = "bursts"
    DUPLICATE = "duplicate"
    CORRUPT = "corrupt"
    REORDER = "reorder"
    SLOW = "slow"
    RATE_STEPS = "rate_steps"
    SHORT_FRAMES = "short_frames"
    POLICER = "policer"
    SMALL_BUCKET = "small_bucket"
    CLUMPS = "clumps"
    NEW_ADDRESS = "new_address"
    HELD_BACK = "held_back"
    WARNED = "warned"


_K = LinkFaultKind
_TOLD = (_K.TOLD_FLAP, _K.UNPLUG, _K.BUSY, _K.NEW_ADDRESS, _K.HELD_BACK, _K.WARNED)
_NUMBERS: dict[LinkFaultKind, tuple[Numbers, ...]] = {
    _K.LOSS: ({"loss_ratio": 0.25}, {"loss_ratio": 0.6}),
    _K.BURSTS: ({"burst_enter_ratio": 0.02, "burst_leave_ratio": 0.1, "burst_loss_ratio": 0.9},),
    _K.DUPLICATE: ({"duplicate_ratio": 0.3}, {"duplicate_ratio": 1.0}),
    _K.CORRUPT: ({"corrupt_ratio": 0.2},),
    _K.REORDER: ({"reorders": True, "delay_s": 0.2, "jitter_s": 0.2}, {"reorders": True, "delay_s": 2, "jitter_s": 2}),
    _K.SLOW: ({"rate_bps": 20_000, "loss_ratio": 0.05},),
    _K.SHORT_FRAMES: ({"mtu_bytes": 1250}, {"mtu_bytes": 600}),
    _K.POLICER: tuple({"rate_bps": bps, "burst_bytes": 6000, "queue_bytes": 0} for bps in _RATES_BPS[1:]),
    _K.SMALL_BUCKET: tuple({"rate_bps": bps, "burst_bytes": 65_536, "queue_bytes": 6000} for bps in _RATES_BPS[1:]),
    _K.CLUMPS: ({"poll_s": 0.1}, {"poll_s": 0.5}),
}
_LINE_KINDS = (_K.SHORT_FRAMES, _K.POLICER, _K.SMALL_BUCKET, _K.NEW_ADDRESS)
"""What a serial line has not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A time in which a way has these numbers, or is cut."""

    start_s: float
    end_s: float
    numbers: Numbers = field(default_factory=dict)
    outage: Outage | None = None
    kills: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFault:
    """One fault of one link of a node. ``direction`` empty: both ways."""

    kind: LinkFaultKind
    node: str
    link: str
    direction: str
    parts: tuple[Part, ...]
    held_back: frozenset[Precedence] = frozenset()

    @property
    def end_s(self) -> float:
        """When all is as it was."""
        return self.parts[-1].end_s

    def __str__(self) -> str:
        where = f"{self.node}/{self.link}/{self.direction}".rstrip("/")
        numbers = " ".join(f"{name} {value:g}" for name, value in self.parts[0].numbers.items())
        return f"{self.parts[0].start_s:.3f} to {self.end_s:.3f} s: {self.kind.value} at {where} {numbers}".rstrip()


class Weather:
    """All faults of a world, and for each way those that last now."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lasting: dict[tuple[str, str, str], list[Part]] = {}
        self._held_back: dict[tuple[str, str], list[frozenset[Precedence]]] = {}

    def plan(self, fault: LinkFault) -> None:
        """Arrange every beginning and every end."""
        for part in fault.parts:
            begin, end = self._actions(fault, part)
            self._world.at(part.start_s, begin)
            self._world.at(part.end_s, end)

    def _actions(self, fault: LinkFault, part: Part) -> tuple[Callable[[], object], Callable[[], object]]:
        world, kind, node, link = self._world, fault.kind, fault.node, fault.link
        if kind in (_K.UNPLUG, _K.TOLD_FLAP):
            return lambda: world.unplug(link, node), lambda: world.plug(link, node)
        if kind is _K.BUSY:
            return lambda: world.set_busy(link, node, is_busy=True), lambda: world.set_busy(link, node, is_busy=False)
        if kind is _K.NEW_ADDRESS:
            return lambda: world.move(link, node), lambda: world.move(link, node)
        if kind is _K.HELD_BACK:
            held = fault.held_back
            return lambda: self._hold_back(node, link, held, 1), lambda: self._hold_back(node, link, held, -1)
        if kind is _K.WARNED:
            return lambda: self._hint(node, link, 0.0), lambda: self._hint(node, link, 1.0)
        return lambda: self._begin(fault, part), lambda: self._end(fault, part)

    def _begin(self, fault: LinkFault, part: Part) -> None:
        for way in (fault.direction,) if fault.direction else WAYS:
            self._lasting.setdefault((fault.node, fault.link, way), []).append(part)
            self._settle(fault.node, fault.link, way, kills=part.kills)

    def _end(self, fault: LinkFault, part: Part) -> None:
        for way in (fault.direction,) if fault.direction else WAYS:
            self._lasting[fault.node, fault.link, way].remove(part)
            self._settle(fault.node, fault.link, way, kills=False)

    def _settle(self, node: str, link: str, way: str, *, kills: bool) -> None:
        """Give a way the numbers of all that lasts, the newest above the others; a cut that drops is above a hold."""
        world, lasting = self._world, self._lasting[node, link, way]
        world.restore(link, node=node, direction=way)
        numbers: dict[str, float | bool] = {}
        for part in lasting:
            numbers |= part.numbers
        if numbers:
            world.set(link, node=node, direction=way, **numbers)
        outages = {part.outage for part in lasting}
        if Outage.DROP in outages or Outage.HOLD in outages:
            outage = Outage.DROP if Outage.DROP in outages else Outage.HOLD
            world.cut(link, node=node, direction=way, outage=outage, kills_in_flight=kills)

    def _hold_back(self, node: str, link: str, classes: frozenset[Precedence], change: int) -> None:
        """Another profile: these classes do not leave by the link, until it ends."""
        held = self._held_back.setdefault((node, link), [])
        if change > 0:
            held.append(classes)
        else:
            held.remove(classes)
        policy = self._world.policy(link, node)
        every = frozenset().union(*held)
        self._world.set_policy(link, node, replace(policy, held_back=every, held_why="profile" if every else ""))

    def _hint(self, node: str, link: str, quality: float) -> None:
        """A device says something of the link, true or not."""
        hint = LinkHint(quality=quality, is_up=quality > 0)

        def act(door: NodeDoor, now_s: float) -> bool:
            return isinstance(door, Node) and door.hint_link(link, _DEVICE, hint, now_s)

        if self._world.is_running(node):
            self._world.ask(node, act)


def draw_link_fault(rng: random.Random, node: str, link: str, latest_s: float, *, is_line: bool) -> LinkFault:
    """A fault of one link that begins after 1 s and is over by ``latest_s``."""
    kind = rng.choice([kind for kind in _K if not (is_line and kind in _LINE_KINDS)])
    start_s = rng.uniform(1.0, 0.95 * latest_s)
    end_s = min(latest_s, start_s + rng.choice(_SPANS_S))
    direction = ""
    if kind is _K.ONE_WAY or (kind not in _TOLD and rng.random() < 0.4):
        direction = rng.choice(WAYS)
    held_back = frozenset(rng.sample([each for each in Precedence if each is not Precedence.FLASH], rng.randint(1, 3)))
    return LinkFault(
        kind=kind,
        node=node,
        link=link,
        direction=direction,
        parts=tuple(_parts(rng, kind, start_s, end_s)),
        held_back=held_back if kind is _K.HELD_BACK else frozenset(),
    )


def _parts(rng: random.Random, kind: LinkFaultKind, start_s: float, end_s: float) -> list[Part]:
    if kind in (_K.FLAP, _K.TOLD_FLAP, _K.RATE_STEPS):
        return _pieces(rng, kind, start_s, max(end_s, start_s + 2 * FLAP_LEAST_S))
    if kind in _NUMBERS:
        return [Part(start_s=start_s, end_s=end_s, numbers=rng.choice(_NUMBERS[kind]))]
    outage = Outage.HOLD if kind is _K.HOLD else None if kind in _TOLD else Outage.DROP
    return [Part(start_s=start_s, end_s=end_s, outage=outage, kills=kind is _K.KILL)]


def _pieces(rng: random.Random, kind: LinkFaultKind, start_s: float, end_s: float) -> list[Part]:
    """Down and up in turns, or one rate after the other."""
    parts: list[Part] = []
    is_rate = kind is _K.RATE_STEPS
    while start_s < end_s:
        stop_s = min(end_s, start_s + rng.uniform(FLAP_LEAST_S, FLAP_MOST_S))
        numbers: Numbers = {"rate_bps": rng.choice(_RATES_BPS)} if is_rate else {}
        parts.append(Part(start_s=start_s, end_s=stop_s, numbers=numbers, outage=None if is_rate else Outage.DROP))
        start_s = stop_s if is_rate else stop_s + rng.uniform(FLAP_LEAST_S, FLAP_MOST_S)
    return parts
