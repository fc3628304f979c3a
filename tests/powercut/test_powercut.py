"""Power cut at random points: what was promised is on disk, whatever was not synced is lost, torn or out of order."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.planted import copy_tree, plant
from tests.powercut.cut import cut_power
from tests.powercut.journal import ROOT, Journal, Link, Resize, Said, Sync, SyncFolder, Unlink, Write
from tests.powercut.proof import prove

pytestmark = pytest.mark.slow

CUTS = 40
FAILING_CUTS = 10
CUTS_TO_FIND = 200  # at most, for a planted fault


def made_journal() -> Journal:
    journal = Journal()
    for entry in (
        Link(ROOT, "a", 1), Write(1, 0, b"x" * 2_000), Sync(1), SyncFolder(ROOT), Said("first"),
        Link(ROOT, "b", 1, "a"), Write(1, 1_000, b"y" * 2_000), Resize(1, 2_500), Unlink(ROOT, "b"), Said("second"),
    ):  # fmt: skip
        journal.note(entry)
    return journal


def test_what_was_synced_is_there_and_the_rest_is_anything_between() -> None:
    journal, seen = made_journal(), set()
    for seed in range(300):
        disk = cut_power(journal, 10, random.Random(seed))
        assert disk.promises == ["first", "second"]
        assert disk.contents[1][:1_000] == b"x" * 1_000
        assert set(disk.names[ROOT]) in ({"a"}, {"b"}, set())
        assert disk.unsynced == 4
        seen.add((tuple(disk.names[ROOT]), len(disk.contents[1]), bytes(disk.contents[1][1_024:1_536])[:1]))
    assert len(seen) > 8, "chance is to leave many different disks"


def test_nothing_is_synced_before_its_sync() -> None:
    disks = [cut_power(made_journal(), 2, random.Random(seed)) for seed in range(50)]
    assert {tuple(disk.names[ROOT]) for disk in disks} == {("a",), ()}
    assert {bytes(disk.contents.get(1, b"")) for disk in disks} >= {b"", b"x" * 2_000}


def test_a_cut_lays_out_the_same_disk_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        cut_power(made_journal(), 9, random.Random(3)).lay_out(tmp_path / name)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two


def test_no_promise_is_broken_by_power_cuts() -> None:
    outcome = prove(1, CUTS)
    print(outcome)
    assert outcome.breaches == []
    assert outcome.cuts == CUTS
    assert outcome.promises > 20 * CUTS
    assert outcome.unsynced > CUTS


def test_no_promise_is_broken_when_the_disk_fails_now_and_then() -> None:
    outcome = prove(2, FAILING_CUTS, failing_ratio=0.01)
    print(outcome)
    assert outcome.breaches == []
    assert outcome.cuts == FAILING_CUTS


def answers_before_commit(tree: Path) -> None:
    plant(
        tree,
        "edge_agent/disk/writer.py",
        ('            database.execute("COMMIT")\n', ""),
        ("        self.answers.give(outcomes, calls)\n        return None\n",
         "        self.answers.give(outcomes, calls)\n        time.sleep(0.005)\n"
         '        database.execute("COMMIT")\n        return None\n'),
    )  # fmt: skip


def payload_file_unsynced(tree: Path) -> None:
    plant(
        tree,
        "edge_agent/disk/files.py",
        ("        self.file_system.sync(self._descriptor(bundle))\n", "        pass\n"),
    )


def folder_unsynced(tree: Path) -> None:
    plant(
        tree,
        "edge_agent/disk/files.py",
        ("whole_path(bundle))\n        self.file_system.sync_folder(self.folder)\n", "whole_path(bundle))\n"),
        ("        if is_new:\n            self.file_system.sync_folder(self.folder)\n", ""),
    )


def closed_numbers_forgotten(tree: Path) -> None:
    plant(
        tree,
        "edge_agent/disk/opening.py",
        ("        seen=rows.seen_by_name(),\n", "        seen=(),\n"),
    )


def debts_forgotten(tree: Path) -> None:
    plant(tree, "edge_agent/disk/opening.py", (" + consumers.debts.told()", ""))


@pytest.mark.parametrize(
    "fault", [answers_before_commit, payload_file_unsynced, folder_unsynced, closed_numbers_forgotten, debts_forgotten]
)
def test_the_proof_finds_a_planted_fault(tmp_path: Path, fault: Callable[[Path], None]) -> None:
    tree = copy_tree(tmp_path)
    fault(tree)
    done = subprocess.run(
        [sys.executable, "-m", "tests.powercut", "1", str(CUTS_TO_FIND)],
        cwd=tree, capture_output=True, text=True, check=False, timeout=100, env={"PYTHONPATH": str(tree)},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr[-2000:]
    assert json.loads(done.stdout)["breaches"]
