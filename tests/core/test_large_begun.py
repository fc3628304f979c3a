"""Large bundles on their way: few are begun at a time and finished first, so that no receiver drops any of them."""

from collections.abc import Iterator
from itertools import count

import pytest

from edge_agent.core.arrivals import PARTIALS_MAX
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, BundleRecord, Precedence
from edge_agent.core.outgoing import LARGE_BYTES, Outgoing
from edge_agent.core.peer import LARGE_BEGUN_MAX, Peer
from edge_agent.core.report import NodeSettings
from edge_agent.core.scheduler import QUANTUM_BYTES
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World

PICTURES, PICTURE_BYTES = 200, 300_000
RATE_BPS = 20_000_000
CUT_S = (10.0, 25.0)
SOS_WAIT_S = 0.1  # 20 ms of way, a frame of 0.6 ms, a commit of 2 ms
UNTIL_S = 75.0  # 24 s of link, and the cut


def world_with(kits: int, flows: int, loss_ratio: float) -> World:
    """Kits with pictures of many flows, so that all of them have their turns, and a post."""
    world = World(5)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    profile = LinkProfile(
        rate_bps=RATE_BPS // kits, delay_s=0.02, queue_bytes=RATE_BPS // kits // 80, loss_ratio=loss_ratio
    )
    for kit in range(kits):
        world.add_node(NodeSettings(node_id=f"kit-{kit}"))
        world.connect(f"link-{kit}", f"kit-{kit}", COMMAND, profile, listener_link="door")
    for number in range(PICTURES):
        header = BundleHeader(destination=COMMAND, flow=f"picture.{number % flows}")
        world.submit(f"kit-{number % kits}", header, Precedence.ROUTINE, bytes([number % 251]) * PICTURE_BYTES)
    return world


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kits", "flows", "is_cut", "loss_ratio"),
    [(1, 1, False, 0.0), (1, 200, False, 0.0), (1, 200, True, 0.0), (1, 200, False, 0.02), (2, 200, True, 0.0)],
    ids=["one_flow", "many_flows", "cut", "loss", "two_senders_cut"],
)
def test_many_pictures_cost_their_bytes_once(kits: int, flows: int, is_cut: bool, loss_ratio: float) -> None:
    world = world_with(kits, flows, loss_ratio)
    calls: dict[BundleId, float] = {}
    joining: list[int] = []

    def call() -> None:
        header = BundleHeader(destination=COMMAND, flow="sos")
        calls[world.submit("kit-0", header, Precedence.FLASH, bytes(80))] = world.now_s

    world.every(1.7, call, start_s=1.0, until_s=UNTIL_S - 5)
    world.every(0.1, lambda: joining.append(world.node(COMMAND).arrivals.joining()), start_s=0.1, until_s=UNTIL_S)
    if is_cut:
        for kit in range(kits):
            world.at(CUT_S[0], lambda link=f"link-{kit}": world.cut(link))  # type: ignore[misc]  # its default
            world.at(CUT_S[1], lambda link=f"link-{kit}": world.restore(link))  # type: ignore[misc]  # as above
    world.run_until(UNTIL_S)
    world.audit()
    assert len(world.deliveries) == PICTURES + len(calls)
    assert "partial_dropped" not in world.node(COMMAND).outputs.drops
    spread = kits * LARGE_BEGUN_MAX + (0 if loss_ratio == 0.0 else LARGE_BEGUN_MAX)
    assert max(joining) <= spread, "those that a lost piece is missing of come on top"
    sent_bytes = sum(link.sent_bytes for kit in range(kits) for link in world.report(f"kit-{kit}").links)
    assert sent_bytes <= (1.05 + loss_ratio) * PICTURES * PICTURE_BYTES
    waits = {calls[each.bundle]: each.t_s - calls[each.bundle] for each in world.deliveries if each.bundle in calls}
    if not loss_ratio:
        out_s = (CUT_S[0] - 0.1, CUT_S[1] + 2.0) if is_cut else (0.0, 0.0)
        assert max(wait_s for at_s, wait_s in waits.items() if not out_s[0] < at_s < out_s[1]) < SOS_WAIT_S


def bundles(precedence: Precedence, payload_bytes: int) -> Iterator[Outgoing]:
    header = BundleHeader(destination=COMMAND, flow="picture")
    for number in count():
        record = BundleRecord(BundleId("kit-1", 1, precedence, number), header, payload_bytes, 0.0)
        yield Outgoing(record, header.pack(), None)


def begin(peer: Peer, precedence: Precedence, payload_bytes: int = PICTURE_BYTES) -> list[Outgoing]:
    begun: list[Outgoing] = []
    for outgoing in bundles(precedence, payload_bytes):
        if not peer.may_begin(precedence) or len(begun) == 100:
            return begun
        outgoing.pin(peer)
        outgoing.take("link", 0, 1, wants_copies=1)
        begun.append(outgoing)
    raise AssertionError("there is no end of bundles")


def test_less_urgent_ones_hold_up_nobody_above_them_and_all_together_are_fewer_than_a_peer_joins() -> None:
    """They may be begun on a link that is gone, and wait for one that takes them."""
    peer = Peer("command")
    begun = [begin(peer, each) for each in (Precedence.DEFERRED, Precedence.ROUTINE, Precedence.PRIORITY)]
    assert [len(each) for each in begun] == [LARGE_BEGUN_MAX] * 3
    assert len(peer.begun) < PARTIALS_MAX
    assert len(begin(peer, Precedence.IMMEDIATE)) == 100
    assert len(begin(peer, Precedence.ROUTINE)) == 0
    assert len(begin(Peer("other"), Precedence.ROUTINE, LARGE_BYTES)) == 100, "a short one is done in its turn"
    assert LARGE_BYTES == QUANTUM_BYTES


def test_the_next_one_begins_when_one_has_left_and_not_while_a_piece_of_it_has_to_go_again() -> None:
    peer = Peer("command")
    first, second, third, *_ = begin(peer, Precedence.ROUTINE)
    assert not peer.may_begin(Precedence.ROUTINE)
    first.take("link", 1, first.span, wants_copies=1)
    assert peer.may_begin(Precedence.ROUTINE)
    first.put_back(100, 200)
    assert not peer.may_begin(Precedence.ROUTINE)
    second.peer = None  # it starts over, to whomever
    third.is_closed = True
    assert peer.may_begin(Precedence.ROUTINE)
    assert len(begin(peer, Precedence.ROUTINE)) == 2
