"""Certificates: who a node is, which keys are its own, and which authority says so.

certificate = body · signature (64)      body: a msgpack array in its one shortest form
body        = [1, authority id (8), serial, node id, number, role, signing key (32), agreement key (32),
               not before, not after]    times in seconds since 1970
signature   = Ed25519 (RFC 8032) of the authority over CONTEXT · body
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

import msgpack
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge_agent.core.bundle import NODE_ID_PATTERN
from edge_agent.core.errors import EdgeAgentError

VERSION: Final = 1
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
AUTHORITY_ID_BYTES: Final = 8
NUMBER_MAX: Final = 65_535
SERIAL_MAX: Final = (1 << 63) - 1
TIME_MAX_S: Final = 1 << 40
CERTIFICATE_MAX_BYTES: Final = 256
ROLE_PATTERN: Final = re.compile(r"[a-z][a-z-]{0,15}")
_CONTEXT: Final = b"lifeline-edge certificate 1\x00"
_FIELDS: Final = 10


class CertificateError(EdgeAgentError):
    """Bytes that are no certificate, or one that its authority did not sign; the message says what is wrong."""


def authority_id(public_key: bytes) -> bytes:
    """The 8 bytes by which certificates name an authority with this signing key."""
    return hashlib.sha256(b"lifeline-edge authority 1\x00" + public_key).digest()[:AUTHORITY_ID_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What an authority says of a node. Made by ``Authority.sign`` or ``Certificate.parse``, which both check it."""

    authority: bytes
    serial: int
    node_id: str
    number: int
    """The short id, 0 to NUMBER_MAX; one node of an authority has it."""
    role: str
    sign_key: bytes
    agree_key: bytes
    not_before_s: int
    not_after_s: int
    signature: bytes = b""

    def body(self) -> bytes:
        """What is signed, without the context."""
        who = [self.authority, self.serial, self.node_id, self.number, self.role]
        packed: bytes = msgpack.packb(
            [VERSION, *who, self.sign_key, self.agree_key, self.not_before_s, self.not_after_s]
        )
        return packed

    def signed_bytes(self) -> bytes:
        """What the authority signs."""
        return _CONTEXT + self.body()

    def to_bytes(self) -> bytes:
        """The certificate as it is stored and sent."""
        return self.body() + self.signature

    def is_expired(self, now_s: float) -> bool:
        """Whether ``now_s`` (seconds since 1970) is outside the validity: a word for people, no reason to refuse."""
        return not self.not_before_s <= now_s <= self.not_after_s

    def verify(self, authority_key: bytes) -> None:
        """Raises CertificateError when the holder of ``authority_key`` did not sign it."""
        if self.authority != authority_id(authority_key):
            raise CertificateError(f"{self.node_id}: its authority is another one ({self.authority.hex()})")
        try:
            Ed25519PublicKey.from_public_bytes(authority_key).verify(self.signature, self.signed_bytes())
        except InvalidSignature as error:
            raise CertificateError(f"{self.node_id}: not signed by authority {self.authority.hex()}") from error

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The certificate in ``data``, its signature not checked yet. Raises CertificateError."""
        if len(data) > CERTIFICATE_MAX_BYTES or len(data) <= SIGNATURE_BYTES:
            raise CertificateError(f"{len(data)} bytes: a certificate has {SIGNATURE_BYTES} to {CERTIFICATE_MAX_BYTES}")
        body, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
        try:
            fields = msgpack.unpackb(body, use_list=True)
        except (ValueError, msgpack.UnpackException) as error:
            raise CertificateError("no msgpack array before the signature") from error
        if not isinstance(fields, list) or len(fields) != _FIELDS or fields[0] != VERSION:
            raise CertificateError(f"not an array of {_FIELDS} that begins with version {VERSION}")
        _, authority, serial, node_id, number, role, sign_key, agree_key, not_before_s, not_after_s = fields
        for name, value, length in (
            ("authority", authority, AUTHORITY_ID_BYTES),
            ("signing key", sign_key, KEY_BYTES),
            ("agreement key", agree_key, KEY_BYTES),
        ):
            if not isinstance(value, bytes) or len(value) != length:
                raise CertificateError(f"{name}: allowed are {length} bytes")
        for name, value, highest in (
            ("serial", serial, SERIAL_MAX),
            ("number", number, NUMBER_MAX),
            ("not before", not_before_s, TIME_MAX_S),
            ("not after", not_after_s, TIME_MAX_S),
        ):
            if type(value) is not int or not 0 <= value <= highest:
                raise CertificateError(f"{name}: allowed is 0 to {highest}")
        if not (isinstance(node_id, str) and NODE_ID_PATTERN.fullmatch(node_id)):
            raise CertificateError(f"node id: allowed is {NODE_ID_PATTERN.pattern}")
        if not (isinstance(role, str) and ROLE_PATTERN.fullmatch(role)):
            raise CertificateError(f"role: allowed is {ROLE_PATTERN.pattern}")
        if not_after_s < not_before_s:
            raise CertificateError("it ends before it begins")
        found = cls(
            authority=authority,
            serial=serial,
            node_id=node_id,
            number=number,
            role=role,
            sign_key=sign_key,
            agree_key=agree_key,
            not_before_s=not_before_s,
            not_after_s=not_after_s,
            signature=signature,
        )
        if found.body() != body:
            raise CertificateError("not in its one shortest form")
        return found
