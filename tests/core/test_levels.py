"""The levels of command a bundle is for, in its header."""

from itertools import combinations

import msgpack
import pytest

from edge_agent.core.bundle import COMMAND, LEVELS, BundleHeader, MalformedError


def header(*levels: str) -> BundleHeader:
    return BundleHeader(destination=COMMAND, flow="text", created_at_ms=1_763_745_000_000, levels=levels)


@pytest.mark.parametrize("levels", [each for count in range(len(LEVELS) + 1) for each in combinations(LEVELS, count)])
def test_any_choice_of_levels_travels_in_no_byte_more(levels: tuple[str, ...]) -> None:
    packed = header(*levels).pack()
    assert BundleHeader.unpack(packed) == header(*levels)
    assert len(packed) == len(header().pack())


def test_a_header_of_before_there_were_levels_is_for_all_of_them() -> None:
    """Marks 7 at the most, as programs wrote them that knew no levels; and as what is for all is still written."""
    packed = msgpack.packb([COMMAND, "text", 4, 1_763_745_000_000, 86_400_000])
    assert BundleHeader.unpack(packed).levels == ()
    assert header().pack() == packed


def test_marks_that_nobody_knows_are_refused() -> None:
    with pytest.raises(MalformedError, match="out of range"):
        BundleHeader.unpack(msgpack.packb([COMMAND, "text", 64, 1_763_745_000_000, 86_400_000]))
