"""Groups of units that are given an order together, as the configuration names them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

GLOB_MARKS = "*?["


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitGroup:
    """``units``: node ids, or globs over the units that have reported. An id counts before its unit ever reported."""

    name: str
    units: tuple[str, ...]

    def members(self, known: Iterable[str]) -> list[str]:
        """Node ids, each once, in the order of the group."""
        found: dict[str, None] = {}
        everyone = sorted(known)
        for pattern in self.units:
            if any(mark in pattern for mark in GLOB_MARKS):
                found.update(dict.fromkeys(unit for unit in everyone if fnmatchcase(unit, pattern)))
            else:
                found[pattern] = None
        return list(found)


def find_group(groups: Sequence[UnitGroup], name: str) -> UnitGroup | None:
    """The group of that name; None when there is none."""
    return next((group for group in groups if group.name == name), None)
