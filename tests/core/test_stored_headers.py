"""Which repeats are told from other bundles of the same name."""

from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.stored_headers import COMPARED, StoredHeaders


def name(number: int) -> BundleId:
    return BundleId("kit-1", 1, Precedence.ROUTINE, number)


def test_the_last_ones_stored_are_compared_and_memory_is_bounded() -> None:
    headers = StoredHeaders()
    for number in range(3 * COMPARED):
        headers.note(name(number), b"%d" % number)
    last = range(2 * COMPARED, 3 * COMPARED)
    assert all(headers.differs(name(number), b"other") for number in last)
    assert not any(headers.differs(name(number), b"%d" % number) for number in last)
    assert not headers.differs(name(0), b"other"), "long forgotten"
    assert len(headers._newer) + len(headers._older) <= 2 * COMPARED
