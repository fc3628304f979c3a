"""The demo from outside: what it proves, what a kill -9 changes, and what is left when it goes."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.demo.demo_run import DemoRun, is_alive

pytestmark = [pytest.mark.slow, pytest.mark.device, pytest.mark.timeout(240)]

SECONDS = 40
RUN_LONGEST_S = 180.0
RESTART_S = 2.0  # DESIGN section 10
COLUMNS = {"accepted", "delivered", "waiting", "expired", "superseded", "lost", "duplicated"}


@pytest.fixture(scope="module", name="runs")
def fixture_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, DemoRun]]:
    """Two demos at once: one is left alone, in the other the kit and then command are killed while it runs."""
    folder = tmp_path_factory.mktemp("demo")
    made = {name: DemoRun.headless(folder / name, SECONDS) for name in ("alone", "killed")}
    try:
        yield made
    finally:
        for run in made.values():
            run.discard()


@pytest.fixture(scope="module", name="restarts")
def fixture_restarts(runs: dict[str, DemoRun]) -> dict[str, float]:
    """Seconds until the kit and command were running again after a kill -9 in the middle of the script."""
    run = runs["killed"]
    run.card()
    run.until("the first link is cut", lambda: "4G" in run.output())
    return {node: _kill_and_await(run, node) for node in ("kit", "command")}


@pytest.fixture(scope="module", name="reports")
def fixture_reports(runs: dict[str, DemoRun], restarts: dict[str, float]) -> dict[str, dict[str, Any]]:
    """The reports of both, which ended by themselves."""
    for run in runs.values():
        run.end(RUN_LONGEST_S)
    return {name: run.report() for name, run in runs.items()}


def _kill_and_await(run: DemoRun, node: str) -> float:
    pid = run.card()[node]["pid"]
    os.kill(pid, signal.SIGKILL)
    killed_s = time.monotonic()
    run.until(f"{node} runs again", lambda: run.card()[node]["pid"] != pid and is_alive(run.card()[node]["pid"]))
    return time.monotonic() - killed_s


@pytest.mark.parametrize("name", ["alone", "killed"])
def test_a_run_loses_nothing_and_doubles_nothing(
    runs: dict[str, DemoRun], reports: dict[str, dict[str, Any]], name: str
) -> None:
    """Two demos at once, one with kills: both exit 0, and the columns add up in every precedence."""
    report = reports[name]
    assert runs[name].process.returncode == 0, runs[name].output()
    assert set(report["precedence"]) == {"FLASH", "IMMEDIATE", "PRIORITY", "ROUTINE", "DEFERRED"}
    for row in report["precedence"].values():
        assert set(row) == COLUMNS
        ends = row["delivered"] + row["waiting"] + row["expired"] + row["superseded"] + row["lost"]
        assert row["accepted"] == ends
        assert row["lost"] == row["duplicated"] == 0
    for precedence in ("FLASH", "PRIORITY", "ROUTINE"):
        assert report["precedence"][precedence]["delivered"] > 0, precedence


def test_the_sos_went_by_the_radio_within_two_seconds(reports: dict[str, dict[str, Any]]) -> None:
    """In the run that was left alone; confirmed by a person, which the kit saw."""
    sos = reports["alone"]["sos"]
    assert len(sos) == 1
    assert sos[0]["via"] == ["radio"]
    assert 0 < sos[0]["latency_s"] <= 2.0
    assert sos[0]["confirmed_s"] is not None
    assert reports["alone"]["precedence"]["FLASH"]["accepted"] >= 1


@pytest.mark.parametrize("name", ["alone", "killed"])
def test_lost_contact_was_raised_and_cleared(reports: dict[str, dict[str, Any]], name: str) -> None:
    """Command raised it for the cut off kit only, and it cleared by itself."""
    contacts = reports[name]["lost_contact"]
    assert [each["unit"] for each in contacts] == ["kit-1"]
    assert contacts[0]["raised_at_s"] < contacts[0]["cleared_at_s"]


def test_every_link_carried_something(reports: dict[str, dict[str, Any]]) -> None:
    """The report counts bytes of all three links, and the longest silence of the flows that never stop."""
    links = reports["alone"]["links"]
    assert set(links) == {"4g", "vsat", "radio"}
    for name, counted in links.items():
        assert counted["sent_bytes"] > 0, name
        assert counted["received_bytes"] > 0, name
    assert {"position", "reading", "report"} <= set(reports["alone"]["longest_silence_s"])


def test_the_kit_measured_how_long_it_needed_to_leave_a_silent_link(reports: dict[str, dict[str, Any]]) -> None:
    """4G and satellite fell silent while data flowed; of the radio nothing could take over."""
    took_s = reports["alone"]["switches_s"]
    assert set(took_s) == {"4g", "vsat"}
    assert all(0 < span_s <= 4.0 for span_s in took_s.values()), took_s


def test_urgent_things_came_first_after_the_outage(reports: dict[str, dict[str, Any]]) -> None:
    """What a person wrote in the outage, then the newest, then history."""
    classes = [each["class"] for each in reports["alone"]["arrivals"]]
    assert list(dict.fromkeys(classes)) == ["urgent", "newest", "history"]
    assert reports["alone"]["arrivals"][0]["kind"] == "text"
    assert reports["alone"]["arrivals_in_order"] is True


def test_a_killed_agent_is_back_within_two_seconds(restarts: dict[str, float]) -> None:
    """Kit and command alike."""
    assert max(restarts.values()) <= RESTART_S, restarts


def test_an_ended_demo_leaves_no_process(runs: dict[str, DemoRun], reports: dict[str, dict[str, Any]]) -> None:
    """Neither of the two, killed agents included."""
    assert reports
    assert [line for run in runs.values() for line in run.left_over()] == []


def test_a_folder_that_is_no_demos_is_refused(tmp_path: Path) -> None:
    """Exit 2 and a sentence; nothing in the folder is touched."""
    (tmp_path / "mine" / "var").mkdir(parents=True)
    foreign = DemoRun(tmp_path / "mine", "--headless")
    assert foreign.end(30.0) == 2
    assert "is no demo's" in foreign.output()
    assert list((tmp_path / "mine").iterdir()) == [tmp_path / "mine" / "var"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_demo_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, a service manager's stop and kill -9 of the demo itself, with its page up."""
    run = DemoRun(tmp_path / "run")
    try:
        card = run.card()
        run.until("the pages answer", run.pages_answer)
        second = DemoRun(run.folder, "--headless")
        assert second.end(30.0) == 2, "a second demo in the same folder"
        assert len(run.left_over()) >= 4  # two kits, command, broker: else the search below finds nothing either
        run.process.send_signal(number)
        status = run.end(10.0)
        assert status == (-number if number is signal.SIGKILL else 128 + number)
        due_s = time.monotonic() + 10.0

        def left() -> list[object]:
            """What still runs; a process that ended is alive until the system's first process has noticed."""
            pids = [card[node]["pid"] for node in ("kit", "command")]
            return [*run.left_over(), *(pid for pid in pids if is_alive(pid))]

        while left() and time.monotonic() < due_s:  # the kernel ends orphans, not our wait
            time.sleep(0.05)
        assert left() == []
    finally:
        run.discard()
