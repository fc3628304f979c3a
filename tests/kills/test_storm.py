"""Kills at random moments, judged by a ledger outside both processes: nothing accepted is lost, nothing comes twice."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kills.ledger import KillLedger
from tests.kills.storm import run_storm
from tests.planted import copy_tree, plant

pytestmark = pytest.mark.slow

KILLS = 25
PLANTED_STORMS = 6
"""A fault needs a kill at its moment, and kills fall by the clock: on a busy machine one storm of 26 kills met none."""


def test_the_ledger_names_what_is_lost_doubled_or_changed() -> None:
    ledger = KillLedger()
    for name in ("a", "b", "c", "d"):
        ledger.attempt(name.encode())
        ledger.answer(name, name.encode())
    ledger.hear("a", 1, b"a", redelivered=False)
    ledger.hear("a", 1, b"a", redelivered=True)  # the consumer died before it acknowledged: allowed, and said
    assert ledger.breaches == []
    ledger.hear("a", 1, b"a", redelivered=False)
    ledger.hear("b", 2, b"b", redelivered=False)
    ledger.hear("b", 3, b"b", redelivered=True)
    ledger.hear("c", 4, b"d", redelivered=False)
    ledger.close()
    assert [breach[0] for breach in ledger.breaches] == ["a", "b", "c", "d"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
async def test_kills_lose_nothing_and_double_nothing(seed: int) -> None:
    outcome = await run_storm(seed, KILLS)
    print(outcome)
    assert outcome.breaches == []
    assert outcome.kills >= KILLS
    assert outcome.answered > 10 * KILLS


def answers_before_commit(tree: Path) -> None:
    plant(
        tree,
        "edge_agent/disk/writer.py",
        ('            database.execute("COMMIT")\n', ""),
        ("        self.answers.give(outcomes, calls)\n        return None\n",
         "        self.answers.give(outcomes, calls)\n        time.sleep(0.02)\n"
         '        database.execute("COMMIT")\n        return None\n'),
    )  # fmt: skip


def closed_numbers_forgotten(tree: Path) -> None:
    plant(tree, "edge_agent/disk/schema.py", ("CREATE UNIQUE INDEX bundle_ids", "CREATE INDEX bundle_ids"))
    plant(tree, "edge_agent/disk/opening.py", ("        seen=rows.seen_by_name(),\n", "        seen=(),\n"))
    plant(
        tree,
        "edge_agent/disk/seen.py",
        (
            "        tail = self._tail(key)\n        return self._row_has",
            "        return False\n        tail = self._tail(key)\n        return self._row_has",
        ),
        (
            "        if not tail.numbers.add(sequence, sequence + 1):\n            return False\n",
            "        tail.numbers.add(sequence, sequence + 1)\n",
        ),
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", [answers_before_commit, closed_numbers_forgotten])
async def test_the_storm_finds_a_planted_fault(tmp_path: Path, fault: Callable[[Path], None]) -> None:
    tree = copy_tree(tmp_path)
    fault(tree)
    for seed in range(1, 1 + PLANTED_STORMS):
        outcome = await run_storm(seed, KILLS, tree)
        print(outcome)
        if outcome.breaches:
            return
    pytest.fail(f"{PLANTED_STORMS} storms did not find it")
