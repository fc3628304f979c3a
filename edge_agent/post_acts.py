"""What people do at this post, as bundles in its own store, from where they are copied to the other posts."""

import asyncio
from collections.abc import Callable

from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, BundleRecord, Origin, Precedence
from edge_agent.core.effects import Adopted
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.core.post_words import ACT_FLOW, act_incarnation
from edge_agent.runner import Runner

ACT_LIFETIME_S = 30 * 86_400.0
"""A post that was away for longer has other troubles."""


class PostActs:
    """Gives each act a name of its own and makes it durable; the copies then go their usual way."""

    def __init__(self, node_id: str, incarnation: int, runner: Runner, now_s: Callable[[], float]) -> None:
        self._node_id = node_id
        self._key = (node_id, act_incarnation(incarnation), Precedence.IMMEDIATE)
        self._runner = runner
        self._now_s = now_s
        self._one_at_a_time = asyncio.Lock()

    async def record(self, act: bytes, at_ms: int) -> None:
        """Return once it is on disk. Raises RefusedError."""
        async with self._one_at_a_time:
            known = self._runner.closed_numbers().get(self._key)
            header = BundleHeader(
                destination=COMMAND,
                flow=ACT_FLOW,
                origin=Origin.PERSON,
                created_at_ms=at_ms,
                lifetime_s=ACT_LIFETIME_S,
            )
            bundle = BundleId(*self._key, known.last_range()[1] if known else 0)
            told = await self._runner.adopt(BundleRecord(bundle, header, len(act), self._now_s()), act, self._node_id)
        if told.adopted is not Adopted.STORED:
            raise RefusedError(RefusalReason.STORE_FAILED, told.detail or told.adopted.value)
