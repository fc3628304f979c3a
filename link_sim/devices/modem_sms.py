"""Short message service of a modem: storage, indications and what the host may do with them.

Source: 3GPP TS 27.005, sections 3.1 (storages), 3.2.5 (error codes), 3.4 (CNMI, CMTI, CMT, CDS, CDSI) and 4 (PDU mode).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from link_sim.devices.at_line import ERROR, OK, Form, Reply, line

STORAGES = ("SM", "SR")
_DEFAULT_SLOTS = 20


class CmsError(IntEnum):
    """Codes of ``+CMS ERROR`` that a stand-in uses (3.2.5; 38, 41 and 42 are TS 24.011's causes)."""

    NETWORK_OUT_OF_ORDER = 38
    CONGESTION = 42
    NOT_ALLOWED = 302
    INVALID_PDU = 304
    SIM_PIN_REQUIRED = 311
    INVALID_INDEX = 321
    MEMORY_FULL = 322
    NO_SERVICE = 331


class Status(IntEnum):
    """<stat> in PDU mode."""

    UNREAD = 0
    READ = 1


@dataclass(slots=True)
class _Stored:
    status: Status
    pdu: bytes


def refused(code: int) -> Reply:
    """``+CMS ERROR`` with its code."""
    return Reply(result=f"+CMS ERROR: {code}")


class SmsService:
    """The storages and ``+CNMI``. ``announce`` says an unsolicited result; PDUs carry the centre's address."""

    def __init__(self, announce: Callable[[bytes], None], centre: bytes, *, slots: int = _DEFAULT_SLOTS) -> None:
        self._announce = announce
        self._centre = centre
        self._slots = slots
        self._stored: dict[str, dict[int, _Stored]] = {storage: {} for storage in STORAGES}
        self._read_from = "SM"
        self._routing = [0, 0, 0, 0, 0]

    @property
    def is_full(self) -> bool:
        """Whether a message has nowhere to go: the network keeps it."""
        return self._routing[1] != 2 and len(self._stored["SM"]) >= self._slots

    def restart(self) -> None:
        """Nothing is indicated any more; what is stored stays."""
        self._routing = [0, 0, 0, 0, 0]
        self._read_from = "SM"

    def take_message(self, unit: bytes) -> None:
        """A DELIVER has come: store it and say so, or hand it over, as ``+CNMI`` wants."""
        if self._routing[1] == 2:
            self._announce(line(f"+CMT: ,{len(unit)}\r\n{(self._centre + unit).hex().upper()}"))
            return
        index = self._store("SM", unit)
        if self._routing[1] == 1:
            self._announce(line(f'+CMTI: "SM",{index}'))

    def take_report(self, unit: bytes) -> None:
        """A STATUS-REPORT has come: hand it over, store it, or forget it when nobody wants it."""
        if self._routing[3] == 1:
            self._announce(line(f"+CDS: {len(unit)}\r\n{(self._centre + unit).hex().upper()}"))
        elif self._routing[3] == 2 and len(self._stored["SR"]) < self._slots:
            self._announce(line(f'+CDSI: "SR",{self._store("SR", unit)}'))

    def _store(self, storage: str, unit: bytes) -> int:
        stored = self._stored[storage]
        index = next(number for number in range(1, self._slots + 2) if number not in stored)
        stored[index] = _Stored(Status.UNREAD, unit)
        return index

    def indicate(self, form: Form, value: str) -> Reply:
        """CNMI."""
        if form is Form.TEST:
            return Reply(text=line("+CNMI: (0-3),(0-2),(0),(0-2),(0,1)"))
        if form is Form.READ:
            return Reply(text=line("+CNMI: " + ",".join(str(number) for number in self._routing)))
        numbers = value.split(",") if form is Form.SET else [""]
        allowed = (range(4), range(3), range(1), range(3), range(2))
        if len(numbers) > 5 or not all(
            number.strip().isdigit() and int(number) in span for number, span in zip(numbers, allowed, strict=False)
        ):
            return refused(CmsError.NOT_ALLOWED)
        self._routing[: len(numbers)] = [int(number) for number in numbers]
        return OK

    def choose_storage(self, form: Form, value: str) -> Reply:
        """CPMS."""
        if form is Form.TEST:
            return Reply(text=line('+CPMS: ("SM","SR"),("SM"),("SM")'))
        if form is Form.SET:
            names = [name.strip().strip('"') for name in value.split(",")]
            if names[0] not in STORAGES or any(name != "SM" for name in names[1:]):
                return refused(CmsError.NOT_ALLOWED)
            self._read_from = names[0]
        used = [(name, len(self._stored[name])) for name in (self._read_from, "SM", "SM")]
        if form is Form.SET:
            return Reply(text=line("+CPMS: " + ",".join(f"{count},{self._slots}" for _, count in used)))
        return Reply(text=line("+CPMS: " + ",".join(f'"{name}",{count},{self._slots}' for name, count in used)))

    def read(self, form: Form, value: str) -> Reply:
        """CMGR: a message, which is read then."""
        stored = self._stored[self._read_from].get(int(value)) if value.isdigit() else None
        if stored is None:
            return refused(CmsError.INVALID_INDEX)
        text = line(f"+CMGR: {int(stored.status)},,{len(stored.pdu)}\r\n{(self._centre + stored.pdu).hex().upper()}")
        stored.status = Status.READ
        return Reply(text=text)

    def list_all(self, form: Form, value: str) -> Reply:
        """CMGL: 0 unread, 1 read, 4 all."""
        if form is Form.TEST:
            return Reply(text=line("+CMGL: (0-4)"))
        if value not in ("", "0", "1", "2", "3", "4"):
            return refused(CmsError.NOT_ALLOWED)
        wanted, text = int(value or "0"), b""
        for index, stored in sorted(self._stored[self._read_from].items()):
            if wanted in (4, stored.status):
                pdu = (self._centre + stored.pdu).hex().upper()
                text += line(f"+CMGL: {index},{int(stored.status)},,{len(stored.pdu)}\r\n{pdu}")
                stored.status = Status.READ
        return Reply(text=text)

    def delete(self, form: Form, value: str) -> Reply:
        """CMGD: one by index, or with flag 1 to 3 all that are read, 4 all."""
        if form is Form.TEST:
            indexes = ",".join(str(index) for index in sorted(self._stored[self._read_from]))
            return Reply(text=line(f"+CMGD: ({indexes}),(0-4)"))
        index, _, flag = value.partition(",")
        if form is not Form.SET or not index.isdigit() or flag not in ("", "0", "1", "2", "3", "4"):
            return ERROR
        stored = self._stored[self._read_from]
        if flag in ("", "0"):
            return OK if stored.pop(int(index), None) is not None else refused(CmsError.INVALID_INDEX)
        for each in [each for each, one in stored.items() if flag == "4" or one.status is Status.READ]:
            del stored[each]
        return OK
