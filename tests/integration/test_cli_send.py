"""How ``edge-agent send`` ends: the state that was waited for, another end with its sentence, or the time is over."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.agents import EDGE_AGENT, AgentProcess, attempt, edge_agent, running, write_pair

pytestmark = pytest.mark.slow


@pytest.fixture(name="kit")
def fixture_kit(tmp_path: Path) -> Iterator[AgentProcess]:
    """A kit without any link and with a small store."""
    config = write_pair(tmp_path, kit_links="", command_links="")[0]
    config.write_text(config.read_text() + "[store]\nquota_bytes = 10_000_000\n")
    agent = AgentProcess(config)
    with running(agent):
        yield agent


def test_what_expires_or_is_cancelled_while_it_is_waited_for_ends_with_1_and_says_so(kit: AgentProcess) -> None:
    base = ("send", "--config", kit.config, "--flow", "text", "--wait", "delivered", "--timeout", 40)
    expired = attempt(*base, "--lifetime", 1, stdin=b"x")
    assert (expired.returncode, json.loads(expired.stdout)["state"]) == (1, "expired")
    assert "expired before it was delivered" in expired.stderr.decode()
    waiting = subprocess.Popen([*EDGE_AGENT, *map(str, base)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    follow = subprocess.Popen(
        [EDGE_AGENT[0], "-c", FOLLOW, str(kit.config.parent / "kit-1.sock")], stdout=subprocess.PIPE, text=True
    )
    assert follow.stdout is not None
    assert follow.stdout.readline() == "\n"
    assert waiting.stdin is not None
    waiting.stdin.write(b"y")
    waiting.stdin.close()
    bundle = next(line.strip() for line in follow.stdout if "~I" in line)  # the kit's own reports are accepted, too
    edge_agent("cancel", bundle, "--config", kit.config)
    assert waiting.wait(timeout=40) == 1
    assert waiting.stdout is not None
    assert json.loads(waiting.stdout.read())["state"] == "cancelled"
    follow.kill()
    follow.communicate()


FOLLOW = """
import asyncio, sys
from pathlib import Path
from edge_agent.client import Client
async def main():
    async with Client(Path(sys.argv[1])) as client:
        async for bundle in client.accepted():
            print(bundle, flush=True)
asyncio.run(main())
"""


def test_the_time_over_ends_with_3_and_the_reason_it_still_waits(kit: AgentProcess) -> None:
    late = attempt("send", "--config", kit.config, "--flow", "text", "--wait", "forwarded", "--timeout", 1, stdin=b"x")
    assert (late.returncode, json.loads(late.stdout)["state"]) == (3, "accepted")
    assert "it stays queued" in late.stderr.decode()
    assert "waiting: no link leads there" in late.stderr.decode()


def test_a_full_store_refuses_in_words_and_status_shows_it(kit: AgentProcess) -> None:
    base = ("send", "--config", kit.config, "--flow", "reading")
    edge_agent(*base, stdin=bytes(8_000_000))
    full = attempt(*base, stdin=bytes(4_000_000))
    assert (full.returncode, full.stdout) == (1, b"")
    assert "store_full" in full.stderr.decode()
    assert "what fills it: edge-agent status" in full.stderr.decode()
    told = edge_agent("status", "--config", kit.config)
    assert "  store: 8.0 of 10 MB used (80 %)\n" in told
    sos = edge_agent("send", "--config", kit.config, "--flow", "sos", "--precedence", "flash", stdin=b"help")
    assert json.loads(sos)["state"] == "accepted"
