"""A long proof in chunks, each kept as a JSON line as soon as it is done: a run that was stopped goes on.

The file is named after the sources that made it; a change of any of them begins anew.
"""

import json
import os
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

Outcome = dict[str, Any]  # Any: JSON, as the proof says


def source_digest(*folders: str) -> str:
    """What an outcome depends on: every source file below these folders."""
    whole = blake2b(digest_size=8)
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            whole.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return whole.hexdigest()


def go_on(proof: str, digest: str, seeds: Iterable[int], run: Callable[[int], Outcome]) -> list[Outcome]:
    """Outcomes of all ``seeds``, those that the file has and those made now."""
    path = ROOT / "build" / proof / f"{digest}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    known: dict[int, Outcome] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            outcome = json.loads(line)
            known[outcome["seed"]] = outcome
    wanted = list(seeds)
    for seed in wanted:
        if seed in known:
            continue
        known[seed] = {"seed": seed, **run(seed)}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(known[seed]) + "\n")
            file.flush()
            os.fsync(file.fileno())
        for breach in known[seed]["breaches"]:
            print(f"{proof}, seed {seed}: {breach}", flush=True)
    return [known[seed] for seed in wanted]
