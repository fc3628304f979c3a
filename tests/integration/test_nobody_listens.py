"""A post without a page and without a listener: what nobody takes fills it up, and makes room once it has expired."""

import asyncio
import sys
from pathlib import Path

import pytest

from edge_agent.client import Client
from edge_agent.config import load_api_address
from tests.integration.agents import AgentProcess, free_port, running, udp_link, write_pair

pytestmark = pytest.mark.slow

QUOTA_BYTES = 10_000_000
SIZE = 30_000
LIFETIME_S = 20.0
STILL_S = 2.0
HURRIED = (
    sys.executable,
    "-c",
    "import functools, runpy, sys; from edge_agent.disk import lapses, writer; lapses.ROUND_S = 1.0;"
    " writer.Lapses = functools.partial(lapses.Lapses, return_s=1.0);"
    " sys.argv = sys.argv[3:]; runpy.run_module('edge_agent.cli', run_name='__main__')",
)
"""The agent as it is, but that it waits a second where it would wait a minute."""


async def stands_still(client: Client, sent: int) -> None:
    """Return once the post takes no more and the kit still holds some: the post is full."""
    held = -1
    while True:
        backlog = (await client.status())["backlog"].values()
        before, held = held, sum(each["bundles"] for each in backlog)
        if before == held < sent:
            assert held, "all of it found room at the post"
            return
        await asyncio.sleep(STILL_S)


def test_a_post_whose_deliveries_expired_takes_new_ones_and_tells_their_sources(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    kit_config, command_config = write_pair(
        tmp_path,
        kit_links=udp_link("a", "remote", address),
        command_links=udp_link("b", "listen", address) + f"[store]\nquota_bytes = {QUOTA_BYTES}\n",
    )
    kit, command = AgentProcess(kit_config), AgentProcess(command_config, prefix=HURRIED)

    async def send() -> None:
        async with Client(load_api_address(kit_config)) as client, asyncio.timeout(120):
            payloads = [bytes(SIZE)] * (QUOTA_BYTES // SIZE)
            sent = await client.send_many(payloads, flow="reading", lifetime_s=LIFETIME_S)
            await stands_still(client, len(sent))
            new = await client.send(bytes(SIZE), flow="reading")
            assert (await client.wait(new.bundle, "forwarded")).state in {"forwarded", "delivered"}
            assert (await client.wait(sent[0].bundle or "", "delivered")).state == "expired"

    with running(command, kit):
        asyncio.run(send())
