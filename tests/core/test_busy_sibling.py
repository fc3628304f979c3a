"""A link whose medium is busy takes nothing, so nothing is left to it, however fast it is."""

from dataclasses import replace

from edge_agent.core.bundle import Precedence
from tests.core.bench import DATAGRAM, Bench


def test_a_slow_link_does_not_leave_bundles_to_a_fast_one_that_is_busy() -> None:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("fast", "kit-1", "command", replace(DATAGRAM, rate_bps=8e6))
    bench.join("slow", "kit-1", "command", replace(DATAGRAM, rate_bps=20_000.0))
    bench.run(2)
    node = bench.places["kit-1"].running
    node.set_busy("fast", bench.now_s, is_busy=True)
    bench.submit("kit-1", bytes(100), Precedence.IMMEDIATE)
    bench.run(2)
    (event,) = bench.places["command"].delivered()
    assert event.via == ("slow",)
