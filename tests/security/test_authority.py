"""The authority's folder: made, opened, made anew from its recovery key, and cut off by the power at any byte."""

import base64
import json
import stat
from pathlib import Path

import pytest

from edge_agent.security import authority as module
from edge_agent.security.authority import SERIALS_SINCE_S, Authority, AuthorityError
from edge_agent.security.certificate import Certificate
from edge_agent.security.recovery_key import read_back

PASSPHRASE = "correct horse battery"
NOW_S = SERIALS_SINCE_S + 28_000_000


@pytest.fixture(autouse=True)
def quick_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCRYPT_N", 1 << 4)


def issue(authority: Authority, node_id: str = "kit-7", key: int = 1, wish: int = 0, now_s: int = NOW_S) -> Certificate:
    return authority.issue(
        node_id=node_id,
        role="kit",
        sign_key=bytes((key,)) * 32,
        agree_key=bytes((key + 100,)) * 32,
        wish=wish,
        now_s=now_s,
        valid_s=86_400,
    )


def test_what_it_issues_verifies_and_is_in_its_ledger_after_it_was_opened_again(tmp_path: Path) -> None:
    made, _ = Authority.create(tmp_path / "authority", "Fire brigade 12", PASSPHRASE)
    first, second = issue(made), issue(made, "kit-8", 2)
    opened = Authority.unlock(made.folder, PASSPHRASE)
    third = issue(opened, "kit-9", 3)
    for each in (first, second, third):
        each.verify(made.public_key)
    assert opened.name == "Fire brigade 12"
    assert opened.issued() == [first, second, third]
    assert first.serial < second.serial < third.serial
    assert (first.not_before_s, first.not_after_s) == (NOW_S, NOW_S + 86_400)


def test_numbers_are_as_wished_while_free_and_stay_with_their_node(tmp_path: Path) -> None:
    authority, _ = Authority.create(tmp_path / "authority", "A", PASSPHRASE)
    assert issue(authority, "kit-7", 1, wish=7).number == 7
    assert issue(authority, "kit-8", 2, wish=7).number == 1
    assert issue(authority, "kit-7", 3, wish=9).number == 7  # new keys, the same node
    with pytest.raises(AuthorityError, match="keys are those of kit-8"):
        issue(authority, "kit-9", 2)


def test_its_files_are_its_owners_and_hold_no_seed_in_clear(tmp_path: Path) -> None:
    authority, recovery = Authority.create(tmp_path / "authority", "A", PASSPHRASE)
    issue(authority)
    seed = read_back(recovery)
    for name in ("authority.key", "authority.json"):
        path = authority.folder / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert seed not in path.read_bytes()
        assert base64.b64encode(seed).decode() not in path.read_text()


def test_a_wrong_passphrase_a_short_one_and_a_folder_in_use_are_refused(tmp_path: Path) -> None:
    authority, _ = Authority.create(tmp_path / "authority", "A", PASSPHRASE)
    with pytest.raises(AuthorityError, match="wrong passphrase"):
        Authority.unlock(authority.folder, PASSPHRASE + "!")
    with pytest.raises(AuthorityError, match="12 and more"):
        Authority.create(tmp_path / "other", "A", "short")
    with pytest.raises(AuthorityError, match="not empty"):
        Authority.create(authority.folder, "A", PASSPHRASE)
    with pytest.raises(AuthorityError, match="No such file"):
        Authority.unlock(tmp_path / "nowhere", PASSPHRASE)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"n": 16, "salt": 3}', '{"n": 15, "salt": "", "nonce": "", "seed": ""}']
)
def test_a_damaged_key_file_is_named(tmp_path: Path, content: str) -> None:
    authority, _ = Authority.create(tmp_path / "authority", "A", PASSPHRASE)
    (authority.folder / "authority.key").write_text(content)
    with pytest.raises(AuthorityError, match=r"authority.key: (damaged|wrong passphrase)"):
        Authority.unlock(authority.folder, PASSPHRASE)


def test_one_made_anew_from_its_recovery_key_gives_no_serial_twice(tmp_path: Path) -> None:
    lost, recovery = Authority.create(tmp_path / "lost", "A", PASSPHRASE)
    before = [issue(lost, f"kit-{number}", number) for number in range(1, 20)]
    anew = Authority.recover(tmp_path / "anew", "A", "another passphrase", recovery)
    assert anew.public_key == lost.public_key
    later = issue(anew, "kit-1", 1, now_s=NOW_S + 3600)
    later.verify(lost.public_key)
    assert later.serial > max(each.serial for each in before)


def test_a_ledger_cut_off_at_any_byte_goes_on(tmp_path: Path) -> None:
    authority, _ = Authority.create(tmp_path / "authority", "A", PASSPHRASE)
    kept = issue(authority, "kit-7", 1)
    ledger = authority.folder / "ledger.jsonl"
    whole = ledger.read_bytes()
    issue(authority, "kit-8", 2)
    longer = ledger.read_bytes()
    for length in range(len(whole), len(longer)):
        ledger.write_bytes(longer[:length])
        assert authority.issued() == [kept]
    again = issue(authority, "kit-9", 3)
    assert authority.issued() == [kept, again]


def test_a_damaged_line_of_the_ledger_is_named(tmp_path: Path) -> None:
    authority, _ = Authority.create(tmp_path / "authority", "A", PASSPHRASE)
    issue(authority)
    ledger = authority.folder / "ledger.jsonl"
    ledger.write_text(ledger.read_text() + json.dumps({"certificate": "AAAA"}) + "\n")
    with pytest.raises(AuthorityError, match="line 2 is damaged"):
        issue(authority, "kit-8", 2)
