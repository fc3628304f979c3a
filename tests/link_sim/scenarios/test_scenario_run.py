"""Scenarios run: the same every time, judged by what arrived, with evidence that other programs can read."""

import json
import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from link_sim.cli_run import EXIT_OF
from link_sim.profiles import PathProfile
from link_sim.scenarios.file import load_scenario
from link_sim.scenarios.run import Evidence, RunReport, run_scenario
from link_sim.scenarios.scenario import Scenario

CONFIG = Path(__file__).parents[3] / "config" / "scenarios"


def tunnel() -> Scenario:
    return load_scenario(CONFIG / "tunnel.toml")


def slower(scenario: Scenario, times: int) -> Scenario:
    """The satellite ten times as far away."""

    def far(path: PathProfile) -> PathProfile:
        return replace(
            path,
            up=replace(path.up, delay_s=path.up.delay_s * times),
            down=replace(path.down, delay_s=path.down.delay_s * times),
        )

    return replace(scenario, links=tuple(replace(link, path=far(link.path)) for link in scenario.links))


def held(report: RunReport) -> dict[str, bool]:
    return {check.name: check.holds for check in report.checks}


@pytest.mark.parametrize("name", ["tunnel", "typhoon"])
def test_shipped_scenarios_pass_and_have_one_digest_a_seed(name: str) -> None:
    scenario = load_scenario(CONFIG / f"{name}.toml")
    first, again, other = run_scenario(scenario), run_scenario(scenario), run_scenario(scenario, seed=99)
    assert first.verdict == "pass", held(first)
    assert first.table() == again.table()
    assert other.digest != first.digest


def test_a_slower_satellite_fails_the_same_checks_that_held() -> None:
    report = run_scenario(slower(tunnel(), 10))
    assert report.verdict == "fail"
    assert held(report)["delivered_within sos"] is False
    assert held(report)["no_loss"] is True
    assert EXIT_OF[report.verdict] == 1


def test_an_outage_that_nothing_survives_is_seen(tmp_path: Path) -> None:
    scenario = tunnel()
    silent = replace(scenario, steps=tuple(replace(step, at_s=2.0, outage_s=200.0) for step in scenario.steps))
    report = run_scenario(silent)
    assert held(report)["delivered text"] is False


def test_evidence_can_be_read_by_others(tmp_path: Path) -> None:
    evidence = Evidence(events=tmp_path / "e.jsonl", capture=tmp_path / "c.pcapng", plot=tmp_path / "p.svg")
    plain, report = run_scenario(tunnel()), run_scenario(tunnel(), evidence=evidence)
    assert plain.digest == report.digest, "looking on changes nothing"
    assert evidence.events is not None
    assert evidence.capture is not None
    assert evidence.plot is not None
    events = [json.loads(line) for line in evidence.events.read_text().splitlines()]
    offered = [each for each in events if each["event"] == "frame"]
    counts = {
        name: sum(fates[fate] for fate in fates if fate not in ("damaged", "copies"))
        for name, fates in report.links.items()
    }
    assert {name: sum(each["direction"] == name for each in offered) for name in counts} == counts
    gone = [each for each in offered if each["fate"] == "delivered"]
    assert all(each["t_s"] <= each["sent_s"] <= each["due_s"] for each in gone), "on one clock, after a hold too"
    assert sum(each["event"] == "delivered" for each in events) == report.deliveries
    times = [packet_s for packet_s, _ in packets(evidence.capture.read_bytes())]
    assert times == [pytest.approx(each["t_s"], abs=1e-9) for each in offered]
    root = ElementTree.parse(evidence.plot).getroot()
    assert root.tag.endswith("svg")
    assert len(root.findall(".//{*}polyline")) == 3 * len(counts)


def packets(capture: bytes) -> list[tuple[float, bytes]]:
    """Time and bytes of every packet of a pcapng file, by its specification."""
    found, at = [], 0
    while at < len(capture):
        kind, length = struct.unpack_from("<II", capture, at)
        assert length % 4 == 0
        assert struct.unpack_from("<I", capture, at + length - 4) == (length,)
        if kind == 6:
            _, high, low, captured, _ = struct.unpack_from("<IIIII", capture, at + 8)
            found.append((((high << 32) | low) / 1e9, capture[at + 28 : at + 28 + captured]))
        at += length
    return found


@pytest.mark.slow
def test_a_run_by_the_wall_clock_says_how_late_it_was() -> None:
    scenario = replace(tunnel(), duration_s=3.0, checks=())
    report = run_scenario(scenario, in_real_time=True)
    assert report.lateness is not None
    assert report.lateness.frames > 0
    assert report.verdict in ("pass", "inconclusive")
    assert report.deliveries >= 1
