"""Perishable bundles: never stored, at most once, not after their deadline; repaired where a re-send is too late."""

from dataclasses import dataclass, field, replace
from random import Random

import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Precedence
from edge_agent.core.effects import Restored
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.core.frame import NullKeys
from edge_agent.core.hello import OWN_FEATURES, READS_LIVE, Hello
from edge_agent.core.limits import LinkLimits, LinkPolicy, LinkShape
from edge_agent.core.live import DEADLINE_MAX_S, HELD_MAX, LIVE_BIT, LIVE_MAX_BYTES
from edge_agent.core.node import Node
from edge_agent.core.report import NodeSettings
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World

KIT = "kit-1"
VOICE_S, DEADLINE_S = 0.02, 0.15
FREE = LinkPolicy(metered=False)
CLEAN = LinkProfile(rate_bps=2_500_000, delay_s=0.05, queue_bytes=50_000, overhead_bytes=28)
FRAMES_HZ = 2_500_000 / 8 / 1452
BURSTS = replace(
    CLEAN,
    jitter_s=0.008,
    burst_enter_ratio=1 / (0.8 * FRAMES_HZ),
    burst_leave_ratio=1 / (0.06 * FRAMES_HZ),
    burst_loss_ratio=0.5,
)


@dataclass(slots=True)
class Call:
    """A world with a live flow from a kit to command, and when its bundles were made."""

    links: dict[str, LinkProfile]
    policy: LinkPolicy = FREE
    protected: bool = False
    seed: int = 1
    header: BundleHeader = BundleHeader(destination=COMMAND, flow="voice", deadline_s=DEADLINE_S)  # noqa: RUF009
    precedence: Precedence = Precedence.IMMEDIATE
    made: dict[BundleId, float] = field(default_factory=dict)
    world: World = field(init=False)

    def __post_init__(self) -> None:
        self.world = World(self.seed)
        self.world.add_node(NodeSettings(node_id=KIT, is_protected=lambda flow: self.protected))
        self.world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
        for name, profile in self.links.items():
            limits = LinkLimits(
                shape=LinkShape.DATAGRAM,
                mtu_bytes=1400,
                overhead_bytes=profile.overhead_bytes,
                rate_bps=2_500_000,
                rate_is_ceiling=True,
            )
            self.world.connect(name, KIT, COMMAND, profile, limits=limits, policy=self.policy)
        self.world.run_until(2.0)

    def speak(self, span_s: float, payload_bytes: int = 200, every_s: float = VOICE_S) -> None:
        """Make bundles for so long, and let them arrive."""
        rng = Random(3)

        def say() -> None:
            bundle = self.world.submit(KIT, self.header, self.precedence, rng.randbytes(payload_bytes))
            self.made[bundle] = self.world.now_s

        begin_s = self.world.now_s
        self.world.every(every_s, say, start_s=begin_s, until_s=begin_s + span_s)
        self.world.run_until(begin_s + span_s + 2.0)

    def delays_s(self) -> list[float]:
        """Of those that came, how long each took. Raises AssertionError for one that came twice."""
        came = [each.bundle for each in self.world.deliveries]
        assert len(came) == len(set(came)), "one was handed on twice"
        return [each.t_s - self.made[each.bundle] for each in self.world.deliveries]

    def late_ratio(self) -> float:
        """Those that did not come before their deadline, of all."""
        return 1 - sum(delay_s <= self.header.deadline_s for delay_s in self.delays_s()) / len(self.made)

    def counters(self, node: str) -> dict[str, int]:
        """What a node counted."""
        return dict(self.world.report(node).counters)


def test_a_live_bundle_is_on_no_disk_and_takes_the_way_only() -> None:
    """It arrives after the delay of the link, whole or in pieces, and no store ever hears of it."""
    call = Call({"mesh": CLEAN})
    call.speak(0.2)
    call.speak(0.2, payload_bytes=6000, every_s=0.1)
    assert len(call.delays_s()) == len(call.made) > 10
    assert max(call.delays_s()) < DEADLINE_S
    assert not any(bundle in call.world.disk(node) for bundle in call.made for node in (KIT, COMMAND))
    assert all(bundle.sequence >> LIVE_BIT for bundle in call.made)


@pytest.mark.slow
def test_a_clean_link_carries_no_repair() -> None:
    """Not one byte more than without erasure coding: no repair, and no block has a number."""
    call = Call({"mesh": CLEAN})
    call.speak(5.0)
    assert call.late_ratio() == 0.0
    session = call.world.node(KIT).contacts.contacts[0].session
    assert session.repairs._next_number == 1
    assert session.repairs._next_repair == 0
    assert "live_repaired" not in call.counters(COMMAND)


@pytest.mark.slow
def test_repairs_bring_back_what_a_re_send_would_bring_too_late() -> None:
    """Bursts of loss on a way of 50 ms: with repairs less than half of the bundles is missing in time."""
    without = Call({"mesh": BURSTS}, policy=replace(FREE, metered=True), precedence=Precedence.PRIORITY)
    covered = Call({"mesh": BURSTS}, precedence=Precedence.PRIORITY)
    for call in (without, covered):
        call.speak(40.0)
    assert "live_repaired" not in without.counters(COMMAND), "a metered link pays for no repair"
    assert covered.counters(COMMAND)["live_repaired"] > 20
    assert 0 < covered.late_ratio() < 0.5 * without.late_ratio()


@pytest.mark.slow
def test_where_a_re_send_comes_in_time_no_repair_is_sent() -> None:
    """The same losses with a second to spare: all comes, by sending again alone."""
    header = BundleHeader(destination=COMMAND, flow="voice", deadline_s=2.0)
    call = Call({"mesh": BURSTS}, header=header)
    call.speak(10.0)
    assert call.late_ratio() == 0.0
    assert "live_repaired" not in call.counters(COMMAND)


@pytest.mark.slow
def test_what_leaves_on_two_links_is_not_repaired() -> None:
    """A protected flow has its second copy on another link, and comes once."""
    call = Call({"mesh": BURSTS, "radio": replace(CLEAN, delay_s=0.06)}, protected=True)
    call.speak(10.0)
    assert call.late_ratio() == 0.0
    assert "live_repaired" not in call.counters(COMMAND)
    assert call.counters(COMMAND)["live_duplicate"] > 100


@pytest.mark.slow
def test_a_link_that_doubles_and_reorders_hands_each_on_once() -> None:
    """Twice on the wire is once at the consumer."""
    call = Call({"mesh": replace(CLEAN, duplicate_ratio=0.5, jitter_s=0.04, reorders=True)})
    call.speak(3.0)
    call.speak(1.0, payload_bytes=5000, every_s=0.05)
    assert call.late_ratio() == 0.0


def test_nothing_leaves_after_the_deadline() -> None:
    """A cut of a second: what was made in it is counted and gone, what is made after it comes at once."""
    call = Call({"mesh": CLEAN})
    call.world.cut("mesh")
    call.speak(1.0)
    call.world.mend("mesh")
    call.world.run_until(call.world.now_s + 5.0)
    assert call.delays_s() == []
    assert call.counters(KIT)["live_expired"] > 0
    call.speak(0.2)
    assert len(call.delays_s()) == 10
    assert max(call.delays_s()) < DEADLINE_S


def test_a_source_that_starts_anew_is_heard_at_once() -> None:
    """Its numbers begin beyond those of its last start: none is taken for one that came."""
    call = Call({"mesh": CLEAN})
    call.speak(0.5)
    call.world.crash(KIT)
    call.world.restart(KIT)
    call.world.run_until(call.world.now_s + 3.0)
    call.speak(0.5)
    assert len(call.delays_s()) == len(call.made)


@pytest.mark.parametrize(
    ("precedence", "deadline_s", "payload_bytes", "reason"),
    [
        (Precedence.FLASH, 1.0, 10, RefusalReason.MALFORMED),
        (Precedence.PRIORITY, DEADLINE_MAX_S + 1, 10, RefusalReason.MALFORMED),
        (Precedence.PRIORITY, 1.0, LIVE_MAX_BYTES + 1, RefusalReason.TOO_LARGE),
    ],
)
def test_what_cannot_be_live_is_refused(
    precedence: Precedence, deadline_s: float, payload_bytes: int, reason: RefusalReason
) -> None:
    """A call for help, what can wait in a store, and what is too long."""
    with pytest.raises(RefusedError) as refused:
        submit_one(lone_node(), precedence, deadline_s, payload_bytes)
    assert refused.value.reason is reason


def lone_node() -> Node:
    """A node with no link."""
    return Node(NodeSettings(node_id=KIT), NullKeys(), Random(1), Restored(incarnation=7, session_number=1), 0.0)


def submit_one(node: Node, precedence: Precedence, deadline_s: float, payload_bytes: int) -> BundleId:
    """One live bundle, now."""
    header = BundleHeader(destination=COMMAND, flow="voice", deadline_s=deadline_s)
    return node.submit(header, precedence, bytes(payload_bytes), 0.0)


def test_live_bundles_that_wait_are_bounded() -> None:
    """Beyond the bound the one that is due first goes, and is counted; all are gone after their deadline."""
    node = lone_node()
    for _ in range(HELD_MAX + 5):
        submit_one(node, Precedence.PRIORITY, 1.0, 10)
    assert node.outputs.drops["live_overflow"] == 5
    wakeup_s = node.next_wakeup()
    assert wakeup_s is not None
    node.handle_timeout(wakeup_s)
    assert node.outputs.drops["live_expired"] == HELD_MAX
    assert node.live.held_bytes == 0
    assert node.next_wakeup() is None


def test_a_peer_that_does_not_read_live_blocks_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older program would count them as malformed; its HELLO says what it reads."""
    assert OWN_FEATURES & READS_LIVE
    fields = Hello.fields

    def older(self: Hello) -> list[object]:
        return [*fields(self)[:-1], self.features & ~READS_LIVE]

    monkeypatch.setattr(Hello, "fields", older)
    call = Call({"mesh": CLEAN})
    call.speak(0.5)
    assert call.delays_s() == []
    assert "block_malformed" not in call.counters(COMMAND)
    assert call.counters(KIT)["live_expired"] == len(call.made)
