"""A kit's page remembers what it said it would, over restarts, damage and its own bounds."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.kit_memory import DATABASE_NAME, HeldPhrase, KitMemory, KitOrder, PageMemoryError, SosRecord


async def test_what_is_kept_and_what_is_forgotten_outlive_a_restart(tmp_path: Path) -> None:
    memory = KitMemory(tmp_path)
    phrases = [HeldPhrase(id=f"phrase-{n}", at_ms=n, phrase="road_cut", position=b"\x80") for n in range(3)]
    for phrase in phrases:
        await memory.keep(phrase)
    record = SosRecord(id="kit-1~1", at_ms=5, undo_until_ms=10_005)
    await memory.keep(record)
    record.confirmed = {"by": "王敏", "at_ms": 9, "reason": ""}
    await memory.keep(record, stream="ab/sos.confirm", position=17)
    await memory.forget(phrases[1])
    again = KitMemory(tmp_path)
    assert again.all(HeldPhrase) == [phrases[0], phrases[2]]
    assert again.all(SosRecord) == [record]
    assert (again.applied_position("ab/sos.confirm"), again.applied_position("ab/order")) == (17, 0)
    await again.pass_by("ab/order", 3)
    assert KitMemory(tmp_path).applied_position("ab/order") == 3


async def test_only_the_newest_of_a_kind_are_kept(tmp_path: Path) -> None:
    memory = KitMemory(tmp_path)
    for n in range(SosRecord.KEPT + 3):
        await memory.keep(SosRecord(id=f"kit-1~{n}", at_ms=n))
    for found in (memory, KitMemory(tmp_path)):
        assert [each.at_ms for each in found.all(SosRecord)] == list(range(3, SosRecord.KEPT + 3))


async def test_what_came_last_is_kept_whatever_the_clock_says(tmp_path: Path) -> None:
    """A call raised while the clock is in 1970 is newer than all of last year's."""
    memory = KitMemory(tmp_path)
    for n in range(SosRecord.KEPT + 3):
        await memory.keep(SosRecord(id=f"kit-1~{n}", at_ms=1_763_745_000_000 + n))
    await memory.keep(SosRecord(id="kit-1~last", at_ms=5))
    for found in (memory, KitMemory(tmp_path)):
        assert found.all(SosRecord)[-1].id == "kit-1~last"
        assert len(found.all(SosRecord)) == SosRecord.KEPT


async def test_fields_of_another_version_are_left_out(tmp_path: Path) -> None:
    memory = KitMemory(tmp_path)
    order = KitOrder(id="command~1", at_ms=1, text="撤")
    assert KitOrder.from_document({"id": "command~1", "at_ms": 1, "text": "撤", "colour": "red"}) == order
    await memory.keep(replace(order, by="王敏"))
    kept = KitMemory(tmp_path).get(KitOrder, "command~1")
    assert kept is not None
    assert (kept.by, kept.answer) == ("王敏", "")


def set_aside(folder: Path) -> list[bytes]:
    """What lies in the files that were set aside."""
    return [each.read_bytes() for each in folder.glob("*.damaged*")]


@pytest.mark.parametrize("content", [b"not a database" * 400, b"SQLite format 3\x00" + b"\x07" * 9000])
async def test_a_damaged_file_is_set_aside_and_never_deleted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / DATABASE_NAME
    for number in (1, 2):
        path.write_bytes(content)
        memory = KitMemory(tmp_path)
        await memory.keep(SosRecord(id="kit-1~1"))
        memory.close()
        assert set_aside(tmp_path) == [content] * number


async def test_a_memory_that_cannot_be_written_says_so_and_can_be_again(tmp_path: Path) -> None:
    memory = KitMemory(tmp_path)
    await memory.keep(SosRecord(id="kit-1~1"))
    other = sqlite3.connect(tmp_path / DATABASE_NAME, isolation_level=None, timeout=0)
    memory._documents._database.execute("pragma busy_timeout = 0")
    other.execute("begin immediate")
    with pytest.raises(PageMemoryError, match=r"page\.db: database is locked"):
        await memory.keep(SosRecord(id="kit-1~2"))
    other.execute("rollback")
    other.close()
    await memory.keep(SosRecord(id="kit-1~3"))
    memory.close()
    assert {each.id for each in KitMemory(tmp_path).all(SosRecord)} == {"kit-1~1", "kit-1~3"}


async def test_a_file_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    obstacle = tmp_path / DATABASE_NAME
    obstacle.mkdir()
    memory = KitMemory(tmp_path)
    record = SosRecord(id="kit-1~1")
    with pytest.raises(PageMemoryError, match=r"page\.db: unable to open database file"):
        await memory.keep(record)
    assert memory.all(SosRecord) == [record]  # shown, though a restart would have to find it in the store
    obstacle.rmdir()
    await memory.keep(record)
    memory.close()
    assert KitMemory(tmp_path).all(SosRecord) == [record]
