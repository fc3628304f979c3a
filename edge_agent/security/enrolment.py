"""Enrolment: a node asks for a certificate, the authority answers; both as text that a stick, a QR or a LAN carries.

    request = msgpack [1, node id, role, number wished for, signing key, agreement key, nonce (8)] · signature (64)
    answer  = Noise N to the agreement key, holding
              msgpack [1, hash of the request (32), authority's name, its public key, certificate, [certificates of
              command nodes], network key (32)] · signature of the authority (64)

As text each is a word, a colon and base 32, all of it in the small alphabet of QR codes. People compare the letters of
the request (at the authority) and those of the authority's key (at the node): eight each.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import msgpack
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge_agent.core.bundle import NODE_ID_PATTERN
from edge_agent.core.errors import EdgeAgentError
from edge_agent.security.authority import Authority
from edge_agent.security.certificate import (
    KEY_BYTES,
    NUMBER_MAX,
    ROLE_PATTERN,
    SIGNATURE_BYTES,
    Certificate,
    CertificateError,
)
from edge_agent.security.identity import Identity
from edge_agent.security.letters import from_letters, in_groups, to_letters
from edge_agent.security.noise import Handshake, KeyPair, NoiseError

NONCE_BYTES: Final = 8
NETWORK_KEY_BYTES: Final = 32
TEXT_MAX: Final = 64_000
REQUEST_WORD, ANSWER_WORD = "LIFELINE-REQUEST-1:", "LIFELINE-ANSWER-1:"
_REQUEST_CONTEXT: Final = b"lifeline-edge enrolment request 1\x00"
_ANSWER_CONTEXT: Final = b"lifeline-edge enrolment answer 1\x00"
_NOISE: Final = "Noise_N_25519_AESGCM_SHA256"


class EnrolmentError(EdgeAgentError):
    """A request or an answer that is not taken; the message says why, in words for the person who brought it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A node's wish. Made by ``ask`` or read by ``parse``, which checks that who asks holds the signing key."""

    node_id: str
    role: str
    number: int
    sign_key: bytes
    agree_key: bytes
    nonce: bytes
    signature: bytes

    @classmethod
    def ask(cls, identity: Identity, *, node_id: str, role: str, number: int, nonce: bytes) -> Self:
        """The request of the node with ``identity``; ``nonce`` is drawn anew for each."""
        unsigned = cls(
            node_id=node_id,
            role=role,
            number=number,
            sign_key=identity.sign_key,
            agree_key=identity.agree.public,
            nonce=nonce,
            signature=b"",
        )
        return cls.parse(unsigned._body() + identity.sign(_REQUEST_CONTEXT + unsigned._body()))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The request in ``data``. Raises EnrolmentError."""
        body, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
        node_id, role, number, sign_key, agree_key, nonce = _fields(body, 7, "request")
        if not (isinstance(node_id, str) and NODE_ID_PATTERN.fullmatch(node_id)):
            raise EnrolmentError(f"request: node id: allowed is {NODE_ID_PATTERN.pattern}")
        if not (isinstance(role, str) and ROLE_PATTERN.fullmatch(role)):
            raise EnrolmentError(f"request of {node_id}: role: allowed is {ROLE_PATTERN.pattern}")
        if type(number) is not int or not 0 <= number <= NUMBER_MAX:
            raise EnrolmentError(f"request of {node_id}: number: allowed is 0 to {NUMBER_MAX}")
        for value, length in ((sign_key, KEY_BYTES), (agree_key, KEY_BYTES), (nonce, NONCE_BYTES)):
            if not isinstance(value, bytes) or len(value) != length:
                raise EnrolmentError(f"request of {node_id}: a key or its nonce has another length")
        _verify(sign_key, signature, _REQUEST_CONTEXT + body, f"request of {node_id}")
        return cls(
            node_id=node_id,
            role=role,
            number=number,
            sign_key=sign_key,
            agree_key=agree_key,
            nonce=nonce,
            signature=signature,
        )

    def to_bytes(self) -> bytes:
        """The request as ``parse`` reads it."""
        return self._body() + self.signature

    @property
    def hash(self) -> bytes:
        """What an answer names this request by."""
        return hashlib.sha256(self.to_bytes()).digest()

    @property
    def letters(self) -> str:
        """Eight letters that people compare: at the node and at the authority."""
        return _letters_of(self.hash)

    def _body(self) -> bytes:
        fields = [self.node_id, self.role, self.number, self.sign_key, self.agree_key, self.nonce]
        packed: bytes = msgpack.packb([1, *fields])
        return packed


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What a node holds once it is enrolled."""

    authority_name: str
    authority_key: bytes
    certificate: Certificate
    commands: tuple[Certificate, ...]
    """The command nodes at the time, with the keys that a link to them begins with."""
    network_key: bytes

    @property
    def authority_letters(self) -> str:
        """Eight letters that people compare: at the authority and at the node."""
        return authority_letters(self.authority_key)


def authority_letters(public_key: bytes) -> str:
    """The letters of an authority, which its own screen shows too."""
    return _letters_of(hashlib.sha256(b"lifeline-edge authority letters 1\x00" + public_key).digest())


def answer(
    authority: Authority,
    request: Request,
    certificate: Certificate,
    commands: Sequence[Certificate],
    network_key: bytes,
    ephemeral: KeyPair,
) -> bytes:
    """The authority's answer, which only the node that asked can read; ``ephemeral`` is drawn anew for each."""
    body: bytes = msgpack.packb(
        [
            1,
            request.hash,
            authority.name,
            authority.public_key,
            certificate.to_bytes(),
            [each.to_bytes() for each in commands],
            network_key,
        ]
    )
    noise = Handshake(
        _NOISE, is_initiator=True, ephemeral=ephemeral, remote=request.agree_key, prologue=_ANSWER_CONTEXT
    )
    return noise.write(body + authority.sign(_ANSWER_CONTEXT + body))


def take_answer(identity: Identity, request: Request, data: bytes) -> Enrolment:
    """What ``data`` says to ``request``. Whether its authority is the right one, people say. Raises EnrolmentError."""
    noise = Handshake(_NOISE, is_initiator=False, static=identity.agree, prologue=_ANSWER_CONTEXT)
    try:
        opened = noise.read(data)
    except NoiseError as error:
        raise EnrolmentError(f"answer: not to this node, or damaged ({error})") from error
    body, signature = opened[:-SIGNATURE_BYTES], opened[-SIGNATURE_BYTES:]
    request_hash, name, authority_key, own, commands, network_key = _fields(body, 7, "answer")
    if not (isinstance(authority_key, bytes) and len(authority_key) == KEY_BYTES and isinstance(name, str)):
        raise EnrolmentError("answer: its authority has no name or key")
    _verify(authority_key, signature, _ANSWER_CONTEXT + body, "answer")
    if request_hash != request.hash:
        raise EnrolmentError("answer: to another request of this node; bring the last request to the authority")
    if not (isinstance(network_key, bytes) and len(network_key) == NETWORK_KEY_BYTES and isinstance(commands, list)):
        raise EnrolmentError("answer: without network key or command nodes")
    certificate = _certified(own, authority_key)
    if (certificate.sign_key, certificate.agree_key) != (identity.sign_key, identity.agree.public):
        raise EnrolmentError(f"answer: its certificate is for other keys ({certificate.node_id})")
    return Enrolment(
        authority_name=name,
        authority_key=authority_key,
        certificate=certificate,
        commands=tuple(_certified(each, authority_key) for each in commands),
        network_key=network_key,
    )


def to_text(word: str, data: bytes) -> str:
    """``data`` as text: REQUEST_WORD or ANSWER_WORD and base 32."""
    return word + to_letters(data)


def from_text(word: str, text: str) -> bytes:
    """The bytes in ``text``, which a person may have broken into lines. Raises EnrolmentError."""
    joined = "".join(text.split()).upper()
    if len(joined) > TEXT_MAX or not joined.startswith(word):
        raise EnrolmentError(f"this is no text that begins with {word}")
    try:
        return from_letters(joined.removeprefix(word))
    except ValueError as error:
        raise EnrolmentError(f"{word} {error}") from error


def _letters_of(digest: bytes) -> str:
    return in_groups(to_letters(digest[:5]))


def _fields(body: bytes, count: int, what: str) -> list[Any]:  # Any: msgpack's own types
    """The fields after the version. Raises EnrolmentError."""
    try:
        fields = msgpack.unpackb(body, use_list=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise EnrolmentError(f"{what}: damaged") from error
    if not isinstance(fields, list) or len(fields) != count or fields[0] != 1:
        raise EnrolmentError(f"{what}: of another version than 1")
    return fields[1:]


def _verify(key: bytes, signature: bytes, statement: bytes, what: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, statement)
    except InvalidSignature as error:
        raise EnrolmentError(f"{what}: changed on its way, or not signed by who it says") from error


def _certified(data: Any, authority_key: bytes) -> Certificate:  # Any: msgpack's own types
    try:
        certificate = Certificate.parse(data if isinstance(data, bytes) else b"")
        certificate.verify(authority_key)
    except CertificateError as error:
        raise EnrolmentError(f"answer: {error}") from error
    return certificate
