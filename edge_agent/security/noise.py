"""Noise handshakes (The Noise Protocol Framework, revision 34, 2018) over the primitives of ``cryptography``.

What is here: the one-way patterns N, K and X, the interactive KK, IK and XX, and pre-shared keys (``psk0`` to
``psk3``), with X25519, AES-256-GCM or ChaCha20-Poly1305, SHA-256 or BLAKE2s. A name such as
``Noise_IK_25519_AESGCM_SHA256`` chooses among them. Names in this module are those of the specification.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from edge_agent.core.errors import EdgeAgentError

DH_BYTES: Final = 32
TAG_BYTES: Final = 16
PSK_BYTES: Final = 32
HASH_BYTES: Final = 32  # of both hashes, and so of every key
MESSAGE_MAX: Final = 65_535
_NONCE_MAX: Final = (1 << 64) - 1  # reserved for rekeying, section 5.1


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which keys each side knows beforehand, and the tokens of each message; the initiator sends the first."""

    initiator_is_known: bool
    responder_is_known: bool
    messages: tuple[tuple[str, ...], ...]


PATTERNS: Final = {
    "N": Pattern(False, True, (("e", "es"),)),
    "K": Pattern(True, True, (("e", "es", "ss"),)),
    "X": Pattern(False, True, (("e", "es", "s", "ss"),)),
    "KK": Pattern(True, True, (("e", "es", "ss"), ("e", "ee", "se"))),
    "IK": Pattern(False, True, (("e", "es", "s", "ss"), ("e", "ee", "se"))),
    "XX": Pattern(False, False, (("e",), ("e", "ee", "s", "es"), ("s", "se"))),
}
_HASHES: Final = {"SHA256": "sha256", "BLAKE2s": "blake2s"}
_CIPHERS: Final[dict[str, Callable[[bytes], AESGCM | ChaCha20Poly1305]]] = {
    "AESGCM": AESGCM,
    "ChaChaPoly": ChaCha20Poly1305,
}


class NoiseError(EdgeAgentError):
    """A message is not authentic, cut short, too long, or holds a key of small order."""


@dataclass(slots=True)
class CipherState:
    """One key and its counter (section 5.1)."""

    make: Callable[[bytes], AESGCM | ChaCha20Poly1305]
    key: bytes = field(repr=False)
    nonce: int = 0
    _aead: AESGCM | ChaCha20Poly1305 = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._aead = self.make(self.key)

    def encrypt(self, ad: bytes, plain: bytes) -> bytes:
        """``plain`` sealed under the next nonce, TAG_BYTES longer."""
        return self._aead.encrypt(self._next_nonce(), plain, ad)

    def decrypt(self, ad: bytes, sealed: bytes) -> bytes:
        """What ``sealed`` holds. Raises NoiseError; the nonce stays then."""
        try:
            plain = self._aead.decrypt(self._nonce_bytes(self.nonce), sealed, ad)
        except (InvalidTag, ValueError) as error:  # ValueError: shorter than a tag
            raise NoiseError("not authentic") from error
        self._next_nonce()
        return plain

    def _next_nonce(self) -> bytes:
        number, self.nonce = self.nonce, self.nonce + 1
        if number >= _NONCE_MAX:
            raise NoiseError("a key has sealed as much as it may")
        return self._nonce_bytes(number)

    def _nonce_bytes(self, number: int) -> bytes:
        return bytes(4) + number.to_bytes(8, "big" if self.make is AESGCM else "little")


class SymmetricState:
    """Chaining key, transcript hash and present key (section 5.2)."""

    __slots__ = ("_cipher", "_hash", "_make", "chaining_key", "transcript")

    def __init__(self, name: str, cipher: str, hash_name: str) -> None:
        self._hash, self._make = _HASHES[hash_name], _CIPHERS[cipher]
        encoded = name.encode()
        self.transcript = encoded.ljust(HASH_BYTES, b"\0") if len(encoded) <= HASH_BYTES else self._digest(encoded)
        self.chaining_key = self.transcript
        self._cipher: CipherState | None = None

    def mix_hash(self, data: bytes) -> None:
        self.transcript = self._digest(self.transcript + data)

    def mix_key(self, material: bytes) -> None:
        self.chaining_key, key = self.derive(material, 2)
        self._cipher = CipherState(self._make, key)

    def mix_key_and_hash(self, material: bytes) -> None:
        self.chaining_key, mixed, key = self.derive(material, 3)
        self.mix_hash(mixed)
        self._cipher = CipherState(self._make, key)

    def encrypt_and_hash(self, plain: bytes) -> bytes:
        sealed = plain if self._cipher is None else self._cipher.encrypt(self.transcript, plain)
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed: bytes) -> bytes:
        plain = sealed if self._cipher is None else self._cipher.decrypt(self.transcript, sealed)
        self.mix_hash(sealed)
        return plain

    @property
    def has_key(self) -> bool:
        return self._cipher is not None

    def split(self) -> tuple[CipherState, CipherState]:
        """The ciphers of the initiator's and of the responder's direction."""
        first, second = self.derive(b"", 2)
        return CipherState(self._make, first), CipherState(self._make, second)

    def derive(self, material: bytes, count: int) -> list[bytes]:
        """The specification's HKDF: ``count`` outputs of the chaining key and ``material``; changes nothing."""
        temp = hmac.digest(self.chaining_key, material, self._hash)
        outputs: list[bytes] = []
        for number in range(1, count + 1):
            outputs.append(hmac.digest(temp, (outputs[-1] if outputs else b"") + bytes((number,)), self._hash))
        return outputs

    def _digest(self, data: bytes) -> bytes:
        return hashlib.new(self._hash, data).digest()


class KeyPair:
    """An X25519 key. Made from 32 bytes of a source of randomness that the caller answers for."""

    __slots__ = ("_private", "public")

    def __init__(self, private: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(private)
        self.public = self._private.public_key().public_bytes_raw()

    def agree(self, public: bytes) -> bytes:
        """The shared secret with the holder of ``public``. Raises NoiseError for a point of small order."""
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError as error:
            raise NoiseError("a public key that gives no secret") from error


class Handshake:
    """One side of one handshake (section 5.3). Messages are written and read by turns, the initiator's first.

    ``ephemeral`` is fresh for each handshake, and not needed by who writes nothing; ``remote`` is needed where the
    pattern says that it is known.
    After an error the handshake is over: throw it away. ``derive`` gives keys bound to all messages so far.
    """

    def __init__(
        self,
        name: str,
        *,
        is_initiator: bool,
        ephemeral: KeyPair | None = None,
        static: KeyPair | None = None,
        remote: bytes | None = None,
        prologue: bytes = b"",
        psk: bytes = b"",
    ) -> None:
        """Raises ValueError for a name that is not here, or a key that it needs and that is missing."""
        self._pattern, self._messages, cipher, hash_name = _read_name(name)
        self._state = SymmetricState(name, cipher, hash_name)
        self._is_initiator = is_initiator
        self._ephemeral, self._static = ephemeral, static
        self._remote_ephemeral = b""
        self.remote_static = remote or b""
        """The other side's static key, once it is known."""
        self._psk = psk
        self._next_message = 0
        self._has_psk = any("psk" in tokens for tokens in self._messages)
        self._check(name)
        self._state.mix_hash(prologue)
        for is_known, is_own in (
            (self._pattern.initiator_is_known, is_initiator),
            (self._pattern.responder_is_known, not is_initiator),
        ):
            if is_known:
                self._state.mix_hash(static.public if is_own and static is not None else self.remote_static)

    @property
    def is_done(self) -> bool:
        return self._next_message == len(self._messages)

    @property
    def transcript(self) -> bytes:
        """The hash of all that was said."""
        return self._state.transcript

    def write(self, payload: bytes = b"") -> bytes:
        """The next message, with ``payload`` as well protected as the pattern has come."""
        state, parts = self._state, list[bytes]()
        for token in self._turn(is_own=True):
            if token == "e":
                assert self._ephemeral is not None, "checked when the handshake was made"
                parts.append(self._ephemeral.public)
                self._mix_ephemeral(self._ephemeral.public)
            elif token == "s":
                assert self._static is not None, "checked when the handshake was made"
                parts.append(state.encrypt_and_hash(self._static.public))
            else:
                self._mix(token)
        parts.append(state.encrypt_and_hash(payload))
        return b"".join(parts)

    def read(self, message: bytes) -> bytes:
        """The payload of the other side's next message. Raises NoiseError."""
        if len(message) > MESSAGE_MAX:
            raise NoiseError("longer than a message may be")
        state, at = self._state, 0
        for token in self._turn(is_own=False):
            if token == "e":
                self._remote_ephemeral, at = _cut(message, at, DH_BYTES)
                self._mix_ephemeral(self._remote_ephemeral)
            elif token == "s":
                sealed, at = _cut(message, at, DH_BYTES + (TAG_BYTES if state.has_key else 0))
                self.remote_static = state.decrypt_and_hash(sealed)
            else:
                self._mix(token)
        return state.decrypt_and_hash(message[at:])

    def split(self) -> tuple[CipherState, CipherState]:
        """The ciphers of the initiator's and of the responder's direction, after the last message."""
        assert self.is_done, "a handshake is split once it is done"
        return self._state.split()

    def derive(self, label: bytes, length: int) -> bytes:
        """``length`` bytes (at most 255 hashes) known to both sides that have seen the same messages and no others."""
        state, found = self._state, b""
        for count in range(1, 256):
            if len(found) >= length:
                break
            found = b"".join(state.derive(state.transcript + label, count))
        return found[:length]

    def _check(self, name: str) -> None:
        own_is_known = self._pattern.initiator_is_known if self._is_initiator else self._pattern.responder_is_known
        other_is_known = self._pattern.responder_is_known if self._is_initiator else self._pattern.initiator_is_known
        own_turns = self._messages[0 if self._is_initiator else 1 :: 2]
        if self._ephemeral is None and own_turns:
            raise ValueError(f"{name}: an ephemeral key is needed")
        if self._static is None and (own_is_known or any("s" in tokens for tokens in own_turns)):
            raise ValueError(f"{name}: a static key of its own is needed")
        if other_is_known != bool(self.remote_static):
            raise ValueError(f"{name}: the other side's static key is {'needed' if other_is_known else 'not taken'}")
        if len(self._psk) != (PSK_BYTES if self._has_psk else 0):
            raise ValueError(f"{name}: a pre-shared key of {PSK_BYTES if self._has_psk else 0} bytes is needed")

    def _turn(self, *, is_own: bool) -> tuple[str, ...]:
        number = self._next_message
        assert not self.is_done, "a handshake has as many messages as its pattern"
        assert (number % 2 == 0) == (self._is_initiator == is_own), "messages go by turns"
        self._next_message = number + 1
        return self._messages[number]

    def _mix_ephemeral(self, public: bytes) -> None:
        self._state.mix_hash(public)
        if self._has_psk:
            self._state.mix_key(public)

    def _mix(self, token: str) -> None:
        """ee, es, se, ss: who holds which key follows from who began; psk."""
        if token == "psk":
            self._state.mix_key_and_hash(self._psk)
            return
        own, other = (token[0], token[1]) if self._is_initiator else (token[1], token[0])
        pair = self._ephemeral if own == "e" else self._static
        assert pair is not None, "checked when the handshake was made"
        self._state.mix_key(pair.agree(self._remote_ephemeral if other == "e" else self.remote_static))


def _read_name(name: str) -> tuple[Pattern, tuple[tuple[str, ...], ...], str, str]:
    """Pattern, messages with their pre-shared keys, cipher and hash of a protocol's name."""
    prefix, _, rest = name.partition("_")
    parts = rest.split("_")
    if (
        prefix != "Noise"
        or len(parts) != 4
        or parts[1] != "25519"
        or parts[2] not in _CIPHERS
        or parts[3] not in _HASHES
    ):
        raise ValueError(f"{name}: allowed is Noise_PATTERN_25519_{'|'.join(_CIPHERS)}_{'|'.join(_HASHES)}")
    base, *modifiers = parts[0].replace("psk", "+psk").replace("++", "+").split("+")
    pattern = PATTERNS.get(base)
    if pattern is None:
        raise ValueError(f"{name}: allowed patterns are {', '.join(PATTERNS)}")
    messages = [list(tokens) for tokens in pattern.messages]
    for modifier in modifiers:
        place = int(modifier.removeprefix("psk")) if modifier[3:].isdigit() else len(messages) + 1
        if place > len(messages):
            raise ValueError(f"{name}: {modifier} is beyond the last message")
        if place == 0:
            messages[0].insert(0, "psk")
        else:
            messages[place - 1].append("psk")
    return pattern, tuple(map(tuple, messages)), parts[2], parts[3]


def _cut(message: bytes, at: int, length: int) -> tuple[bytes, int]:
    if len(message) < at + length:
        raise NoiseError("ends early")
    return message[at : at + length], at + length
