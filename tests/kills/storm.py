"""kill -9 of kit and command post again and again, in ingest, drain, delivery, start and compaction.

Real agents over UDP; senders, a durable consumer and the ledger are in this process and outlive them all.
"""

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import agents
from edge_agent.client import AgentAbsentError, AgentRefusedError, Client
from tests.kills.ledger import KillLedger

ROOT = Path(__file__).parents[2]
SENDERS = 4
BACKLOG_MAX = 300  # then senders wait: a storm is to end with everything delivered
RETRY_S = 0.01
READY_MAX_S = 20.0
SETTLES_MAX_S = 90.0  # without anything that comes: a link that saw its machine stall takes its time
QUIET_S = 3.0
LOOK_S = 0.1
MISSING_EXPLAINED = 5
LOG_SHOWN = 3000  # characters
SIZES = (4, 40, 200, 200, 1_500, 5_000)
LARGE_BYTES = 90_000  # a file
LARGE_RATIO = 0.02
PRECEDENCES = ("flash", "immediate", "priority", "routine", "routine", "deferred")
QUOTA_BYTES = 10_000_000  # small: delivered bundles are evicted all the time, and space is given back


class Forker:
    """The process that makes agents, in the tree whose agent is meant."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, tree: Path) -> "Forker":
        """Loaded and ready when its first answer comes."""
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.kills.forker", cwd=tree,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(tree)},
            )
        )  # fmt: skip

    async def ask(self, *words: object) -> str:
        """One request and its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        answer = (await self._process.stdout.readline()).decode().strip()
        assert answer, "the forker ended"
        return answer

    async def close(self) -> None:
        """End it and its agents."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


@dataclass(slots=True, eq=False)
class Victim:
    """One agent over all its lives."""

    config: Path
    forker: Forker
    pid: int = 0

    @property
    def client(self) -> Client:
        """A new client; close it."""
        return Client(self.config.with_suffix(".sock"))

    @property
    def log(self) -> Path:
        """What it says in all its lives."""
        return self.config.with_suffix(".log")

    def complaints(self) -> list[str]:
        """What it says of its own defects: errors in its log, and whatever is no line of a log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return [
            f"{self.config.stem} says: {line[:LOG_SHOWN]}"
            for line in lines
            if not line.startswith("{") or '"level": "error"' in line
        ]

    async def start(self) -> None:
        """Begin another life; not ready yet."""
        self.pid = int(await self.forker.ask("start", self.config, self.log))

    async def kill(self) -> None:
        """At once."""
        await self.forker.ask("kill", self.pid)

    async def until_ready(self) -> None:
        """It answers."""
        async with self.client as client, asyncio.timeout(READY_MAX_S):
            while True:
                try:
                    await client.status()
                except AgentAbsentError:
                    await asyncio.sleep(RETRY_S)  # a process that starts has no event of its own to wait for
                else:
                    return


@dataclass(slots=True)
class Storm:
    """Two agents, their users, and everything that was sent and heard."""

    kit: Victim
    post: Victim
    rng: random.Random
    ledger: KillLedger = field(default_factory=KillLedger)
    kills: int = 0
    may_send: asyncio.Event = field(default_factory=asyncio.Event)
    may_hear: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def rage(self, kills: int) -> None:
        """So many kills, then quiet until everything is through or time is up."""
        for victim in (self.post, self.kit):
            await victim.start()
        self.may_send.set()
        self.may_hear.set()
        async with asyncio.TaskGroup() as group:
            users = [group.create_task(self._send(), name=f"sender {each}") for each in range(SENDERS)]
            users.append(group.create_task(self._listen(), name="consumer"))
            await asyncio.gather(self.post.until_ready(), self.kit.until_ready())
            while self.kills < kills and not self.ledger.breaches:
                await self.rng.choice(self._ways())()
            for sender in users[:-1]:
                sender.cancel()
            await self._settle()
            users[-1].cancel()
            self.ledger.close()
            await self._explain()
            self.ledger.breaches += [each for victim in (self.kit, self.post) for each in victim.complaints()]

    async def _explain(self) -> None:
        """What each side says of what is missing, added to the breaches."""
        missing = self.ledger.missing()[:MISSING_EXPLAINED]
        for victim in (self.kit, self.post) if missing else ():
            async with victim.client as client:
                try:
                    status = await client.status()
                except AgentAbsentError as error:
                    self.ledger.breaches.append(f"{error}; its log ends: {victim.log.read_text()[-LOG_SHOWN:]}")
                    continue
                self.ledger.breaches.append(
                    f"{victim.config.stem}: backlog {status['backlog']}, dropped {status['dropped']}"
                )
                for bundle in missing:
                    try:
                        told = str(dict(await client.explain(bundle)))
                    except AgentRefusedError as error:
                        told = str(error)
                    self.ledger.breaches.append(f"{bundle}: {victim.config.stem} says {told}")

    def _ways(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self._in_ingest,
            self._in_drain,
            self._in_delivery,
            self._in_compaction,
            self._both,
            self._while_starting,
        ]

    async def _pass(self, longest_s: float) -> None:
        await asyncio.sleep(self.rng.uniform(0, longest_s))  # any moment is right: nothing waits for this

    async def _strike(self, *victims: Victim) -> None:
        """Kill and begin anew."""
        for victim in victims:
            await victim.kill()
            self.kills += 1
        for victim in victims:
            await victim.start()
        await asyncio.gather(*(victim.until_ready() for victim in victims))

    async def _in_ingest(self) -> None:
        await self._pass(0.2)
        await self._strike(self.kit)

    async def _in_drain(self) -> None:
        """The post comes back to a backlog, and one of the two dies while it drains."""
        await self.post.kill()
        self.kills += 1
        await self._pass(0.2)
        await self.post.start()
        await self.post.until_ready()
        await self._pass(0.4)
        await self._strike(self.rng.choice([self.kit, self.post]))

    async def _in_delivery(self) -> None:
        """The consumer comes back to what has gathered, and the post dies while it hands that out."""
        self.may_hear.clear()
        await self._pass(0.2)
        self.may_hear.set()
        await self._pass(0.1)
        await self._strike(self.post)

    async def _in_compaction(self) -> None:
        """A clean stop gives numbers back and folds the log into the database; death comes in the middle."""
        victim = self.rng.choice([self.kit, self.post])
        await self._pass(0.1)
        os.kill(victim.pid, signal.SIGTERM)
        await self._pass(0.05)
        await self._strike(victim)

    async def _both(self) -> None:
        await self._pass(0.2)
        await self._strike(self.kit, self.post)

    async def _while_starting(self) -> None:
        victim = self.rng.choice([self.kit, self.post])
        await victim.kill()
        await victim.start()
        self.kills += 1
        await self._pass(0.15)
        await self._strike(victim)

    async def _send(self) -> None:
        async with self.kit.client as client:
            while True:
                await self.may_send.wait()
                if len(self.ledger.answered) - len(self.ledger.positions) > BACKLOG_MAX:
                    self.heard.clear()
                    await self.heard.wait()
                    continue
                size = LARGE_BYTES if self.rng.random() < LARGE_RATIO else self.rng.choice(SIZES)
                payload = self.rng.randbytes(size)
                precedence = "routine" if size == LARGE_BYTES else self.rng.choice(PRECEDENCES)
                self.ledger.attempt(payload)
                try:
                    state = await client.send(payload, flow="text", precedence=precedence)
                except (AgentAbsentError, AgentRefusedError):  # killed, or on its way to it: nothing was promised
                    await asyncio.sleep(RETRY_S)
                else:
                    self.ledger.answer(state.bundle, payload)

    async def _listen(self) -> None:
        async with self.post.client as client:
            while True:
                await self.post.until_ready()
                try:
                    async for each in client.listen("text", since="all", consumer="outlet"):
                        self.ledger.hear(each.bundle, each.position, each.payload, redelivered=each.redelivered)
                        self.heard.set()
                        await self.may_hear.wait()
                except (
                    AgentAbsentError
                ):  # killed before the first connection; the client itself goes on over later lives
                    await asyncio.sleep(RETRY_S)

    async def _settle(self) -> None:
        """Until all is there, or the kit holds nothing and nothing comes: then the ledger says what is missing."""
        news_s = held_s = time.monotonic()
        heard = -1
        async with self.kit.client as kit:
            while self.ledger.missing() and time.monotonic() < news_s + SETTLES_MAX_S:
                if len(self.ledger.positions) != heard:
                    news_s, heard = time.monotonic(), len(self.ledger.positions)
                if any(each["bundles"] for each in (await kit.status())["backlog"].values()):
                    held_s = time.monotonic()
                if time.monotonic() > max(news_s, held_s) + QUIET_S:
                    return
                await asyncio.sleep(LOOK_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class StormOutcome:
    """What one storm came to. ``breaches``: each bundle lost, doubled or changed, by its id."""

    seed: int
    kills: int
    answered: int
    heard: int
    breaches: list[str]


async def run_storm(seed: int, kills: int, tree: Path = ROOT) -> StormOutcome:
    """One storm of at least so many kills; ``tree`` is where the agent is taken from."""
    with tempfile.TemporaryDirectory(prefix="storm-", dir=_short_folder()) as name:
        folder, address = Path(name), agents.free_address()
        quota = f"[store]\nquota_bytes = {QUOTA_BYTES}\n"
        agents.write_config(folder, "kit-1", role="kit", rest=quota + agents.udp_link("a", "remote", address))
        agents.write_config(folder, "command-1", role="command", rest=quota + agents.udp_link("a", "listen", address))
        forker = await Forker.start(tree)
        try:
            victims = [Victim(folder / f"{node}.toml", forker) for node in ("kit-1", "command-1")]
            storm = Storm(*victims, random.Random(seed))
            await storm.rage(kills)
        finally:
            await forker.close()
        ledger = storm.ledger
        return StormOutcome(
            seed=seed,
            kills=storm.kills,
            answered=len(ledger.answered),
            heard=len(ledger.positions),
            breaches=ledger.breaches,
        )


def _short_folder() -> str | None:
    """A unix socket's path is short; the system's folder for temporary files may not be."""
    return "/tmp" if len(tempfile.gettempdir()) > 60 else None
