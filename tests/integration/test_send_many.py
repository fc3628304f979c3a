"""Many bundles through one client: each that has an id survives kill -9, and what a full store refuses is told."""

import json
from pathlib import Path

import pytest

from edge_agent.client import AgentRefusedError, Client
from tests.integration.agents import AgentProcess, edge_agent, running, write_pair

pytestmark = pytest.mark.slow

BUNDLES = 3_000


@pytest.fixture(name="kit")
def fixture_kit(tmp_path: Path) -> AgentProcess:
    return AgentProcess(write_pair(tmp_path, kit_links="", command_links="")[0])


def socket_of(agent: AgentProcess) -> Path:
    return agent.config.parent / "kit-1.sock"


async def test_every_id_that_was_given_is_on_disk_after_a_kill(kit: AgentProcess) -> None:
    with running(kit):
        async with Client(socket_of(kit)) as client:
            told = await client.send_many((f"{number}".encode() for number in range(BUNDLES)), flow="reading")
            kit.kill()
        assert len({each.bundle for each in told}) == BUNDLES
        assert not any(each.reason for each in told)
        kit.start()
        status = json.loads(edge_agent("status", "--config", kit.config, "--json"))
        assert status["backlog"]["routine"]["bundles"] == BUNDLES
        async with Client(socket_of(kit)) as client:
            assert (await client.state(told[-1].bundle)).state == "accepted"


async def test_a_full_store_refuses_each_payload_it_does_not_take_and_says_why(kit: AgentProcess) -> None:
    kit.config.write_text(kit.config.read_text() + "[store]\nquota_bytes = 10_000_000\n")
    with running(kit):
        async with Client(socket_of(kit)) as client:
            told = await client.send_many((bytes(50_000) for _ in range(400)), flow="reading")
            taken = [each for each in told if each.bundle]
            refused = [each for each in told if not each.bundle]
            assert len(told) == 400
            assert 100 < len(taken) < 200
            assert {each.reason for each in refused} == {"store_full"}
            assert all("bytes" in each.detail for each in refused)
            assert (await client.status())["backlog"]["routine"]["bundles"] == len(taken)
            sos = await client.send(b"help", flow="sos", precedence="flash", origin="person")
            assert sos.state == "accepted"


async def test_terms_that_are_not_allowed_refuse_the_group_and_empty_is_nothing(kit: AgentProcess) -> None:
    with running(kit):
        async with Client(socket_of(kit)) as client:
            assert await client.send_many([], flow="reading") == []
            with pytest.raises(AgentRefusedError, match="destination"):
                await client.send_many([b"x"], flow="reading", to="?")
            with pytest.raises(AgentRefusedError, match="precedence"):
                await client.send_many([b"x"], flow="reading", precedence="high")
            (one,) = await client.send_many([b"x"], flow="reading")
            assert one.bundle.startswith("kit-1~")
