"""The Modbus slave answers as the protocol and a recording say; mbpoll, an independent master, reads and writes it."""

import asyncio
import random
import sys
from pathlib import Path

import pytest

from link_sim.devices.errors import DeviceError
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.modbus import GAP_S, ModbusSlave, RegisterMap, crc16
from link_sim.devices.pty_bench import PtyBench
from tests.components import require, shared_dir


def slave(*faults: Fault, baud_rate: int | None = None) -> ModbusSlave:
    registers = RegisterMap(
        holding={0: 100, 1: 101, 2: 102},
        inputs={10: 7},
        coils={at: at % 3 == 0 for at in range(10)},
        discrete={0: True},
    )
    return ModbusSlave({1: registers, 9: RegisterMap()}, baud_rate=baud_rate, answer_after_s=0, faults=faults)


def request(text: str) -> bytes:
    """A frame from hexadecimal digits without CRC."""
    frame = bytes.fromhex(text)
    return frame + crc16(frame).to_bytes(2, "little")


def answer(device: ModbusSlave, text: str, now_s: float = 1.0) -> str:
    return device.feed(request(text), now_s)[:-2].hex(" ")


def test_the_recorded_exchange_is_repeated_byte_for_byte() -> None:
    lines = Path(shared_dir("recordings") / "modbus/rtu_mbpoll_vs_pymodbus_socat-x.txt").read_text().splitlines()
    asked, answered = (bytes.fromhex(line) for line in lines if not line.startswith(("<", ">")))
    assert slave().feed(asked, 1.0) == answered


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("01 03 0001 0002", "01 03 04 00 65 00 66"),
        ("01 04 000a 0001", "01 04 02 00 07"),
        ("01 01 0000 000a", "01 01 02 49 02"),
        ("01 02 0000 0001", "01 02 01 01"),
        ("01 03 0002 0002", "01 83 02"),  # 3 is not there
        ("01 03 0000 0000", "01 83 03"),
        ("01 03 0000 007e", "01 83 03"),  # 126 words
        ("01 05 0000 1234", "01 85 03"),
        ("01 10 0000 0002 03 000102", "01 90 03"),
        ("01 2b 0e0100", "01 ab 01"),
        ("09 03 0000 0001", "09 83 02"),
        ("05 03 0000 0001", ""),  # nobody there
    ],
)
def test_requests_get_the_answers_of_the_standard(asked: str, answered: str) -> None:
    assert answer(slave(), asked) == answered


def test_writes_change_the_map_and_a_broadcast_gets_no_answer() -> None:
    device = slave()
    assert answer(device, "01 06 0001 beef") == "01 06 00 01 be ef"
    assert answer(device, "01 10 0001 0002 04 00050006") == "01 10 00 01 00 02"
    assert answer(device, "01 05 0001 ff00") == "01 05 00 01 ff 00"
    assert answer(device, "01 0f 0000 000a 02 ff00") == "01 0f 00 00 00 0a"
    assert answer(device, "00 06 0000 0009") == ""
    registers = device.units[1]
    assert registers.holding == {0: 9, 1: 5, 2: 6}
    assert registers.coils == {at: at < 8 for at in range(10)}


def test_a_frame_in_pieces_is_answered_when_its_last_byte_comes() -> None:
    device, asked = slave(), request("01 10 0001 0002 04 00050006")
    for at, byte in enumerate(asked[:-1]):
        assert device.feed(bytes((byte,)), 1 + at * 0.001) == b""
    assert device.feed(asked[-1:], 1.02)[:2] == b"\x01\x10"


def test_a_wrong_crc_gets_no_answer_and_silence_ends_a_cut_frame() -> None:
    device, asked = slave(), request("01 03 0000 0001")
    assert device.feed(asked[:-1] + bytes((asked[-1] ^ 1,)), 1.0) == b""
    assert device.feed(asked[:5], 2.0) == b""
    assert device.next_wakeup() == 2.0 + GAP_S
    assert device.feed(asked, 2.0 + GAP_S) != b""
    assert device.counts["wrong_crc"] == device.counts["cut_frame"] == 1


def test_faults_are_those_of_the_script() -> None:
    device = slave(
        Fault(kind=FaultKind.SILENT, from_s=1, until_s=2),
        Fault(kind=FaultKind.WRONG_CHECKSUM, from_s=2, times=1),
        Fault(kind=FaultKind.REFUSE, from_s=3, until_s=4, matching="fc6", value=4),
        Fault(kind=FaultKind.SLOW, from_s=4, until_s=5, value=1.5),
        Fault(kind=FaultKind.PARTIAL, from_s=6, value=3, times=1),
    )
    asked = request("01 03 0000 0001")
    right = device.feed(asked, 0.0)
    assert device.feed(asked, 1.0) == b""
    wrong = device.feed(asked, 2.0)
    assert wrong[:-2] == right[:-2]
    assert wrong[-2:] != right[-2:]
    assert device.feed(asked, 2.0) == right
    assert answer(device, "01 06 0000 0001", 3.0) == "01 86 04"
    assert device.feed(asked, 3.0) == right
    assert device.feed(asked, 4.0) == b""
    assert device.next_wakeup() == 5.5
    assert device.feed(b"", 5.49) == b""
    assert device.feed(b"", 5.5) == right
    assert device.feed(asked, 6.0) == right[:3]


def test_noise_never_raises_and_the_next_request_behind_a_silence_is_answered() -> None:
    noise, device, now_s = random.Random(5), slave(), 0.0
    for _ in range(300):
        now_s += noise.choice((0.001, 0.1))
        device.feed(noise.randbytes(noise.randrange(1, 40)), now_s)
    device.feed(b"", now_s + 1)
    assert answer(device, "01 03 0000 0001", now_s + 1).startswith("01 03 02")


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(DeviceError, match="holding register 3 = 70000"):
        RegisterMap(holding={3: 70_000})
    with pytest.raises(DeviceError, match="unit 0"):
        ModbusSlave({0: RegisterMap()})


async def poll(port: Path, *arguments: str) -> tuple[int | None, str]:
    """Exit code and output of one run of mbpoll; its addresses count from 1."""
    command = [str(require("mbpoll")), "-m", "rtu", "-b", "9600", "-P", "none", "-a", "1", "-1", "-o", "1"]
    values = [*arguments] if "--" in arguments else [*arguments, str(port)]
    if "--" in values:
        at = values.index("--")
        values = [*values[:at], str(port), *values[at + 1 :]]
    running = await asyncio.create_subprocess_exec(
        *command, *values, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(running.communicate(), 20)
    return running.returncode, output.decode()


@pytest.mark.device
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
async def test_mbpoll_reads_writes_and_sees_exceptions_and_wrong_checksums() -> None:
    """libmodbus judges the slave: values, exception 2, a wrong CRC, a silent slave, at 9600 baud."""
    device = slave(
        Fault(kind=FaultKind.WRONG_CHECKSUM, matching="fc4"),
        Fault(kind=FaultKind.SILENT, matching="fc2"),
        baud_rate=9600,
    )
    async with PtyBench({"slave": device}) as bench:
        port = bench.path("slave")
        code, output = await poll(port, "-r", "1", "-c", "3", "-t", "4")
        assert code == 0
        assert [line.split()[-1] for line in output.splitlines() if line.startswith("[")] == ["100", "101", "102"]
        code, output = await poll(port, "-r", "2", "-t", "4", "--", "4711")
        assert (code, device.units[1].holding[1]) == (0, 4711)
        code, output = await poll(port, "-r", "1", "-c", "4", "-t", "0")
        assert [line.split()[-1] for line in output.splitlines() if line.startswith("[")] == ["1", "0", "0", "1"]
        _, output = await poll(port, "-r", "100", "-t", "4")
        assert "Illegal data address" in output
        _, output = await poll(port, "-r", "11", "-t", "3")
        assert "Invalid CRC" in output
        _, output = await poll(port, "-r", "1", "-t", "1")
        assert "timed out" in output
