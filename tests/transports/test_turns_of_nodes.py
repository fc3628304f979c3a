"""Two nodes on one half-duplex line in virtual time: FLASH waits for the peer's turn and two frames, for no queue."""

import random
from dataclasses import dataclass, field

import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Origin, Precedence
from edge_agent.core.effects import BundleDelivered
from edge_agent.core.frame import NullKeys
from edge_agent.core.limits import LinkLimits, LinkPolicy, LinkShape
from edge_agent.core.node import Node
from edge_agent.core.report import NodeSettings
from link_sim.nodes.disk import MemoryDisk
from transports.serial_radio.turns import TURN_S, Line, TurnKeeper, TurnWrite

LINE = Line(byte_s=1 / 960, overhead_bytes=9, mtu_bytes=230, turnaround_s=0.05)
FRAME_S = LINE.wire_s(bytes(LINE.mtu_bytes))
STEP_S = 0.001
LIMITS = LinkLimits(
    shape=LinkShape.STREAM,
    mtu_bytes=LINE.mtu_bytes,
    overhead_bytes=LINE.overhead_bytes,
    rate_bps=7680.0,
    rate_is_ceiling=True,
    half_duplex=True,
    turnaround_s=LINE.turnaround_s,
)


@dataclass(slots=True)
class Side:
    """One node with its disk, and the keeper of its turns, as the transport would join them."""

    node_id: str
    role: str
    disk: MemoryDisk = field(init=False)
    node: Node = field(init=False)
    keeper: TurnKeeper = field(init=False)
    delivered: list[tuple[float, BundleId, int]] = field(default_factory=list)
    refused_frames: int = 0

    def __post_init__(self) -> None:
        self.disk = MemoryDisk(node_id=self.node_id, role=self.role, incarnation=len(self.node_id))
        settings = NodeSettings(node_id=self.node_id, role=self.role)
        rng = random.Random(self.node_id)
        self.node = Node(settings, NullKeys(), rng, self.disk.start(0.0), 0.0)
        self.keeper = TurnKeeper(LINE, rng)
        self.node.set_link(
            "radio", 0.0, limits=LIMITS, policy=LinkPolicy(metered=False), is_listener=self.role == COMMAND
        )

    def pump(self, now_s: float) -> None:
        """All that the node wants; it is busy whenever the keeper wants no frame."""
        wakeup_s = self.node.next_wakeup()
        if wakeup_s is not None and wakeup_s <= now_s:
            self.node.handle_timeout(now_s)
        self.node.set_busy("radio", now_s, is_busy=not self.keeper.wants_frame)
        while (transmit := self.node.poll_transmit(now_s)) is not None:
            self.refused_frames += not self.keeper.offer(transmit.frame)
            self.node.set_busy("radio", now_s, is_busy=not self.keeper.wants_frame)
        while (effect := self.node.poll_effect()) is not None:
            self.node.complete(effect.effect_id, self.disk.execute(effect), now_s)
        while (event := self.node.poll_event()) is not None:
            if isinstance(event, BundleDelivered):
                self.delivered.append((now_s, event.record.id, event.record.payload_bytes))


@dataclass(slots=True)
class Radio:
    """The air between two sides, in steps of a millisecond. What overlaps is lost for both."""

    sides: tuple[Side, Side] = field(default_factory=lambda: (Side("kit-1", "kit"), Side("command-1", COMMAND)))
    now_s: float = 0.0
    air: list[tuple[float, int, TurnWrite]] = field(default_factory=list)
    collisions: int = 0

    def run(self, span_s: float) -> None:
        for _ in range(round(span_s / STEP_S)):
            self.now_s += STEP_S
            for side in (0, 1):
                self._step(side)

    def _step(self, at: int) -> None:
        side = self.sides[at]
        for flight in [each for each in self.air if each[1] != at]:
            end_s, _, write = flight
            side.keeper.hear(self.now_s)
            if end_s <= self.now_s:
                self.air.remove(flight)
                side.keeper.receive(is_last=write.is_last, is_empty=not write.frame, now_s=self.now_s)
                if write.frame:
                    side.node.receive("radio", None, write.frame, self.now_s)
        side.pump(self.now_s)
        while (write := side.keeper.poll(self.now_s)) is not None:
            if any(each[1] != at for each in self.air):
                self.collisions += 1
                self.air.clear()
            else:
                self.air.append((self.now_s + LINE.wire_s(write.frame), at, write))
            side.pump(self.now_s)

    def submit(self, at: int, destination: str, precedence: Precedence, payload_bytes: int) -> BundleId:
        header = BundleHeader(destination=destination, flow="text", origin=Origin.PERSON)
        return self.sides[at].node.submit(header, precedence, bytes(payload_bytes), self.now_s)


@pytest.mark.parametrize("offset_s", [0.0, 0.37, 0.81, 1.26, 1.63])
def test_flash_between_bulk_both_ways_waits_one_turn_and_two_frames(offset_s: float) -> None:
    radio = Radio()
    radio.run(5.0)
    radio.submit(0, COMMAND, Precedence.ROUTINE, 60_000)
    radio.submit(1, "kit-1", Precedence.ROUTINE, 60_000)
    radio.run(20.0 + offset_s)
    raised_s = radio.now_s
    sos = radio.submit(0, COMMAND, Precedence.FLASH, 60)
    radio.run(5.0)
    arrived_s = next(t_s for t_s, bundle, _ in radio.sides[1].delivered if bundle == sos)
    assert arrived_s - raised_s <= TURN_S + 2 * LINE.turnaround_s + 3 * FRAME_S
    assert not any(side.refused_frames for side in radio.sides), "a node offers nothing to a busy line"


def test_bulk_both_ways_uses_most_of_the_line() -> None:
    radio = Radio()
    radio.run(5.0)
    began_s = radio.now_s
    for number in range(12):
        radio.submit(number % 2, COMMAND if number % 2 == 0 else "kit-1", Precedence.ROUTINE, 5_000)
    while radio.now_s < began_s + 200.0 and sum(len(side.delivered) for side in radio.sides) < 12:
        radio.run(1.0)
    carried_bytes = sum(size for side in radio.sides for _, _, size in side.delivered)
    assert carried_bytes == 60_000
    assert carried_bytes / (radio.now_s - began_s) >= 0.6 * 960
    assert radio.collisions <= 2


def test_an_idle_line_is_left_alone_and_a_stuck_one_is_given_up() -> None:
    radio = Radio()
    radio.run(120.0)
    kit = radio.sides[0].node
    sent_bytes = kit.report(radio.now_s).links[0].sent_bytes
    assert sent_bytes < 120 * 0.02 * 960, "keep-alives take below 2 % of the line"
    kit.set_busy("radio", radio.now_s, is_busy=True)
    waking_s = kit.next_wakeup()
    assert waking_s is None or waking_s > radio.now_s + 0.1, "a busy line is not asked again and again"
