"""Iridium short burst data modem (9602 kind): buffers, sessions, mailbox and ring alert.

Source: the published Iridium 9601 and 9523 AT command manuals and the SBD developers guide 3.0, as collected in the
project's facts on field protocols: SBDWB, SBDWT, SBDRB, SBDIX, SBDD, SBDMTA, SBDRING, sizes and session codes; those of
SBDS and SBDTC from the same manuals. The buffer of what was sent is NOT cleared by success: the next session sends, and
bills, it again until ``AT+SBDD0``.
"""

from collections.abc import Iterable
from typing import ClassVar

from link_sim.devices.at_line import ERROR, OK, AtStandIn, Command, Form, Reply, line
from link_sim.devices.errors import DeviceError
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.message_network import Message, MessageNetwork
from link_sim.devices.stand_in import COMMON_FAULTS
from link_sim.link.model import Fate, Outage

MO_BYTES_MAX = 340  # 9601 and 9602
MT_BYTES_MAX = 270
WRITE_TIMEOUT_S = 60.0  # SBDWB, answer 1
TEXT_CHARACTERS_MAX = 120  # SBDWT on the command line
SECOND_RING_AFTER_S = 20.0
_SUM_BYTES = 2
_SENT_CODES = range(5)  # MO status 0 to 4: success
_MT_TOO_BIG = 1
_NO_SERVICE, _LINK_LOST, _TOO_BUSY, _DENIED_SIZE = 32, 18, 11, 12
_CODE_BY_FATE = {Fate.OUTAGE: _NO_SERVICE, Fate.QUEUE_FULL: _TOO_BUSY, Fate.OVERSIZE: _DENIED_SIZE}


class SbdModem(AtStandIn):
    """A modem with IMEI ``imei`` whose messages go to ``destination``, an address of the network.

    A session takes ``session_s``. ``REFUSE`` matching ``AT+SBDIX`` ends sessions with MO status ``value`` (32 no
    service, 36 wait three minutes, ...) and nothing sent; ``LOST_ANSWER`` sends and says ``value`` (13, 18, ...) all
    the same, so that the host cannot know. A lost frame of the network's line is a session that fails with 18, for the
    air interface acknowledges; an outage is 32 and ``+CSQ: 0``. ``counts["billed"]`` counts sessions that were paid.
    """

    KNOWN_FAULTS: ClassVar[frozenset[FaultKind]] = COMMON_FAULTS | {FaultKind.REFUSE, FaultKind.LOST_ANSWER}
    RAW_COMMANDS: ClassVar[tuple[str, ...]] = ("+SBDWT=",)

    def __init__(
        self,
        *,
        imei: str,
        destination: str,
        network: MessageNetwork,
        session_s: float = 8.0,
        signal_bars: int = 4,
        baud_rate: int | None = 19_200,
        faults: Iterable[Fault] = (),
        seed: int = 1,
    ) -> None:
        if not (imei.isdigit() and len(imei) == 15):
            raise DeviceError(f"imei {imei}: allowed are 15 digits")
        if not 0 <= signal_bars <= 5:
            raise DeviceError(f"signal_bars {signal_bars}: allowed is 0 to 5")
        if not 0 <= session_s <= 300:
            raise DeviceError(f"session_s {session_s}: allowed is 0 to 300")
        self.signal_bars = signal_bars
        self._imei, self._destination, self._network, self._session_s = imei, destination, network, session_s
        self._mo, self._mt = b"", b""
        self._mo_number = self._mt_number = 0
        self._alerts = False
        self._rings_s: list[float] = []
        self._rung_for = self._queued = 0
        self._is_ringing = False
        network.attach(imei)
        super().__init__(baud_rate=baud_rate, faults=faults, seed=seed)

    def _commands(self) -> dict[str, Command]:
        return {
            "+CGMI": self._constant("Iridium"),
            "+GMI": self._constant("Iridium"),
            "+CGMM": self._constant("IRIDIUM 9600 Family SBD Transceiver"),
            "+GMM": self._constant("IRIDIUM 9600 Family SBD Transceiver"),
            "+CGMR": self._constant("Call Processor Version: stand-in"),
            "+GMR": self._constant("Call Processor Version: stand-in"),
            "+CGSN": self._constant(self._imei),
            "+GSN": self._constant(self._imei),
            "+CSQ": self._signal,
            "+CSQF": self._signal,
            "+SBDWB": self._write_binary,
            "+SBDWT": self._write_text,
            "+SBDRB": self._read_binary,
            "+SBDRT": self._read_text,
            "+SBDIX": self._session,
            "+SBDIXA": self._session,
            "+SBDD": self._clear,
            "+SBDTC": self._copy,
            "+SBDS": self._status,
            "+SBDSX": self._extended_status,
            "+SBDMTA": self._set_alerts,
            "-MSSTM": self._network_time,
        }

    def _constant(self, text: str) -> Command:
        return lambda form, value: Reply(text=line(text))

    def _refused(self, request: str, code: int) -> Reply:
        if "+SBDIX" in request.upper():
            return Reply(then=lambda: self._session_over(code, is_served=False), after_s=self._session_s)
        return ERROR

    def _run(self, part: str) -> Reply:
        # SBDD0 and SBDIXA carry their number or letter in the name, which V.250 knows nothing of
        if part.upper().startswith("+SBDD") and part[5:] in ("0", "1", "2"):
            return self._clear(Form.SET, part[5:])
        return super()._run(part)

    def _has_service(self) -> bool:
        return self._network.line(self._imei).model.outage is not Outage.DROP and self.signal_bars > 0

    def _signal(self, form: Form, value: str) -> Reply:
        if form is Form.TEST:
            return Reply(text=line("+CSQ:(0-5)"))
        return Reply(text=line(f"+CSQ:{self.signal_bars if self._has_service() else 0}"))

    def _network_time(self, form: Form, value: str) -> Reply:
        if not self._has_service():
            return Reply(text=line("-MSSTM: no network service"))
        return Reply(text=line(f"-MSSTM: {int(self._now_s / 0.09):08x}"))  # frames of 90 ms since the era

    def _write_binary(self, form: Form, value: str) -> Reply:
        if form is not Form.SET or not value.isdigit():
            return ERROR
        length = int(value)
        if not 1 <= length <= MO_BYTES_MAX:
            return Reply(text=line("3"))

        def take(heard: bytearray) -> Reply | None:
            if len(heard) < length + _SUM_BYTES:
                return None
            payload = bytes(heard[:length])
            told = int.from_bytes(heard[length : length + _SUM_BYTES], "big")
            del heard[: length + _SUM_BYTES]
            if told != sum(payload) & 0xFFFF:
                self._note("wrong_sum", payload.hex())
                return Reply(text=line("2"))
            self._mo = payload
            self._note("written", payload.hex())
            return Reply(text=line("0"))

        self._want("AT+SBDWB", take, for_s=WRITE_TIMEOUT_S, too_late=Reply(text=line("1")), has_echo=False)
        return Reply(text=line("READY"), result=None)

    def _write_text(self, form: Form, value: str) -> Reply:
        if form is Form.SET:
            return self._keep_text(value, TEXT_CHARACTERS_MAX)

        def take(heard: bytearray) -> Reply | None:
            if 0x0D not in heard:
                return None
            text = bytes(heard[: heard.index(0x0D)]).decode("latin-1")
            del heard[: len(text) + 1]
            reply = self._keep_text(text, MO_BYTES_MAX)
            return Reply(text=line("0" if reply is OK else "3"))

        self._want("AT+SBDWT", take, for_s=WRITE_TIMEOUT_S, too_late=Reply(text=line("1")), has_echo=True)
        return Reply(text=line("READY"), result=None)

    def _keep_text(self, text: str, characters_max: int) -> Reply:
        if not 1 <= len(text) <= characters_max:
            return ERROR
        self._mo = text.encode("latin-1")
        self._note("written", self._mo.hex())
        return OK

    def _read_binary(self, form: Form, value: str) -> Reply:
        size, total = len(self._mt).to_bytes(2, "big"), (sum(self._mt) & 0xFFFF).to_bytes(2, "big")
        return Reply(text=size + self._mt + total)

    def _read_text(self, form: Form, value: str) -> Reply:
        return Reply(text=b"\r\n+SBDRT:\r\n" + self._mt + b"\r\n")

    def _clear(self, form: Form, value: str) -> Reply:
        if value not in ("0", "1", "2"):
            return ERROR
        if value in ("0", "2"):
            self._mo = b""
        if value in ("1", "2"):
            self._mt = b""
        self._note("cleared", value)
        return Reply(text=line("0"))

    def _copy(self, form: Form, value: str) -> Reply:
        self._mt = self._mo[:MT_BYTES_MAX]
        return Reply(text=line(f"SBDTC: Outbound SBD Copied to Inbound SBD: size = {len(self._mt)}"))

    def _status(self, form: Form, value: str) -> Reply:
        return Reply(text=line(f"+SBDS: {self._buffers()}"))

    def _extended_status(self, form: Form, value: str) -> Reply:
        """The same, then whether a ring is unanswered, and what waited at the gateway in the last session."""
        return Reply(text=line(f"+SBDSX: {self._buffers()}, {int(self._is_ringing)}, {self._queued}"))

    def _buffers(self) -> str:
        mt_number = (self._mt_number - 1) & 0xFFFF if self._mt else -1
        return f"{int(bool(self._mo))}, {self._mo_number}, {int(bool(self._mt))}, {mt_number}"

    def _set_alerts(self, form: Form, value: str) -> Reply:
        if form is Form.READ:
            return Reply(text=line(f"+SBDMTA:{int(self._alerts)}"))
        if form is not Form.SET or value not in ("0", "1"):
            return ERROR
        self._alerts = value == "1"
        return OK

    def _session(self, form: Form, value: str) -> Reply:
        return Reply(then=self._talk, after_s=self._session_s)

    def _talk(self) -> Reply:
        """The end of a session: what was written goes out, one message comes in."""
        lost = self._script.take(FaultKind.LOST_ANSWER, self._now_s, "AT+SBDIX")
        code = self._send() if self._has_service() else _NO_SERVICE
        if code in _SENT_CODES and lost is not None:
            self._note("answer_lost", str(int(lost.value)))
            return self._session_over(int(lost.value), is_served=False)
        return self._session_over(code, is_served=code in _SENT_CODES)

    def _send(self) -> int:
        """MO status of the session."""
        if self._mo:
            message = Message(sender=self._imei, recipient=self._destination, body=self._mo)
            verdict = self._network.post(message, self._now_s)
            if verdict.fate > Fate.HELD:
                return _CODE_BY_FATE.get(verdict.fate, _LINK_LOST)
            self._note("sent", self._mo.hex())
        self.counts["billed"] += 1
        return 0

    def _session_over(self, code: int, *, is_served: bool) -> Reply:
        mo_number, mt_status, mt_number, mt_bytes, queued = self._mo_number, 0, 0, 0, 0
        if is_served:
            self._mo_number = (self._mo_number + 1) & 0xFFFF
            message = self._network.collect(self._imei, self._now_s)
            if message is not None and len(message.body) > MT_BYTES_MAX:
                self._note("too_big", f"{len(message.body)} bytes")  # and gone, lest it block the queue for ever
                code, message = _MT_TOO_BIG, None
            queued = self._network.waiting(self._imei, self._now_s)
            self._queued = self._rung_for = queued
            self._rings_s, self._is_ringing = [], False
            if message is not None:
                self._mt, mt_status, mt_bytes = message.body, 1, len(message.body)
                mt_number, self._mt_number = self._mt_number, (self._mt_number + 1) & 0xFFFF
                self._note("collected", self._mt.hex())
        else:
            mt_status = 2  # an error while the mailbox was asked
        self._note("session", f"mo {code} mt {mt_status} queued {queued}")
        return Reply(text=line(f"+SBDIX: {code}, {mo_number}, {mt_status}, {mt_number}, {mt_bytes}, {queued}"))

    def _wake(self, now_s: float) -> None:
        waiting = self._network.waiting(self._imei, now_s)
        if self._alerts and waiting > self._rung_for and self._has_service():
            self._rings_s = [now_s, now_s + SECOND_RING_AFTER_S]
        self._rung_for = waiting
        while self._rings_s and self._rings_s[0] <= now_s:
            self._rings_s.pop(0)
            if self._has_service():
                self._is_ringing = True
                self._announce(line("SBDRING"))
        super()._wake(now_s)

    def _next_wake_s(self) -> float | None:
        ring_s = self._rings_s[0] if self._rings_s else None
        times = (super()._next_wake_s(), ring_s, self._network.next_due_s())
        return min((at_s for at_s in times if at_s is not None), default=None)

    def _restart(self, now_s: float) -> None:
        super()._restart(now_s)
        self._mo = self._mt = b""  # the buffers are volatile
        self._alerts, self._is_ringing, self._rings_s = False, False, []
