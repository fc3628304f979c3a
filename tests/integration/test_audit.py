"""The audit log of real agents: what people did is in it, also after kill -9, and who changed the file is found out."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.agents import AgentProcess, attempt, edge_agent, free_port, running, udp_link, write_pair

pytestmark = pytest.mark.slow


def lines_of(agent: AgentProcess, folder: Path) -> list[dict[str, Any]]:  # Any: JSON
    return [json.loads(line) for line in log_of(agent, folder).read_text().splitlines()]


def log_of(agent: AgentProcess, folder: Path) -> Path:
    return folder / "var" / agent.config.stem.replace("kit", "kit-1") / "audit.jsonl"


def test_what_people_did_is_there_and_a_changed_file_is_found_out_and_set_aside(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    kit_config, command_config = write_pair(
        tmp_path, kit_links=udp_link("a", "remote", address), command_links=udp_link("b", "listen", address)
    )
    kit, command = AgentProcess(kit_config), AgentProcess(command_config)
    with running(command, kit):
        edge_agent("order", "--config", command.config, "--to", "kit-1", "--by", "王敏", "come back")
        nothing = "command~0000000000000000~I9"
        assert attempt("cancel", nothing, "--by", "Li", "--config", command.config).returncode == 1
        edge_agent("export", "--config", kit.config, tmp_path / "stick")
        edge_agent("profile", "quiet", "--config", kit.config)
        before = json.loads(edge_agent("audit", "verify", "--config", command.config))["head"]
        command.kill()
        command.start()
        acts = [(each["where"], each["who"], each["act"]) for each in lines_of(command, tmp_path)]
        assert acts == [
            ("agent", "", "start"),
            ("api", "王敏", "order"),
            ("api", "Li", "cancel"),
            ("agent", "", "start"),
        ]
        order, refused = lines_of(command, tmp_path)[1:3]
        assert order["about"]["text"] == "come back"
        assert "not known" in refused["refused"]
        assert [each["act"] for each in lines_of(kit, tmp_path)] == ["start", "export", "profile"]
        verified = json.loads(edge_agent("audit", "verify", "--head", before, "--config", command.config))
        assert (verified["node"], verified["lines"]) == ("command", 4)
        command.kill()

        log = log_of(command, tmp_path)
        log.write_text(log.read_text().replace("come back", "stay here"))
        found = attempt("audit", "verify", "--config", command.config)
        assert found.returncode == 1
        assert "line 2 does not follow" in found.stderr.decode()
        command.start()
        aside = command.wait_for(event="audit_set_aside")["file"]
        assert "stay here" in (log.parent / aside).read_text()
        assert [each["act"] for each in lines_of(command, tmp_path)] == ["set_aside", "start"]
        assert json.loads(edge_agent("audit", "verify", "--config", command.config))["lines"] == 2
        missing = attempt("audit", "verify", "--head", before, "--config", command.config)
        assert "ends with line" in missing.stderr.decode() or "another one" in missing.stderr.decode()


@pytest.mark.parametrize("head", ["4", "x:00", "4:00"])
def test_a_head_that_is_none_is_a_usage_error(tmp_path: Path, head: str) -> None:
    kit_config, _ = write_pair(tmp_path, kit_links="", command_links="")
    found = attempt("audit", "verify", "--head", head, "--config", kit_config)
    assert (found.returncode, b"--head" in found.stderr) == (2, True)


def test_a_node_that_never_ran_has_no_log(tmp_path: Path) -> None:
    kit_config, _ = write_pair(tmp_path, kit_links="", command_links="")
    found = attempt("audit", "verify", "--config", kit_config)
    assert found.returncode == 1
    assert "audit.jsonl: No such file" in found.stderr.decode()
