"""Closed numbers: whatever the order, the rollbacks and the starts, the rows and their tail in memory are one set."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.intervals import IntervalSet
from edge_agent.disk import seen
from edge_agent.disk.own_numbers import OwnNumbers
from edge_agent.disk.seen import SeenNumbers

KEYS = [(1, 0), (1, 3), (2, 3)]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(KEYS), st.integers(0, 60)),
        st.tuples(st.sampled_from(KEYS), st.integers(0, 60), st.integers(1, 9)),
        st.sampled_from(["commit", "rollback", "start"]),
    ),
    max_size=80,
)


def table() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.execute(
        "CREATE TABLE seen (origin INTEGER, precedence INTEGER, start INTEGER, stop INTEGER,"
        " PRIMARY KEY (origin, precedence, start)) WITHOUT ROWID"
    )
    return database


@given(steps=STEPS)
def test_a_number_is_seen_exactly_when_it_was_committed(steps: list[object]) -> None:
    with pytest.MonkeyPatch.context() as patch, closing(table()) as database:
        patch.setattr(seen, "TAIL_INTERVALS", 3)
        patch.setattr(seen, "KEYS_MAX", 2)
        numbers = SeenNumbers(database)
        kept: set[tuple[tuple[int, int], int]] = set()
        new: set[tuple[tuple[int, int], int]] = set()
        database.execute("BEGIN")
        for step in [*steps, "commit"]:
            if step == "start":
                numbers, new = SeenNumbers(database), set()
                database.execute("ROLLBACK")
            elif step == "rollback":
                database.execute("ROLLBACK")
                numbers.rollback()
                new = set()
            elif step == "commit":
                numbers.write()
                database.execute("COMMIT")
                kept, new = kept | new, set()
            else:
                assert isinstance(step, tuple)
                key, number, *length = step
                if length:
                    numbers.close(key, number, number + length[0])
                    new |= {(key, each) for each in range(number, number + length[0])}
                    continue
                assert numbers.has(key, number) == ((key, number) in kept | new)
                if not numbers.has(key, number):
                    numbers.add(key, number)
                    new.add((key, number))
                continue
            database.execute("BEGIN")
            numbers.begin()
            for key in KEYS:
                assert [number for number in range(72) if numbers.has(key, number)] == sorted(
                    number for each, number in kept if each == key
                )
        told = dict(numbers.told())
        for key in KEYS:
            expected = IntervalSet((number, number + 1) for each, number in kept if each == key)
            assert told.get(key, IntervalSet()) == expected
            assert database.execute("SELECT count(*) FROM seen WHERE origin = ? AND precedence = ?", key).fetchone()[
                0
            ] == len(expected)


def test_a_peer_that_sends_every_second_number_costs_no_more_memory_than_some() -> None:
    with closing(table()) as database:
        numbers = SeenNumbers(database)
        for start in range(0, 20_000, 1_000):
            numbers.begin()
            for number in range(start, start + 1_000, 2):
                numbers.add((1, 3), number)
            numbers.write()
        assert sum(len(tail.numbers) for tail in numbers._tails.values()) <= 2 * seen.TAIL_INTERVALS
        ((_, told),) = numbers.told()
        assert len(told) == seen.TOLD_INTERVALS
        assert numbers.has((1, 3), 0)
        assert not numbers.has((1, 3), 1)
        numbers.add((1, 3), 1)  # joins its two neighbours, which are rows alone
        numbers.write()
        assert database.execute("SELECT start, stop FROM seen ORDER BY start LIMIT 2").fetchall() == [(0, 3), (4, 5)]


def test_own_numbers_are_known_by_the_lease_and_a_rollback_forgets_them() -> None:
    own = OwnNumbers([5, 0])
    assert [number for number in range(8) if own.has(0, number)] == [0, 1, 2, 3, 4]
    own.begin()
    own.add(0, 6)
    assert (own.has(0, 5), own.has(0, 6), own.next_sequence(0), own.used(0)) == (False, True, 7, 1)
    own.rollback()
    assert (own.has(0, 6), own.next_sequence(0), own.used(0)) == (False, 5, 0)


def test_holes_in_own_numbers_are_bounded() -> None:
    own = OwnNumbers([0])
    for number in range(0, 10_000, 2):
        own.add(0, number)
    assert not own.has(0, 9_997)
    assert own.has(0, 9_998)
    assert len(own._numbers[0]) <= 1024
