"""The BeiDou terminal: sentences, the card's interval, feedback, and two of them end to end."""

from functools import reduce
from operator import xor
from pathlib import Path

import pytest

from link_sim.devices.beidou import BeidouTerminal, Generation
from link_sim.devices.errors import DeviceError
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.message_network import MessageNetwork
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Outage
from tests.components import shared_dir

KIT, COMMAND = "0200001", "0200002"


def sentence(body: str | bytes) -> bytes:
    raw = body if isinstance(body, bytes) else body.encode("gbk")
    return b"$" + raw + b"*%02X\r\n" % reduce(xor, raw)


def pair(
    profile: LinkProfile | None = None, generation: Generation = Generation.BD2, faults: tuple[Fault, ...] = ()
) -> tuple[MessageNetwork, BeidouTerminal, BeidouTerminal]:
    network = MessageNetwork(profile or LinkProfile(delay_s=3.0), seed=7)
    kit, command = (
        BeidouTerminal(
            card=card, network=network, generation=generation, baud_rate=None, feedback_after_s=0, faults=card_faults
        )
        for card, card_faults in ((KIT, ()), (COMMAND, faults))
    )
    return network, kit, command


def test_the_published_session_is_repeated() -> None:
    """Each answer of the constructed session, byte for byte; the beams' time difference beam is nobody's fact."""
    lines = Path(shared_dir("recordings") / "beidou/constructed_session.txt").read_text().splitlines()
    said = [line.split(" ", 1)[1].encode() + b"\r\n" for line in lines]
    _, kit, command = pair(LinkProfile())
    assert kit.feed(said[0], 0.0) == said[1]
    beams = kit.feed(said[2], 0.1)
    assert beams.split(b",")[3:-1] == said[3].split(b",")[3:-1]
    assert beams == sentence(beams[1:-5])
    kit.feed(sentence("CCRMO,BSI,1,"), 0.2)
    assert kit.feed(said[4], 0.5) == said[5]
    assert b"$BDFKI,TXA,Y" in command.feed(sentence(f"CCTXA,{KIT},1,2,A468656C6C6F"), 1.0)
    assert kit.feed(b"", 1.0) == said[6]
    assert kit.feed(said[7], 18.5) == said[8]


def test_the_published_sentences_carry_this_checksum() -> None:
    assert sentence("CCICA,0,00") == b"$CCICA,0,00*7B\r\n"
    assert sentence("CCICR,0,00") == b"$CCICR,0,00*68\r\n"
    assert sentence("CCTXA,0179773,1,2,A468656C6C6F") == b"$CCTXA,0179773,1,2,A468656C6C6F*7A\r\n"


def test_a_message_arrives_after_the_delay_of_the_line_and_once() -> None:
    _, kit, command = pair()
    kit.feed(sentence(f"CCTXA,{COMMAND},1,2,A401"), 10.0)
    assert command.feed(b"", 12.9) == b""
    assert command.next_wakeup() == pytest.approx(13.0, abs=1e-6)
    wakeup_s = command.next_wakeup()
    assert wakeup_s is not None
    assert command.feed(b"", wakeup_s) == sentence(f"BDTXR,1,{KIT},2,,A401")
    assert command.feed(b"", 100.0) == b""
    assert command.next_wakeup() is None


def test_chinese_text_with_commas_and_asterisks_arrives_as_it_was() -> None:
    text = "水位上升,3.5*米*2A $CC".encode("gbk").replace(b"$CC", b"$")
    _, kit, command = pair()
    kit.feed(sentence(f"CCTXA,{COMMAND},1,1,".encode() + text), 0.0)
    assert command.feed(b"", 3.1) == sentence(f"BDTXR,1,{KIT},0,,".encode() + text)


def test_requests_inside_the_interval_are_refused_with_the_time_left_and_do_not_prolong_it() -> None:
    network, kit, _ = pair()
    ask = sentence(f"CCTXA,{COMMAND},1,2,A401")
    answers = [kit.feed(ask, at_s) for at_s in (0.0, 17.5, 59.9, 60.0)]
    assert [answer[1:-5] for answer in answers] == [
        b"BDFKI,TXA,Y,Y,0,0000",
        b"BDFKI,TXA,N,Y,1,0043",
        b"BDFKI,TXA,N,Y,1,0001",
        b"BDFKI,TXA,Y,Y,0,0000",
    ]
    assert network.counts["posted"] == 2


def test_bd3_sends_and_receives_in_its_own_sentences() -> None:
    _, kit, command = pair(generation=Generation.BD3)
    assert kit.feed(sentence(f"CCTCQ,{COMMAND},2,1,2,90AB,0"), 3723.0)[1:-5] == b"BDFKI,010203,TCQ,Y,0,0"
    assert kit.feed(sentence(f"CCTCQ,{COMMAND},2,1,2,90AB,0"), 3724.5)[1:-5] == b"BDFKI,010204,TCQ,N,1,59"
    assert command.feed(b"", 3730.0)[1:-5] == f"BDTCI,0{KIT},{COMMAND},2,010210,2,0,90AB".encode()
    card = kit.feed(sentence("CCICR,0,00"), 3731.0).decode().split("*")[0].split(",")
    assert (card[1], card[14], card[15], len(card)) == (KIT, "60", "3", 24)
    assert kit.feed(sentence("CCICA,0,00"), 3732.0) == b""  # a sentence of 2.1


def test_bd3_carries_1750_bytes_at_point_2_and_70_at_point_5() -> None:
    _, kit, _ = pair(generation=Generation.BD3)
    for at, (point, size, result) in enumerate([(5, 71, "N,6"), (5, 70, "Y,0"), (2, 1751, "N,6"), (2, 1750, "Y,0")]):
        answer = kit.feed(sentence(f"CCTCQ,{COMMAND},{point},1,2,{'5A' * size},0"), at * 100.0)
        assert f"TCQ,{result},".encode() in answer


def test_a_repeated_message_comes_again_with_the_same_time() -> None:
    faults = (Fault(kind=FaultKind.DUPLICATE, value=1, times=1),)
    _, kit, command = pair(generation=Generation.BD3, faults=faults)
    kit.feed(sentence(f"CCTCQ,{COMMAND},2,1,2,90AB,0"), 0.0)
    first, again = command.feed(b"", 3.1), command.feed(b"", 3.31)
    assert first == again != b""


def test_without_beam_or_card_nothing_is_sent_and_the_reason_says_so() -> None:
    network, kit, _ = pair()
    ask = sentence(f"CCTXA,{COMMAND},1,2,A401")
    network.line("200001").cut(0, Outage.DROP)
    assert b"TXA,N,Y,4,0000" in kit.feed(ask, 1.0)
    assert b"BDBSI,01,00,0,0,0,0,0,0,0,0,0,0" in kit.feed(sentence("CCRMO,BSI,2,5"), 1.0)
    network.line("200001").mend(2_000_000_000)
    kit.has_card = False
    assert b"TXA,N,Y,5,0000" in kit.feed(ask, 3.0)
    assert b"BDICI,0000000,00000000,0000000,0,0,0,N,0" in kit.feed(sentence("CCICA,0,00"), 3.0)
    assert network.counts["posted"] == 0


def test_messages_wait_until_the_terminal_has_a_beam_again() -> None:
    _, kit, command = pair()
    command.beams = [0] * 10
    kit.feed(sentence(f"CCTXA,{COMMAND},1,2,A401"), 0.0)
    assert command.feed(b"", 10.0) == b""
    command.beams = [3] * 10
    assert b"BDTXR" in command.feed(b"", 11.0)


def test_a_lost_message_was_accepted_all_the_same() -> None:
    network, kit, command = pair(LinkProfile(delay_s=1.0, loss_ratio=1.0))
    assert b"TXA,Y,Y,0,0000" in kit.feed(sentence(f"CCTXA,{COMMAND},1,2,A401"), 0.0)
    assert command.feed(b"", 60.0) == b""
    assert network.counts["lost"] == 1


def test_periodic_beams_come_at_their_interval_until_switched_off() -> None:
    _, kit, _ = pair()
    assert b"BDBSI" in kit.feed(sentence("CCRMO,BSI,2,5"), 0.0)
    said = []
    for _ in range(3):
        wakeup_s = kit.next_wakeup()
        assert wakeup_s is not None
        if kit.feed(b"", wakeup_s):
            said.append(wakeup_s)
    assert said == [5.0, 10.0, 15.0]
    kit.feed(sentence("CCRMO,,3,"), 16.0)
    assert kit.next_wakeup() is None


def test_a_wrong_checksum_or_noise_is_not_obeyed_and_the_next_sentence_is() -> None:
    _, kit, _ = pair()
    assert kit.feed(b"\xff\x00garbage $CCICA,0,00*7C\r\n", 0.0) == b""
    assert kit.feed(bytes(5000), 1.0) == b""
    assert b"BDICI" in kit.feed(b"\xff\xff" + sentence("CCICA,0,00"), 2.0)


def test_what_cannot_be_is_refused_by_name() -> None:
    network = MessageNetwork(LinkProfile())
    with pytest.raises(DeviceError, match="card 12ab"):
        BeidouTerminal(card="12ab", network=network)
    with pytest.raises(DeviceError, match="interval_s 0"):
        BeidouTerminal(card=KIT, network=network, interval_s=0)
