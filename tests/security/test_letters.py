"""Letters that people compare and type, and the recovery key made of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.security.letters import from_letters, in_groups, to_letters
from edge_agent.security.recovery_key import RecoveryKeyError, read_back, write_down


@given(st.binary(max_size=300), st.booleans())
def test_bytes_come_back_however_they_are_typed(data: bytes, is_sloppy: bool) -> None:
    text = in_groups(to_letters(data))
    if is_sloppy:
        text = text.lower().replace("0", "o").replace("1", "l").replace("-", " \n")
    assert from_letters(text) == data


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("AB!D", r'letter 3 \(group 1\): "!" is none of'),
        ("ABCDU", r'letter 5 \(group 2\): "U"'),
        ("A", "missing or too many"),
        ("AB1", "missing or too many"),  # 15 bits: one byte and seven left over
        ("ZZ", "missing or too many"),  # the two spare bits are not zero
    ],
)
def test_what_is_no_letter_is_named(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        from_letters(text)


@given(st.binary(min_size=32, max_size=32))
def test_a_recovery_key_has_fourteen_groups_of_four_and_comes_back(key: bytes) -> None:
    text = write_down(key)
    assert [len(group) for group in text.split("-")] == [4] * 14
    assert read_back(text) == key


@given(st.binary(min_size=32, max_size=32), st.integers(0, 55), st.integers(1, 31))
def test_one_wrong_letter_is_noticed(key: bytes, place: int, shift: int) -> None:
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    letters = write_down(key).replace("-", "")
    wrong = alphabet[(alphabet.index(letters[place]) + shift) % 32]
    with pytest.raises(RecoveryKeyError, match="check at its end"):
        read_back(letters[:place] + wrong + letters[place + 1 :])


@pytest.mark.parametrize("text", ["", "ABCD-EFG0", write_down(bytes(32)) + "-0000"])
def test_a_recovery_key_of_another_length_is_refused(text: str) -> None:
    with pytest.raises(RecoveryKeyError, match="fourteen groups"):
        read_back(text)
