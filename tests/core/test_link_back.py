"""A link that its transport brings back is used at once under the keys it had, and nothing hangs on those."""

import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.contact import UNANSWERED_FRAMES, Contact
from edge_agent.core.contacts import Contacts
from edge_agent.core.effects import LinkState
from edge_agent.core.envelope import FrameClass, read_envelope
from edge_agent.core.report import NodeSettings
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World
from tests.core.bench import STREAM, Bench

READING = BundleHeader(destination=COMMAND, flow="reading")
BACKLOG = 500
SHARE_OF_RTT_S = 0.05


def back_world(rate_bps: int, rtt_s: float) -> World:
    """A kit with a backlog whose link has been away for a minute."""
    world = World(seed=5)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    world.add_node(NodeSettings(node_id="kit-1"))
    path = LinkProfile(rate_bps=rate_bps, delay_s=rtt_s / 2, queue_bytes=250_000, overhead_bytes=28)
    world.connect("link", "kit-1", COMMAND, path)
    for _ in range(50):
        world.submit("kit-1", READING, Precedence.ROUTINE, bytes(1000))
    world.run_until(30.0)
    world.unplug("link", "kit-1")
    for number in range(BACKLOG):
        world.submit("kit-1", READING, Precedence.ROUTINE, number.to_bytes(100, "big"))
    world.run_until(90.0)
    return world


def first_after_link_up_s(world: World) -> float:
    """From the word of the transport to the first backlog bundle at command."""
    before = len(world.deliveries)
    up_s = world.now_s
    world.plug("link", "kit-1")
    world.run_until(up_s + 60)
    assert len(world.deliveries) == before + BACKLOG
    world.audit()
    return world.deliveries[before].t_s - up_s


@pytest.mark.parametrize(("rate_bps", "rtt_s"), [(5_000_000, 0.06), (2_000_000, 0.6), (64_000, 0.1)])
def test_the_first_bundle_of_a_backlog_comes_within_a_round_trip(rate_bps: int, rtt_s: float) -> None:
    wire_s = 1428 * 8 / rate_bps  # the first frame is a full one
    first_s = first_after_link_up_s(back_world(rate_bps, rtt_s))
    print(f"{rate_bps} bit/s, {rtt_s} s: first bundle after {first_s:.4f} s")
    assert first_s <= rtt_s + 0.05 + max(0.0, wire_s - rtt_s / 2)


def test_a_new_session_at_each_link_up_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: the keys go with the link, and data waits for the peer's answer."""

    def starts_over(self: Contact, now_s: float, outputs: object) -> None:
        world_contacts[0].begin_session(self, now_s)

    world = back_world(2_000_000, 0.6)
    node = world._seats["kit-1"].node
    world_contacts: list[Contacts] = [node.contacts]  # type: ignore[union-attr]  # a Node, and it runs
    monkeypatch.setattr(Contact, "resume", starts_over)
    assert first_after_link_up_s(world) > 0.6 + 0.05


def pair(*, is_line: bool) -> Bench:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("line", "kit-1", "command", *((STREAM,) if is_line else ()), far_listens=not is_line)
    bench.submit("kit-1", b"before")
    bench.run(1)
    return bench


@pytest.mark.parametrize(("who", "is_line"), [("kit-1", False), ("kit-1", True), ("command", True)])
def test_no_handshake_follows_an_outage(who: str, *, is_line: bool) -> None:
    bench = pair(is_line=is_line)
    began = len(bench.history)
    bench.unplug(who, "line")
    bench.run(20)
    bench.submit("kit-1", b"behind")
    bench.plug(who, "line")
    bench.run(1)
    assert [event.payload for event in bench.places["command"].delivered()] == [b"before", b"behind"]
    assert {read_envelope(flight.frame).frame_class for flight in bench.history[began:]} == {FrameClass.DATA}
    assert all(report.state is LinkState.UP for report in bench.places[who].running.report(bench.now_s).links)


def test_a_post_whose_socket_was_away_goes_on_with_its_kits() -> None:
    """A kit that heard nothing for so long begins a session; the post's own words under the old keys do no harm."""
    bench = pair(is_line=False)
    bench.unplug("command", "line")
    bench.run(20)
    bench.submit("kit-1", b"behind")
    bench.plug("command", "line")
    bench.run(3)
    assert [event.payload for event in bench.places["command"].delivered()] == [b"before", b"behind"]


def test_a_peer_that_forgot_costs_few_frames_and_a_hint() -> None:
    bench = pair(is_line=False)
    bench.unplug("kit-1", "line")
    bench.crash("command")
    bench.run(5)
    bench.start("command")
    for number in range(200):
        bench.submit("kit-1", number.to_bytes(2, "big") * 400)
    began = len(bench.history)
    bench.plug("kit-1", "line")
    bench.run(0.02)  # one round trip
    sent = [flight for flight in bench.history[began:] if flight.sender == "kit-1"]
    assert 1 <= sum(read_envelope(flight.frame).frame_class is FrameClass.DATA for flight in sent) <= UNANSWERED_FRAMES
    bench.run(5)
    assert len(bench.places["command"].delivered()) == 201


def test_a_link_that_is_said_to_be_back_and_is_not_is_dead_again_soon() -> None:
    bench = pair(is_line=False)
    bench.unplug("kit-1", "line")
    bench.run(5)
    bench.passes = lambda flight: False
    bench.submit("kit-1", b"into the void")
    began = len(bench.history)
    bench.plug("kit-1", "line")
    bench.run(3)
    (report,) = bench.places["kit-1"].running.report(bench.now_s).links
    assert (report.state, report.reason) == (LinkState.DOWN, "no answer")
    assert len(bench.history) - began < 20
    bench.passes = lambda flight: True
    bench.run(10)
    assert [event.payload for event in bench.places["command"].delivered()] == [b"before", b"into the void"]


def test_a_new_session_ends_the_doubt_about_the_old_one() -> None:
    """What was doubted is under way no more, so no answer to it could end the doubt (explorer of links, seed 208)."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    for link in ("line", "other"):
        bench.join(link, "kit-1", "command")
    bench.submit("kit-1", b"before")
    bench.run(2)
    kit, command = (bench.places[name].running for name in ("kit-1", "command"))
    (contact,) = command.contacts.links["line"].contacts
    contact.is_suspect, before = True, contact.session
    kit.contacts.begin_session(kit.contacts.links["line"].contacts[0], bench.now_s)
    while contact.session is before:
        bench.run(0.001)
    assert contact.is_usable
    assert not contact.is_suspect, "at once: nothing else may be sent there that could be answered"
