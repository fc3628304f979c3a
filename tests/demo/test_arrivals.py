"""Order of arrival after the outage, as the demo counts it."""

from examples.demo.arrivals import Rank, is_in_order, order_after
from examples.demo.ledger import Arrival

ZERO_MS = 1_763_745_000_000


def _arrival(letter: str, flow: str, at_s: float, age_s: float, source: str = "kit-1") -> Arrival:
    created_ms = ZERO_MS + round((at_s - age_s) * 1000)
    return Arrival(f"{source}~00000000000000aa~{letter}{round(at_s * 10)}", source, flow, at_s, created_ms, ("radio",))


def test_each_kind_and_rank_is_told_once_in_the_order_it_came() -> None:
    """What came before the outage was over, or from another kit, is not in it."""
    groups = order_after(
        [
            _arrival("P", "position", 40, 1),
            _arrival("I", "text", 51, 15),
            _arrival("P", "position", 51.5, 1, source="kit-2"),
            _arrival("P", "picture", 52, 30),
            _arrival("P", "position", 53, 1),
            _arrival("P", "position", 54, 9),
            _arrival("P", "position", 55, 1),
            _arrival("R", "picture", 56, 30),
        ],
        "kit-1",
        50.0,
        ZERO_MS,
    )
    assert [(each.kind, each.rank) for each in groups] == [
        ("text", Rank.URGENT),
        ("photo", Rank.URGENT),
        ("position", Rank.NEWEST),
        ("position", Rank.HISTORY),
        ("picture", Rank.HISTORY),
    ]
    assert [(each.at_s, each.age_s) for each in groups[:2]] == [(51.0, 15.0), (52.0, 30.0)]
    assert is_in_order(groups)


def test_history_before_the_newest_or_a_rank_that_never_came_is_not_in_order() -> None:
    """Planted faults."""
    text, newest, history = (
        _arrival("I", "text", 51, 15),
        _arrival("P", "position", 53, 1),
        _arrival("P", "report", 52, 9),
    )
    assert not is_in_order(order_after([text, history, newest], "kit-1", 50.0, ZERO_MS))
    assert not is_in_order(order_after([newest, history], "kit-1", 50.0, ZERO_MS))
    assert not is_in_order(order_after([text, newest, history], "kit-1", None, ZERO_MS))
