"""Receipts as bytes: whole, small, read in every form that was ever written, and safe to be given anything."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.bundle import BundleId, MalformedError, Precedence
from edge_agent.core.progress import Progress
from edge_agent.telemetry.payloads import Read
from edge_agent.telemetry.receipts import RECEIPT_BUNDLES_MAX, RECEIPT_RANGES_MAX, gather, read_receipts

KIT, POST = "kit-1", "cp-1"
INCARNATION = 0xFEDC_BA98_7654_3210

BUNDLES = st.builds(
    BundleId,
    st.sampled_from(["kit-1", "kit-2"]),
    st.sampled_from([1, INCARNATION]),
    st.sampled_from(Precedence),
    st.integers(0, 3000),
)


def _own(*numbers: int, precedence: Precedence = Precedence.ROUTINE) -> list[BundleId]:
    return [BundleId(KIT, INCARNATION, precedence, number) for number in numbers]


@given(bundles=st.sets(BUNDLES, max_size=300), state=st.sampled_from(Progress), by=st.text(max_size=20))
def test_what_is_gathered_and_packed_is_read_again(bundles: set[BundleId], state: Progress, by: str) -> None:
    """Every bundle once, with its state and who said so, whoever reads."""
    read: list[BundleId] = []
    for receipt in gather(bundles, state, level="county", node=POST, at_ms=7, by=by):
        (again,) = read_receipts(receipt.pack(reader=KIT, writer=POST), reader=KIT, writer=POST, at_ms=9)
        assert again == receipt
        read += again.bundles()
    assert sorted(read) == sorted(bundles)


def test_a_receipt_costs_less_than_a_byte_a_bundle_and_gaps_cost_two() -> None:
    """A kit's own bundles, delivered in a row by command of its county; then every tenth one not."""
    (row,) = gather(_own(*range(5000, 5256)), Progress.DELIVERED, level="county", node=POST)
    assert len(row.pack(reader=KIT, writer=POST)) <= 32
    holes = [number for number in range(5000, 7560) if number % 10]
    (some,) = gather(_own(*holes), Progress.DELIVERED, level="county", node=POST)
    assert len(some.pack(reader=KIT, writer=POST)) / len(holes) < 0.3
    (lone,) = gather(_own(5), Progress.READ, level="", node=POST, by="王敏")
    assert len(lone.pack(reader=KIT, writer=POST)) <= 28, "a lone one is a third of its id as text and a map around it"


def test_bounds_cut_a_long_receipt_into_several() -> None:
    many = gather(_own(*range(0, 3 * RECEIPT_RANGES_MAX, 2)), Progress.DELIVERED, level="", node=POST)
    assert [len(receipt.ranges) for receipt in many] == [RECEIPT_RANGES_MAX, RECEIPT_RANGES_MAX // 2]
    long = gather(_own(*range(RECEIPT_BUNDLES_MAX + 5)), Progress.DELIVERED, level="", node=POST)
    assert [receipt.ranges for receipt in long] == [
        ((0, RECEIPT_BUNDLES_MAX),),
        ((RECEIPT_BUNDLES_MAX, RECEIPT_BUNDLES_MAX + 5),),
    ]


def test_the_forms_of_version_1_are_still_read() -> None:
    """A list of ids was delivered; a map is what a person did with one."""
    bundles = _own(3, 4, 9)
    (old,) = read_receipts(msgpack.packb([str(each) for each in bundles]), reader=KIT, writer=POST, at_ms=50)
    assert (old.state, old.at_ms, old.node, list(old.bundles())) == (Progress.DELIVERED, 50, POST, bundles)
    assert read_receipts(msgpack.packb([]), reader=KIT, writer=POST, at_ms=50) == []
    read = Read(bundle=str(bundles[0]), at_ms=40, by="王敏", state="done")
    (person,) = read_receipts(read.pack(), reader=KIT, writer=POST, at_ms=50)
    assert (person.state, person.at_ms, person.by, list(person.bundles())) == (
        Progress.DONE,
        40,
        "王敏",
        bundles[:1],
    )


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (0, 14),
        (0, "delivered"),
        (1, 5),
        (2, "x" * 65),
        (3, -1),
        (4, "No Node"),
        (5, 0.5),
        (6, 5),
        (7, []),
        (7, [1]),
        (7, [0, 0]),
        (7, [0, RECEIPT_BUNDLES_MAX + 1]),
        (7, [0, 1, 0, 1]),
        (7, [(1 << 62) - 1, 2]),
        (7, [-1, 2]),
        (8, None),
    ],
)
def test_a_wrong_field_is_malformed(place: int, wrong: object) -> None:
    (whole,) = gather(_own(3), Progress.DELIVERED, level="", node=POST)
    content = msgpack.unpackb(whole.pack(reader=KIT, writer=POST))
    content[place] = wrong
    with pytest.raises(MalformedError):
        read_receipts(msgpack.packb(content), reader=KIT, writer=POST, at_ms=1)


VALUES = st.none() | st.integers(0, (1 << 64) - 1) | st.text(max_size=8) | st.binary(max_size=8)


@given(
    packed=st.binary(max_size=60)
    | st.recursive(VALUES, lambda each: st.lists(each, max_size=10)).map(lambda content: bytes(msgpack.packb(content)))
)
def test_anything_else_is_malformed_and_never_an_error_of_ours(packed: bytes) -> None:
    try:
        receipts = read_receipts(packed, reader=KIT, writer=POST, at_ms=1)
    except MalformedError:
        return
    assert sum(1 for receipt in receipts for _ in receipt.bundles()) <= RECEIPT_BUNDLES_MAX
