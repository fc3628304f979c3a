"""What is missing or in use is shown as down with its reason, and the agent runs on; what is wrong starts nothing."""

import json
import os
import socket
import struct
from pathlib import Path

import pytest

from tests.integration.agents import AgentProcess, attempt, edge_agent, free_port, running, udp_link, write_pair

pytestmark = pytest.mark.slow


def status_of(config: Path) -> dict[str, dict[str, object]]:
    """Links and devices of a running agent by name."""
    status = json.loads(edge_agent("status", "--config", config, "--json"))
    return {each["name"]: each for each in (*status["links"], *status["devices"])}


def test_a_port_in_use_and_a_missing_serial_device_leave_the_rest_at_work(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        busy, address = taken.getsockname()[1], f"127.0.0.1:{free_port()}"
        radio = '[[link]]\nname = "radio"\ntransport = "serial_radio"\nport = "/dev/no-radio"\nbaud_rate = 9600\n'
        gnss = '[[driver]]\nname = "gnss"\nkind = "gnss"\nport = "/dev/no-gnss"\n'
        kit, command = write_pair(
            tmp_path,
            kit_links=udp_link("good", "remote", address) + radio,
            command_links=udp_link("busy", "listen", f"127.0.0.1:{busy}") + udp_link("good", "listen", address),
            kit_extra=gnss,
        )
        agents = AgentProcess(command), AgentProcess(kit)
        with running(*agents):
            agents[0].wait_for("plugin_lost", name="busy")
            agents[1].wait_for("plugin_lost", name="radio")
            agents[1].wait_for("plugin_lost", name="gnss")
            edge_agent(
                "send", "--config", kit, "--flow", "x", "--wait", "forwarded", "--timeout", 30, stdin=b"x"
            )  # fmt: skip
            at_command, at_kit = status_of(command), status_of(kit)
            assert at_command["busy"]["state"] == "down"
            assert "in use" in str(at_command["busy"]["reason"])
            assert str(busy) in str(at_command["busy"]["reason"])
            assert at_kit["radio"]["state"] == "down"
            assert "/dev/no-radio" in str(at_kit["radio"]["reason"])
            assert at_kit["gnss"]["state"] == "unavailable"
            assert "/dev/no-gnss" in str(at_kit["gnss"]["reason"])
            assert at_kit["good"]["state"] == "up"
            taken.close()
            agents[0].wait_for("link_opened", link="busy", timeout_s=40)  # tried again, and had


def test_a_wrong_configuration_starts_nothing(tmp_path: Path) -> None:
    kit, _ = write_pair(tmp_path, kit_links='[[link]]\nname = "a"\ntransport = "udp"\n', command_links="")
    done = attempt("run", kit)
    assert done.returncode == 2
    assert "kit.toml:10: link[a] is not possible: give exactly one of remote and listen" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    assert not (tmp_path / "var").exists()


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    kit, _ = write_pair(tmp_path, kit_links="", command_links="")
    (tmp_path / "made/secret.key").chmod(0o640)
    done = attempt("run", kit)
    assert done.returncode == 2
    assert "mode 0640" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_one_data_directory_takes_one_agent(tmp_path: Path) -> None:
    kit, _ = write_pair(tmp_path, kit_links="", command_links="")
    with running(AgentProcess(kit)):
        done = attempt("run", kit)
        assert done.returncode == 2
        assert str(tmp_path / "var/kit-1") in done.stderr.decode()
        assert "Traceback" not in done.stderr.decode()


def test_a_socket_left_by_a_killed_agent_is_taken_over(tmp_path: Path) -> None:
    kit, _ = write_pair(tmp_path, kit_links="", command_links="")
    agent = AgentProcess(kit)
    with running(agent):
        agent.kill()
        assert (tmp_path / "kit-1.sock").exists()
        agent.start()
        assert json.loads(edge_agent("status", "--config", kit, "--json"))["node"] == "kit-1"
        assert os.stat(tmp_path / "kit-1.sock").st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "garbage",
    [
        b"POST /api HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x00\x01\x90",
        b"\x00\x00\x00\x06\x81\xa2op\xa1x",
        b"\xff\xff\xff\xff",
        struct.pack(">I", 6) + b"\x81\xa2op\xa4send"[:6],
    ],
)
def test_garbage_on_the_local_api_is_refused_and_the_agent_runs_on(tmp_path: Path, garbage: bytes) -> None:
    kit, _ = write_pair(tmp_path, kit_links="", command_links="")
    agent = AgentProcess(kit)
    with running(agent):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(tmp_path / "kit-1.sock"))
            client.sendall(garbage)
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass  # an error, or nothing; then closed
        assert edge_agent("status", "--config", kit).startswith("kit-1 (kit), up ")
        assert agent.stop() == 0
    assert not [line for line in agent.log if line["event"] == "not_json"]  # a traceback is not JSON
