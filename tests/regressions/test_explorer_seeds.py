"""Seeds at which the explorer once found a defect of the core. Each has a test of its own beside the code as well.

A seed names a world only as long as ``trial.py``, ``faults.py``, ``link_trial.py`` and ``link_faults.py`` of
``link_sim/judge`` draw as they did; the tests named here do not depend on that.
"""

import pytest

from link_sim.judge.explorer import explore
from link_sim.judge.link_trial import LinkTrial

FLASH_FIRST = "tests/core/test_flash_first.py"
SHARES = "tests/core/test_share_credit.py"
JITTER = "tests/core/test_jitter.py"
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
    (107, 600.0, "under lasting FLASH a class that the peer took nothing of held up another that starved", SHARES),
    (941, 600.0, "a lower class went first while four bundles of a higher one were being read", FLASH_FIRST),
    (738, 600.0, "jitter was taken for a queue and a trickle for the link's capacity, down to 700 bit/s", JITTER),
]

ADDRESSES = "tests/core/test_addresses.py"
FOUND_IN_LINKS = [
    (11, "a link believed to carry 300 bit/s was never measured again", "tests/core/test_link_queue.py"),
    (64, "a new address whose only token was lost was never asked again", ADDRESSES),
    (98, "the same after both nodes had started anew", ADDRESSES),
    (293, "the same while acknowledgements came by another link", ADDRESSES),
    (208, "the doubt about a link outlived the session it was of", "tests/core/test_link_back.py"),
    (1339, "more counted as lost than was sent, and the link as one of 300 bit/s", "tests/core/test_pacing.py"),
    (1299, "a copy of a lower bundle went before FLASH on a link in doubt", "tests/core/test_copies.py"),
    (2033, "the same", "tests/core/test_copies.py"),
    (2047, "more counted as lost than was sent, as at seed 1339", "tests/core/test_pacing.py"),
    (1626, "what was in flight in a session its peer never heard of waited a minute", "tests/core/test_handshake.py"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "span_s", "defect", "test"), FOUND)
def test_what_was_found_once_is_not_found_again(seed: int, span_s: float, defect: str, test: str) -> None:
    assert explore(seed, span_s=span_s).breach == "", f"{defect}; see {test}"


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "defect", "test"), FOUND_IN_LINKS)
def test_what_was_found_in_links_is_not_found_again(seed: int, defect: str, test: str) -> None:
    assert explore(seed, span_s=60.0, make_trial=LinkTrial).breach == "", f"{defect}; see {test}"
