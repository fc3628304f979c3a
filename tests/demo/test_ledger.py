"""The demo's ledger notices what a node would rather not tell: planted losses and doubles."""

from pathlib import Path

from examples.demo.ledger import LOST_AFTER_ASKS, UNHEARD_S, Arrival, Ledger

IDS = [f"kit-1~00000000000000aa~R{number}" for number in range(5)]


def _ledger() -> Ledger:
    """Books of five accepted bundles, the first of which arrived."""
    made = Ledger({"kit-1": Path("kit-1.toml"), "command": Path("command.toml")})
    made.accepted_s = dict.fromkeys(IDS, 0.0)
    made.arrivals[IDS[0]] = Arrival(IDS[0], "kit-1", "reading", 1.0, 0, ("4g",))
    return made


def test_what_is_not_delivered_waits_until_something_is_known() -> None:
    """Accepted is the sum of the other columns from the first moment on."""
    ledger = _ledger()
    ledger.ended[IDS[1]] = "superseded"
    counted = ledger.sum()
    assert counted == {
        "accepted": 5, "delivered": 1, "waiting": 3, "expired": 0, "superseded": 1, "lost": 0, "duplicated": 0,
    }  # fmt: skip


def test_a_bundle_that_no_node_knows_is_lost() -> None:
    """Not after one answer, which may fall between two steps of a transfer; and no more once it arrives."""
    ledger = _ledger()
    ledger.suspicions[IDS[2]] = LOST_AFTER_ASKS - 1
    assert ledger.sum()["lost"] == 0
    ledger.suspicions[IDS[2]] += 1
    assert ledger.tally()["ROUTINE"]["lost"] == 1
    ledger.arrivals[IDS[2]] = Arrival(IDS[2], "kit-1", "reading", 2.0, 0, ("4g",))
    assert ledger.sum()["lost"] == 0


def test_a_bundle_handed_over_that_never_comes_out_is_lost() -> None:
    """Its kit says forwarded, so it does not wait there; no consumer at command ever gets it."""
    ledger = _ledger()
    ledger.handed_over_s[IDS[3]] = ledger.now_s() - UNHEARD_S - 1
    assert ledger.sum()["lost"] == 1


def test_doubles_are_counted_beside_the_equation() -> None:
    """A second arrival that was not announced as one counts, and changes no other column."""
    ledger = _ledger()
    ledger.doubled[IDS[0]] += 1
    counted = ledger.sum()
    assert counted["duplicated"] == 1
    assert counted["accepted"] == sum(
        counted[name] for name in ("delivered", "waiting", "expired", "superseded", "lost")
    )
