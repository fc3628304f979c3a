"""Keys of frames: the derivation by its published vectors, and what each key must not open."""

import random
import time

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.frame import Direction, FrameCipher, LinkKeys, SessionSalts
from edge_agent.security import link_keys
from edge_agent.security.link_keys import AeadCipher, DeploymentKeys, KeyExhaustedError, Suite, derive

SECRET = bytes(range(32))
SALTS = SessionSalts(initiator=b"i" * 16, responder=b"r" * 16)
NUMBERS = st.integers(0, link_keys.FRAMES_MAX - 1)


def keys(secret: bytes = SECRET) -> LinkKeys:
    return DeploymentKeys({0: secret})


def made(cipher: FrameCipher | None) -> FrameCipher:
    assert cipher is not None
    return cipher


def all_ciphers(secret: bytes = SECRET) -> dict[str, FrameCipher]:
    """One cipher of every role, direction, suite, epoch and salt."""
    root = DeploymentKeys({0: secret, 1: secret})
    other = SessionSalts(initiator=b"i" * 16, responder=b"x" * 16)
    swapped = SessionSalts(initiator=b"r" * 16, responder=b"i" * 16)
    wanted: dict[str, FrameCipher | None] = {
        "early": root.early(b"i" * 16, 1, 0),
        "early, other salt": root.early(b"r" * 16, 1, 0),
        "early, other epoch": root.early(b"i" * 16, 1, 1),
        "traffic out": root.traffic(SALTS, Direction.INITIATOR, 1, 0),
        "traffic back": root.traffic(SALTS, Direction.RESPONDER, 1, 0),
        "traffic, other salt": root.traffic(other, Direction.INITIATOR, 1, 0),
        "traffic, swapped salts": root.traffic(swapped, Direction.INITIATOR, 1, 0),
        "traffic, other epoch": root.traffic(SALTS, Direction.INITIATOR, 1, 1),
        "burst": root.burst(7, 3, 0),
        "burst, other sender": root.burst(8, 3, 0),
        "burst, other incarnation": root.burst(7, 4, 0),
        "burst, other epoch": root.burst(7, 3, 1),
    }
    return {name: made(cipher) for name, cipher in wanted.items()}


@pytest.mark.parametrize(
    ("secret", "salt", "info", "length", "expected"),
    [  # RFC 5869, appendix A.1, A.2 and A.3
        (
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            42,
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            bytes(range(0x50)).hex(),
            bytes(range(0x60, 0xB0)).hex(),
            bytes(range(0xB0, 0x100)).hex(),
            82,
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
            "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            "0b" * 22,
            "",
            "",
            42,
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_derivation_gives_the_vectors_of_rfc_5869(
    secret: str, salt: str, info: str, length: int, expected: str
) -> None:
    derived = derive(bytes.fromhex(secret), salt=bytes.fromhex(salt), info=bytes.fromhex(info), length=length)
    assert derived.hex() == expected


def test_a_frame_sealed_by_any_role_is_opened_by_its_twin_and_by_no_other() -> None:
    senders, receivers = all_ciphers(), all_ciphers()
    for name, sender in senders.items():
        sealed = sender.seal(5, b"header", b"body")
        assert len(sealed) == 4 + sender.overhead_bytes
        opened = {other: receiver.open(5, b"header", sealed) for other, receiver in receivers.items()}
        assert [other for other, body in opened.items() if body is not None] == [name]
        assert opened[name] == b"body"


def test_another_deployment_opens_nothing() -> None:
    senders, strangers = all_ciphers(), all_ciphers(bytes(32))
    for name, sender in senders.items():
        assert strangers[name].open(0, b"", sender.seal(0, b"", b"body")) is None


@given(
    number=NUMBERS, header=st.binary(max_size=40), body=st.binary(max_size=200), noise=st.randoms(use_true_random=False)
)
def test_any_changed_bit_number_or_header_is_refused(
    number: int, header: bytes, body: bytes, noise: random.Random
) -> None:
    for root in ("traffic", "burst"):
        sender = made(keys().traffic(SALTS, Direction.INITIATOR, 1, 0) if root == "traffic" else keys().burst(1, 1, 0))
        receiver = made(
            keys().traffic(SALTS, Direction.INITIATOR, 1, 0) if root == "traffic" else keys().burst(1, 1, 0)
        )
        sealed = sender.seal(number, header, body)
        assert receiver.open(number, header, sealed) == body
        flipped = bytearray(sealed)
        flipped[noise.randrange(len(sealed))] ^= 1 << noise.randrange(8)
        assert receiver.open(number, header, bytes(flipped)) is None
        assert receiver.open(number ^ 1 << noise.randrange(36), header, sealed) is None
        assert receiver.open(number, header + b"\0", sealed) is None
        assert receiver.open(number, header, sealed[: noise.randrange(len(sealed))]) is None


def test_nonces_of_one_key_differ_for_every_number() -> None:
    """Equal bodies under two numbers never give equal bytes: the nonce is the number in disguise."""
    cipher = made(keys().traffic(SALTS, Direction.INITIATOR, 1, 0))
    numbers = [*range(2_000), 1 << 16, 1 << 31, 1 << 32, (1 << 36) - 1]
    assert len({cipher.seal(number, b"", b"\0" * 16) for number in numbers}) == len(numbers)


def test_a_number_is_not_sealed_twice_nor_beyond_the_bound() -> None:
    cipher = keys().traffic(SALTS, Direction.INITIATOR, 1, 0)
    assert isinstance(cipher, AeadCipher)
    cipher.seal(4, b"", b"")
    assert not cipher.wants_rekey
    for number in (4, 3, -1, link_keys.FRAMES_MAX):
        with pytest.raises(KeyExhaustedError, match=f"frame number {number} after 4"):
            cipher.seal(number, b"", b"")
    cipher.seal(link_keys.REKEY_AFTER_FRAMES, b"", b"")
    assert cipher.wants_rekey


def test_unknown_suites_and_epochs_have_no_cipher() -> None:
    root = keys()
    for suite in (0, 2, 3, 255):  # 0 is the simulator's null cipher; 2, with its short tag, is never an early key's
        assert root.early(b"s" * 16, suite, 0) is None
        assert suite == 2 or root.traffic(SALTS, Direction.INITIATOR, suite, 0) is None
    assert root.early(b"s" * 16, 1, 1) is None
    assert root.traffic(SALTS, Direction.INITIATOR, 1, 9) is None
    assert root.burst(1, 1, 9) is None
    assert root.early(b"short", 1, 0) is None
    assert (root.suite, root.short_suite, root.epoch) == (Suite.AES_256_GCM, Suite.AES_256_CCM_8, 0)


def test_a_burst_key_opens_nothing_after_too_many_forgeries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_keys, "FAILED_OPENS_MAX", 3)
    sender, receiver = made(keys().burst(1, 1, 0)), keys().burst(1, 1, 0)
    assert isinstance(receiver, AeadCipher)
    sealed = sender.seal(0, b"", b"help")
    for _ in range(2):
        assert receiver.open(0, b"", b"forged bytes") is None
    assert receiver.open(0, b"", sealed) == b"help"
    assert receiver.open(0, b"", b"") is None
    assert receiver.failed_opens == 3
    assert receiver.open(0, b"", sealed) is None


def test_wrong_secrets_and_epochs_are_named() -> None:
    with pytest.raises(ValueError, match=r"secret of epoch 0 has 31 bytes: 32 are needed"):
        DeploymentKeys({0: bytes(31)})
    with pytest.raises(ValueError, match=r"epoch 256: allowed is 0 to 255"):
        DeploymentKeys({256: SECRET})
    with pytest.raises(ValueError, match=r"epoch 1 has no secret: known are \[0\]"):
        DeploymentKeys({0: SECRET}, epoch=1)


@pytest.mark.slow
def test_sealing_and_opening_a_frame_costs_at_most_twice_the_bare_call() -> None:
    """Ratio of CPU times in one run, the best of several rounds: other processes only ever add."""
    bare = AESGCM(SECRET)
    nonce, header, body = bytes(12), bytes(6), bytes(1200)
    frames = 4_000

    def bare_s() -> float:
        started_s = time.process_time()
        for _ in range(frames):
            bare.decrypt(nonce, bare.encrypt(nonce, body, header), header)
        return time.process_time() - started_s

    def ours_s() -> float:
        sender = made(keys().traffic(SALTS, Direction.INITIATOR, 1, 0))
        receiver = made(keys().traffic(SALTS, Direction.INITIATOR, 1, 0))
        started_s = time.process_time()
        for number in range(frames):
            receiver.open(number, header, sender.seal(number, header, body))
        return time.process_time() - started_s

    ratio = min(ours_s() for _ in range(7)) / min(bare_s() for _ in range(7))
    assert ratio <= 2.0, f"{ratio:.2f}"
