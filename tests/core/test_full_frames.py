"""On a slow link a fragment takes the room that its frame has."""

from dataclasses import replace

import pytest

from edge_agent.core.contact import FRAGMENT_TIME_S
from edge_agent.core.limits import LinkLimits
from tests.core.bench import DATAGRAM, STREAM, Bench

SLOW_BPS = 9600.0
SPARE_BYTES = 10
"""A frame number of 4 bytes where one does, and a PULSE that nobody asked for."""


@pytest.mark.parametrize("limits", [DATAGRAM, STREAM])
def test_bulk_one_way_fills_its_frames(limits: LinkLimits) -> None:
    slow = replace(limits, rate_bps=SLOW_BPS, rate_is_ceiling=True)
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("link", "kit-1", "command", slow)
    bench.run(2)
    seen = len(bench.history)
    bench.submit("kit-1", bytes(10_000))
    bench.run(20)
    assert len(bench.places["command"].delivered()) == 1
    sent = [len(flight.frame) + slow.overhead_bytes for flight in bench.history[seen:] if flight.sender == "kit-1"]
    full_bytes = SLOW_BPS / 8 * FRAGMENT_TIME_S
    assert max(sent) <= full_bytes
    middle = sorted(sent)[len(sent) // 2]
    assert full_bytes - middle <= SPARE_BYTES
