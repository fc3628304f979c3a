"""The secret's file: what is read, what is refused, and that the refusal never shows the secret."""

import base64
import os
import stat
from pathlib import Path

import pytest

from edge_agent.security.secret_file import SecretFileError, create_secret, load_secret

SECRET = bytes(range(32))


def written(path: Path, text: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text)
    path.chmod(mode)
    return path


def test_a_created_secret_is_private_random_and_loads(tmp_path: Path) -> None:
    old_mask = os.umask(0)
    try:
        first, second = create_secret(tmp_path / "a"), create_secret(tmp_path / "b")
    finally:
        os.umask(old_mask)
    assert first != second
    assert load_secret(tmp_path / "a") == first
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_secret_is_never_overwritten(tmp_path: Path) -> None:
    kept = create_secret(tmp_path / "secret.key")
    with pytest.raises(SecretFileError, match=r"secret\.key exists and is not overwritten"):
        create_secret(tmp_path / "secret.key")
    assert load_secret(tmp_path / "secret.key") == kept


@pytest.mark.parametrize(
    "text", [SECRET.hex().encode(), SECRET.hex().upper().encode() + b"\n", base64.b64encode(SECRET)]
)
def test_hex_and_base64_are_read(tmp_path: Path, text: bytes) -> None:
    assert load_secret(written(tmp_path / "k", text)) == SECRET


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o700, 0o666])
def test_a_file_others_may_touch_is_refused_with_its_mode(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "k", SECRET.hex().encode(), mode)
    with pytest.raises(SecretFileError, match=rf"/k has mode {mode:04o}: allowed is 0600 or 0400"):
        load_secret(path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"short",
        SECRET,
        base64.b64encode(SECRET[:31]),
        SECRET.hex().encode()[:-1] + b"g",
        b"A" * 4096,
        b"\xff" * 64,
    ],
)
def test_a_malformed_secret_is_refused_without_showing_it(tmp_path: Path, text: bytes) -> None:
    path = written(tmp_path / "k", text)
    with pytest.raises(SecretFileError, match=r"are not 32 bytes in base64 or hexadecimal") as caught:
        load_secret(path)
    assert len(text) < 5 or text.decode(errors="replace") not in str(caught.value)


def test_a_missing_file_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretFileError, match=r"absent\.key: No such file or directory"):
        load_secret(tmp_path / "absent.key")
    with pytest.raises(SecretFileError, match=r"is not a regular file|Is a directory"):
        load_secret(tmp_path)
