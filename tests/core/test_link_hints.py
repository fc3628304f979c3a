"""What devices say of a link from outside: urgent data is careful, and a link is asked sooner; traffic decides."""

import math
import random
from itertools import pairwise

import pytest

from edge_agent.core import hint_intake, link_hint
from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.contact import WARNED_S, Contact
from edge_agent.core.effects import LinkChanged, LinkState
from edge_agent.core.limits import LinkLimits, LinkPolicy, LinkShape
from edge_agent.core.link_hint import SOURCES_MAX, LinkHint
from edge_agent.core.pacing import START_RATE_BPS
from edge_agent.core.report import HintReport, NodeSettings
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World
from tests.core.bench import DATAGRAM, FREE, Bench

POOR, GOOD = LinkHint(quality=0.1), LinkHint(quality=0.9)
GONE = LinkHint(is_up=False)
MESSAGE = BundleHeader(destination=COMMAND, flow="other")
LONG_BYTES = 150
"""A frame of more than this has a message of a test in it."""
METERED = LinkPolicy(metered=True)
UNKNOWN_RATE = LinkLimits(shape=LinkShape.DATAGRAM, mtu_bytes=1400, overhead_bytes=28)


def kit_on(*links: str, policy: LinkPolicy = FREE, limits: LinkLimits = DATAGRAM) -> Bench:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    for link in links:
        bench.join(link, "kit-1", "command", limits, policy=policy)
    bench.run(2)
    return bench


def hint(bench: Bench, link: str, told: LinkHint, source: str = "modem") -> bool:
    place = bench.places["kit-1"]
    is_taken = place.running.hint_link(link, source, told, bench.now_s)
    bench.pump(place)
    return is_taken


def carriers(bench: Bench, precedence: Precedence = Precedence.IMMEDIATE) -> list[str]:
    """The links that one message of 200 bytes leaves on."""
    began = len(bench.history)
    bench.submit("kit-1", bytes(200), precedence, MESSAGE)
    bench.run(1.0)
    return [each.link for each in bench.history[began:] if each.sender == "kit-1" and len(each.frame) > LONG_BYTES]


def sent_frames(bench: Bench, span_s: float) -> int:
    began = len(bench.history)
    bench.run(span_s)
    return sum(each.sender == "kit-1" for each in bench.history[began:])


def state(bench: Bench, link: str) -> LinkState:
    return next(each.state for each in bench.places["kit-1"].running.report(bench.now_s).links if each.link == link)


def shown(bench: Bench, link: str) -> tuple[HintReport, ...]:
    return next(each.hints for each in bench.places["kit-1"].running.report(bench.now_s).links if each.link == link)


def test_a_message_leaves_by_the_link_that_nothing_warns_of() -> None:
    bench = kit_on("a", "b")
    (usual,) = carriers(bench)
    other = "b" if usual == "a" else "a"
    assert hint(bench, usual, POOR)
    bench.run(0.5)  # the question of the warning is answered
    assert carriers(bench, Precedence.ROUTINE) == [other]
    assert hint(bench, usual, GOOD)
    assert hint(bench, other, POOR)
    bench.run(0.5)
    assert carriers(bench, Precedence.ROUTINE) == [usual]


@pytest.mark.parametrize(
    ("precedence", "copies"), [(Precedence.IMMEDIATE, 2), (Precedence.PRIORITY, 1), (Precedence.ROUTINE, 1)]
)
def test_an_urgent_message_for_which_the_other_link_is_too_slow_leaves_on_both(
    precedence: Precedence, copies: int
) -> None:
    bench = kit_on("a", "b")
    hint(bench, "a", POOR)
    bench.run(0.5)
    for link, rtt_s in (("a", 0.02), ("b", 0.04 + 2 * WARNED_S + 0.02)):
        (contact,) = bench.places["kit-1"].running.contacts.links[link].contacts
        contact.rtt.min_s = rtt_s
    links = carriers(bench, precedence)
    assert links == ["a", "b"][:copies]


def test_an_sos_that_leaves_on_a_link_warned_of_leaves_on_two_others_besides() -> None:
    bench = kit_on("a", "b", "c")
    first = carriers(bench, Precedence.FLASH)
    assert len(first) == 2
    for link in first:
        hint(bench, link, GONE)
    bench.run(0.5)
    assert {"a", "b", "c"} - set(first) <= set(carriers(bench, Precedence.FLASH))


@pytest.mark.parametrize("what", [POOR, GONE])
def test_a_hint_convicts_no_link_that_works(what: LinkHint) -> None:
    bench = kit_on("a", "b")
    for _ in range(60):
        hint(bench, "a", what)
        bench.run(2.0)
        assert state(bench, "a") is LinkState.UP
    hint(bench, "b", what)
    assert len(carriers(bench)) >= 1


def convicted_after_s(bench: Bench, link: str, most_s: float) -> float:
    began_s = bench.now_s
    while state(bench, link) is not LinkState.DOWN and bench.now_s - began_s < most_s:
        bench.run(0.1)
    return bench.now_s - began_s


def test_an_idle_link_that_died_is_found_out_when_the_modem_says_that_its_signal_is_gone() -> None:
    after_s = []
    for is_told in (True, False):
        bench = kit_on("a", "b")
        bench.passes = lambda flight: flight.link != "a"
        if is_told:
            hint(bench, "a", GONE)
        after_s.append(convicted_after_s(bench, "a", 60.0))
    assert after_s[0] <= 2.0
    assert after_s[1] > 20.0, "the planted fault: nobody says so"


def test_an_idle_link_is_asked_as_soon_as_the_modem_says_that_it_is_back() -> None:
    after_s = []
    for is_told in (True, False):
        bench = kit_on("a", "b", policy=METERED)
        bench.passes = lambda flight: flight.link != "a"
        hint(bench, "a", GONE)
        bench.run(600.0)
        assert state(bench, "a") is LinkState.DOWN
        bench.passes = lambda flight: True
        began_s = bench.now_s
        if is_told:
            hint(bench, "a", LinkHint(quality=0.9, is_up=True))
        while state(bench, "a") is not LinkState.UP and bench.now_s - began_s < 300:
            bench.run(0.1)
        after_s.append(bench.now_s - began_s)
    assert after_s[0] <= 0.5
    assert after_s[1] > 10.0, "the planted fault: nobody says so"


@pytest.mark.slow
def test_a_signal_that_comes_and_goes_costs_an_idle_metered_link_little() -> None:
    bench = kit_on("a", "b", policy=METERED)
    usual = sent_frames(bench, 600.0)
    began = len(bench.history)
    for number in range(6_000):
        hint(bench, "a", GONE if number % 2 else GOOD)
        bench.run(0.1)
    flapping = sum(each.sender == "kit-1" for each in bench.history[began:])
    assert flapping - usual <= 2 * 600 / 60 + 2, f"{flapping} frames in ten minutes, {usual} without hints"


@pytest.mark.slow
def test_a_flapping_signal_without_a_bound_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above."""
    monkeypatch.setattr(hint_intake, "ASKED_EVERY_S", 0.0)
    monkeypatch.setattr(hint_intake, "ASKED_SHARE", 0.0)
    with pytest.raises(AssertionError, match="in ten minutes"):
        test_a_signal_that_comes_and_goes_costs_an_idle_metered_link_little()


def test_a_link_that_is_never_asked_is_not_asked_for_a_hint_either() -> None:
    bench = kit_on("a", "b", policy=LinkPolicy(metered=True, keepalive_s=0.0))
    bench.run(60.0)
    began = len(bench.history)
    for number in range(60):
        hint(bench, "a", GONE if number % 2 else GOOD)
        bench.run(10.0)
    assert len(bench.history) == began


def test_an_old_hint_warns_of_nothing_and_is_not_shown() -> None:
    bench = kit_on("a", "b")
    (usual,) = carriers(bench)
    hint(bench, usual, LinkHint(quality=0.1, good_for_s=5.0))
    (report,) = shown(bench, usual)
    assert (report.source, report.warns, report.hint.quality) == ("modem", True, 0.1)
    bench.run(5.1)
    assert not shown(bench, usual)
    assert bench.now_s >= bench.places["kit-1"].running.contacts.links[usual].warned_until_s


def test_traffic_that_arrives_all_the_same_ends_a_warning() -> None:
    bench = kit_on("a")
    for second in range(40):
        hint(bench, "a", POOR)
        assert shown(bench, "a")[0].warns is (second < link_hint.CONTRADICTED_S), f"after {second} s"
        carriers(bench)
    hint(bench, "a", GOOD)
    hint(bench, "a", POOR)
    assert shown(bench, "a")[0].warns, "it is another warning"


def test_a_warning_without_traffic_stays() -> None:
    bench = kit_on("a", "b")
    for _ in range(60):
        hint(bench, "a", POOR)
        bench.run(2.0)
    assert shown(bench, "a")[0].warns


def test_a_signal_at_the_border_does_not_flap() -> None:
    bench = kit_on("a", "b")
    warned = []
    for quality in (0.3, 0.2, 0.3, 0.39, 0.41, 0.3):
        hint(bench, "a", LinkHint(quality=quality))
        warned.append(shown(bench, "a")[0].warns)
    assert warned == [False, True, True, True, False, False]


def test_the_worst_of_two_devices_counts_until_it_is_old() -> None:
    bench = kit_on("a", "b")
    hint(bench, "a", LinkHint(quality=0.1, rate_bps=20_000, good_for_s=5.0), "neighbour")
    hint(bench, "a", LinkHint(quality=0.9, rate_bps=1e6), "modem")
    link = bench.places["kit-1"].running.contacts.links["a"]
    assert bench.now_s < link.warned_until_s
    assert link.hints.rate_bps(bench.now_s) == 20_000
    bench.run(6.0)
    assert bench.now_s >= link.warned_until_s
    assert link.hints.rate_bps(bench.now_s) == 1e6


@pytest.mark.parametrize(
    "bad",
    [
        LinkHint(),
        LinkHint(note="LTE"),
        LinkHint(quality=math.nan),
        LinkHint(quality=1.01),
        LinkHint(quality=-0.1),
        LinkHint(rate_bps=0.0),
        LinkHint(rate_bps=math.inf),
        LinkHint(signal_dbm=-300.0),
        LinkHint(snr_db=500.0),
        LinkHint(quality=0.5, good_for_s=0.0),
        LinkHint(quality=0.5, good_for_s=math.inf),
        LinkHint(quality=0.5, note="x" * 41),
    ],
)
def test_a_hint_that_cannot_be_is_counted_and_changes_nothing(bad: LinkHint) -> None:
    bench = kit_on("a", "b")
    assert not hint(bench, "a", bad)
    assert not hint(bench, "nowhere", POOR)
    assert not shown(bench, "a")
    assert bench.places["kit-1"].drops()["link_hint_refused"] == 2


def test_more_devices_than_may_speak_of_a_link_are_refused() -> None:
    bench = kit_on("a", "b")
    assert all(hint(bench, "a", GOOD, f"device-{number}") for number in range(SOURCES_MAX))
    assert not hint(bench, "a", POOR, "one more")
    bench.run(GOOD.good_for_s + 0.1)
    assert hint(bench, "a", POOR, "one more"), "the others have said nothing for long"


def controller_rate_bps(bench: Bench) -> float:
    (contact,) = bench.places["kit-1"].running.contacts.links["a"].contacts
    return contact.controller.rate_bps


def test_a_link_nobody_measured_starts_no_faster_than_its_modem_says() -> None:
    bench = kit_on("a", limits=UNKNOWN_RATE)
    assert controller_rate_bps(bench) == START_RATE_BPS
    hint(bench, "a", LinkHint(rate_bps=20_000))
    assert controller_rate_bps(bench) == 20_000
    hint(bench, "a", LinkHint(rate_bps=1e9))
    assert controller_rate_bps(bench) == START_RATE_BPS
    described = kit_on("a")
    hint(described, "a", LinkHint(rate_bps=20_000))
    assert controller_rate_bps(described) == DATAGRAM.rate_bps, "what a person wrote holds"


def test_a_link_comes_back_no_faster_than_its_modem_says() -> None:
    bench = kit_on("a", limits=UNKNOWN_RATE)
    (contact,) = bench.places["kit-1"].running.contacts.links["a"].contacts
    contact.controller.capacity_bps = contact.controller.rate_bps = 1e6
    contact.resume_rate(bench.now_s)
    assert contact.controller.rate_bps == 1e6
    hint(bench, "a", LinkHint(rate_bps=20_000))
    assert contact.controller.rate_bps == 1e6, "what was measured holds while the link works"
    contact.resume_rate(bench.now_s)
    assert contact.controller.rate_bps == 20_000
    bench.run(31.0)
    contact.resume_rate(bench.now_s)
    assert contact.controller.rate_bps == 1e6, "the hint is old"


def test_a_warning_counts_as_a_quarter_of_a_second_at_most() -> None:
    bench = kit_on("a", "b")
    (contact,) = bench.places["kit-1"].running.contacts.links["a"].contacts

    def eta_s(each: Contact) -> float:
        return each.eta_s(bench.now_s, 1000) - bench.now_s

    usual_s = eta_s(contact)
    for _ in range(5):
        hint(bench, "a", GONE)
    assert eta_s(contact) == pytest.approx(usual_s + WARNED_S)


LIVE = BundleHeader(destination=COMMAND, flow="live")
CUT_S = 6.0
SHORT = LinkProfile(rate_bps=5_000_000, delay_s=0.02, queue_bytes=62_500, overhead_bytes=28)
LONG = LinkProfile(rate_bps=2_000_000, delay_s=0.1, queue_bytes=62_500, overhead_bytes=28)


def longest_gap_s(precedence: Precedence, *, warned_s: float | None) -> float:
    """Between two messages of 50 a second at command, when the short link dies without a word; its modem warns of it
    ``warned_s`` before, or never."""
    world = World(seed=1)
    world.add_node(NodeSettings(node_id=COMMAND, role=COMMAND))
    world.add_node(NodeSettings(node_id="kit-1"))
    world.connect("short", "kit-1", COMMAND, SHORT)
    world.connect("long", "kit-1", COMMAND, LONG)
    world.every(0.02, lambda: world.submit("kit-1", LIVE, precedence, bytes(200)), start_s=3.0, until_s=9.0)
    if warned_s is not None:
        world.run_until(CUT_S - warned_s)
        node = world._seats["kit-1"].node
        assert node is not None
        node.hint_link("short", "modem", POOR, world.now_s)  # type: ignore[attr-defined]  # a Node
    world.run_until(CUT_S)
    world.cut("short")
    world.run_until(12.0)
    world.audit()
    times_s = sorted(each.t_s for each in world.deliveries)
    assert len(times_s) == 300
    return max(later_s - sooner_s for sooner_s, later_s in pairwise(times_s))


@pytest.mark.slow
@pytest.mark.parametrize(("precedence", "unwarned_s"), [(Precedence.IMMEDIATE, 0.13), (Precedence.PRIORITY, 0.25)])
@pytest.mark.parametrize("warned_s", [1.0, 0.0])
def test_a_link_that_dies_as_its_modem_said_leaves_no_gap_but_the_longer_way(
    precedence: Precedence, unwarned_s: float, warned_s: float
) -> None:
    """80 ms longer, and the 20 ms between two messages."""
    gap_s = longest_gap_s(precedence, warned_s=warned_s)
    print(f"{precedence.name}: {1000 * gap_s:.0f} ms")
    assert gap_s <= LONG.delay_s - SHORT.delay_s + 0.02 + 0.005
    assert longest_gap_s(precedence, warned_s=None) > unwarned_s, "the planted fault: nobody says so"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_whatever_devices_say_all_arrives_once_and_no_link_is_given_up(seed: int) -> None:
    rng = random.Random(seed)
    bench = kit_on("a", "b", "c")
    for number in range(120):
        for _ in range(rng.randrange(3)):
            quality = rng.choice((None, 0.0, 0.2, 0.3, 0.5, 1.0))
            what = LinkHint(
                quality=quality, is_up=rng.choice((None, True, False)), rate_bps=rng.choice((None, 300, 1e9))
            )
            hint(bench, rng.choice("abc"), what, rng.choice(("modem", "mesh")))
        bench.submit("kit-1", number.to_bytes(2, "big") * rng.choice((1, 500)), rng.choice(list(Precedence)), MESSAGE)
        bench.run(rng.choice((0.01, 0.3, 1.0)))
    bench.run(20.0)
    arrived = [event.payload[:2] for event in bench.places["command"].delivered() if event.payload]
    assert sorted(arrived) == sorted(number.to_bytes(2, "big") for number in range(120))
    changes = [event for event in bench.places["kit-1"].events if isinstance(event, LinkChanged)]
    assert all(change.state is not LinkState.DOWN for change in changes)
