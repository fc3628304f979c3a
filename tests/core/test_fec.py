"""The erasure code: any lost blocks come back from as many repairs, whatever the order, and nothing false comes out."""

import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.fec import (
    INVERSES,
    KEPT_MAX,
    PRODUCTS,
    ROWS_MAX,
    WINDOW_MAX,
    Decoder,
    content_of,
    encode,
    factor,
    symbol_of,
)


def blocks_of(seed: int, count: int) -> list[bytes]:
    """Blocks of many lengths, empty ones among them, many of which end in zeros."""
    rng = random.Random(seed)
    return [rng.randbytes(rng.choice([0, 1, 7, 40])) + bytes(rng.choice([0, 0, 3])) for _ in range(count)]


def test_constants_multiply_as_a_field_does() -> None:
    """Every constant but 0 has an inverse, and (a x b) x c is a x (b x c) for a sample of all."""
    assert all(PRODUCTS[value][INVERSES[value]] == 1 for value in range(1, 256))
    for a, b, c in combinations(range(1, 256, 17), 3):
        assert PRODUCTS[PRODUCTS[a][b]][c] == PRODUCTS[a][PRODUCTS[b][c]]
        assert PRODUCTS[a][b ^ c] == PRODUCTS[a][b] ^ PRODUCTS[a][c]


def test_no_factor_is_zero_and_none_comes_twice_in_a_repair() -> None:
    """Each repair tells all blocks of a window apart."""
    for repair in range(128):
        factors = [factor(repair, number) for number in range(1000, 1000 + 128)]
        assert 0 not in factors
        assert len(set(factors)) == 128


@given(st.integers(0, 1 << 20), st.integers(1, WINDOW_MAX), st.integers(0, 1 << 40), st.integers(0, 127), st.data())
def test_any_k_of_n_give_all_back(seed: int, count: int, first: int, repair: int, data: st.DataObject) -> None:
    """With as many repairs as blocks are lost, in any order among those that came, each lost block comes once."""
    first += 1
    blocks = blocks_of(seed, count)
    symbols = [symbol_of(block) for block in blocks]
    lost = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=ROWS_MAX))
    came: list[tuple[str, int]] = [("block", at) for at in range(count) if at not in lost]
    came += [("repair", number % 128) for number in range(repair, repair + len(lost))]
    decoder, back = Decoder(), {}
    for kind, number in data.draw(st.permutations(came)):
        if kind == "block":
            recovered = decoder.take(first + number, symbols[number])
        else:
            recovered = decoder.take_repair(first, count, number, encode(symbols, first, number)) or []
        for each in recovered:
            if each.number - first in lost:
                assert each.number not in back, "it came back twice"
                back[each.number] = each.content
            else:  # before it came itself
                assert each.content == blocks[each.number - first]
    assert back == {first + at: blocks[at] for at in lost}


@given(st.integers(0, 1 << 20), st.lists(st.sampled_from(["lose", "keep", "late", "twice"]), min_size=5, max_size=150))
def test_a_sliding_window_never_gives_back_what_was_not_sent(seed: int, fates: list[str]) -> None:
    """Blocks and a repair after each, lost, late or doubled: what comes back is right, new, and inside the bounds."""
    rng = random.Random(seed)
    blocks = blocks_of(seed, len(fates))
    decoder, had, late = Decoder(), set(), []
    for at, fate in enumerate(fates):
        number, symbol = at + 1, symbol_of(blocks[at])
        start = max(0, at - rng.randrange(WINDOW_MAX))
        total = encode([symbol_of(block) for block in blocks[start : at + 1]], start + 1, at % 128)
        frames = [("block", number, symbol), ("repair", start + 1, total)]
        for frame in frames if fate != "lose" else frames[1:] if rng.random() < 0.5 else []:
            late.append((at + rng.choice([0, 1, 5]) * (fate == "late"), at % 128, number, frame))
            if fate == "twice":
                late.append(late[-1])
        due = [each for each in late if each[0] <= at]
        late = [each for each in late if each[0] > at]
        for _, repair, newest, (kind, which, symbol) in due:
            if kind == "block":
                had.add(which)
                recovered = decoder.take(which, symbol)
            else:
                recovered = decoder.take_repair(which, newest - which + 1, repair, symbol) or []
            for each in recovered:
                assert each.content == blocks[each.number - 1]
                assert each.number not in had
                had.add(each.number)
        assert len(decoder.rows) <= ROWS_MAX
        assert len(decoder.known) <= KEPT_MAX


def test_one_of_every_three_lost_comes_back_within_the_window() -> None:
    """A repair after every second block is enough for a third of the blocks lost one by one."""
    blocks = blocks_of(7, 120)
    symbols = [symbol_of(block) for block in blocks]
    decoder, back = Decoder(), set()
    for at in range(120):
        number = at + 1
        if number % 3:
            back |= {each.number for each in decoder.take(number, symbols[at])}
        if number % 2 == 0:
            first = max(1, number - 8)
            window = symbols[first - 1 : number]
            recovered = decoder.take_repair(first, len(window), at // 2 % 128, encode(window, first, at // 2 % 128))
            back |= {each.number for each in recovered or []}
    assert back == set(range(3, 121, 3))


def test_a_repair_of_nothing_that_was_sent_gives_no_block() -> None:
    """Sums that are of no block come back as none, and are not taken for known."""
    decoder = Decoder()
    decoder.take(1, symbol_of(b"first"))
    (recovered,) = decoder.take_repair(1, 2, 0, b"\xff" * 20) or []
    assert recovered.content is None
    assert 2 not in decoder.known
    assert decoder.take_repair(1, 1, 0, b"\xff" * 20) is None
    assert decoder.take_repair(1, 3, 0, b"") is None, "shorter than a block it names"


def test_numbers_far_ahead_cost_no_memory() -> None:
    """A peer that jumps makes us forget, no more."""
    decoder = Decoder()
    for number in (1, 1 << 20, 1 << 40, (1 << 60) + 1):
        decoder.take(number, symbol_of(b"x"))
        decoder.take_repair(number + 1, WINDOW_MAX, 1, b"yz")
    assert len(decoder.known) == 1
    assert len(decoder.rows) == 1


@pytest.mark.parametrize("symbol", [b"", b"\x05\x00abc", b"\x01\x00abc"])
def test_a_symbol_says_how_long_its_block_is(symbol: bytes) -> None:
    """Too short, or longer by anything but zeros, is none."""
    assert content_of(symbol) is None
    assert content_of(symbol_of(b"abc") + bytes(4)) == b"abc"
