"""The AT modem: command line, registration, signal, SMS; gammu, an independent host, identifies it, sends and reads."""

import asyncio
import random
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from link_sim.devices.at_line import split_commands
from link_sim.devices.at_modem import AtModem
from link_sim.devices.errors import DeviceError
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.message_network import MessageNetwork
from link_sim.devices.modem_radio import RadioStep, Registration
from link_sim.devices.pty_bench import PtyBench
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Outage
from tests.components import require

KIT, COMMAND = "8613900000001", "8613900000002"
TO_COMMAND = "000100" + "0D91683109000000F2" + "0004" + "05" + b"hello".hex()  # 8-bit data
TO_COMMAND_REPORTED = "002100" + TO_COMMAND[6:]
CENTRE = "0891683108100005F0"
UNIT_BYTES = len(TO_COMMAND) // 2 - 1


def modem(
    network: MessageNetwork | None = None,
    *faults: Fault,
    number: str = KIT,
    radio: tuple[RadioStep, ...] = (RadioStep(),),
) -> AtModem:
    network = network or MessageNetwork(LinkProfile(delay_s=2.0), seed=7)
    made = AtModem(number=number, network=network, radio=radio, send_s=1.0, baud_rate=None, faults=faults)
    made.feed(b"ATE0\r", 0.0)
    return made


def pair(*faults: Fault, profile: LinkProfile | None = None) -> tuple[MessageNetwork, AtModem, AtModem]:
    network = MessageNetwork(profile or LinkProfile(delay_s=2.0), seed=7)
    return network, modem(network, *faults), modem(network, number=COMMAND)


def ask(device: AtModem, text: str, now_s: float) -> str:
    return device.feed(text.encode() + b"\r", now_s).decode()


def send(device: AtModem, now_s: float, pdu: str = TO_COMMAND) -> str:
    """What the modem says to a message, one second later."""
    assert ask(device, f"AT+CMGS={UNIT_BYTES}", now_s) == "\r\n> "
    return (device.feed(pdu.encode() + b"\x1a", now_s) + device.feed(b"", now_s + 1)).decode()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("AT", "OK"),
        ("at", "OK"),
        ("AT+CSQ", "+CSQ: 20,99|OK"),
        ("AT+CESQ", "+CESQ: 99,99,255,255,31,62|OK"),
        ("AT+CREG?", "+CREG: 0,1|OK"),
        ("AT+CEREG=2;+CEREG?", '+CEREG: 2,1,"1A2B","01C3D4E5",7|OK'),
        ("AT+C5GREG?", "+C5GREG: 0,0|OK"),
        ("AT+COPS?", '+COPS: 0,2,"00101",7|OK'),
        ("AT+CGSN", "490154203237518|OK"),
        ("AT+CMGF=1", "+CMS ERROR: 302"),
        ("AT+NONSENSE", "ERROR"),
        ("AT+CMEE=1;+NONSENSE;+CSQ", "+CME ERROR: 4"),
        ("AT+CPIN?", "+CPIN: READY|OK"),
        ("AT+CMGR=7", "+CMS ERROR: 321"),
        ("ATV1S0=0&K3&D2+CSQ", "+CSQ: 20,99|OK"),
    ],
)
def test_commands_get_the_answers_of_the_standards(asked: str, said: str) -> None:
    assert ask(modem(), asked, 1.0) == "".join(f"\r\n{part}\r\n" for part in said.split("|"))


def test_a_line_holds_several_commands_and_quotes_hide_semicolons() -> None:
    assert list(split_commands('E0V1+CMEE=2;+X="a;b";+CSCS?')) == ["E0", "V1", "+CMEE=2", '+X="a;b"', "+CSCS?"]
    assert list(split_commands("+SBDWT=a;b", ("+SBDWT=",))) == ["+SBDWT=a;b"]


def test_echo_backspace_and_numeric_results_are_as_v250_says() -> None:
    device = modem()
    assert ask(device, "ATE1V0", 1.0) == "0\r"
    assert ask(device, "AT+CSX\bQ", 1.0) == "AT+CSX\bQ\r\r\n+CSQ: 20,99\r\n0\r"
    assert ask(device, "ATZ", 1.0) == "ATZ\r\r\nOK\r\n"


def test_registration_and_signal_follow_the_script_and_are_announced_when_wanted() -> None:
    radio = (
        RadioStep(registration=Registration.SEARCHING, rssi=99),
        RadioStep(at_s=5.0, rssi=9),
        RadioStep(at_s=8.0, rssi=4),
        RadioStep(at_s=9.0, registration=Registration.ROAMING),
    )
    device = modem(radio=radio)
    assert ask(device, "AT+CREG=1;+CEREG=2;+CSQ", 1.0) == "\r\n+CSQ: 99,99\r\n\r\nOK\r\n"
    assert device.next_wakeup() == 5.0
    assert device.feed(b"", 5.0) == b'\r\n+CREG: 1\r\n\r\n+CEREG: 1,"1A2B","01C3D4E5",7\r\n'
    assert device.feed(b"", 8.0) == b""
    assert device.feed(b"", 9.0).startswith(b"\r\n+CREG: 5\r\n")


def test_an_unsolicited_line_comes_between_a_slow_command_and_its_answer() -> None:
    device = modem(
        None,
        Fault(kind=FaultKind.SLOW, matching="AT+CSQ", value=10),
        radio=(RadioStep(registration=Registration.SEARCHING), RadioStep(at_s=5.0)),
    )
    ask(device, "AT+CREG=1", 1.0)
    assert ask(device, "AT+CSQ", 2.0) == ""
    assert ask(device, "AT+CGSN", 3.0) == ""  # waits for the slow one
    assert device.feed(b"", 5.0) == b"\r\n+CREG: 1\r\n"
    said = device.feed(b"", 12.0) + device.feed(b"", 12.1)
    assert said == b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n\r\n490154203237518\r\n\r\nOK\r\n"


def test_a_message_arrives_in_the_storage_and_is_announced_listed_read_and_deleted() -> None:
    _, kit, command = pair()
    ask(command, "AT+CNMI=2,1,0,0,0", 1.0)
    assert send(kit, 2.0) == "\r\n+CMGS: 0\r\n\r\nOK\r\n"
    assert command.feed(b"", 4.9) == b""
    assert command.feed(b"", 5.1) == b'\r\n+CMTI: "SM",1\r\n'
    unit = "040D91683109000000F10004" + "62101000005000" + "05" + b"hello".hex()
    whole = CENTRE + unit.upper()
    assert ask(command, "AT+CMGL=1", 6.0) == "\r\nOK\r\n"  # none has been read
    assert ask(command, "AT+CMGR=1", 6.0) == f"\r\n+CMGR: 0,,{len(unit) // 2}\r\n{whole}\r\n\r\nOK\r\n"
    for asked in ("AT+CMGL=1", "AT+CMGL=4"):
        assert ask(command, asked, 6.0) == f"\r\n+CMGL: 1,1,,{len(unit) // 2}\r\n{whole}\r\n\r\nOK\r\n"
    assert ask(command, "AT+CMGL=0", 6.0) == "\r\nOK\r\n"
    assert ask(command, "AT+CPMS?", 6.0) == '\r\n+CPMS: "SM",1,20,"SM",1,20,"SM",1,20\r\n\r\nOK\r\n'
    assert ask(command, "AT+CMGD=1", 6.0) == "\r\nOK\r\n"
    assert ask(command, "AT+CMGL=4", 6.0) == "\r\nOK\r\n"


def test_messages_and_reports_come_straight_to_the_host_when_it_wants_them() -> None:
    _, kit, command = pair()
    ask(kit, "AT+CNMI=2,1,0,1,0", 1.0)
    ask(command, "AT+CNMI=2,2,0,0,0", 1.0)
    assert "+CMGS: 0" in send(kit, 2.0, TO_COMMAND_REPORTED)
    assert command.feed(b"", 5.1).startswith(b"\r\n+CMT: ,25\r\n0891")
    report = kit.feed(b"", 7.2).decode()
    assert re.fullmatch(rf"\r\n\+CDS: 26\r\n{CENTRE}06000D91683109000000F2\d{{28}}00\r\n", report)


def test_reports_nobody_wants_are_forgotten_and_stored_ones_are_read_from_sr() -> None:
    _, kit, command = pair()
    send(kit, 1.0, TO_COMMAND_REPORTED)
    command.feed(b"", 5.0)
    assert kit.feed(b"", 10.0) == b""
    ask(kit, "AT+CNMI=2,1,0,2,0", 10.0)
    send(kit, 11.0, TO_COMMAND_REPORTED)
    command.feed(b"", 15.0)
    assert kit.feed(b"", 18.0) == b'\r\n+CDSI: "SR",1\r\n'
    assert ask(kit, 'AT+CPMS="SR","SM","SM"', 19.0) == "\r\n+CPMS: 1,20,0,20,0,20\r\n\r\nOK\r\n"
    assert "+CMGR: 0,,26\r\n" in ask(kit, "AT+CMGR=1", 19.0)


def test_messages_wait_in_the_network_while_the_storage_is_full_or_there_is_no_service() -> None:
    network = MessageNetwork(LinkProfile(), seed=7)
    kit = modem(network)
    radio = (RadioStep(registration=Registration.SEARCHING), RadioStep(at_s=50.0))
    command = AtModem(number=COMMAND, network=network, radio=radio, slots=1, baud_rate=None)
    for at_s in (1.0, 3.0):
        assert "+CMGS" in send(kit, at_s)
    command.feed(b"", 40.0)
    assert network.waiting(COMMAND, 40.0) == 2
    command.feed(b"", 50.0)
    assert network.waiting(COMMAND, 50.0) == 1
    command.feed(b"AT+CMGD=1\r", 60.0)
    assert network.waiting(COMMAND, 60.0) == 0


def test_what_cannot_be_sent_is_refused_with_its_code() -> None:
    network, kit, _ = pair(Fault(kind=FaultKind.REFUSE, matching="AT+CMGS", from_s=50, value=500))
    assert "+CMS ERROR: 304" in send(kit, 1.0, TO_COMMAND + "00")
    assert "+CMS ERROR: 304" in send(kit, 3.0, "no digits")
    network.line(KIT).cut(5_000_000_000, Outage.DROP)
    assert "+CMS ERROR: 38" in send(kit, 6.0)
    network.line(KIT).mend(10_000_000_000)
    assert "+CMS ERROR: 500" in ask(kit, f"AT+CMGS={UNIT_BYTES}", 50.0)
    assert network.counts["posted"] == 0
    nowhere = modem(radio=(RadioStep(registration=Registration.SEARCHING),))
    assert "+CMS ERROR: 331" in send(nowhere, 1.0)


def test_escape_cancels_a_message() -> None:
    network, kit, _ = pair()
    assert ask(kit, f"AT+CMGS={UNIT_BYTES}", 1.0) == "\r\n> "
    assert kit.feed(b"0011\x1b", 2.0) == b"\r\nOK\r\n"
    assert network.counts["posted"] == 0


def test_a_locked_card_wants_its_pin_first() -> None:
    device = AtModem(number=KIT, network=MessageNetwork(LinkProfile()), pin="1234", baud_rate=None)
    device.feed(b"ATE0\r", 0.0)
    assert "+CPIN: SIM PIN" in ask(device, "AT+CPIN?", 1.0)
    assert "+CMS ERROR: 311" in ask(device, "AT+CMGL=4", 1.0)
    assert ask(device, 'AT+CPIN="9999"', 1.0) == "\r\nERROR\r\n"
    assert ask(device, 'AT+CPIN="1234"', 1.0) == "\r\nOK\r\n"
    assert ask(device, "AT+CMGL=4", 1.0) == "\r\nOK\r\n"


def test_a_partial_answer_stops_in_the_middle_and_a_silent_modem_says_nothing() -> None:
    device = modem(
        None,
        Fault(kind=FaultKind.PARTIAL, matching="AT+CSQ", value=6, times=1),
        Fault(kind=FaultKind.SILENT, from_s=10, until_s=20),
    )
    assert ask(device, "AT+CSQ", 1.0) == "\r\n+CSQ"
    assert ask(device, "AT+CSQ", 2.0).endswith("OK\r\n")
    assert ask(device, "ATE1", 12.0) == ""
    assert ask(device, "AT", 13.0) == ""
    assert ask(device, "AT", 20.0) == "AT\r\r\nOK\r\n"


def test_noise_never_raises_and_the_modem_answers_afterwards() -> None:
    noise, (_, kit, _) = random.Random(3), pair()
    words = [b"AT+", b"CMGS=18\r", b"CMGL", b"=4\r", b"\x1a", b"\x1b", b"\r", b"CNMI=2,1\r", b"CMGD=\r", b"CPMS=,\r"]
    for number in range(3000):
        kit.feed(noise.choice(words) if noise.random() < 0.9 else noise.randbytes(5), number * 0.5)
    kit.feed(b"\x1b\r", 2000.0)
    assert kit.feed(b"\rATE0V1Q0\rAT+CSQ\r", 2010.0).endswith(b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n")


def test_what_cannot_be_is_refused_by_name() -> None:
    network = MessageNetwork(LinkProfile())
    with pytest.raises(DeviceError, match="number \\+86"):
        AtModem(number="+86", network=network)
    with pytest.raises(DeviceError, match="rssi 40"):
        RadioStep(rssi=40)
    with pytest.raises(DeviceError, match="the first 0"):
        AtModem(number=KIT, network=network, radio=[RadioStep(at_s=3.0)])


async def gammu(port: Path, folder: Path, *commands: str) -> str:
    """Output of one connection that carries out these commands."""
    settings, batch = folder / f"gammurc-{port.name}", folder / f"batch-{port.name}"
    settings.write_text(f"[gammu]\ndevice={port}\nconnection=at115200\n")
    batch.write_text("".join(f"{command}\n" for command in commands))
    running = await asyncio.create_subprocess_exec(
        str(require("gammu")),
        "-c",
        str(settings),
        "batch",
        str(batch),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(running.communicate(), 60)
    return output.decode()


@pytest.mark.slow
@pytest.mark.device
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
async def test_gammu_identifies_the_modem_sends_and_reads_long_messages(tmp_path: Path) -> None:
    """Text in the 7-bit alphabet and 150 Chinese characters in three parts, over a line of 0.2 s."""
    network = MessageNetwork(LinkProfile(delay_s=0.2))
    devices = {
        name: AtModem(number=number, network=network, send_s=0.1)
        for name, number in (("kit", KIT), ("command", COMMAND))
    }
    async with PtyBench(devices, folder=tmp_path) as bench:
        sent = await gammu(
            bench.path("kit"),
            tmp_path,
            "identify",
            "networkinfo",
            f'sendsms TEXT +{COMMAND} -report -text "hello from the kit"',
            f"sendsms TEXT +{COMMAND} -len 400 -unicode -text {'水' * 150}",
        )
        read = await gammu(bench.path("command"), tmp_path, "getallsms")
    assert "490154203237518" in sent
    assert sent.count("OK, message reference=") == 4
    assert "hello from the kit" in read
    assert Counter(read)["水"] == 150
    assert f'"+{KIT}"' in read
    assert re.search(r"part 3 of 3", read)
    assert devices["kit"].counts["report"] == 1
