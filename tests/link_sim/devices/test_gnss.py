"""The GNSS receiver plays a log as a receiver would: in time, no faster than its port, with its faults."""

import asyncio
import json
import socket
import sys
from functools import reduce
from operator import xor

import pytest

from link_sim.devices.errors import DeviceError
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.gnss import GnssReceiver, epochs_of
from link_sim.devices.pty_bench import PtyBench
from tests.components import require, shared_dir

LOG = b"".join(
    b"# made for the test\r\n$GNRMC,12000%d.00,A*00\r\n$GPGSV,2,1*00\r\n$GPGSV,2,2*00\r\n" % second
    for second in range(5)
)
EPOCHS = epochs_of(LOG)


def published(name: str) -> bytes:
    return (shared_dir("recordings") / "nmea" / name).read_bytes()


def play(receiver: GnssReceiver, until_s: float) -> list[tuple[float, bytes]]:
    """Everything it says by then, each with its time, driven by its own wake-ups."""
    said, now_s = [], 0.0
    while now_s <= until_s:
        said.append((now_s, receiver.feed(b"", now_s)))
        wakeup_s = receiver.next_wakeup()
        if wakeup_s is None:
            break
        assert wakeup_s > now_s  # else a runner would spin
        now_s = wakeup_s
    return [(at_s, text) for at_s, text in said if text]


def text_of(said: list[tuple[float, bytes]]) -> bytes:
    return b"".join(text for _, text in said)


def test_an_epoch_begins_with_the_sentence_type_of_the_first() -> None:
    assert len(EPOCHS) == 5
    assert EPOCHS[1] == b"$GNRMC,120001.00,A*00\r\n$GPGSV,2,1*00\r\n$GPGSV,2,2*00\r\n"


@pytest.mark.parametrize("name", ["beidou-bd.log", "quectel-eg25-g-2.log", "ublox-neo-m9n-nmea.log"])
def test_a_published_log_is_cut_at_its_times_and_played_byte_for_byte(name: str) -> None:
    """No epoch holds two times of RMC, and all lines of the log but comments come out, stray blanks too."""
    log = published(name)
    epochs = epochs_of(log)
    for epoch in epochs:
        times = [line.split(b",")[1] for line in epoch.splitlines() if line[3:6] == b"RMC"]
        assert len(set(times)) <= 1
    assert len(epochs) > 1
    said = text_of(play(GnssReceiver(log, baud_rate=None, loops=False), 1e6))
    assert said.splitlines() == [line for line in log.splitlines() if line.strip() and not line.startswith(b"#")]


@pytest.mark.parametrize("rate_hz", [1.0, 10.0])
def test_epochs_begin_at_the_rate_without_drift(rate_hz: float) -> None:
    said = play(GnssReceiver(LOG, rate_hz=rate_hz, baud_rate=None), 99.95)
    assert len(said) == round(100 * rate_hz)
    assert said[-1][0] == pytest.approx(99 + (rate_hz - 1) / rate_hz, abs=1e-6)


def test_no_byte_leaves_before_its_last_bit_has_been_sent() -> None:
    """At 4800 baud 8N1 a byte takes 2.083 ms."""
    sent_bytes = 0
    for at_s, text in play(GnssReceiver(LOG, baud_rate=4800), 0.9):
        sent_bytes += len(text)
        assert sent_bytes <= at_s * 480 + 1e-3
    assert sent_bytes == len(EPOCHS[0])


def test_a_port_too_slow_for_the_log_leaves_out_whole_epochs() -> None:
    receiver = GnssReceiver(LOG, rate_hz=10, baud_rate=4800)
    said = text_of(play(receiver, 4.0))
    assert receiver.counts["overrun_epochs"] > 5
    assert said.count(b"$GNRMC") >= receiver.counts["epochs"] - 1 > 10
    assert all(epoch in EPOCHS for epoch in epochs_of(said)[:-1])


def test_a_pause_is_silent_and_the_log_goes_on_behind_it() -> None:
    faults = [Fault(kind=FaultKind.SILENT, from_s=1.5, until_s=3.5)]
    said = play(GnssReceiver(LOG, baud_rate=None, faults=faults), 4.5)
    assert [(at_s, text) for at_s, text in said] == [(0, EPOCHS[0]), (1, EPOCHS[1]), (4, EPOCHS[4])]


def test_garbage_comes_before_an_epoch_and_is_the_same_with_the_same_seed() -> None:
    faults = [Fault(kind=FaultKind.GARBAGE, from_s=0.5, times=1, value=40)]
    said = [play(GnssReceiver(LOG, baud_rate=None, faults=faults, seed=3), 2.5) for _ in range(2)]
    assert said[0] == said[1]
    assert said[0][1][1].endswith(EPOCHS[1])
    assert len(said[0][1][1]) == 40 + len(EPOCHS[1])
    assert said[0][2][1] == EPOCHS[2]


def test_spoiled_checksums_are_wrong_in_every_sentence() -> None:
    log = b"".join(b"$" + body + b"*%02X\r\n" % reduce(xor, body) for body in (b"GNRMC,1", b"GPGSV,2", b"GNRMC,3"))
    faults = [Fault(kind=FaultKind.WRONG_CHECKSUM, until_s=0.5)]
    spoiled, whole = (text for _, text in play(GnssReceiver(log, baud_rate=None, faults=faults, loops=False), 5))
    for text, is_right in ((spoiled, False), (whole, True)):
        for line in text.splitlines():
            assert (reduce(xor, line[1:-3]) == int(line[-2:], 16)) == is_right


def test_an_unplugged_receiver_is_gone_and_comes_back_in_step_with_power_on() -> None:
    faults = [Fault(kind=FaultKind.UNPLUG, from_s=1.25, until_s=2.75)]
    receiver = GnssReceiver(LOG, baud_rate=None, faults=faults)
    assert [at_s for at_s, _ in play(receiver, 4.0)] == [0, 1, 2.75, 3.75]
    assert [happening.event for happening in receiver.log] == ["unplugged", "plugged"]


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(DeviceError, match="rate_hz 100"):
        GnssReceiver(LOG, rate_hz=100)
    with pytest.raises(DeviceError, match="baud_rate 7"):
        GnssReceiver(LOG, baud_rate=7)
    with pytest.raises(DeviceError, match="log of 1 lines"):
        GnssReceiver(b"no NMEA")
    with pytest.raises(DeviceError, match="fault kind refuse: allowed here is garbage, partial"):
        GnssReceiver(LOG, faults=[Fault(kind=FaultKind.REFUSE)])
    with pytest.raises(DeviceError, match=r"from_s 2\.0, until_s 1\.0"):
        Fault(kind=FaultKind.SILENT, from_s=2.0, until_s=1.0)


class SwitchedReceiver(GnssReceiver):
    """A receiver that is not switched on before ``start_s``: so that nothing is said before somebody listens."""

    start_s: float | None = None

    def feed(self, received: bytes, now_s: float) -> bytes:
        return b"" if self.start_s is None else super().feed(received, now_s - self.start_s)

    def next_wakeup(self) -> float | None:
        wakeup_s = None if self.start_s is None else super().next_wakeup()
        return None if wakeup_s is None else wakeup_s + (self.start_s or 0.0)


@pytest.mark.slow
@pytest.mark.device
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
async def test_gpsd_takes_its_fixes_from_the_receiver() -> None:
    """An independent reader on the port hears each epoch once; its fixes are where and when the log has them."""
    log = published("ublox-neo-m9n-nmea.log")
    positions = [fix_of(line) for line in log.splitlines() if line[3:6] == b"RMC" and b",A," in line]
    receiver = SwitchedReceiver(log, rate_hz=5, baud_rate=115_200)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        tcp_port = str(free.getsockname()[1])
    async with PtyBench({"gnss": receiver}) as bench:
        daemon = await asyncio.create_subprocess_exec(
            *(str(require("gpsd")), "-N", "-n", "-b", "-S", tcp_port, str(bench.path("gnss"))),
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(30):
                reader, writer = await connect(tcp_port)
                writer.write(b'?WATCH={"enable":true,"json":true,"raw":1};\n')
                while json.loads(await reader.readline())["class"] != "WATCH":
                    pass
                receiver.start_s = bench.now_s()
                bench.turn()
                heard, fixes = await told(reader, 5)
                writer.close()
        finally:
            daemon.terminate()
            await daemon.wait()
    assert heard == positions[: len(heard)]
    assert fixes == heard[-5:]


async def told(reader: asyncio.StreamReader, number: int) -> tuple[list[tuple[str, float, float]], ...]:
    """What gpsd passes on until it has told so many fixes: those of the RMC it heard, and its own.

    Until it has learned which sentence ends an epoch it tells one fix after several sentences: that is one here.
    """
    heard: list[tuple[str, float, float]] = []
    fixes: list[tuple[str, float, float]] = []
    while len(fixes) < number:
        line = await reader.readline()
        if line.startswith(b"$"):
            heard += [fix_of(line)] if line[3:6] == b"RMC" and b",A," in line else []
            continue
        report = json.loads(line)
        if report["class"] == "TPV" and report.get("mode", 0) == 3 and "time" in report:
            fix = (report["time"][11:19], round(report["lat"], 5), round(report["lon"], 5))
            fixes += [] if fixes[-1:] == [fix] else [fix]
    return heard, fixes


async def connect(tcp_port: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", int(tcp_port))
        except ConnectionRefusedError:  # the daemon has not opened its port yet, which nothing announces
            await asyncio.sleep(0.05)


def fix_of(rmc: bytes) -> tuple[str, float, float]:
    """Time of day, latitude and longitude of one RMC."""
    fields = rmc.decode().split(",")
    degrees = [float(text) // 100 + float(text) % 100 / 60 for text in (fields[3], fields[5])]
    signs = (1 if fields[4] == "N" else -1, 1 if fields[6] == "E" else -1)
    at = fields[1]
    return f"{at[:2]}:{at[2:4]}:{at[4:6]}", round(signs[0] * degrees[0], 5), round(signs[1] * degrees[1], 5)
