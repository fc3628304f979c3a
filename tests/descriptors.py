"""What a test's process has open, to see that nothing stays behind."""

import contextlib
import gc
import os


def open_descriptors() -> set[str]:
    """Each descriptor with its target, so that a leak has a name; what only the garbage of other tests holds is closed.

    Compare with ``<=``: what another test opened and closes late is no leak of this one.
    """
    gc.collect()
    opened = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the descriptor of listdir itself
            opened.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return opened
