"""Cellular or Tiantong modem with an AT port: identity, registration, signal and SMS in PDU mode.

Source: 3GPP TS 27.007 (identity, CMEE, CPIN, CSCS) and 27.005 (SMS). No AT manual of a Tiantong terminal is public:
give its words in ``ModemIdentity`` and ``extra_answers``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import ClassVar

from link_sim.devices.at_line import ERROR, OK, AtStandIn, Command, Form, Reply, line
from link_sim.devices.errors import DeviceError
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.message_network import Message, MessageNetwork
from link_sim.devices.modem_radio import REGISTRATION_NAMES, ModemRadio, RadioStep
from link_sim.devices.modem_sms import CmsError, SmsService, refused
from link_sim.devices.sms_pdu import ShortMessage, centre_address, deliver, parse_submit, status_report
from link_sim.devices.stand_in import COMMON_FAULTS
from link_sim.link.model import Fate

DEFAULT_START = datetime(2026, 1, 1, tzinfo=UTC)
PROMPT = b"\r\n> "
_DATA_TIMEOUT_S = 300.0  # nobody's standard; a host that forgot its Ctrl-Z shall not lock a test for ever
_PDU_HEX_MAX = 2 * 256
_END, _CANCEL = 0x1A, 0x1B
_CODE_BY_FATE = {
    Fate.OUTAGE: CmsError.NETWORK_OUT_OF_ORDER,
    Fate.QUEUE_FULL: CmsError.CONGESTION,
    Fate.OVERSIZE: CmsError.INVALID_PDU,
}
_SMS_COMMANDS = ("+CMG", "+CNMI", "+CPMS", "+CSCA", "+CSMS", "+CNMA")
_NO_ANSWERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModemIdentity:
    """What a modem says of itself; all of it is invented."""

    maker: str = "Stand-in"
    model: str = "AT modem"
    revision: str = "1.0"
    imei: str = "490154203237518"  # the example of TS 23.003, annex B
    imsi: str = "001010000000001"  # test network


class AtModem(AtStandIn):
    """A modem with number ``number`` (international, digits only) in a network of others.

    Sending takes ``send_s``. ``REFUSE`` answers ``+CMS ERROR: value`` to SMS commands and ``+CME ERROR: value`` to
    others. An outage of the number's line is CMS error 38; a frame that the line loses was accepted all the same.
    ``extra_answers``: command (``"+XSIG?"``) -> line of its answer, for what makers add.
    """

    KNOWN_FAULTS: ClassVar[frozenset[FaultKind]] = COMMON_FAULTS | {FaultKind.REFUSE}

    def __init__(
        self,
        *,
        number: str,
        network: MessageNetwork,
        radio: Sequence[RadioStep] = (RadioStep(),),
        pin: str | None = None,
        send_s: float = 1.5,
        slots: int = 20,
        centre: str = "8613800100500",
        identity: ModemIdentity | None = None,
        extra_answers: Mapping[str, str] = _NO_ANSWERS,
        started_at: datetime = DEFAULT_START,
        baud_rate: int | None = 115_200,
        faults: Iterable[Fault] = (),
        seed: int = 1,
    ) -> None:
        if not (number.isdigit() and 3 <= len(number) <= 15):
            raise DeviceError(f"number {number}: allowed are 3 to 15 digits without +")
        if not 1 <= slots <= 255:
            raise DeviceError(f"slots {slots}: allowed is 1 to 255")
        if not 0 <= send_s <= 300:
            raise DeviceError(f"send_s {send_s}: allowed is 0 to 300")
        self._number, self._network, self._send_s, self._centre = number, network, send_s, centre
        self._identity = identity or ModemIdentity()
        self._radio = ModemRadio(radio)
        self._sms = SmsService(self._announce, centre_address(centre), slots=slots)
        self._pin, self._is_locked = pin, pin is not None
        self._error_mode = 0
        self._reference = 0
        self._sent_at: dict[int, datetime] = {}  # by reference, of which there are 256
        self._extra = dict(extra_answers)
        self._started_at = started_at
        network.attach(number)
        super().__init__(baud_rate=baud_rate, faults=faults, seed=seed)

    def _commands(self) -> dict[str, Command]:
        identity = self._identity
        table: dict[str, Command] = {
            name: self._constant(text)
            for name, text in (
                ("+CGMI", identity.maker),
                ("+GMI", identity.maker),
                ("+CGMM", identity.model),
                ("+GMM", identity.model),
                ("+CGMR", identity.revision),
                ("+GMR", identity.revision),
                ("+CGSN", identity.imei),
                ("+GSN", identity.imei),
                ("+CIMI", identity.imsi),
            )
        }
        for name in REGISTRATION_NAMES:
            table[name] = self._registration(name)
        return table | {
            "+CSQ": self._radio.signal,
            "+CESQ": self._radio.extended_signal,
            "+COPS": self._radio.operator,
            "+CMEE": self._set_error_mode,
            "+CPIN": self._unlock,
            "+CSCS": self._character_set,
            "+CFUN": self._functionality,
            "+CGATT": self._attach,
            "+CCLK": self._clock,
            "+CMGF": self._message_format,
            "+CSMS": self._service,
            "+CSCA": self._centre_number,
            "+CNMA": self._accept,
            "+CMGS": self._send,
            "+CNMI": self._sms.indicate,
            "+CPMS": self._sms.choose_storage,
            "+CMGR": self._sms.read,
            "+CMGL": self._sms.list_all,
            "+CMGD": self._sms.delete,
        }

    def _constant(self, text: str) -> Command:
        return lambda form, value: OK if form is Form.TEST else Reply(text=line(text))

    def _registration(self, name: str) -> Command:
        return lambda form, value: self._radio.register(name, form, value)

    def _run(self, part: str) -> Reply:
        extra = self._extra.get(part.upper())
        if extra is not None:
            return Reply(text=line(extra)) if extra else OK
        if self._is_locked and part.upper().startswith(_SMS_COMMANDS):
            return refused(CmsError.SIM_PIN_REQUIRED)
        return super()._run(part)

    def _refused(self, request: str, code: int) -> Reply:
        is_sms = request[2:].upper().startswith(_SMS_COMMANDS)
        return refused(code) if is_sms else Reply(result=f"+CME ERROR: {code}")

    def _unknown(self, name: str) -> Reply:
        return Reply(result="+CME ERROR: 4") if self._error_mode else ERROR  # operation not supported

    def _set_error_mode(self, form: Form, value: str) -> Reply:
        if form is Form.TEST:
            return Reply(text=line("+CMEE: (0-1)"))
        if form is Form.READ:
            return Reply(text=line(f"+CMEE: {self._error_mode}"))
        if value not in ("0", "1"):  # the words of mode 2 are not in the stand-in
            return ERROR
        self._error_mode = int(value)
        return OK

    def _unlock(self, form: Form, value: str) -> Reply:
        if form is Form.READ:
            return Reply(text=line("+CPIN: SIM PIN" if self._is_locked else "+CPIN: READY"))
        if form is Form.SET and self._is_locked and value.strip('"') == self._pin:
            self._is_locked = False
            return OK
        return Reply(result="+CME ERROR: 16") if self._error_mode else ERROR  # incorrect password

    def _character_set(self, form: Form, value: str) -> Reply:
        if form is Form.TEST:
            return Reply(text=line('+CSCS: ("GSM")'))
        if form is Form.READ:
            return Reply(text=line('+CSCS: "GSM"'))
        return OK if value.strip('"').upper() == "GSM" else ERROR

    def _functionality(self, form: Form, value: str) -> Reply:
        return Reply(text=line("+CFUN: 1")) if form is Form.READ else OK

    def _attach(self, form: Form, value: str) -> Reply:
        return Reply(text=line(f"+CGATT: {int(self._radio.step.has_service)}")) if form is Form.READ else OK

    def _clock(self, form: Form, value: str) -> Reply:
        return Reply(text=line(f'+CCLK: "{self._time():%y/%m/%d,%H:%M:%S}+00"'))

    def _message_format(self, form: Form, value: str) -> Reply:
        if form is Form.TEST:
            return Reply(text=line("+CMGF: (0)"))
        if form is Form.READ:
            return Reply(text=line("+CMGF: 0"))
        return OK if value == "0" else refused(CmsError.NOT_ALLOWED)

    def _service(self, form: Form, value: str) -> Reply:
        if form is Form.TEST:
            return Reply(text=line("+CSMS: (0,1)"))
        return Reply(text=line("+CSMS: 1,1,1" if form is Form.SET else "+CSMS: 0,1,1,1"))

    def _centre_number(self, form: Form, value: str) -> Reply:
        return Reply(text=line(f'+CSCA: "+{self._centre}",145')) if form is Form.READ else OK

    def _accept(self, form: Form, value: str) -> Reply:
        return OK

    def _send(self, form: Form, value: str) -> Reply:
        if form is Form.TEST:
            return OK
        if form is not Form.SET or not value.isdigit():
            return refused(CmsError.INVALID_PDU)
        told_bytes, digits = int(value), bytearray()

        def take(heard: bytearray) -> Reply | None:
            while heard:
                byte = heard.pop(0)
                if byte == _CANCEL:
                    self._note("send_cancelled")
                    return OK
                if byte == _END:
                    return Reply(then=lambda: self._submit(digits.decode("latin-1"), told_bytes), after_s=self._send_s)
                if len(digits) < _PDU_HEX_MAX:
                    digits.append(byte)
            return None

        self._want("AT+CMGS", take, for_s=_DATA_TIMEOUT_S, too_late=refused(CmsError.INVALID_PDU), has_echo=True)
        return Reply(text=PROMPT, result=None)

    def _submit(self, text: str, told_bytes: int) -> Reply:
        """The network's answer to a message."""
        try:
            submit = parse_submit(bytes.fromhex(text), told_bytes)
        except (ValueError, DeviceError) as error:  # ValueError: not hexadecimal digits
            self._note("wrong_pdu", f"{error}: {text}")
            return refused(CmsError.INVALID_PDU)
        if not self._radio.step.has_service:
            return refused(CmsError.NO_SERVICE)
        reference, self._reference = self._reference, (self._reference + 1) % 256
        message = Message(
            sender=self._number,
            recipient=submit.recipient,
            body=submit.message.to_bytes(),
            reference=reference,
            wants_receipt=submit.wants_report,
        )
        fate = self._network.post(message, self._now_s).fate
        if fate in _CODE_BY_FATE:
            return refused(_CODE_BY_FATE[fate])
        self._sent_at[reference] = self._time()
        self._note("sent", f"to {submit.recipient} reference {reference} {fate.word}")
        return Reply(text=line(f"+CMGS: {reference}"))

    def _wake(self, now_s: float) -> None:
        for said in self._radio.advance(now_s):
            self._announce(line(said))
        waiting = self._network.waiting(self._number, now_s)
        while waiting and self._radio.step.has_service and not self._sms.is_full:
            message = self._network.collect(self._number, now_s)
            if message is None:
                break
            self._take_message(message)
        super()._wake(now_s)

    def _take_message(self, message: Message) -> None:
        now = self._time()
        if message.is_receipt:
            self._note("report", f"reference {message.reference}")
            sent_at = self._sent_at.get(message.reference, now)
            self._sms.take_report(
                status_report(reference=message.reference, recipient=message.sender, sent_at=sent_at, done_at=now)
            )
            return
        self._note("received", f"from {message.sender}")
        self._sms.take_message(deliver(ShortMessage.from_bytes(message.body), sender=message.sender, at=now))
        if message.wants_receipt:
            receipt = Message(
                sender=self._number, recipient=message.sender, body=b"", reference=message.reference, is_receipt=True
            )
            self._network.post(receipt, self._now_s)

    def _time(self) -> datetime:
        return self._started_at + timedelta(seconds=int(self._now_s))

    def _next_wake_s(self) -> float | None:
        times = (super()._next_wake_s(), self._radio.next_step_s(), self._network.next_due_s())
        return min((at_s for at_s in times if at_s is not None), default=None)

    def _restart(self, now_s: float) -> None:
        super()._restart(now_s)
        self._radio.restart()
        self._sms.restart()
        self._is_locked, self._error_mode = self._pin is not None, 0
