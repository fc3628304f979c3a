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
LIFETIME_S = 15.0
HURRIED = (
    sys.executable,
    "-c",
    "import functools, runpy, sys; from edge_agent.disk import lapses, writer; lapses.ROUND_S = 1.0;"
    " writer.Lapses = functools.partial(lapses.Lapses, return_s=1.0);"
    " sys.argv = sys.argv[3:]; runpy.run_module('edge_agent.cli', run_name='__main__')",
)
"""The agent as it is, but that it waits a second where it would wait a minute."""


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
            new = await client.send(bytes(SIZE), flow="reading")
            assert (await client.wait(new.bundle, "forwarded")).state in {"forwarded", "delivered"}
            assert (await client.wait(sent[0].bundle or "", "delivered")).state == "expired"
            refused = [each.bundle for each in sent[-10:] if (await client.state(each.bundle or "")).state == "expired"]
            assert refused, "the post took none of the last ones while it was full"

    with running(command, kit):
        asyncio.run(send())
