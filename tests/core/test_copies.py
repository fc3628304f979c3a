"""1+1: messages of a protected flow leave on two links that do not fail together, and arrive once."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from edge_agent.core import builder, liveness, node
from edge_agent.core import copies as copies_module
from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.limits import LinkLimits, LinkPolicy, LinkShape, Standby
from edge_agent.core.outgoing import EVERY_LINK, LARGE_BYTES, Outgoing
from tests.core.bench import DATAGRAM, FREE, Bench, Flight
from tests.core.sending import outgoing

LIVE = BundleHeader(destination=COMMAND, flow="live")
OTHER = BundleHeader(destination=COMMAND, flow="other")
LONG_BYTES = 150
"""A frame of more than this has a message of a test in it."""


def kit_on(links: dict[str, LinkPolicy], limits: LinkLimits = DATAGRAM) -> Bench:
    """A kit with a protected flow ``live`` whose links to command are up."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1", is_protected=lambda flow: flow == LIVE.flow)
    for link, policy in links.items():
        bench.join(link, "kit-1", "command", limits, policy=policy)
    bench.run(2)
    return bench


def carried(bench: Bench, act: Callable[[], object], span_s: float = 1.0) -> list[str]:
    """The links that messages leave on after ``act``, one for each copy."""
    began = len(bench.history)
    act()
    bench.run(span_s)
    return [each.link for each in bench.history[began:] if each.sender == "kit-1" and len(each.frame) > LONG_BYTES]


def sends(bench: Bench, header: BundleHeader = LIVE, precedence: Precedence = Precedence.IMMEDIATE) -> list[str]:
    """The links that one message of 200 bytes leaves on."""
    return carried(bench, lambda: bench.submit("kit-1", bytes(200), precedence, header))


def arrived(bench: Bench) -> list[bytes | None]:
    return [event.payload for event in bench.places["command"].delivered() if event.record.header.flow == LIVE.flow]


def test_a_protected_message_leaves_on_two_of_three_links_and_another_on_one() -> None:
    bench = kit_on({"a": FREE, "b": FREE, "c": FREE})
    assert len(set(sends(bench))) == len(sends(bench)) == 2
    assert len(sends(bench, OTHER)) == 1
    assert len(arrived(bench)) == 2, "each once"


@pytest.mark.parametrize("dead", ["a", "b"])
def test_a_silent_death_of_either_link_does_not_delay_a_protected_message(dead: str) -> None:
    bench = kit_on({"a": FREE, "b": FREE})
    bench.passes = lambda flight: flight.link != dead
    bench.submit("kit-1", b"live", Precedence.IMMEDIATE, LIVE)
    bench.run(0.011)
    assert arrived(bench) == [b"live"]


@pytest.mark.parametrize(
    ("policy", "header", "precedence", "copies"),
    [
        (FREE, LIVE, Precedence.IMMEDIATE, 3),
        (LinkPolicy(), LIVE, Precedence.IMMEDIATE, 3),
        (LinkPolicy(metered=True), LIVE, Precedence.IMMEDIATE, 2),
        (FREE, LIVE, Precedence.PRIORITY, 2),
        (FREE, OTHER, Precedence.IMMEDIATE, 1),
    ],
)
def test_for_a_minute_after_a_silence_a_third_link_carries_what_is_protected(
    policy: LinkPolicy, header: BundleHeader, precedence: Precedence, copies: int
) -> None:
    bench = kit_on({"a": FREE, "b": FREE, "c": policy})
    bench.passes = lambda flight: flight.link != "a"
    for _ in range(40):
        bench.submit("kit-1", bytes(200), Precedence.IMMEDIATE, LIVE)
        bench.run(0.02)
    bench.passes = lambda flight: True
    bench.run(3)
    assert len(set(sends(bench, header, precedence))) == copies
    bench.run(copies_module.FALTERED_S)
    assert len(set(sends(bench, header, precedence))) == min(copies, 2)


def test_copies_stay_off_links_that_fail_together() -> None:
    mast = LinkPolicy(metered=False, shares_fate="mast")
    bench = kit_on({"a": mast, "b": mast, "c": FREE})
    for precedence in (Precedence.IMMEDIATE, Precedence.FLASH):
        links = sends(bench, precedence=precedence)
        assert len(links) == 2
        assert "c" in links
    alone = kit_on({"a": mast, "b": mast})
    for precedence in (Precedence.IMMEDIATE, Precedence.FLASH):
        assert len(sends(alone, precedence=precedence)) == 1


def test_a_message_whose_only_other_link_shares_its_fate_is_moved_when_that_link_dies() -> None:
    mast = LinkPolicy(metered=False, shares_fate="mast")
    bench = kit_on({"a": mast, "b": mast})
    (carrier,) = sends(bench)
    bench.passes = lambda flight: flight.link != carrier
    bench.submit("kit-1", b"live", Precedence.IMMEDIATE, LIVE)
    bench.run(2)
    assert arrived(bench)[1:] == [b"live"]


@pytest.mark.parametrize(
    ("policy", "precedence", "copies"),
    [
        (LinkPolicy(metered=True), Precedence.IMMEDIATE, 2),
        (LinkPolicy(metered=True), Precedence.PRIORITY, 1),
        (LinkPolicy(), Precedence.IMMEDIATE, 2),
        (LinkPolicy(), Precedence.PRIORITY, 1),
        (LinkPolicy(metered=False, precedences=frozenset((Precedence.FLASH,))), Precedence.IMMEDIATE, 1),
        (LinkPolicy(metered=False, standby=Standby.WARM), Precedence.IMMEDIATE, 1),
        (LinkPolicy(metered=False, largest_bundle_bytes=100), Precedence.IMMEDIATE, 1),
        (LinkPolicy(metered=True, bytes_per_day=0), Precedence.IMMEDIATE, 1),
        (LinkPolicy(metered=True, bytes_per_day=0), Precedence.FLASH, 2),
    ],
)
def test_the_second_copy_goes_only_where_policy_and_price_allow(
    policy: LinkPolicy, precedence: Precedence, copies: int
) -> None:
    assert len(sends(kit_on({"a": FREE, "b": policy}), precedence=precedence)) == copies


@pytest.mark.parametrize("order", [("slow", "a", "b"), ("a", "slow", "b"), ("a", "b", "slow")])
def test_an_sos_leaves_on_the_two_best_links_whichever_is_asked_first(order: tuple[str, ...]) -> None:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    for link in order:
        limits = replace(DATAGRAM, rate_bps=20_000.0 if link == "slow" else 1e6)
        bench.join(link, "kit-1", "command", limits, policy=FREE)
    bench.run(2)
    for _ in range(6):  # each link has the first turn now and then
        assert {"a", "b"} <= set(sends(bench, precedence=Precedence.FLASH))


def overtaken_sos(precedence: Precedence) -> Bench:
    """The first frame of a message is lost on the only link, and a later frame arrives."""
    bench = kit_on({"a": FREE})
    bench.passes = lambda flight: flight.sender != "kit-1"
    bench.submit("kit-1", b"sos", precedence, LIVE)
    bench.passes = lambda flight: True
    bench.run(0.001)
    bench.submit("kit-1", b"later", Precedence.ROUTINE, OTHER)
    bench.run(0.034)
    return bench


def test_an_sos_that_one_later_frame_has_overtaken_is_sent_again_at_once() -> None:
    assert arrived(overtaken_sos(Precedence.FLASH)) == [b"sos"]
    assert arrived(overtaken_sos(Precedence.ROUTINE)) == [], "others wait for two frames more, or for their time"


def test_an_sos_shares_no_frame_with_what_is_not_urgent() -> None:
    bench = kit_on({"a": FREE})
    node = bench.places["kit-1"].running
    node.set_busy("a", bench.now_s, is_busy=True)
    bench.submit("kit-1", bytes(200), Precedence.FLASH, LIVE)
    bench.submit("kit-1", bytes(200), Precedence.ROUTINE, OTHER)

    def go() -> None:
        node.set_busy("a", bench.now_s, is_busy=False)

    assert len(carried(bench, go)) == 2


def test_a_narrow_link_carries_no_second_copy() -> None:
    narrow = LinkLimits(shape=LinkShape.DATAGRAM, mtu_bytes=1400, overhead_bytes=28, rate_bps=9_600.0)
    bench = kit_on({"a": FREE, "b": FREE}, narrow)
    assert len(sends(bench)) == 1


def test_what_takes_several_frames_leaves_once() -> None:
    bench = kit_on({"a": FREE, "b": FREE})
    size = LARGE_BYTES + 1
    links = carried(bench, lambda: bench.submit("kit-1", bytes(size), Precedence.IMMEDIATE, LIVE))
    assert len(links) == 2, "two pieces, each once"


def burst(bench: Bench, count: int) -> Callable[[], None]:
    """A message each 20 ms of which the first ones are in flight when a link dies."""

    def act() -> None:
        for number in range(count):
            bench.submit("kit-1", bytes([number]) * 200, Precedence.IMMEDIATE, LIVE)
            bench.run(0.02)

    return act


def dying(bench: Bench, dead: str) -> Callable[[Flight], bool]:
    cut_s = bench.now_s + 0.5
    return lambda flight: flight.link != dead or flight.t_s < cut_s


def test_what_is_on_its_way_on_two_links_is_not_sent_again_when_one_of_them_dies() -> None:
    bench = kit_on({"a": FREE, "b": FREE})
    bench.passes = dying(bench, "b")
    links = carried(bench, burst(bench, 60))
    assert len(arrived(bench)) == 60
    assert links.count("a") == 60


def test_sending_it_again_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: nobody looks for the other copy."""
    for module in (builder, liveness, node):
        monkeypatch.setattr(module, "is_also_elsewhere", lambda *_: False, raising=False)
    bench = kit_on({"a": FREE, "b": FREE})
    bench.passes = dying(bench, "b")
    links = carried(bench, burst(bench, 60))
    assert len(arrived(bench)) == 60
    assert links.count("a") > 60


def test_nothing_is_lost_when_both_links_die_one_after_the_other_and_come_back() -> None:
    bench = kit_on({"a": FREE, "b": FREE})
    began_s = bench.now_s
    off = {"a": (0.5, 4.0), "b": (0.56, 6.0)}
    bench.passes = lambda flight: not off[flight.link][0] <= flight.t_s - began_s < off[flight.link][1]
    burst(bench, 60)()
    bench.run(30)
    assert sorted(each[0] for each in arrived(bench) if each) == list(range(60))


def test_while_a_link_is_in_doubt_a_message_leaves_on_all() -> None:
    bench = kit_on({"a": FREE, "b": FREE, "c": FREE})
    (peer,) = bench.places["kit-1"].running.contacts.peers.values()
    peer.contacts[0].is_suspect = True
    assert sorted(sends(bench)) == ["a", "b", "c"]


def test_while_a_link_is_in_doubt_any_immediate_message_leaves_on_all_and_a_lower_one_on_one() -> None:
    bench = kit_on({"a": FREE, "b": FREE, "c": FREE})
    (peer,) = bench.places["kit-1"].running.contacts.peers.values()
    for precedence, links in ((Precedence.PRIORITY, 1), (Precedence.IMMEDIATE, 3)):
        peer.contacts[0].is_suspect = True
        assert len(sends(bench, OTHER, precedence)) == links


@pytest.mark.parametrize(("precedence", "links"), [(Precedence.FLASH, ["a"]), (Precedence.IMMEDIATE, [])])
def test_flash_leaves_on_a_link_in_doubt_before_the_other_one_may_send(
    precedence: Precedence, links: list[str]
) -> None:
    """What is lower leaves there as a copy only; with FLASH as one it went before it (links, seeds 1299 and 2033)."""
    bench = kit_on({"a": FREE, "b": FREE})
    (peer,) = bench.places["kit-1"].running.contacts.peers.values()
    doubted, other = peer.contacts
    doubted.is_suspect, other.pacer.next_s = True, bench.now_s + 0.01
    assert carried(bench, lambda: bench.submit("kit-1", bytes(200), precedence, OTHER), 0.005) == links
    doubted.is_suspect = True
    assert "b" in carried(bench, lambda: None), "and there besides"


def test_a_copy_that_was_lost_is_not_on_its_way() -> None:
    bundle = outgoing(0, 100, Precedence.FLASH)
    bundle.take("a", 0, 100, wants_copies=2)
    bundle.take("b", 0, 100, wants_copies=2)
    assert bundle.is_on_its_way("a", "", 0, 100)
    bundle.note_lost("a", "", 0, 100)
    assert not bundle.is_on_its_way("a", "", 0, 100)
    assert bundle.is_on_its_way("b", "", 0, 100)


def test_what_is_sent_anew_has_no_copies_of_before() -> None:
    bundle = outgoing(0, 100, Precedence.FLASH)
    for link in ("a", "b"):
        bundle.take(link, 0, 100, wants_copies=2)
    bundle.mark_acked(0, 100)
    bundle.replace_stored(((0, 100),))
    bundle.replace_stored(())  # the next node lost it
    bundle.take("a", 0, 100, wants_copies=1)
    assert not bundle.is_on_its_way("b", "", 0, 100)
    assert not bundle.has_piece_for("b"), "one copy was wanted"


def test_three_copies_by_three_links_one_of_a_group() -> None:
    bundle: Outgoing = outgoing(0, 100, Precedence.FLASH)
    bundle.take("a", 0, 100, wants_copies=EVERY_LINK, fate="mast")
    assert not bundle.has_piece_for("b", "mast")
    for link in ("c", "d"):
        assert bundle.has_piece_for(link)
        bundle.take(link, 0, 100, wants_copies=2)
        assert not bundle.has_piece_for(link)
