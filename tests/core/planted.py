"""A property counts only after it was seen to fail: runs one on a copy with a planted fault and wants it found."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

EXAMPLES = 100


def holds(property_of: Callable[..., None], *strategies: SearchStrategy[Any], examples: int = EXAMPLES) -> None:
    """Run ``property_of`` on values of ``strategies``; its AssertionError passes through."""
    _run(property_of, strategies, examples, Phase.shrink)


def finds(property_of: Callable[..., None], *strategies: SearchStrategy[Any], examples: int = EXAMPLES) -> None:
    """The same with a fault planted in what it tests: fails unless the fault is found."""
    with pytest.raises(AssertionError):
        _run(property_of, strategies, examples)


def _run(
    property_of: Callable[..., None], strategies: tuple[SearchStrategy[Any], ...], examples: int, *phases: Phase
) -> None:
    chosen = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, *phases),
        suppress_health_check=list(HealthCheck),
    )
    chosen(given(*strategies)(property_of))()
