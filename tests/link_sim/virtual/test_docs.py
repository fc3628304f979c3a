"""The example of the page runs as it stands there."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[3] / "docs" / "link_sim.md"


def test_the_example_of_the_page_runs() -> None:
    section = PAGE.read_text().partition("\n## Virtual time\n")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}  # Any: whatever the example defines
    exec(compile(found[1], str(PAGE), "exec"), names)
    run: Callable[[], None] = names["test_a_question_survives_a_tunnel"]
    run()
