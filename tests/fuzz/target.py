"""A node under null keys, so that every body reaches the blocks, and a stream of bodies that are nearly right."""

import random
from collections import Counter
from collections.abc import Iterator

import msgpack
import pytest

from edge_agent.core import intake
from edge_agent.core.arrivals import PARTIAL_BYTES_MAX, PARTIALS_MAX
from edge_agent.core.blocks import (
    ACK,
    ECHO,
    PROBE,
    TOKEN_BYTES,
    Ack,
    Block,
    Fragment,
    Refused,
    Source,
    Stored,
    StoredPartly,
    Window,
)
from edge_agent.core.brief import PROFILE_KIND
from edge_agent.core.bundle import COMMAND, BundleHeader, FlowOrder, MalformedError, Precedence
from edge_agent.core.closed_numbers import QUESTION_KIND, RANGES_MAX
from edge_agent.core.closing import CLOSED_KIND, QUESTIONS_MAX
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
    read_blocks,
)
from edge_agent.core.effects import (
    Done,
    Effect,
    Failed,
    Fetch,
    Fetched,
    ListOpen,
    Loaded,
    LoadWindow,
    OpenNumbers,
    Outcome,
    Restored,
)
from edge_agent.core.envelope import put_data, put_hello
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.core.fec import KEPT_MAX, LENGTH_BYTES, ROWS_MAX, SYMBOL_MAX_BYTES
from edge_agent.core.frame import NullKeys
from edge_agent.core.hello import Hello
from edge_agent.core.intake import ECHOES_MAX
from edge_agent.core.limits import LinkLimits, LinkPolicy, LinkShape
from edge_agent.core.live import HELD_MAX_BYTES
from edge_agent.core.live_arrivals import PARTIAL_BYTES_MAX as LIVE_PARTIAL_BYTES_MAX
from edge_agent.core.live_arrivals import PARTIALS_MAX as LIVE_PARTIALS_MAX
from edge_agent.core.live_arrivals import REMEMBERED, SOURCES_MAX
from edge_agent.core.node import Node
from edge_agent.core.payload_cache import CHUNK_BYTES
from edge_agent.core.report import NodeSettings
from edge_agent.core.run import RunWriter
from edge_agent.core.silence import SILENCE_KIND
from edge_agent.core.varint import put_varint

LIMITS = LinkLimits(shape=LinkShape.DATAGRAM, mtu_bytes=1400, rate_bps=1e7)
FREE_BYTES = 1 << 42
SALT = bytes(range(16))
_SPANS = ([0, 9], [0, 9, 2, 3], [2, 1 << 20, 0, 1, 40, 7], [0, 1 << 42], [5, 5], [0, 5, 9, 9], [0, (1 << 42) - 1])
SEQUENCES = (0, 1, 2, 3, 5, 40, 1 << 20, (1 << 42) - 1)
PEER = "peer-1"


class Target:
    """One node with a peer on a listening link; ``reached`` counts the blocks that came out of the parser, by kind."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.reached: Counter[str] = Counter()
        self.now_s = 10.0
        self.number = 1
        settings = NodeSettings(node_id=COMMAND, role=COMMAND, free_store_bytes=FREE_BYTES)
        self.node = Node(settings, NullKeys(), random.Random(seed), Restored(incarnation=7, session_number=1), 10.0)
        self.node.set_link("udp", 10.0, limits=LIMITS, policy=LinkPolicy(metered=False), is_listener=True)
        self.greet(SALT)

    def greet(self, salt: bytes) -> None:
        """A HELLO, and the first frame under both salts."""
        body = bytearray()
        hello = Hello(node_id=PEER, number=1, role="kit", incarnation=9, process_number=3, receive_id=77)
        put_control(body, hello.fields())
        self.receive(put_hello(0, 0, salt, 0) + bytes(body))
        self.data(bytes((PROBE, *bytes(TOKEN_BYTES))))

    def data(self, body: bytes) -> None:
        """A DATA frame with a number not used before."""
        (contact,) = self.node.contacts.contacts
        session = contact.candidate or contact.session
        assert session is not None
        self.number += 1
        self.receive(put_data(session.receive_id, True, self.number, 8) + body)

    def receive(self, frame: bytes) -> None:
        """One frame, and then all that the node wants."""
        self.node.receive("udp", "address", frame, self.now_s)
        self.pump()

    def pump(self) -> None:
        """Answer every effect at once, mostly well, and look at the bounds."""
        node, rng = self.node, self.rng
        while (transmit := node.poll_transmit(self.now_s)) is not None:
            assert len(transmit.frame) <= LIMITS.mtu_bytes
        while (effect := node.poll_effect()) is not None:
            node.complete(effect.effect_id, self.outcome(effect), self.now_s)
        while node.poll_event() is not None:
            pass
        if rng.random() < 0.1:
            self.now_s += rng.choice([0.001, 0.01, 0.3, 1.5])
            node.handle_timeout(self.now_s)
            wakeup_s = node.next_wakeup()
            assert wakeup_s is None or wakeup_s > self.now_s
        self.check_bounds()

    def outcome(self, effect: Effect) -> Outcome:
        """What a store would say that keeps nothing and fails now and then."""
        if self.rng.random() < 0.05:
            return Failed(RefusalReason.STORE_FAILED, "planted")
        if isinstance(effect, Fetch):
            return Fetched(bytes(effect.length))
        if isinstance(effect, ListOpen):
            return OpenNumbers(effect.stop, ((effect.start, effect.stop),))
        return Loaded((), has_more=False) if isinstance(effect, LoadWindow) else Done()

    def check_bounds(self) -> None:
        """What a peer can make us hold has a limit."""
        arrivals = self.node.arrivals
        assert len(self.node.contacts.contacts) == 1
        assert len(arrivals._partials) <= PARTIALS_MAX + 1
        assert sum(partial.memory_bytes for partial in arrivals._partials.values()) <= PARTIAL_BYTES_MAX + 65_536
        assert 0 <= arrivals.room.reserved_bytes <= FREE_BYTES + PARTIALS_MAX * CHUNK_BYTES  # calls for help go over
        assert all(len(known.ranges) <= RANGES_MAX for known in arrivals.closed._known.values())
        assert self.node.intake.closing._looked_up <= QUESTIONS_MAX
        self.check_live_bounds()
        assert all(len(contact.echo_tokens) <= ECHOES_MAX for contact in self.node.contacts.contacts)

    def check_live_bounds(self) -> None:
        """So have perishable bundles, and the repairs of them."""
        live = self.node.intake.live
        assert len(live.joining) <= LIVE_PARTIALS_MAX
        assert sum(len(each.buffer) for each in live.joining.values()) <= LIVE_PARTIAL_BYTES_MAX
        assert len(live._seen) <= SOURCES_MAX
        assert all(len(seen.numbers) <= 2 * REMEMBERED + 1 for seen in live._seen.values())
        assert live.sender.held_bytes <= HELD_MAX_BYTES
        for contact in self.node.contacts.contacts:
            decoder = contact.session.live_blocks if contact.session is not None else None
            if decoder is not None:
                assert len(decoder.rows) <= ROWS_MAX
                assert len(decoder.known) <= KEPT_MAX
                assert all(len(each) <= SYMBOL_MAX_BYTES + LENGTH_BYTES for each in decoder.known.values())

    def submit(self) -> None:
        """A bundle of ours for the peer, so that its words about bundles have an object."""
        order = self.rng.choice(list(FlowOrder))
        header = BundleHeader(destination=PEER, flow=order.value, order=order, key="k")
        try:
            self.node.submit(
                header, self.rng.choice(list(Precedence)), bytes(self.rng.choice([0, 9, 5000])), self.now_s
            )
        except RefusedError:
            self.reached["refused"] += 1
        self.pump()

    def counting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Count what the parser yields to the node."""

        def counted(body: bytes) -> Iterator[Block]:
            try:
                for block in read_blocks(body):
                    self.reached[type(block).__name__] += 1
                    yield block
            except MalformedError:
                self.reached["malformed"] += 1
                raise

        monkeypatch.setattr(intake, "read_blocks", counted)
        monkeypatch.setattr(self.node.intake, "read_body", counted)


def body_of_blocks(rng: random.Random, target: Target) -> bytes:
    """One to four valid blocks about things the node knows, and strange ones."""
    out = bytearray()
    for _ in range(rng.choice([1, 1, 2, 4])):
        rng.choice(_WRITERS)(rng, target, out)
    return bytes(out)


def _source(rng: random.Random) -> Source | None:
    return rng.choice([None, None, Source("relay-2", 5), Source(COMMAND, 7)])


def _fragment(rng: random.Random, target: Target, out: bytearray) -> None:
    flow = rng.choice(["text", "pictures"])
    header = BundleHeader(destination=rng.choice([COMMAND, "kit-9"]), flow=flow, lifetime_s=rng.choice([0.0, 5.0, 9e4]))
    packed = rng.choice([header.pack(), rng.randbytes(9)]) if rng.random() < 0.3 else header.pack()
    total = rng.choice([0, 1, 20, 70_000, 1 << 40])
    payload = rng.randbytes(min(total, rng.choice([1, 20, 1000])))
    offset = 0 if len(payload) == total else rng.choice([0, 1, total - len(payload)])
    offset = min(offset, total - len(payload))
    starts = offset == 0
    put_fragment(
        out,
        Fragment(
            _source(rng),
            rng.choice(list(Precedence)),
            rng.choice(SEQUENCES),
            offset,
            total,
            packed if starts else b"",
            rng.choice([0, 100, (1 << 35) - 1]) if starts else 0,
            rng.choice([0, (1 << 35) - 1]) if starts else 0,
            payload,
        ),
    )


def _run(rng: random.Random, target: Target, out: bytearray) -> None:
    header = BundleHeader(destination=COMMAND, flow="text", created_at_ms=rng.choice([0, 5, 1 << 41]))
    source, precedence, sequence = _source(rng), rng.choice(list(Precedence)), rng.choice(SEQUENCES[:6])
    writer: RunWriter | None = None
    for _ in range(rng.choice([2, 3, 9])):
        made = header.made_at(header.created_at_ms + rng.choice([0, 1000]))
        ages, payload = (rng.choice([0, 1000]), rng.choice([0, 7])), rng.randbytes(rng.choice([0, 4, 4, 30]))
        sequence += rng.choice([1, 1, 5])
        piece = Fragment(source, precedence, sequence, 0, len(payload), made.pack(), *ages, payload)
        if writer is None:
            writer = RunWriter(len(out), piece, made.created_at_ms, made)
            put_fragment(out, piece)
        else:
            step = writer.step(made.created_at_ms, piece)
            assert step is not None, "alike"
            writer.join(out, step, made.created_at_ms, piece)
        header = made


def _brief(rng: random.Random, target: Target, out: bytearray) -> None:
    header = BundleHeader(destination=COMMAND, flow="text", created_at_ms=rng.choice([0, 5, 1 << 41]))
    packed, at = header.pack(), header.created_offset()
    behind = at + len(msgpack.packb(header.created_at_ms))
    number, sequence = rng.choice([0, 1, 31, 32]), rng.choice(SEQUENCES)
    if rng.random() < 0.5:
        told = [PROFILE_KIND, number, rng.randrange(6), packed[:at], packed[behind:], sequence, header.created_at_ms]
        put_control(out, told)
    out += (
        bytes((128 | rng.choice([0, 32]) | number & 31, sequence & 255)) + rng.randbytes(rng.choice([3, 4])) + b"\x02ab"
    )


def _ack(rng: random.Random, target: Target, out: bytearray) -> None:
    highest = rng.choice([0, 1, 2, 5, 9, 1 << 30])
    low = rng.randrange(highest + 1)
    times = tuple(
        (number, rng.randrange(1 << 30)) for number in range(highest, max(-1, highest - rng.randrange(5)), -1)
    )
    put_ack(out, Ack(rng.choice([0, 0, 78, 5]), highest, rng.randrange(1 << 32), ((low, highest + 1),), times))


def _ranges(rng: random.Random) -> tuple[tuple[int, int], ...]:
    start = rng.choice(SEQUENCES)
    return ((start, start + rng.choice([1, 1, 3, 3, 1 << 40, 1 << 62])),)


def _stored(rng: random.Random, target: Target, out: bytearray) -> None:
    put_stored(out, Stored(_source(rng), rng.choice(list(Precedence)), _ranges(rng)))


def _stored_partly(rng: random.Random, target: Target, out: bytearray) -> None:
    put_stored_partly(
        out, StoredPartly(_source(rng), rng.choice(list(Precedence)), rng.choice(SEQUENCES), _ranges(rng))
    )


def _window(rng: random.Random, target: Target, out: bytearray) -> None:
    put_window(out, Window(rng.choice([0, 1 << 20, (1 << 63) - 1]), rng.choice([0, 1 << 20])))


def _refused(rng: random.Random, target: Target, out: bytearray) -> None:
    reason = rng.choice(list(RefusalReason))
    put_refused(
        out, Refused(_source(rng), rng.choice(list(Precedence)), rng.choice(SEQUENCES), reason, rng.choice([0, 5, 9e4]))
    )


def _token(rng: random.Random, target: Target, out: bytearray) -> None:
    put_token(out, rng.choice([PROBE, ECHO]), rng.choice([bytes(TOKEN_BYTES), rng.randbytes(TOKEN_BYTES)]))


def _pulse(rng: random.Random, target: Target, out: bytearray) -> None:
    put_pulse(out, rng.choice([0, 1, 14, 1000, 1001]))


def _live(rng: random.Random, target: Target, out: bytearray) -> None:
    """Perishable bundles: whole, in parts, without a deadline, too long, about one of a few numbers."""
    deadline_s = rng.choice([0.0, 0.05, 1.0, 1.0, 1.0, 1e6])
    header = BundleHeader(destination=rng.choice([COMMAND, "kit-9"]), flow="voice", deadline_s=deadline_s)
    total = rng.choice([0, 1, 20, 20, 3000, 60_000, 70_000, 1 << 40])
    payload = rng.randbytes(min(total, rng.choice([1, 20, 1000])))
    offset = min(rng.choice([0, 1, total]), total - len(payload)) if len(payload) < total else 0
    packed, ages = (header.pack(), (rng.choice([0, 100, (1 << 35) - 1]), 0)) if offset == 0 else (b"", (0, 0))
    sequence = rng.choice(SEQUENCES) if rng.random() < 0.3 else rng.randrange(100)
    piece = Fragment(_source(rng), rng.choice(list(Precedence)), sequence, offset, total, packed, *ages, payload)
    number = rng.choice([0, 1, 2, 3, 7, 50, 1 << 20, (1 << 42) - 1, 1 << 42])
    put_live(out, number, live_content(piece) + rng.choice([b"", b"", b"", b"x"]))


def _repair(rng: random.Random, target: Target, out: bytearray) -> None:
    """Sums of anything over few numbers, many, or none, again and again under one number."""
    content = bytearray()
    for choices in ((0, 1, 2, 7, 40, 1 << 20, 1 << 62), (0, 1, 2, 3, 32, 33, 1 << 40), (0, 1, 1, 2, 127, 128, 1 << 50)):
        put_varint(content, rng.choice(choices))
    content += rng.choice([b"", bytes(9), rng.randbytes(3), rng.randbytes(40), b"\xff" * 2050, b"\xff" * 2051])
    put_repair(out, rng.choice([bytes(content), rng.randbytes(3)]))


def _control(rng: random.Random, target: Target, out: bytearray) -> None:
    hello = Hello(node_id=PEER, number=1, role="kit", incarnation=rng.choice([9, 10]), process_number=3, receive_id=77)
    anything = [0, -1, 1 << 63, "x", b"x", None, True, 1.5, [], [1, 2]]
    put_control(
        out,
        rng.choice(
            [
                hello.fields(),
                [*hello.fields(), "later field"],
                [CLOSED_KIND, rng.choice([9, 10]), int(rng.choice(list(Precedence))), *rng.choice(_SPANS)],
                [QUESTION_KIND, rng.choice([7, 8]), int(rng.choice(list(Precedence))), *rng.choice(_SPANS)[:2]],
                [rng.choice([CLOSED_KIND, QUESTION_KIND]), *rng.choices([*anything, 9, 7, 3], k=rng.choice([4, 6]))],
                [SILENCE_KIND, rng.choice([77, 1, rng.randrange(1 << 32)]), rng.choice([-1, 0, 5, 1 << 62])],
                [rng.choice([1, 2, 3, SILENCE_KIND, 99]), *rng.choices(anything, k=rng.randrange(8))],
            ]
        ),
    )


_WRITERS = (
    _fragment,
    _fragment,
    _run,
    _brief,
    _ack,
    _stored,
    _stored_partly,
    _window,
    _refused,
    _token,
    _pulse,
    _live,
    _repair,
    _control,
)


def mutated(rng: random.Random, body: bytes) -> bytes:
    """``body`` with a few bytes flipped, cut, doubled, inserted or set to a telling value."""
    out = bytearray(body)
    for _ in range(rng.choice([0, 0, 1, 1, 2, 5])):
        if not out:
            break
        at = rng.randrange(len(out))
        kind = rng.randrange(6)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, ACK])
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            del out[at : at + rng.randrange(1, 5)]
        elif kind == 4:
            out[at:at] = rng.randbytes(rng.randrange(1, 5))
        else:
            out[at:at] = out[at : at + rng.randrange(1, 20)]
    return bytes(out)


def fuzz(target: Target, frames: int) -> None:
    """``frames`` bodies from the target's own seed; raises whatever the node raises."""
    rng = target.rng
    for _ in range(frames):
        target.data(mutated(rng, body_of_blocks(rng, target)))
        if rng.random() < 0.02:
            target.submit()
        if rng.random() < 0.005:
            target.greet(rng.randbytes(16))
