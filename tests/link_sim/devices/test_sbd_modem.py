"""The Iridium SBD modem: buffers, sessions, mailbox, ring alert, and what stays in its buffer."""

import pytest

from link_sim.devices.errors import DeviceError
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.message_network import Message, MessageNetwork
from link_sim.devices.sbd_modem import SbdModem
from link_sim.devices.stand_in import StandIn
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Outage

KIT, COMMAND = "300000000000001", "300000000000002"
HELLO = b"hello\x02\x14"  # the vector of the 9601 manual: payload and sum


def pair(*faults: Fault, profile: LinkProfile | None = None) -> tuple[MessageNetwork, SbdModem, SbdModem]:
    network = MessageNetwork(profile or LinkProfile(), seed=7)
    kit = SbdModem(imei=KIT, destination=COMMAND, network=network, session_s=8, baud_rate=None, faults=faults)
    command = SbdModem(imei=COMMAND, destination=KIT, network=network, session_s=8, baud_rate=None)
    for modem in (kit, command):
        modem.feed(b"ATE0\r", 0.0)
    return network, kit, command


def ask(modem: StandIn, text: bytes, now_s: float) -> bytes:
    """What the modem says to one command line, waiting as long as it takes."""
    said = modem.feed(text + b"\r", now_s)
    while b"OK\r\n" not in said and b"ERROR" not in said and b"READY" not in said:
        wakeup_s = modem.next_wakeup()
        assert wakeup_s is not None
        said += modem.feed(b"", wakeup_s)
    return said


def write(modem: StandIn, payload: bytes, now_s: float) -> None:
    assert ask(modem, b"AT+SBDWB=%d" % len(payload), now_s) == b"\r\nREADY\r\n"
    said = modem.feed(payload + (sum(payload) & 0xFFFF).to_bytes(2, "big"), now_s)
    assert said == b"\r\n0\r\n\r\nOK\r\n"


def test_the_published_vector_is_written_and_read_back() -> None:
    _, kit, _ = pair()
    assert ask(kit, b"AT+SBDWB=5", 1.0) == b"\r\nREADY\r\n"
    assert kit.feed(HELLO, 1.1) == b"\r\n0\r\n\r\nOK\r\n"
    assert b"size = 5" in ask(kit, b"AT+SBDTC", 2.0)
    assert ask(kit, b"AT+SBDRB", 3.0) == b"\x00\x05" + HELLO + b"\r\nOK\r\n"


@pytest.mark.parametrize(
    ("size", "data", "code"), [(5, b"hello\x02\x15", b"2"), (341, b"", b"3"), (0, b"", b"3"), (5, b"hell", b"1")]
)
def test_a_wrong_sum_size_or_pause_is_told_by_its_code(size: int, data: bytes, code: bytes) -> None:
    _, kit, _ = pair()
    said = kit.feed(b"AT+SBDWB=%d\r" % size, 1.0) + kit.feed(data, 2.0) + kit.feed(b"", 61.0)
    assert said.endswith(b"\r\n" + code + b"\r\n\r\nOK\r\n")
    assert b"+SBDS: 0" in ask(kit, b"AT+SBDS", 62.0)


def test_a_message_reaches_the_other_modem_in_its_next_session() -> None:
    _, kit, command = pair()
    write(kit, b"\x00\r\x1abinary", 1.0)
    assert ask(kit, b"AT+SBDIX", 2.0) == b"\r\n+SBDIX: 0, 0, 0, 0, 0, 0\r\n\r\nOK\r\n"
    assert ask(command, b"AT+SBDIX", 20.0) == b"\r\n+SBDIX: 0, 0, 1, 0, 9, 0\r\n\r\nOK\r\n"
    assert ask(command, b"AT+SBDRB", 30.0)[2:-8] == b"\x00\r\x1abinary"


def test_a_session_takes_its_time_and_holds_up_the_next_command() -> None:
    _, kit, _ = pair()
    assert kit.feed(b"AT+SBDIX\rAT+CGSN\r", 10.0) == b""
    assert kit.next_wakeup() == 18.0
    assert kit.feed(b"", 17.9) == b""
    assert kit.feed(b"", 18.0) == b"\r\n+SBDIX: 0, 0, 0, 0, 0, 0\r\n\r\nOK\r\n\r\n" + KIT.encode() + b"\r\n\r\nOK\r\n"


def test_the_buffer_is_sent_and_billed_again_until_it_is_cleared() -> None:
    network, kit, _ = pair()
    write(kit, b"once", 1.0)
    for at_s in (2.0, 20.0):
        ask(kit, b"AT+SBDIX", at_s)
    assert (network.waiting(COMMAND, 40.0), kit.counts["billed"]) == (2, 2)
    assert ask(kit, b"AT+SBDD0", 41.0) == b"\r\n0\r\n\r\nOK\r\n"
    ask(kit, b"AT+SBDIX", 42.0)
    assert network.waiting(COMMAND, 60.0) == 2


def test_failures_keep_the_message_and_say_their_code() -> None:
    network, kit, _ = pair(Fault(kind=FaultKind.REFUSE, matching="AT+SBDIX", times=1, value=36))
    write(kit, b"kept", 1.0)
    assert b"+SBDIX: 36, 0, 2, 0, 0, 0" in ask(kit, b"AT+SBDIX", 2.0)
    network.line(KIT).cut(10_000_000_000, Outage.DROP)
    assert b"+CSQ:0" in ask(kit, b"AT+CSQ", 11.0)
    assert b"+SBDIX: 32, 0, 2, 0, 0, 0" in ask(kit, b"AT+SBDIX", 12.0)
    network.line(KIT).mend(30_000_000_000)
    assert b"+SBDIX: 0, 0, 0, 0, 0, 0" in ask(kit, b"AT+SBDIXA", 31.0)
    assert (network.waiting(COMMAND, 50.0), kit.counts["billed"]) == (1, 1)


def test_a_session_may_fail_after_the_message_has_gone() -> None:
    network, kit, _ = pair(Fault(kind=FaultKind.LOST_ANSWER, times=1, value=18))
    write(kit, b"gone", 1.0)
    assert b"+SBDIX: 18, 0, 2, 0, 0, 0" in ask(kit, b"AT+SBDIX", 2.0)
    assert network.waiting(COMMAND, 20.0) == 1


def test_a_lost_frame_is_a_failed_session_for_the_air_acknowledges() -> None:
    _, kit, _ = pair(profile=LinkProfile(loss_ratio=1.0))
    write(kit, b"lost", 1.0)
    assert b"+SBDIX: 18," in ask(kit, b"AT+SBDIX", 2.0)


def test_the_mailbox_gives_one_message_a_session_and_the_number_left() -> None:
    network, kit, _ = pair()
    for number in range(3):
        network.post(Message(sender=COMMAND, recipient=KIT, body=b"m%d" % number), 1.0)
    for number in range(3):
        said = ask(kit, b"AT+SBDIX", 10.0 + 20 * number)
        assert said.startswith(b"\r\n+SBDIX: 0, %d, 1, %d, 2, %d\r\n" % (number, number, 2 - number))
        assert ask(kit, b"AT+SBDRB", 25.0 + 20 * number)[2:4] == b"m%d" % number


def test_the_mailbox_keeps_50_messages_and_drops_all_after_five_days() -> None:
    network, _, _ = pair()
    for number in range(51):
        network.post(Message(sender=COMMAND, recipient=KIT, body=bytes((number,))), 1.0)
    assert network.waiting(KIT, 2.0) == 50
    assert network.waiting(KIT, 5 * 86_400.0) == 50
    assert network.waiting(KIT, 5 * 86_400.0 + 2) == 0
    assert (network.counts["mailbox_full"], network.counts["expired"]) == (1, 50)


def test_a_message_too_big_for_the_other_modem_is_told_and_does_not_block_the_mailbox() -> None:
    """340 bytes go up and 270 come down; MO status 1 is a success all the same."""
    network, kit, command = pair()
    write(kit, bytes(340), 1.0)
    ask(kit, b"AT+SBDIX", 2.0)
    network.post(Message(sender=KIT, recipient=COMMAND, body=bytes(270)), 11.0)
    assert b"+SBDIX: 1, 0, 0, 0, 0, 1" in ask(command, b"AT+SBDIX", 20.0)
    assert b"+SBDIX: 0, 1, 1, 0, 270, 0" in ask(command, b"AT+SBDIX", 40.0)


def test_a_ring_comes_twice_and_not_once_more_for_the_same_message() -> None:
    network, kit, _ = pair()
    ask(kit, b"AT+SBDMTA=1", 1.0)
    network.post(Message(sender=COMMAND, recipient=KIT, body=b"ring"), 2.0)
    rings_s = []
    for _ in range(5):
        wakeup_s = kit.next_wakeup()
        if wakeup_s is None:
            break
        if b"SBDRING" in kit.feed(b"", wakeup_s):
            rings_s.append(wakeup_s)
    assert rings_s == [pytest.approx(2.0), pytest.approx(22.0)]
    assert ask(kit, b"AT+SBDSX", 29.0) == b"\r\n+SBDSX: 0, 0, 0, -1, 1, 0\r\n\r\nOK\r\n"
    assert b", 1, 0, 4, 0" in ask(kit, b"AT+SBDIXA", 30.0)
    assert ask(kit, b"AT+SBDSX", 40.0) == b"\r\n+SBDSX: 0, 1, 1, 0, 0, 0\r\n\r\nOK\r\n"
    assert ask(kit, b"AT+SBDRT", 40.0) == b"\r\n+SBDRT:\r\nring\r\n\r\nOK\r\n"


def test_text_is_limited_to_120_characters_on_the_line_and_340_behind_ready() -> None:
    network, kit, _ = pair()
    assert ask(kit, b"AT+SBDWT=" + b"a;b" * 40, 1.0) == b"\r\nOK\r\n"
    assert ask(kit, b"AT+SBDWT=" + b"a" * 121, 2.0) == b"\r\nERROR\r\n"
    ask(kit, b"AT+SBDIX", 3.0)
    received = network.collect(COMMAND, 20.0)
    assert received is not None
    assert received.body == b"a;b" * 40
    assert ask(kit, b"AT+SBDWT", 21.0) == b"\r\nREADY\r\n"
    assert kit.feed(b"x" * 340 + b"\r", 22.0) == b"\r\n0\r\n\r\nOK\r\n"


def test_an_unplugged_modem_forgets_its_buffers_and_its_settings() -> None:
    _, kit, _ = pair(Fault(kind=FaultKind.UNPLUG, from_s=5, until_s=6))
    write(kit, b"gone", 1.0)
    assert kit.feed(b"AT\r", 5.5) == b""
    kit.feed(b"", 6.0)
    assert kit.feed(b"AT+SBDS\r", 7.0) == b"AT+SBDS\r\r\n+SBDS: 0, 0, 0, -1\r\n\r\nOK\r\n"  # with echo


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(DeviceError, match="imei 12"):
        SbdModem(imei="12", destination=KIT, network=MessageNetwork(LinkProfile()))
