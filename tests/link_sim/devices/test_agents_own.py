"""The agent's own drivers against the stand-ins, which share no line with them."""

import asyncio
import sys

import pytest

from drivers.gnss import GnssDriver
from edge_agent.ports import PluginLostError
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.gnss import GnssReceiver
from link_sim.devices.pty_bench import PtyBench
from tests.components import shared_dir
from tests.drivers.recording_port import RecordingPort, full_table
from tests.drivers.test_nmea import ms


@pytest.mark.slow
@pytest.mark.device
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
async def test_the_gnss_driver_takes_positions_until_the_receiver_is_unplugged() -> None:
    """The published BeiDou log at 5 Hz and 115200 baud: its five fixes in order, then the loss of the port."""
    log = (shared_dir("recordings") / "nmea/beidou-bd.log").read_bytes()
    faults = [Fault(kind=FaultKind.UNPLUG, from_s=4.0)]
    receiver = GnssReceiver(log, rate_hz=5, baud_rate=115_200, loops=False, faults=faults)
    port = RecordingPort(clock_ms=ms("2015-03-01T00:00:00Z"))
    async with PtyBench({"gnss": receiver}) as bench:
        driver = GnssDriver(full_table(GnssDriver.SETTINGS, port=str(bench.path("gnss")), interval_s=0.05))
        with pytest.raises(PluginLostError):
            async with asyncio.timeout(60):
                await driver.run(port)
    taken = [position.captured_at_ms for position in port.positions]
    assert taken == [ms(f"2015-02-25T07:41:{second}.799Z") for second in range(55, 60)]
