"""BeiDou short message terminal (RDSS of BD-2, interface 2.1, and RSMC of BD-3): card, beams, interval, feedback.

Source: published application code and pages on interface 2.1 and on BD-3 modules, as collected in the project's facts
on field protocols. ``$``, five letters, fields, ``*``, XOR in two hexadecimal digits, CR LF; text is GBK and may hold
commas and asterisks, so that a sentence is cut at its last asterisk. ``BDFKI ... Y`` means that the terminal sent, not
that anybody received.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, IntEnum
from functools import reduce
from math import ceil
from operator import xor
from typing import ClassVar

from link_sim.devices.errors import DeviceError
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.message_network import Message, MessageNetwork
from link_sim.devices.stand_in import COMMON_FAULTS, StandIn
from link_sim.link.model import Outage

SENTENCE_BYTES_MAX = 4096  # the longest, 1,750 bytes as hexadecimal digits, has about 3,550
DEFAULT_START = datetime(2026, 1, 1, tzinfo=UTC)
_BITS_PER_CHINESE = 14  # 14,000 bit are 1,000 characters
_BITS_PER_LATIN = 7
_BD2_BITS_MAX = 120 * _BITS_PER_CHINESE  # level 3 card: about 120 characters
_BD3_BITS_MAX = {1: 120 * _BITS_PER_CHINESE, 2: 14_000, 3: 14_000, 4: 14_000, 5: 560}  # by frequency point
_REPEAT_AFTER_S = 0.2  # a BD-3 module repeats within the same second


class Generation(Enum):
    """Which sentences a terminal speaks."""

    BD2 = "2.1"
    BD3 = "bd3"


class Refusal(IntEnum):
    """Reasons in ``BDFKI``."""

    NONE = 0
    INTERVAL = 1
    SUPPRESSED = 2
    RADIO_SILENCE = 3
    POWER_NOT_LOCKED = 4
    NO_CARD = 5
    NOT_PERMITTED = 6


class _Coding(IntEnum):
    """How a message is coded, in the numbers of CCTCQ; TXR counts from 0."""

    TEXT = 1
    CODE = 2
    MIXED = 3


@dataclass(frozen=True, slots=True)
class _Request:
    """A wish to send: the command's name, what to send, and how many bits the space segment may take of it."""

    name: str
    recipient: str
    coding: int
    text: bytes
    bits_max: int


class BeidouTerminal(StandIn):
    """A terminal with card ``card`` (digits), which may send once each ``interval_s``.

    A request inside the interval is refused with the whole seconds to wait; so is one too long (reason 6), without a
    beam (4) or without a card (5, ``has_card`` False). ``REFUSE`` refuses with the reason ``value``; ``DUPLICATE``
    repeats a received message. ``beams`` may be changed at any time; an outage of the card's line takes them away.
    """

    KNOWN_FAULTS: ClassVar[frozenset[FaultKind]] = COMMON_FAULTS | {
        FaultKind.REFUSE,
        FaultKind.DUPLICATE,
        FaultKind.WRONG_CHECKSUM,
    }

    def __init__(
        self,
        *,
        card: str,
        network: MessageNetwork,
        generation: Generation = Generation.BD2,
        interval_s: int = 60,
        level: int = 3,
        has_card: bool = True,
        beams: Sequence[int] = (3, 2, 2, 0, 3, 0, 0, 3, 0, 0),
        feedback_after_s: float = 0.5,
        started_at: datetime = DEFAULT_START,
        baud_rate: int | None = 115_200,
        faults: Iterable[Fault] = (),
        seed: int = 1,
    ) -> None:
        super().__init__(baud_rate=baud_rate, faults=faults, seed=seed)
        if not (card.isdigit() and 6 <= len(card) <= 8):
            raise DeviceError(f"card {card}: allowed are 6 to 8 digits")
        if not 1 <= interval_s <= 9999:
            raise DeviceError(f"interval_s {interval_s}: allowed is 1 to 9999")
        if len(beams) != 10 or not all(0 <= beam <= 60 for beam in beams):
            raise DeviceError(f"beams {list(beams)}: allowed are ten of 0 to 60 (BD-2: levels 0 to 4, BD-3: dB-Hz)")
        self.beams = list(beams)
        self.has_card = has_card
        self._card, self._network, self._generation = card, network, generation
        self._interval_s, self._level, self._feedback_after_s = interval_s, level, feedback_after_s
        self._started_at = started_at
        self._heard = b""
        self._may_send_from_s = 0.0
        self._periods: dict[str, float] = {}  # sentence -> seconds between two
        self._due: dict[str, float] = {}
        network.attach(_address(card))

    @property
    def has_beam(self) -> bool:
        """Whether a satellite is heard."""
        outage = self._network.line(_address(self._card)).model.outage
        return any(self.beams) and outage is not Outage.DROP

    def _receive(self, received: bytes, now_s: float) -> None:
        self._heard += received
        while b"\n" in self._heard:
            sentence, self._heard = self._heard.split(b"\n", 1)
            self._take(sentence.rstrip(b"\r"))
        if len(self._heard) > SENTENCE_BYTES_MAX:
            self._note("noise", f"{len(self._heard)} bytes")
            self._heard = b""

    def _take(self, sentence: bytes) -> None:
        body, star, digits = sentence[sentence.rfind(b"$CC") + 1 :].rpartition(b"*")
        if not star or digits.upper() != b"%02X" % checksum(body):
            self._note("wrong_checksum_heard", _printable(sentence))
            return
        self._note("heard", _printable(body))
        command = self._commands().get(body.split(b",", 1)[0].decode("latin-1"))
        if command is None:
            self._note("unknown_sentence", _printable(body))
            return
        command(body)

    def _commands(self) -> dict[str, Callable[[bytes], None]]:
        if self._generation is Generation.BD2:
            return {"CCICA": self._tell_card, "CCRMO": self._set_period, "CCTXA": self._send_bd2}
        return {"CCICR": self._tell_card, "CCRMO": self._set_period, "CCTCQ": self._send_bd3}

    def _tell_card(self, body: bytes) -> None:
        if self._generation is Generation.BD2:
            fields = f"{self._card},0{self._card},0000011,6,{self._interval_s},{self._level},N,0"
            self._speak(f"BDICI,{fields if self.has_card else '0000000,00000000,0000000,0,0,0,N,0'}")
            return
        level = 0 if self._level == 5 else self._level
        card, group, interval_s = (self._card, "2032472", self._interval_s) if self.has_card else ("0", "0", 0)
        self._speak(f"BDICP,{card},{group},1,3,0,N,1,Y,1,0,0,3,1,{interval_s},{level},1,1,2,2,500,100,10,10")

    def _set_period(self, body: bytes) -> None:
        fields = body.decode("latin-1").split(",")
        name, mode = fields[1] if len(fields) > 1 else "", fields[2] if len(fields) > 2 else ""
        known = "BSI" if self._generation is Generation.BD2 else "PWI"
        if mode in ("1", "3"):
            self._due = {} if mode == "3" else {each: at_s for each, at_s in self._due.items() if each != name}
        elif mode == "4" or (mode == "2" and name == known):
            seconds = fields[3] if len(fields) > 3 else ""
            self._periods[known] = float(seconds) if seconds.isdigit() and seconds != "0" else 1.0
            self._due[known] = self._now_s

    def _send_bd2(self, body: bytes) -> None:
        fields = body.split(b",", 4)
        if len(fields) < 5:
            self._note("unknown_sentence", _printable(body))
            return
        coding = _Coding.TEXT if fields[3] == b"1" else _Coding.CODE
        if coding is _Coding.CODE and fields[4].upper().startswith(b"A4"):
            coding = _Coding.MIXED
        self._send(_Request("TXA", fields[1].decode("latin-1"), coding, fields[4], _BD2_BITS_MAX))

    def _send_bd3(self, body: bytes) -> None:
        fields = body.split(b",", 5)
        if len(fields) < 6 or b"," not in fields[5]:
            self._note("unknown_sentence", _printable(body))
            return
        point, coding = fields[2].decode("latin-1"), fields[4].decode("latin-1")
        bits_max = _BD3_BITS_MAX.get(int(point), 0) if point.isdigit() else 0
        text = fields[5].rpartition(b",")[0]  # the last field is another
        number = int(coding) if coding in ("1", "2", "3", "4", "5") else 0
        self._send(_Request("TCQ", fields[1].decode("latin-1"), number, text, bits_max))

    def _send(self, request: _Request) -> None:
        reason, wait_s = self._refusal(request)
        if reason is Refusal.NONE:
            self._may_send_from_s = self._now_s + self._interval_s
            message = Message(
                sender=_address(self._card),
                recipient=_address(request.recipient),
                body=_octets(request.coding, request.text) or b"",
                form=request.coding,
            )
            verdict = self._network.post(message, self._now_s)
            self._note("sent", f"{request.recipient} {verdict.fate.word}")
        else:
            self._note("refused", f"{request.recipient} reason {int(reason)} wait {wait_s} s")
        answer = "Y" if reason is Refusal.NONE else "N"
        if self._generation is Generation.BD2:
            feedback = f"BDFKI,{request.name},{answer},Y,{int(reason)},{wait_s:04d}"
        else:
            feedback = f"BDFKI,{self._clock()},{request.name},{answer},{int(reason)},{wait_s}"
        self._speak(feedback, request=request.name, after_s=self._feedback_after_s)

    def _refusal(self, request: _Request) -> tuple[Refusal, int]:
        """The reason and the whole seconds to wait."""
        fault = self._script.take(FaultKind.REFUSE, self._now_s, request.name)
        wait_s = ceil(self._may_send_from_s - self._now_s - 1e-9)
        octets = _octets(request.coding, request.text)
        reason = Refusal.NONE
        if fault is not None:
            reason = Refusal(int(fault.value)) if 1 <= fault.value <= max(Refusal) else Refusal.SUPPRESSED
        elif not self.has_card:
            reason = Refusal.NO_CARD
        elif not self.has_beam:
            reason = Refusal.POWER_NOT_LOCKED
        elif not octets or _bits(request.coding, octets) > request.bits_max:
            reason = Refusal.NOT_PERMITTED
        elif wait_s > 0:
            return Refusal.INTERVAL, wait_s
        return reason, 0

    def _wake(self, now_s: float) -> None:
        waiting = self._network.waiting(_address(self._card), now_s)
        while waiting and self.has_card and self.has_beam:
            message = self._network.collect(_address(self._card), now_s)
            if message is None:
                break
            self._hand_over(message)
        for name, due_s in self._due.items():
            if due_s <= now_s:
                self._due[name] = max(now_s, due_s) + self._periods[name]
                self._speak(self._beam_sentence())

    def _hand_over(self, message: Message) -> None:
        text = _text(message.form, message.body)
        if self._generation is Generation.BD2:
            head = f"BDTXR,1,{message.sender.rjust(7, '0')},{message.form - 1},,"
        else:
            head = f"BDTCI,{message.sender.rjust(8, '0')},{self._card},2,{self._clock()},{message.form},0,"
        self._note("received", f"{message.sender} {_printable(text)}")
        self._speak(head.encode() + text, request="message")
        twice = self._script.take(FaultKind.DUPLICATE, self._now_s, "message")
        for number in range(int(twice.value) if twice is not None else 0):
            self._note("duplicate", message.sender)
            self._speak(head.encode() + text, request="message", after_s=(number + 1) * _REPEAT_AFTER_S)

    def _beam_sentence(self) -> str:
        beams = self.beams if self.has_beam else [0] * 10
        if self._generation is Generation.BD2:
            best = beams.index(max(beams)) + 1
            return f"BDBSI,{best:02d},00," + ",".join(str(beam) for beam in beams)
        heard = [f"{number},{beam},{beam},0" for number, beam in enumerate(beams, start=1) if beam]
        return ",".join((f"BDPWI,{self._clock()}.00,00,{len(heard):02d}", *heard))

    def _speak(self, body: str | bytes, *, request: str = "", after_s: float = 0.0) -> None:
        """Say a sentence, framed."""
        raw = body.encode() if isinstance(body, str) else body
        total = checksum(raw)
        if self._script.take(FaultKind.WRONG_CHECKSUM, self._now_s, request) is not None:
            self._note("wrong_checksum", _printable(raw))
            total ^= 0x11
        self._say(b"$%s*%02X\r\n" % (raw, total), request=request, after_s=after_s)

    def _clock(self) -> str:
        return (self._started_at + timedelta(seconds=self._now_s)).strftime("%H%M%S")

    def _next_wake_s(self) -> float | None:
        times = (self._network.next_due_s(), *self._due.values())
        return min((at_s for at_s in times if at_s is not None), default=None)

    def _restart(self, now_s: float) -> None:
        self._heard = b""
        self._due = {}


def checksum(body: bytes) -> int:
    """XOR of all bytes between ``$`` and ``*``."""
    return reduce(xor, body, 0)


def _address(card: str) -> str:
    return card.strip().lstrip("0") or "0"


def _octets(coding: int, text: bytes) -> bytes | None:
    """What goes over the air; None when the text cannot be of that coding."""
    if coding == 0:
        return None
    if coding not in (_Coding.CODE, _Coding.MIXED):
        return text
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return None


def _text(coding: int, octets: bytes) -> bytes:
    return octets.hex().upper().encode() if coding in (_Coding.CODE, _Coding.MIXED) else octets


def _bits(coding: int, octets: bytes) -> int:
    if coding in (_Coding.CODE, _Coding.MIXED):
        return 8 * len(octets)
    latin = sum(byte < 0x80 for byte in octets)
    return latin * _BITS_PER_LATIN + (len(octets) - latin) // 2 * _BITS_PER_CHINESE


def _printable(raw: bytes) -> str:
    return raw.decode("gbk", "backslashreplace")
