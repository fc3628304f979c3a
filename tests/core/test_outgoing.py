"""Send state of one bundle: a byte is unsent, in flight or arrived, and nothing that arrived is asked for again."""

from collections.abc import Callable

from hypothesis import strategies as st

from edge_agent.core.bundle import Precedence
from edge_agent.core.outgoing import Outgoing
from tests.core.planted import finds, holds
from tests.core.sending import outgoing

LENGTH = 40
RANGE = st.tuples(st.integers(0, LENGTH), st.integers(0, LENGTH)).map(lambda two: (min(two), max(two)))
STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "ack", "lose", "store", "forget"]), RANGE, st.sampled_from(["4g", "radio"])),
    max_size=40,
)


def bytes_of(ranges: object) -> set[int]:
    return {number for start, end in ranges for number in range(start, end)}  # type: ignore[attr-defined]


def agrees_with_sets(make: Callable[[int, int], Outgoing]) -> Callable[[list[tuple[str, tuple[int, int], str]]], None]:
    """A model of three sets: unsent, acked, stored; every step of an outgoing bundle moves the same bytes."""

    def check(steps: list[tuple[str, tuple[int, int], str]]) -> None:
        bundle = make(0, LENGTH)
        whole = set(range(LENGTH))
        unsent, acked, stored = set(whole), set[int](), set[int]()
        for verb, (start, end), link in steps:
            span = set(range(start, end))
            if verb == "take":
                bundle.take(link, start, end, wants_copies=1)
                unsent -= span
            elif verb == "ack":
                bundle.mark_acked(start, end)
                acked |= span
                unsent -= span
            elif verb == "lose":
                gained = span - acked - unsent
                assert bundle.put_back(start, end) == bool(gained)
                unsent |= gained
            elif verb == "store":
                lost = stored - span
                bundle.replace_stored(((start, end),) if start < end else ())
                acked = (acked | span) - lost
                unsent = (unsent - span) | lost
                stored = span
            else:
                bundle.forget_unstored()
                acked, unsent = set(stored), whole - stored
            assert (bytes_of(bundle.unsent), bytes_of(bundle.acked), bytes_of(bundle.stored)) == (unsent, acked, stored)
            assert not unsent & acked, "what arrived is not sent again"
            assert bundle.has_piece_for(link) == bool(unsent)

    return check


class SendsAgain(Outgoing):
    """The planted fault: a lost frame's bytes go again even where another link brought them."""

    def put_back(self, start: int, end: int) -> bool:
        return self.unsent.add(start, end) > 0


def faulty(sequence: int, length: int) -> Outgoing:
    bundle = outgoing(sequence, length)
    return SendsAgain(bundle.record, bundle.header, bundle.source)


def test_bytes_are_where_they_should_be() -> None:
    holds(agrees_with_sets(outgoing), STEPS)
    finds(agrees_with_sets(faulty), STEPS)


def test_the_second_copy_goes_by_another_link_only() -> None:
    bundle = outgoing(0, 100, Precedence.FLASH)
    bundle.take("4g", 0, 100, wants_copies=2)
    assert not bundle.has_piece_for("4g")
    assert bundle.has_piece_for("radio")
    bundle.take("radio", 0, 100, wants_copies=2)
    assert not bundle.has_piece_for("radio")
    assert not bundle.has_piece_for("vsat"), "two copies, not three"


def test_an_arrived_copy_calls_off_the_second() -> None:
    bundle = outgoing(0, 100, Precedence.FLASH)
    bundle.take("4g", 0, 100, wants_copies=2)
    bundle.mark_acked(0, 100)
    assert not bundle.has_piece_for("radio")


def test_a_bundle_without_payload_has_one_byte_to_send() -> None:
    bundle = outgoing(0, 0)
    assert list(bundle.unsent) == [(0, 1)]


def test_an_order_to_withdraw_leaves_on_every_link_until_it_has_arrived() -> None:
    bundle = outgoing(0, 100, Precedence.FLASH, flow="withdraw")
    for link in ("4g", "radio", "vsat"):
        assert bundle.has_piece_for(link)
        assert bundle.copy_for(link) == (None if link == "4g" else (0, 100))
        bundle.take(link, 0, 60, wants_copies=2)
        assert bundle.has_piece_for(link)
        bundle.take(link, 60, 100, wants_copies=2)
        assert not bundle.has_piece_for(link), "one copy a link"
    bundle.mark_acked(0, 60)
    assert bundle.copy_for("mesh") == (60, 100), "what has arrived needs no other copy"
    bundle.put_back(0, 100)
    assert list(bundle.unsent) == [(60, 100)]
    bundle.forget_unstored()
    assert (list(bundle.unsent), bundle.has_piece_for("radio")) == ([(0, 100)], True)


def test_an_order_to_withdraw_that_is_not_flash_has_no_copies() -> None:
    assert not outgoing(0, 100, Precedence.IMMEDIATE, flow="withdraw").is_on_every_link
