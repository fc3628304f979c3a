"""The ledger outside both nodes: ids that the kits accepted against ids that were listened at command."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.client import AgentAbsentError, AgentRefusedError, Client
from edge_agent.config import load_api_address
from edge_agent.core.bundle import BundleId, Precedence

RETRY_S = 0.3
ASK_AGE_S = 2.0
ASKED_A_TURN = 200
LOST_AFTER_ASKS = 3
"""A bundle that nobody knows so often in a row is lost; once may be a question between two steps of a transfer."""
UNHEARD_S = 20.0
"""A bundle that its kit handed over so long ago without a consumer at command getting it is lost to the user."""
ENDS = {"expired": "expired", "superseded": "superseded", "cancelled": "superseded"}
UNKNOWN = "unknown"
GONE = (UNKNOWN, "evicted", "refused")
COLUMNS = ("accepted", "delivered", "waiting", "expired", "superseded", "lost", "duplicated")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One bundle as command's listener got it, in seconds of the demo."""

    bundle: str
    source: str
    flow: str
    at_s: float
    created_at_ms: int
    via: tuple[str, ...]


@dataclass(slots=True)
class Ledger:
    """Books of every bundle of the kits. ``start_s`` is the demo's zero on the monotonic clock."""

    configs: dict[str, Path]
    start_s: float = field(default_factory=time.monotonic)
    accepted_s: dict[str, float] = field(default_factory=dict)
    arrivals: dict[str, Arrival] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    suspicions: Counter[str] = field(default_factory=Counter)
    handed_over_s: dict[str, float] = field(default_factory=dict)
    doubled: Counter[str] = field(default_factory=Counter)

    def now_s(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self.start_s

    async def run(self) -> None:
        """Keep the books for ever."""
        async with asyncio.TaskGroup() as group:
            for kit in ("kit-1", "kit-2"):
                group.create_task(self._follow(kit), name=f"ledger:{kit}")
            group.create_task(self._listen(), name="ledger:command")
            group.create_task(self._keep_asking(), name="ledger:states")

    def _client(self, node: str) -> Client:
        return Client(load_api_address(self.configs[node]))

    async def _follow(self, kit: str) -> None:
        client = self._client(kit)
        while True:
            try:
                async for bundle in client.accepted():
                    if bundle:
                        self.accepted_s.setdefault(bundle, self.now_s())
            except AgentAbsentError:
                await asyncio.sleep(RETRY_S)

    async def _listen(self) -> None:
        client = self._client("command")
        while True:
            try:
                async for delivery in client.listen("*", since="all", consumer="ledger"):
                    if delivery.bundle in self.arrivals:
                        if not delivery.redelivered:
                            self.doubled[delivery.bundle] += 1
                        continue
                    self.arrivals[delivery.bundle] = Arrival(
                        delivery.bundle,
                        delivery.source,
                        delivery.flow,
                        self.now_s(),
                        delivery.created_at_ms,
                        delivery.via,
                    )
                    # accepted while its kit was being restarted: the delivery itself is the proof of it
                    self.accepted_s.setdefault(delivery.bundle, self.now_s())
            except AgentAbsentError:
                await asyncio.sleep(RETRY_S)

    def outstanding(self) -> list[str]:
        """Accepted, and neither delivered nor ended as far as the books know; oldest first."""
        return [each for each in self.accepted_s if each not in self.arrivals and each not in self.ended]

    async def _keep_asking(self) -> None:
        clients = {node: self._client(node) for node in self.configs}
        while True:
            await asyncio.sleep(1.0)
            now_s = self.now_s()
            old = [each for each in self.outstanding() if now_s - self.accepted_s[each] > ASK_AGE_S]
            for bundle in old[:ASKED_A_TURN]:
                await self._ask(clients, bundle)

    async def _ask(self, clients: dict[str, Client], bundle: str) -> None:
        """Ask the kit, and command for what the kit handed over, where a bundle is that has not been listened to."""
        try:
            state = await _state(clients[BundleId.parse(bundle).source], bundle)
            if state == "accepted":
                self.suspicions.pop(bundle, None)
                self.handed_over_s.pop(bundle, None)
                return
            if state not in (*ENDS, *GONE):
                self.handed_over_s.setdefault(bundle, self.now_s())
                state = await _state(clients["command"], bundle)
        except AgentAbsentError:
            return  # it is being restarted: asked again
        if state in ENDS:
            self.ended[bundle] = ENDS[state]
        elif state in GONE:
            self.suspicions[bundle] += 1
        else:
            self.suspicions.pop(bundle, None)

    def is_lost(self, bundle: str) -> bool:
        """Whether an accepted bundle is in nobody's queue, or was handed over and never came out at command."""
        unheard_s = self.now_s() - self.handed_over_s.get(bundle, self.now_s())
        return self.suspicions[bundle] >= LOST_AFTER_ASKS or unheard_s > UNHEARD_S

    def tally(self) -> dict[str, dict[str, int]]:
        """Counts by precedence; in each row accepted is the sum of the other columns without duplicated."""
        rows = {precedence.name: dict.fromkeys(COLUMNS, 0) for precedence in Precedence}
        for bundle in self.accepted_s:
            row = rows[BundleId.parse(bundle).precedence.name]
            row["accepted"] += 1
            if bundle in self.arrivals:
                row["delivered"] += 1
            elif bundle in self.ended:
                row[self.ended[bundle]] += 1
            else:
                row["lost" if self.is_lost(bundle) else "waiting"] += 1
        for bundle, number in self.doubled.items():
            rows[BundleId.parse(bundle).precedence.name]["duplicated"] += number
        return rows

    def sum(self) -> dict[str, int]:
        """The tally over all precedences."""
        rows = self.tally().values()
        return {column: sum(row[column] for row in rows) for column in COLUMNS}

    def longest_silence_s(self, source: str) -> dict[str, float]:
        """Longest pause between arrivals of each flow of one kit."""
        last: dict[str, float] = {}
        longest: dict[str, float] = {}
        for arrival in self.arrivals.values():
            if arrival.source == source:
                before_s = last.get(arrival.flow, arrival.at_s)
                longest[arrival.flow] = round(max(longest.get(arrival.flow, 0.0), arrival.at_s - before_s), 3)
                last[arrival.flow] = arrival.at_s
        return longest

    async def settle(self, timeout_s: float) -> None:
        """Wait until everything accepted so far has arrived or ended, at most ``timeout_s``."""
        due_s = self.now_s() + timeout_s
        wanted = set(self.outstanding())
        while wanted and self.now_s() < due_s:
            await asyncio.sleep(0.2)
            wanted -= self.arrivals.keys() | self.ended.keys()


async def _state(client: Client, bundle: str) -> str:
    """Where a node says a bundle is. Raises AgentAbsentError."""
    try:
        return (await client.state(bundle)).state
    except AgentRefusedError:
        return UNKNOWN
