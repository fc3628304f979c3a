"""``edge-agent report`` of real agents: seconds that lie on disk after a kill, a signed file, a page."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_agent.link_recording import WRITE_S
from edge_agent.link_seconds import SETTLE_S
from examples.link_report.recompute import recompute
from tests.integration.agents import AgentProcess, attempt, edge_agent, free_port, running, udp_link, write_pair


@pytest.mark.slow
def test_a_killed_agents_report_is_there_signed_and_recomputed(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    kit, command = write_pair(
        tmp_path,
        kit_links=udp_link("4g", "remote", address) + 'kind = "cellular"\n',
        command_links=udp_link("4g", "listen", address),
    )
    day = datetime.now(UTC).date().isoformat()
    agent = AgentProcess(kit)
    with running(AgentProcess(command), agent):
        agent.wait_for("link_changed", state="up")
        until_s = time.monotonic() + SETTLE_S + WRITE_S + 6
        while time.monotonic() < until_s:
            edge_agent("send", "--config", kit, "--flow", "text", "--wait", "forwarded", stdin=b"still here")
        agent.kill()
    told = json.loads(edge_agent("report", "--config", kit, "--day", day, "--json"))
    [row] = [each for each in told["rows"] if each["window"] == "day"]
    assert (row["link"], row["peer"], row["kind"], row["kind_from"]) == ("4g", "command", "cellular", "config")
    assert row["up_s"] >= 5
    assert row["down_s"] == row["frames_lost"] == 0
    assert 0 < row["delay_ms"] < 50
    assert row["verdict"] == "open"  # the rest of the day was not observed
    signed, page = tmp_path / "report.csv", tmp_path / "report.html"
    edge_agent("report", "--config", kit, "--day", day, "--csv", signed, "--html", page)
    assert "可用率" in page.read_text(encoding="utf-8")
    assert "not changed since" in edge_agent("report", "--config", kit, "--verify", signed)
    signed.write_text(signed.read_text().replace("cellular", "wired"))
    changed = attempt("report", "--config", kit, "--verify", signed)
    assert (changed.returncode, b"was changed" in changed.stderr) == (1, True)
    files = [str(path) for path in (tmp_path / "var/kit-1/link-seconds/4g/command").iterdir()]
    sums = recompute(files)
    assert sums == {name: row[name] for name in sums}
    nothing = attempt("report", "--config", kit, "--day", "2020-01-01")
    assert (nothing.returncode, day.encode() in nothing.stderr) == (1, True)
    assert attempt("report", "--config", kit, "--day", "yesterday").returncode == 2
