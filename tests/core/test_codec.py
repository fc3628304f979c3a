"""Blocks: what is written is read, every cut of it is malformed, and no bytes raise anything else."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import get_args

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.blocks import (
    ACK,
    BUNDLE_MAX_BYTES,
    CONTROL,
    FRAGMENT,
    LIVE,
    PULSE,
    PULSE_LONGEST_MS,
    REFUSED,
    SEQUENCE_MAX,
    STORED,
    Block,
)
from edge_agent.core.bundle import BundleHeader, MalformedError
from edge_agent.core.codec import read_blocks
from edge_agent.core.varint import put_varint
from tests.core.blocks import BLOCKS, BLOCKS_OF, write
from tests.core.planted import finds, holds

Reader = Callable[[bytes], Iterable[Block]]


def comes_back(read: Reader) -> Callable[[list[Block]], None]:
    """Blocks in a row are read as the same blocks in the same order."""

    def check(blocks: list[Block]) -> None:
        assert list(read(b"".join(map(write, blocks)))) == blocks

    return check


def every_cut_is_malformed(read: Reader) -> Callable[[Block], None]:
    """No block is a prefix of another one: cut anywhere, it is malformed and nothing else."""

    def check(block: Block) -> None:
        body = write(block)
        for end in range(1, len(body)):
            try:
                got = list(read(body[:end]))
            except MalformedError:
                continue
            raise AssertionError(f"{end} of {len(body)} bytes of {block} read as {got}")

    return check


def read_leniently(body: bytes) -> list[Block]:
    """The planted fault: a block that ends early is passed over in silence."""
    got: list[Block] = []
    with suppress(MalformedError):
        got.extend(read_blocks(body))
    return got


def read_without_marks(body: bytes) -> Iterable[Block]:
    """The planted fault: the bit that names an explicit source is not looked at."""
    for block in read_blocks(body):
        yield block._replace(source=None) if hasattr(block, "source") else block


def test_blocks_come_back() -> None:
    holds(comes_back(read_blocks), st.lists(BLOCKS, max_size=4))
    finds(comes_back(read_without_marks), st.lists(BLOCKS, max_size=4))


def test_every_cut_of_a_block_is_malformed() -> None:
    holds(every_cut_is_malformed(read_blocks), BLOCKS, examples=60)
    finds(every_cut_is_malformed(read_leniently), BLOCKS)


def test_a_block_of_every_kind_comes_back() -> None:
    """The two properties above speak of all kinds because all are made: each alone, too."""
    assert set(BLOCKS_OF) == set(get_args(Block))
    for blocks in BLOCKS_OF.values():
        holds(comes_back(read_blocks), blocks.map(lambda block: [block]), examples=20)


@given(st.binary(max_size=80))
def test_any_bytes_are_blocks_or_malformed(body: bytes) -> None:
    with suppress(MalformedError):
        list(read_blocks(body))


@given(BLOCKS, st.data())
def test_any_byte_of_a_block_may_be_wrong(block: Block, data: st.DataObject) -> None:
    body = bytearray(write(block))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    with suppress(MalformedError):
        list(read_blocks(bytes(body)))


def varints(*numbers: int) -> bytes:
    out = bytearray()
    for number in numbers:
        put_varint(out, number)
    return bytes(out)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (bytes((0,)), "unknown block"),
        (bytes((13,)), "unknown block"),
        (bytes((LIVE,)) + varints(1 << 42, 0), "number out of bounds"),
        (bytes((LIVE,)) + varints(1, 9) + bytes((0,)) + varints(1, 1, 2, 1) + b"x", "ends early"),
        (bytes((LIVE,)) + varints(1, 7) + bytes((0,)) + varints(1, 1, 2, 1) + b"xy", "longer than its piece"),
        (bytes((PULSE, 0)), "interval"),
        (bytes((PULSE,)) + varints(PULSE_LONGEST_MS + 1), "interval"),
        (bytes((FRAGMENT, 64)), "marks"),
        (bytes((FRAGMENT, 5)) + varints(1, 1, 9, 1) + b"x", "precedence"),
        (bytes((FRAGMENT, 0)) + varints(1, 5, 5, 1) + b"x", "beyond"),
        (bytes((FRAGMENT, 0)) + varints(1, 5, BUNDLE_MAX_BYTES + 1, 1) + b"x", "beyond"),
        (bytes((FRAGMENT, 0)) + varints(1, 5, 9, 0), "beyond"),
        (bytes((FRAGMENT, 0)) + varints(1, 0, 9, 1) + b"x", "starts with its header"),
        (bytes((FRAGMENT, 32)) + varints(1, 1) + b"x", "starts with its header"),
        (bytes((FRAGMENT, 48)) + varints(1, 0), "header length"),
        (bytes((FRAGMENT, 48)) + varints(1, 321) + bytes(400), "header length"),
        (bytes((FRAGMENT, 48)) + varints(1, 1) + b"h" + varints(1 << 35, 0, 0), "age"),
        (bytes((FRAGMENT, 0)) + varints(SEQUENCE_MAX + 1, 5, 9, 1) + b"x", "sequence"),
        (bytes((FRAGMENT, 8)) + bytes(8) + b"\x02A!" + varints(1, 1, 2, 1) + b"x", "node id"),
        (bytes((FRAGMENT, 8)) + bytes(8) + b"\x01\xff" + varints(1, 1, 2, 1) + b"x", "ASCII"),
        (bytes((ACK,)) + varints(0, 5, 0, 0, 0), "ranges"),
        (bytes((ACK,)) + varints(0, 5, 0, 1, 0, 6, 0), "below zero"),
        (bytes((ACK,)) + varints(0, 5, 0, 257) + bytes(600), "ranges"),
        (bytes((ACK,)) + varints(0, 5, 0, 1, 0, 0, 65) + bytes(200), "times"),
        (bytes((STORED, 0)) + varints(257) + bytes(600), "too many"),
        (bytes((STORED, 0)) + varints(1, (1 << 63) - 1, 0), "out of bounds"),
        (bytes((STORED, 16)), "marks"),
        (bytes((REFUSED, 32)), "marks"),
        (bytes((REFUSED, 0)) + varints(1, 9, 0), "reason"),
        (bytes((CONTROL,)) + varints(1) + b"\x01", "control is not"),
        (bytes((CONTROL,)) + varints(1) + b"\x90", "control is not"),
        (bytes((CONTROL,)) + varints(2) + b"\x91\xc0", "control is not"),
        (bytes((CONTROL,)) + varints(3) + b"\x93\x01\x02", "not msgpack"),
        (bytes((CONTROL,)) + varints(200) + b"\x91" * 200, "not msgpack"),
        (bytes((CONTROL,)) + varints(5) + b"\xdd\xff\xff\xff\xff", "not msgpack"),
    ],
)
def test_each_bound_has_its_word(body: bytes, says: str) -> None:
    with pytest.raises(MalformedError, match=says):
        list(read_blocks(body))


FIELDS = st.one_of(
    st.integers(-1, 1 << 63),
    st.text(max_size=80),
    st.binary(max_size=20),
    st.none(),
    st.booleans(),
    st.floats(),
    st.just([]),
    st.just({}),
)


@given(st.one_of(st.binary(max_size=60), st.lists(FIELDS, max_size=9).map(msgpack.packb)))
def test_any_bytes_are_a_header_or_malformed(packed: bytes) -> None:
    """What is taken as a header packs to something that is taken as the same header."""
    try:
        header = BundleHeader.unpack(packed)
    except MalformedError:
        return
    assert BundleHeader.unpack(header.pack()) == header
