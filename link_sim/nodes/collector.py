"""Python's collector of cycles while a world runs: what a world makes are no cycles, and it would look for some."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (50_000, 20, 100)
"""By Python's own 700 the search for cycles takes 9 to 18 % of a world's time."""


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Let the collector look seldom, and then again as whoever called had it."""
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
