"""SMS transfer units as a modem and a service centre see them: SUBMIT in, DELIVER and STATUS-REPORT out.

Source: 3GPP TS 23.040, sections 9.1.2.5 (addresses), 9.2.2 (the units) and 9.2.3.11 (time stamps); 3GPP TS 23.038,
section 4 (data coding). User data pass through as octets: what they mean is the host's affair, concatenation too.
"""

from dataclasses import dataclass
from datetime import datetime

from link_sim.devices.errors import DeviceError

USER_DATA_BYTES_MAX = 140
_DELIVER, _SUBMIT, _STATUS_REPORT, _TYPE_MASK = 0x00, 0x01, 0x02, 0x03
_NO_MORE_MESSAGES = 0x04
_VALIDITY_MASK, _WANTS_REPORT, _HAS_HEADER = 0x18, 0x20, 0x40
_VALIDITY_BYTES = {0x00: 0, 0x10: 1, 0x08: 7, 0x18: 7}
_INTERNATIONAL, _NATIONAL = 0x91, 0x81
_SEVEN_BIT_HEAD_BYTES = 4  # what ``octets`` puts before the user data


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortMessage:
    """What of a message goes through the network; ``length`` is TP-UDL: septets in the 7-bit coding, else octets."""

    has_header: bool
    protocol: int
    coding: int
    length: int
    user_data: bytes

    def to_bytes(self) -> bytes:
        """As the body of a message of the network."""
        return bytes((self.has_header, self.protocol, self.coding, self.length)) + self.user_data

    @classmethod
    def from_bytes(cls, body: bytes) -> "ShortMessage":
        """The reverse of ``to_bytes``."""
        head, user_data = body[:_SEVEN_BIT_HEAD_BYTES], body[_SEVEN_BIT_HEAD_BYTES:]
        return cls(has_header=bool(head[0]), protocol=head[1], coding=head[2], length=head[3], user_data=user_data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """A SUBMIT: to whom, what, and whether the sender wants a report."""

    recipient: str
    message: ShortMessage
    wants_report: bool


def parse_submit(pdu: bytes, told_bytes: int) -> Submit:
    """Read what ``AT+CMGS=<told_bytes>`` sends, the service centre's address before it.

    Raises DeviceError saying what is wrong with it.
    """
    if not pdu or len(pdu) < 1 + pdu[0]:
        raise DeviceError(f"PDU of {len(pdu)} bytes: the service centre's address is cut")
    unit = pdu[1 + pdu[0] :]
    if len(unit) != told_bytes:
        raise DeviceError(f"PDU of {len(unit)} bytes: AT+CMGS announced {told_bytes}")
    try:
        first, digits = unit[0], unit[2]
        if first & _TYPE_MASK != _SUBMIT:
            raise DeviceError(f"first octet {first:02X}: allowed is a SUBMIT")
        address_bytes = (digits + 1) // 2
        recipient = _digits(unit[4 : 4 + address_bytes])[:digits]
        at = 4 + address_bytes
        protocol, coding = unit[at], unit[at + 1]
        at += 2 + _VALIDITY_BYTES[first & _VALIDITY_MASK]
        length, user_data = unit[at], unit[at + 1 :]
    except IndexError:
        raise DeviceError(f"PDU of {len(unit)} bytes: it is cut") from None
    wanted_bytes = (length * 7 + 7) // 8 if _is_seven_bit(coding) else length
    if len(user_data) != wanted_bytes or wanted_bytes > USER_DATA_BYTES_MAX:
        raise DeviceError(f"user data of {len(user_data)} bytes: allowed is {wanted_bytes}, at most 140")
    message = ShortMessage(
        has_header=bool(first & _HAS_HEADER), protocol=protocol, coding=coding, length=length, user_data=user_data
    )
    return Submit(recipient=recipient, message=message, wants_report=bool(first & _WANTS_REPORT))


def deliver(message: ShortMessage, *, sender: str, at: datetime) -> bytes:
    """The DELIVER of a message, without the service centre's address."""
    first = _DELIVER | _NO_MORE_MESSAGES | (_HAS_HEADER if message.has_header else 0)
    head = bytes((first, len(sender), _INTERNATIONAL)) + _swapped(sender)
    tail = bytes((message.protocol, message.coding)) + _stamp(at) + bytes((message.length,))
    return head + tail + message.user_data


def status_report(*, reference: int, recipient: str, sent_at: datetime, done_at: datetime, status: int = 0) -> bytes:
    """The STATUS-REPORT of the message with ``reference``; status 0: received by the recipient (9.2.3.15)."""
    head = bytes((_STATUS_REPORT | _NO_MORE_MESSAGES, reference, len(recipient), _INTERNATIONAL)) + _swapped(recipient)
    return head + _stamp(sent_at) + _stamp(done_at) + bytes((status,))


def centre_address(number: str) -> bytes:
    """The service centre's address as it stands before a unit; its length counts octets."""
    digits = _swapped(number)
    return bytes((1 + len(digits), _INTERNATIONAL)) + digits


def _is_seven_bit(coding: int) -> bool:
    """Whether the coding counts septets (23.038, section 4)."""
    group = coding >> 4
    if group < 0b1000:
        return coding & 0x20 == 0 and coding & 0x0C == 0
    return group in (0b1100, 0b1101) or (group == 0b1111 and coding & 0x04 == 0)


def _swapped(digits: str) -> bytes:
    padded = digits + "F" * (len(digits) % 2)
    return bytes.fromhex("".join(padded[at + 1] + padded[at] for at in range(0, len(padded), 2)))


def _digits(octets: bytes) -> str:
    return "".join(f"{octet & 15:X}{octet >> 4:X}" for octet in octets)


def _stamp(at: datetime) -> bytes:
    """Local time with its zone in quarters of an hour."""
    offset = at.utcoffset()
    quarters = 0 if offset is None else round(offset.total_seconds() / 900)
    zone = int(f"{abs(quarters):02d}"[::-1], 16) | (0x08 if quarters < 0 else 0)
    return _swapped(at.strftime("%y%m%d%H%M%S")) + bytes((zone,))
