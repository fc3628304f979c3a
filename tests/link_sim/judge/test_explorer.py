"""The explorer finds planted faults, finds none in the core, replays what it finds, and goes on where it stopped."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.core.node import Node
from link_sim.judge import explorer
from link_sim.judge.explorer import (
    CHUNK_SEEDS,
    ExplorerStateError,
    SeedOutcome,
    StateFile,
    digest_of,
    explore,
    first_breach,
)
from link_sim.judge.faults import FaultKind
from link_sim.judge.link_trial import LinkTrial
from link_sim.judge.trial import BUNDLES_HZ, LEAST_DELIVERED_HZ, LEAST_FAULTS, Trial
from link_sim.nodes.door import NodeMaker
from tests.link_sim.judge import faulty_nodes

CHECK_SPAN_S = 20.0
CHUNK = 20


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, 101, CHUNK))
def test_a_hundred_seeds_hold(first: int) -> None:
    for seed in range(first, first + CHUNK):
        outcome = explore(seed, span_s=CHECK_SPAN_S)
        assert outcome.breach == ""
        assert outcome.delivered >= LEAST_DELIVERED_HZ * CHECK_SPAN_S
        assert outcome.faults >= LEAST_FAULTS
        assert outcome.restarts >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("faulty", "complaints"),
    [
        (faulty_nodes.AcknowledgesBeforeCommit, ("told to be in custody and never on disk",)),
        (faulty_nodes.CountsFragmentTwice, ("with another payload", "still wait")),
        (faulty_nodes.FlashComesLast, ("while FLASH waits",)),
        (faulty_nodes.GivesTooMuch, ("while a higher class was ready",)),
        (faulty_nodes.ForgetsTheBudget, ("the day has",)),
        (faulty_nodes.CancelsWhatHasLeft, ("told to be cancelled",)),
    ],
)
def test_a_planted_fault_is_found_within_two_hundred_seeds(faulty: NodeMaker, complaints: tuple[str, ...]) -> None:
    found = first_breach(range(1, 201), span_s=60.0, make_node=faulty)
    assert found is not None
    assert any(complaint in found.breach for complaint in complaints), found.breach
    assert explore(found.seed, span_s=60.0, make_node=faulty).breach == found.breach


@pytest.mark.slow
def test_a_seed_replays_exactly_and_another_is_another_world() -> None:
    digests = [explore(seed, span_s=20.0).digest for seed in (3, 3, 4)]
    assert digests[0] == digests[1] != digests[2]


def test_a_trial_has_what_a_seed_must_have() -> None:
    kinds = set()
    for seed in range(40):
        trial = Trial(seed, 600.0)
        kits = {node for node, _ in trial.links}
        assert len(kits) >= 2
        assert all(2 <= sum(node == kit for node, _ in trial.links) <= 3 for kit in kits)
        assert len(trial.faults) >= 10
        assert len(trial.restarts) >= 1
        assert all(fault.end_s < 600.0 for fault in trial.faults)
        kinds |= {fault.kind for fault in trial.faults}
    assert kinds == set(FaultKind)
    assert BUNDLES_HZ == 5.0


class SaysNothing(Node):
    """Takes every bundle and never sends a frame."""

    def poll_transmit(self, now_s: float) -> None:
        return None


def test_an_idle_world_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("link_sim.judge.trial.SETTLE_S", 10.0)
    outcome = explore(1, span_s=20.0, make_node=SaysNothing)
    assert outcome.delivered == 0
    assert "still wait" in outcome.breach


def test_few_deliveries_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("link_sim.judge.trial.LEAST_DELIVERED_HZ", 100.0)
    assert "prove nothing; at least 1000 are wanted" in explore(1, span_s=10.0).breach


def outcome_of(seed: int, breach: str = "") -> SeedOutcome:
    return SeedOutcome(
        seed=seed,
        span_s=10.0,
        delivered=50,
        frames=9,
        steps=9,
        faults=10,
        restarts=1,
        digest="d",
        breach=breach,
        cpu_s=1.0,
    )


def test_a_range_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    state = StateFile(path, revision="r1", span_s=10.0)
    state.add([outcome_of(1), outcome_of(2)])
    told: list[int] = []
    outcomes = explorer.go_on(range(1, 4), state, span_s=10.0, jobs=1, tell=lambda each: told.append(each.seed))
    assert told == [3]
    assert [outcome.seed for outcome in outcomes] == [1, 2, 3]
    assert [outcome.seed for outcome in state.read()] == [1, 2, 3]
    assert outcomes[0].digest == "d"


def test_a_line_that_was_torn_costs_its_own_seed_only(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    state = StateFile(path, revision="r1", span_s=10.0)
    state.add([outcome_of(1), outcome_of(2)])
    path.write_text(path.read_text()[:-20])
    assert [outcome.seed for outcome in state.read()] == [1]
    state.add([outcome_of(2), outcome_of(3)])
    assert [outcome.seed for outcome in state.read()] == [1, 2, 3]


def test_kill_in_the_middle_leaves_no_process_and_the_range_goes_on_to_the_same_digest(tmp_path: Path) -> None:
    path, seeds, span_s = tmp_path / "state.jsonl", range(1, 35), 2.0
    words = [sys.executable, "-m", "link_sim.judge.explorer", "--links", "--seeds", "1-34", "--span", f"{span_s:g}"]
    with subprocess.Popen([*words, "--jobs", "2", "--state", path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(CHUNK_SEEDS + 1):
            assert process.stdout.readline()
        process.kill()
        process.communicate(timeout=60)  # its workers hold the pipe, too: it ends with the last of them
    state = StateFile(path, revision="", span_s=span_s)
    known = [outcome.seed for outcome in state.read()]
    assert CHUNK_SEEDS <= len(known) < len(seeds)
    told: list[int] = []
    outcomes = explorer.go_on(
        seeds, state, span_s=span_s, jobs=1, tell=lambda each: told.append(each.seed), make_trial=LinkTrial
    )
    assert told == [seed for seed in seeds if seed not in known]
    whole = [explore(seed, span_s=span_s, make_trial=LinkTrial) for seed in seeds]
    assert digest_of(outcomes) == digest_of(whole)


def test_a_state_file_of_another_revision_or_with_a_bad_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    StateFile(path, revision="r1", span_s=10.0).add([outcome_of(1)])
    with pytest.raises(ExplorerStateError, match=r"state\.jsonl, line 1: .*'r1'.* is there, .*'r2'.* is wanted"):
        StateFile(path, revision="r2", span_s=10.0).read()
    with path.open("a") as file:
        file.write(json.dumps({"seed": 2}) + "\n")
    with pytest.raises(ExplorerStateError, match=r"line 3: .* is not an outcome"):
        StateFile(path, revision="r1", span_s=10.0).read()


def test_the_digest_of_a_range_knows_every_seed_and_breach() -> None:
    one, two, broken = outcome_of(1), outcome_of(2), outcome_of(2, breach="lost")
    assert explorer.digest_of([one, two]) == explorer.digest_of([two, one])
    assert explorer.digest_of([one, two]) != explorer.digest_of([one])
    assert "1 failed (2)" in explorer.summary([one, broken])


def test_the_command_line_prints_deliveries_and_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert explorer.main(["--seed", "3", "--span", "10"]) == 0
    said = capsys.readouterr().out
    assert "seed 3: " in said
    assert " delivered, " in said
    assert "1 seeds 3-3 of 10 s: 0 failed" in said
    with pytest.raises(SystemExit):
        explorer.main(["--seeds", "9-1"])
