"""Python's collector of cycles in a process whose bundles come and go by the thousand and are none."""

import gc

THRESHOLDS = (10_000, 20, 20)
"""By Python's own 700 a drain spends 5 % on looking for cycles."""


def collect_seldom() -> None:
    """From now on: once every so many objects more, and never through what is there already."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
