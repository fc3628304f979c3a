"""What all stand-ins have in common: the same bytes every run, wake-ups that make progress, and their faults."""

import hashlib
import random
from collections.abc import Callable

import pytest

from link_sim.devices.at_modem import AtModem
from link_sim.devices.beidou import BeidouTerminal, Generation
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.gnss import GnssReceiver
from link_sim.devices.message_network import MessageNetwork
from link_sim.devices.modbus import ModbusSlave, RegisterMap, crc16
from link_sim.devices.outbox import Outbox
from link_sim.devices.sbd_modem import SbdModem
from link_sim.devices.stand_in import StandIn
from link_sim.link.link_profile import LinkProfile

FAULTS = (
    Fault(kind=FaultKind.UNPLUG, from_s=30, until_s=33),
    Fault(kind=FaultKind.SILENT, from_s=50, until_s=55),
    Fault(kind=FaultKind.SLOW, from_s=60, until_s=80, value=0.7),
    Fault(kind=FaultKind.PARTIAL, from_s=90, times=3, value=5),
    Fault(kind=FaultKind.GARBAGE, from_s=100, times=3, value=9),
)
READ = bytes.fromhex("010300000002")
ASKS = (
    READ + crc16(READ).to_bytes(2, "little"),
    b"AT+CNMI=2,1,0,1,0\r",
    b"AT+CSQ;+CREG?\r",
    b"AT+CMGS=18\r",
    b"0001000D91683109000000F2000405" + b"hello".hex().encode() + b"\x1a",
    b"AT+SBDWB=5\r",
    b"hello\x02\x14",
    b"AT+SBDIX\r",
    b"AT+SBDMTA=1\r",
    b"$CCTXA,0200002,1,2,A468656C6C6F*76\r\n",
    b"$CCRMO,BSI,2,1*27\r\n",
    b"noise\xff\x00\r\n",
)


def two_of(kind: str) -> list[StandIn]:
    """Two devices of a kind, joined where they have a network; the first with the faults."""
    network = MessageNetwork(LinkProfile(delay_s=1.5, jitter_s=1.0, loss_ratio=0.2, duplicate_ratio=0.2), seed=11)
    makers: dict[str, Callable[[int, tuple[Fault, ...]], StandIn]] = {
        "gnss": lambda number, faults: GnssReceiver(b"$GNRMC,1*00\r\n" * 3, faults=faults),
        "modbus": lambda number, faults: ModbusSlave({1: RegisterMap(holding={0: 1, 1: 2})}, faults=faults),
        "modem": lambda number, faults: AtModem(number=f"861390000000{number}", network=network, faults=faults),
        "bd2": lambda number, faults: BeidouTerminal(
            card=f"020000{number}", network=network, interval_s=5, faults=faults
        ),
        "bd3": lambda number, faults: BeidouTerminal(
            card=f"020000{number}", network=network, generation=Generation.BD3, interval_s=5, faults=faults
        ),
        "sbd": lambda number, faults: SbdModem(
            imei=f"30000000000000{number}", destination=f"30000000000000{3 - number}", network=network, faults=faults
        ),
    }
    return [makers[kind](1, FAULTS), makers[kind](2, ())]


def run(kind: str, *, checks_progress: bool = True) -> str:
    """Digest of all that two devices say in 150 s of requests and of wake-ups as the devices wish them."""
    requests, devices, said = random.Random(5), two_of(kind), hashlib.blake2b(digest_size=16)
    now_s = 0.0
    next_request_s = 0.0
    while now_s < 150:
        for number, device in enumerate(devices):
            received = b""
            if now_s >= next_request_s:
                received = requests.choice(ASKS)
            text = device.feed(received, now_s)
            said.update(b"%d %.9f " % (number, now_s) + text)
        if now_s >= next_request_s:
            next_request_s = now_s + requests.uniform(0.01, 1.5)
        wakeups = [at_s for device in devices if (at_s := device.next_wakeup()) is not None]
        if checks_progress:
            for device in devices:  # what one said may have made the other due: a second feed at the same time
                device.feed(b"", now_s)
                wakeup_s = device.next_wakeup()
                assert wakeup_s is None or wakeup_s > now_s
        now_s = min([next_request_s, *(at_s for at_s in wakeups if at_s > now_s)])
    return said.hexdigest()


@pytest.mark.parametrize("kind", ["gnss", "modbus", "modem", "bd2", "bd3", "sbd"])
def test_the_same_requests_get_the_same_bytes_at_the_same_times_and_wakeups_make_progress(kind: str) -> None:
    assert run(kind) == run(kind)


@pytest.mark.parametrize("kind", ["gnss", "modbus", "modem", "bd2", "bd3", "sbd"])
def test_an_unplugged_device_says_nothing_and_wakes_up_when_it_comes_back(kind: str) -> None:
    device = two_of(kind)[0]
    device.feed(b"", 0.0)
    for request in ASKS:
        device.feed(request, 29.9)
        assert device.feed(request, 31.0) == b""
        break
    assert not device.is_plugged
    assert device.next_wakeup() == 33.0
    device.feed(b"", 33.0)
    assert device.is_plugged


def test_text_that_is_ready_earlier_leaves_earlier_and_bytes_keep_the_baud_rate() -> None:
    outbox = Outbox(9600)
    outbox.put(5.0, b"late")
    outbox.put(1.0, b"early")
    assert outbox.next_due_s() == 1.0
    assert outbox.take(1.0) == b""
    due_s = outbox.next_due_s()
    assert due_s == pytest.approx(1.0 + 3 / 960)  # a piece of 4 ms is three bytes
    assert due_s is not None
    assert outbox.take(due_s) == b"ear"
    assert outbox.take(1.1) == b"ly"
    assert outbox.idle_from_s() == pytest.approx(5.0 + 4 / 960)
    assert outbox.take(6.0) == b"late"
    assert outbox.next_due_s() is None
