"""UDP links in a process of their own, as ``link-sim proxy`` runs them: ``python -m benchmarks.link_sim.udp_links``.

Arguments: the profile of both directions as JSON, then the port to send to for each link. It prints the ports it
listens on as JSON, and the links' reports when its input ends.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack

from edge_agent.addresses import HostPort
from link_sim.profiles import PathProfile, profile_from
from link_sim.real_time.udp_proxy import UdpProxy

HOST = "127.0.0.1"


async def main(profile_json: str, *ports: str) -> None:
    """Run until the input ends."""
    numbers = profile_from("profile", json.loads(profile_json))
    path = PathProfile(name="bench", up=numbers, down=numbers)
    async with AsyncExitStack() as stack:
        links = [
            await stack.enter_async_context(
                UdpProxy(
                    f"l{at}", path, listen=HostPort(host=HOST, port=0), upstream=HostPort(host=HOST, port=int(port))
                )
            )
            for at, port in enumerate(ports)
        ]
        print(json.dumps([link.address.port for link in links]), flush=True)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
        await ended.wait()
        print(json.dumps([link.describe() for link in links]), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
