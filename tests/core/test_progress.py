"""The states of a bundle as a state machine: news in any order, doubled or late, ends in the same truth."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edge_agent.core.progress import (
    ARRIVED,
    ENDS,
    FOLLOWS,
    ORDER,
    PERSON_ONLY,
    THERE_ENDS,
    WAY_ENDS,
    Progress,
    advance,
    furthest,
    least_far,
)
from tests.core.planted import finds, holds

STATES = st.sampled_from(Progress)
Rule = Callable[[Progress, Progress], Progress]


def ends_in_one_truth(step: Rule) -> Callable[[tuple[list[Progress], list[Progress]]], None]:
    """However the same news is shuffled, and whatever of it comes twice, the state after it is the same."""

    def check(orders: tuple[list[Progress], list[Progress]]) -> None:
        ends = []
        for order in orders:
            state = Progress.ACCEPTED
            for news in order:
                state = step(state, news)
            ends.append(state)
        assert ends[0] is ends[1]

    return check


def first_end_stays(before: Progress, news: Progress) -> Progress:
    """The planted fault, as orders had it: whichever end came first is kept."""
    return before if before in ENDS and news in ENDS else advance(before, news)


def last_word_counts(before: Progress, news: Progress) -> Progress:
    """The planted fault: the newest news is believed."""
    return news


@st.composite
def shuffled_news(draw: st.DrawFn) -> tuple[list[Progress], list[Progress]]:
    """The same news in two orders, the second with some of it doubled."""
    news = draw(st.lists(STATES, max_size=8))
    doubled = news + (draw(st.lists(st.sampled_from(news), max_size=3)) if news else [])
    return news, draw(st.permutations(doubled))


def test_any_order_of_news_ends_in_the_same_truth() -> None:
    holds(ends_in_one_truth(advance), shuffled_news())


@pytest.mark.parametrize("planted", [first_end_stays, last_word_counts])
def test_the_property_finds_a_rule_that_depends_on_the_order(planted: Rule) -> None:
    finds(ends_in_one_truth(planted), shuffled_news())


class OneBundle(RuleBasedStateMachine):
    """A bundle told of by everybody at once: it never goes back, and is always the furthest of what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.state = Progress.ACCEPTED
        self.said: list[Progress] = []
        self.passed: list[Progress] = [Progress.ACCEPTED]

    @rule(news=STATES)
    def hear(self, news: Progress) -> None:
        self.state = advance(self.state, news)
        self.said.append(news)
        if self.state is not self.passed[-1]:
            self.passed.append(self.state)

    @invariant()
    def never_back(self) -> None:
        ranks = [state.rank for state in self.passed]
        assert ranks == sorted(set(ranks))

    @invariant()
    def is_the_furthest_of_what_was_said(self) -> None:
        assert self.state is furthest([Progress.ACCEPTED, *self.said])

    @invariant()
    def every_step_is_in_the_table(self) -> None:
        assert all(after in FOLLOWS[before] for before, after in zip(self.passed, self.passed[1:], strict=False))


TestOneBundle = OneBundle.TestCase


def test_the_codes_in_stores_and_receipts_never_move() -> None:
    """Version 1 wrote the first ten; what is added goes behind."""
    assert [state.value for state in Progress] == [
        "accepted",
        "refused",
        "cancelled",
        "superseded",
        "expired",
        "evicted",
        "forwarded",
        "delivered",
        "read",
        "done",
        "held",
        "cancelled_there",
        "expired_there",
        "refused_there",
    ]
    assert [Progress.of_code(state.code) for state in Progress] == list(Progress)
    with pytest.raises(ValueError, match="allowed: 0 to 13"):
        Progress.of_code(14)


def test_every_state_has_one_place_and_a_word() -> None:
    assert sorted(ORDER) == sorted(Progress)
    assert {state.word for state in THERE_ENDS} == {"cancelled", "expired", "refused"}
    assert {state.word for state in Progress} == {
        *("accepted", "forwarded", "delivered", "held", "read", "done"),
        *("refused", "expired", "cancelled", "superseded", "evicted"),
    }


@given(end=st.sampled_from(sorted(WAY_ENDS)), there=st.sampled_from(sorted(ARRIVED)))
def test_the_word_of_the_destination_is_truer_than_that_of_a_node_on_the_way(end: Progress, there: Progress) -> None:
    """A copy that expired here may have arrived by then: its receipt was only slower."""
    assert advance(end, there) is there
    assert advance(there, end) is there


def test_nothing_undoes_what_a_person_finished() -> None:
    assert FOLLOWS[Progress.DONE] == frozenset()
    assert Progress.DONE in PERSON_ONLY
    assert least_far([Progress.DONE, Progress.FORWARDED, Progress.READ]) is Progress.FORWARDED
