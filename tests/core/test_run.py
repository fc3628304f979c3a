"""RUN: what is written is read as the fragments it stands for, an old peer gets none, and a backlog is cheap."""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core import run
from edge_agent.core.blocks import AGE_MAX_MS, RUN, SEQUENCE_MAX, Fragment, Source
from edge_agent.core.bundle import COMMAND, BundleHeader, FlowOrder, MalformedError, Precedence
from edge_agent.core.codec import put_fragment, read_blocks
from edge_agent.core.hello import Hello
from edge_agent.core.run import RUN_GROWTH_BYTES, RUN_MAX, RunWriter
from edge_agent.core.varint import put_varint
from tests.core.bench import DATAGRAM, Bench
from tests.core.blocks import PRECEDENCES, SOURCES
from tests.core.planted import finds, holds

TODAY_MS = 1_767_225_600_000
HEADERS = st.builds(
    BundleHeader,
    destination=st.sampled_from([COMMAND, "kit-12"]),
    flow=st.one_of(st.just("reading"), st.text(min_size=1, max_size=20), st.text("水", min_size=9, max_size=21)),
    order=st.sampled_from(list(FlowOrder)),
    key=st.sampled_from(["", "", "k"]),
    created_at_ms=st.one_of(st.sampled_from([0, 127, 1 << 16, 1 << 32]), st.integers(0, (1 << 48) - 1)),
)


class Step(NamedTuple):
    """How one bundle differs from the one before."""

    created_ms: int
    age_ms: int
    gap: int
    extra_ms: int
    payload: bytes


STEPS = st.builds(
    Step,
    st.one_of(st.just(1000), st.integers(-5000, 5000), st.integers(-(1 << 47), 1 << 47)),
    st.one_of(st.just(-1000), st.integers(-3000, 3000)),
    st.one_of(st.just(1), st.just(1), st.integers(-3, 300)),
    st.sampled_from([0, 0, 0, 7, 1 << 34]),
    st.binary(max_size=40),
)


def fragments_of(
    source: Source | None, precedence: Precedence, header: BundleHeader, steps: list[Step]
) -> list[Fragment]:
    """Whole bundles, each a step from the one before, kept inside the bounds of the wire."""
    made, created_ms, age_ms, sequence = [], header.created_at_ms, 60_000, 1000
    for each in steps:
        created_ms = min(max(0, created_ms + each.created_ms), (1 << 48) - 1)
        age_ms = min(max(0, age_ms + each.age_ms), AGE_MAX_MS)
        sequence = min(max(0, sequence + each.gap), SEQUENCE_MAX)
        packed = header.made_at(created_ms).pack()
        made.append(
            Fragment(source, precedence, sequence, 0, len(each.payload), packed, age_ms, each.extra_ms, each.payload)
        )
    return made


def written(fragments: list[Fragment]) -> bytes:
    """All in one run, as the frame builder writes it."""
    body = bytearray(b"\x04\x01\x01")  # a WINDOW before it, so that the run does not begin the frame
    writer: RunWriter | None = None
    for each in fragments:
        header = BundleHeader.unpack(each.header)
        if writer is None:
            writer = RunWriter(len(body), each, header.created_at_ms, header)
            put_fragment(body, each)
            continue
        step, before = writer.step(header.created_at_ms, each), len(body)
        assert step is not None, "alike"
        was_alone = writer.count == 1
        writer.join(body, step, header.created_at_ms, each)
        assert len(body) <= before + len(step) + len(each.payload) + (RUN_GROWTH_BYTES if was_alone else 0)
    return bytes(body)


def come_back(write: Callable[[list[Fragment]], bytes]) -> Callable[..., None]:
    """What is read equals what was written, and the header that comes with it is the one that is packed."""

    def check(source: Source | None, precedence: Precedence, header: BundleHeader, steps: list[Step]) -> None:
        fragments = fragments_of(source, precedence, header, steps)
        _, *read = read_blocks(write(fragments))
        assert [each._replace(known=None) for each in read if isinstance(each, Fragment)] == fragments
        for each in read:
            assert isinstance(each, Fragment)
            assert each.known is None or each.known == BundleHeader.unpack(each.header)

    return check


RUNS = (SOURCES, PRECEDENCES, HEADERS, st.lists(STEPS, min_size=1, max_size=12))


def with_ages_that_rise(fragments: list[Fragment]) -> bytes:
    """The planted fault: the writer forgets that ages changed between two bundles."""
    first = fragments[0].age_low_ms
    return written([each._replace(age_low_ms=first) for each in fragments])


def test_runs_come_back() -> None:
    holds(come_back(written), *RUNS)
    finds(come_back(with_ages_that_rise), *RUNS)


@given(*RUNS, st.data())
def test_any_byte_of_a_run_may_be_wrong_and_every_cut_is_malformed(
    source: Source | None, precedence: Precedence, header: BundleHeader, steps: list[Step], data: st.DataObject
) -> None:
    body = written(fragments_of(source, precedence, header, steps))[3:]
    with pytest.raises(MalformedError):
        list(read_blocks(body[: data.draw(st.integers(1, len(body) - 1))]))
    wrong = bytearray(body)
    wrong[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(MalformedError):
        for each in read_blocks(bytes(wrong)):
            if isinstance(each, Fragment) and each.known is not None:
                assert each.known == BundleHeader.unpack(each.header)


def test_a_run_has_a_bound() -> None:
    header = BundleHeader(destination=COMMAND, flow="reading", created_at_ms=TODAY_MS)
    steps = [Step(1000, -1000, 1, 0, b"")] * (RUN_MAX + 1)
    fragments = fragments_of(None, Precedence.ROUTINE, header, steps)
    assert len(list(read_blocks(written(fragments[:-1])))) == 1 + RUN_MAX
    with pytest.raises(AssertionError, match="alike"):
        written(fragments)


@pytest.mark.parametrize(("jitter_ms", "step_bytes"), [(0, 1), (400, 2)])
def test_steady_readings_take_one_byte_each_and_others_two(jitter_ms: int, step_bytes: int) -> None:
    header = BundleHeader(destination=COMMAND, flow="reading", created_at_ms=TODAY_MS)
    steps = [
        Step(1000 + jitter_ms * (-1) ** each, -1000 - jitter_ms * (-1) ** each, 1, 0, bytes(100)) for each in range(12)
    ]
    fragments = fragments_of(None, Precedence.ROUTINE, header, steps)
    assert len(written(fragments)) == len(written(fragments[:11])) + step_bytes + 100


def varints(*numbers: int) -> bytes:
    out = bytearray()
    for number in numbers:
        put_varint(out, number)
    return bytes(out)


PACKED = BundleHeader(destination=COMMAND, flow="reading").pack()
BEFORE, AFTER = PACKED[:-6], PACKED[-5:]
HEAD = bytes((RUN, 3)) + varints(len(BEFORE)) + BEFORE + varints(len(AFTER)) + AFTER


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (bytes((RUN, 16)), "marks"),
        (bytes((RUN, 5)), "precedence"),
        (bytes((RUN, 3)) + varints(300) + bytes(300) + varints(20) + bytes(20), "header length"),
        (HEAD + b"\0" + varints(SEQUENCE_MAX + 1), "sequence"),
        (HEAD + b"\0" + varints(1, 1 << 48, 0, 0, 0), "creation"),
        (HEAD + b"\0" + varints(1, 0, AGE_MAX_MS + 1, 0, 0), "age"),
        (HEAD + b"\0" + varints(1, 0, 0, AGE_MAX_MS + 1, 0), "age"),
        (HEAD + b"\1" + varints(1, 5, 0, 0, 0, 2 * 13), "creation"),
        (HEAD + b"\1" + varints(1, 5, 0, 0, 0, 2 * 2), "age"),
        (HEAD + b"\1" + varints(0, 5, 0, 0, 0, 1, 1, 3), "sequence"),
        (HEAD + b"\1" + varints(0, 5, 0, 0, 0, 1, 32), "flags"),
        (HEAD + b"\1" + varints(0, 5, 0, 0, 0, 1, 0), "flags"),
        (bytes((RUN, 3)) + varints(len(BEFORE) + 1) + BEFORE + b"\0\0" + b"\0" + varints(1, 0, 0, 0, 0), "header"),
        (bytes((RUN, 3)) + b"\0\0\0" + varints(1, 0, 0, 0, 0), "header"),
    ],
)
def test_each_bound_has_its_word(body: bytes, says: str) -> None:
    with pytest.raises(MalformedError, match=says):
        list(read_blocks(body))


def backlog_bench(monkeypatch: pytest.MonkeyPatch, *, features: int | None = None) -> Bench:
    """A kit with 2,600 readings of a minute's raster behind a link that comes up. ``features``: command's program."""
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    if features is not None:
        monkeypatch.setattr(Hello, "fields", _old_fields)
    bench.join("udp", "kit-1", "command", DATAGRAM)
    bench.run(1)
    monkeypatch.undo()
    bench.unplug("kit-1", "udp")
    for number in range(2600):
        header = BundleHeader(destination=COMMAND, flow="reading", created_at_ms=TODAY_MS + 1000 * number)
        bench.submit("kit-1", number.to_bytes(100, "big"), Precedence.ROUTINE, header)
        bench.run(1.0)
    bench.history.clear()
    bench.plug("kit-1", "udp")
    bench.run(60)
    delivered = bench.places["command"].delivered()
    assert [event.payload for event in delivered] == [number.to_bytes(100, "big") for number in range(2600)]
    assert [event.record.header.created_at_ms - TODAY_MS for event in delivered] == [1000 * n for n in range(2600)]
    return bench


_FIELDS = Hello.fields


def _old_fields(self: Hello) -> list[object]:
    """The introduction before runs: seven fields."""
    return _FIELDS(self)[:7]


def bytes_a_bundle(bench: Bench) -> float:
    return sum(len(flight.frame) + 28 for flight in bench.history) / 2600


def test_a_backlog_of_readings_costs_at_most_115_bytes_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways, IP and UDP, tags and acknowledgements included; the frames of that minute's keepalives too."""
    bench = backlog_bench(monkeypatch)
    print(f"{bytes_a_bundle(bench):.2f} bytes a bundle of 100, both ways")
    assert bytes_a_bundle(bench) <= 115
    ages = [event.record.age_low_s for event in bench.places["command"].delivered()]
    assert max(ages) >= 2590, "ages travel with each"
    assert min(ages) < 30


def test_a_peer_that_does_not_say_that_it_reads_runs_gets_fragments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.RunWriter, "join", _never)
    bench = backlog_bench(monkeypatch, features=0)
    assert bytes_a_bundle(bench) > 130, "the old form"


def _never(self: RunWriter, *arguments: object) -> None:
    raise AssertionError("a run for a peer that reads none")
