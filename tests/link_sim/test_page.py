"""The scenario of the page is one: every key it shows is read, and its checks hold."""

import re
from pathlib import Path

from link_sim.scenarios.file import CHECK_KINDS, load_scenario
from link_sim.scenarios.run import run_scenario

PAGE = Path(__file__).parents[2] / "docs/link_sim.md"


def section_of(title: str) -> str:
    found = PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, title
    return found


def test_the_scenario_of_the_page_passes(tmp_path: Path) -> None:
    found = re.search(r"```toml\n(.*?)```", section_of("Scenarios"), re.DOTALL)
    assert found is not None
    path = tmp_path / "page.toml"
    path.write_text(found[1])
    scenario = load_scenario(path)
    assert scenario.duration_s == 120
    assert [step.at_s for step in scenario.steps] == [60, 90, 100, 105]
    report = run_scenario(scenario)
    assert report.verdict == "pass"
    assert report.deliveries > 50


def test_the_page_names_every_kind_of_check() -> None:
    named = set(re.findall(r"^\| (`.*?`) \|", section_of("Scenarios"), re.MULTILINE))
    assert {name.strip("`") for each in named for name in each.split(", ")} == set(CHECK_KINDS)
