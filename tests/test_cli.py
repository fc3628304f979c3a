"""The command line without an agent: exit statuses, sentences, and files that are never overwritten."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.cli import main
from edge_agent.starter import shipped_config
from tests.integration.agents import attempt

KIT = """[node]
id = "kit-1"
[security]
secret_file = "secret.key"
[api]
listen = "unix:api.sock"
[[link]]
name = "a"
transport = "udp"
remote = "127.0.0.1:7000"
"""


def test_init_writes_a_configuration_that_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "made"), "--role", "command"]) == 0
    secret, config = tmp_path / "made/secret.key", tmp_path / "made/command.toml"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert config.read_text() == shipped_config("command-post.toml").read_text()
    capsys.readouterr()
    assert main(["check", str(config)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "ok"


def test_init_names_the_node_and_copies_a_secret(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "a")]) == 0
    assert main(["init", str(tmp_path / "b"), "--id", "kit-9", "--secret", str(tmp_path / "a/secret.key")]) == 0
    assert (tmp_path / "a/secret.key").read_bytes() == (tmp_path / "b/secret.key").read_bytes()
    assert stat.S_IMODE((tmp_path / "b/secret.key").stat().st_mode) == 0o600
    text = (tmp_path / "b/kit.toml").read_text()
    assert 'id = "kit-9"' in text
    assert 'data_dir = "var/kit-9"' in text
    assert "unix:var/kit-9/api.sock" in text


def test_init_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path)]) == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(["init", str(tmp_path)]) == 2
    assert "exists and is not overwritten" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_check_tells_every_problem_and_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kit.toml").write_text('[node]\nid = "?"\n[link]\n')
    assert main(["check", str(tmp_path / "kit.toml")]) == 2
    told = capsys.readouterr().err
    for expected in ("kit.toml:2: node.id", "kit.toml:3: link", "security.secret_file is missing"):
        assert expected in told
    assert "Traceback" not in told


def test_check_refuses_a_secret_that_others_may_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", str(tmp_path)])
    (tmp_path / "secret.key").chmod(0o644)
    assert main(["check", str(tmp_path / "kit.toml")]) == 2
    assert "mode 0644" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["status"], ["listen"], ["why", "kit-1~0000000000000000~F1"], ["send", "--flow", "x"]]
)
def test_without_an_agent_commands_say_how_to_start_one(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "kit.toml").write_text(KIT)
    done = attempt(*command, "--config", tmp_path / "kit.toml")
    assert done.returncode == 1
    expected = f"no agent answers at unix:{tmp_path / 'api.sock'}: start it with edge-agent run CONFIG\n"
    assert done.stderr.decode() == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["send", "--config", "x", "--flow", "a", "--lifetime", "-1"], "allowed: a number of seconds above 0"),
        (["listen", "--config", "x", "--count", "0"], "allowed: an integer of 1 or more"),
        (["send", "--config", "x", "--flow", "a", "--precedence", "high"], "invalid choice: 'high'"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("begin", "heavy"),
    [
        (
            "from edge_agent.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
            "asyncio structlog sqlite3",
        ),
        ("import edge_agent.client", "structlog edge_agent.disk.store"),
    ],
    ids=["help", "client"],
)
def test_what_only_asks_loads_none_of_the_heavy_parts(begin: str, heavy: str) -> None:
    heavy += " numpy cv2 av aiortc cryptography starlette"
    program = f"import sys\n{begin}\nprint('LOADED', *[name for name in '{heavy}'.split() if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env={**os.environ})
    assert done.stdout.decode().splitlines()[-1] == "LOADED"
