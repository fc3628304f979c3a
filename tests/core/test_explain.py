"""Why a bundle waits: link by link, with its place and the time it should take."""

from dataclasses import replace

import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, Origin, Precedence
from edge_agent.core.limits import LinkPolicy
from edge_agent.core.report import Explanation, Obstacle
from tests.core.bench import FREE, STREAM, Bench

RATE_BPS = 8_000.0
SLOW = replace(STREAM, rate_bps=RATE_BPS, rate_is_ceiling=True, mtu_bytes=256)
TEXT = BundleHeader(destination=COMMAND, flow="text")


def pair(policy: LinkPolicy = FREE, **settings: int) -> Bench:
    bench = Bench()
    bench.add("command", role="command", **settings)
    bench.add("kit-1")
    bench.join("radio", "kit-1", "command", SLOW, policy=policy)
    bench.run(1)
    return bench


def why(bench: Bench, payload: bytes = b"x", precedence: Precedence = Precedence.ROUTINE) -> Explanation:
    """A new bundle's explanation."""
    kit = bench.places["kit-1"]
    bundle = bench.submit("kit-1", payload, precedence, TEXT)
    explanation = kit.running.explain(bundle, bench.now_s)
    assert explanation is not None
    return explanation


def obstacle(explanation: Explanation) -> Obstacle:
    (link,) = explanation.links
    assert link.link == "radio"
    return link.obstacle


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (LinkPolicy(), Obstacle.UNDESCRIBED),
        (LinkPolicy(metered=False, precedences=frozenset((Precedence.FLASH,))), Obstacle.NOT_ALLOWED),
        (LinkPolicy(metered=True, bytes_per_day=1), Obstacle.BUDGET),
    ],
)
def test_what_the_policy_of_a_link_forbids_is_said(policy: LinkPolicy, expected: Obstacle) -> None:
    bench = pair(policy)
    explanation = why(bench)
    assert obstacle(explanation) is expected
    if expected is Obstacle.BUDGET:
        assert explanation.links[0].wait_s == pytest.approx(86_400, abs=2)
    else:
        assert explanation.expected_s is None


def test_a_link_that_is_gone_or_busy_is_said() -> None:
    bench = pair()
    kit = bench.places["kit-1"]
    kit.running.set_busy("radio", bench.now_s, is_busy=True)
    assert obstacle(why(bench)) is Obstacle.BUSY
    kit.running.set_link("radio", bench.now_s, limits=None, policy=FREE, reason="unplugged")
    explanation = why(bench)
    assert (obstacle(explanation), explanation.expected_s) == (Obstacle.DOWN, None)


def test_a_refusal_is_said_with_its_end() -> None:
    bench = pair()
    bench.places["command"].running.set_free_bytes(0)
    bundle = bench.submit("kit-1", bytes(100_000), Precedence.ROUTINE, TEXT)
    bench.run(2)
    explanation = bench.places["kit-1"].running.explain(bundle, bench.now_s)
    assert explanation is not None
    (link,) = explanation.links
    assert link.obstacle is Obstacle.REFUSED
    assert link.wait_s is not None
    assert 20 < link.wait_s <= 30
    assert explanation.expected_s is not None
    assert explanation.expected_s >= link.wait_s + 100_000 * 8 / RATE_BPS * 0.9


def test_what_is_begun_towards_one_node_waits_for_it() -> None:
    bench = pair()
    bench.add("post-2", role="command")
    bench.join("wire", "kit-1", "post-2", SLOW)
    bench.run(1)
    bundle = bench.submit("kit-1", bytes(5000), Precedence.ROUTINE, TEXT)
    bench.run(0.5)
    kit = bench.places["kit-1"].running
    explanation = kit.explain(bundle, bench.now_s)
    assert explanation is not None
    pinned = kit.custody.bundles[bundle].peer
    assert pinned is not None
    said = {each.peer: each.obstacle for each in explanation.links}
    other = "post-2" if pinned.node_id == "command" else "command"
    assert (said[pinned.node_id], said[other]) == (Obstacle.NONE, Obstacle.OTHER_NODE)


def test_a_full_peer_is_said() -> None:
    bench = pair(receive_window_bytes=50_000)
    for _ in range(3):
        bench.submit("kit-1", bytes(40_000), Precedence.ROUTINE, TEXT)
    bench.run(2)
    assert obstacle(why(bench, bytes(40_000))) is Obstacle.PEER_FULL


def test_the_place_counts_what_goes_before() -> None:
    """Urgent ones, those of people, its own flow, and as much of an equal flow as is served meanwhile."""
    bench = Bench()
    bench.add("kit-1")
    person = replace(TEXT, flow="report", origin=Origin.PERSON)
    for _ in range(3):
        bench.submit("kit-1", bytes(1000), Precedence.PRIORITY, TEXT)
        bench.submit("kit-1", bytes(500), Precedence.ROUTINE, person)
        bench.submit("kit-1", bytes(200), Precedence.ROUTINE, TEXT)
        bench.submit("kit-1", bytes(9000), Precedence.DEFERRED, TEXT)
    for _ in range(10):
        bench.submit("kit-1", bytes(100), Precedence.ROUTINE, replace(TEXT, flow="equal"))
    explanation = why(bench, bytes(200))
    assert explanation.is_exact
    assert explanation.ahead_bytes == 3000 + 1500 + 600 + 800
    assert explanation.ahead_bundles == 3 + 3 + 3 + 8


def test_the_expected_time_is_about_the_time_it_takes() -> None:
    bench = pair()
    for _ in range(20):
        bench.submit("kit-1", bytes(400), Precedence.ROUTINE, TEXT)
    explanation = why(bench, bytes(400))
    assert explanation.expected_s is not None
    began_s = bench.now_s
    bench.run(30)
    took_s = None
    kit = bench.places["kit-1"]
    assert kit.running.report(bench.now_s).queues == ()
    frames = [flight.t_s for flight in bench.history if flight.sender == "kit-1" and len(flight.frame) > 100]
    took_s = max(frames) - began_s
    assert 0.7 * took_s < explanation.expected_s < 1.3 * took_s


def test_a_row_is_explained_by_its_header() -> None:
    bench = Bench()
    bench.add("command", role="command")
    kit = bench.add("kit-1", window_entries=10)
    bundles = [bench.submit("kit-1", bytes(100), Precedence.ROUTINE, TEXT) for _ in range(50)]
    assert kit.running.explain(bundles[-1], bench.now_s) is None
    explanation = kit.running.explain(bundles[-1], bench.now_s, TEXT)
    assert explanation is not None
    assert (explanation.ahead_bundles, explanation.is_exact) == (49, False)
