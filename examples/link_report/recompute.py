"""Recompute a day of one link from its raw seconds, with nothing of the agent: python recompute.py DAY.csv[.gz] ...

Prints seconds up and down, frames arrived and lost while up, errored and severely errored seconds; the definitions are
in docs/link-report.md.
"""

import gzip
import sys
from collections import Counter, defaultdict


def recompute(paths: list[str]) -> dict[str, int]:
    """Sums of a day, as the report of that day has them."""
    claims: dict[int, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for path in paths:
        with gzip.open(path, "rt") if path.endswith(".gz") else open(path) as file:
            for cells in (line[:-1].split(",") for line in file if line.endswith("\n")):
                if cells[0] == "run":
                    run, first, utc = cells[1], int(cells[2]), int(cells[3])
                elif cells[0].lstrip("-").isdigit():
                    at, (seen, arrived, lost) = int(cells[0]), [*cells[1:4], "", ""][:3]
                    claim = claims[utc + at][f"{run} {first + at}"]
                    claim.update({"arrived": int(arrived or 0), "lost": int(lost or 0), **Counter(seen)})
    sums = dict.fromkeys(("up_s", "down_s", "frames_arrived", "frames_lost", "errored_s", "severely_errored_s"), 0)
    down_at = waiting = 0  # the newest down second, and how many came after it in which nothing was tried
    for at in sorted(claims):
        kinds = {kind_of(claim) for claim in claims[at].values()}
        kind = next(each for each in ("down", "away", "up", "") if each in kinds)
        came, gone = (sum(claim[name] for claim in claims[at].values()) for name in ("arrived", "lost"))
        if kind == "down":
            down_s = 1 + (waiting if at - down_at == waiting + 1 else 0)
            for name in ("down_s", "errored_s", "severely_errored_s"):
                sums[name] += down_s
        elif kind != "away":
            sums["errored_s"] += gone > 0
            sums["severely_errored_s"] += gone > 0.3 * (came + gone)
        if kind == "up":
            sums["up_s"] += 1
            sums["frames_arrived"] += came
            sums["frames_lost"] += max(0, gone)
        down_at, waiting = (down_at, waiting + 1) if kind == "away" else (at if kind == "down" else 0, 0)
    return sums


def kind_of(claim: Counter[str]) -> str:
    """What one second was; letters: u in use, d convicted, x transport gone, s frames left, h frames came."""
    if claim["arrived"] > 0:
        return "up"
    if claim["x"] or claim["lost"] > 0 or (claim["d"] and claim["s"]):
        return "down"
    return "away" if claim["d"] else "up" if claim["h"] else ""


if __name__ == "__main__":
    for name, value in recompute(sys.argv[1:]).items():
        print(name, value)
