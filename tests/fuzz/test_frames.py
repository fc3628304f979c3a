"""Whatever a frame holds, it is used or counted: nothing is raised, and every kind of block was reached."""

import ast
import inspect
import random
import time
from collections.abc import Iterator
from typing import get_args

import coverage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core import codec
from edge_agent.core.blocks import Block, Source
from edge_agent.core.envelope import FrameClass
from tests.core.blocks import BLOCKS, write
from tests.fuzz.target import Target, body_of_blocks, fuzz, mutated

KINDS = {kind.__name__ for kind in get_args(Block)}
SPAN_S = 15.0


@pytest.mark.parametrize("seed", [1, 2])
def test_nearly_right_frames_raise_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short run of fixed seeds that reaches every kind of block and the malformed ones."""
    target = Target(seed)
    target.counting(monkeypatch)
    fuzz(target, 700)
    assert {*KINDS, "malformed"} <= set(target.reached)


@pytest.mark.slow
def test_nearly_right_frames_raise_nothing_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds that nobody chose, printed, until the time is over; by line and branch every reader of blocks was run."""
    first = random.SystemRandom().randrange(1 << 32)
    print(f"first seed {first}")
    measure = coverage.Coverage(data_file=None, include=[str(codec.__file__)], branch=True, config_file=False)
    stop_s = time.process_time() + SPAN_S  # of work: on a busy machine the same as on a calm one
    reached, seeds = set[str](), 0
    measure.start()
    try:
        while time.process_time() < stop_s:
            target = Target(first + seeds)
            target.counting(monkeypatch)
            fuzz(target, 500)
            reached |= set(target.reached)
            seeds += 1
    finally:
        measure.stop()
    assert {*KINDS, "malformed"} <= reached
    assert lines_missed(measure) == set(), f"lines of codec.py never run in {seeds} seeds from {first}"


def lines_missed(measure: coverage.Coverage) -> set[int]:
    """Lines of the readers of blocks that no frame reached."""
    _, _, _, missing, _ = measure.analysis2(str(codec.__file__))
    return set(missing) & set(lines_of_readers())


def lines_of_readers() -> Iterator[int]:
    """Lines of the functions that read; those that write belong to the fuzzer here."""
    for node in ast.parse(inspect.getsource(codec)).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith(("put_", "_put_")):
            assert node.end_lineno is not None
            yield from range(node.body[0].lineno, node.end_lineno + 1)


def test_the_lines_asked_for_are_there() -> None:
    """The proof by coverage would hold for an empty set of lines."""
    assert len(list(lines_of_readers())) > 100


@given(st.lists(st.one_of(BLOCKS.map(write), st.binary(max_size=30)), max_size=5), st.integers(0, 1 << 30))
@settings(max_examples=60)
def test_any_blocks_in_any_order_raise_nothing(bodies: list[bytes], seed: int) -> None:
    target = Target(1)
    target.submit()
    for body in bodies:
        target.data(mutated(random.Random(seed), body))
    target.data(b"".join(bodies))


@pytest.mark.parametrize("frame_class", list(FrameClass), ids=lambda each: each.name)
def test_every_class_of_frame_may_hold_anything(frame_class: FrameClass) -> None:
    rng = random.Random(frame_class)
    target = Target(3)
    for _ in range(400):
        head = bytes((frame_class << 5 | rng.choice([0, 4]) | rng.randrange(4),))
        body = body_of_blocks(rng, target) if rng.random() < 0.5 else rng.randbytes(rng.randrange(60))
        target.receive(head + rng.choice([rng.randbytes(19), bytes((77,)) + bytes(18), b""]) + mutated(rng, body))


def test_a_fault_in_the_parser_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: a range that goes below zero is not looked at, and an explicit source need not be a name."""

    def careless(reader: codec.ByteReader, marks: int) -> Source | None:
        if not marks & 8:
            return None
        incarnation = int.from_bytes(reader.take(8), "big")
        return Source(reader.take(reader.byte()).decode("ascii"), incarnation)

    monkeypatch.setattr("edge_agent.core.codec.read_source", careless)
    target = Target(1)
    with pytest.raises(UnicodeDecodeError):
        fuzz(target, 10_000)
