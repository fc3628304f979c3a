"""BRIEF: what is rebuilt is the very bundle, a lone one costs 15 bytes, positions over 300 bit/s are young."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st

from edge_agent.core.blocks import Brief, Control, Fragment
from edge_agent.core.brief import (
    OPEN_MAX,
    PROFILE_KIND,
    PROFILES_MAX,
    ProfileReader,
    ProfileUse,
    ProfileWriter,
    SentProfile,
)
from edge_agent.core.bundle import COMMAND, BundleHeader, FlowOrder, MalformedError, Precedence
from edge_agent.core.codec import read_blocks
from edge_agent.core.hello import READS_RUNS, Hello
from edge_agent.core.limits import LinkLimits, LinkShape
from edge_agent.core.report import NodeSettings
from edge_agent.security.link_keys import DeploymentKeys
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.world import World
from tests.core.bench import SECRET, STREAM, Bench
from tests.core.planted import finds, holds

TODAY_MS = 1_767_225_600_000
HEADER = BundleHeader(destination=COMMAND, flow="position", order=FlowOrder.LATEST, created_at_ms=TODAY_MS)


class Sending(NamedTuple):
    """One frame with bundles of one profile, and which earlier frame's acknowledgement comes before the next one."""

    bundles: list[tuple[int, int]]
    """Gap of sequence, change of creation time in ms."""
    is_lost: bool
    acked_back: int
    """0: none; n: the n-th last frame, if it arrived."""


SENDINGS = st.builds(
    Sending,
    st.lists(
        st.tuples(
            st.one_of(st.just(1), st.integers(1, 300)),
            st.one_of(st.just(1000), st.sampled_from([-40_000, -20_000, 25_000, 31_000, 65_536, 10**9])),
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([False, False, True]),
    st.integers(0, 5),
)


class _Sent(NamedTuple):
    uses: list[ProfileUse]
    is_lost: bool


def is_the_same(write: Callable[..., Any], read: Callable[..., Any]) -> Callable[[list[Sending]], None]:
    """Frames arrive in order or never, acknowledgements late or never; what comes out is what went in."""

    def check(sendings: list[Sending]) -> None:
        writer, reader, frames = ProfileWriter(), ProfileReader(), list[_Sent]()
        sequence, created_ms = 1000, TODAY_MS
        for number, sending in enumerate(sendings):
            body, uses, fragments = bytearray(), list[ProfileUse](), []
            for gap, change_ms in sending.bundles:
                sequence, created_ms = sequence + gap, max(0, created_ms + change_ms)
                header = HEADER.made_at(created_ms)
                fragment = Fragment(None, Precedence.PRIORITY, sequence, 0, 3, header.pack(), 0, 0, b"abc")
                if write(writer, body, uses, fragment, header, 1000) is not None:
                    fragments.append(fragment)
            frames.append(_Sent(uses, sending.is_lost))
            if not sending.is_lost:
                got = []
                for block in read_blocks(bytes(body)):
                    if isinstance(block, Control):
                        reader.learn(block.fields, number)
                    elif isinstance(block, Brief):
                        got.append(read(reader, block, number))
                assert [each and each._replace(known=None, age_extra_ms=0) for each in got] == fragments
            if 0 < sending.acked_back <= len(frames) and not frames[-sending.acked_back].is_lost:
                for use in frames[-sending.acked_back].uses:
                    use.arrived()

    return check


RUNS_OF_FRAMES = st.lists(SENDINGS, min_size=1, max_size=30)


def forgets_what_left(
    writer: ProfileWriter, body: bytearray, uses: list[ProfileUse], *rest: Any
) -> tuple[int, int] | None:
    """The planted fault: only the acknowledged bundle is looked at, not those that may have arrived since."""
    written = writer.write(body, uses, *rest)
    for profile in writer._profiles.values():
        if profile.acked:
            profile.sent.clear()
    return written


def stays_behind(reader: ProfileReader, brief: Brief, number: int) -> Fragment | None:
    """The planted fault: the reader goes on from the first bundle and not from the newest."""
    before = {key: (known.sequence, known.created_ms) for key, known in reader._profiles.items()}
    rebuilt = reader.rebuild(brief, number)
    for key, (sequence, created_ms) in before.items():
        reader._profiles[key].sequence, reader._profiles[key].created_ms = sequence, created_ms
    return rebuilt


def test_what_is_rebuilt_is_what_was_sent() -> None:
    holds(is_the_same(ProfileWriter.write, ProfileReader.rebuild), RUNS_OF_FRAMES, examples=150)
    finds(is_the_same(forgets_what_left, ProfileReader.rebuild), RUNS_OF_FRAMES)
    finds(is_the_same(ProfileWriter.write, stays_behind), RUNS_OF_FRAMES)


def test_a_brief_of_an_overtaken_frame_or_an_unknown_profile_is_not_rebuilt() -> None:
    reader = ProfileReader()
    at = HEADER.created_offset()
    packed = HEADER.pack()
    reader.learn([PROFILE_KIND, 0, 2, packed[:at], packed[at + 9 :], 7, TODAY_MS], 5)
    assert reader.rebuild(Brief(1, 7, 0, 0, b""), 6) is None
    assert reader.rebuild(Brief(0, 7, TODAY_MS & 0xFFFF, 0, b""), 4) is None
    rebuilt = reader.rebuild(Brief(0, 7, TODAY_MS & 0xFFFF, 2, b"x"), 5)
    assert rebuilt is not None
    assert (rebuilt.sequence, rebuilt.header, rebuilt.age_low_ms, rebuilt.known) == (7, packed, 128, HEADER)


AT = HEADER.created_offset()
BEFORE, AFTER = HEADER.pack()[:AT], HEADER.pack()[AT + 9 :]


@pytest.mark.parametrize(
    "fields",
    [
        [PROFILE_KIND],
        [PROFILE_KIND, PROFILES_MAX, 2, BEFORE, AFTER, 7, TODAY_MS],
        [PROFILE_KIND, 0, 5, BEFORE, AFTER, 7, TODAY_MS],
        [PROFILE_KIND, 0, 2, BEFORE, AFTER, 1 << 42, TODAY_MS],
        [PROFILE_KIND, 0, 2, BEFORE, AFTER, -1, TODAY_MS],
        [PROFILE_KIND, 0, 2, BEFORE, AFTER, True, TODAY_MS],
        [PROFILE_KIND, 0, 2, BEFORE, "text", 7, TODAY_MS],
        [PROFILE_KIND, 0, 2, BEFORE[:-1], AFTER, 7, TODAY_MS],
        [PROFILE_KIND, 0, 2, b"", b"", 7, TODAY_MS],
        [PROFILE_KIND, 0, 2, BEFORE, AFTER, 7, 1 << 48],
    ],
)
def test_a_profile_of_another_shape_is_malformed(fields: list[Any]) -> None:
    with pytest.raises(MalformedError):
        ProfileReader().learn(fields, 1)


def test_there_is_a_bound_on_profiles_and_on_what_is_open() -> None:
    writer, uses = ProfileWriter(), list[ProfileUse]()
    for number in range(PROFILES_MAX + 1):
        header = replace(HEADER, flow=f"flow-{number}")
        fragment = Fragment(None, Precedence.PRIORITY, number, 0, 1, header.pack(), 0, 0, b"x")
        assert (writer.write(bytearray(), uses, fragment, header, 1000) is None) is (number == PROFILES_MAX)
    for sequence in range(100, 100 + OPEN_MAX):
        fragment = Fragment(None, Precedence.PRIORITY, sequence, 0, 1, HEADER.pack(), 0, 0, b"x")
        header = replace(HEADER, flow="flow-0")
        written = writer.write(bytearray(), uses, fragment._replace(header=header.pack()), header, 1000)
    assert written is None
    assert isinstance(uses[0].profile, SentProfile)


SLOW = replace(STREAM, rate_bps=9600.0)


def lone_bundles(monkeypatch: pytest.MonkeyPatch, *, features: int | None = None) -> list[tuple[int, int]]:
    """Frame and payload bytes of lone reports from a kit on a slow line, once it is warm."""
    fields = Hello.fields
    if features is not None:
        monkeypatch.setattr(Hello, "fields", lambda self: [*fields(self)[:7], features])
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("line", "kit-1", "command", SLOW, far_listens=False)
    bench.run(3)
    sizes = []
    for number in range(40):
        before = len(bench.history)
        header = BundleHeader(destination=COMMAND, flow="report", created_at_ms=TODAY_MS + round(bench.now_s * 1000))
        bench.submit("kit-1", bytes(20), Precedence.PRIORITY, header)
        (flight,) = [each for each in bench.history[before:] if each.sender == "kit-1"]
        sizes.append((len(flight.frame), 20))
        bench.run(7.0 + number % 3)
    assert len(bench.places["command"].delivered()) == 40
    return sizes


def test_a_lone_report_costs_fifteen_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = lone_bundles(monkeypatch)
    costs = sorted(frame_bytes - payload_bytes for frame_bytes, payload_bytes in sizes)
    print(f"a lone bundle beside its payload: median {costs[20]}, most {costs[-1]} bytes")
    assert costs[20] <= 15
    assert max(frame_bytes - payload_bytes for frame_bytes, payload_bytes in sizes[1:]) <= 31, "with an ACK"


def test_a_peer_that_reads_none_gets_fragments(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = lone_bundles(monkeypatch, features=READS_RUNS)
    assert min(frame_bytes - payload_bytes for frame_bytes, payload_bytes in sizes) > 50


def test_briefs_survive_losses_and_an_outage() -> None:
    """A line that loses a third of all frames and is away for a while: each report arrives once, as it was made."""
    bench = Bench(seed=4)
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("line", "kit-1", "command", SLOW, far_listens=False)
    bench.run(3)
    made = {}
    for number in range(150):
        bench.passes = lambda flight, number=number: (len(bench.history) * 7919) % 3 != 0 and not 60 < number < 70
        header = BundleHeader(destination=COMMAND, flow="report", created_at_ms=TODAY_MS + round(bench.now_s * 1000))
        made[bench.submit("kit-1", number.to_bytes(20, "big"), Precedence.PRIORITY, header)] = (header, number)
        bench.run(1.0)
    bench.passes = lambda flight: True
    bench.run(120)
    delivered = bench.places["command"].delivered()
    assert len(delivered) == 150
    for event in delivered:
        header, number = made[event.record.id]
        assert event.record.header == header
        assert event.payload == number.to_bytes(20, "big")
    assert "identity_mismatch" not in bench.places["command"].drops()


def positions_world(rate_bps: int, payload_bytes: int) -> tuple[World, dict[Any, float]]:
    """A kit that makes a position each second for five minutes, over a line as ``serial_radio`` tells of it."""
    world, made = World(3), dict[Any, float]()
    keys = DeploymentKeys({0: SECRET})
    world.add_node(NodeSettings(node_id="command-1", role=COMMAND), keys=keys)
    world.add_node(NodeSettings(node_id="kit-1"), keys=keys)
    line = LinkProfile(rate_bps=rate_bps, delay_s=0.05, queue_bytes=4000, overhead_bytes=8)
    limits = LinkLimits(
        shape=LinkShape.STREAM, mtu_bytes=256, overhead_bytes=8, rate_bps=float(rate_bps), rate_is_ceiling=True
    )
    world.connect("radio", "kit-1", "command-1", line, limits=limits)

    def fix() -> None:
        header = replace(HEADER, created_at_ms=TODAY_MS + round(world.now_s * 1000), lifetime_s=3600.0)
        made[world.submit("kit-1", header, Precedence.PRIORITY, bytes(payload_bytes))] = world.now_s

    world.every(1.0, fix, start_s=20.0, until_s=320.0)
    world.run_until(320.0)
    return world, made


def worst_age_s(world: World, made: dict[Any, float], start_s: float) -> float:
    """Of the newest position that command had, at any moment from ``start_s`` on."""
    worst_s, newest_s = 0.0, None
    for delivery in world.deliveries:
        if newest_s is not None and delivery.t_s > start_s:
            worst_s = max(worst_s, delivery.t_s - newest_s)
        newest_s = max(made[delivery.bundle], newest_s or 0.0)
    assert newest_s is not None
    return max(worst_s, world.now_s - newest_s)


def test_positions_over_300_bits_a_second_are_at_most_three_seconds_old() -> None:
    """From the third on: the first two tell what the others are short for."""
    world, made = positions_world(300, 12)
    third_s = world.deliveries[2].t_s
    print(f"worst age {worst_age_s(world, made, third_s):.2f} s, from the start {worst_age_s(world, made, 0.0):.2f} s")
    assert third_s <= 26.0
    assert worst_age_s(world, made, third_s) <= 3.0
    world.audit()


def test_without_briefs_they_are_older(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above."""
    monkeypatch.setattr(ProfileWriter, "write", lambda *arguments: None)
    world, made = positions_world(300, 12)
    assert worst_age_s(world, made, world.deliveries[2].t_s) > 3.0
