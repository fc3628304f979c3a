"""HeaderReader gives what ``BundleHeader.unpack`` gives, whatever came before."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.bundle import BundleHeader, FlowOrder, HeaderReader, MalformedError, Origin

HEADERS = st.builds(
    BundleHeader,
    destination=st.sampled_from(["command", "kit-7", "c" * 32]),
    flow=st.sampled_from(["reading", "f" * 40]),
    order=st.sampled_from(FlowOrder),
    origin=st.sampled_from(Origin),
    created_at_ms=st.sampled_from([0, 200, 70_000, (1 << 32) - 1, 1 << 32, 1_767_225_600_000, (1 << 48) - 1]),
    lifetime_s=st.sampled_from([60.0, 86_400.0]),
    key=st.sampled_from(["", "sensor-1"]),
)


@given(headers=st.lists(HEADERS, max_size=12))
def test_headers_read_one_after_another_are_those_that_were_packed(headers: list[BundleHeader]) -> None:
    reader = HeaderReader()
    for header in headers:
        packed = bytes(header.pack())
        read = reader.read(packed)
        assert read == BundleHeader.unpack(packed)
        assert read.pack() == packed
        assert hash(read) == hash(header)


def test_a_number_that_is_no_creation_time_is_malformed_after_sound_ones_too() -> None:
    reader = HeaderReader()
    sound = BundleHeader(destination="command", flow="reading", created_at_ms=1 << 40).pack()
    assert reader.read(sound).created_at_ms == 1 << 40
    for created_ms in (1 << 48, (1 << 64) - 1):
        fields = msgpack.unpackb(sound)
        fields[3] = created_ms
        with pytest.raises(MalformedError):
            reader.read(msgpack.packb(fields))


def test_what_stands_in_the_place_of_a_long_time_is_no_time() -> None:
    """Behind a short time stand other bytes: here those of the lifetime."""
    reader = HeaderReader()
    for lifetime_s in (86_400.0, 86_401.0):
        header = BundleHeader(destination="command", flow="reading", created_at_ms=5, lifetime_s=lifetime_s)
        assert reader.read(header.pack()) == header


def test_a_copy_at_another_time_shares_all_else_and_not_what_was_packed() -> None:
    header = BundleHeader(destination="command", flow="reading", created_at_ms=1, key="k")
    packed = header.pack()
    twin = header.made_at(2)
    assert (twin.created_at_ms, header.created_at_ms) == (2, 1)
    assert (twin.key, twin.flow) == ("k", "reading")
    assert BundleHeader.unpack(twin.pack()) == twin
    assert header.pack() == packed
