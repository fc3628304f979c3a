"""The state of an order is the truth about its copies."""

import pytest

from edge_agent.command.order import STATES, Order
from edge_agent.disk.types import FateState
from tests.command.deliveries import START_MS


def _order(*units: str) -> Order:
    bundles = {unit: f"b-{unit}" for unit in units}
    return Order(id="b", text="撤", at_ms=START_MS, expires_ms=START_MS + 1, by="王敏", bundles=bundles)


@pytest.mark.parametrize("fate", [each.value for each in FateState])
def test_every_fate_the_store_knows_has_a_word_on_the_page(fate: str) -> None:
    """Given up for want of room reads "expired", replaced reads "cancelled"; neither stays "accepted"."""
    order = _order("kit-7")
    order.advance("kit-7", fate, START_MS + 5, ())
    shown = order.to_json()["state"]
    assert shown in STATES
    assert shown == {"evicted": "expired", "superseded": "cancelled"}.get(fate, fate)


def test_a_copy_handed_on_can_still_expire_and_a_delivered_one_cannot() -> None:
    """An end follows what was not delivered; a receipt that was under way is truer than the end."""
    order = _order("kit-7")
    assert [order.advance("kit-7", state, 1, ()) for state in ("forwarded", "expired", "forwarded")] == [
        True,
        True,
        False,
    ]
    assert order.advance("kit-7", "delivered", 2, ("radio",))
    assert not order.advance("kit-7", "expired", 3, ())
    assert order.to_json()["state"] == "delivered"


def test_copies_that_arrived_or_ended_are_not_asked_for_again() -> None:
    """What a person answers comes by itself; only copies on their way are the store's to tell."""
    order = _order("kit-1", "kit-2", "kit-3", "kit-4")
    for unit, state in (("kit-1", "delivered"), ("kit-2", "forwarded"), ("kit-3", "expired")):
        order.advance(unit, state, 1, ())
    assert order.open_bundles == {"kit-2": "b-kit-2", "kit-4": "b-kit-4"}
    assert order.answer("kit-1", "b-kit-1", "done", 2, "李强")
    assert order.reply == "李强"


def test_an_answer_to_a_copy_that_was_refused_is_no_answer() -> None:
    """It has no bundle, so nobody can have read it."""
    order = _order("kit-1")
    order.bundles["kit-1"], order.states["kit-1"] = "", "refused"
    assert not order.answer("kit-1", "", "read", 2, "李强")
