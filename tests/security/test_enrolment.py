"""Enrolment by text: the whole way, and everything that people may carry to the wrong place or damage."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.security import authority as authority_module
from edge_agent.security.authority import SERIALS_SINCE_S, Authority
from edge_agent.security.certificate import Certificate
from edge_agent.security.enrolment import (
    ANSWER_WORD,
    REQUEST_WORD,
    EnrolmentError,
    Request,
    answer,
    authority_letters,
    from_text,
    take_answer,
    to_text,
)
from edge_agent.security.identity import Identity, load_identity, load_or_create_identity
from edge_agent.security.noise import KeyPair
from edge_agent.security.secret_file import SecretFileError

NOW_S = SERIALS_SINCE_S + 28_000_000
KIT = Identity(b"\x11" * 32)
NETWORK_KEY = b"\x55" * 32


def ask(identity: Identity = KIT, nonce: bytes = b"\x01" * 8, node_id: str = "kit-7") -> Request:
    return Request.ask(identity, node_id=node_id, role="kit", number=7, nonce=nonce)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    monkeypatch.setattr(authority_module, "SCRYPT_N", 1 << 4)
    return Authority.create(tmp_path / "authority", "Fire brigade 12", "correct horse battery")[0]


def certified(authority: Authority, request: Request) -> Certificate:
    return authority.issue(
        node_id=request.node_id,
        role=request.role,
        sign_key=request.sign_key,
        agree_key=request.agree_key,
        wish=request.number,
        now_s=NOW_S,
        valid_s=86_400,
    )


def answered(authority: Authority, request: Request) -> bytes:
    post = certified(authority, ask(Identity(b"\x22" * 32), node_id="command-1"))
    return answer(authority, request, certified(authority, request), [post], NETWORK_KEY, KeyPair(b"\x77" * 32))


def test_a_kit_is_enrolled_by_two_texts(authority: Authority) -> None:
    request = ask()
    carried = to_text(REQUEST_WORD, request.to_bytes())
    read = Request.parse(from_text(REQUEST_WORD, carried))
    assert (read, read.letters) == (request, request.letters)
    back = to_text(ANSWER_WORD, answered(authority, read))
    enrolment = take_answer(KIT, request, from_text(ANSWER_WORD, back))
    assert enrolment.certificate.node_id == "kit-7"
    assert enrolment.certificate.sign_key == KIT.sign_key
    assert [each.node_id for each in enrolment.commands] == ["command-1"]
    assert (enrolment.authority_name, enrolment.network_key) == ("Fire brigade 12", NETWORK_KEY)
    assert enrolment.authority_letters == authority_letters(authority.public_key)
    assert len(enrolment.authority_letters) == len(request.letters) == len("ABCD-EFGH")


@given(st.integers(0), st.integers(1, 255))
def test_a_request_with_any_changed_byte_is_refused(at: int, flip: int) -> None:
    data = bytearray(ask().to_bytes())
    data[at % len(data)] ^= flip
    with pytest.raises(EnrolmentError):
        Request.parse(bytes(data))


@given(st.binary(max_size=400))
def test_foreign_bytes_are_no_request(data: bytes) -> None:
    with pytest.raises(EnrolmentError):
        Request.parse(data)


def test_a_request_in_the_name_of_anothers_keys_is_refused() -> None:
    own, other = ask(), Identity(b"\x33" * 32)
    body = own.to_bytes()[:-64].replace(KIT.sign_key, other.sign_key)
    with pytest.raises(EnrolmentError, match="not signed by who it says"):
        Request.parse(body + own.signature)


def test_an_answer_with_any_changed_byte_is_refused(authority: Authority) -> None:
    request = ask()
    data = answered(authority, request)
    for at in range(len(data)):
        with pytest.raises(EnrolmentError, match="not to this node, or damaged"):
            take_answer(KIT, request, data[:at] + bytes((data[at] ^ 0x40,)) + data[at + 1 :])


def test_an_answer_at_the_wrong_node_or_to_an_older_request_is_refused(authority: Authority) -> None:
    request = ask()
    data = answered(authority, request)
    with pytest.raises(EnrolmentError, match="not to this node"):
        take_answer(Identity(b"\x12" * 32), request, data)
    with pytest.raises(EnrolmentError, match="another request of this node"):
        take_answer(KIT, ask(nonce=b"\x02" * 8), data)


def test_an_answer_with_anothers_certificate_is_refused(authority: Authority) -> None:
    request = ask()
    other = certified(authority, ask(Identity(b"\x33" * 32), node_id="kit-8"))
    data = answer(authority, request, other, [], NETWORK_KEY, KeyPair(b"\x77" * 32))
    with pytest.raises(EnrolmentError, match=r"for other keys \(kit-8\)"):
        take_answer(KIT, request, data)


def test_an_answer_with_a_strangers_certificate_is_refused(authority: Authority, tmp_path: Path) -> None:
    stranger, _ = Authority.create(tmp_path / "stranger", "B", "correct horse battery")
    request = ask()
    data = answer(authority, request, certified(stranger, request), [], NETWORK_KEY, KeyPair(b"\x77" * 32))
    with pytest.raises(EnrolmentError, match="its authority is another one"):
        take_answer(KIT, request, data)


def test_text_that_people_broke_is_read_and_other_text_is_named() -> None:
    text = to_text(REQUEST_WORD, ask().to_bytes())
    broken = "\n".join(text[at : at + 40] for at in range(0, len(text), 40)).lower()
    assert Request.parse(from_text(REQUEST_WORD, broken)) == ask()
    with pytest.raises(EnrolmentError, match="begins with LIFELINE-ANSWER-1"):
        from_text(ANSWER_WORD, text)
    with pytest.raises(EnrolmentError, match='"!" is none of'):
        from_text(REQUEST_WORD, text + "!")


def test_an_identity_stays_and_is_its_owners(tmp_path: Path) -> None:
    first = load_or_create_identity(tmp_path)
    assert load_or_create_identity(tmp_path).sign_key == first.sign_key == load_identity(tmp_path).sign_key
    assert first.sign_key != first.agree.public
    (tmp_path / "identity.key").chmod(0o644)
    with pytest.raises(SecretFileError, match="0600"):
        load_identity(tmp_path)
