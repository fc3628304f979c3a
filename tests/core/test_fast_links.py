"""Links of many megabits: frames of a millisecond leave in one turn, of one length, and no capacity is lost by that."""

from collections import Counter
from functools import cache
from random import Random

import pytest

from edge_agent.core.bundle import BundleHeader, Precedence
from edge_agent.core.frame import NullKeys
from edge_agent.core.limits import LinkLimits, LinkPolicy, LinkShape
from edge_agent.core.node import TOGETHER_LEAST_BPS, TOGETHER_S, Node
from edge_agent.core.report import NodeSettings
from link_sim.nodes.disk import MemoryDisk

pytestmark = pytest.mark.slow

ONE_WAY_S = 0.005
WIRE_BYTES = 1228
SPAN_S = 1.0


class End:
    """One node, driven at its own deadlines."""

    def __init__(self, node_id: str, role: str, *, rate_bps: float, is_listener: bool) -> None:
        self.disk = MemoryDisk(node_id=node_id, role=role, incarnation=len(node_id))
        self.node = Node(NodeSettings(node_id=node_id, role=role), NullKeys(), Random(1), self.disk.start(0.0), 0.0)
        limits = LinkLimits(shape=LinkShape.DATAGRAM, mtu_bytes=1200, overhead_bytes=28, rate_bps=rate_bps)
        self.node.set_link("a", 0.0, limits=limits, policy=LinkPolicy(metered=False), is_listener=is_listener)

    def settle(self, now_s: float) -> None:
        while (effect := self.node.poll_effect()) is not None:
            self.node.complete(effect.effect_id, self.disk.execute(effect), now_s)
        while self.node.poll_event() is not None:
            pass

    def take_turn(self, now_s: float) -> list[bytes]:
        wakeup_s = self.node.next_wakeup()
        if wakeup_s is not None and wakeup_s <= now_s:
            self.node.handle_timeout(now_s)
        frames = []
        while (transmit := self.node.poll_transmit(now_s)) is not None:
            frames.append(transmit.frame)
        self.settle(now_s)
        return frames


@cache
def turns_of_kit(rate_bps: float, span_s: float) -> list[list[bytes]]:
    """Frames of each turn in which the kit sent bulk, over a link of ``rate_bps``, in the second half of the span."""
    kit = End("kit-1", "kit", rate_bps=rate_bps, is_listener=False)
    command = End("command", "command", rate_bps=rate_bps, is_listener=True)
    header = BundleHeader(destination="command", flow="bulk")
    for _ in range(int(rate_bps * span_s / 8 / 65_536) + 8):
        kit.node.submit(header, Precedence.ROUTINE, bytes(65_536), 0.0)
        kit.settle(0.0)
    under_way: list[tuple[float, End, bytes]] = []
    now_s, free_s, turns = 0.0, 0.0, list[list[bytes]]()
    while now_s < span_s:
        for near, far in ((kit, command), (command, kit)):
            frames = near.take_turn(now_s)
            for frame in frames:
                free_s = max(free_s, now_s) + (len(frame) + 28) * 8 / rate_bps if near is kit else free_s
                under_way.append(((free_s if near is kit else now_s) + ONE_WAY_S, far, frame))
            if near is kit and frames and now_s > span_s / 2:
                turns.append(frames)
        wakeups_s = [end.node.next_wakeup() for end in (kit, command)]
        now_s = min([at_s for at_s, _, _ in under_way] + [at_s for at_s in wakeups_s if at_s is not None])
        for _, far, frame in [each for each in under_way if each[0] <= now_s]:
            far.node.receive("a", "kit" if far is command else None, frame, now_s)
            far.settle(now_s)
        under_way = [each for each in under_way if each[0] > now_s]
    return turns


def test_frames_of_a_millisecond_leave_together_and_no_capacity_is_lost() -> None:
    rate_bps = 2 * TOGETHER_LEAST_BPS
    turns = turns_of_kit(rate_bps, SPAN_S)
    frames = [frame for turn in turns for frame in turn]
    assert len(frames) / len(turns) >= 0.8 * rate_bps * TOGETHER_S / 8 / WIRE_BYTES
    assert sum(len(frame) + 28 for frame in frames) * 8 / (SPAN_S / 2) >= 0.97 * rate_bps


def test_frames_of_slower_links_leave_one_by_one() -> None:
    turns = turns_of_kit(TOGETHER_LEAST_BPS / 4, SPAN_S)
    assert sum(map(len, turns)) / len(turns) < 2


def test_full_frames_of_bulk_are_of_one_length() -> None:
    turns = turns_of_kit(2 * TOGETHER_LEAST_BPS, SPAN_S)
    lengths = Counter(len(frame) for turn in turns for frame in turn)
    assert lengths.most_common(1)[0][1] >= 0.75 * lengths.total()
