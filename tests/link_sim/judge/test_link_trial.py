"""Worlds in which every fault of links falls at once: they hold, have all of them, and planted faults are found."""

import pytest

from link_sim.judge.explorer import explore, first_breach, main
from link_sim.judge.link_faults import LinkFault, LinkFaultKind
from link_sim.judge.link_trial import LEAST_LINK_FAULTS, LINK_FAULTS_RATIO, LINKS_SPAN_S, LinkTrial
from link_sim.nodes.door import NodeMaker
from tests.link_sim.judge import faulty_nodes


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, 61, 6))
def test_sixty_seeds_hold(first: int) -> None:
    for seed in range(first, first + 6):
        assert explore(seed, span_s=LINKS_SPAN_S, make_trial=LinkTrial).breach == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("faulty", "complaints"),
    [
        (faulty_nodes.ForgetsWhatADeadLinkCarried, ("nothing has left any node", "still wait")),
        (faulty_nodes.NeverAsksAgain, ("nothing has left any node", "still wait")),
        (faulty_nodes.SendsWhatIsHeldBack, ("which may not carry it",)),
        (faulty_nodes.ForgetsTheMonth, ("the month has",)),
        (faulty_nodes.TakesAnySize, ("which takes",)),
        (faulty_nodes.AcknowledgesBeforeCommit, ("told to be in custody and never on disk",)),
    ],
)
def test_a_planted_fault_of_links_is_found_within_two_hundred_seeds(
    faulty: NodeMaker, complaints: tuple[str, ...]
) -> None:
    found = first_breach(range(1, 201), span_s=LINKS_SPAN_S, make_node=faulty, make_trial=LinkTrial)
    assert found is not None
    assert any(complaint in found.breach for complaint in complaints), found.breach


def test_a_trial_of_links_has_every_kind_of_fault_several_at_once() -> None:
    kinds, lies, most_at_once = set(), 0, 0
    for seed in range(40):
        trial = LinkTrial(seed, LINKS_SPAN_S)
        faults = [fault for fault in trial.faults if isinstance(fault, LinkFault)]
        kinds |= {fault.kind for fault in faults}
        lies += any("lies about time" in line for line in trial.restarts)
        assert len(faults) >= LEAST_LINK_FAULTS
        assert all(fault.end_s <= LINK_FAULTS_RATIO * LINKS_SPAN_S + 0.5 for fault in faults)
        middle_s = LINKS_SPAN_S / 2
        lasting = sum(fault.parts[0].start_s <= middle_s < fault.end_s for fault in faults)
        most_at_once = max(most_at_once, lasting)
    assert kinds == set(LinkFaultKind)
    assert lies >= 5
    assert most_at_once >= 8


def test_the_command_line_explores_worlds_of_links(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "9", "--links", "--span", "20"]) == 0
    assert "1 seeds 9-9 of 20 s: 0 failed" in capsys.readouterr().out
