"""Which of several runs this is. Each run has seeds and moments of its own, the same whenever it is measured again.

One process measures one run, so that rows may keep in a cache what they share.
"""

import random
from contextvars import ContextVar

APART = 1000
"""Seeds of one run differ from those of the next by so much."""

_number = ContextVar("run", default=1)


def begin(number: int) -> None:
    """What is measured from now on belongs to this run; the first one is 1."""
    _number.set(number)


def seed(first: int = 1) -> int:
    """The seed that is ``first`` in the first run."""
    return first + APART * (_number.get() - 1)


def moment_s(first_s: float) -> float:
    """The moment that is ``first_s`` in the first run: up to a second later in the others."""
    number = _number.get()
    return first_s if number == 1 else first_s + random.Random(f"{number} {first_s}").random()
