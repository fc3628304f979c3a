"""Frames in flight: lost by later numbers, back by late acknowledgements, and every frame accounted for once."""

from collections.abc import Callable

from hypothesis import strategies as st

from edge_agent.core.arq import LOST_KEPT, REORDERING_KEPT_S, Arq, Piece
from edge_agent.core.blocks import Ack
from tests.core.planted import finds, holds
from tests.core.sending import outgoing, sent

REORDER_S = 0.2


def ack_of(*ranges: tuple[int, int]) -> Ack:
    """An ACK of these ranges, highest first."""
    return Ack(0, ranges[0][1] - 1, 0, ranges, ())


def test_a_frame_three_numbers_behind_is_lost_and_two_are_not() -> None:
    arq = Arq()
    for _ in range(5):
        sent(arq, 1.0)
    result = arq.acknowledge(ack_of((2, 3), (1, 2)), 1.01, REORDER_S)
    assert result is not None
    assert result.lost == []
    result = arq.acknowledge(ack_of((3, 4), (1, 3)), 1.01, REORDER_S)
    assert result is not None
    assert [frame.number for frame in result.lost] == [0]


def test_an_overtaken_frame_is_lost_after_a_while_and_one_not_overtaken_never() -> None:
    arq = Arq()
    for _ in range(3):
        sent(arq, 1.0)
    arq.acknowledge(ack_of((1, 2)), 1.01, REORDER_S)
    assert arq.reorder_deadline_s(REORDER_S) == 1.0 + REORDER_S
    assert arq.find_overdue(1.1, REORDER_S) == []
    assert [frame.number for frame in arq.find_overdue(1.2, REORDER_S)] == [0]
    assert arq.find_overdue(1e9, REORDER_S) == [], "frame 2 was never overtaken: time alone does not lose it"


def test_a_late_acknowledgement_undoes_the_loss() -> None:
    arq = Arq()
    for _ in range(4):
        sent(arq, 1.0)
    arq.acknowledge(ack_of((3, 4)), 1.01, REORDER_S)
    assert arq.lost_frames == 1
    result = arq.acknowledge(ack_of((3, 4), (0, 1)), 1.02, REORDER_S)
    assert result is not None
    assert [(each.frame.number, each.was_lost) for each in result.arrived] == [(0, True)]
    assert arq.lost_frames == 0


def test_an_acknowledgement_of_what_was_never_sent_is_not_believed() -> None:
    arq = Arq()
    sent(arq, 1.0)
    assert arq.acknowledge(ack_of((1, 2), (0, 1)), 1.0, REORDER_S) is None
    assert list(arq.in_flight) == [0]


def test_an_acknowledgement_costs_what_is_in_flight_and_not_what_was_ever_sent() -> None:
    """One frame lost for ever, a billion acknowledged since: walking through their numbers would take minutes."""
    arq = Arq()
    for _ in range(4):
        sent(arq, 1.0)
    arq.acknowledge(ack_of((1, 4)), 1.0, REORDER_S)
    assert list(arq.lost) == [0]
    arq.next_number = 1_000_000_000
    sent(arq, 2.0)
    result = arq.acknowledge(ack_of((1, 1_000_000_001)), 2.0, REORDER_S)
    assert result is not None
    assert [each.frame.number for each in result.arrived] == [1_000_000_000]


STEPS = st.lists(
    st.one_of(
        st.just(("send",)),
        st.tuples(st.just("ack"), st.sets(st.integers(0, 60), min_size=1, max_size=12)),
        st.tuples(st.just("wait"), st.floats(0, 0.3)),
        st.just(("give up",)),
    ),
    max_size=80,
)


def every_frame_is_accounted_for(make: Callable[[], Arq]) -> Callable[[list[tuple[object, ...]]], None]:
    """In flight, lost or arrived: each frame is in one place, arrives once, and the sums are right."""

    def check(steps: list[tuple[object, ...]]) -> None:
        arq, now_s, arrived, lost = make(), 0.0, set[int](), set[int]()
        for step in steps:
            if step[0] == "send":
                sent(arq, now_s)
            elif step[0] == "wait":
                now_s += float(str(step[1]))
                lost |= {frame.number for frame in arq.find_overdue(now_s, REORDER_S)}
            elif step[0] == "give up":
                lost |= {frame.number for frame in arq.give_up_all()}
            else:
                assert isinstance(step[1], set)
                ranges = tuple((number, number + 1) for number in sorted(step[1], reverse=True))
                result = arq.acknowledge(ack_of(*ranges), now_s, REORDER_S)
                if result is None:
                    assert max(step[1]) >= arq.next_number
                    continue
                for each in result.arrived:
                    number = each.frame.number
                    assert number in step[1]
                    assert number not in arrived, "once"
                    assert each.was_lost == (number in lost)
                    lost.discard(number)
                    arrived.add(number)
                numbers = [each.frame.number for each in result.arrived]
                assert numbers == sorted(numbers), "times are learned in the order of sending"
                lost |= {frame.number for frame in result.lost}
        assert set(arq.in_flight) | set(arq.lost) | arrived == set(range(arq.next_number))
        assert set(arq.lost) == lost
        assert arq.in_flight_bytes == 100 * len(arq.in_flight)
        assert arq.lost_frames == len(lost)
        assert list(arq.in_flight) == sorted(arq.in_flight)

    return check


class ForgetsTheBytes(Arq):
    """The planted fault: what is given up stays in the count of bytes in flight."""

    def give_up_all(self):  # type: ignore[no-untyped-def]  # noqa: ANN201
        before = self.in_flight_bytes
        frames = super().give_up_all()
        self.in_flight_bytes = before
        return frames


def test_every_frame_is_accounted_for() -> None:
    holds(every_frame_is_accounted_for(Arq), STEPS, examples=200)
    finds(every_frame_is_accounted_for(ForgetsTheBytes), STEPS, examples=200)


def test_pieces_forgotten_are_neither_acknowledged_nor_lost() -> None:
    arq, one, other = Arq(), outgoing(0), outgoing(1)
    sent(arq, 1.0, Piece(one, 0, 100))
    sent(arq, 1.0, Piece(one, 100, 200), Piece(other, 0, 100))
    arq.forget(one)
    assert arq.pieces_in_flight == 1
    result = arq.acknowledge(ack_of((0, 2)), 1.0, REORDER_S)
    assert result is not None
    assert [piece for each in result.arrived for piece in each.frame.pieces] == [Piece(other, 0, 100)]
    assert (arq.pieces_in_flight, arq.in_flight_bytes) == (0, 0)


def test_losses_remembered_are_bounded() -> None:
    arq = Arq()
    for _ in range(3 * LOST_KEPT):
        sent(arq, 1.0)
    arq.give_up_all()
    assert len(arq.lost) == LOST_KEPT


def test_an_urgent_frame_that_was_overtaken_is_named_once() -> None:
    arq = Arq()
    for is_urgent in (True, False, True):
        sent(arq, 1.0)
        arq.in_flight[arq.next_number - 1].is_urgent = is_urgent
    assert arq.urgent_overtaken() == []
    arq.acknowledge(ack_of((2, 3)), 1.01, REORDER_S)
    assert [frame.number for frame in arq.urgent_overtaken()] == [0]
    assert arq.urgent_overtaken() == []
    assert list(arq.in_flight) == [0, 1], "it is not lost for that"


def test_a_link_that_was_seen_to_shuffle_is_given_more_time_and_for_a_while() -> None:
    arq = Arq()
    for _ in range(8):
        sent(arq, 1.0)
    arq.acknowledge(ack_of((6, 7)), 1.1, REORDER_S)
    assert list(arq.lost) == [0, 1, 2, 3]
    arq.acknowledge(ack_of((6, 7), (1, 2)), 1.5, REORDER_S)
    assert (arq.reordering.frames, arq.reordering.extra_s) == (5, 0.5 - REORDER_S)
    for _ in range(8):
        sent(arq, 2.0)
    for highest, lost in ((14, []), (15, [7])):  # eight others may pass it now, and not three
        result = arq.acknowledge(ack_of((highest, highest + 1)), 2.1, 1e9)
        assert result is not None
        assert [frame.number for frame in result.lost] == lost
    arq.acknowledge(ack_of((15, 16)), 1.5 + REORDERING_KEPT_S + 0.1, 1e9)
    assert (arq.reordering.frames, arq.reordering.extra_s) == (0, 0.0)


def test_what_a_dead_link_held_back_was_not_overtaken() -> None:
    arq = Arq()
    for _ in range(8):
        sent(arq, 1.0)
    arq.give_up_all()
    arq.acknowledge(ack_of((0, 8)), 9.0, REORDER_S)
    assert arq.reordering.frames == 0


def test_overtaken_numbers_that_are_remembered_are_bounded() -> None:
    arq = Arq()
    for _ in range(3 * LOST_KEPT):
        sent(arq, 1.0)
    arq.acknowledge(ack_of((3 * LOST_KEPT - 1, 3 * LOST_KEPT)), 1.1, REORDER_S)
    assert len(arq.reordering.overtaken) == len(arq.lost) == LOST_KEPT
