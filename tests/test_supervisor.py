"""A lost plugin is marked each time, said once for each reason, and started again ever more slowly."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
import structlog

from edge_agent.ports import PluginLostError
from edge_agent.supervisor import RETRY_LONGEST_S, keep_running
from tests import virtual_loop


def starts_of(run: Callable[[int], Awaitable[None]], for_s: float) -> tuple[list[float], list[str], list[str]]:
    """When ``run(n)`` was started within ``for_s``, the reasons it was marked with, and those that were logged."""

    async def watched() -> tuple[list[float], list[str], list[str]]:
        loop = asyncio.get_running_loop()
        begun_s, starts_s, reasons = loop.time(), [], []

        async def started() -> None:
            starts_s.append(loop.time() - begun_s)
            await run(len(starts_s))

        with structlog.testing.capture_logs() as logged:
            try:
                async with asyncio.timeout(for_s):
                    await keep_running(started, what="link", name="x", mark_lost=reasons.append)
            except TimeoutError:
                pass
        return starts_s, reasons, [line["reason"] for line in logged if line["event"] == "plugin_lost"]

    return virtual_loop.run(watched())


def test_retries_double_up_to_the_longest_and_the_reason_is_said_once() -> None:
    async def run(start: int) -> None:
        raise PluginLostError("no modem")

    starts_s, reasons, said = starts_of(run, 200.0)
    gaps_s = [round(later - earlier) for earlier, later in pairwise(starts_s)]
    assert gaps_s[:6] == [1, 2, 4, 8, 16, 30]
    assert max(gaps_s) == RETRY_LONGEST_S
    assert set(reasons) == {"no modem"}
    assert len(reasons) == len(starts_s)
    assert said == ["no modem"]


def test_a_new_reason_is_said_and_a_return_is_a_loss() -> None:
    async def run(start: int) -> None:
        if start == 1:
            raise OSError(2, "No such file or directory", "/dev/radio")

    _, reasons, said = starts_of(run, 10.0)
    assert reasons[:2] == ["No such file or directory: /dev/radio", "ended"]
    assert said == ["No such file or directory: /dev/radio", "ended"]


def test_a_plugin_that_was_well_for_long_is_retried_quickly_again() -> None:
    async def run(start: int) -> None:
        await asyncio.sleep(0 if start < 6 else 100)
        raise PluginLostError("gone")

    starts_s, _, said = starts_of(run, 300.0)
    assert round(starts_s[6] - starts_s[5]) == 101  # 100 s of work, then the first retry of 1 s
    assert len(said) >= 2


def test_a_defect_is_not_hidden() -> None:
    async def run(start: int) -> None:
        raise KeyError("planted")

    with pytest.raises(KeyError, match="planted"):
        starts_of(run, 10.0)
