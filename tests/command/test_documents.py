"""A page's memory: a delivery's effect and its position are kept together, whenever the process is killed."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.command.documents import DocumentKey, Documents, NewerMemoryError, open_documents

_WRITER = """
import sys
from pathlib import Path
from edge_agent.command.documents import DocumentKey, Documents
documents = Documents(Path(sys.argv[1]))
position = documents.applied_position("aa")
while True:
    position += 1
    documents.save({DocumentKey("n", "last"): {"position": position}}, "aa", position)
    print(position, flush=True)
"""


def test_what_was_saved_is_there_after_closing(tmp_path: Path) -> None:
    """The newest content of each document; removed ones are gone; each store has a position of its own."""
    documents = Documents(tmp_path / "page.db")
    documents.save({DocumentKey("a", "1"): {"x": [1, None, "值"]}, DocumentKey("a", "2"): {}}, "aa", 5)
    documents.save({DocumentKey("a", "2"): None}, "bb", 9)
    documents.close()
    again = Documents(tmp_path / "page.db")
    assert again.load() == {DocumentKey("a", "1"): {"x": [1, None, "值"]}}
    assert [again.applied_position(each) for each in ("aa", "bb", "cc")] == [5, 9, 0]
    again.close()


def test_a_save_that_failed_changes_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    """Neither what cannot be packed nor a disk that refuses leaves a transaction open behind it."""
    path = tmp_path / "page.db"
    documents = Documents(path)
    key, other = DocumentKey("lists", "all"), DocumentKey("lists", "other")
    with pytest.raises(ValueError, match="surrogates"):
        documents.save({key: {"duty": "\ud800"}}, "aa", 1)
    with closing(sqlite3.connect(path)) as disk:
        disk.execute("create trigger full before insert on applied begin select raise(fail, 'disk is full'); end")
        with pytest.raises(sqlite3.Error, match="disk is full"):
            documents.save({other: {}}, "aa", 2)
        disk.execute("drop trigger full")
    documents.save({key: {"duty": "王敏"}}, "aa", 3)
    assert documents.load() == {key: {"duty": "王敏"}}
    assert documents.applied_position("aa") == 3
    documents.close()


def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    """The page comes up; what was there is still there for whoever can read it."""
    path = tmp_path / "page.db"
    path.write_bytes(b"not a database" * 100)
    documents = open_documents(path)
    assert documents.load() == {}
    documents.close()
    assert [each.read_bytes()[:14] for each in tmp_path.glob("page.db.damaged-*")] == [b"not a database"]


def test_a_file_of_a_newer_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "page.db"
    open_documents(path).close()
    with closing(sqlite3.connect(path)) as disk:
        disk.execute("pragma user_version = 2")
    before = path.read_bytes()
    with pytest.raises(NewerMemoryError, match=r"page\.db has version 2, this program knows up to 1"):
        open_documents(path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.damaged-*"))


def test_a_file_older_than_its_version_number_is_read(tmp_path: Path) -> None:
    path, key = tmp_path / "page.db", DocumentKey("lists", "all")
    documents = open_documents(path)
    documents.save({key: {"duty": "王敏"}}, "aa", 3)
    documents.close()
    with closing(sqlite3.connect(path)) as disk:
        disk.execute("pragma user_version = 0")
    documents = open_documents(path)
    assert documents.load() == {key: {"duty": "王敏"}}
    documents.close()
    with closing(sqlite3.connect(path)) as disk:
        assert disk.execute("pragma user_version").fetchone() == (1,)


@pytest.mark.slow
def test_effect_and_position_stay_together_over_kill_9(tmp_path: Path) -> None:
    """Every position that was answered is there, with the document of the same transaction."""
    path = tmp_path / "page.db"
    said = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(20):
                said = int(writer.stdout.readline())
            writer.kill()
            said = max([said, *map(int, writer.stdout.read().split())])
        documents = Documents(path)
        position = documents.applied_position("aa")
        assert position >= said > 0
        assert documents.load()[DocumentKey("n", "last")] == {"position": position}
        documents.close()
