"""Random streams: one for each link, direction and effect, so that none moves another."""

import hashlib
import random


def derived_seed(seed: int, *names: str) -> int:
    """A seed for one random stream; streams of different names have nothing in common (BLAKE2b, 64 bits)."""
    return int.from_bytes(hashlib.blake2b("/".join((str(seed), *names)).encode(), digest_size=8).digest(), "big")


def stream(seed: int, *names: str) -> random.Random:
    """The stream of that name."""
    return random.Random(derived_seed(seed, *names))
