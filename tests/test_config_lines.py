"""The line finder agrees with where keys stand, whatever shape the TOML has."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config_lines import KeyPath, find_lines

TEXT = '''# a comment = "not a key"
title = "x"            # 2
[node]                 # 3
id = "kit-1"
name = """
several = 1
lines"""               # 5 to 7
"quoted key" = 'a # no comment'

[[link]]               # 10
name = "a"
hosts = [              # 12
  "one",               # 13
  # "not this",
  { port = 1, "x" = { y = 2 } },  # 15
]
  [link.extra]         # 17
  deep.er = true
[[link]]               # 19
name = "b"
[[link.map]]           # 21
topic = "t"
[[link.map]]           # 23
topic = \'\'\'u\'\'\'

[[link]]
[[link.map]]           # 27
at = 2026-11-22 01:02:03  # 28
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("node",), 3),
        (("node", "name"), 5),
        (("node", "quoted key"), 8),
        (("link", 0), 10),
        (("link", 0, "hosts"), 12),
        (("link", 0, "hosts", 0), 13),
        (("link", 0, "hosts", 1, "port"), 15),
        (("link", 0, "hosts", 1, "x", "y"), 15),
        (("link", 0, "extra", "deep", "er"), 18),
        (("link", 1, "name"), 20),
        (("link", 1, "map", 0), 21),
        (("link", 1, "map", 1, "topic"), 24),
        (("link", 2, "map", 0, "at"), 28),
    ],
)
def test_each_key_is_found_on_its_line(path: KeyPath, line: int) -> None:
    tomllib.loads(TEXT)
    assert find_lines(TEXT)[path] == line


def paths_of(value: object, path: KeyPath = ()) -> set[KeyPath]:
    """Every path in a parsed document."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        items = []
    found = {path} if path else set()
    for key, inner in items:
        found |= paths_of(inner, (*path, key))
    return found


STRINGS = st.sampled_from(['"a"', "'b'", '"""c\n"" d"""', "'''e\n'' f'''", '"\\" ] } #"', "'# ] }'", '""', "''"])
SCALARS = st.one_of(st.integers().map(str), STRINGS, st.sampled_from(["true", "1e3", "07:32:00", "nan"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: "[ # c ]\n" + ",\n".join(each) + "\n]"),
        st.lists(inner.filter(lambda text: "\n" not in text), max_size=3).map(
            lambda each: "{" + ", ".join(f"k{index} = {text}" for index, text in enumerate(each)) + "}"
        ),
    ),
    max_leaves=6,
)


@given(st.lists(st.tuples(st.booleans(), st.lists(VALUES, max_size=4)), max_size=5))
def test_every_path_of_any_document_has_a_line_that_holds_its_key(tables: list[tuple[bool, list[str]]]) -> None:
    text = ""
    for index, (is_array, values) in enumerate(tables):
        text += "\n[[array]]  # [x]\n" if is_array else f"\n[table{index}]\n"
        text += "".join(f"\nkey{number}\t= {value} # = y\n" for number, value in enumerate(values))
    document = tomllib.loads(text)
    lines, rows = find_lines(text), text.split("\n")
    for path in paths_of(document):
        assert path in lines
        if isinstance(path[-1], str):
            assert path[-1] in rows[lines[path] - 1]
