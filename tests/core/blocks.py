"""Blocks of every kind as hypothesis makes them, and how each is written."""

from collections.abc import Mapping
from types import MappingProxyType

from hypothesis import strategies as st

from edge_agent.core.blocks import (
    ACK_TIMES_MAX,
    AGE_MAX_MS,
    BUNDLE_MAX_BYTES,
    ECHO,
    HEADER_MAX_BYTES,
    PROBE,
    PULSE_LONGEST_MS,
    SEQUENCE_MAX,
    TOKEN_BYTES,
    Ack,
    Block,
    Brief,
    Control,
    Echo,
    Fragment,
    Live,
    Probe,
    PulseWish,
    Refused,
    Repair,
    Source,
    Stored,
    StoredPartly,
    Window,
)
from edge_agent.core.bundle import Precedence
from edge_agent.core.codec import (
    live_content,
    put_ack,
    put_control,
    put_fragment,
    put_live,
    put_pulse,
    put_refused,
    put_repair,
    put_stored,
    put_stored_partly,
    put_token,
    put_window,
)
from edge_agent.core.errors import RefusalReason

NUMBERS = st.one_of(st.integers(0, 300), st.integers(0, SEQUENCE_MAX))
PRECEDENCES = st.sampled_from(list(Precedence))
SOURCES = st.one_of(
    st.none(),
    st.builds(Source, st.from_regex(r"[a-z0-9][a-z0-9._-]{0,31}", fullmatch=True), st.integers(0, (1 << 64) - 1)),
)


@st.composite
def fragments(draw: st.DrawFn) -> Fragment:
    """Whole bundles, first pieces and later ones."""
    payload = draw(st.binary(min_size=0, max_size=60))
    kind = draw(st.sampled_from(["whole", "first", "later"]))
    if kind != "whole" and not payload:
        payload = b"x"
    offset = draw(st.integers(1, 1 << 39)) if kind == "later" else 0
    beyond = draw(st.integers(1, BUNDLE_MAX_BYTES - offset - len(payload))) if kind != "whole" else 0
    header = draw(st.binary(min_size=1, max_size=HEADER_MAX_BYTES)) if kind != "later" else b""
    ages = st.one_of(st.integers(0, 1000), st.integers(0, AGE_MAX_MS))
    return Fragment(
        draw(SOURCES),
        draw(PRECEDENCES),
        draw(NUMBERS),
        offset,
        offset + len(payload) + beyond,
        header,
        draw(ages) if header else 0,
        draw(ages) if header else 0,
        payload,
    )


@st.composite
def upward_ranges(draw: st.DrawFn, most: int = 40) -> tuple[tuple[int, int], ...]:
    """Disjoint ranges that do not touch, lowest first."""
    steps = draw(st.lists(st.tuples(NUMBERS, st.integers(1, 1 << 30)), max_size=most))
    ranges, at = [], 0
    for gap, length in steps:
        start = at + gap + bool(ranges)
        at = start + length
        ranges.append((start, at))
    return tuple(ranges)


@st.composite
def acks(draw: st.DrawFn) -> Ack:
    """ACKs as a receive space makes them: the highest range ends at the highest number."""
    ranges = list(draw(upward_ranges(12)) or ((0, 1),))
    ranges.reverse()
    highest = ranges[0][1] - 1
    ticks = draw(st.integers(0, 1 << 42))
    numbers = sorted(draw(st.sets(st.integers(0, highest), max_size=ACK_TIMES_MAX)), reverse=True)
    arrivals = tuple((number, draw(st.integers(0, 1 << 42))) for number in numbers)
    return Ack(draw(st.integers(0, 1 << 32)), highest, ticks, tuple(ranges), arrivals)


CONTROLS = st.builds(
    Control,
    st.builds(
        lambda kind, rest: [kind, *rest],
        st.integers(0, 200),
        st.lists(
            st.one_of(st.integers(-5, 1 << 63), st.text(max_size=20), st.binary(max_size=20), st.none()), max_size=8
        ),
    ),
)
WAITS_S = st.integers(0, 864_000).map(lambda tenths: tenths / 10)
SHORT_PAYLOADS = st.binary(max_size=127)
TOKENS = st.binary(min_size=TOKEN_BYTES, max_size=TOKEN_BYTES)
BLOCKS_OF: Mapping[type[Block], st.SearchStrategy[Block]] = MappingProxyType(
    {
        Fragment: fragments(),
        Brief: st.builds(
            Brief, st.integers(0, 31), st.integers(0, 255), st.integers(0, 65_535), st.integers(0, 255), SHORT_PAYLOADS
        ),
        Live: st.builds(
            lambda number, piece: Live(number, live_content(piece), piece), st.integers(0, SEQUENCE_MAX), fragments()
        ),
        Ack: acks(),
        Stored: st.builds(Stored, SOURCES, PRECEDENCES, upward_ranges()),
        StoredPartly: st.builds(StoredPartly, SOURCES, PRECEDENCES, NUMBERS, upward_ranges()),
        Window: st.builds(Window, st.integers(0, 1 << 48), st.integers(0, 1 << 48)),
        Refused: st.builds(Refused, SOURCES, PRECEDENCES, NUMBERS, st.sampled_from(list(RefusalReason)), WAITS_S),
        Probe: st.builds(Probe, TOKENS),
        Echo: st.builds(Echo, TOKENS),
        PulseWish: st.builds(PulseWish, st.integers(1, PULSE_LONGEST_MS)),
        Repair: st.builds(Repair, st.binary(max_size=60)),
        Control: CONTROLS,
    }
)
BLOCKS: st.SearchStrategy[Block] = st.one_of(*BLOCKS_OF.values())


def write(block: Block) -> bytes:
    """The bytes of one block."""
    out = bytearray()
    if isinstance(block, Fragment):
        put_fragment(out, block)
    elif isinstance(block, Brief):
        out += bytes((128 | (32 if block.age_units else 0) | block.profile, block.sequence_cut))
        out += block.created_cut.to_bytes(2, "big") + bytes((block.age_units,) if block.age_units else ())
        out += bytes((len(block.payload),)) + block.payload
    elif isinstance(block, Ack):
        put_ack(out, block)
    elif isinstance(block, Stored):
        put_stored(out, block)
    elif isinstance(block, StoredPartly):
        put_stored_partly(out, block)
    elif isinstance(block, Window):
        put_window(out, block)
    elif isinstance(block, Refused):
        put_refused(out, block)
    elif isinstance(block, Probe | Echo):
        put_token(out, PROBE if isinstance(block, Probe) else ECHO, block.token)
    elif isinstance(block, PulseWish):
        put_pulse(out, block.interval_ms)
    elif isinstance(block, Control):
        put_control(out, block.fields)
    elif isinstance(block, Live):
        put_live(out, block.number, block.content)
    else:
        put_repair(out, block.content)
    return bytes(out)
