"""Kits with bundles waiting on disk: made once for a run of the script, and used in place by every row that needs one.

A copy would not do: a store notices that it was copied and begins a new incarnation.
"""

import atexit
import random
import shutil
import tempfile
from functools import cache
from pathlib import Path

from benchmarks import agents
from benchmarks.store.local_node import QUOTA_BYTES, local_node, submit_many
from edge_agent import loop as agent_loop
from edge_agent.addresses import HostPort

BODY_BYTES = 100


def body(number: int) -> bytes:
    """Incompressible and different for each."""
    return random.Random(number).randbytes(BODY_BYTES)


def make_backlog(waiting: int) -> Path:
    """A folder with ``kit-1``, on whose disk so many 100-byte bundles wait, and ``command-1``, which has none.

    Removed when the script ends. Not to be called inside a running loop.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{waiting}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    agent_loop.run(_fill(folder / "kit-1", waiting))
    return folder


@cache
def backlog_folder(waiting: int) -> Path:
    """The one of this run for rows that leave nearly all of it."""
    return make_backlog(waiting)


async def _fill(folder: Path, waiting: int) -> None:
    async with local_node(folder) as runner:
        await submit_many(runner, waiting, body)


def write_configs(folder: Path, *, kit_to: HostPort, command_at: HostPort) -> None:
    """Configurations of both agents: one UDP link, whose rate nobody tells."""
    quota = f"[store]\nquota_bytes = {QUOTA_BYTES}\n"
    agents.write_config(folder, "kit-1", role="kit", rest=quota + agents.udp_link("a", "remote", kit_to))
    agents.write_config(folder, "command-1", role="command", rest=quota + agents.udp_link("a", "listen", command_at))
