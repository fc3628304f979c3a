"""The state of an order is the truth about its copies."""

import pytest

from edge_agent.command.order import STATES, Order
from edge_agent.command.roll import call_roll, spell_roll
from edge_agent.core.progress import Progress
from tests.command.deliveries import START_MS


def _order(*units: str) -> Order:
    bundles = {unit: f"b-{unit}" for unit in units}
    return Order(id="b", text="撤", at_ms=START_MS, expires_ms=START_MS + 1, by="王敏", bundles=bundles)


@pytest.mark.parametrize("fate", Progress)
def test_every_fate_the_store_knows_has_a_word_on_the_page(fate: Progress) -> None:
    """Given up for want of room reads "expired", replaced reads "cancelled"; neither stays "accepted"."""
    order = _order("kit-7")
    order.advance("kit-7", fate, START_MS + 5, ())
    shown = order.to_json()["state"]
    assert shown in STATES
    assert shown == {"evicted": "expired", "superseded": "cancelled"}.get(fate.word, fate.word)


def test_a_copy_handed_on_can_still_expire_and_a_delivered_one_cannot() -> None:
    """An end follows what was not delivered; a receipt that was under way is truer than the end."""
    order = _order("kit-7")
    news = (Progress.FORWARDED, Progress.EXPIRED, Progress.FORWARDED)
    assert [order.advance("kit-7", state, 1, ()) for state in news] == [True, True, False]
    assert order.advance("kit-7", Progress.DELIVERED, 2, ("radio",))
    assert not order.advance("kit-7", Progress.EXPIRED, 3, ())
    assert order.to_json()["state"] == "delivered"


def test_copies_that_arrived_are_not_asked_for_again_and_ended_ones_for_a_day() -> None:
    """What a person answers comes by itself; the receipt of a copy that expired on its way may only have been slow."""
    order = _order("kit-1", "kit-2", "kit-3", "kit-4")
    for unit, state in (
        ("kit-1", Progress.DELIVERED),
        ("kit-2", Progress.FORWARDED),
        ("kit-3", Progress.EXPIRED),
    ):
        order.advance(unit, state, 1, ())
    assert list(order.open_bundles(START_MS)) == ["kit-2", "kit-3", "kit-4"]
    assert list(order.open_bundles(order.expires_ms + 86_400_000)) == ["kit-2", "kit-4"]
    assert order.answer("kit-1", "b-kit-1", Progress.DONE, 2, "李强")
    assert order.reply == "李强"


def test_the_roll_call_has_every_team_once_by_name() -> None:
    """40 teams: 31 read, 6 delivered, 3 not reached; one that was cancelled there has no further to go."""
    order = _order(*(f"kit-{number}" for number in range(40)))
    news = [Progress.READ] * 30 + [Progress.DONE, Progress.HELD] + [Progress.DELIVERED] * 5
    news += [Progress.FORWARDED, Progress.EXPIRED]
    for number, state in enumerate(news):
        order.advance(f"kit-{number}", state, 1, ())
    roll = call_roll(order, lambda unit: f"队 {unit}")
    assert spell_roll(roll) == "40 teams: 31 read, 6 delivered, 3 not reached"
    assert roll["not_reached"] == ["队 kit-37", "队 kit-38", "队 kit-39"]
    order.advance("kit-39", Progress.CANCELLED_THERE, 2, ())
    assert order.roll()["ended"] == ["kit-39"]
    assert sum(len(units) for units in order.roll().values()) == 40


def test_an_answer_to_a_copy_that_was_refused_is_no_answer() -> None:
    """It has no bundle, so nobody can have read it."""
    order = _order("kit-1")
    order.bundles["kit-1"], order.states["kit-1"] = "", "refused"
    assert not order.answer("kit-1", "", Progress.READ, 2, "李强")
