"""Words between posts: what is written is read, and nothing that a peer writes does more than be refused."""

import random
from dataclasses import replace

import msgpack
import pytest

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, BundleRecord, MalformedError, Precedence
from edge_agent.core.intervals import IntervalSet
from edge_agent.core.post_words import Copy, HaveWord, pack_copies, read_copies

BUNDLE = BundleId("kit-1", (1 << 64) - 1, Precedence.FLASH, 7)
HEADER = BundleHeader(destination=COMMAND, flow="sos")
WAY = BundleRecord(BundleId("county-1", 1, Precedence.FLASH, 0), HEADER, 0, 0.0)
COPY = [True, "kit-1", 5, 0, 7, HEADER.pack(), 1000, 2000, b"help"]
HAVE = [1, "county", True, False, ["kit-1", 5, 0, 0, 3, 8, 9]]


def test_a_copy_has_aged_by_the_way() -> None:
    record = BundleRecord(BUNDLE, HEADER, 4, 10.0, 1.0, 2.0)
    way = BundleRecord(BUNDLE, HEADER, 0, 500.0, 3.0, 4.0)
    word = Copy(record=record, payload=b"help", answers=True)
    read, other = read_copies(pack_copies([word, replace(word, answers=False)], 20.0), way, 505.0)
    assert not other.answers
    assert (read.record.id, read.record.header, read.payload, read.answers) == (BUNDLE, HEADER, b"help", True)
    assert read.record.age_low_at(505.0) == pytest.approx(1.0 + 10.0 + 3.0 + 5.0)
    assert read.record.age_high_at(505.0) == pytest.approx(2.0 + 10.0 + 4.0 + 5.0)


def test_numbers_are_read_as_written() -> None:
    numbers = {
        ("kit-1", 5, Precedence.FLASH): IntervalSet([(0, 3), (8, 9)]),
        ("kit-2", 6, Precedence.ROUTINE): IntervalSet(),
    }
    word = HaveWord(level="county", is_whole=True, asks=True, numbers=numbers)
    assert HaveWord.unpack(word.pack()) == word


def changed(fields: list[object], at: int, value: object) -> list[object]:
    return [*fields[:at], value, *fields[at + 1 :]]


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (1, "No Id"),
        (1, 5),
        (2, -1),
        (2, "5"),
        (3, 9),
        (4, -1),
        (4, 1 << 42),
        (5, "text"),
        (5, b"\x00"),
        (6, -1),
        (7, 1 << 60),
        (7, 1.5),
        (8, "text"),
    ],
)
def test_a_wrong_copy_is_refused(at: int, value: object) -> None:
    assert len(read_copies(msgpack.packb([1, COPY, COPY]), WAY, 0.0)) == 2
    with pytest.raises(MalformedError):
        read_copies(msgpack.packb([1, COPY, changed(COPY, at, value)]), WAY, 0.0)


@pytest.mark.parametrize("fields", [[], [2, COPY], [1, COPY[:-1]], [1, 5], {}])
def test_another_form_is_refused(fields: object) -> None:
    with pytest.raises(MalformedError):
        read_copies(msgpack.packb(fields), WAY, 0.0)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 0),
        (1, 5),
        (1, "x" * 17),
        (4, 5),
        (4, ["kit-1", 5, 0, 3]),
        (4, ["kit-1", 5, 0, 3, 3]),
        (4, ["kit-1", 5, 0, 3, 1 << 60]),
        (4, ["kit-1", 5, 0, "a", "b"]),
        (4, ["kit-1"]),
        (4, []),
    ],
)
def test_wrong_numbers_are_refused(at: int, value: object) -> None:
    HaveWord.unpack(msgpack.packb(HAVE))
    with pytest.raises(MalformedError):
        HaveWord.unpack(msgpack.packb(changed(HAVE, at, value)))


def test_noise_is_refused_or_read_and_nothing_else() -> None:
    rng = random.Random(1)
    refused = 0
    for _ in range(4000):
        packed = bytearray(msgpack.packb(rng.choice([[1, COPY, COPY], HAVE])))
        for _ in range(rng.randrange(1, 4)):
            packed[rng.randrange(len(packed))] = rng.randrange(256)
        for read in (lambda each: read_copies(each, WAY, 0.0), HaveWord.unpack):
            try:
                read(bytes(packed))
            except MalformedError:
                refused += 1
    assert refused > 4000
