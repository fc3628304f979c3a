"""Bundles carried here by hand: given out once, whichever way comes first; passed on; never taken where they began."""

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, BundleRecord, Precedence
from edge_agent.core.effects import Adopted, BundleAdopted, BundlesForwarded, CameAgain
from tests.core.bench import Bench, Place

PAYLOAD = bytes(300)
HEADER = BundleHeader(destination=COMMAND, flow="text", lifetime_s=600.0)


def posts() -> Bench:
    """A kit with one bundle, a relay and a command post, not joined."""
    bench = Bench()
    bench.add("command", role=COMMAND)
    bench.add("relay-1", role="relay")
    bench.add("kit-1")
    return bench


def carry(bench: Bench, bundle: BundleId, to: str, *, age_low_s: float = 1.0) -> list[Adopted]:
    """Take ``bundle`` in at ``to``; gives what came of it so far."""
    place = bench.places[to]
    record = BundleRecord(
        id=bundle, header=HEADER, payload_bytes=len(PAYLOAD), as_of_s=bench.now_s, age_low_s=age_low_s, age_high_s=99.0
    )
    place.running.adopt(record, PAYLOAD, bench.now_s)
    bench.pump(place)
    bench.run(1)
    return [event.adopted for event in place.events if isinstance(event, BundleAdopted)]


def delivered(place: Place) -> list[BundleId]:
    return [event.record.id for event in place.delivered()]


def test_a_carried_bundle_is_given_out_once_with_its_age() -> None:
    bench = posts()
    bundle = bench.submit("kit-1", PAYLOAD, Precedence.ROUTINE, HEADER)
    assert carry(bench, bundle, "command") == [Adopted.STORED]
    assert carry(bench, bundle, "command") == [Adopted.STORED, Adopted.KNOWN]
    (event,) = bench.places["command"].delivered()
    assert (event.peer, event.via, event.payload) == ("carried", (), PAYLOAD)
    assert event.record.age_low_s == 1.0
    assert event.record.age_high_s == 99.0


def test_a_link_that_brings_it_later_brings_no_second_copy_and_releases_the_kit() -> None:
    bench = posts()
    bundle = bench.submit("kit-1", PAYLOAD, Precedence.ROUTINE, HEADER)
    carry(bench, bundle, "command")
    bench.join("a", "kit-1", "command")
    bench.run(5)
    assert delivered(bench.places["command"]) == [bundle]
    assert [event.bundles for event in bench.places["kit-1"].events if isinstance(event, BundlesForwarded)] == [
        (bundle,)
    ]


def test_what_comes_again_by_another_way_is_told_and_by_its_own_way_not() -> None:
    bench = posts()
    bundle = bench.submit("kit-1", PAYLOAD, Precedence.ROUTINE, HEADER)
    carry(bench, bundle, "command")
    carry(bench, bundle, "relay-1")
    command = bench.places["command"]
    assert again(command) == []
    bench.join("a", "kit-1", "command")
    bench.run(5)
    assert again(command) == [], "its source is told of custody, and its receipt is on its way"
    bench.join("b", "relay-1", "command")
    bench.run(5)
    assert again(command) == [bundle]
    carry(bench, bundle, "command")
    assert again(command) == [bundle, bundle]
    assert delivered(command) == [bundle]


def again(place: Place) -> list[BundleId]:
    return [event.bundle for event in place.events if isinstance(event, CameAgain)]


def test_what_a_link_brought_first_is_known_to_the_stick() -> None:
    bench = posts()
    bench.join("a", "kit-1", "command")
    bundle = bench.submit("kit-1", PAYLOAD, Precedence.ROUTINE, HEADER)
    bench.run(5)
    assert carry(bench, bundle, "command") == [Adopted.KNOWN]
    assert delivered(bench.places["command"]) == [bundle]


def test_it_is_known_after_a_restart_too() -> None:
    bench = posts()
    bundle = bench.submit("kit-1", PAYLOAD, Precedence.ROUTINE, HEADER)
    carry(bench, bundle, "command")
    bench.crash("command")
    bench.start("command")
    assert carry(bench, bundle, "command")[-1] is Adopted.KNOWN
    assert delivered(bench.places["command"]) == [bundle]


def test_a_node_on_the_way_passes_it_on() -> None:
    bench = posts()
    bundle = bench.submit("kit-1", PAYLOAD, Precedence.ROUTINE, HEADER)
    assert carry(bench, bundle, "relay-1") == [Adopted.STORED]
    bench.join("b", "relay-1", "command")
    bench.run(5)
    assert delivered(bench.places["command"]) == [bundle]


def test_it_is_not_taken_where_it_began_and_custody_there_stays() -> None:
    bench = posts()
    bundle = bench.submit("kit-1", PAYLOAD, Precedence.ROUTINE, HEADER)
    assert carry(bench, bundle, "kit-1") == [Adopted.OWN]
    bench.join("a", "kit-1", "command")
    bench.run(5)
    assert delivered(bench.places["command"]) == [bundle]


def test_what_has_surely_expired_on_the_way_is_given_to_nobody() -> None:
    bench = posts()
    bundle = bench.submit("kit-1", PAYLOAD, Precedence.ROUTINE, HEADER)
    assert carry(bench, bundle, "command", age_low_s=600.0) == [Adopted.EXPIRED]
    assert delivered(bench.places["command"]) == []
