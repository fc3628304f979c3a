"""SMS transfer units against published vectors and an octet count of their own."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from link_sim.devices.errors import DeviceError
from link_sim.devices.sms_pdu import ShortMessage, centre_address, deliver, parse_submit, status_report

HELLO = ShortMessage(
    has_header=False, protocol=0, coding=0, length=12, user_data=bytes.fromhex("C8F71D14969741F977FD07")
)


def test_the_published_deliver_is_made_byte_for_byte() -> None:
    """ "How are you?" of +31641600986, decoded with smspdudecoder in the project's facts; its type bits lack MMS."""
    published = bytes.fromhex("07911326040000F0040B911346610089F60000208062917314080CC8F71D14969741F977FD07")
    at = datetime(2002, 8, 26, 19, 37, 41, tzinfo=timezone(timedelta(hours=20)))
    assert centre_address("31624000000") + deliver(HELLO, sender="31641600986", at=at) == published


def test_a_submit_is_read_field_by_field() -> None:
    unit = bytes.fromhex("31000D91683109000000F20000A70C") + HELLO.user_data
    submit = parse_submit(b"\x00" + unit, len(unit))
    assert submit.recipient == "8613900000002"
    assert submit.wants_report
    assert submit.message == HELLO
    assert ShortMessage.from_bytes(HELLO.to_bytes()) == HELLO


@pytest.mark.parametrize(
    ("digits", "told_bytes", "text"),
    [
        ("", 0, "address is cut"),
        ("0741", 0, "address is cut"),
        ("0031000D91", 4, "it is cut"),
        ("0031000D91", 5, "announced 5"),
        ("0004" + "00" * 20, 21, "allowed is a SUBMIT"),
        ("0001000D91683109000000F200040568656C6C", 18, "user data of 4 bytes: allowed is 5"),
        ("0001000D91683109000000F200048D" + "00" * 141, 155, "at most 140"),
    ],
)
def test_what_is_no_submit_is_refused_with_the_reason(digits: str, told_bytes: int, text: str) -> None:
    with pytest.raises(DeviceError, match=text):
        parse_submit(bytes.fromhex(digits), told_bytes)


def test_a_status_report_names_its_message_by_reference_and_recipient() -> None:
    sent_at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    unit = status_report(reference=200, recipient="861390000", sent_at=sent_at, done_at=sent_at + timedelta(seconds=9))
    assert unit.hex().upper() == "06C8099168310900F0" + "62304050607000" + "62304050606100" + "00"


def test_a_zone_west_of_greenwich_carries_its_sign() -> None:
    at = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-5)))
    assert deliver(HELLO, sender="86", at=at).hex().upper().startswith("040291680000" + "62101000000" + "00A")
