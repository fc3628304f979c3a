"""docs/architecture.md names what is in the code."""

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs/architecture.md"
NAMES = sorted(set(re.findall(r"`((?:edge_agent|drivers|transports|link_sim)\.[A-Za-z_.]+)`", PAGE.read_text())))


def resolve(name: str) -> object:
    """The module or attribute called ``name``. Raises ImportError or AttributeError."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ImportError(name)


def test_the_page_names_the_ways() -> None:
    assert len(NAMES) > 40


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_in_the_code(name: str) -> None:
    assert resolve(name) is not None


def test_a_name_that_is_not_there_is_found() -> None:
    with pytest.raises(AttributeError):
        resolve("edge_agent.core.node.Node.no_such_way")
