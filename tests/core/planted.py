"""A property counts only after it was seen to fail: runs one on a copy with a planted fault and wants it found."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

EXAMPLES = 100


def holds(property_of: Callable[..., None], *strategies: SearchStrategy[Any], examples: int = EXAMPLES) -> None:
    """Run ``property_of`` on values of ``strategies``; its AssertionError passes through."""
    _run(property_of, strategies, examples, is_fixed=False)


def finds(property_of: Callable[..., None], *strategies: SearchStrategy[Any], examples: int = EXAMPLES) -> None:
    """The same with a fault planted in what it tests: fails unless it is found. The first find ends it.

    The examples are the same each time, but they change with the modules that are loaded, so there are plenty.
    """
    with pytest.raises(AssertionError):
        _run(property_of, strategies, 100 * examples, is_fixed=True)


def _run(
    property_of: Callable[..., None], strategies: tuple[SearchStrategy[Any], ...], examples: int, *, is_fixed: bool
) -> None:
    chosen = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        derandomize=is_fixed,
        phases=(Phase.generate,) if is_fixed else (Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    chosen(given(*strategies)(property_of))()
