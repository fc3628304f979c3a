"""A copy of the tree with a fault planted in it: a proof that still holds there proves nothing."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FOLDERS = ("edge_agent", "drivers", "transports", "link_sim", "benchmarks", "tests", "config")


def copy_tree(to: Path) -> Path:
    """What a proof needs of this tree."""
    for folder in _FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "static", "web" if folder == "tests" else "__pycache__")
        shutil.copytree(ROOT / folder, to / folder, ignore=ignored)
    return to


def plant(tree: Path, path: str, *changes: tuple[str, str]) -> None:
    """Replace text in a file of the copy; each must be there exactly once, or the fault is not what it was."""
    file = tree / path
    text = file.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, f"{path}: {old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
