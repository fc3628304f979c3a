"""The AT modem driver: against a modem's stand-in on a real pseudo-terminal, and its dialogue against everything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.at_modem import AtModemDriver, driver
from drivers.at_modem.dialogue import LINE_MAX_BYTES, Answer, Dialogue
from drivers.at_modem.radio import CALL_NAME, EXTENDED_NAME, OPERATOR_NAME, PACKET_NAMES, SIGNAL_NAME, Radio
from edge_agent.core.link_hint import LinkHint
from edge_agent.ports import PluginLostError
from link_sim.devices.at_modem import AtModem
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.message_network import MessageNetwork
from link_sim.devices.modem_radio import RadioStep, Registration
from link_sim.devices.pty_bench import PtyBench
from link_sim.link.link_profile import LinkProfile
from tests.drivers.recording_port import RecordingPort, full_table, stopped

LTE = RadioStep()


@asynccontextmanager
async def running(port: RecordingPort, device: object, **settings: object) -> AsyncIterator["asyncio.Task[None]"]:
    table = full_table(AtModemDriver.SETTINGS, port=str(device), link="4g", **{"interval_s": 1.0, **settings})
    run = asyncio.create_task(AtModemDriver(table).run(port), name="modem")
    try:
        yield run
    finally:
        await stopped(run)


def modem(*radio: RadioStep, faults: tuple[Fault, ...] = (), seed: int = 1) -> AtModem:
    network = MessageNetwork(LinkProfile(delay_s=0.2), seed=7)
    return AtModem(number="8613900000001", network=network, radio=radio or (LTE,), faults=faults, seed=seed)


@pytest.mark.device
@pytest.mark.slow
async def test_a_modem_that_loses_and_finds_its_network_is_followed() -> None:
    port = RecordingPort()
    steps = (
        LTE,
        RadioStep(at_s=1.5, rsrp=27, rssi=8),
        RadioStep(at_s=3.0, registration=Registration.SEARCHING, rssi=99, rsrp=255, rsrq=255),
        RadioStep(at_s=4.5),
    )
    async with PtyBench({"modem": modem(*steps)}) as bench, running(port, bench.path("modem")):
        await port.until(lambda: len(port.hints) >= 6)
    assert {link for link, _ in port.hints} == {"4g"}
    first = port.hints[0][1]
    assert (first.signal_dbm, first.is_up, first.note) == (-78.0, True, "LTE 00101")
    assert first.quality == 1.0
    seen = [hint for _, hint in port.hints]
    assert any(hint.signal_dbm == -113.0 and hint.quality is not None and hint.quality < 0.25 for hint in seen)
    assert any(hint.is_up is False and hint.signal_dbm is None for hint in seen)
    assert seen[-1].is_up is True
    assert port.states[0] == "available"
    assert not port.counts


@pytest.mark.device
@pytest.mark.slow
async def test_a_modem_that_does_not_answer_is_said_to_be_silent_and_found_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "ANSWER_S", 0.1)
    silent = Fault(kind=FaultKind.SILENT, from_s=0.0, until_s=1.0)
    port = RecordingPort()
    async with PtyBench({"modem": modem(faults=(silent,))}) as bench, running(port, bench.path("modem")):
        await port.until(lambda: bool(port.hints))
    assert "no answer from" in port.states[0]
    assert "baud_rate = 115200" in port.states[0]
    assert port.states[-1] == "available"
    assert port.counts["at_timeout"] >= 3


@pytest.mark.device
async def test_an_unplugged_modem_is_lost_with_its_name() -> None:
    port = RecordingPort()
    bench = PtyBench({"modem": modem()})
    async with bench:
        path = bench.path("modem")
        run = asyncio.create_task(
            AtModemDriver(full_table(AtModemDriver.SETTINGS, port=str(path), link="4g")).run(port)
        )
        await port.until(lambda: bool(port.hints))
    with pytest.raises(PluginLostError, match=str(path)):
        async with asyncio.timeout(10):
            await run
    assert str(path) in port.states[-1]


async def test_a_port_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "ttyUSB9"
    with pytest.raises(PluginLostError, match=r"ttyUSB9: No such file"):
        await AtModemDriver(full_table(AtModemDriver.SETTINGS, port=str(missing), link="4g")).run(RecordingPort())


ANSWER = b'\r\n+COPS: 0,2,"00101",7\r\n\r\n+CEREG: 1\r\n\r\nOK\r\n'


@given(cuts=st.lists(st.integers(0, len(ANSWER)), max_size=6))
def test_an_answer_may_be_cut_anywhere(cuts: list[int]) -> None:
    dialogue, answers = Dialogue(), []
    edges = sorted({0, *cuts, len(ANSWER)})
    for start, end in pairwise(edges):
        answers.append(dialogue.feed(ANSWER[start:end]))
    (answer,) = [each for each in answers if each is not None]
    assert answer.is_good
    assert answer.values("+COPS") == ["0", "2", "00101", "7"]
    assert answer.values("+CSQ") == []


@given(noise=st.binary(max_size=2_000))
def test_noise_is_no_answer_that_invents_a_value_and_the_next_line_is_read(noise: bytes) -> None:
    dialogue, radio = Dialogue(), Radio()
    said = dialogue.feed(noise)
    if said is not None:
        for name in (SIGNAL_NAME, EXTENDED_NAME, OPERATOR_NAME, *PACKET_NAMES, CALL_NAME):
            try:
                radio.take(name, said.values(name))
            except ValueError:
                continue
        hint = radio.hint(30.0)
        assert hint is None or hint.is_sound
    dialogue.feed(b"\r\n")
    dialogue.begin()
    answer = dialogue.feed(b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n")
    assert answer is not None
    assert answer.values("+CSQ") == ["20", "99"]


def test_a_line_without_end_and_one_of_another_alphabet_are_counted() -> None:
    dialogue = Dialogue()
    assert dialogue.feed(b"x" * (LINE_MAX_BYTES + 9) + b"\r\n\xff\xfe\r\nOK\r\n") == Answer(lines=(), is_good=True)
    assert dialogue.drops == {"at_oversize": 1, "at_malformed": 1}
    assert dialogue.feed(b"\r\n+CME ERROR: 10\r\n") == Answer(lines=(), is_good=False)


def hint_of(**answers: str) -> LinkHint | None:
    """The hint of a modem whose commands answer so: ``CSQ="20,99"``."""
    radio = Radio()
    for name, text in answers.items():
        radio.take(f"+{name}", [each.strip('"') for each in text.split(",")])
    return radio.hint(30.0)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"CSQ": "0,99"}, LinkHint(quality=0.0, signal_dbm=-113.0)),
        ({"CSQ": "31,99"}, LinkHint(quality=1.0, signal_dbm=-51.0)),
        ({"CSQ": "5,99"}, LinkHint(quality=0.25, signal_dbm=-103.0)),
        ({"CESQ": "99,99,255,255,31,62"}, LinkHint(quality=1.0, signal_dbm=-78.0)),
        ({"CSQ": "20,99", "CESQ": "99,99,255,255,255,255"}, LinkHint(quality=1.0, signal_dbm=-73.0)),
        ({"CESQ": "99,99,255,255,5,62"}, LinkHint(quality=0.25, signal_dbm=-78.0)),
        ({"CSQ": "99,99", "CEREG": "0,5"}, LinkHint(is_up=True)),
        ({"CEREG": "0,0", "CGREG": "0,1"}, LinkHint(is_up=True)),
        ({"CEREG": "0,3", "CREG": "0,1"}, LinkHint(is_up=False)),
        ({"CREG": '2,1,"1A2B","01C3D4E5",0'}, LinkHint(is_up=True)),
        ({"CEREG": "0,4", "CREG": "0,2"}, LinkHint(is_up=False)),
        ({"CREG": "0,1", "COPS": '0,0,"Test",0'}, LinkHint(is_up=True, rate_bps=40_000.0, note="GSM Test")),
        ({"CREG": "0,1", "COPS": "0"}, LinkHint(is_up=True)),
        ({"CEREG": "0,4"}, None),
        ({"CSQ": "99,99"}, None),
    ],
)
def test_answers_of_the_standard_become_hints(answers: dict[str, str], expected: LinkHint | None) -> None:
    assert hint_of(**answers) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CSQ", "32,99"),
        ("CSQ", ""),
        ("CSQ", "-5,99"),
        ("CSQ", "²,99"),
        ("CESQ", "99,99,255,255,35,62"),
        ("CESQ", "99,99,255,255,31,98"),
        ("CESQ", "99,99"),
        ("CREG", "1"),
        ("CREG", "0,999"),
        ("COPS", '0,2,"00101",x'),
    ],
)
def test_values_that_the_standard_does_not_have_are_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"is no number up to|is above"):
        hint_of(**{name: text})
