"""A sender that always has something gets exactly the delivery times that a mahimahi file lists, round after round.

The reference here is written from the rule alone (one line, one frame of 1,500 bytes, and again from the last line on)
and shares nothing with ``link_sim.link.services``.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import LinkModel
from link_sim.traces.files import mahimahi_trace
from tests.components import shared_dir

MS = 1_000_000


def listed_ms(lines: Sequence[int]) -> Iterator[int]:
    """Every line of every round, as mahimahi replays a file."""
    begun_ms = 0
    while True:
        for line in lines:
            yield begun_ms + line
        begun_ms += lines[-1]


def assert_reproduced(lines: Sequence[int], frames: int) -> None:
    """Offer frame after frame, each when an earlier one comes out, so that some always wait, and compare."""
    ahead = 2 * max(Counter(lines).values()) + 1  # a round's last millisecond may also be the next one's first
    profile = LinkProfile(trace=mahimahi_trace("made", lines), queue_bytes=1 << 40)
    model, out_ns = LinkModel(profile, 1), list[int]()
    for number in range(frames):
        at_ns = model.offer(out_ns[number - ahead] if number >= ahead else 0, 1500).deliver_at_ns
        assert at_ns is not None
        out_ns.append(at_ns)
    assert out_ns == [at_ms * MS for at_ms in islice(listed_ms(lines), frames)]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12).map(sorted).filter(lambda lines: lines[-1] > 0))
def test_any_list_is_reproduced_chance_by_chance_over_rounds(lines: list[int]) -> None:
    assert_reproduced(lines, 4 * len(lines) + 1)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12).map(sorted), st.integers(1, 1500))
def test_frames_share_a_chance_and_take_several(lines: list[int], frame_bytes: int) -> None:
    """Frame n is out with the chance that carries its last byte, all bytes counted one after another."""
    profile = LinkProfile(trace=mahimahi_trace("made", lines), queue_bytes=1 << 40)
    model, chances = LinkModel(profile, 1), list(islice(listed_ms(lines), 40))
    for number in range(20):
        last_byte = (number + 1) * frame_bytes - 1
        assert model.offer(0, frame_bytes).deliver_at_ns == chances[last_byte // 1500] * MS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cell-verizon-lte", "cell-tmobile-umts-driving", "cell-att-lte-driving-2016"])
@pytest.mark.parametrize("way", ["up", "down"])
def test_every_recorded_list_is_reproduced_for_two_rounds_and_a_half(name: str, way: str) -> None:
    lines = [int(line) for line in (shared_dir("traces") / f"{name}.{way}").read_text().split()]
    assert_reproduced(lines, len(lines) * 5 // 2)
