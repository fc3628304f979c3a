"""Keys and ciphers of frames: one deployment secret in, one AEAD key for each sender, session and direction out.

Every key comes from HKDF-SHA256 (RFC 5869) with an ``info`` that names suite, epoch, role and direction, so that no two
uses share a key. The nonce is a key-derived 12-byte IV XOR the frame's number (the construction of RFC 8446, section
5.3), so one (key, number) pair is one nonce.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from edge_agent.core.errors import EdgeAgentError
from edge_agent.core.frame import SALT_BYTES, Direction, FrameCipher, SessionSalts
from edge_agent.security.secret_file import SECRET_BYTES, create_secret, load_secret

__all__ = ["AeadCipher", "DeploymentKeys", "KeyExhaustedError", "Suite", "create_secret", "derive", "load_secret"]

KEY_BYTES = 32  # AES-256
NONCE_BYTES = 12  # the length that NIST SP 800-38D, section 8.2.1, makes one counter block
GCM_TAG_BYTES = 16
CCM_TAG_BYTES = 8  # burst links and slow lines pay for every byte; the cap on failed opens below makes up for it

REKEY_AFTER_FRAMES = 1 << 32
"""From here on ``wants_rekey``: NIST SP 800-38D, section 8.3, allows this many invocations of one key even with random
nonces; ours are counters. At 2 KiB a frame an attacker's advantage is then 2^-51 (2^39 blocks, squared, / 2^129)."""
FRAMES_MAX = 1 << 36
"""From here on ``seal`` refuses: 159 days at 5,000 frames a second, still below 2^-42 by the same count."""
FAILED_OPENS_MAX = 1 << 32
"""An 8-byte tag is guessed with chance 2^-64; NIST SP 800-38C, appendix B.2, asks Tlen >= lg(MaxErrs / Risk), so this
many failures leave a risk of 2^-32. A lower cap would let a stranger who transmits day and night silence a burst link
(2^20 is a day at 12 frames a second); this one takes him years."""

_INFO_PREFIX = b"lifeline-edge frame key 1\x00"


class Suite(IntEnum):
    """Algorithms by their number in long headers. 0, the simulator's null cipher, is never made from a secret."""

    AES_256_GCM = 1
    AES_256_CCM_8 = 2


class KeyExhaustedError(EdgeAgentError):
    """A key has sealed as many frames as it may, or was asked to use a number again; a fault of ours."""


class AeadCipher:
    """One key for one direction (``FrameCipher``). About the cost of the bare AEAD call.

    Numbers given to ``seal`` must rise: a number used twice would reveal both frames, so it is refused here too.
    """

    __slots__ = ("_decrypt", "_encrypt", "_failed_max", "_iv", "_last_number", "failed_opens", "overhead_bytes")

    def __init__(self, aead: AESGCM | AESCCM, iv: bytes, *, tag_bytes: int, failed_max: int | None) -> None:
        self._encrypt: Callable[[bytes, bytes, bytes], bytes] = aead.encrypt  # bound once: two look-ups less a frame
        self._decrypt: Callable[[bytes, bytes, bytes], bytes] = aead.decrypt
        self._iv = int.from_bytes(iv, "big")
        self._last_number = -1
        self._failed_max = failed_max
        self.overhead_bytes = tag_bytes
        self.failed_opens = 0

    @property
    def wants_rekey(self) -> bool:
        """Whether this key has sealed so much that the session should be opened anew."""
        return self._last_number >= REKEY_AFTER_FRAMES

    @property
    def is_spent(self) -> bool:
        """Whether this key saw so many forgeries that it opens nothing any more."""
        return self._failed_max is not None and self.failed_opens >= self._failed_max

    def seal(self, number: int, header: bytes, body: bytes) -> bytes:
        """The sealed body. Raises KeyExhaustedError when ``number`` does not rise or is beyond FRAMES_MAX."""
        if not self._last_number < number < FRAMES_MAX:
            raise KeyExhaustedError(
                f"frame number {number} after {self._last_number}: numbers of a key rise and stay below {FRAMES_MAX}"
            )
        self._last_number = number
        return self._encrypt((self._iv ^ number).to_bytes(NONCE_BYTES, "big"), body, header)

    def open(self, number: int, header: bytes, sealed: bytes) -> bytes | None:
        """The body, or None when it is not authentic, cut short, or the key saw too many forgeries."""
        try:
            if self.is_spent:
                return None
            return self._decrypt((self._iv ^ number).to_bytes(NONCE_BYTES, "big"), sealed, header)
        except (InvalidTag, ValueError, OverflowError):  # ValueError: shorter than a tag; OverflowError: number < 0
            self.failed_opens += 1
            return None


class DeploymentKeys:
    """``LinkKeys`` from the secrets of a deployment, one for each epoch; frames of any other epoch are strangers'."""

    __slots__ = ("_epoch", "_secrets")

    def __init__(self, secrets: Mapping[int, bytes], *, epoch: int = 0) -> None:
        """Raises ValueError for a secret of the wrong length, or an epoch that is unknown or not 0 to 255."""
        for number, secret in secrets.items():
            if not 0 <= number <= 255:
                raise ValueError(f"epoch {number}: allowed is 0 to 255, one byte of the header")
            if len(secret) != SECRET_BYTES:
                raise ValueError(f"secret of epoch {number} has {len(secret)} bytes: {SECRET_BYTES} are needed")
        if epoch not in secrets:
            raise ValueError(f"epoch {epoch} has no secret: known are {sorted(secrets)}")
        self._secrets = dict(secrets)
        self._epoch = epoch

    @property
    def suite(self) -> int:
        """Suite of sessions opened here."""
        return Suite.AES_256_GCM

    @property
    def short_suite(self) -> int:
        """Suite of sessions on slow lines, where both programs know that."""
        return Suite.AES_256_CCM_8

    @property
    def epoch(self) -> int:
        """Epoch of sessions opened here."""
        return self._epoch

    def early(self, salt: bytes, suite: int, epoch: int) -> FrameCipher | None:
        """The cipher of HELLO frames, from the sender's salt alone; None for an unknown suite or epoch."""
        if suite != Suite.AES_256_GCM or len(salt) != SALT_BYTES:
            return None
        return self._cipher(b"early", suite, epoch, salt, b"")

    def traffic(self, salts: SessionSalts, direction: Direction, suite: int, epoch: int) -> FrameCipher | None:
        """The cipher of one direction of a session, from both salts; None for an unknown suite or epoch."""
        if suite not in list(Suite) or len(salts.initiator) != SALT_BYTES or len(salts.responder) != SALT_BYTES:
            return None
        return self._cipher(b"traffic", suite, epoch, salts.initiator + salts.responder, bytes((direction,)))

    def burst(self, sender_number: int, incarnation: int, epoch: int) -> FrameCipher | None:
        """The cipher of one incarnation of a sender on burst links, whose numbers are leased; None: unknown epoch."""
        extra = sender_number.to_bytes(4, "big") + incarnation.to_bytes(8, "big")
        return self._cipher(b"burst", Suite.AES_256_CCM_8, epoch, b"", extra)

    def _cipher(self, role: bytes, suite: int, epoch: int, salt: bytes, extra: bytes) -> AeadCipher | None:
        secret = self._secrets.get(epoch)
        if secret is None:
            return None
        info = _INFO_PREFIX + bytes((suite, epoch, len(role))) + role + extra
        derived = derive(secret, salt=salt, info=info, length=KEY_BYTES + NONCE_BYTES)
        key, iv = derived[:KEY_BYTES], derived[KEY_BYTES:]
        if suite == Suite.AES_256_CCM_8:
            ccm = AESCCM(key, tag_length=CCM_TAG_BYTES)
            return AeadCipher(ccm, iv, tag_bytes=CCM_TAG_BYTES, failed_max=FAILED_OPENS_MAX)
        return AeadCipher(AESGCM(key), iv, tag_bytes=GCM_TAG_BYTES, failed_max=None)


def derive(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """``length`` bytes by HKDF-SHA256 (RFC 5869, extract and expand)."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt or None, info=info).derive(secret)
