"""A process that was stopped for two seconds blames nobody for the silence."""

import pytest

from edge_agent.core import liveness
from edge_agent.core.bundle import COMMAND, BundleHeader, Precedence
from edge_agent.core.effects import LinkChanged, LinkState
from tests.core.bench import Bench, Flight

LIVE = BundleHeader(destination=COMMAND, flow="live")
EVERY_S, STALL_S = 0.02, 2.0


class Sleeper(Bench):
    """A bench whose kit can be stopped: frames wait for it, and its timers do."""

    def stop(self, span_s: float, *, reads_first: bool) -> None:
        """The kit's process does nothing for a while; then it reads what came, or looks at its timers first."""
        kit, passes = self.places["kit-1"], self.passes
        held: list[Flight] = []
        while (flight := next((each for _, _, each in self._wire if each.receiver == "kit-1"), None)) is not None:
            self._wire = [entry for entry in self._wire if entry[2] is not flight]
            held.append(flight)
        self.passes = lambda flight: flight.receiver != "kit-1" or held.append(flight) is not None
        node, kit.node = kit.running, None
        self.run(span_s)
        kit.node, self.passes = node, passes
        if not reads_first:
            node.handle_timeout(self.now_s)
        for flight in held:
            node.receive(flight.link, flight.source, flight.frame, self.now_s)
        node.handle_timeout(self.now_s)
        self.pump(kit)


def convictions(*, reads_first: bool) -> list[LinkChanged]:
    """What the kit says of its two links after it was stopped while a message went each 20 ms."""
    bench = Sleeper()
    bench.add("command", role="command")
    kit = bench.add("kit-1")
    for link in ("one", "two"):
        bench.join(link, "kit-1", "command")
    for number in range(400):
        bench.submit("kit-1", number.to_bytes(200, "big"), Precedence.IMMEDIATE, LIVE)
        bench.run(EVERY_S)
        if number == 200:
            kit.events.clear()
            bench.stop(STALL_S, reads_first=reads_first)
    bench.run(2.0)
    assert len(bench.places["command"].delivered()) == 400
    return [each for each in kit.events if isinstance(each, LinkChanged) and each.state is LinkState.DOWN]


@pytest.mark.parametrize("reads_first", [True, False])
def test_a_process_that_stood_still_convicts_nobody(reads_first: bool) -> None:
    assert not convictions(reads_first=reads_first)


def test_a_process_that_does_not_know_its_own_lateness_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: silence counts from the last frame, whatever this process did meanwhile."""
    monkeypatch.setattr(liveness, "LATENESS_COUNTED_S", 1e9)
    assert convictions(reads_first=False)
