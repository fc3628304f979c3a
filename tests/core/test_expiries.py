"""When bundles expire, against a plain list of their times."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.bundle import BundleHeader, BundleId, BundleRecord, Precedence
from edge_agent.core.expiries import SPARE_ENTRIES, Expiries
from edge_agent.core.outgoing import Outgoing

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.floats(0.1, 5.0)),
        st.tuples(st.just("end"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.25, 1.0, 3.0])),
    ),
    max_size=40,
)


@given(steps=STEPS)
def test_each_bundle_expires_once_at_its_time_unless_it_ended_before(steps: list[tuple[str, float]]) -> None:
    bundles: dict[BundleId, Outgoing] = {}
    expiries, due_s, now_s = Expiries(bundles), dict[BundleId, float](), 100.0
    for number, (verb, value) in enumerate(steps):
        if verb == "come":
            bundle = BundleId("kit-1", 1, Precedence.ROUTINE, number)
            header = BundleHeader(destination="command", flow="reading", lifetime_s=value)
            record = BundleRecord(bundle, header, 1, now_s)
            bundles[bundle], due_s[bundle] = Outgoing(record, b"", None), now_s + value
            expiries.add(record)
        elif verb == "end" and bundles:
            del bundles[list(bundles)[int(value) % len(bundles)]]
        else:
            now_s += value
            expected = sorted((due_s[bundle], bundle) for bundle in bundles if due_s[bundle] <= now_s)
            assert [outgoing.record.id for outgoing in expiries.take_due(now_s)] == [bundle for _, bundle in expected]
            for _, bundle in expected:
                del bundles[bundle]
        soonest_s, next_s = min((due_s[bundle] for bundle in bundles), default=None), expiries.next_s()
        assert (next_s is None) == (soonest_s is None)
        assert next_s is None or soonest_s is None or next_s <= soonest_s
        assert len(expiries) <= 2 * len(bundles) + SPARE_ENTRIES + 40


def test_a_wake_up_for_a_bundle_that_ended_is_the_last_one_for_it() -> None:
    bundles: dict[BundleId, Outgoing] = {}
    expiries = Expiries(bundles)
    for number, lifetime_s in enumerate((5.25, 5.5)):
        header = BundleHeader(destination="command", flow="reading", lifetime_s=lifetime_s)
        record = BundleRecord(BundleId("kit-1", 1, Precedence.ROUTINE, number), header, 1, 0.0)
        bundles[record.id] = Outgoing(record, b"", None)
        expiries.add(record)
    del bundles[next(iter(bundles))]
    assert expiries.next_s() == 5.25
    assert list(expiries.take_due(5.25)) == []
    assert expiries.next_s() == 5.5
    assert len(list(expiries.take_due(5.5))) == 1
    assert expiries.next_s() is None
