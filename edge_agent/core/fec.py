"""Erasure code of live blocks: the blocks leave as they are, and a repair is a sum of some of them over GF(256).

The factor of block number s in repair number r is 1 / ((128 + r mod 128) xor (s mod 128)), a Cauchy matrix: any square
part of it can be inverted. So r repairs over one range give back any r lost blocks of it, and repairs whose ranges
overlap as a window slides nearly always do, with no factor on the wire. Multiplying a block by a constant is one
``bytes.translate``, adding two is one xor of long integers.
"""

from dataclasses import dataclass
from typing import NamedTuple

WINDOW_MAX = 32
"""Blocks that one repair may be about."""
KEPT_MAX = 48
"""Numbers a receiver looks back: a window, and half as much again for what comes out of order."""
ROWS_MAX = 16
"""Repairs that wait for more; the oldest goes."""
SYMBOL_MAX_BYTES = 2048
"""Longer blocks are not covered: 48 of them are what a peer can make us hold."""
LENGTH_BYTES = 2
"""In front of each block inside a repair, low byte first: blocks of one window differ in length."""
REPAIRS_MOD = 128
_TIMES_TWO = bytes((x << 1) ^ (0x11D if x & 128 else 0) for x in range(256))
"""x^8 + x^4 + x^3 + x^2 + 1, of which 2 is a generator."""


def _products() -> tuple[bytes, ...]:
    """For each constant the table of its 256 products."""
    tables = [bytes(256)] * 256
    value, table = 1, bytes(range(256))
    for _ in range(255):
        tables[value] = table
        value, table = _TIMES_TWO[value], table.translate(_TIMES_TWO)
    return tuple(tables)


PRODUCTS = _products()
INVERSES = bytes([0]) + bytes(PRODUCTS[value].index(1) for value in range(1, 256))


def factor(repair: int, number: int) -> int:
    """The factor of block ``number`` in a repair, 1 to 255."""
    return INVERSES[(REPAIRS_MOD | repair & 127) ^ (number & 127)]


def symbol_of(content: bytes) -> bytes:
    """A block as it is summed: its length, then itself."""
    return len(content).to_bytes(LENGTH_BYTES, "little") + content


def content_of(symbol: bytes) -> bytes | None:
    """The block in a symbol, which may be longer by zeros; None where it is none."""
    length = int.from_bytes(symbol[:LENGTH_BYTES], "little")
    content = symbol[LENGTH_BYTES : LENGTH_BYTES + length]
    is_whole = len(symbol) >= LENGTH_BYTES + length and not any(symbol[LENGTH_BYTES + length :])
    return content if is_whole else None


def encode(symbols: list[bytes], first: int, repair: int) -> bytes:
    """The sum over ``symbols`` with numbers from ``first`` on, as long as the longest. O(bytes)."""
    total = 0
    for number, symbol in enumerate(symbols, first):
        total ^= int.from_bytes(symbol.translate(PRODUCTS[factor(repair, number)]), "little")
    return total.to_bytes(max(map(len, symbols)), "little")


def _add(one: bytes, other: bytes, times: int) -> bytes:
    """``one`` + ``times`` x ``other``."""
    scaled = other.translate(PRODUCTS[times])
    total = int.from_bytes(one, "little") ^ int.from_bytes(scaled, "little")
    return total.to_bytes(max(len(one), len(scaled)), "little")


class Recovered(NamedTuple):
    """A block that never came; ``content`` None: the sums that were sent for it are of no block."""

    number: int
    content: bytes | None


@dataclass(slots=True, eq=False)
class _Row:
    """A sum over blocks that have not come. Its own one, ``pivot``, is in no other row, and its factor is 1."""

    factors: dict[int, int]
    total: bytes
    pivot: int = -1


class Decoder:
    """Blocks of one session that came lately, and the repairs that are still short of some."""

    def __init__(self) -> None:
        self.newest = 0
        self.known: dict[int, bytes] = {}
        self.rows: list[_Row] = []

    def take(self, number: int, symbol: bytes) -> list[Recovered]:
        """A block came; gives back those that are known by it. O(rows), a few times of that where rows held it."""
        if number <= self.newest - KEPT_MAX or number in self.known:
            return []
        self._move_to(number)
        self.known[number] = symbol
        touched = [row for row in self.rows if number in row.factors]
        if not touched:
            return []
        self.rows = [row for row in self.rows if number not in row.factors]
        recovered: list[Recovered] = []
        for row in touched:
            row.total = _add(row.total, symbol, row.factors.pop(number))
            recovered += self._join(row)
        return recovered

    def take_repair(self, first: int, count: int, repair: int, total: bytes) -> list[Recovered] | None:
        """A repair over ``count`` blocks came; gives back those that are known by it, None when it is of no use."""
        newest = first + count - 1
        if first <= self.newest - KEPT_MAX:
            return None  # the first of them is forgotten here
        self._move_to(newest)
        factors: dict[int, int] = {}
        left = int.from_bytes(total, "little")
        for number in range(first, first + count):
            symbol = self.known.get(number)
            if symbol is None:
                factors[number] = factor(repair, number)
            elif len(symbol) > len(total):
                return None  # it is not a sum of what it names
            else:
                left ^= int.from_bytes(symbol.translate(PRODUCTS[factor(repair, number)]), "little")
        if not factors:
            return None
        row = _Row(factors, left.to_bytes(len(total), "little"))
        if len(self.rows) >= ROWS_MAX:
            del self.rows[0]
        return self._join(row)

    def _join(self, row: _Row) -> list[Recovered]:
        """Gauss-Jordan, one row more. O(rows squared) at the worst."""
        for other in self.rows:
            times = row.factors.get(other.pivot)
            if times is not None:
                _subtract(row, other, times)
        for number in [each for each in row.factors if each in self.known]:
            row.total = _add(row.total, self.known[number], row.factors.pop(number))
        if not row.factors:
            return []
        row.pivot = max(row.factors)
        inverse = INVERSES[row.factors[row.pivot]]
        row.total = row.total.translate(PRODUCTS[inverse])
        row.factors = {number: PRODUCTS[inverse][value] for number, value in row.factors.items()}
        for other in self.rows:
            times = other.factors.get(row.pivot)
            if times is not None:
                _subtract(other, row, times)
        self.rows.append(row)
        solved = [each for each in self.rows if len(each.factors) == 1]
        if not solved:
            return []
        self.rows = [each for each in self.rows if len(each.factors) > 1]
        recovered = [Recovered(each.pivot, content_of(each.total)) for each in solved]
        for number, content in recovered:
            if content is not None:
                self.known[number] = symbol_of(content)
        return recovered

    def _move_to(self, number: int) -> None:
        """Forget what is too old beside ``number``."""
        if number <= self.newest:
            return
        self.newest, floor = number, number - KEPT_MAX
        for old in [each for each in self.known if each <= floor]:
            del self.known[old]
        if self.rows:
            self.rows = [row for row in self.rows if min(row.factors) > floor]


def _subtract(row: _Row, other: _Row, times: int) -> None:
    """``row`` less ``times`` x ``other``, which takes the pivot of ``other`` out of it."""
    row.total = _add(row.total, other.total, times)
    table = PRODUCTS[times]
    for number, value in other.factors.items():
        left = row.factors.pop(number, 0) ^ table[value]
        if left:
            row.factors[number] = left
