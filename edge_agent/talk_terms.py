"""``edge-agent profile`` and ``edge-agent link``: how a running agent uses its links, and what they cost."""

import argparse

from edge_agent.cli import EXIT_DONE
from edge_agent.client import Client
from edge_agent.talk import print_line, with_client


def profile(options: argparse.Namespace) -> int:
    """Choose how all links are used; print ``{"profile"}``."""

    async def choose(client: Client) -> int:
        unit = {"unit": options.to, "by": options.by} if options.to else {}
        await client.act("profile", {"profile": options.profile, **unit})
        print_line({"profile": options.profile, **({"to": options.to} if options.to else {})})
        return EXIT_DONE

    return with_client(options, choose)


def link(options: argparse.Namespace) -> int:
    """Say what a link costs; print ``{"link", "tariff"}``."""

    async def describe(client: Client) -> int:
        await client.act("link", {"link": options.link, "tariff": options.tariff})
        print_line({"link": options.link, "tariff": options.tariff})
        return EXIT_DONE

    return with_client(options, describe)
