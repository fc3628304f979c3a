"""The GNSS driver on real pseudo-terminals and a real gpsd."""

import asyncio
import contextlib
import json
import os
import pty
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import serial

from drivers.gnss import GnssDriver
from drivers.gnss.gpsd import LINE_MAX_BYTES, GpsdParser
from edge_agent.ports import PluginLostError
from tests.drivers.recording_port import WAIT_S, RecordingPort, full_table, stopped
from tests.drivers.test_nmea import DATA, GGA, NOW_MS, RMC, log_bytes, ms, sentence

NO_FIX = sentence("GNRMC,120001.00,V,,,,,,,200922,,,N")


@dataclass(slots=True)
class Receiver:
    """The far end of a serial line."""

    path: str
    master: int

    def says(self, *sentences: bytes) -> None:
        os.write(self.master, b"".join(sentences))

    def is_unplugged(self) -> None:
        os.close(self.master)
        self.master = -1


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A pseudo-terminal that plays a receiver; the driver opens its slave end as a serial port."""
    master, slave = pty.openpty()
    device = Receiver(path=os.ttyname(slave), master=master)
    os.close(slave)
    try:
        yield device
    finally:
        if device.master >= 0:
            os.close(device.master)


@asynccontextmanager
async def running(port: RecordingPort, /, **settings: object) -> AsyncIterator["asyncio.Task[None]"]:
    driver = GnssDriver(full_table(GnssDriver.SETTINGS, **settings))
    run = asyncio.create_task(driver.run(port), name="gnss")
    await asyncio.sleep(0)  # its first step opens the serial port and throws away what came before
    try:
        yield run
    finally:
        await stopped(run)


def rmc_at(second: int) -> bytes:
    return sentence(f"GNRMC,1200{second:02d}.00,A,3114.8953,N,12135.2439,E,0.25,4.94,200922,,,A")


@pytest.mark.device
async def test_positions_of_a_beidou_receiver() -> None:
    """The recording as one lump a second of receiver time: no fix is said once, then every fix is published."""
    port = RecordingPort(clock_ms=ms("2015-03-01T00:00:00Z"))
    lines = [line for line in log_bytes("beidou-bd").splitlines(keepends=True) if b"GSV" not in line]
    bursts = b"".join(lines).split(b"$PSRFEPE")  # five of them without fix must fit the terminal's 4096 bytes
    with receiver() as device:
        async with running(port, port=device.path, interval_s=0.05):
            for burst in bursts[1:-1]:
                seen = len(port.submitted) + len(port.states)
                device.says(b"$PSRFEPE" + burst)
                if b"GNRMC" in burst and not (b",V," in burst and port.states):
                    await port.until(lambda seen=seen: len(port.submitted) + len(port.states) > seen)
    assert port.states == ["no fix", "available"]
    assert [position.captured_at_ms for position in port.positions] == [
        ms(f"2015-02-25T07:41:{second}.799Z") for second in (55, 56, 57, 58)
    ]
    assert port.positions[0].system == "GN"
    assert port.positions[-1].lat_deg == pytest.approx(31.24825500, abs=1e-6)
    assert port.counts == {"nmea_malformed": 1}  # the log has one stray blank before a sentence, which is read


@pytest.mark.device
@pytest.mark.parametrize(("granted", "length"), [(300, 14), (30, 12), (0, 12)])
async def test_a_position_is_short_where_the_links_carry_little(granted: int, length: int) -> None:
    port = RecordingPort(granted=granted)
    with receiver() as device:
        async with running(port, port=device.path, time_source="node"):
            device.says(RMC, GGA)
            await port.until(lambda: bool(port.submitted))
    assert len(port.submitted[0].payload) == length
    assert port.positions[0].captured_at_ms == port.clock_ms
    assert port.positions[0].alt_m is None


@pytest.mark.device
async def test_old_date_of_the_receiver_is_replaced_by_the_nodes_time() -> None:
    port = RecordingPort()
    old = sentence("GNRMC,120000.00,A,3114.8953,N,12135.2439,E,0.25,4.94,200907,,,A")
    with receiver() as device:
        async with running(port, port=device.path):
            device.says(old)
            await port.until(lambda: bool(port.submitted))
    assert port.positions[0].captured_at_ms == port.clock_ms
    assert port.counts == {"gnss_date_distrusted": 1}


@pytest.mark.device
async def test_time_source_node_stamps_recordings_with_the_nodes_time() -> None:
    port = RecordingPort()
    with receiver() as device:
        async with running(port, port=device.path, time_source="node"):
            device.says(RMC, GGA)
            await port.until(lambda: bool(port.submitted))
    assert port.positions[0].captured_at_ms == port.clock_ms


@pytest.mark.device
async def test_interval_spaces_positions() -> None:
    """After one position a whole interval passes before the next, however many instants the receiver tells."""
    port = RecordingPort(clock_ms=NOW_MS)
    with receiver() as device:
        async with running(port, port=device.path, interval_s=3600):
            device.says(rmc_at(0))
            await port.until(lambda: bool(port.submitted))
            device.says(*(rmc_at(second) for second in range(2, 10)), NO_FIX)
            await port.until(lambda: "no fix" in port.states)
    assert len(port.submitted) == 1


@pytest.mark.device
async def test_lost_fix_and_noise_are_said_and_counted() -> None:
    port = RecordingPort(clock_ms=NOW_MS)
    with receiver() as device:
        async with running(port, port=device.path):
            device.says(RMC)
            await port.until(lambda: bool(port.submitted))
            device.says(RMC.replace(b"0.25", b"0.26"), NO_FIX)
            await port.until(lambda: "no fix" in port.states)
    assert port.states == ["available", "no fix"]
    assert port.counts["nmea_checksum"] == 1


@pytest.mark.device
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "no bytes from {path} for 0.5 s"),
        (b"\xf8\x80\x00\r\n", "{path} sends bytes but nothing valid (NMEA 0183 at baud_rate = 9600?) for 0.5 s"),
        (RMC, "{path} tells no new position time for 0.5 s"),
    ],
)
async def test_silent_wrong_and_stuck_receivers_are_named(said: bytes, reason: str) -> None:
    """Each says again and again the same; the reason is told once, and a new instant clears it."""
    port = RecordingPort(clock_ms=NOW_MS)
    with receiver() as device:
        expected = reason.format(path=device.path)
        async with running(port, port=device.path, silent_after_s=0.5, interval_s=0.05):

            async def repeat() -> None:
                while said:
                    device.says(said)
                    await asyncio.sleep(0.05)  # the receiver's own rhythm, nothing is waited for

            async with asyncio.TaskGroup() as group:
                repeating = group.create_task(repeat(), name="receiver")
                await port.until(lambda: expected in port.states)
                repeating.cancel()
            positions = len(port.submitted)
            device.says(rmc_at(30))
            await port.until(lambda: len(port.submitted) > positions)
            await port.until(lambda: port.states[-1] == "available")
    assert port.states.count(expected) == 1


@pytest.mark.device
async def test_unplugged_receiver_is_lost() -> None:
    port = RecordingPort(clock_ms=NOW_MS)
    with receiver() as device:
        driver = GnssDriver(full_table(GnssDriver.SETTINGS, port=device.path))
        run = asyncio.create_task(driver.run(port), name="gnss")
        await asyncio.sleep(0)
        device.says(RMC)
        await port.until(lambda: bool(port.submitted))
        device.is_unplugged()
        with pytest.raises(PluginLostError, match=device.path):
            async with asyncio.timeout(WAIT_S):
                await run
    assert port.states[0] == "available"
    assert device.path in port.states[1]


async def test_missing_device_is_named() -> None:
    port = RecordingPort()
    driver = GnssDriver(full_table(GnssDriver.SETTINGS, port="/dev/no-such-receiver"))
    with pytest.raises(PluginLostError, match=r"^/dev/no-such-receiver: No such file or directory$"):
        await driver.run(port)
    assert port.states == ["/dev/no-such-receiver: No such file or directory"]


@pytest.mark.device
async def test_device_of_another_program_is_left_alone() -> None:
    port = RecordingPort()
    with receiver() as device, closing(serial.Serial(device.path, exclusive=True)):
        with contextlib.suppress(PluginLostError):
            await GnssDriver(full_table(GnssDriver.SETTINGS, port=device.path)).run(port)
        assert port.states == [f"{device.path}: in use by another program"]


@pytest.mark.device
async def test_refused_position_is_shown() -> None:
    port = RecordingPort(clock_ms=NOW_MS, refuses=True)
    with receiver() as device:
        async with running(port, port=device.path):
            device.says(RMC)
            await port.until(lambda: bool(port.states))
    assert port.states == ["position not accepted: store_full: 0 bytes free"]


@pytest.mark.parametrize("given", [{}, {"port": "/dev/ttyUSB0", "gpsd": "127.0.0.1:2947"}])
def test_exactly_one_source(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        GnssDriver(full_table(GnssDriver.SETTINGS, **given))


@pytest.mark.parametrize(
    ("text", "fits"), [("localhost:2947", True), ("[::1]:2947", True), ("::1:2947", False), ("a:0", False)]
)
def test_gpsd_address(text: str, fits: bool) -> None:
    accepts = GnssDriver.SETTINGS["gpsd"].accepts
    assert accepts is not None
    assert accepts(text) is fits


@pytest.mark.parametrize("step", [1, 100, 1_000_000])
def test_gpsd_session_gives_each_instant_once(step: int) -> None:
    session = (DATA / "gpsd3.22_beidou-bd.jsonl").read_bytes()
    parser = GpsdParser()
    fixes = [fix for at in range(0, len(session), step) for fix in parser.feed(session[at : at + step], NOW_MS)]
    last = parser.flush()
    with_time = [fix for fix in [*fixes, *([last] if last else [])] if fix.receiver_ms and fix.lat_deg is not None]
    tpvs = [json.loads(line) for line in session.splitlines() if line.startswith(b'{"class":"TPV"')]
    expected = {tpv["time"]: tpv for tpv in tpvs if "time" in tpv}
    assert [fix.receiver_ms for fix in with_time] == [ms(time) for time in expected]
    for fix, tpv in zip(with_time, expected.values(), strict=True):
        assert (fix.lat_deg, fix.lon_deg, fix.alt_m) == (tpv["lat"], tpv["lon"], tpv["altMSL"])
        assert (fix.speed_mps, fix.accuracy_m) == (tpv["speed"], tpv["eph"])
        assert fix.satellites in (5, 7)
    assert not parser.drops


@pytest.mark.parametrize(
    ("line", "drop"),
    [
        (b'{"class":"TPV","mode":3,"lat":91,"lon":0}', "gpsd_malformed"),
        (b'{"class":"TPV","mode":3,"lat":"1","lon":0}', "gpsd_malformed"),
        (b'{"class":"TPV","mode":3,"time":"yesterday"}', "gpsd_malformed"),
        (b'{"class":"TPV","mode":3,"time":"2022-01-01T00:00:00"}', "gpsd_malformed"),
        (b'{"class":', "gpsd_malformed"),
        (b"{" * 5000, "gpsd_malformed"),
        (b'{"class":"SKY","satellites":[{"gnssid":[],"used":true}]}', "gpsd_malformed"),
        (b'{"x":"' + b"a" * LINE_MAX_BYTES, "gpsd_oversize"),
    ],
)
def test_bad_gpsd_line_is_one_counted_drop(line: bytes, drop: str) -> None:
    parser = GpsdParser()
    good = b'{"class":"TPV","mode":2,"time":"2022-01-01T00:00:00Z","lat":1.5,"lon":2.5,"altMSL":7}\n'
    assert parser.feed(line, NOW_MS) == []
    assert parser.feed(b"\n" + good, NOW_MS) == []
    fix = parser.flush()
    assert fix is not None
    assert (fix.lat_deg, fix.alt_m) == (1.5, None)
    assert parser.drops == {drop: 1}


@asynccontextmanager
async def gpsd(program: Path, device: str) -> AsyncIterator[str]:
    """A real gpsd on a free port of loopback, reading ``device``; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        number = probe.getsockname()[1]
    arguments = ["-N", "-n", "-b", "-S", str(number), device]
    daemon = await asyncio.create_subprocess_exec(program, *arguments, stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", number)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)  # a daemon tells by nothing else that it listens
                    continue
                writer.close()
                break
        yield f"127.0.0.1:{number}"
    finally:
        if daemon.returncode is None:
            daemon.send_signal(signal.SIGKILL)
        await daemon.wait()


@pytest.mark.device
async def test_positions_by_a_real_gpsd(require: Callable[[str], Path]) -> None:
    """gpsd reads the pseudo-terminal, its death loses the driver, a new gpsd serves it again."""
    program = require("gpsd")
    port = RecordingPort(clock_ms=NOW_MS)
    gsa = sentence("GNGSA,A,3,02,03,04,05,,,,,,,,,2.1,1.1,1.8")

    async def talk(device: Receiver) -> None:
        second = 0
        while True:
            body = f"GNGGA,1200{second % 60:02d}.00,3114.89531,N,12135.24391,E,1,07,1.1,198.5,M,8.3,M,,0000"
            device.says(rmc_at(second % 60), sentence(body), gsa)
            second += 1
            await asyncio.sleep(0.1)  # the receiver's own rhythm, nothing is waited for

    with receiver() as device:
        for _ in range(2):
            seen = len(port.submitted)
            async with gpsd(program, device.path) as address, running(port, gpsd=address, interval_s=0.05) as run:
                async with asyncio.TaskGroup() as group:
                    talking = group.create_task(talk(device), name="receiver")
                    await port.until(lambda seen=seen: len(port.submitted) >= seen + 3)
                    talking.cancel()
                assert not run.done()
    assert port.positions[-1].lat_deg == pytest.approx(31 + 14.89531 / 60, abs=1e-6)
    assert port.positions[-1].alt_m == pytest.approx(198.5, abs=0.01)
    assert port.states[0] == "available"


@pytest.mark.device
async def test_gpsd_that_dies_loses_the_driver(require: Callable[[str], Path]) -> None:
    port = RecordingPort()
    with receiver() as device:
        async with gpsd(require("gpsd"), device.path) as address:
            run = asyncio.create_task(GnssDriver(full_table(GnssDriver.SETTINGS, gpsd=address)).run(port), name="gnss")
            await asyncio.sleep(0)
        with pytest.raises(PluginLostError, match="gpsd"):
            async with asyncio.timeout(WAIT_S):
                await run
        with pytest.raises(PluginLostError, match=address):
            await GnssDriver(full_table(GnssDriver.SETTINGS, gpsd=address)).run(port)
