"""The agent's own drivers against the stand-ins, which share no line with them."""

import asyncio
import sys

import pytest

from drivers.gnss import GnssDriver
from edge_agent.ports import PluginLostError
from link_sim.devices.gnss import GnssReceiver
from link_sim.devices.pty_bench import PtyBench
from tests.components import shared_dir
from tests.drivers.recording_port import RecordingPort, full_table
from tests.drivers.test_nmea import ms


class SteppedReceiver(GnssReceiver):
    """A receiver whose time is ``at_s`` and passes when the test says so, however busy the machine is."""

    at_s = 0.0

    def feed(self, received: bytes, now_s: float) -> bytes:
        return super().feed(received, self.at_s) if self.at_s else b""

    def next_wakeup(self) -> None:
        return None


@pytest.mark.slow
@pytest.mark.device
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
async def test_the_gnss_driver_takes_positions_until_the_receiver_is_gone() -> None:
    """The published BeiDou log: no fix for five seconds, then five, each taken, in order; then the loss of the port."""
    log = (shared_dir("recordings") / "nmea/beidou-bd.log").read_bytes()
    receiver = SteppedReceiver(log, baud_rate=115_200, loops=False)
    port = RecordingPort(clock_ms=ms("2015-03-01T00:00:00Z"))
    async with PtyBench({"gnss": receiver}) as bench:
        given = {"port": str(bench.path("gnss")), "interval_s": 0.05, "silent_after_s": 0.5}
        driver = GnssDriver(full_table(GnssDriver.SETTINGS, **given))
        run = asyncio.create_task(driver.run(port), name="gnss driver")
        await port.until(lambda: run.done() or len(port.states) > 0)  # it has opened the port, and finds it silent
        for number in range(5):
            receiver.at_s = 5.9 + number
            bench.turn()
            await port.until(lambda wanted=number + 1: run.done() or len(port.positions) == wanted)  # type: ignore[misc]
        bench.close()
        with pytest.raises(PluginLostError):
            async with asyncio.timeout(60):
                await run
    taken = [position.captured_at_ms for position in port.positions]
    assert taken == [ms(f"2015-02-25T07:41:{second}.799Z") for second in range(55, 60)]
