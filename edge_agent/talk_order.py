"""``edge-agent order``: give an order to a unit or a group, and follow its roll call in a terminal."""

import argparse
import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from edge_agent.cli import EXIT_DONE, EXIT_LATE, EXIT_REFUSED
from edge_agent.client import AgentAbsentError, Client
from edge_agent.command.roll import spell_roll
from edge_agent.talk import complain, print_line, with_client

LOOK_S = 0.5  # the local API tells no news of orders; people do not read faster
WAITED_FOR = {"delivered": ("read", "delivered", "ended"), "read": ("read", "ended")}
"""Lists of the roll call that a unit must be in, by what is waited for."""

Json = dict[str, Any]  # Any: JSON of docs/api.md


def order(options: argparse.Namespace) -> int:
    """Give one order; print ``{"order", "bundles"}``, then, with ``--wait``, a JSON line at each change of the roll."""
    return with_client(options, lambda client: _order(client, options))


async def _order(client: Client, options: argparse.Namespace) -> int:
    body: Json = {"text": " ".join(options.text), "to": options.to, "by": options.by, "flow": options.flow}
    if options.lifetime is not None:
        body["lifetime_s"] = options.lifetime
    given = await client.act("order", body)
    print_line({"order": given["id"], "bundles": given["bundles"]})
    if options.wait is None:
        return EXIT_DONE
    try:
        async with asyncio.timeout(options.timeout), aclosing(_rolls(client, given["id"])) as rolls:
            async for seen in rolls:
                names = seen["names"]
                print_line({"order": given["id"], "roll": names, "summary": spell_roll(names)})
                if names["teams"] == sum(len(names[kind]) for kind in WAITED_FOR[options.wait]):
                    return EXIT_REFUSED if names["ended"] else EXIT_DONE
    except TimeoutError:
        complain(f"not {options.wait} by all within {options.timeout} s; the order stays on its way")
        return EXIT_LATE
    return EXIT_REFUSED


async def _rolls(client: Client, order_id: str) -> AsyncGenerator[Json, None]:
    """The order at first and whenever its roll call changed, over restarts of the agent."""
    told: object = None
    while True:
        try:
            found = next((each for each in await client.orders() if each["id"] == order_id), None)
        except AgentAbsentError:
            found = None  # it is started again, and has its orders on disk
        if found is not None and found["names"] != told:
            told = found["names"]
            yield found
        await asyncio.sleep(LOOK_S)
