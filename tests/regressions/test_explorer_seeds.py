"""Seeds at which the explorer once found a defect of the core. Each has a test of its own beside the code as well.

A seed names a world only as long as ``link_sim/judge/trial.py`` and ``link_sim/judge/faults.py`` draw as they did; the
tests named here do not depend on that.
"""

import pytest

from link_sim.judge.explorer import explore

FLASH_FIRST = "tests/core/test_flash_first.py"
SHARES = "tests/core/test_share_credit.py"
FOUND = [
    (2, 60.0, "a lower bundle went before FLASH that was being read from the store", FLASH_FIRST),
    (38, 60.0, "hints were not counted against the budget of a day", FLASH_FIRST),
    (41, 60.0, "a lower bundle went before FLASH when four others of FLASH were being read", FLASH_FIRST),
    (52, 60.0, "words in a narrow frame left room for a short bundle only, and it went before FLASH", FLASH_FIRST),
    (55, 60.0, "the same on a link that had become slow", FLASH_FIRST),
    (38, 600.0, "a class that other links had served counted as starved here, and went before FLASH", SHARES),
    (
        86,
        600.0,
        "bundles were left to a faster link whose medium was busy for a minute",
        "tests/core/test_busy_sibling.py",
    ),
    (245, 600.0, "a class counted as starved on a link that had carried nothing, and went before FLASH", SHARES),
]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "span_s", "defect", "test"), FOUND)
def test_what_was_found_once_is_not_found_again(seed: int, span_s: float, defect: str, test: str) -> None:
    assert explore(seed, span_s=span_s).breach == "", f"{defect}; see {test}"
