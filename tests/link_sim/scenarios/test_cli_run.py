"""The command as its users call it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[3] / "config" / "scenarios"


def link_sim(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "link_sim.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_scenario_that_holds_exits_0_and_reports(tmp_path: Path) -> None:
    done = link_sim("run", CONFIG / "tunnel.toml", "--json", tmp_path / "r.json", "--plot", tmp_path / "p.svg")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["verdict"] == "pass"
    assert report["score"] == {"points": 8, "of": 8}
    assert {check["name"] for check in report["checks"]} >= {"no_loss", "no_duplicates"}
    assert report["digest"] in done.stdout
    assert (tmp_path / "p.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("text", ['duration = "1s"\n[[node]]\nid = "A"', "duration = 5", ""])
def test_a_wrong_file_exits_2_and_says_where(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    done = link_sim("run", path)
    assert done.returncode == 2
    assert "wrong.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_check_that_fails_exits_1(tmp_path: Path) -> None:
    path = tmp_path / "strict.toml"
    path.write_text((CONFIG / "tunnel.toml").read_text().replace('within = "6s"', 'within = "1s"'))
    assert link_sim("run", path).returncode == 1
