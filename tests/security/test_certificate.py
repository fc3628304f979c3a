"""Certificates: what comes back, what is refused, and that damage of any byte is seen."""

from dataclasses import replace

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.security.certificate import (
    CERTIFICATE_MAX_BYTES,
    NUMBER_MAX,
    SERIAL_MAX,
    TIME_MAX_S,
    Certificate,
    CertificateError,
    authority_id,
)

SIGNER = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
AUTHORITY = SIGNER.public_key().public_bytes_raw()
key_bytes = st.binary(min_size=32, max_size=32)


def signed(unsigned: Certificate) -> Certificate:
    return replace(unsigned, signature=SIGNER.sign(unsigned.signed_bytes()))


certificates = st.builds(
    Certificate,
    authority=st.just(authority_id(AUTHORITY)),
    serial=st.integers(0, SERIAL_MAX),
    node_id=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,31}", fullmatch=True),
    number=st.integers(0, NUMBER_MAX),
    role=st.sampled_from(["kit", "vehicle", "command", "operator"]),
    sign_key=key_bytes,
    agree_key=key_bytes,
    not_before_s=st.integers(0, TIME_MAX_S // 2),
    not_after_s=st.integers(TIME_MAX_S // 2, TIME_MAX_S),
).map(signed)
ONE = signed(
    Certificate(
        authority=authority_id(AUTHORITY),
        serial=28_000_000,
        node_id="kit-7",
        number=7,
        role="kit",
        sign_key=b"\x01" * 32,
        agree_key=b"\x02" * 32,
        not_before_s=1_795_000_000,
        not_after_s=1_826_000_000,
    )
)


@given(certificates)
def test_it_comes_back_and_verifies(certificate: Certificate) -> None:
    data = certificate.to_bytes()
    assert len(data) <= CERTIFICATE_MAX_BYTES
    found = Certificate.parse(data)
    found.verify(AUTHORITY)
    assert found == certificate


@given(st.integers(0), st.integers(1, 255))
def test_any_changed_byte_is_refused(at: int, flip: int) -> None:
    data = bytearray(ONE.to_bytes())
    data[at % len(data)] ^= flip
    with pytest.raises(CertificateError):
        Certificate.parse(bytes(data)).verify(AUTHORITY)


@given(st.binary(max_size=CERTIFICATE_MAX_BYTES + 10))
def test_foreign_bytes_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(CertificateError):
        Certificate.parse(data)


@given(st.integers(0))
def test_a_cut_one_is_refused(length: int) -> None:
    data = ONE.to_bytes()
    with pytest.raises(CertificateError):
        Certificate.parse(data[: length % len(data)]).verify(AUTHORITY)


def changed(place: int, value: object) -> bytes:
    fields = msgpack.unpackb(ONE.body())
    fields[place] = value
    body: bytes = msgpack.packb(fields)
    return body + ONE.signature


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (0, 2, "version 1"),
        (1, b"short", "authority: allowed are 8 bytes"),
        (2, -1, "serial: allowed is 0 to"),
        (2, True, "serial: allowed is 0 to"),
        (3, "Kit 7", "node id: allowed is"),
        (4, NUMBER_MAX + 1, "number: allowed is 0 to"),
        (5, "", "role: allowed is"),
        (6, b"", "signing key: allowed are 32 bytes"),
        (7, "2" * 32, "agreement key: allowed are 32 bytes"),
        (8, 1.5, "not before: allowed is 0 to"),
        (9, TIME_MAX_S + 1, "not after: allowed is 0 to"),
        (9, 5, "ends before it begins"),
    ],
)
def test_a_wrong_field_is_named(place: int, value: object, reason: str) -> None:
    with pytest.raises(CertificateError, match=reason):
        Certificate.parse(changed(place, value))


def test_only_the_shortest_form_is_taken() -> None:
    body = ONE.body()
    longer = b"\xdc\x00\x0a" + body[1:]  # the same array with a length of two bytes
    with pytest.raises(CertificateError, match="shortest form"):
        Certificate.parse(longer + ONE.signature)


def test_another_authoritys_is_not_taken() -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"\x08" * 32).public_key().public_bytes_raw()
    with pytest.raises(CertificateError, match="its authority is another one"):
        ONE.verify(other)
    with pytest.raises(CertificateError, match="not signed by"):
        replace(ONE, authority=authority_id(other)).verify(other)


def test_expiry_is_a_word() -> None:
    assert [ONE.is_expired(at) for at in (0, ONE.not_before_s, ONE.not_after_s, ONE.not_after_s + 1)] == [
        True,
        False,
        False,
        True,
    ]
    ONE.verify(AUTHORITY)  # whatever the clock says
