"""The measuring side of the first-light figures, and what FLASH meets on the radio."""

import pytest

from benchmarks.bench_first_light_virtual import FLASH_BYTES, flash_tries, radio_limits
from benchmarks.percentiles import p99
from benchmarks.tapped_keys import FlashFrames
from edge_agent.core.blocks import Fragment
from edge_agent.core.bundle import Precedence
from edge_agent.core.codec import put_fragment
from edge_agent.core.pacing import CATCH_UP_S

ALARM_FRAME_S = 0.123  # 64 bytes of payload and what a frame costs beside it, at 960 bytes a second
COMMITS_S = 0.004


def sealed_body(precedence: Precedence, sequence: int, offset: int) -> bytes:
    body, header = bytearray(), b"" if offset else b"header"
    put_fragment(body, Fragment(None, precedence, sequence, offset, FLASH_BYTES, header, 0, 0, bytes(50)))
    return bytes(body)


def test_p99_is_the_second_largest_of_a_hundred_and_the_largest_of_fewer() -> None:
    assert p99(range(100)) == 98
    assert p99([3.0, 1.0, 2.0]) == 3.0
    with pytest.raises(ValueError, match="nothing"):
        p99([])


def test_tap_counts_each_flash_fragment_once_and_nothing_else() -> None:
    frames = FlashFrames()
    frames.note(sealed_body(Precedence.ROUTINE, 4, 0), 230)
    frames.note(sealed_body(Precedence.FLASH, 4, 0), 100)
    frames.note(sealed_body(Precedence.FLASH, 4, 50), 90)
    frames.note(sealed_body(Precedence.FLASH, 4, 50), 90)  # sent again
    frames.note(sealed_body(Precedence.FLASH, 5, 0), 80)
    assert frames.wire_bytes(4, overhead_bytes=8) == 100 + 90 + 2 * 8


@pytest.mark.slow
def test_flash_on_the_radio_waits_for_the_frame_on_the_wire_and_for_nothing_else() -> None:
    """Not for a lone acknowledgement either, which takes 90 ms. The first try meets a long frame and is left out."""
    flashes = flash_tries(60, apart_s=(2.5, 4.5))[1:]
    assert max(flash.latency_s - flash.wire_s for flash in flashes) < ALARM_FRAME_S + CATCH_UP_S + COMMITS_S
    overhead_bytes = radio_limits().overhead_bytes
    assert min(flash.wire_s for flash in flashes) > (FLASH_BYTES + overhead_bytes) / 960
