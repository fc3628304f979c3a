"""Noise handshakes: against the public vectors, against an independent implementation, and against damage."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from edge_agent.security.noise import MESSAGE_MAX, PATTERNS, Handshake, KeyPair, NoiseError

VECTORS = json.loads((Path(__file__).parent / "data" / "noise" / "cacophony.json").read_text())["vectors"]
NAMES = [
    f"Noise_{pattern}_25519_{cipher}" for pattern in PATTERNS for cipher in ("AESGCM_SHA256", "ChaChaPoly_BLAKE2s")
]
IK = "Noise_IK_25519_AESGCM_SHA256"
keys = st.binary(min_size=32, max_size=32).map(KeyPair)


def side(vector: dict[str, Any], which: str) -> Handshake:  # Any: JSON
    own = {name.removeprefix(which): value for name, value in vector.items() if name.startswith(which)}
    is_initiator = which == "init_"
    static, remote = own.get("static"), own.get("remote_static")
    return Handshake(
        vector["protocol_name"],
        is_initiator=is_initiator,
        ephemeral=KeyPair(bytes.fromhex(own["ephemeral"])) if "ephemeral" in own else None,
        static=None if static is None else KeyPair(bytes.fromhex(static)),
        remote=None if remote is None else bytes.fromhex(remote),
        prologue=bytes.fromhex(own["prologue"]),
        psk=bytes.fromhex("".join(own.get("psks", []))),
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["protocol_name"])
def test_public_vectors_are_written_and_read(vector: dict[str, Any]) -> None:  # Any: JSON
    initiator, responder = side(vector, "init_"), side(vector, "resp_")
    writer, reader = initiator, responder
    messages = iter(vector["messages"])
    while not initiator.is_done:
        message = next(messages)
        assert writer.write(bytes.fromhex(message["payload"])).hex() == message["ciphertext"]
        assert reader.read(bytes.fromhex(message["ciphertext"])).hex() == message["payload"]
        writer, reader = reader, writer
    assert initiator.transcript == responder.transcript
    assert initiator.transcript.hex() == vector["handshake_hash"]
    (sends, answers), (hears, replies) = initiator.split(), responder.split()
    is_one_way = len(PATTERNS[vector["protocol_name"].split("_")[1].split("psk")[0]].messages) == 1
    is_initiators_turn = is_one_way or writer is initiator
    for message in messages:
        sealed = bytes.fromhex(message["ciphertext"])
        seal, open_ = (sends, hears) if is_initiators_turn else (replies, answers)
        assert seal.encrypt(b"", bytes.fromhex(message["payload"])) == sealed
        assert open_.decrypt(b"", sealed).hex() == message["payload"]
        is_initiators_turn = is_one_way or not is_initiators_turn


@pytest.mark.parametrize("name", NAMES)
@given(own=keys, peer=keys, ephemeral=keys, payload=st.binary(max_size=200), is_initiator=st.booleans())
def test_the_other_implementation_understands(
    name: str, own: KeyPair, peer: KeyPair, ephemeral: KeyPair, payload: bytes, is_initiator: bool
) -> None:
    pattern = PATTERNS[name.split("_")[1]]
    own_known, peer_known = pattern.initiator_is_known, pattern.responder_is_known
    if not is_initiator:
        own_known, peer_known = peer_known, own_known
    ours = Handshake(
        name,
        is_initiator=is_initiator,
        ephemeral=ephemeral,
        static=own,
        remote=peer.public if peer_known else None,
        prologue=payload,
    )
    theirs = NoiseConnection.from_name(name.encode())
    (theirs.set_as_responder if is_initiator else theirs.set_as_initiator)()
    theirs.set_prologue(payload)
    theirs.set_keypair_from_private_bytes(Keypair.STATIC, peer._private.private_bytes_raw())
    if own_known:
        theirs.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, own.public)
    theirs.start_handshake()
    is_our_turn = is_initiator
    while not ours.is_done:
        if is_our_turn:
            assert bytes(theirs.read_message(ours.write(payload))) == payload
        else:
            assert ours.read(bytes(theirs.write_message(payload))) == payload
        is_our_turn = not is_our_turn
    assert ours.transcript == theirs.get_handshake_hash()


def pair(own: KeyPair, peer: KeyPair, *, knows: KeyPair | None = None) -> tuple[Handshake, Handshake]:
    first, second = KeyPair(b"\x01" * 32), KeyPair(b"\x02" * 32)
    remote = (knows or peer).public
    return (
        Handshake(IK, is_initiator=True, ephemeral=first, static=own, remote=remote),
        Handshake(IK, is_initiator=False, ephemeral=second, static=peer),
    )


@given(own=keys, peer=keys, at=st.integers(0), flip=st.integers(1, 255))
def test_a_changed_byte_ends_it(own: KeyPair, peer: KeyPair, at: int, flip: int) -> None:
    initiator, responder = pair(own, peer)
    message = bytearray(initiator.write(b"who I am"))
    at %= len(message)
    message[at] ^= flip
    # X25519 ignores the highest bit of a public key, but the transcript does not: nothing opens
    with pytest.raises(NoiseError):
        responder.read(bytes(message))


@given(own=keys, peer=keys, length=st.integers(0, 103))
def test_a_cut_message_ends_it(own: KeyPair, peer: KeyPair, length: int) -> None:
    initiator, responder = pair(own, peer)
    with pytest.raises(NoiseError):
        responder.read(initiator.write(b"who I am")[:length])


@given(own=keys, peer=keys, other=keys)
def test_a_message_to_another_is_not_read(own: KeyPair, peer: KeyPair, other: KeyPair) -> None:
    initiator, responder = pair(own, peer, knows=other)
    if other.public == peer.public:
        return
    with pytest.raises(NoiseError):
        responder.read(initiator.write())


def test_a_key_of_small_order_is_refused() -> None:
    _, responder = pair(KeyPair(b"\x03" * 32), KeyPair(b"\x04" * 32))
    with pytest.raises(NoiseError, match="no secret"):
        responder.read(bytes(96))


def test_both_sides_derive_the_same_once_they_have_said_the_same() -> None:
    initiator, responder = pair(KeyPair(b"\x03" * 32), KeyPair(b"\x04" * 32))
    responder.read(initiator.write(b"first"))
    early = initiator.derive(b"early", 44)
    assert (len(early), responder.derive(b"early", 44)) == (44, early)
    assert initiator.derive(b"other", 44) != early
    initiator.read(responder.write())
    late = initiator.derive(b"early", 100)
    assert (len(late), responder.derive(b"early", 100)) == (100, late)
    assert late[:44] != early


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Noise_IK_448_AESGCM_SHA256", "allowed is Noise_PATTERN_25519"),
        ("Noise_IK_25519_AESGCM_SHA512", "allowed is Noise_PATTERN_25519"),
        ("Noise_NX_25519_AESGCM_SHA256", "allowed patterns"),
        ("Noise_IKpsk4_25519_AESGCM_SHA256", "beyond the last message"),
        ("Noise_IKpskx_25519_AESGCM_SHA256", "beyond the last message"),
        ("Noise_IKpsk1_25519_AESGCM_SHA256", "pre-shared key of 32 bytes"),
        ("Noise_XX_25519_AESGCM_SHA256", "not taken"),
        ("", "allowed is Noise_PATTERN_25519"),
    ],
)
def test_a_wrong_name_or_key_is_refused_with_the_reason(name: str, reason: str) -> None:
    key = KeyPair(b"\x05" * 32)
    with pytest.raises(ValueError, match=reason):
        Handshake(name, is_initiator=True, ephemeral=key, static=key, remote=key.public)


def test_a_missing_static_key_is_refused() -> None:
    key = KeyPair(b"\x05" * 32)
    with pytest.raises(ValueError, match="static key of its own"):
        Handshake(IK, is_initiator=True, ephemeral=key, remote=key.public)


def test_a_missing_ephemeral_key_is_refused() -> None:
    key = KeyPair(b"\x05" * 32)
    with pytest.raises(ValueError, match="ephemeral"):
        Handshake(IK, is_initiator=True, static=key, remote=key.public)


def test_a_message_that_is_too_long_is_refused() -> None:
    _, responder = pair(KeyPair(b"\x03" * 32), KeyPair(b"\x04" * 32))
    with pytest.raises(NoiseError, match="longer"):
        responder.read(bytes(MESSAGE_MAX + 1))
