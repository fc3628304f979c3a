"""Whole agents whose folders are out of reach: they say so, take nothing meanwhile, and go on when they are back."""

import json
from pathlib import Path

import pytest

from edge_agent.client import AgentRefusedError, Client
from edge_agent.config import load_api_address
from tests.integration.agents import AgentProcess, edge_agent, free_port, running, udp_link, write_pair
from tests.integration.test_disk_trouble import check_kept, send_sos

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def write_kit(folder: Path, extra: str = "") -> AgentProcess:
    links = udp_link("a", "remote", f"127.0.0.1:{free_port()}")
    config, _ = write_pair(folder, kit_links=links, command_links="", kit_extra=extra)
    return AgentProcess(config)


async def test_a_data_folder_that_is_away_is_said_and_work_goes_on_when_it_is_back(tmp_path: Path) -> None:
    kit = write_kit(tmp_path)
    folder, away = tmp_path / "var", tmp_path / "away"
    with running(kit):
        async with Client(load_api_address(kit.config)) as client:
            taken = [await send_sos(client) for _ in range(3)]
            folder.rename(away)
            for _ in range(3):
                with pytest.raises(AgentRefusedError, match="No such file"):
                    await send_sos(client)
            assert "THE DISK TAKES NOTHING" in edge_agent("status", "--config", kit.config)
            await check_kept(client, taken)
            away.rename(folder)
            taken.append(await send_sos(client))
            await check_kept(client, taken)
        assert json.loads(edge_agent("status", "--config", kit.config, "--json"))["store"]["failure"] == ""
        assert kit.stop() == 0
    with running(kit):
        async with Client(load_api_address(kit.config)) as client:
            await check_kept(client, taken)


async def test_a_device_whose_folder_cannot_be_made_costs_that_device_only(tmp_path: Path) -> None:
    kit = write_kit(tmp_path, '[[driver]]\nname = "gnss"\nkind = "gnss"\nport = "/dev/no-gnss"\n')
    (tmp_path / "var" / "kit-1").mkdir(parents=True)
    (tmp_path / "var" / "kit-1" / "devices").write_text("in the way")
    with running(kit):
        assert "devices" in kit.wait_for("plugin_lost", name="gnss")["reason"]
        async with Client(load_api_address(kit.config)) as client:
            await send_sos(client)
