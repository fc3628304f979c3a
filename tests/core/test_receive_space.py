"""What arrived, once: the replay window, and an ACK of it that never exceeds its room."""

from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.codec import put_ack, read_blocks
from edge_agent.core.receive_space import KEPT_RANGES, ReceiveSpace
from tests.core.planted import finds, holds

NUMBERS = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 1 << 36)), max_size=80)
DENSE = st.lists(st.integers(0, 30), max_size=80)


def each_number_once(make: Callable[[float], ReceiveSpace]) -> Callable[[list[int]], None]:
    """A number taken is never taken again, and one not taken is, as long as it is above the floor."""

    def check(numbers: list[int]) -> None:
        space, taken = make(0.0), set[int]()
        for number in numbers:
            assert space.is_replay(number) or number not in taken
            if number not in taken:
                assert not space.is_replay(number), "there were too few gaps for a floor"
                space.record(number, 1.0)
                taken.add(number)
        assert space.highest == max(taken, default=-1)
        assert {number for start, end in space.numbers for number in range(start, end)} == taken

    return check


class ForgetsTheHighest(ReceiveSpace):
    """The planted fault: the highest number is not in the window itself."""

    def is_replay(self, number: int) -> bool:
        return number != self.highest and super().is_replay(number)


def test_each_number_is_taken_once() -> None:
    holds(each_number_once(ReceiveSpace), DENSE)
    finds(each_number_once(ForgetsTheHighest), DENSE)


@given(st.randoms(use_true_random=False))
@settings(max_examples=10)
def test_below_the_floor_everything_is_a_replay_and_memory_is_bounded(rng: Random) -> None:
    numbers = list(range(0, 4 * KEPT_RANGES, 2))
    rng.shuffle(numbers)
    space = ReceiveSpace(0.0)
    taken = set[int]()
    for number in numbers:
        if not space.is_replay(number):
            assert number not in taken
            space.record(number, 0.0)
            taken.add(number)
        assert len(space.numbers) <= KEPT_RANGES
    assert all(space.is_replay(number) for number in taken)


def fits_its_room(make: Callable[[float], ReceiveSpace]) -> Callable[[list[tuple[int, float]], int, int], None]:
    """An ACK is at most as long as its room, tells only what is true, and the newest range always."""

    def check(arrivals: list[tuple[int, float]], room_bytes: int, reference: int) -> None:
        space, now_s = make(0.0), 0.0
        for number, gap_s in arrivals:
            now_s += gap_s
            if not space.is_replay(number):
                space.record(number, now_s)
        ack = space.take_ack(reference, room_bytes)
        if ack is None:
            assert not arrivals or room_bytes < 40, "forty bytes hold the newest range of any session"
            return
        body = bytearray()
        put_ack(body, ack)
        assert len(body) <= room_bytes
        assert list(read_blocks(bytes(body))) == [ack]
        assert ack.highest == space.highest == ack.ranges[0][1] - 1
        assert all(space.numbers.covers(start, end) for start, end in ack.ranges)
        assert all(number in space.numbers for number, _ in ack.arrivals)

    return check


class Estimates(ReceiveSpace):
    """The planted fault: lengths are those of a usual session, not of this one."""

    def take_ack(self, reference: int, room_bytes: int):  # type: ignore[no-untyped-def]  # noqa: ANN201
        return super().take_ack(reference, room_bytes + 8)


def test_an_ack_fits_its_room() -> None:
    arrivals = st.lists(
        st.tuples(
            st.one_of(st.integers(0, 200), st.integers(0, 1 << 36)), st.one_of(st.floats(0, 1), st.floats(0, 1e8))
        ),
        max_size=80,
    )
    rooms, references = st.one_of(st.integers(0, 120), st.integers(0, 1400)), st.integers(0, 1 << 32)
    holds(fits_its_room(ReceiveSpace), arrivals, rooms, references, examples=100)
    finds(fits_its_room(Estimates), arrivals, rooms, references, examples=300)


def test_an_ack_that_did_not_fit_is_still_owed() -> None:
    space = ReceiveSpace(0.0)
    space.record(5, 1.0)
    space.want_ack(1.0)
    assert space.take_ack(0, 5) is None
    assert space.ack_due_s == 1.0
    assert space.take_ack(0, 60) is not None
    assert space.ack_due_s is None
