"""Stand-ins on real pseudo-terminals: ports come and go, messages pass from one to the other, nothing is left."""

import os
import sys
from pathlib import Path

import pytest

from link_sim.devices.beidou import BeidouTerminal
from link_sim.devices.errors import DeviceError
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.gnss import GnssReceiver
from link_sim.devices.message_network import MessageNetwork
from link_sim.devices.pty_bench import PtyBench
from link_sim.devices.sbd_modem import SbdModem
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Outage
from tests.descriptors import open_descriptors
from tests.link_sim.devices.serial_port import SerialPort

pytestmark = [pytest.mark.device, pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")]
LOG = b"".join(b"$GNRMC,12000%d.00,A*00\r\n$GPGSV,1,1*00\r\n" % second for second in range(5))
SENDS = b"$CCTXA,0200002,1,2,A468656C6C6F*76\r\n"
IMEI, OTHER_IMEI = "300000000000001", "300000000000002"


async def test_a_receiver_is_read_at_its_rate_through_a_real_port() -> None:
    async with PtyBench({"gnss": GnssReceiver(LOG, rate_hz=50)}) as bench:
        port = SerialPort(bench.path("gnss"))
        first = await port.until(b"$GPGSV,1,1*00\r\n")
        assert first.startswith(b"$GNRMC,120000.00")
        for _ in range(10):
            await port.until(b"$GPGSV,1,1*00\r\n")
        assert bench.now_s() >= 10 / 50  # however late this machine is, no epoch is early
        port.close()


async def test_a_message_passes_from_one_port_to_the_other_over_the_line() -> None:
    network = MessageNetwork(LinkProfile(delay_s=0.1), seed=7)
    devices = {
        name: BeidouTerminal(card=card, network=network, feedback_after_s=0.01)
        for name, card in (("kit", "0200001"), ("command", "0200002"))
    }
    async with PtyBench(devices) as bench:
        kit, command = SerialPort(bench.path("kit")), SerialPort(bench.path("command"))
        sent_s = bench.now_s()
        kit.write(SENDS)
        assert await kit.until(b"\r\n") == b"$BDFKI,TXA,Y,Y,0,0000*13\r\n"
        assert (await command.until(b"\r\n")).startswith(b"$BDTXR,1,0200001,2,,A468656C6C6F*")
        assert bench.now_s() - sent_s >= 0.1
        kit.close()
        command.close()


async def test_a_held_line_delivers_when_it_is_mended_and_the_bench_is_told() -> None:
    network = MessageNetwork(LinkProfile(), seed=7)
    devices = {
        name: BeidouTerminal(card=card, network=network) for name, card in (("kit", "0200001"), ("command", "0200002"))
    }
    async with PtyBench(devices) as bench:
        kit, command = SerialPort(bench.path("kit")), SerialPort(bench.path("command"))
        line = network.line("200001")
        line.cut(round(bench.now_s() * 1e9), Outage.HOLD)
        kit.write(SENDS)
        await kit.until(b"FKI")
        assert command.received == b""
        line.mend(round(bench.now_s() * 1e9))
        bench.turn()
        await command.until(b"$BDTXR")
        kit.close()
        command.close()


@pytest.mark.slow
async def test_an_unplugged_device_hangs_up_and_comes_back_under_its_name(tmp_path: Path) -> None:
    faults = [Fault(kind=FaultKind.UNPLUG, from_s=1.5, until_s=1.7)]
    async with PtyBench({"gnss": GnssReceiver(LOG, rate_hz=50, faults=faults)}, folder=tmp_path) as bench:
        port = SerialPort(bench.path("gnss"))
        await port.until_lost()
        assert bench.now_s() >= 1.5
        port.close()
        again = SerialPort(await bench.until_plugged("gnss"))
        assert bench.now_s() >= 1.7
        await again.until(b"$GNRMC")
        again.close()
    assert not (tmp_path / "gnss").is_symlink()


class LateBench(PtyBench):
    """A bench whose clock shows ``at_s``."""

    at_s = 0.0

    def now_s(self) -> float:
        return self.at_s


async def test_a_bench_that_was_late_for_both_hangs_up_and_comes_back_all_the_same() -> None:
    """The machine stood still from before the plug was pulled until after it was put back."""
    receiver = GnssReceiver(LOG, faults=[Fault(kind=FaultKind.UNPLUG, from_s=1.5, until_s=1.7)])
    async with LateBench({"gnss": receiver}) as bench:
        port = SerialPort(bench.path("gnss"))
        bench.at_s = 5.0
        bench.turn()
        await port.until_lost()
        port.close()
        assert receiver.counts["unplugged"] == receiver.counts["plugged"] == 1
        again = SerialPort(bench.path("gnss"))
        bench.at_s = 6.0
        bench.turn()
        await again.until(b"$GNRMC")
        again.close()


async def test_binary_messages_pass_through_the_ports_unchanged() -> None:
    """Every byte value, carriage return, XON and XOFF among them, from one SBD modem's port to the other's."""
    network = MessageNetwork(LinkProfile(), seed=7)
    devices = {
        "kit": SbdModem(imei=IMEI, destination=OTHER_IMEI, network=network, session_s=0.02, baud_rate=None),
        "command": SbdModem(imei=OTHER_IMEI, destination=IMEI, network=network, session_s=0.02, baud_rate=None),
    }
    every = bytes(range(256))
    async with PtyBench(devices) as bench:
        kit, command = SerialPort(bench.path("kit")), SerialPort(bench.path("command"))
        kit.write(b"AT+SBDWB=256\r")
        await kit.until(b"READY\r\n")
        kit.write(every + (sum(every) & 0xFFFF).to_bytes(2, "big"))
        await kit.until(b"0\r\n\r\nOK\r\n")
        kit.write(b"AT+SBDIX\r")
        await kit.until(b"OK\r\n")
        command.write(b"ATE0\r")
        await command.until(b"OK\r\n")
        command.write(b"AT+SBDIX\r")
        await command.until(b"+SBDIX: 0, 0, 1, 0, 256, 0\r\n\r\nOK\r\n")
        command.write(b"AT+SBDRB\r")
        assert (await command.until(b"\r\nOK\r\n"))[:258] == b"\x01\x00" + every
        kit.close()
        command.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not show open files")
async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    before = open_descriptors()
    for _ in range(3):
        async with PtyBench({"gnss": GnssReceiver(LOG)}, folder=tmp_path) as bench:
            port = SerialPort(bench.path("gnss"))
            await port.until(b"$GNRMC")
            port.close()
    assert open_descriptors() <= before
    assert os.listdir(tmp_path) == []


async def test_no_file_is_replaced_and_no_name_is_guessed(tmp_path: Path) -> None:
    before = open_descriptors()
    (tmp_path / "gnss").write_text("a file")
    with pytest.raises(FileExistsError, match="gnss"):
        await PtyBench({"gnss": GnssReceiver(LOG)}, folder=tmp_path).__aenter__()
    assert (tmp_path / "gnss").read_text() == "a file"
    assert open_descriptors() <= before
    async with PtyBench({"gnss": GnssReceiver(LOG)}) as bench:
        with pytest.raises(DeviceError, match="device modem: allowed is gnss"):
            bench.path("modem")
