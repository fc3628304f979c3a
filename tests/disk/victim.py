"""A process to be killed: fills a store and prints each promise the moment it is made.

``stored ID SIZE`` · ``erasing ID`` before and ``erased ID`` after custody ends · ``part ID SIZE START END`` ·
``staged ID SIZE END`` (its pieces up to there, under that name) ·
``acked POSITION`` · ``lapsed ID`` when its source is to be told, ``telling ID`` before it is told ·
 ``opened SESSION LEASED`` · ``leased UP_TO`` · ``window HIGHEST MASK``.
Run as ``python -m tests.disk.victim FOLDER SEED``.
"""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import structlog

from edge_agent.core.bundle import BundleRecord, Precedence
from edge_agent.core.effects import BurstWindow, Done, Failed, Known, Outcome, Staged
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.disk.stagings import part_of
from edge_agent.disk.types import FateState, StoreError
from tests.disk.bench import PEER_INCARNATION, Store, digest_of, opened, pattern

SIZES = (0, 20, 20, 200, 200, 5_000, 60_000, 90_000, 300_000)
PIECE_BYTES = 50_000
SIDE_BY_SIDE = 6
QUOTA_BYTES = 1 << 30
LEASED_AT_A_TIME = 64
MASK = (1 << 64) - 1


Say = Callable[..., None]  # any number of words
Ask = Callable[[Callable[[], Awaitable[Outcome]]], Awaitable[None]]  # begins an effect until it is done


def say_aloud(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def ask_once(begin: Callable[[], Awaitable[Outcome]]) -> None:
    """On a sound disk everything is done at the first time."""
    outcome = await begin()
    assert outcome == Done(), outcome


async def ask_again(begin: Callable[[], Awaitable[Outcome]]) -> None:
    """On a disk that fails now and then: until it is done, or was all the time."""
    while not isinstance(outcome := await begin(), Done | Known):
        assert isinstance(outcome, Failed), outcome
        assert outcome.reason in (RefusalReason.STORE_FAILED, RefusalReason.STORE_FULL), outcome
        await asyncio.sleep(0)


async def submit_and_erase(store: Store, rng: random.Random, say: Say, ask: Ask) -> None:
    """Own bundles: stored, and about half of them handed on."""
    while True:
        record = store.own(rng.choice(SIZES), precedence=rng.choice(list(Precedence)))
        payload = pattern(record.payload_bytes, record.id.sequence)
        await ask(partial(store.persist, record, payload))
        say("stored", record.id, record.payload_bytes)
        if rng.random() < 0.5:
            say("erasing", record.id)
            await ask(partial(store.erase, record.id))
            say("erased", record.id)


async def receive(store: Store, rng: random.Random, say: Say, ask: Ask) -> None:
    """Bundles that arrive, large ones in pieces."""
    while True:
        record = store.arriving(rng.choice(SIZES), precedence=rng.choice(list(Precedence)))
        if record.payload_bytes > 65_536:
            await receive_pieces(store, record, rng, say, ask)
        else:
            payload = pattern(record.payload_bytes, record.id.sequence)
            await ask(partial(store.persist, record, payload, is_arrival=True))
        say("stored", record.id, record.payload_bytes)


async def receive_pieces(store: Store, record: BundleRecord, rng: random.Random, say: Say, ask: Ask) -> None:
    size, payload = record.payload_bytes, pattern(record.payload_bytes, record.id.sequence)
    starts = list(range(0, size, PIECE_BYTES))
    rng.shuffle(starts)
    for start in starts:
        is_last = start == starts[-1]
        piece = payload[start : start + PIECE_BYTES]
        await ask(partial(store.persist_piece, record.id, size, start, piece, record=record if is_last else None))
        if not is_last:
            say("part", record.id, size, start, start + len(piece))


async def hand_in(store: Store, rng: random.Random, say: Say, ask: Ask) -> None:
    """What programs hand in piece by piece; each goes on from what it is told after it was refused."""
    staging = store.disk.staging
    while True:
        record = store.own(rng.choice(SIZES[-2:]), precedence=rng.choice(list(Precedence)))
        name, size, payload = str(record.id), record.payload_bytes, pattern(record.payload_bytes, record.id.sequence)

        async def put_all(record: BundleRecord = record, name: str = name, payload: bytes = payload) -> Outcome:
            size = len(payload)
            try:
                staged = await staging.open(name, size, record.id.precedence, record.header.origin)
                for start in range(staged.offset, size, PIECE_BYTES):
                    piece = payload[start : start + PIECE_BYTES]
                    await staging.put(staged.part, size, start, piece)
                    say("staged", record.id, size, start + len(piece))
            except RefusedError as error:
                return Failed(error.reason, error.detail)
            except StoreError as error:
                return Failed(RefusalReason.STORE_FAILED, str(error))
            return Done()

        await ask(put_all)
        staged = Staged(part_of(f"{name}/{size}", record.id.precedence), size, digest_of(payload))
        await ask(partial(store.persist_staged, record, staged))
        say("stored", record.id, size)


async def consume(store: Store, say: Say, ask: Ask) -> None:
    """The board: acknowledges what it gets."""

    async def take_some() -> Outcome:
        try:
            await store.disk.consumer_open("board", "reading")
            found = await store.disk.consumer_next("board", limit=8)
            if found:
                await store.disk.consumer_ack("board", found[-1].position)
                say("acked", found[-1].position)
        except StoreError as error:
            return Failed(RefusalReason.STORE_FAILED, str(error))
        return Done()

    while True:
        await ask(take_some)
        await asyncio.sleep(0.001)


async def ignore(store: Store, rng: random.Random, say: Say, ask: Ask) -> None:
    """What nobody listens to, and has expired when it comes; about half of the words owed for it are settled."""
    while True:
        aged = {"lifetime_s": 5.0, "age_low_s": 10.0, "age_high_s": 10.0}
        record = store.arriving(200, flow="unheard", incarnation=PEER_INCARNATION - 1, **aged)
        await ask(partial(store.persist, record, pattern(200, record.id.sequence), is_arrival=True))
        say("stored", record.id, 200)
        for each in [each for each in store.acked if each.state is FateState.EXPIRED_THERE]:
            store.acked.remove(each)
            say("lapsed", each.bundle)
            if rng.random() < 0.5:
                say("telling", each.bundle)
                await store.disk.settle_receipts([each.bundle])
        await asyncio.sleep(0.001)


async def lease_numbers(store: Store, say: Say, ask: Ask) -> None:
    """The sender of burst frames: some numbers at a time, each used once it is leased."""
    leased = store.restored.burst_leased
    while True:
        leased += LEASED_AT_A_TIME
        await ask(partial(store.lease, leased))
        say("leased", leased)


async def take_bursts(store: Store, say: Say, ask: Ask) -> None:
    """The receiver of burst frames: every third number is lost, each window is kept before it counts."""
    window = store.restored.burst_windows[0] if store.restored.burst_windows else BurstWindow(7, PEER_INCARNATION, 0, 1)
    while True:
        steps = 2 if window.highest % 3 == 1 else 1
        window = window._replace(highest=window.highest + steps, mask=(window.mask << steps | 1) & MASK)
        await ask(partial(store.sync, window))
        say("window", window.highest, window.mask)


async def work(store: Store, rng: random.Random, say: Say, ask: Ask = ask_once) -> None:
    """All of it at once, until cancelled."""
    say("opened", store.restored.session_number, store.restored.burst_leased)
    store.disk._writer.lapses.full_share = store.disk._writer.lapses.return_s = 0.0
    async with asyncio.TaskGroup() as group:
        for _ in range(SIDE_BY_SIDE):
            group.create_task(submit_and_erase(store, rng, say, ask), name="submit")
        group.create_task(receive(store, rng, say, ask), name="receive")
        group.create_task(hand_in(store, rng, say, ask), name="hand in")
        group.create_task(consume(store, say, ask), name="consume")
        group.create_task(ignore(store, rng, say, ask), name="ignore")
        group.create_task(lease_numbers(store, say, ask), name="lease")
        group.create_task(take_bursts(store, say, ask), name="bursts")


async def main(folder: Path, seed: int) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # promises alone go to stdout
    async with opened(folder, quota_bytes=QUOTA_BYTES) as store:
        await work(store, random.Random(seed), say_aloud)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
