"""The audit log: every change that a person with the file could make is seen, and the power may go at any byte."""

import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from edge_agent.security.audit import AuditError, AuditLog, Head, entries, verify

ACTS = [
    {"who": "Li Wei", "where": "page", "act": "confirm", "about": "kit-7:0:12"},
    {"who": "Ops", "where": "api", "act": "order", "about": "all", "text": "撤离到 B 点"},
    {"who": "Ops", "where": "page", "act": "close", "about": "kit-7:0:12"},
    {"who": "", "where": "cli", "act": "profile", "profile": "quiet"},
]


def written(folder: Path, count: int = 4) -> Path:
    log = AuditLog(folder / "audit.jsonl", "command-1")
    for number in range(count):
        log.write(1_000 + number, ACTS[number % len(ACTS)])
    log.close()
    return folder / "audit.jsonl"


def test_it_holds_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = written(tmp_path)
    log = AuditLog(path, "command-1")
    assert log.head == verify(path, "command-1")
    head = log.write(2_000, ACTS[0])
    assert (head.lines, verify(path, "command-1")) == (5, head)
    assert [each["at_ms"] for each in entries(path)] == [1_000, 1_001, 1_002, 1_003, 2_000]
    assert [each["act"] for each in entries(path)][:4] == [act["act"] for act in ACTS]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    log.close()


@settings(deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_seen(tmp_path_factory: pytest.TempPathFactory, data: DataObject) -> None:
    path = written(tmp_path_factory.mktemp("audit"))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 2))  # the last newline: a half line
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    head = verify_or_none(path)
    assert head is None


def test_another_writing_of_the_same_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path)
    *rest, last = path.read_bytes().splitlines(keepends=True)
    plain, chain = last.split(b',"chain":')
    path.write_bytes(b"".join([*rest, plain, b',"chain":', chain.upper()]))
    with pytest.raises(AuditError, match="line 4 does not follow"):
        verify(path, "command-1")


def verify_or_none(path: Path) -> Head | None:
    try:
        return verify(path, "command-1")
    except AuditError:
        return None


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_line_that_is_left_out_is_seen(tmp_path: Path, gone: int) -> None:
    path = written(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
    with pytest.raises(AuditError, match=f"line {gone + 1} does not follow"):
        verify(path, "command-1")
    with pytest.raises(AuditError, match=f"line {gone + 1} does not follow"):
        AuditLog(path, "command-1")


def test_lines_that_change_places_or_come_from_another_node_are_seen(tmp_path: Path) -> None:
    path = written(tmp_path)
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *rest]))
    with pytest.raises(AuditError, match="line 1 does not follow"):
        verify(path, "command-1")
    path.write_bytes(b"".join([first, second, *rest]))
    with pytest.raises(AuditError, match="line 1 does not follow"):
        verify(path, "command-2")


def test_an_end_that_is_missing_or_written_anew_is_seen_by_who_knows_a_head(tmp_path: Path) -> None:
    path = written(tmp_path)
    known = Head.parse(str(verify(path, "command-1")))
    assert verify(path, "command-1", known=known) == known
    kept = path.read_bytes().splitlines(keepends=True)[:2]
    path.write_bytes(b"".join(kept))
    with pytest.raises(AuditError, match="ends with line 2, but line 4 was known"):
        verify(path, "command-1", known=known)
    log = AuditLog(path, "command-1")
    for number in range(3):
        log.write(9_000 + number, {"act": "forged"})
    log.close()
    assert verify(path, "command-1").lines == 5
    with pytest.raises(AuditError, match="line 4 is another one than was known"):
        verify(path, "command-1", known=known)


def test_the_power_may_go_at_any_byte(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    before = whole.rindex(b"\n", 0, -1) + 1
    for length in range(before, len(whole)):
        path.write_bytes(whole[:length])
        assert verify(path, "command-1").lines == 3
        log = AuditLog(path, "command-1")
        assert log.write(5_000, ACTS[0]).lines == 4
        log.close()
        assert verify(path, "command-1").lines == 4


def test_an_entry_that_is_too_long_and_a_path_that_is_none_are_refused(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl", "command-1")
    with pytest.raises(AuditError, match="allowed are 4096"):
        log.write(0, {"text": "x" * 5000})
    assert log.write(0, ACTS[0]).lines == 1
    log.close()
    for path in (tmp_path, tmp_path / "missing" / "audit.jsonl"):
        with pytest.raises(AuditError):
            AuditLog(path, "command-1")
        with pytest.raises(AuditError):
            verify(path, "command-1")


@pytest.mark.parametrize("text", ["", "4", "4:zz", "-1:" + "00" * 32, "4:00", "x:" + "00" * 32])
def test_a_head_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Head.parse(text)
