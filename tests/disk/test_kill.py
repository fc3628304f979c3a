"""kill -9 at any moment: what was promised is on disk. (It says nothing of power loss: the page cache survives.)"""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.disk.bench import opened
from tests.disk.promises import Promises
from tests.disk.victim import QUOTA_BYTES

KILLS = 20
KILLS_MAX = 80
SEED = 20_260_405


def run_and_kill(folder: Path, seed: int, life_s: float) -> list[str]:
    """The whole lines that a victim said before it was killed ``life_s`` after its first promise."""
    command = [sys.executable, "-m", "tests.disk.victim", str(folder), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True) as victim:
        assert victim.stdout is not None
        first = victim.stdout.readline()
        assert first.startswith("opened"), first
        time.sleep(life_s)  # the moment of the kill is the point; nothing waits for it
        victim.kill()
        text = first + victim.stdout.read()
    return text[: text.rfind("\n")].split("\n")


@pytest.mark.slow
async def test_nothing_promised_is_lost_over_twenty_kills(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    promises = Promises()
    for kill in range(KILLS_MAX):
        if kill >= KILLS and kill % 4 == 0 and len(promises.stored) > 100 and promises.erased:
            break  # on a slow disk a victim says little in its life: then there are more of them
        for line in run_and_kill(tmp_path, rng.randrange(1 << 30), rng.uniform(0.0, 0.15)):
            promises.hear(line)
        if kill % 4 == 3:
            async with opened(tmp_path, quota_bytes=QUOTA_BYTES) as store:
                await promises.check(store)
                promises.session = store.restored.session_number
    assert len(promises.stored) > 100
    assert promises.erased
    assert promises.acked
    assert promises.leased > 1_000
    assert len(promises.windows) > 20
